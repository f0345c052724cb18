"""Folders that a person names, made absolute where typed and missed with a suggestion; whether to stay offline."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from course_utils.base.words import nearest
from course_utils.errors import CourseError, DataError


def find_folder(named: str | os.PathLike[str], error: type[CourseError] = DataError, what: str = "") -> Path:
    """Return the absolute path of a folder that is there.

    Args:
        named: relative to the current folder, absolute, or beginning with "~".
        error: the class of the exception to raise.
        what: put before its message, such as "Setting 'pictures': ".

    Raises:
        CourseError: of the class `error`, in a sentence, when there is no such folder; a name close to it is suggested.
    """
    shown = os.fspath(named)
    try:
        path = absolute(shown)
        if path.is_dir():
            return path
        is_file = path.exists()
    except (OSError, ValueError) as problem:  # such as a name that is too long
        raise error(f"{what}{shown!r} is no usable folder ({_why(problem)}); check it.") from problem
    where = "" if Path(shown).is_absolute() or shown.startswith("~") else f" in {Path.cwd()}"
    if is_file:
        raise error(f"{what}{shown}{where} is a file, not a folder; if it is an archive, unpack it first.")
    raise error(f"{what}There is no folder {shown}{where}{_suggestion(path)}")


def absolute(named: str | os.PathLike[str]) -> Path:
    """Return an absolute path; "~" is the home folder, and anything relative is so to the current folder.

    Raises:
        ValueError: when "~name" names nobody, or the text can be no path.
    """
    try:
        return Path(os.path.abspath(Path(named).expanduser()))  # noqa: PTH100 - without "..", but links as they are
    except RuntimeError as problem:
        raise ValueError(f"nobody here has the home folder {os.fspath(named)}") from problem


def named_data_folder() -> Path | None:
    """Return the folder that COURSE_DATA_DIR names, absolute; it need not be there yet. None where it is not set.

    Raises:
        DataError: when it cannot be a folder.
    """
    chosen = os.environ.get("COURSE_DATA_DIR", "").strip()
    if not chosen:
        return None
    try:
        folder = absolute(chosen)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{chosen} is a file")
    except (OSError, ValueError) as problem:  # an unknown user, a name that is too long, a NUL
        why = _why(problem)
        raise DataError(f"COURSE_DATA_DIR is no usable folder ({why}); set it to a folder, or unset it.") from None
    return folder


def offline() -> bool:
    """Return whether COURSE_OFFLINE forbids the network: set to anything but nothing, 0, no or false."""
    return os.environ.get("COURSE_OFFLINE", "").strip().lower() not in ("", "0", "no", "false")


def missing_data_folder() -> str:
    """Return a sentence where COURSE_DATA_DIR names a folder that is not there, by a slip perhaps; else nothing.

    Raises:
        DataError: as `named_data_folder`.
    """
    folder = named_data_folder()
    if folder is None or folder.exists():
        return ""
    return f"COURSE_DATA_DIR names {folder}, which is not there; check its name if it should hold data."


def from_here() -> dict[str, str]:
    """Return the environment for a process that runs in another folder: variables that name folders are absolute."""
    found = dict(os.environ)
    for name in ("COURSE_DATA_DIR", "TORCH_HOME", "HF_HOME"):
        if found.get(name, "").strip():
            with suppress(ValueError):  # an unknown user: whoever reads it will say so
                found[name] = str(absolute(found[name].strip()))
    return found


def _why(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)


def _suggestion(path: Path) -> str:
    """Return "; did you mean …?" where a folder beside the first one that is missing has nearly its name."""
    missing = path
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    try:
        beside = {entry.name.casefold(): entry for entry in missing.parent.iterdir() if entry.is_dir()}
    except OSError:
        beside = {}
    name = nearest(missing.name.casefold(), beside)
    return "; check its name, or give its full path." if name is None else f"; did you mean {beside[name]}?"
