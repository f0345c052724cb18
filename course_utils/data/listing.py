"""What lies in a folder of pictures: parts, classes, pictures; every other entry is named with the reason why not.

A flat folder holds a sub-folder for each class; one with parts holds `train/<class>/…`, and val and test if wanted.
Pictures that lie in a folder `test` without class folders have no label: they are kept aside, to ask about.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from course_utils.base.files import is_debris
from course_utils.base.paths import find_folder
from course_utils.base.words import few
from course_utils.data.parts import PART_WORDS
from course_utils.errors import DataError, readable
from course_utils.pictures.files import SUFFIXES, why_not

# The names of parts, in any case, such as "Training_Set", "test images", "seg_train"; a folder of such a name is a part
# only if it holds folders.
PART_NAMES = re.compile(
    r"(?:seg|data|dataset|images?)?[\W_]*"
    r"(?:(?P<train>tra?i?n|training)|(?P<validation>val|valid|validation|dev|eval|evaluation)|(?P<test>te?st|testing|holdout))"
    r"[\W_]*(?:set|data|dataset|images?|imgs?|pictures|photos|split|part|folder)?",
    re.IGNORECASE,
)
LOOSE = "lies in no class folder"
LOCKED = "cannot be read"
TABLES = (".csv", ".tsv", ".xlsx")  # where labels may stand instead
DEEPEST = 40  # folders in one another below a class; a path may have 4,096 characters


@dataclass
class Tree:
    """What a folder of pictures holds: the files of each class in each part, and the reasons why others are not used.

    A flat folder has one part, "train". `places` is where each part lies. Paths in `unused` are relative to the
    folder, as they are on disk (two may look the same); those of folders end in "/".
    """

    root: Path
    flat: bool
    parts: dict[str, dict[str, list[Path]]] = field(default_factory=dict)
    places: dict[str, Path] = field(default_factory=dict)
    unlabelled: list[Path] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)

    def inside(self, path: Path) -> str:
        """Return a path in the folder as it is on disk, relative to the folder."""
        return path.relative_to(self.root).as_posix()

    def shown(self, path: Path) -> str:
        """Return a path in the folder for messages."""
        return readable(self.inside(path))

    def skipped(self) -> dict[str, str]:
        """Return `unused` with names that can be shown; two that would look the same are written in ASCII."""
        alike = Counter(map(readable, self.unused))
        return {
            name.encode("unicode_escape").decode() if alike[readable(name)] > 1 else readable(name): why
            for name, why in self.unused.items()
        }

    def labelled(self, part: str, classes: Sequence[str]) -> tuple[tuple[Path, ...], Tensor]:
        """Return the files of a part and their labels, int64 (N,), the numbers of `classes`; it may lack some.

        Raises:
            DataError: when the part holds another class.
        """
        there, alike = {}, {name.casefold(): name for name in classes}
        for name, files in self.parts[part].items():
            there.setdefault(name if name in classes else alike.get(name.casefold(), name), []).extend(files)
        extra = sorted(set(there) - set(classes))
        if extra:
            raise DataError(
                f"{self.places[part]} holds the class {extra[0]!r}, which training lacks; every part must hold the "
                "same classes."
            )
        numbers = torch.tensor([len(there.get(name, ())) for name in classes])
        files = tuple(path for name in classes for path in there.get(name, ()))
        return files, torch.arange(len(classes)).repeat_interleave(numbers)


def list_folder(path: str | os.PathLike[str]) -> Tree:
    """Return what a folder holds: `train/<class>/…`, and val and test if they are there; or, flat, `<class>/…`.

    Classes and files come in alphabetical order, as in torchvision's ImageFolder. Pictures in sub-folders of a class
    belong to it. A folder `test` (or `testing`) of pictures without class folders is no class where a part or two
    other classes lie beside it.

    Raises:
        DataError: when there is no such folder, there are no class folders, or a class holds no picture.
    """
    root = find_folder(path)
    folders, files = _entries(root)
    named = {folder: part_of(folder.name) for folder in folders}
    parts: dict[str, Path] = {}
    for folder, part in named.items():
        if part is not None and _entries(folder)[0]:
            if part in parts:
                raise DataError(f"{root} has two {part} parts, {parts[part].name} and {folder.name}; keep one of them.")
            parts[part] = folder
    tree = Tree(root, flat=not parts, places=parts or {"train": root})
    tree.unused = {tree.inside(file): _why(file) or LOOSE for file in files}
    aside = [folder for folder, part in named.items() if part == "test" and folder not in parts.values()]
    if tree.flat:
        others = [folder for folder, part in named.items() if part is None]
        if len(folders) > 1 and not others:
            raise DataError(
                f"{root} holds {_listed(folders)}, but no class folders in them; expected {folders[-1].name}/<class>/… "
                f"with a folder of pictures for each class{hint(root)}."
            )
        aside = aside if len(others) >= 2 else []
        tree.parts["train"] = _classes(tree, root, [folder for folder in folders if folder not in aside])
    elif "train" not in parts:
        there = _listed(sorted(parts.values()))
        raise DataError(
            f"{root} has no folder train beside {there}; expected train/<class>, and val or test if wanted."
        )
    for part in PART_WORDS:
        if part in parts:
            folders, loose = _entries(parts[part])
            tree.unused |= {tree.inside(file): _why(file) or LOOSE for file in loose}
            tree.parts[part] = _classes(tree, parts[part], folders, needed=part == "train")
    _keep_aside(tree, aside)
    if not tree.flat:
        for folder in (each for each in named if each not in (*parts.values(), *aside)):
            why = "holds no class folders" if named[folder] else "is neither train, val nor test"
            tree.unused[f"{tree.inside(folder)}/"] = why
    return tree


def _classes(tree: Tree, place: Path, folders: Sequence[Path], needed: bool = True) -> dict[str, list[Path]]:
    """Return the pictures of each class; in a part that is not `needed`, a class may be empty."""
    if not folders:
        if loose := sum(not why_not(file.name) for file in _entries(place)[1]):
            raise DataError(
                f"{place} holds no class folders, but {loose} loose picture{'' if loose == 1 else 's'}; "
                f"put the pictures of each class into a folder of its own{_folder_above(place)}."
            )
        raise DataError(f"{place} holds no class folders; expected one folder of pictures for each class{hint(place)}.")
    if len(folders) == 1 and needed:
        below = folders[0]
        while len(inside := _entries(below)[0]) == 1 and not any(_entries(below)[1]):
            below = inside[0]
        if len(inside) > 1:
            raise DataError(f"{place} holds one folder only, {readable(folders[0].name)!r}; did you mean {below}?")
    classes: dict[str, list[Path]] = {}
    for folder in folders:
        before, name = len(tree.unused), readable(folder.name)
        found = list(_pictures(tree, folder))
        if needed and not found:
            unused = dict(list(tree.unused.items())[before:])
            why = f" that can be read ({summary(unused)})" if unused else f" ({', '.join(SUFFIXES[:3])} …)"
            raise DataError(f"The class {name!r} in {place} holds no pictures{why}; add some, or remove it.")
        classes.setdefault(name, []).extend(found)
    return classes


def _keep_aside(tree: Tree, aside: Sequence[Path]) -> None:
    """Take the pictures that have no label: those of test folders without classes, or with none of training's."""
    for folder in aside:
        tree.unlabelled += _pictures(tree, folder)
    train, test = ({name.casefold() for name in tree.parts.get(part, ())} for part in ("train", "test"))
    if test and not train & test and len(test) == 1:
        tree.unlabelled += [path for files in tree.parts.pop("test").values() for path in files]


