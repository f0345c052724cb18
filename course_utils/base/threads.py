"""How PyTorch's threads wait for each other, and how many they are: said before PyTorch is loaded, which reads it once.

PyTorch computes with OpenMP. A thread that has done its share of an operation waits for the next one, and at first it
waits by spinning, which is quick where each thread has a core to itself. On a busy machine it burns the time that the
others need: with two busy programs beside it on two cores, training ran at a third of its speed. So threads shall spin
for a moment only, and then sleep.

Measured on Linux, two cores, pictures a second for a small network and `FashionNet`. Quiet: 1,430 and 5,030 as GNU's
library (libgomp, in PyTorch's packages for Linux) waits by itself, 300,000 turns long; 1,477 and 5,490 with 10,000
turns; 730 and 4,550 with none (`OMP_WAIT_POLICY=passive`). With two busy loops beside, in the same order: 461 and
1,294; 627 and 1,983; 748 and 1,600.

Four trainings at once on the two cores, against one after another: 0.2 with the library's own wait, 0.5 with 10,000
turns, 0.8 with 2,500 to 3,000, 1.1 with 1,000. A thousand turns cost a training that runs alone 8 %; 2,500 cost none
that could be measured. `benchmarks/threads.py` measures it again.

Documented only, not measured here: the libraries of LLVM and Intel (libomp, libiomp5md; in PyTorch's packages for macOS
and Windows) spin for 200 milliseconds unless `KMP_BLOCKTIME` says otherwise, on some of Intel's processors for none
(openmp/runtime/src/kmp.h), and give the core away in between where more threads run than there are cores. One
millisecond is longer than the pauses inside a training step. Each library reads its own variable alone.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

BRIEF = {"GOMP_SPINCOUNT": "2500", "KMP_BLOCKTIME": "1"}  # turns of a loop; milliseconds
CHOSEN = ("OMP_WAIT_POLICY", *BRIEF)  # by the user: then nothing is changed
OWN_GROUPS, GROUPS = "/proc/self/cgroup", "/sys/fs/cgroup"  # Linux: this process's control groups, and all of them


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads spin only briefly, and no more of them run than cores are granted, unless the user has set it.

    What is started from here inherits it. Where PyTorch is loaded already, only its threads can still become fewer.
    """
    if not any(name in environment for name in CHOSEN):
        environment.update(BRIEF)
    granted = granted_cores()
    if granted < usable_cores() and "OMP_NUM_THREADS" not in environment:
        # PyTorch does not look at the grant, and would start a thread for each core.
        environment["OMP_NUM_THREADS"] = str(granted)
        torch = sys.modules.get("torch")
        if torch is not None and torch.get_num_threads() > granted:
            torch.set_num_threads(granted)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one of PyTorch's threads inside the `with` block.

    For small pictures: where a browser and a server want the cores too, to wait for a second thread takes several times
    as long as the sum itself.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable_cores() -> int:
    """Return how many cores the system lets this process run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def granted_cores() -> int:
    """Return how many cores' worth of time this process may use: in a container often less than it can run on."""
    return min([usable_cores(), *(max(1, math.ceil(share)) for share in map(_share, _quotas()) if share)])


def _quotas() -> Iterator[tuple[str, ...]]:
    """Give the files with the quotas that hold for this process: of its control groups, and of those above them."""
    places = {(GROUPS, ""): ("cpu.max",), (f"{GROUPS}/cpu", ""): ("cpu.cfs_quota_us", "cpu.cfs_period_us")}
    for line in _lines(OWN_GROUPS):
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2: one tree of groups, and quota and period in one file
            places[GROUPS, group.strip("/")] = places[GROUPS, ""]
        elif "cpu" in controllers.split(","):  # version 1: a tree for each kind
            for name in {"cpu", controllers}:
                places[f"{GROUPS}/{name}", group.strip("/")] = places[f"{GROUPS}/cpu", ""]
    for (top, group), names in places.items():
        while True:
            yield tuple("/".join(filter(None, (top, group, name))) for name in names)
            if not group:
                break
            group = group.rpartition("/")[0]


def _share(files: tuple[str, ...]) -> float:
    """Return the cores that a control group grants; 0 where it sets no limit or there is none."""
    numbers = " ".join(line for file in files for line in _lines(file)).split()
    if len(numbers) != 2 or not all(text.isdigit() and int(text) for text in numbers):  # "max", "-1": no limit
        return 0.0
    return int(numbers[0]) / int(numbers[1])


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import than all of this
            return file.read().splitlines()
    except (OSError, ValueError):
        return []
