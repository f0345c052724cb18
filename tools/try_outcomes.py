"""Try whether what the lessons find holds elsewhere: on other processors, with other threads, seeds and data.

python tools/try_outcomes.py [LESSON ...] [--trials N] [--jobs N] [--out FILE] [--resume]

The outcome of a training hangs on the last digits of its floats, and these on the processor. So every lesson runs
many times with its profile "quick", each time with another combination of instruction set, threads, seed and data (the
embedded sample, and what COURSE_DATA_DIR holds where it is set). No assert may fail, and none should be near it: the
report has the margin of every comparison in an assert, its distance from failing, and how much this margin varies.
The exit code is 1 if a trial failed. Needs a system that can fork, so not Windows.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from margins import run_source

from course_utils.base.files import replace_file
from course_utils.base.lessons import choose, find_root, sources

Trial = dict[str, Any]  # lesson, source (a digest), path, processor, threads, seed, data; later error, margins, seconds
# An older processor, imitated: PyTorch's own kernels, oneDNN's and MKL's.
PROCESSORS = {
    "default": {"ATEN_CPU_CAPABILITY": "default"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512"},
}
LONGEST = 1800  # seconds of one trial
SURE = 4  # spreads between an assert's mean margin and 0; with fewer it is named in the report
HEAD = """\
| lesson | trials | of them | failed | seconds | least sure: mean margin / spread | smallest margin | spread |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def combinations(name: str, count: int, processors: list[str], data: list[str]) -> Iterator[Trial]:
    """Yield `count` combinations, always the same ones for a name; each value of each axis occurs about as often.

    A longer list begins with the shorter one.
    """
    axes: dict[str, list[Any]] = {
        "processor": processors,
        "threads": [1, 2, 4],
        "seed": list(range(10)),
        "data": data,
    }
    chance = random.Random(name)
    hands: dict[str, list[Any]] = {axis: [] for axis in axes}  # values still to be dealt before one comes again
    seen = set()
    while len(seen) < min(count, math.prod(map(len, axes.values()))):
        for axis, values in axes.items():
            hands[axis] = hands[axis] or chance.sample(values, len(values))
        dealt = {axis: hand.pop() for axis, hand in hands.items()}
        if tuple(dealt.values()) not in seen:
            seen.add(tuple(dealt.values()))
            yield dealt


