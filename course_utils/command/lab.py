"""`course lab`: JupyterLab on a page that says where to begin, with the learner's own copies of the lessons.

The copies lie in `work/` of the clone, or in the folder that COURSE_WORK names, so the committed notebooks stay as they
are. What JupyterLab itself is told lies in the hidden folder `.course` there; the user's own settings are not touched,
and go before these.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import itertools
import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from course_utils.base import progress
from course_utils.base.files import replace_file
from course_utils.base.lessons import choose, find_root, notebooks
from course_utils.base.paths import absolute, from_here
from course_utils.base.words import NO_BREAK
from course_utils.command.notebooks.folds import joined
from course_utils.command.notebooks.study import study
from course_utils.errors import RunError, SettingError

PAGE = "00_start_here.md"
OWN = ".course"  # the folder for what is not the learner's
LEVELS = {
    "01": "beginner", "02": "beginner", "03": "beginner", "04": "intermediate", "05": "intermediate",
    "06": "intermediate", "07": "advanced", "A": "intermediate", "B": "intermediate",
}  # fmt: skip
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
    "@jupyterlab/filebrowser-extension:browser": {"showLastModifiedColumn": False},
}
# Notebook 7's own shortcuts would take these keys from a focused slider.
FOR_NOTEBOOK_7 = {
    "@jupyterlab/shortcuts-extension:shortcuts": {
        "shortcuts": [
            {
                "command": f"notebook:move-cursor-{command}", "keys": [key], "disabled": True,
                "selector": ".jp-Notebook.jp-mod-commandMode:not(.jp-mod-readWrite) :focus",
            }
            for command, key in (
                ("heading-above-or-collapse", "ArrowLeft"), ("heading-below-or-expand", "ArrowRight"),
                ("up", "ArrowUp"), ("down", "ArrowDown"),
            )
        ]
    }
}  # fmt: skip
WORKSPACE = "default-37a8.jupyterlab-workspace"  # what JupyterLab calls the file of the workspace "default"
LAYOUT = {
    "layout-restorer:data": {
        "main": {"dock": None},
        "left": {"collapsed": False, "visible": True, "current": "filebrowser", "widgets": ["filebrowser"]},
        "right": {"collapsed": True, "visible": True, "widgets": []},
        "relativeSizes": [0.25, 0.75, 0],
    }
}
QUESTION = re.compile(r"\*\*The question: (?P<question>.+?\?)\*\*", re.DOTALL)
NEEDS = re.compile(r"\*\*You need\*\* (?P<needs>[^.:]+)")
EXERCISE, ASKED = re.compile(r"\bexercises\.\w+\.(\w+)\.check\("), re.compile(r"\.quiz\.ask\((\d+)\)")


@dataclass(frozen=True)
class Lesson:
    """A lesson as the start page shows it; `needs` are lessons' numbers, `names` those that `progress` knows."""

    number: str
    file: str
    title: str
    question: str
    needs: tuple[str, ...]
    minutes: int
    exercises: tuple[str, ...]
    questions: tuple[str, ...]

    @property
    def short(self) -> str:
        """The number as readers see it."""
        return self.number.lstrip("0")


@dataclass
class Copies:
    """What `refresh` found: lessons with a newer version, the copy last saved of those that a learner has changed."""

    newer: list[str] = field(default_factory=list)
    last: str | None = None


def work_folder(root: Path) -> Path:
    """Return the folder for the learner's copies: what COURSE_WORK names, else `work` in the clone.

    Raises:
        SettingError: when it can be no folder.
    """
    named = os.environ.get(progress.WORK, "").strip()
    try:
        return absolute(named) if named else root / "work"
    except ValueError as error:
        raise SettingError(f"{progress.WORK} is no usable folder ({error}); set it to a folder, or unset it.") from None


def refresh(root: Path, work: Path) -> Copies:
    """Copy the lessons that `work` lacks, and bring those up to date that the learner has not changed.

    A copy that was changed or run is never touched; where the course has a newer version of it, the lesson is named.
    """
    made, found = _made(work), Copies()
    saved: dict[str, float] = {}
    for number, lesson in notebooks(root).items():
        content, text = _digests(lesson)
        mine, known = work / lesson.name, made.get(lesson.name, {})
        if mine.exists():
            if _digests(mine)[0] != known.get("content"):
                saved[number] = mine.stat().st_mtime
                if known.get("text", text) != text:
                    found.newer.append(number)
                continue
            if known["content"] == content:
                continue
        _copy(lesson, mine)
        made[lesson.name] = {"content": content, "text": text}
    _note_made(work, made)
    found.last = max(saved, key=lambda number: saved[number], default=None)
    return found


