"""Run one notebook in its own process: watch it, measure it, end it and all that it started."""

from __future__ import annotations

import html
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from course_utils.base.notes import FIGURES, MARK, SETTINGS, SOURCE
from course_utils.base.paths import from_here
from course_utils.command.notebooks.folds import is_injected
from course_utils.command.notebooks.sections import one_line

ERROR_CLASS = "course-error"  # the widgets' name for it; importing them would need theirs
TAG = re.compile(r"<[^<>]*>")
UNSEEN = re.compile(
    r"^(?:Exception in thread |Task exception was never retrieved)", re.MULTILINE
)  # as Python prints them
# The last line of a traceback: "ValueError: no number", or the name alone.
SAID = re.compile(r"^[A-Za-z_][\w.]*(?:: .+|Error|Exception)$", re.MULTILINE)
STEP = 0.1  # seconds between two looks at a running notebook
LAST = 5.0  # seconds to wait for the last report of a worker that has ended: on a busy machine it may come late
GRACE = 20.0  # seconds a worker gets to report a time-out by itself before it is ended
PASSED, FAILED, TIMEOUT, DEAD, HIDDEN, FLOOD, STOPPED = (
    "passed", "failed", "timed out", "kernel died", "hidden error", "too much output", "interrupted",
)  # fmt: skip


@dataclass
class Execution:
    """How the run of one notebook went."""

    status: str
    seconds: float = 0.0
    peak_memory_mb: float | None = None
    error: str | None = None
    notebook: dict[str, Any] | None = None  # as far as it got
    figures: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    again: list[str] = field(default_factory=list)  # titles of the sections that were run again after the whole

    @property
    def passed(self) -> bool:
        """Whether the notebook ran to its end without an error, hidden ones included."""
        return self.status == PASSED


def execute(
    notebook: Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    folder: Path | None = None,
    timeout: float = 3600,
    cell_timeout: float = 1800,
    environment: Mapping[str, str] | None = None,
    again: float = 0,
    on_cell: Callable[[int, int], None] = lambda index, of: None,
    stop: threading.Event | None = None,
) -> Execution:
    """Run `notebook` with `parameters` injected, and return how it went; nothing it started is left running.

    Args:
        notebook: the file; it is not changed.
        parameters: names and values for its parameters cell; the caller has checked them.
        folder: where the kernel runs; the notebook's own folder when None.
        timeout: seconds for the whole notebook.
        cell_timeout: seconds for one cell.
        environment: variables to add for the kernel.
        again: run each section that took at most so many seconds again afterwards, one after another; one that then
            fails fails the notebook, because learners do that.
        on_cell: called with the number of cells done and of all cells, as they go by.
        stop: set from another thread to end the run.
    """
    marker = uuid.uuid4().hex
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="course-run-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        job = {
            "input": str(notebook.resolve()),
            "output": str(work / "output.ipynb"),
            "parameters": dict(parameters or {}),
            "cell_timeout": min(cell_timeout, timeout),
            "folder": str((folder or notebook.parent).resolve()),
            "again": again,
        }
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        with _worker(work, marker, environment or {}) as (process, events):
            result, memory = _watch(process, events, timeout, cell_timeout, on_cell, stop or threading.Event(), work)
        result.seconds = time.perf_counter() - started
        result.peak_memory_mb = round(memory / 2**20, 1) if memory else None
        result.notebook = _read(work / "output.ipynb")
    if result.notebook is not None:
        collect(result)
    return result


def collect(result: Execution) -> None:
    """Fill in what the executed notebook carries, and fail it when an error is hidden in outputs or widget state."""
    printed: dict[int, str] = {}
    for index, output in _outputs(result.notebook):
        data = output.get("data", {})
        if isinstance(data.get(FIGURES), dict):
            result.figures.update(data[FIGURES])
        if isinstance(data.get(SETTINGS), dict):
            result.settings = data[SETTINGS]
        if isinstance(data.get(SOURCE), dict) and data[SOURCE] not in result.sources:
            result.sources.append(data[SOURCE])
        if output.get("output_type") == "error" and result.passed:
            result.status = FAILED
            result.error = one_line(f"cell {index}: {output.get('ename')}: {output.get('evalue')}")
        if output.get("name") == "stderr":
            printed[index] = printed.get(index, "") + "".join(output.get("text", ""))
    for index, text in printed.items():
        if UNSEEN.search(text) and result.passed:
            result.status = HIDDEN
            said = SAID.findall(text)  # none where the kernel ended while it printed
            result.error = f"cell {index}: an error in a thread or a task was only printed"
            result.error += f": {one_line(said[-1])}" if said else ""
    for error in hidden_errors(result.notebook):
        if result.passed:
            result.status = HIDDEN
            result.error = f"a widget's state hides an error: {one_line(error)}"


