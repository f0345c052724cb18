"""The course's own errors: each message says what was wrong, what was expected and what to do, in one sentence."""

import re
import textwrap
import unicodedata

WIDTH = 72  # characters in a line of text under a cell: the site shows it whole
# Characters that no font draws and that steer a terminal or end a line; the last are bytes that are no text.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def readable(text: str) -> str:
    """Return a text, such as a file's name, that can be shown, stored and compared: what cannot be seen is written out.

    Letters with marks are put together, as macOS takes them apart: two systems then mean the same by one name.
    """

    def written(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code & 0xFF:02x}" if 0xDC80 <= code <= 0xDCFF else found[0].encode("unicode_escape").decode()

    return unicodedata.normalize("NFC", UNSEEN.sub(written, text))


def told(error: BaseException, *, first_line: bool = False) -> str:
    """Return an error as a lesson shows it: its kind and what it says, in lines that fit on the page.

    Some libraries say more in further lines, such as where in their code; `first_line` leaves these out.
    """
    said = str(error).split("\n")[0] if first_line else " ".join(str(error).split())
    return textwrap.fill(f"{type(error).__name__}: {said}", WIDTH, break_on_hyphens=False)


def reason(error: BaseException, most: int = 160) -> str:
    """Return what an error says as a part of a sentence: in one line of so many letters at most, without full stop."""
    return " ".join(str(error).split())[:most].rstrip(".") or type(error).__name__


class CourseError(Exception):
    """Something outside the caller's code went wrong: data, disk, network, a run."""

    def __str__(self) -> str:
        said = super().__str__()
        if said.startswith("Caught ") and "\n" in said:  # PyTorch's loader: a worker's traceback, then what it said
            said = said.rstrip().rpartition(f"{type(self).__name__}: ")[2]
        return "\n".join(map(readable, said.split("\n")))


class DataError(CourseError):
    """A data set cannot be found, read, checked or stored."""


class DamagedError(DataError):
    """A file in the data folder is damaged; such a file is never skipped silently."""


class TrainingError(CourseError):
    """A training run cannot go on, such as a loss that is not a number."""


class DivergedError(TrainingError):
    """The loss has become infinite or NaN by training, or all answers have."""


class SettingError(CourseError, ValueError):
    """A lesson, profile or parameter that does not exist, or a value that does not fit."""


class RunError(CourseError):
    """A notebook did not run to its end."""