def reset(numbers: Sequence[str], root: Path, work: Path) -> list[tuple[Path, Path | None]]:
    """Put fresh copies of lessons into `work`, and keep the old ones in its folder `earlier`.

    Returns:
        For each lesson the fresh copy, and where the old one is now; None where there was none.

    Raises:
        SettingError: for a lesson that is not there.
    """
    made, done = _made(work), []
    for lesson in choose(numbers, notebooks(root)).values():
        mine, kept = work / lesson.name, None
        if mine.exists():
            kept = _unused(work / "earlier", f"{mine.stem} {datetime.date.today()}")
            mine.replace(kept)
        _copy(lesson, mine)
        content, text = _digests(lesson)
        made[lesson.name] = {"content": content, "text": text}
        done.append((mine, kept))
    _note_made(work, made)
    return done


def read(root: Path) -> list[Lesson]:
    """Return what the start page says of each lesson, from the committed notebooks."""
    return [_lesson(number, path) for number, path in notebooks(root).items()]


def page(lessons: Iterable[Lesson], copies: Copies, tried: dict[str, dict[str, bool]]) -> str:
    """Return the start page in Markdown: where to go on, the map, and each lesson with what was solved of it."""
    lessons = list(lessons)
    by_number = {lesson.number: lesson for lesson in lessons}
    last = copies.last or max(tried, default=None)
    now = by_number.get(last or "", lessons[0])
    if _is_done(now, tried):
        now = next((lesson for lesson in lessons if not _is_done(lesson, tried)), now)
    solved = _right(now, now.exercises, tried)
    begin = "Begin here" if not last else "Go on where you stopped" if now.number == last else "Go on with"
    lines = [
        "# Pixels to Predictions",
        "",
        "Image classification, from one pixel to a trained network.",
        "",
        f"## {begin}: [{now.short}. {now.title}]({now.file})",
        "",
        f"{_capital(now.question)} About {now.minutes} minutes, {sum(solved)} of {len(solved)} exercises solved.",
        "",
        "**Shift + Enter** runs a cell and goes on to the next. Change what you like: these are your own copies.",
        "",
        "```mermaid",
        *_map(lessons, now),
        "```",
        "",
        "| | lesson | level | time | exercises | quiz |",
        "| :-: | :-- | :-- | --: | :-- | :-- |",
    ]
    for lesson in lessons:
        bars = [_bar(_right(lesson, names, tried)) for names in (lesson.exercises, lesson.questions)]
        mark = "✓" if _is_done(lesson, tried) else "→" if lesson is now else ""
        level = LEVELS.get(lesson.number, "")
        lines.append(
            f"| {mark} | **[{lesson.short}. {lesson.title}]({lesson.file})**<br>{_capital(lesson.question)} "
            f"| {level} | {lesson.minutes}{NO_BREAK}min | {bars[0]} | {bars[1]} |"
        )
    if copies.newer:
        words = ", ".join(f"`course reset {by_number[number].short}`" for number in copies.newer)
        lines += ["", f"**The course has a newer version** of lessons that you have worked in. To get it: {words}. "
                  "Your copy is kept in the folder `earlier`."]  # fmt: skip
    return "\n".join([*lines, "", CLOSING])


CLOSING = """\
This page is brought up to date while you work: close it and open it again to see what you have solved since.
To begin a lesson afresh, type `course reset 3` in a terminal (*File*, *New*, *Terminal*): you get a new copy, and
yours is kept in the folder `earlier`. If something does not work, `course doctor` says why.
"""


def write_page(root: Path, work: Path) -> None:
    """Bring the copies and the start page up to date.

    Raises:
        SettingError: when `work` cannot be written.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        replace_file(work / PAGE, page(read(root), refresh(root, work), progress.read()))
    except OSError as error:
        raise SettingError(
            f"{work} cannot be written ({error.strerror}); name another folder in {progress.WORK}."
        ) from error


def start(arguments: Sequence[str]) -> int:
    """Open JupyterLab on the start page, or on a lesson where the first of `arguments` names one; return its exit code.

    The other arguments go to JupyterLab.
    """
    root = find_root()
    work = work_folder(root)
    os.environ[progress.WORK] = str(work)
    target, rest = PAGE, list(arguments)
    if rest and not rest[0].startswith("-"):
        (lesson,) = choose([rest.pop(0)], notebooks(root)).values()
        target = lesson.name
        if rest and not rest[0].startswith("-"):
            raise SettingError(f"JupyterLab opens on one lesson, and {rest[0]!r} is a second one; open it from there.")
    if importlib.util.find_spec("jupyterlab") is None:
        raise RunError('JupyterLab is not installed; install it with: pip install "pixels-to-predictions[lab]".')
    write_page(root, work)
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={work}"]
    command += [f"--LabApp.default_url=/lab/tree/{target}", f"--LabApp.workspaces_dir={_private(work)}", *rest]
    first = {"JUPYTER_CONFIG_PATH": work / OWN, "PATH": Path(sys.executable).parent}  # terminals there know `course`
    paths = {name: os.pathsep.join(filter(None, [str(own), os.environ.get(name)])) for name, own in first.items()}
    server = subprocess.Popen(command, cwd=work, env=from_here() | paths)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is JupyterLab's, which asks whether to end
    seen = _saved(work)
    try:
        while True:
            try:
                return server.wait(timeout=2)
            except subprocess.TimeoutExpired:
                if seen != (seen := _saved(work)):
                    with suppress(SettingError, ValueError):  # half a file, say: the next time will do
                        write_page(root, work)
    finally:
        server.terminate()
        signal.signal(signal.SIGINT, before)


def _private(work: Path) -> Path:
    """Write what JupyterLab is told, and return the folder of its workspaces, where a layout is kept."""
    places = work / OWN / "workspaces"
    for folder, settings in {OWN: SETTINGS, f"{OWN}/notebook": FOR_NOTEBOOK_7}.items():
        replace_file(work / folder / "labconfig" / "default_setting_overrides.json", json.dumps(settings, indent=1))
    if not (places / WORKSPACE).exists():
        replace_file(places / WORKSPACE, json.dumps({"data": LAYOUT, "metadata": {"id": "default"}}))
    return places


def _saved(work: Path) -> dict[str, int]:
    """Return when each notebook and the progress were last saved."""
    return {path.name: path.stat().st_mtime_ns for path in (*work.glob("*.ipynb"), *work.glob("progress.json"))}


def _unused(folder: Path, stem: str) -> Path:
    """Return a path for a notebook in `folder` where there is none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    names = itertools.chain([stem], (f"{stem} {count}" for count in itertools.count(2)))
    return next(path for name in names if not (path := folder / f"{name}.ipynb").exists())


