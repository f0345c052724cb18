#!/usr/bin/env bash
# What only an NVIDIA GPU can measure, what is still open there first, in less than nine minutes, on a machine
# without a network.
#
#     tools/measure_gpu.sh [tests|lesson4|lesson7|sprint|large|ladder|eager|compiled …]
#
# Each step has a limit of its own, and all together have BUDGET seconds (525). After each step $OUT (runs/gpu) has its
# log in log.txt, and what it recorded in recorded.tar.gz: a machine that is taken away costs one step.
# The course and its `lab` extra must be importable by $PYTHON; WHEELS may name a folder of wheels with what is missing
# (on a bare machine papermill also wants entrypoints, and typer wants pydantic, pydantic-core, typing-inspection and
# annotated-types).
# COURSE_DATA_DIR names the folder with CIFAR-10's pictures; PICTURES may name an archive to unpack there.
# Without a GPU this is a rehearsal in miniature: lessons with the quick profile, two seeds, PATIENCE times the limits.
set -u
cd "$(dirname "$0")/.."
OUT=${OUT:-runs/gpu} PYTHON=${PYTHON:-python3} BUDGET=${BUDGET:-525}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
: >"$OUT/log.txt"
export COURSE_OFFLINE=1 COURSE_PROGRESS=0 PYTHONUNBUFFERED=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
failed= limits=1 profile=full seeds=10

measure() { # NAME SECONDS COMMAND…
    local name=$1 seconds=$(($2 * limits)) begin=$SECONDS code=0
    shift 2
    [ "$seconds" -le $((BUDGET * limits - SECONDS)) ] || seconds=$((BUDGET * limits - SECONDS))
    if [ "$seconds" -lt 10 ]; then
        echo "== $name: left out, the $BUDGET seconds are spent" | tee -a "$OUT/log.txt"
        failed="$failed $name"
        return
    fi
    echo "== $name: $*" >>"$OUT/log.txt"
    timeout --kill-after=10 "$seconds" "$@" >"$OUT/step" 2>&1 || code=$?
    cat "$OUT/step" >>"$OUT/log.txt"
    echo "== $name: exit code $code after $((SECONDS - begin)) s" | tee -a "$OUT/log.txt"
    tail -n 12 "$OUT/step"
    rm -f "$OUT/step"
    tar -czf "$OUT/recorded.tar.gz" results notebooks/*.ipynb
    [ "$code" -eq 0 ] || failed="$failed $name"
}

if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH=$PYTHONPATH:$site
fi
if [ -n "${PICTURES:-}" ]; then
    export COURSE_DATA_DIR=${COURSE_DATA_DIR:-$(mktemp -d)}
    mkdir -p "$COURSE_DATA_DIR/cifar10" && tar -xf "$PICTURES" -C "$COURSE_DATA_DIR/cifar10"
fi
if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "No GPU: a rehearsal in miniature."
    limits=${PATIENCE:-4} profile=quick seeds=2
fi

[ $# -gt 0 ] || set -- tests lesson4 lesson7 sprint large ladder eager
measure device 40 "$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())'
for step; do
    case $step in
        tests) measure tests 90 "$PYTHON" -m pytest -q -p no:cacheprovider -m gpu tests/test_gpu.py ;;
        sprint) measure sprint 80 "$PYTHON" benchmarks/sprint.py --seeds $seeds --profile --record ;;
        large) measure large 110 "$PYTHON" benchmarks/ladder.py --data cifar10 --size large --gpu-only --epochs 3 \
            --test-pictures 2000 --record ;;
        ladder) measure ladder 80 "$PYTHON" benchmarks/ladder.py --data cifar10 --gpu-only --pictures 10240 --epochs 3 \
            --test-pictures 2000 --record ;;
        lesson7) measure lesson7 180 "$PYTHON" -m course_utils.command.cli build 7 --profile $profile ;;
        lesson4) measure lesson4 240 "$PYTHON" -m course_utils.command.cli build 4 --profile $profile ;;
        eager) measure eager 40 "$PYTHON" benchmarks/sprint.py --seeds 3 --leave-out "CUDA graph" ;;
        compiled) measure compiled 240 "$PYTHON" benchmarks/sprint.py --seeds $seeds --compile ;;
        *) echo "There is no step $step; see the head of this file." >&2; exit 2 ;;
    esac
done
[ -z "$failed" ] || { echo "Failed:$failed"; exit 1; }