def _pictures(tree: Tree, folder: Path, depth: int = 0) -> Iterator[Path]:
    """Yield the picture files in a folder and its sub-folders, and note what else is there."""
    try:
        folders, files = _entries(folder)
    except DataError as error:
        tree.unused[f"{tree.inside(folder)}/"] = f"{LOCKED} ({error.__cause__.strerror})"
        return
    for file in files:
        why = _why(file)
        if why:
            tree.unused[tree.inside(file)] = why
        else:
            yield file
    for inner in folders:
        if inner.is_symlink():
            tree.unused[f"{tree.inside(inner)}/"] = "is a link, which may lead round in circles"
        elif depth == DEEPEST:
            tree.unused[f"{tree.inside(folder)}/"] = f"has folders more than {DEEPEST} deep"
        else:
            yield from _pictures(tree, inner, depth + 1)


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the other entries in a folder, sorted, without debris.

    A link to a folder counts as one, unless that lies above: it would lead round in circles.
    """
    try:
        with os.scandir(folder) as found:
            # By what is shown: else the order, and so a split, would hang on how a system writes letters with marks.
            entries = sorted(found, key=lambda entry: (readable(entry.name), entry.name))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({error.strerror}); check its permissions.") from error
    entries = [entry for entry in entries if not is_debris(entry.name)]
    folders = [Path(entry) for entry in entries if _is_folder(entry, folder)]
    among = set(folders)
    return folders, [path for path in map(Path, entries) if path not in among]


def _is_folder(entry: os.DirEntry[str], inside: Path) -> bool:
    if not entry.is_symlink():
        return entry.is_dir()
    there = os.path.realpath(entry)  # pathlib raises for a link to itself
    return os.path.isdir(there) and not inside.resolve().is_relative_to(there)  # noqa: PTH112


def _why(path: Path) -> str:
    """Return why what is no folder is not taken for a picture; "" if it is one, as far as its name tells."""
    if os.path.isfile(path):  # noqa: PTH113 - as above
        return why_not(path.name)
    if path.is_symlink():
        return f"is a link that leads {'round in circles' if os.path.isdir(path) else 'nowhere'}"  # noqa: PTH112
    return why_not(path.name) or "is not a file"


def part_of(name: str) -> str | None:
    """Return the part that a folder of this name would be: "train", "validation" or "test"; None for any other name."""
    found = PART_NAMES.fullmatch(name)
    return found and found.lastgroup


def _folder_above(place: Path) -> str:
    """Return a hint at the folder above one that holds loose pictures, where it holds other folders too."""
    try:
        beside = _entries(place.parent)[0]
    except DataError:
        return ""
    return f", or name {place.parent} if its folders are the classes" if len(beside) > 1 else ""


def hint(place: Path) -> str:
    """Return the end of a sentence on a folder without classes, where a table of labels or an archive lies in it."""
    for file in _entries(place)[1]:
        if file.suffix.lower() in TABLES:
            return f"; the labels in {readable(file.name)} are not read: sort the pictures into folders by them"
        if why_not(file.name).startswith("is an archive"):
            return f"; {readable(file.name)} must be unpacked first"
    return ""


def _listed(folders: Iterable[Path]) -> str:
    return " and ".join(readable(folder.name) for folder in folders)


def summary(reasons: dict[str, str]) -> str:
    """Return names and reasons in one line: those of the same reason together."""
    together: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        together.setdefault(reason.split(" (")[0], []).append(readable(name))
    return "; ".join(f"{few(names)} ({reason})" for reason, names in together.items())
