"""What lies in a folder of pictures: parts, classes, pictures; every other entry is named with the reason why not.

A flat folder holds a sub-folder for each class; one with parts holds `train/<class>/…`, and val and test if wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from course_utils.data.parts import PART_WORDS
from course_utils.errors import DataError
from course_utils.pictures.files import SUFFIXES

# The names of parts, in any case; a folder of such a name is a part only if it holds folders.
PART_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PART_NAMES |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
# What systems and programs leave behind, besides everything whose name begins with a dot: passed over.
DEBRIS = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"}
HEIC = "HEIC is not read here: save it as JPEG"
REASONS = {".heic": HEIC, ".heif": HEIC}


@dataclass
class Tree:
    """What a folder of pictures holds: the files of each class in each part, and the reasons why others are not used.

    A flat folder has one part, "train". Paths in `unused` are relative to the folder.
    """

    root: Path
    flat: bool
    parts: dict[str, dict[str, list[Path]]] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)

    def shown(self, path: Path) -> str:
        """Return a path in the folder for messages; bytes that are no text are written as such."""
        return path.relative_to(self.root).as_posix().encode("utf-8", "backslashreplace").decode()

    def labelled(self, part: str, classes: Sequence[str]) -> tuple[tuple[Path, ...], Tensor]:
        """Return the files of a part and their labels, int64 (N,), the numbers of `classes`.

        Raises:
            DataError: when the part lacks a class or holds another one.
        """
        there, where = self.parts[part], self.root if self.flat else self.root / part
        lost, extra = [name for name in classes if name not in there], sorted(set(there) - set(classes))
        if lost or extra:
            what = f"lacks the class {lost[0]!r}" if lost else f"holds the class {extra[0]!r}, which training lacks"
            raise DataError(f"{where} {what}; every part of a set must hold the same classes.")
        numbers = torch.tensor([len(there[name]) for name in classes])
        return tuple(path for name in classes for path in there[name]), torch.arange(len(classes)).repeat_interleave(
            numbers
        )


def list_folder(root: Path) -> Tree:
    """Return what a folder holds: `train/<class>/…`, and val and test if they are there; or, flat, `<class>/…`.

    Classes and files come in alphabetical order, as in torchvision's ImageFolder. Pictures in sub-folders of a class
    belong to it.

    Raises:
        DataError: when there is no such folder, there are no class folders, or a class holds no picture.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder {root}{_looked_in(root)}; check its name, or give its full path.")
    folders, files = _entries(root)
    named = {folder: PART_NAMES.get(folder.name.casefold()) for folder in folders}
    parts: dict[str, Path] = {}
    for folder, part in named.items():
        if part is not None and _entries(folder)[0]:
            if part in parts:
                raise DataError(f"{root} has two {part} parts, {parts[part].name} and {folder.name}; keep one of them.")
            parts[part] = folder
    tree = Tree(root, flat=not parts)
    tree.unused = {tree.shown(file): _reason(file, "lies in no class folder") for file in files}
    if tree.flat:
        tree.parts["train"] = _classes(tree, root, folders)
    elif "train" not in parts:
        there = " and ".join(sorted(folder.name for folder in parts.values()))
        raise DataError(
            f"{root} has no folder train beside {there}; expected train/<class>, and val or test if wanted."
        )
    for part in PART_WORDS:
        if part in parts:
            folders, loose = _entries(parts[part])
            tree.unused |= {tree.shown(file): _reason(file, "lies in no class folder") for file in loose}
            tree.parts[part] = _classes(tree, parts[part], folders)
    if not tree.flat:
        for folder in set(named) - set(parts.values()):
            why = "holds no class folders" if named[folder] else "is neither train, val nor test"
            tree.unused[f"{tree.shown(folder)}/"] = why
    return tree


def _classes(tree: Tree, place: Path, folders: Sequence[Path]) -> dict[str, list[Path]]:
    if not folders:
        raise DataError(f"{place} holds no class folders; expected one folder of pictures for each class.")
    if len(folders) == 1 and len(_entries(folders[0])[0]) > 1:
        raise DataError(f"{place} holds one folder only, {folders[0].name!r}; did you mean {folders[0]}?")
    classes = {}
    for folder in folders:
        before = len(tree.unused)
        classes[folder.name] = list(_pictures(tree, folder))
        if not classes[folder.name]:
            unused = dict(list(tree.unused.items())[before:])
            why = f" that can be read ({summary(unused)})" if unused else f" ({', '.join(SUFFIXES[:3])} …)"
            raise DataError(f"The class {folder.name!r} in {place} holds no pictures{why}; add some, or remove it.")
    return classes


def _pictures(tree: Tree, folder: Path) -> Iterator[Path]:
    """Yield the picture files in a folder and its sub-folders, and note what else is there."""
    folders, files = _entries(folder)
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            tree.unused[tree.shown(file)] = _reason(file, "")
        elif file.is_file():
            yield file
        else:
            tree.unused[tree.shown(file)] = "is not a file"
    for inner in folders:
        if inner.is_symlink():
            tree.unused[f"{tree.shown(inner)}/"] = "is a link, which may lead round in circles"
        else:
            yield from _pictures(tree, inner)


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the other entries in a folder, sorted, without debris."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({error.strerror}); check its permissions.") from error
    entries = [entry for entry in entries if entry.name[0] != "." and entry.name.casefold() not in DEBRIS]
    return [Path(entry) for entry in entries if entry.is_dir()], [
        Path(entry) for entry in entries if not entry.is_dir()
    ]


def _reason(file: Path, otherwise: str) -> str:
    suffix = file.suffix.lower()
    return otherwise if suffix in SUFFIXES else REASONS.get(suffix, "is not a picture")


def _looked_in(path: Path) -> str:
    return "" if path.is_absolute() else f" in {Path.cwd()}"


def summary(reasons: dict[str, str]) -> str:
    """Return names and reasons in one line: those of the same reason together."""
    together: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        together.setdefault(reason.split(" (")[0], []).append(name)
    return "; ".join(f"{few(names)} ({reason})" for reason, names in together.items())


def few(names: Iterable[str]) -> str:
    """Return at most three names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
