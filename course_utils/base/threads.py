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
from collections.abc import MutableMapping

BRIEF = {"GOMP_SPINCOUNT": "2500", "KMP_BLOCKTIME": "1"}  # turns of a loop; milliseconds
CHOSEN = ("OMP_WAIT_POLICY", *BRIEF)  # by the user: then nothing is changed
QUOTAS = (  # of a control group, Linux: (file with the quota, file with the period), both in microseconds
    ("/sys/fs/cgroup/cpu.max", None),  # version 2: both in one file
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads spin only briefly, and no more of them run than cores are granted, unless the user has set it.

    What is started from here inherits it. Where PyTorch is loaded already, nothing changes.
    """
    if not any(name in environment for name in CHOSEN):
        environment.update(BRIEF)
    granted = granted_cores()
    if granted < usable_cores():  # PyTorch does not look at the grant, and would start a thread for each core
        environment.setdefault("OMP_NUM_THREADS", str(granted))


def usable_cores() -> int:
    """Return how many cores the system lets this process run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def granted_cores() -> int:
    """Return how many cores' worth of time this process may use: in a container often less than it can run on."""
    return min([usable_cores(), *(max(1, math.ceil(share)) for share in map(_share, QUOTAS) if share)])


def _share(files: tuple[str, str | None]) -> float:
    """Return the cores that a control group grants; 0 where it sets no limit or there is none."""
    texts = []
    for path in filter(None, files):
        try:
            with open(path, encoding="ascii") as file:  # noqa: PTH123 - pathlib takes longer to import than all of this
                texts += file.read().split()
        except (OSError, ValueError):
            return 0.0
    if len(texts) != 2 or not all(text.isdigit() for text in texts):  # "max", "-1": no limit
        return 0.0
    return int(texts[0]) / int(texts[1])
