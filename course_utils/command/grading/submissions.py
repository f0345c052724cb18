"""Learners' notebooks, found and read into memory before any answer runs; nothing in them is trusted.

Every file is accounted for: a notebook to judge, one that cannot be judged and why, or data, which is passed over. The
memory matters: an answer may delete files, and then the other notebooks are still judged.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.base.files import DEBRIS, is_debris
from course_utils.base.lessons import lesson_number
from course_utils.errors import SettingError

MOST_BYTES = 50_000_000  # of a notebook file; the lessons' own, with all pictures, have under 3 MB
MOST_CODE = 500_000  # characters of code; a lesson has some 30,000

UNPACK, ITSELF = "; unpack it and check again", "; hand in the notebook itself"
KINDS = {  # by how a file begins, in small letters
    b"pk\x03\x04": "a zip archive" + UNPACK,
    b"\x1f\x8b": "a gzip archive" + UNPACK,
    b"7z\xbc\xaf": "a 7z archive" + UNPACK,
    b"rar!": "a RAR archive" + UNPACK,
    b"%pdf": "a PDF file" + ITSELF,
    b"<!doctype html": "a web page" + ITSELF,
    b"<html": "a web page" + ITSELF,
}
CONFLICT = b"\n<<<<<<< "  # as git marks where two versions differ
DATA = {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".avif", ".svg", ".csv",
        ".tsv", ".npy", ".npz", ".pt", ".pth", ".safetensors", ".mp4", ".mov"}  # fmt: skip


@dataclass(frozen=True)
class Submission:
    """One learner's notebook: its code, and the lesson it belongs to, or the reason why there is none."""

    notebook: str  # the path as a reader knows it
    lesson: str = ""  # its number, such as "01"
    cells: tuple[tuple[int, str], ...] = ()  # the code cells: number in the file, counted from 1, and source
    problem: str = ""  # one sentence when it cannot be judged
    others: tuple[str, ...] = ()  # further lessons whose exercises it checks, which are not judged


@dataclass(frozen=True)
class Found:
    """All that lies at some paths, by the name that a report gives it."""

    notebooks: dict[str, Path] = field(default_factory=dict)  # each once
    problems: dict[str, str] = field(default_factory=dict)  # why a file is not judged
    data: list[str] = field(default_factory=list)  # pictures, tables, weights: nothing to judge

    @property
    def names(self) -> list[str]:
        """The names of what a report lists, in their order."""
        return sorted([*self.notebooks, *self.problems])


def find(paths: Iterable[Path]) -> Found:
    """Return what lies at `paths` and in folders below.

    A notebook may also be called .IPYNB, .ipynb.txt or .ipynb.json, as browsers save it. Hidden files and folders
    (such as .ipynb_checkpoints) inside a folder are left out, and links to folders are not followed; notebooks that
    are only there are problems.

    Raises:
        SettingError: when a path is not there, is neither a folder nor a notebook, or when nothing is found.
    """
    files: list[Path] = []
    problems: dict[str, str] = {}
    paths = list(paths)
    for path in paths:
        if path.is_dir():
            files += _inside(path, problems)
        elif not os.path.lexists(path):
            raise SettingError(f"There is no notebook or folder called {path}.")
        elif not _is_notebook(path):
            raise SettingError(f"{path} is not a notebook; its name must end in .ipynb. {_kind(path)}".rstrip())
        else:
            files.append(path)
    data = sorted({path.as_posix() for path in files if path.suffix.lower() in DATA and not _is_notebook(path)})
    asked = sorted({path.as_posix(): path for path in files if path.as_posix() not in data}.items())
    notebooks: dict[str, Path] = {}
    seen: dict[Path, str] = {}
    for name, path in sorted(asked, key=lambda each: each[1].is_symlink()):  # a file before the links to it
        first = seen.setdefault(_resolved(path), name)
        if first != name:
            if path.is_symlink():
                problems[name] = f"This is a link to {first}, which is judged under that name."
        elif _is_notebook(path):
            notebooks[name] = path
        else:
            problems[name] = _kind(path) or "This is not a notebook."
    if not notebooks and not problems:
        raise SettingError(f"There is no notebook in {', '.join(map(str, paths)) or 'an empty list'}.")
    return Found(dict(sorted(notebooks.items())), problems, data)


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
        lesson = _lesson(notebook, cells, lessons)
        others = tuple(sorted(set(_asked(cells, lessons)) - {lesson}))
        return Submission(name, lesson, cells, others=others)
    except _UnreadableError as error:
        return Submission(name, problem=str(error))
    except OSError as error:
        return Submission(name, problem=f"The file cannot be read: {error.strerror or error}.")


