#!/usr/bin/env bash
# Everything that is still to be measured on an NVIDIA GPU, most valuable first, on a machine without a network.
#
#     tools/measure_gpu.sh [sprint|ladder|lesson7|lesson4|compiled …]
#
# Each step has a time limit of its own, and leaves its log and what it recorded in $OUT (runs/gpu) before the next one
# begins: a machine that is taken away costs one step. COURSE_DATA_DIR names the folder with CIFAR-10; the course and
# its `lab` extra must be importable by $PYTHON. On a CPU it is a rehearsal: steps that need a GPU say so and fail.
set -u
cd "$(dirname "$0")/.."
OUT=${OUT:-runs/gpu} PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
export COURSE_OFFLINE=1 COURSE_PROGRESS=0 PYTHONUNBUFFERED=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

failed=
measure() { # NAME SECONDS COMMAND…
    local name=$1 seconds=$2 begin=$SECONDS code=0
    shift 2
    timeout "$seconds" "$@" >"$OUT/$name.log" 2>&1 || code=$?
    echo "== $name: exit code $code after $((SECONDS - begin)) s"
    tail -n 12 "$OUT/$name.log"
    tar -cf "$OUT/recorded.tar" results notebooks/*.ipynb
    [ "$code" -eq 0 ] || failed="$failed $name"
}

[ $# -gt 0 ] || set -- sprint ladder lesson7 lesson4
measure device 60 "$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'
for step; do
    case $step in
        sprint) measure sprint 150 "$PYTHON" benchmarks/sprint.py --seeds 10 --record ;;
        ladder) measure ladder 200 "$PYTHON" benchmarks/ladder.py --device cuda --data cifar10 --pictures 10240 \
            --batch 256 --record ;;
        lesson7) measure lesson7 330 "$PYTHON" -m course_utils.command.cli build 7 --profile full ;;
        lesson4) measure lesson4 450 "$PYTHON" -m course_utils.command.cli build 4 --profile full ;;
        compiled) measure compiled 330 "$PYTHON" benchmarks/sprint.py --seeds 10 --compile ;;
        *) echo "There is no step $step; see the head of this file." >&2; exit 2 ;;
    esac
done
[ -z "$failed" ] || { echo "Failed:$failed"; exit 1; }
