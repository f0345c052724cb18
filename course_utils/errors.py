"""The course's own errors: each message says what was wrong, what was expected and what to do, in one sentence."""

import textwrap

WIDTH = 72  # characters in a line of text under a cell: the site shows it whole


def told(error: BaseException, *, first_line: bool = False) -> str:
    """Return an error as a lesson shows it: its kind and what it says, in lines that fit on the page.

    Some libraries say more in further lines, such as where in their code; `first_line` leaves these out.
    """
    said = str(error).split("\n")[0] if first_line else " ".join(str(error).split())
    return textwrap.fill(f"{type(error).__name__}: {said}", WIDTH, break_on_hyphens=False)


class CourseError(Exception):
    """Something outside the caller's code went wrong: data, disk, network, a run."""


class DataError(CourseError):
    """A data set cannot be found, read, checked or stored."""


class DamagedError(DataError):
    """A file in the data folder is damaged; such a file is never skipped silently."""


class TrainingError(CourseError):
    """A training run cannot go on, such as a loss that is not a number."""


class SettingError(CourseError, ValueError):
    """A lesson, profile or parameter that does not exist, or a value that does not fit."""


class RunError(CourseError):
    """A notebook did not run to its end."""
