"""What this machine is: processor, cores, memory, graphics processor, versions; without importing PyTorch."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from course_utils.base.threads import granted_cores as cores

NOISE = re.compile(r"\((?:R|TM)\)|\b(?:CPU|Processor)\b|@.*", re.IGNORECASE)  # in the name of a processor


def describe_machine() -> dict[str, Any]:
    """Return "processor", "cores" (usable ones), "memory_gb", "gpu" (a name, or None) and "system"."""
    import psutil

    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def free_cores(seconds: float = 0.3) -> int:
    """Return how many of these cores other programs leave free at the moment, at least one; it takes `seconds` to see.

    On a busy machine threads wait for each other: beside three busy programs on two cores, lessons 3, 5 and 6 took 3.2
    times as long as alone with two threads, and 2.8 times with one.
    """
    import psutil

    there = psutil.cpu_count() or 1
    return max(1, min(cores(), round(there * (1 - psutil.cpu_percent(interval=seconds) / 100))))


def processor() -> str:
    """Return the processor's name as the system tells it, without trade marks and clock."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return " ".join(NOISE.sub(" ", line.partition(":")[2]).split())
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def gpu() -> str | None:
    """Return the name of the first NVIDIA GPU, or None. The driver's own tool answers faster than PyTorch's import."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        answer = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    names = answer.stdout.strip().splitlines()
    return names[0].strip() if names else None


def versions(*packages: str) -> dict[str, str | None]:
    """Return Python's version and those of the installed `packages`; None for one that is missing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
