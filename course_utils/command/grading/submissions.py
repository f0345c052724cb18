"""Learners' notebooks, found and read into memory before any answer runs; nothing in them is trusted.

The memory matters: an answer may delete files, and then the other notebooks are still judged.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.base.lessons import lesson_number
from course_utils.errors import SettingError

MOST_BYTES = 50_000_000  # of a notebook file; the lessons' own, with all pictures, have under 3 MB
MOST_CODE = 500_000  # characters of code; a lesson has some 30,000


@dataclass(frozen=True)
class Submission:
    """One learner's notebook: its code, and the lesson it belongs to, or the reason why there is none."""

    notebook: str  # the path as a reader knows it
    lesson: str = ""  # its number, such as "01"
    cells: tuple[tuple[int, str], ...] = ()  # the code cells: number in the file, counted from 1, and source
    problem: str = ""  # one sentence when it cannot be judged


def find(paths: Iterable[Path]) -> dict[str, Path]:
    """Return the notebooks at `paths` and in folders below, each once, by the name that a report gives them.

    Hidden files and folders (such as .ipynb_checkpoints) inside a folder are left out, and links to folders are not
    followed. The order is that of the names.

    Raises:
        SettingError: when a path is not there, is neither a folder nor a notebook, or when nothing is found.
    """
    found: dict[str, Path] = {}
    paths = list(paths)
    for path in paths:
        if path.is_dir():
            found.update((inner.as_posix(), inner) for inner in _inside(path))
        elif not os.path.lexists(path):
            raise SettingError(f"There is no notebook or folder called {path}.")
        elif path.suffix != ".ipynb":
            raise SettingError(f"{path} is not a notebook; its name must end in .ipynb.")
        else:
            found[path.as_posix()] = path
    if not found:
        raise SettingError(f"There is no notebook in {', '.join(map(str, paths)) or 'an empty list'}.")
    seen: dict[Path, str] = {}
    for name in sorted(found):
        seen.setdefault(_resolved(found[name]), name)
    return {name: found[name] for name in seen.values()}


def read(path: Path, lessons: Mapping[str, Sequence[str]], name: str | None = None) -> Submission:
    """Return the notebook at `path`; whatever is wrong with the file becomes its `problem`, never an exception.

    Args:
        path: the file.
        lessons: the names of the exercises by the number of their lesson.
        name: what a report calls it; the path when None.
    """
    name = path.as_posix() if name is None else name
    try:
        notebook = _parsed(path)
        cells = _code(notebook)
        return Submission(name, _lesson(notebook, cells, lessons), cells)
    except _UnreadableError as error:
        return Submission(name, problem=str(error))
    except OSError as error:
        return Submission(name, problem=f"The file cannot be read: {error.strerror or error}.")


class _UnreadableError(Exception):
    """A file that cannot be judged, and why, in one sentence."""


def _inside(folder: Path) -> Iterable[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        yield from (Path(here) / each for each in files if each.endswith(".ipynb") and not each.startswith("."))


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a link that leads to itself
        return path.absolute()


def _parsed(path: Path) -> dict[str, Any]:
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise _UnreadableError("This is not a regular file.")
    too_large = f"The file is larger than {MOST_BYTES / 1e6:.0f} MB; clear the outputs and save it again."
    if about.st_size > MOST_BYTES:
        raise _UnreadableError(too_large)
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _UnreadableError(too_large)
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _UnreadableError("The file is not UTF-8 text, as every notebook is.") from None
    except RecursionError:
        raise _UnreadableError("The file is too deeply nested to be a notebook.") from None
    except ValueError as error:
        raise _UnreadableError(f"The file is not JSON, as every notebook is: {_first_line(error)}.") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise _UnreadableError("The file has no cells, as every notebook in format 4 has.")
    return notebook


def _code(notebook: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    cells = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            raise _UnreadableError(f"Cell {number} is damaged: its source is not text.")
        cells.append((number, source))
    if sum(len(source) for _, source in cells) > MOST_CODE:
        raise _UnreadableError(f"It has more than {MOST_CODE:,} characters of code.")
    return tuple(cells)


def _lesson(notebook: Mapping[str, Any], cells: Iterable[tuple[int, str]], lessons: Mapping[str, Sequence[str]]) -> str:
    """Return the lesson's number: as the notebook says, else as its code looks."""
    metadata = notebook.get("metadata")
    about = metadata.get("course") if isinstance(metadata, dict) else None
    said = about.get("lesson") if isinstance(about, dict) else None
    if isinstance(said, (str, int)):
        try:
            number = lesson_number(said)
        except SettingError:
            number = ""
        if number in lessons:
            return number
    code = "\n".join(source for _, source in cells)
    modules = {_module(lesson): lesson for lesson in lessons}
    asked = Counter(modules[found] for found in re.findall(r"\bexercises\.(\w+)\.", code) if found in modules)
    defined = Counter()
    for lesson, names in lessons.items():
        pattern = rf"^(?:def +(?:{'|'.join(map(re.escape, names))}) *\(|(?:{'|'.join(map(re.escape, names))}) *=)"
        defined[lesson] = len(re.findall(pattern, code, re.MULTILINE))
    for counted in (asked, defined):
        if counted and counted.most_common(1)[0][1]:
            return counted.most_common(1)[0][0]
    raise _UnreadableError(
        "This is not a lesson of this course; it names no lesson and contains none of the exercises."
    )


def _module(lesson: str) -> str:
    """Return which module of `course_utils.exercises` holds the exercises of a lesson."""
    if lesson.isdigit():
        return f"lesson{int(lesson)}"
    return "appendix" if lesson == "A" else f"appendix_{lesson.lower()}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
