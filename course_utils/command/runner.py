"""Run lessons: everything checked first, then side by side in separate processes, then a report."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.base import recorded
from course_utils.base.files import replace_file
from course_utils.base.lessons import FILE, choose, find_root, notebooks
from course_utils.base.machine import cores, describe_machine, free_cores, versions
from course_utils.base.paths import named_data_folder
from course_utils.command.builder import fill_from_source
from course_utils.command.notebooks import pages
from course_utils.command.notebooks.execution import STOPPED, Execution, execute
from course_utils.command.notebooks.normalise import normalised, to_json
from course_utils.command.notebooks.parameters import checked_parameters, parse_assignments
from course_utils.errors import DataError, RunError, SettingError


@dataclass(frozen=True)
class Job:
    """A notebook to run, and what to put into its parameters cell."""

    label: str  # the lesson's number, or the file's name
    notebook: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    number: str | None = None  # of a lesson of the course


@dataclass(frozen=True)
class Report:
    """The outcome of a run: one entry for each notebook, and where the files are."""

    lessons: list[dict[str, Any]]
    folder: Path
    interrupted: bool = False

    @property
    def passed(self) -> bool:
        """Whether every notebook ran to its end without an error."""
        return not self.interrupted and all(lesson["status"] == "passed" for lesson in self.lessons)


class Watcher:
    """What `run` reports progress to, from several threads; this one does nothing."""

    def cell(self, label: str, index: int, of: int) -> None:
        """Cell `index` of `of` of a notebook is running."""

    def finished(self, label: str, entry: dict[str, Any]) -> None:
        """A notebook has ended; `entry` is its part of report.json."""


def plan(
    lessons: Iterable[str | int],
    profile: str = "auto",
    changes: Sequence[str] = (),
    root: Path | None = None,
) -> list[Job]:
    """Return what to run, after checking every lesson, profile, name and value; so that nothing runs if one is wrong.

    Args:
        lessons: numbers of lessons, or paths of other notebooks (which end in .ipynb); all lessons when empty.
        profile: "quick", "full", or "auto".
        changes: settings as the command line has them, "NN.name=value", or "name=value" for a single notebook; NN is
            the lesson's number, or the other notebook's name without .ipynb.
        root: the course's folder; found when None.

    Raises:
        SettingError: for anything that does not exist or does not fit.
    """
    try:
        named_data_folder()
    except DataError as error:
        raise SettingError(str(error)) from error
    lessons = [str(lesson) for lesson in lessons]
    paths = [Path(text) for text in lessons if text.endswith(".ipynb")]
    for path in paths:
        if not path.is_file():
            raise SettingError(f"There is no notebook {path}.")
    numbers = [text for text in lessons if not text.endswith(".ipynb")]
    chosen = [] if paths and not numbers else [*choose(numbers, notebooks(root)).items()]
    found = [(number, path, number) for number, path in chosen] + [(path.stem, path, _number(path)) for path in paths]
    labels = [label for label, _, _ in found]
    files = [path.stem for _, path, _ in found]
    twice = {file for file in files if files.count(file) > 1}
    if twice:
        raise SettingError(f"Two notebooks are called {sorted(twice)[0]!r}; run them separately.")
    overrides = parse_assignments(changes, labels)
    return [
        Job(label, path, checked_parameters(path, number, profile, overrides[label]), number)
        for label, path, number in found
    ]


def _threads(parallel: int) -> dict[str, str]:
    """Return the variables that set how many threads one of `parallel` notebooks computes with; none for all cores."""
    if parallel > 1:
        share = max(1, cores() // parallel)
    else:
        share = cores() if "OMP_NUM_THREADS" in os.environ else free_cores()
    fewer = parallel > 1 or share < cores()
    return {"OMP_NUM_THREADS": str(share), "MKL_NUM_THREADS": str(share)} if fewer else {}


def run(
    jobs: list[Job],
    out: Path,
    *,
    parallel: int = 1,
    timeout: float = 3600,
    cell_timeout: float = 1800,
    html: bool = False,
    again: float = 0,
    watcher: Watcher | None = None,
) -> Report:
    """Run `jobs` and write, each in one step, every notebook, `report.json` and `index.html` into `out`.

    Args:
        jobs: from `plan`.
        out: the folder for the results; made when missing.
        parallel: how many notebooks run side by side; each then gets its share of the cores. A single one gets those
            that other programs leave free when it begins, unless OMP_NUM_THREADS is set.
        timeout: seconds for one notebook.
        cell_timeout: seconds for one cell.
        html: also write each notebook as a page.
        again: afterwards run each section again that took at most so many seconds; see `execute`.
        watcher: told about progress.

    Raises:
        SettingError: when `out` cannot be written, or a notebook would be overwritten by its own result.
    """
    watcher, stop, started = watcher or Watcher(), threading.Event(), time.time()
    _check_places(jobs, out, html)
    names = [job.notebook.stem for job in jobs]

    def one(job: Job) -> dict[str, Any]:
        execution = Execution("failed")
        try:
            execution = execute(
                job.notebook, job.parameters, timeout=timeout, cell_timeout=cell_timeout, again=again, stop=stop,
                environment=_threads(parallel), on_cell=lambda index, of: watcher.cell(job.label, index, of),
            )  # fmt: skip
            entry = _write(job, execution, out, html, names)
        except Exception as error:  # noqa: BLE001 - one broken notebook must not end the others, nor the report
            problem = f"its result could not be had: {type(error).__name__}: {error}"
            entry = _entry(job, Execution("failed", execution.seconds, error=problem))
        watcher.finished(job.label, entry)
        return entry

    interrupted = False
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        futures = [pool.submit(one, job) for job in jobs]
        try:
            while wait(futures, timeout=0.2).not_done:
                pass  # in short steps, so that Ctrl-C is heard between them
        except KeyboardInterrupt:
            interrupted = True
            for future in futures:
                future.cancel()
            stop.set()
    done = [future.result() for future in futures if not future.cancelled()]
    ended = {entry["label"] for entry in done}
    never = Execution(STOPPED, error="not started")
    done += [_write(job, never, out, html) for job in jobs if job.label not in ended]
    done.sort(key=lambda entry: [job.label for job in jobs].index(entry["label"]))
    report = Report(done, out, interrupted)
    with _alone(out):
        _write_report(report, _others(out / "report.json", names, started), time.time() - started)
    return report


def _check_places(jobs: Iterable[Job], out: Path, html: bool) -> None:
    """Make `out` and see that the results can be written, so that hours of running are not lost, over no other file."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise SettingError(
            f"The results cannot be written to {out} ({error.strerror}); choose another folder with --out."
        ) from error
    for job in jobs:
        if (out / job.notebook.name).resolve() == job.notebook.resolve():
            raise SettingError(
                f"{out} holds {job.notebook.name} itself, which would be overwritten; choose another --out."
            )
        if html and job.notebook.stem == "index":
            raise SettingError("The page of index.ipynb would be the report's own index.html; rename the notebook.")