def attempt(trial: Trial) -> Trial:
    """Return error, margins and seconds of one trial, run in a fork of this process, which has computed nothing yet."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setpgrp()  # so that what the lesson starts can be ended with it
            signal.alarm(LONGEST)
            os.environ["OMP_NUM_THREADS"] = str(trial["threads"])  # for processes that the lesson starts
            if trial["data"] == "sample":
                os.environ.pop("COURSE_DATA_DIR", None)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            import torch

            torch.set_num_threads(trial["threads"])
            with tempfile.TemporaryDirectory() as tempfile.tempdir:
                error, margins, seconds = run_source(Path(trial["path"]), {"seed": trial["seed"], "profile": "quick"})
            answer = {"error": error, "margins": margins, "seconds": round(seconds, 1)}
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answered = pipe.read()
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    ended = f"ended by signal {status & 0x7F}, without an answer"
    return json.loads(answered) if answered else {"error": ended, "margins": {}, "seconds": 0.0}


def serve() -> None:
    """Answer trials, one a line of standard input, from a process that has imported what takes long."""
    import ipywidgets  # noqa: F401
    import matplotlib as mpl
    import matplotlib.pyplot as plt  # noqa: F401
    import torch  # noqa: F401

    mpl.use("Agg")
    for line in sys.stdin:
        print(json.dumps(attempt(json.loads(line))), flush=True)


def try_all(trials: list[Trial], jobs: int, done: Callable[[Trial], None]) -> None:
    """Run `trials`, `jobs` at a time, and hand each with its answer to `done`."""
    own, servers, one_by_one = threading.local(), [], threading.Lock()

    def server(processor: str) -> subprocess.Popen[str]:
        mine = own.__dict__.setdefault("servers", {})
        if processor not in mine:
            # Threads wait without spinning: some trials have more of them than there are cores.
            env = {**os.environ, **PROCESSORS[processor], "COURSE_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
            env.pop("GOMP_SPINCOUNT", None)
            command = [sys.executable, __file__, "--serve"]
            mine[processor] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
            )
            servers.append(mine[processor])
        return mine[processor]

    def run(trial: Trial) -> None:
        process = server(trial["processor"])
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(trial) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        with one_by_one:
            done({**trial, **answer})

    try:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(run, trials))
    finally:
        for each in servers:
            each.kill()
            each.wait()


def sureness(tried: list[Trial]) -> list[tuple[float, float, float, str]]:
    """Return (mean margin / spread, smallest margin, spread, assert) of each assert whose margin varies, worst first.

    Mean and spread are those of one kind of data, whichever is less sure: two sets may differ for good.
    """
    rows = []
    for place in dict.fromkeys(place for trial in tried for place in trial["margins"]):
        of_kinds = []
        for kind in {trial["data"] for trial in tried}:
            margins = [
                trial["margins"][place] for trial in tried if trial["data"] == kind and place in trial["margins"]
            ]
            spread = statistics.stdev(margins) if len(margins) > 1 else 0.0
            if spread > 1e-9:
                of_kinds.append((statistics.fmean(margins) / spread, min(margins), spread, place))
        rows += sorted(of_kinds)[:1]
    return sorted(rows)


def report(tried: list[Trial]) -> str:
    """Return a table of the lessons as Markdown, and below it each failure and each assert that is not sure."""
    table, notes = [HEAD], []
    for lesson in sorted({trial["lesson"] for trial in tried}):
        trials = [trial for trial in tried if trial["lesson"] == lesson]
        failed, rows = [trial for trial in trials if trial["error"]], sureness(trials)
        kinds = [trial["data"] for trial in trials]
        cells = [lesson, len(trials), ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))]
        cells += [len(failed), round(statistics.median(trial["seconds"] for trial in trials))]
        cells += [f"{value:.2g}" for value in rows[0][:3]] if rows else ["", "", ""]
        table.append(f"| {' | '.join(map(str, cells))} |")
        notes += [
            f"- {lesson} failed with {trial['processor']}, {trial['threads']} threads, seed {trial['seed']}, "
            f"{trial['data']}: {trial['error']}"
            for trial in failed
        ]
        notes += [
            f"- {lesson} is not sure, {sure:.1f} spreads (smallest {smallest:.2g}, spread {spread:.2g}): line {place}"
            for sure, smallest, spread, place in rows
            if sure < SURE
        ]
    return "\n".join([*table, "", *notes])


def processors_here() -> list[str]:
    """Return the names in `PROCESSORS` that this processor can be."""
    look = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    best = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.strip()
    return list(PROCESSORS)[: {"AVX512": 3, "AVX2": 2}.get(best, 1)]


def main(arguments: list[str] | None = None, root: Path | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="their numbers; all when none is named")
    parser.add_argument("--trials", type=int, default=40, help="combinations for each lesson (40)")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time (1)")
    parser.add_argument("--out", type=Path, default=Path("runs/outcomes.json"), help="every trial (runs/outcomes.json)")
    parser.add_argument("--resume", action="store_true", help="keep the trials in OUT of sources that have not changed")
    asked = parser.parse_args(arguments)
    old = json.loads(asked.out.read_text(encoding="utf-8")) if asked.resume and asked.out.is_file() else []
    tried, ahead, processors = [], [], processors_here()
    data = ["sample", "full"] if os.environ.get("COURSE_DATA_DIR") else ["sample"]
    for lesson, path in choose(asked.lessons, sources(root or find_root()), "source").items():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for turn, combination in enumerate(combinations(lesson, asked.trials, processors, data)):
            trial = {"lesson": lesson, "source": digest, **combination}
            known = [each for each in old if trial.items() <= each.items()]
            tried += known[:1]
            ahead += [] if known else [(turn, {**trial, "path": str(path)})]

    def done(trial: Trial) -> None:
        tried.append(trial)
        replace_file(asked.out, json.dumps(tried, indent=1))
        axes = (trial[axis] for axis in ("lesson", "processor", "threads", "seed", "data", "seconds"))
        print(*axes, trial["error"] or "passed", flush=True)

    ahead.sort(key=lambda pair: pair[0])  # one trial of every lesson, then the next: what always fails shows early
    try_all([trial for _, trial in ahead], asked.jobs, done)
    print(report(tried))
    return int(any(trial["error"] for trial in tried))


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        sys.exit(main())
