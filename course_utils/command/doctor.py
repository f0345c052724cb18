"""What is here and what is missing: versions, device, memory, disk, data, weights, and what to do about each gap."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from course_utils import __version__, environment
from course_utils.base.machine import describe_machine, versions
from course_utils.base.paths import missing_data_folder, offline
from course_utils.base.recorded import DISTRIBUTION
from course_utils.errors import CourseError

if TYPE_CHECKING:
    from rich.console import Console

TOOLS = "lab"  # the extra with what shows, runs and makes notebooks
KERNEL_MEMORY_GB = 1.5  # what one lesson may take
FULL_DATA_GB = 0.5  # both downloads, unpacked


def diagnose() -> dict[str, Any]:
    """Return what was found, as `course doctor --json` prints it; "advice" says what to do, most urgent first."""
    needed, tools = ([need.name for need in environment.needs(extra)] for extra in ("", TOOLS))
    found: dict[str, Any] = {
        "course": __version__,
        "needed": needed,
        "tools": tools,
        "versions": versions(*needed, *tools),
        "unfit": environment.check()[1] + environment.check(TOOLS)[1],
        "machine": describe_machine(),
        "free_memory_gb": round(psutil.virtual_memory().available / 2**30, 1),
        "device": _device(),
        "sliders": sliders(),
        "offline": offline(),
        "data": _data(),
        "weights": _weights(),
    }
    found["free_disk_gb"] = round(_free_disk() / 2**30, 1)
    found["advice"] = _no_folder() + advise(found)
    return found


def advise(found: dict[str, Any]) -> list[str]:
    """Return what to do about what is missing in `found`, one sentence each."""
    advice = []
    if not found["needed"]:
        advice.append('The course is not installed here, only used from its folder; there, pip install -e ".[lab]".')
    if missing := _missing(found, "needed"):
        advice.append(f"Install the missing packages ({', '.join(missing)}): pip install {DISTRIBUTION}.")
    if missing := _missing(found, "tools"):
        advice.append(f'Install the notebook tools ({", ".join(missing)}): pip install "{DISTRIBUTION}[{TOOLS}]".')
    advice += found["unfit"]
    if found["sliders"]:
        advice.append(f"Sliders in JupyterLab: {found['sliders']}.")
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


def ready(found: dict[str, Any]) -> bool:
    """Tell whether lessons can be worked through: nothing that they need is missing."""
    return found["device"]["kind"] is not None and not _missing(found, "needed")


def rows(found: dict[str, Any]) -> list[tuple[bool | None, str, str]]:
    """Return what was found as rows: good, bad, or None for what can be done without; what it is; in words."""
    machine, device, installed = found["machine"], found["device"], found["versions"]

    def named(kind: str) -> str:
        return ", ".join(f"{name} {installed[name] or 'MISSING'}" for name in found[kind]) or "unknown"

    free, of = found["free_memory_gb"], machine["memory_gb"]
    lines: list[tuple[bool | None, str, str]] = [
        (True, "course", f"{found['course']}, Python {installed['python']}"),
        (not _missing(found, "needed"), "packages", named("needed")),
        (not _missing(found, "tools") or None, "notebook tools", named("tools")),
        (
            not found["sliders"] or None,
            "sliders",
            found["sliders"] or f"ipywidgets {installed.get('ipywidgets')} fits JupyterLab",
        ),
        (device["kind"] is not None, "computes on", device.get("name") or device["error"]),
        (True, "machine", f"{machine['processor']}, {_counted(machine['cores'], 'core')}, {machine['system']}"),
        (free >= KERNEL_MEMORY_GB or None, "memory", f"{free} GB of {of} GB free"),
        (found["free_disk_gb"] >= FULL_DATA_GB or None, "disk", f"{found['free_disk_gb']} GB free"),
    ]
    for entry in found["data"]:
        good = False if entry.get("error") else entry["complete"] or None
        lines.append((good, f"data: {entry['name']}", entry.get("error") or entry["description"]))
    weights = ", ".join(found["weights"]) or "none downloaded; the network that lesson 1 asks comes with the course"
    return [*lines, (True if found["weights"] else None, "weights", weights)]


def show(found: dict[str, Any], console: Console) -> None:
    """Print `found` as a table for people, what to do, and the verdict."""
    from rich.markup import escape
    from rich.table import Table

    signs = {True: "[green]✓", None: "[yellow]○", False: "[red]✗"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for good, name, words in rows(found):
        table.add_row(signs[good], name, escape(words))
    console.print(table)
    if found["advice"]:
        console.print("\nWhat you can do", style="bold")
        listed = Table(box=None, show_header=False, pad_edge=False)
        for sentence in found["advice"]:
            listed.add_row("-", escape(sentence))
        console.print(listed)
    verdict = (
        "[bold green]Ready.[/] Begin with: course lab"
        if ready(found)
        else ("[bold red]Not ready.[/] Do the first of the above, then ask again: course doctor")
    )
    console.print(f"\n{verdict}")


def sliders() -> str:
    """Return in a sentence why JupyterLab here would show no sliders, or an empty text where nothing is in the way.

    JupyterLab draws ipywidgets' controls by an extension of its own, which belongs where JupyterLab is.
    """
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires("ipywidgets") or ()]
    except metadata.PackageNotFoundError:
        return "ipywidgets is missing"
    for need in (need for need in wanted if need.name.replace("_", "-") == "jupyterlab-widgets"):
        try:
            version = metadata.version("jupyterlab_widgets")
        except metadata.PackageNotFoundError:
            return f'there are none without its extension; pip install "jupyterlab_widgets{need.specifier}"'
        if not need.specifier.contains(version):
            return f"jupyterlab_widgets {version} does not fit ipywidgets, which wants {need.specifier}; pip install it"
    return "" if _extension() else "JupyterLab does not find its extension for them; reinstall jupyterlab_widgets"


def _extension() -> bool:
    """Tell whether a JupyterLab that is started here finds ipywidgets' part for the browser."""
    try:
        from jupyter_core.paths import jupyter_path
    except ImportError:
        return True  # no JupyterLab here: its absence is said with the notebook tools
    place = Path("@jupyter-widgets", "jupyterlab-manager", "package.json")
    return any((Path(folder) / place).is_file() for folder in jupyter_path("labextensions"))


def _missing(found: dict[str, Any], kind: str) -> list[str]:
    """Return which packages are missing of a kind, "needed" or "tools"."""
    return [name for name in found[kind] if not found["versions"][name]]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _device() -> dict[str, Any]:
    """Return what PyTorch computes on by default."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        return {"kind": None, "error": str(error)}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return {"kind": "cuda", "name": f"{torch.cuda.get_device_name()} ({memory:.0f} GB)"}
    return {"kind": "cpu", "name": f"CPU, {_counted(torch.get_num_threads(), 'thread')}"}


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


def _no_folder() -> list[str]:
    try:
        return [sentence] if (sentence := missing_data_folder()) else []
    except CourseError:  # what is wrong with it is said with the data
        return []


def _weights() -> list[str]:
    """Return the names of the pretrained weights in the cache."""
    try:
        from course_utils.transfer.weights import cache_folder
    except (ImportError, OSError):  # said with the device
        return []
    return sorted(path.name for path in cache_folder().glob("*") if path.suffix in (".pth", ".safetensors"))


def _free_disk() -> int:
    """Return how many bytes are free where data sets go."""
    try:
        from course_utils.data.sources import data_folder

        folder = data_folder()[0].absolute()
    except (CourseError, ImportError, OSError):  # said with the data
        folder = Path.home()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