def _number(path: Path) -> str | None:
    """Return the lesson's number when `path` is called like a lesson, such as a learner's copy of one."""
    match = FILE.fullmatch(path.stem)
    return match.group("number") if match else None


def _entry(job: Job, execution: Execution) -> dict[str, Any]:
    """Return what report.json says of one notebook."""
    settings = execution.settings or {}
    return {
        "label": job.label,
        "lesson": job.number,
        "title": _title(execution.notebook) or job.notebook.stem,
        "notebook": f"{job.notebook.stem}.ipynb" if execution.notebook is not None else None,
        "page": None,
        "status": execution.status,
        "error": execution.error,
        "seconds": round(execution.seconds, 1),
        "peak_memory_mb": execution.peak_memory_mb,
        "profile": settings.get("profile"),
        "settings": settings.get("values"),
        "parameters": dict(job.parameters),
        "figures": execution.figures,
        "data": execution.sources,
        "again": execution.again,
    }


def _write(job: Job, execution: Execution, out: Path, html: bool, names: Collection[str] = ()) -> dict[str, Any]:
    """Write one executed notebook, and its page, into `out`; return its entry of the report.

    What was interrupted takes no earlier result's place.
    """
    entry, earlier = _entry(job, execution), out / f"{job.notebook.stem}.ipynb"
    if execution.status == STOPPED and earlier.exists():
        return entry | {"notebook": earlier.name, "error": f"{entry['error']}; the notebook is that of an earlier run"}
    if execution.notebook is None:
        return entry
    about = {"lesson": job.number, "profile": entry["profile"], "status": entry["status"]}
    root = _root()
    label = job.number or "cell"
    notebook = normalised(execution.notebook, label, about, root or job.notebook.parent, keep_injected=True)
    if execution.passed and root and job.label == job.number:
        # The text then quotes this run's figures, not those of the run that is recorded.
        fill_from_source(notebook, job.number, execution, root)
    try:
        replace_file(out / entry["notebook"], to_json(notebook))
        page = out / f"{job.notebook.stem}.html"
        if html:
            entry["page"] = page.name
            replace_file(page, pages.lesson_page(notebook, entry["title"], names))
        elif pages.is_ours(page):  # that of an earlier run
            page.unlink(missing_ok=True)
    except OSError as error:
        problem = f"the result cannot be written: {error.strerror}"
        entry |= {"status": "failed", "error": problem, "notebook": None}
    return entry


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one run at a time write the report of `folder`, where the system can lock one."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            place = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, place)
            fcntl.flock(place, fcntl.LOCK_EX)
        yield


