"""What a saved classifier says of pictures and of folders of pictures: `course ask`.

Nothing that is given is run or unpacked: a classifier is a file of `transfer.save_network`, which holds no code, and
pictures are read by the course's own decoder.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.base.files import is_debris
from course_utils.base.words import percent
from course_utils.command.grading.report import harmless, plain
from course_utils.errors import DataError, SettingError, readable

if TYPE_CHECKING:
    from course_utils.transfer import Guess, Network

NOTHING_FITS = ("something else", "anything else", "other", "others", "none", "none of these", "background", "unknown")
COLUMNS = ("picture", "place", "class", "share", "error")


@dataclass(frozen=True)
class Asked:
    """A file to ask about: how it is shown, where it is, whether it was named itself or found in a folder.

    locked: why it is a folder that cannot be gone through.
    wrong: a sentence, where there is nothing to ask about after all.
    """

    shown: str
    path: Path
    named: bool
    locked: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class Answer:
    """What the classifier says of one picture, the likeliest class first; or, in `error`, why it was not asked."""

    asked: Asked
    guesses: tuple[Guess, ...] = ()
    error: str = ""

    def __str__(self) -> str:
        return ", ".join(f"{readable(guess.name)} {percent(guess.probability)}" for guess in self.guesses)


def load(classifier: Path) -> Network:
    """Return the classifier in a file.

    Raises:
        SettingError: when the file is none; the sentence says what it is.
    """
    from course_utils.transfer import load_network

    if classifier.is_dir():
        raise SettingError(f"{classifier} is a folder; name the file of a saved classifier first, then pictures.")
    try:
        return load_network(classifier)
    except DataError as error:
        raise SettingError(str(error)) from error


def find(pictures: Sequence[Path]) -> tuple[list[Asked], list[str]]:
    """Return the files to ask about, named ones and those in named folders, and what else lies in these folders.

    Folders are gone through to their ends, in alphabetical order; hidden files and what systems leave behind are
    passed over. A link to a folder is followed once, unless it leads into the named folder or above it, round in
    circles. Files of one name are shown with their paths.

    Raises:
        SettingError: when there is nothing to ask about.
    """
    asked: list[Asked] = []
    others: list[str] = []
    for place in pictures:
        if not place.is_dir():
            asked.append(Asked(plain(place.name), place, named=True))
            continue
        inside = [
            Asked(plain(path.relative_to(place).as_posix()), path, named=False, locked=why)
            for path, why in _files(place)
        ]
        found = [each for each in inside if each.locked or _may_be_a_picture(each.path)]
        if all(each.locked for each in found):
            why = f" that can be reached ({found[0].shown} {found[0].locked})" if found else ""
            wrong = f"{place} holds no pictures{why}; name a folder that does, or a picture."
            asked.append(Asked(plain(place.name or str(place)), place, named=True, wrong=wrong))
            continue
        asked += found
        others += [each.shown for each in inside if not each.locked and not _may_be_a_picture(each.path)]
    if all(each.wrong for each in asked):
        raise SettingError(asked[0].wrong)
    shown = Counter(each.shown for each in asked)
    return [replace(e, shown=plain(e.path.as_posix())) if shown[e.shown] > 1 else e for e in asked], others


def answers(net: Network, asked: Iterable[Asked], top: int) -> Iterator[Answer]:
    """Yield what `net` says of each file, one at a time, so that a long list takes no more memory than a short one."""
    from course_utils.pictures import open_picture

    for each in asked:
        try:
            if each.wrong:
                raise DataError(each.wrong)
            if each.locked:
                raise DataError(f"{each.shown} {each.locked}; check its permissions.")
            picture = open_picture(each.path)
            guesses = tuple(net.predict(picture, top))
            if not all(math.isfinite(guess.probability) for guess in guesses):
                raise DataError(f"The classifier gives {each.shown} no finite shares; train it again and save it.")
        except DataError as error:
            yield Answer(each, error=str(error).replace(readable(str(each.path)), each.shown))
        else:
            yield Answer(each, guesses)


def closing(net: Network) -> str:
    """Return a sentence for classifiers that have no class for anything else, or an empty text."""
    if any(name.casefold() in NOTHING_FITS for name in net.classes):
        return ""
    return (
        f"This classifier knows {len(net.classes)} classes and has none for anything else: "
        "a picture of another thing gets one of these names too."
    )


def to_json(net: Network, given: Sequence[Answer], others: Sequence[str]) -> str:
    """Return the answers as JSON: "network", "classes", "pictures" (each with its "guesses" and "error"), "passed"."""
    pictures = [
        {
            "picture": answer.asked.shown,
            "guesses": [{"class": readable(guess.name), "share": guess.probability} for guess in answer.guesses],
            "error": answer.error or None,
        }
        for answer in given
    ]
    whole = {
        "network": net.name,
        "classes": [*map(readable, net.classes)],
        "pictures": pictures,
        "passed": list(others),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(given: Sequence[Answer]) -> str:
    """Return the answers as CSV, a line for each guess, and one for each picture that could not be read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in given:
        name = harmless(answer.asked.shown)
        for place, guess in enumerate(answer.guesses, start=1):
            writer.writerow((name, place, harmless(guess.name), f"{guess.probability:.6f}", ""))
        if answer.error:
            writer.writerow((name, "", "", "", harmless(answer.error)))
    return text.getvalue()


def check_csv(path: Path, classifier: Path, asked: Sequence[Asked]) -> None:
    """See beforehand that the CSV would not overwrite what is read.

    Raises:
        SettingError: when it would.
    """
    read = [other for other in (classifier, *(each.path for each in asked)) if other.exists()]
    if path.exists() and any(path.samefile(other) for other in read):
        raise SettingError(f"--csv would overwrite {path}, which is read; choose another file name.")


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what is no folder, folders that lie too deep to go on, and those that cannot be read, with the reason."""
    from course_utils.data.listing import DEEPEST

    locked, followed, top = [], set(), Path(os.path.realpath(folder))

    def goes_round(path: Path) -> bool:
        target = Path(os.path.realpath(path))
        if target in followed or target.is_relative_to(top) or top.is_relative_to(target):
            return True
        followed.add(target)
        return False

    def fails(error: OSError) -> None:
        why = f"cannot be read ({error.strerror})"
        if Path(error.filename) == folder:
            raise SettingError(f"{folder} {why}; check its permissions.")
        locked.append((Path(error.filename), why))

    for place, folders, files in os.walk(folder, onerror=fails, followlinks=True):
        kept = sorted((name for name in folders if not is_debris(name)), key=readable)
        too_deep = len(Path(place).relative_to(folder).parts) >= DEEPEST
        kept = [name for name in kept if not Path(place, name).is_symlink() or not goes_round(Path(place, name))]
        folders[:] = [] if too_deep else kept
        yield from ((Path(place, name), "") for name in kept if too_deep)
        for name in sorted(files, key=readable):
            if not is_debris(name):
                yield Path(place, name), ""
    yield from locked


def _may_be_a_picture(path: Path) -> bool:
    from course_utils.pictures.files import HEIC_SUFFIXES, SUFFIXES

    return path.suffix.lower() in (*SUFFIXES, *HEIC_SUFFIXES)