def _copy(lesson: Path, mine: Path) -> None:
    """Copy a lesson, and note this Python in it: JupyterLab would else call the copy changed as soon as it is open."""
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    notebook["metadata"].setdefault("language_info", {})["version"] = platform.python_version()
    replace_file(mine, json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _made(work: Path) -> dict[str, dict[str, str]]:
    """Return the digests of each copy as it was made."""
    try:
        made = json.loads((work / OWN / "copies.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return made if isinstance(made, dict) else {}


def _note_made(work: Path, made: dict[str, dict[str, str]]) -> None:
    replace_file(work / OWN / "copies.json", json.dumps(made, indent=1) + "\n")


def _digests(notebook: Path) -> tuple[str, str]:
    """Return digests of a notebook's cells with their outputs, and of their texts alone.

    Metadata do not count, which JupyterLab changes when a notebook is only opened; a broken file has digests as well.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        parts = [[cell["cell_type"], joined(cell["source"])] for cell in cells]
        outputs = [given and joined(given) for cell in cells for given in [cell.get("outputs")]]
    except (OSError, ValueError, LookupError, TypeError):
        parts = outputs = notebook.stat().st_size
    return tuple(
        hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest() for what in ([parts, outputs], parts)
    )


def _lesson(number: str, path: Path) -> Lesson:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    notebook = {"cells": [cell | {"source": "".join(cell["source"])} for cell in cells]}
    text = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    code = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    question, needs = QUESTION.search(text), NEEDS.search(text)
    numbers = [int(digit) for digit in re.findall(r"\d", needs["needs"] if needs else "")]
    if needs and " to " in needs["needs"] and numbers:
        numbers = list(range(numbers[0], numbers[-1] + 1))
    return Lesson(
        number,
        path.name,
        text.splitlines()[0].lstrip("# ").partition(":")[0],
        " ".join(question["question"].split()) if question else "",
        tuple(f"{needed:02d}" for needed in numbers),
        study(notebook, notebook).minutes,
        tuple(dict.fromkeys(EXERCISE.findall(code))),
        tuple(f"quiz {asked}" for asked in dict.fromkeys(ASKED.findall(code))),
    )


def _right(lesson: Lesson, names: Iterable[str], tried: dict[str, dict[str, bool]]) -> list[bool]:
    """Return for each exercise or question of a lesson whether it was solved."""
    return [tried.get(lesson.number, {}).get(name, False) for name in names]


def _is_done(lesson: Lesson, tried: dict[str, dict[str, bool]]) -> bool:
    return all(_right(lesson, (*lesson.exercises, *lesson.questions), tried))


def _bar(right: Sequence[bool]) -> str:
    """Return a bar and the numbers behind it."""
    done, of = sum(right), len(right)
    return f'<progress value="{done}" max="{max(of, 1)}"></progress> {done}{NO_BREAK}of{NO_BREAK}{of}'


def _map(lessons: Sequence[Lesson], now: Lesson) -> list[str]:
    """Return the course as a Mermaid diagram: an arrow to each lesson from the last one that it needs."""
    lines = ["flowchart LR"]
    for lesson in lessons:
        lines.append(f'L{lesson.short}["{lesson.short}. {lesson.title}"]')
        if lesson.needs:
            lines.append(f"L{max(lesson.needs).lstrip('0')} --> L{lesson.short}")
    lines.append(f"style L{now.short} stroke-width:4px")
    return lines


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