def hidden_errors(notebook: Mapping[str, Any]) -> list[str]:
    """Return the errors that only widgets hold: in outputs they captured, or shown to the learner by a panel."""
    models = notebook.get("metadata", {})
    for key in ("widgets", "application/vnd.jupyter.widget-state+json", "state"):
        models = models.get(key, {}) if isinstance(models, dict) else {}
    models = [each for each in (models.values() if isinstance(models, dict) else ()) if isinstance(each, dict)]
    captured = [
        output
        for model in models
        if model.get("model_name") == "OutputModel"
        for output in model.get("state", {}).get("outputs") or ()
    ]
    raised = [f"{o.get('ename')}: {o.get('evalue')}" for o in captured if o.get("output_type") == "error"]
    panels = [m.get("state", {}) for m in models if m.get("model_name") == "HTMLModel"]
    told = [state.get("value", "") for state in panels if ERROR_CLASS in (state.get("_dom_classes") or ())]
    return raised + [html.unescape(TAG.sub("", text)) for text in told if text]


@contextmanager
def _worker(
    work: Path, marker: str, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], queue.Queue[dict[str, Any]]]]:
    """Start the worker, and at the end, whatever happened, end it and everything that carries its mark."""
    command = [sys.executable, "-m", "course_utils.command.notebooks.worker", str(work / "job.json")]
    with (work / "stderr.txt").open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, cwd=work, env=_environment(work, marker, environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8", errors="replace",
            start_new_session=True,  # an interrupt from the keyboard comes to the runner alone, which then ends this
        )  # fmt: skip
        events: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=_listen, args=(process, events), daemon=True).start()
        try:
            yield process, events
        finally:
            end_all(process.pid, marker)
            process.wait(timeout=10)


