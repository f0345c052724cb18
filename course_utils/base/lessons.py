"""Where the lessons are and what they are called: numbers, file names, the folder that holds them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from course_utils.errors import SettingError

FILE = re.compile(r"(?P<number>\d\d|[A-Z])_[a-z0-9_]+")


def lesson_number(lesson: str | int) -> str:
    """Return the two digits (or the appendix's letter) of `lesson`: 1, "1", "01" and "01_pixels.ipynb" give "01".

    Raises:
        SettingError: when it does not look like a lesson.
    """
    text = Path(str(lesson)).name
    text = re.sub(r"\.(?:ipynb|py)\Z", "", text, flags=re.IGNORECASE).partition("_")[0]
    if re.fullmatch(r"\d{1,2}", text):
        return f"{int(text):02d}"
    if re.fullmatch(r"[A-Za-z]", text):
        return text.upper()
    raise SettingError(f"{lesson!r} is not a lesson; write its number, such as 3 or 03.")


def find_root() -> Path:
    """Return the course's folder: the one with `notebooks/` around the package, or at or above the current folder.

    Raises:
        SettingError: when there is none, as after installing only the package.
    """
    for folder in (Path(__file__).resolve().parents[2], Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "source").is_dir():
            return folder
    raise SettingError(
        "The lessons are not here; run the command inside a clone of the course, the folder that holds notebooks/."
    )


def sources(root: Path | None = None) -> dict[str, Path]:
    """Return the lessons' sources (percent scripts) by number."""
    return _by_number((root or find_root()) / "notebooks" / "source", "py")


def notebooks(root: Path | None = None) -> dict[str, Path]:
    """Return the built notebooks by number."""
    return _by_number((root or find_root()) / "notebooks", "ipynb")


def choose(wanted: Iterable[str | int], known: dict[str, Path], what: str = "notebook") -> dict[str, Path]:
    """Return those of `known` that `wanted` names, all when it names none, in the order of the course.

    Raises:
        SettingError: for one that is not there, or when there is none at all.
    """
    if not known:
        raise SettingError(f"There is no {what} of a lesson here; a clone of the course has them in notebooks/.")
    numbers = {lesson_number(lesson): lesson for lesson in wanted}
    for number, asked in numbers.items():
        if number not in known:
            raise SettingError(f"There is no lesson {asked!r}; there are {', '.join(known)}.")
    return {number: path for number, path in known.items() if not numbers or number in numbers}


def _by_number(folder: Path, ending: str) -> dict[str, Path]:
    """Return the lessons' files in `folder`, in the order of the course: numbers first, then letters."""
    found = {}
    for path in sorted(folder.glob(f"*.{ending}")):
        match = FILE.fullmatch(path.stem)
        if match:
            found[match.group("number")] = path
    return found