class _UnreadableError(Exception):
    """A file that cannot be judged, and why, in one sentence."""


def _inside(folder: Path, problems: dict[str, str]) -> Iterator[Path]:
    """Give the files in a folder; note in `problems` what cannot be looked at, and hidden notebooks."""

    def fails(error: OSError) -> None:
        problems[Path(error.filename).as_posix()] = f"The folder cannot be read: {error.strerror}."

    root = _resolved(folder)
    for place, folders, files in os.walk(folder, onerror=fails):
        here = Path(place)
        hidden = any(part.startswith(".") for part in here.relative_to(folder).parts)
        folders[:] = [each for each in folders if each.casefold() not in DEBRIS]
        for each in folders:
            path = here / each
            if path.is_symlink() and root not in (_resolved(path), *_resolved(path).parents):
                problems[path.as_posix()] = "This is a link to a folder, which is not followed."
        for each in files:
            path = here / each
            if not hidden and not is_debris(each):
                yield path
            elif each.startswith("._"):  # what macOS keeps about a file
                continue
            elif _is_notebook(path) and not (here.parent / each.replace("-checkpoint.", ".")).exists():
                problems[path.as_posix()] = (
                    "It is hidden, as its name or its folder's begins with a dot; hand it in openly."
                )


def _is_notebook(path: Path) -> bool:
    """Tell whether a file is, or wants to be, a notebook: by its name, or a text by how it begins."""
    if ".ipynb" in path.name.lower():
        return True
    return path.suffix.lower() in (".json", ".txt") and b'"cells"' in _head(path)


def _kind(path: Path) -> str:
    """Return in a sentence what a file is instead of a notebook, or an empty text."""
    head = _head(path).lstrip().lower()
    return next((f"This is {what}." for start, what in KINDS.items() if head.startswith(start)), "")


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would be waited for
            return b""
        with path.open("rb") as file:
            return file.read(1 << 16)
    except OSError:
        return b""


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a link that leads to itself
        return path.absolute()


def _parsed(path: Path) -> dict[str, Any]:
    if not stat.S_ISREG(path.stat().st_mode):
        raise _UnreadableError("This is not a regular file.")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _UnreadableError(
            f"The file is larger than {MOST_BYTES / 1e6:.0f} MB; clear the outputs and save it again."
        )
    if not content.strip():
        raise _UnreadableError("The file is empty; hand it in again.")
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _UnreadableError(_kind(path) or "The file is not UTF-8 text, as every notebook is.") from None
    except RecursionError:
        raise _UnreadableError("The file is too deeply nested to be a notebook.") from None
    except ValueError as error:
        if CONFLICT in b"\n" + content:
            raise _UnreadableError(
                "The file holds git's conflict marks (<<<<<<<), from a merge that was not finished; "
                "take one of the two versions, such as with git checkout --ours, and hand that in."
            ) from None
        raise _UnreadableError(
            _kind(path) or f"The file is not JSON, as every notebook is: {str(error).splitlines()[0][:200]}."
        ) from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise _UnreadableError(
            "The file has no cells, as every notebook in format 4 has; open it in Jupyter, save it again "
            "and hand that in."
        )
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
    with contextlib.suppress(LookupError, TypeError, SettingError):
        number = lesson_number(notebook["metadata"]["course"]["lesson"])
        if number in lessons:
            return number
    code = "\n".join(source for _, source in cells)
    asked = _asked(cells, lessons)
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


def _asked(cells: Iterable[tuple[int, str]], lessons: Iterable[str]) -> Counter[str]:
    """Return how often the code names exercises of each lesson: `exercises.lesson3.`."""
    code = "\n".join(source for _, source in cells)
    modules = {_module(lesson): lesson for lesson in lessons}
    return Counter(modules[found] for found in re.findall(r"\bexercises\.(\w+)\.", code) if found in modules)


def _module(lesson: str) -> str:
    """Return which module of `course_utils.exercises` holds the exercises of a lesson."""
    if lesson.isdigit():
        return f"lesson{int(lesson)}"
    return "appendix" if lesson == "A" else f"appendix_{lesson.lower()}"
