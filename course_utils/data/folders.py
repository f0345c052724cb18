"""Your own pictures: a folder with one sub-folder a class, listed so that every entry is accounted for.

folder(path)                     → ImageSet of FilePart: pictures stay on disk, for `data.loader`
folder(path, size=(128, 128))    → ImageSet of TensorPart: all pictures scaled to one size, for `data.batches`
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_utils.base.files import whole
from course_utils.data import copies
from course_utils.data.parts import PART_WORDS, FilePart, ImageSet, Source, TensorPart, announce, decode, statistics
from course_utils.data.splits import split_groups
from course_utils.errors import DataError
from course_utils.pictures.files import SUFFIXES

# The names of parts, in any case; a folder of such a name is a part only if it holds folders.
PART_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PART_NAMES |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
FRACTIONS = (0.5, 0.25, 0.25)
UNREADABLE = ("refuse", "skip")
# What systems and programs leave behind, besides everything whose name begins with a dot: passed over.
DEBRIS = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"}
HEIC = "HEIC is not read here: save it as JPEG"
REASONS = {".heic": HEIC, ".heif": HEIC}
MOST_BYTES = 2 * 1024**3  # what the tensors of a set may take


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


def folder(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    unreadable: str = "refuse",
    source: Source | None = None,
    quiet: bool = False,
) -> ImageSet:
    """Return the pictures in a folder as a set; each file is opened once, to see that it can be read.

    Args:
        path: a folder with `train/<class>/…` and, if wanted, `val/<class>/…` and `test/<class>/…`, taken as it is; or
            a flat one, `<class>/…`, which is split: each class in proportion, pictures with equal pixels in one part.
        size: (height, width): read everything now, scaled and cut to this size, as `TensorPart`. None: leave the
            pictures on disk, as `FilePart`.
        fractions: the shares of training, validation and test for a flat folder; 0 for a part that is not wanted.
        seed: of that split.
        unreadable: "refuse" raises DataError with the names of pictures that cannot be read; "skip" leaves them out
            and names them.
        source: where the pictures came from, if that is more than a folder.
        quiet: do not print the lines that describe the set.

    Raises:
        DataError: when there is no such folder, it has fewer than two classes, a class has too few pictures, files
            cannot be read, parts differ in their classes, or tensors would take more than 2 GB.
        ValueError: for wrong arguments.
    """
    if unreadable not in UNREADABLE:
        raise ValueError(f"unreadable must be one of {', '.join(UNREADABLE)}, not {unreadable!r}.")
    if len(fractions) != 3 or fractions[0] <= 0 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"The fractions {tuple(fractions)} must be three numbers that add up to 1, the first above 0.")
    root = Path(path).expanduser()
    tree = list_folder(root)
    classes = tuple(tree.parts["train"])
    if len(classes) == 1:
        raise DataError(f"{root} holds one class only, {classes[0]!r}; expected a folder for each of two or more.")
    listed = {part: tree.labelled(part, classes) for part in tree.parts}
    count = sum(len(files) for files, _ in listed.values())
    if size is not None and 3 * size[0] * size[1] * count > MOST_BYTES:
        raise DataError(
            f"{count:,} pictures of {size[0]}×{size[1]} would take {3 * size[0] * size[1] * count / 1e9:.1f} GB; "
            "take a smaller size, or none to read them one by one."
        )
    parts, looks = {}, []
    for part, (files, labels) in listed.items():
        seen = copies.look(files)
        parts[part] = _readable(tree, part, files, labels, classes, seen, unreadable)
        looks += [one for one in seen if not one.why]
    files = [file for part in parts.values() for file in part.files]
    groups, alike = copies.compare(files, looks)
    if tree.flat:
        shares = dict(zip(PART_WORDS, fractions))
        indices = split_groups(
            parts["train"].labels, groups, [share for share in shares.values() if share], seed, classes
        )
        parts = {
            part: parts["train"].select(chosen, part)
            for part, chosen in zip((part for part, share in shares.items() if share), indices)
        }
    told = remarks(tree, files, groups, alike, parts, fractions)
    if size is not None:
        images = {name: decode(part.files, size=size) for name, part in parts.items()}
        mean, std = statistics(images["train"])
        parts = {n: TensorPart(images[n], part.labels, classes, n, mean, std) for n, part in parts.items()}
    made = ImageSet(
        root.name or root.resolve().name,
        root.name or root.resolve().name,
        **dict.fromkeys(PART_WORDS) | parts,
        classes=classes,
        source=source or Source("folder", "from a folder of pictures", path=root, shareable=False),
        skipped=tree.unused,
        copies=len(files) - len(np.unique(groups)),
        remarks=told,
    )
    if not quiet:
        announce(made)
    return made


def _readable(
    tree: Tree,
    part: str,
    files: Sequence[Path],
    labels: Tensor,
    classes: tuple[str, ...],
    seen: Sequence[copies.Look],
    unreadable: str,
) -> FilePart:
    """Return the part of those files that can be read; the others are noted in the tree, or refused."""
    bad = {tree.shown(file): look.why for file, look in zip(files, seen) if look.why}
    if bad and unreadable == "refuse":
        raise DataError(
            f"{len(bad)} of {len(files):,} pictures in {tree.root.name} cannot be read: {summary(bad)}; fix or remove "
            'them, or skip them with unreadable="skip".'
        )
    tree.unused |= bad
    good = torch.tensor([i for i, look in enumerate(seen) if not look.why], dtype=torch.int64)
    counts = torch.bincount(labels[good], minlength=len(classes)).tolist()
    if 0 in counts:
        empty = counts.index(0)
        bad = {name: bad[name] for name, label in zip(map(tree.shown, files), labels.tolist()) if label == empty}
        where = f"the class {classes[empty]!r} in {tree.root.name}"
        raise DataError(f"No picture of {where} can be read: {summary(bad)}; get fresh copies, or remove the class.")
    kept = good.tolist()
    return FilePart(tuple(files[i] for i in kept), labels[good], classes, part, tuple(seen[i].size for i in kept))


def remarks(
    tree: Tree,
    files: Sequence[Path],
    groups: np.ndarray,
    alike: np.ndarray,
    parts: dict[str, FilePart],
    fractions: Sequence[float],
) -> tuple[str, ...]:
    """Return what should be known of the pictures of a folder, one sentence each.

    Args:
        tree: the folder.
        files: all that are used, in the order of `groups` and `alike`, from `copies.compare`.
        groups, alike: see there.
        parts: the parts as they were made.
        fractions: the shares that were asked for.
    """
    told = []
    where = {
        file: (name, label) for name, part in parts.items() for file, label in zip(part.files, part.labels.tolist())
    }
    members: dict[int, list[Path]] = {}
    for file, group in zip(files, groups.tolist()):
        members.setdefault(group, []).append(file)
    equal = [inside for inside in members.values() if len(inside) > 1]
    again = [file for inside in equal for file in inside[1:]]
    if again and tree.flat:
        told.append(f"{len(again)} repeated, kept in one part: {few(map(tree.shown, again))}.")
    leaked = [file for inside in equal for file in inside if where[file][0] != "train" == where[inside[0]][0]]
    if leaked:
        told.append(f"{len(leaked)} outside training are in training too: {few(map(tree.shown, leaked))}.")
    torn = [file for inside in equal for file in inside if len({where[other][1] for other in inside}) > 1]
    if torn:
        told.append(f"{len(torn)} equal under two class names: {few(map(tree.shown, torn))}.")
    if alike.any():
        like = [tree.shown(files[i]) for i in alike.nonzero()[0]]
        told.append(f"{len(like)} look alike: {few(like)}.")
    if tree.flat:
        counts = np.array([list(part.counts().values()) for part in parts.values()])  # (parts, classes)
        shares = np.outer([share for share in fractions if share], counts.sum(axis=0))
        for label in (np.abs(counts - shares) > 1 + 1e-6).any(axis=0).nonzero()[0]:
            got = ", ".join(str(count) for count in counts[:, label])
            name = parts["train"].classes[label]
            told.append(f"The class {name!r} is split {got}, because pictures that repeat stay in one part.")
    if tree.unused:
        told.append(f"{len(tree.unused)} not used: {summary(tree.unused)}.")
    return tuple(told)


def summary(reasons: dict[str, str]) -> str:
    """Return names and reasons in one line: those of the same reason together."""
    together: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        together.setdefault(reason.split(" (")[0], []).append(name)
    return "; ".join(f"{few(names)} ({reason})" for reason, names in together.items())


def few(names: Iterator[str] | Sequence[str]) -> str:
    """Return at most three names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def decode_once(files: Sequence[Path], mode: str, cache: Path, name: str) -> np.ndarray:
    """Return pictures like `decode`, from a file in the folder `cache` if they were decoded before.

    The file belongs to exactly these pictures: their names, sizes and times of change. Changed ones are decoded again.
    """
    fingerprint = hashlib.sha256(mode.encode())
    for path in files:
        seen = path.stat()
        fingerprint.update(f"{path}|{seen.st_size}|{seen.st_mtime_ns}\n".encode())
    kept = cache / f"{name}-{fingerprint.hexdigest()[:16]}.npy"
    try:
        images = np.load(kept, allow_pickle=False)
        if len(images) == len(files):
            return images
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or damaged: decode again
    images = decode(files, mode).numpy()
    with suppress(OSError):  # no room or no permission: the pictures are here all the same
        for old in cache.glob(f"{name}-*.npy"):
            old.unlink(missing_ok=True)
        with whole(kept) as unfinished:
            np.save(unfinished, images)
    return images
