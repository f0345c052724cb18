"""Starting the script of `distributed` from a notebook: what to train, torchrun, and the report it leaves."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from course_utils.errors import RunError, SettingError

CHECKPOINT, REPORT = "checkpoint.pt", "report.json"


@dataclass(frozen=True)
class Plan:
    """What is trained.

    data: the name of a set, as `data.load` knows it.
    pictures: how many of its training pictures; 0 means all there are.
    epochs, rate, width, seed: of the training.
    batch: pictures of a step, of all processes together.
    precision: "float32", or "float64", in which no rounding is seen.
    save_every: steps between two checkpoints.
    kill_rank, kill_step: for trying out a restart: this process kills itself before this step, counted over all epochs,
      in the first attempt; -1 for none.
    """

    data: str = "photo_crops"
    pictures: int = 0
    epochs: int = 2
    batch: int = 128
    rate: float = 0.3
    width: int = 32
    seed: int = 0
    precision: str = "float32"
    save_every: int = 10
    kill_rank: int = -1
    kill_step: int = -1

    def __post_init__(self) -> None:
        low = {"epochs": 1, "batch": 1, "save_every": 1, "width": 8, "pictures": 0, "seed": 0}
        for name, least in low.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise SettingError(f"{name} must be a whole number of at least {least}, not {value!r}.")
        if not 0 < self.rate < math.inf:
            raise SettingError(f"rate must be a number above 0, not {self.rate!r}.")
        if self.precision not in ("float32", "float64"):
            raise SettingError(f"precision must be float32 or float64, not {self.precision!r}.")


@dataclass
class Report:
    """What a run gave, and how it was computed.

    losses: of every step, over the whole batch.
    accuracy: on the test pictures, from 0 to 1.
    processes, restarts: how many.
    resumed_at: steps that were done when the last attempt began.
    backend, device: how the processes talked, and on what they computed.
    data: where the pictures came from, in words.
    """

    losses: list[float] = field(default_factory=list)
    accuracy: float = 0.0
    processes: int = 1
    restarts: int = 0
    resumed_at: int = 0
    backend: str = "none"
    device: str = "cpu"
    data: str = ""


def launch(
    plan: Plan, processes: int, out: str | Path, *, max_restarts: int = 0, timeout: float = 120, threads: int = 1
) -> Report:
    """Run the script under torchrun with several processes on this machine, and return its report.

    Args:
        plan: what to train.
        processes: how many.
        out: folder for checkpoint and report.
        max_restarts: how often torchrun may start all processes again after one has died.
        timeout: seconds after which everything is ended.
        threads: of each process.

    Raises:
        RunError: when it fails or takes too long; the message holds the first error of a process.
    """
    out = Path(out)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(plan).items()]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1",
        f"--nproc-per-node={processes}", f"--max-restarts={max_restarts}",
        "-m", "course_utils.acceleration.distributed", f"--out={out}", *options,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if processes > torch.cuda.device_count():  # nccl wants a GPU for each process, so all of them take the CPU
        environment["CUDA_VISIBLE_DEVICES"] = ""
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    try:
        printed, _ = running.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise RunError(f"{processes} processes did not end within {timeout:.0f} s; they were ended.") from None
    finally:
        if running.poll() is None:
            _end(running)
    if running.returncode != 0 or not (out / REPORT).exists():
        raise RunError(f"torchrun ended with {running.returncode}: {_first_error(printed)}")
    return Report(**json.loads((out / REPORT).read_text(encoding="utf-8")))


def _first_error(printed: str) -> str:
    """Return what the first process that failed said, the course's own words first, or the end of what was printed."""
    errors = re.findall(r"^(?:\[rank\d+\]: )?([\w.]+(?:Error|Exception|Interrupt): .+)$", printed, re.MULTILINE)
    own = [error for error in errors if "ChildFailedError" not in error]
    ours = [error for error in own if error.startswith("course_utils.")]
    return next(iter(ours + own), printed[-600:])


def _end(running: subprocess.Popen[str]) -> None:
    """Ask torchrun to end its processes, and make it after a while; one that is stopped cannot end by itself."""
    workers = []
    with suppress(ImportError):  # it comes with what runs lessons
        import psutil

        with suppress(psutil.Error):
            workers = psutil.Process(running.pid).children(recursive=True)
    running.terminate()
    try:
        running.wait(10)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
    for worker in workers:
        with suppress(psutil.Error):
            worker.kill()