def _environment(work: Path, marker: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the worker's environment: a kernel of this same Python, and nothing of the user's own set-up."""
    kernel = work / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": argv, "display_name": "Python 3 (ipykernel)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
    dropped = ("MPLBACKEND", "PYTHONSTARTUP")  # the kernel sets its own back end
    inherited = {key: value for key, value in from_here().items() if key not in dropped}
    (work / "tmp").mkdir()
    own = {
        MARK: marker,
        "TMPDIR": str(work / "tmp"),  # so that nothing stays behind, also when the kernel is ended
        "JUPYTER_PATH": str(work / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(work / "runtime"),
        "IPYTHONDIR": str(work / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONUNBUFFERED": "1",
        "COURSE_STRICT": "1",  # an error that a widget would show to a learner ends the cell
    }
    return {**inherited, **own, **more}


def _listen(process: subprocess.Popen[str], events: queue.Queue[dict[str, Any]]) -> None:
    """Put the worker's reports into `events`."""
    assert process.stdout is not None
    for line in process.stdout:
        with suppress(ValueError):  # cut short, as it was ended
            events.put(json.loads(line))
    events.put({"event": "silent"})


def _watch(
    process: subprocess.Popen[str],
    events: queue.Queue[dict[str, Any]],
    timeout: float,
    cell_timeout: float,
    on_cell: Callable[[int, int], None],
    stop: threading.Event,
    work: Path,
) -> tuple[Execution, int]:
    """Follow the worker until it has reported its end, died, or used up its time; also return the peak in bytes."""
    result: Execution | None = None
    deadline = time.monotonic() + timeout
    cell, cell_started, peak, kernel, silent = 0, time.monotonic(), 0, None, False
    measured, done, failed = False, [], []
    while result is None:
        ended = process.poll() is not None  # asked before the last look at the events, so that none is missed
        kernel, held = _kernel_memory(kernel, process.pid)
        peak = peak if measured else max(peak, held)
        try:
            event = events.get(timeout=LAST if ended and not silent else STEP)
        except queue.Empty:
            event = {}
        if event.get("event") == "silent":
            silent, event = True, {}
        if event.get("event") == "cell":
            cell, cell_started = event["index"] + 1, time.monotonic()
            on_cell(event["index"], event["of"])
        elif event.get("event") == "ran":
            measured, cell_started = True, time.monotonic()
        elif event.get("event") == "again":
            done, failed = event["done"], event["failed"]
        elif event.get("event") == "done":
            on_cell(cell, cell)
            result = Execution(FAILED if failed else PASSED, error="; ".join(failed) or None, again=done)
        elif event.get("event") == "failed":
            result = _failure(event, cell)
        elif event.get("event") == "flood":
            result = Execution(FLOOD, error=f"cell {cell} printed without end; print less")
        elif event:
            continue
        elif stop.is_set():
            result = Execution(STOPPED, error="interrupted")
        elif time.monotonic() > deadline:
            result = Execution(TIMEOUT, error=f"the lesson took longer than {timeout:g} s and was still in cell {cell}")
        elif time.monotonic() > cell_started + cell_timeout + GRACE and cell:
            result = Execution(TIMEOUT, error=f"cell {cell} took longer than {cell_timeout:g} s")
        elif ended:
            result = Execution(FAILED, error=_last_words(process.returncode, work / "stderr.txt"))
    return result, peak


def _failure(event: Mapping[str, Any], cell: int) -> Execution:
    status = {"timeout": TIMEOUT, "dead": DEAD}.get(event["kind"], FAILED)
    message, cell = one_line(event["message"]), event.get("cell") or cell
    return Execution(status, error=f"cell {cell}: {message}" if cell else message)


def _kernel(worker: int) -> int | None:
    """Return the process id of the kernel that `worker` started, when it has."""
    try:
        for child in psutil.Process(worker).children():
            if any("ipykernel_launcher" in part for part in child.cmdline()):
                return child.pid
    except psutil.Error:
        pass
    return None


def _kernel_memory(kernel: int | None, worker: int) -> tuple[int | None, int]:
    """Return the kernel's process id and the most bytes it has held; where it is gone, a new one may have begun."""
    held = _memory(kernel)
    if not held:
        kernel = _kernel(worker)
        held = _memory(kernel)
    return kernel, held


def _memory(pid: int | None) -> int:
    """Return the most bytes of memory that process `pid` has held so far, or its size now where the peak is unknown."""
    if pid is None:
        return 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux, or gone
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def family(pid: int, marker: str) -> list[psutil.Process]:
    """Return the living processes below and including `pid`, and all that carry `marker`, parents or none."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.pid == pid or process.environ().get(MARK) == marker:
                found[process.pid] = process
        except psutil.Error:
            continue  # another user's, or gone
    with suppress(psutil.Error):
        found.update((child.pid, child) for child in psutil.Process(pid).children(recursive=True))
    return [p for p in found.values() if p.pid != os.getpid() and _alive(p)]


def end_all(pid: int, marker: str) -> None:
    """End process `pid` and all that it started. Kernels have their own sessions, so no group can be signalled."""
    for _ in range(50):
        left = family(pid, marker)
        if not left:
            return
        # The worker goes last: what its children leave behind becomes its own.
        left = [process for process in left if process.pid != pid] or left
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.2)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _outputs(notebook: Mapping[str, Any] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give each output with the number of its cell, counted without the one that papermill put in."""
    number = 0
    for cell in (notebook or {}).get("cells", ()):
        number += not is_injected(cell)
        for output in cell.get("outputs", ()):
            yield number, output


def _read(path: Path) -> dict[str, Any] | None:
    """Return the notebook at `path` as far as the worker wrote it, or None; it may have been ended while writing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _last_words(code: int, path: Path) -> str:
    text = ""
    with suppress(OSError):  # a notebook may have removed it
        text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return f"the process ended with code {code}" + (f": {lines[-1][:300]}" if lines else " and no message")