def _others(path: Path, mine: Collection[str], started: float) -> list[dict[str, Any]]:
    """Return the entries, of other files, of a run that has written its report here since this one started."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if path.stat().st_mtime < started:
            return []
        return [entry for entry in summary["lessons"] if Path(entry["notebook"] or entry["label"]).stem not in mine]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _write_report(report: Report, others: Sequence[dict[str, Any]] = (), seconds: float = 0.0) -> None:
    """Write report.json and index.html.

    Args:
        report: of this run.
        others: the entries of another run into the same folder.
        seconds: that passed from the run's start to its end; side by side, notebooks take less than one by one.
    """
    lessons = sorted([*report.lessons, *others], key=lambda entry: entry["label"]) if others else report.lessons
    summary = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "passed": report.passed and all(lesson["status"] == "passed" for lesson in lessons),
        "interrupted": report.interrupted,
        "seconds": round(seconds, 1),
        "hardware": describe_machine(),
        "versions": versions("torch", "torchvision", "numpy"),
        "lessons": lessons,
    }
    try:
        replace_file(report.folder / "report.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        replace_file(report.folder / "index.html", pages.index_page(summary, _pictures(report), _recorded(report)))
    except OSError as error:
        raise RunError(f"The report cannot be written to {report.folder} ({error.strerror}).") from error


def _pictures(report: Report) -> dict[str, pages.Picture]:
    """Return one picture of each lesson that has any, by its label."""
    found = {}
    for lesson in report.lessons:
        if lesson["notebook"]:
            notebook = json.loads((report.folder / lesson["notebook"]).read_text(encoding="utf-8"))
            if picture := pages.telling_picture(notebook):
                found[lesson["label"]] = picture
    return found


def _recorded(report: Report) -> dict[str, dict[str, Any]]:
    """Return the recorded run of each lesson that has one, by its label: with the same profile, or its page's."""
    found = {}
    for lesson in report.lessons:
        if lesson["lesson"]:
            path = recorded.find(f"{lesson['lesson']}_{lesson['profile']}.json")
            known = recorded.read(path) if path else recorded.on_the_page(lesson["lesson"])
            if known:
                found[lesson["label"]] = known
    return found


def _title(notebook: Mapping[str, Any] | None) -> str | None:
    """Return the first heading of a notebook."""
    for cell in (notebook or {}).get("cells", ()):
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return None


def _root() -> Path | None:
    with contextlib.suppress(SettingError):
        return find_root()
    return None
