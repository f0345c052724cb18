"""What is here and what is missing: versions, device, memory, disk, data, weights, and what to do about each gap."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import psutil

from course_utils import __version__
from course_utils.base.machine import describe_machine, versions
from course_utils.errors import CourseError

NEEDED = ("torch", "torchvision", "numpy", "matplotlib", "pillow", "ipywidgets", "pooch")
FOR_RUNNING = ("jupyterlab", "ipykernel", "papermill", "nbclient", "nbconvert", "jupytext")
KERNEL_MEMORY_GB = 1.5  # what one lesson may take
FULL_DATA_GB = 0.5  # both downloads, unpacked


def diagnose() -> dict[str, Any]:
    """Return what was found, as `course doctor --json` prints it; "advice" says what to do, most urgent first."""
    machine = describe_machine()
    found: dict[str, Any] = {
        "course": __version__,
        "versions": versions(*NEEDED, *FOR_RUNNING),
        "machine": machine,
        "free_memory_gb": round(psutil.virtual_memory().available / 2**30, 1),
        "device": _device(),
        "offline": _offline(),
        "data": _data(),
        "weights": _weights(),
    }
    found["free_disk_gb"] = round(_free(_data_place()) / 2**30, 1)
    found["advice"] = advise(found)
    return found


def advise(found: dict[str, Any]) -> list[str]:
    """Return what to do about what is missing in `found`, one sentence each."""
    advice = []
    missing = [name for name in NEEDED if not found["versions"].get(name)]
    if missing:
        advice.append(f"Install the missing packages ({', '.join(missing)}): pip install pixels-to-predictions.")
    missing = [name for name in FOR_RUNNING if not found["versions"].get(name)]
    if missing:
        advice.append(f'Install the notebook tools ({", ".join(missing)}): pip install "pixels-to-predictions[lab]".')
    if found["device"].get("error"):
        advice.append(f"PyTorch cannot be loaded ({found['device']['error']}); reinstall it.")
    if found["machine"]["gpu"] and found["device"].get("kind") == "cpu":
        advice.append("There is a GPU that this PyTorch cannot use; install a CUDA build from pytorch.org.")
    if found["free_memory_gb"] < KERNEL_MEMORY_GB:
        advice.append(
            f"Less than {KERNEL_MEMORY_GB} GB of memory is free; close other programs before you run a lesson."
        )
    if found["free_disk_gb"] < FULL_DATA_GB:
        advice.append(f"Less than {FULL_DATA_GB} GB of disk is free; make room before you download data.")
    for entry in found["data"]:
        if entry.get("error"):
            advice.append(entry["error"])
        elif not entry["complete"]:
            how = "unset COURSE_OFFLINE, then " if found["offline"] else ""
            advice.append(
                f"For the full {entry['title']}: {how}course data fetch {entry['name']} (the sample works too)."
            )
    return advice


def report(found: dict[str, Any]) -> str:
    """Return `found` as text for people."""
    machine, device = found["machine"], found["device"]
    lines = [
        f"course       {found['course']}, Python {found['versions']['python']}",
        f"machine      {machine['processor']}, {machine['cores']} cores, {machine['system']}",
        f"memory       {found['free_memory_gb']} GB of {machine['memory_gb']} GB free",
        f"disk         {found['free_disk_gb']} GB free",
        f"device       {device.get('name') or device.get('error')}",
        "versions     "
        + ", ".join(f"{name} {version or 'MISSING'}" for name, version in list(found["versions"].items())[1:]),
    ]
    for entry in found["data"]:
        lines.append(f"data         {entry['name']}: {entry.get('error') or entry['description']}")
    lines.append(f"weights      {', '.join(found['weights']) or 'none downloaded; lessons 1 to 3 do not need any'}")
    lines += ["", *(found["advice"] or ["Nothing is missing."])]
    return "\n".join(lines)


def _device() -> dict[str, Any]:
    """Return what PyTorch computes on by default."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        return {"kind": None, "error": str(error)}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return {"kind": "cuda", "name": f"{torch.cuda.get_device_name()} ({memory:.0f} GB)"}
    return {"kind": "cpu", "name": f"CPU, {torch.get_num_threads()} threads"}


def _data() -> list[dict[str, Any]]:
    """Return every known set: whether it is complete, what `load` would take, and its size."""
    try:
        from course_utils.data.sources import inventory

        return [
            {
                "name": entry.name,
                "title": entry.title,
                "complete": entry.found,
                "kind": entry.kind,
                "size_mb": round(entry.size_bytes / 1e6, 1),
                "description": entry.description,
            }
            for entry in inventory()
        ]
    except (CourseError, ImportError, OSError) as error:
        return [{"name": "all", "title": "data", "complete": False, "error": f"The data cannot be listed: {error}"}]


def _weights() -> list[str]:
    """Return the names of the pretrained weights in torchvision's cache."""
    cache = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints"
    return sorted(path.name for path in cache.glob("*.pth")) if cache.is_dir() else []


def _offline() -> bool:
    from course_utils.data.downloads import offline

    return offline()


def _data_place() -> Path:
    from course_utils.data.sources import data_folder

    try:
        return data_folder()[0].absolute()
    except CourseError:
        return Path.home()  # what is wrong with the folder is said with the data


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
