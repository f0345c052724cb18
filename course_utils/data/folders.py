"""Your own pictures: a folder with one sub-folder a class, listed so that every entry is accounted for.

folder(path)                     → ImageSet of FilePart: pictures stay on disk, for `data.loader`
folder(path, size=(128, 128))    → ImageSet of TensorPart: all pictures scaled to one size, for `data.batches`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_utils.base.words import few
from course_utils.data import copies
from course_utils.data.decoding import decode
from course_utils.data.listing import LOCKED, Tree, hint, list_folder, part_of, summary
from course_utils.data.parts import PART_WORDS, FilePart, ImageSet, Source, TensorPart, announce, statistics
from course_utils.data.splits import apportion, split_groups
from course_utils.errors import DataError, readable

FRACTIONS = (0.5, 0.25, 0.25)
UNREADABLE = ("refuse", "skip")
MOST_BYTES = 2 * 1024**3  # what the tensors of a set may take


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
            A class with too few pictures for all parts fills training, then test. Pictures in a folder test without
            class folders are `unlabelled`.
        size: (height, width): read everything now, scaled and cut to this size, as `TensorPart`. None: leave the
            pictures on disk, as `FilePart`.
        fractions: the shares of training, validation and test for a flat folder; 0 for a part that is not wanted.
        seed: of that split.
        unreadable: "refuse" raises DataError with the names of pictures and sub-folders that cannot be read; "skip"
            leaves them out and names them.
        source: where the pictures came from, if that is more than a folder.
        quiet: do not print the lines that describe the set.

    Raises:
        DataError: when there is no such folder, it has fewer than two classes, a class has no picture, files cannot be
            read, a part holds a class that training lacks, or tensors would take more than 2 GB.
        ValueError: for wrong arguments.
    """
    fractions = _checked(size, fractions, seed, unreadable)
    tree = list_folder(path)
    classes = tuple(tree.parts["train"])
    if len(classes) == 1:
        raise DataError(
            f"{tree.root} holds one class only, {classes[0]!r}, and a classifier chooses between two or more; add a "
            f"folder with pictures of something else{hint(tree.root)}."
        )
    parts, looks = _looked_through(tree, classes, size, unreadable)
    files = [file for part in parts.values() for file in part.files]
    groups, alike = copies.compare(files, looks)
    if tree.flat:
        shares = {part: share for part, share in zip(PART_WORDS, fractions) if share}
        indices = split_groups(parts["train"].labels, groups, list(shares.values()), int(seed))
        parts = {part: parts["train"].select(chosen, part) for part, chosen in zip(shares, indices) if len(chosen)}
    pictures = ImageSet(
        readable(tree.root.name),
        readable(tree.root.name),
        **dict.fromkeys(PART_WORDS) | (parts if size is None else _as_tensors(parts, size)),
        classes=classes,
        source=source or Source("folder", "from a folder of pictures", path=tree.root, shareable=False),
        skipped=tree.skipped(),
        copies=len(files) - len(np.unique(groups)),
        remarks=remarks(tree, files, groups, alike, parts, fractions),
        unlabelled=tuple(tree.unlabelled),
    )
    if not quiet:
        announce(pictures)
    return pictures


def _checked(size: object, fractions: object, seed: object, unreadable: object) -> tuple[float, ...]:
    """Return the fractions as a tuple; raise `ValueError` for wrong arguments of `folder`."""
    if unreadable not in UNREADABLE:
        raise ValueError(f"unreadable must be one of {', '.join(UNREADABLE)}, not {unreadable!r}.")
    shares = tuple(fractions) if isinstance(fractions, Iterable) else ()
    numbers = len(shares) == 3 and all(isinstance(share, Real) for share in shares)
    if not numbers or not (shares[0] > 0 and min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):
        raise ValueError(f"The fractions {fractions} must be three numbers that add up to 1, the first above 0.")
    if not isinstance(seed, Integral) or abs(seed) >= 2**63:
        raise ValueError(f"seed must be a whole number, such as 0, not {seed!r}.")
    sides = list(size) if isinstance(size, Sequence) else []
    if size is not None and not (len(sides) == 2 and all(isinstance(side, int) and side > 0 for side in sides)):
        raise ValueError(f"size must be (height, width) in pixels, such as (224, 224), not {size!r}.")
    return shares


def _looked_through(
    tree: Tree, classes: tuple[str, ...], size: tuple[int, int] | None, unreadable: str
) -> tuple[dict[str, FilePart], list[copies.Look]]:
    """Return the parts of the pictures that can be read, and what was seen of each; others become `tree.unused`."""
    locked = {name: why for name, why in tree.unused.items() if name.endswith("/") and why.startswith(LOCKED)}
    if locked and unreadable == "refuse":
        raise DataError(f'In {tree.root} {summary(locked)}; check its permissions, or skip it with unreadable="skip".')
    listed = {part: tree.labelled(part, classes) for part in tree.parts}
    count = sum(len(files) for files, _ in listed.values())
    if size is not None and 3 * size[0] * size[1] * count > MOST_BYTES:
        raise DataError(
            f"{count:,} pictures of {size[0]}×{size[1]} would take {3 * size[0] * size[1] * count / 1e9:.1f} GB; "
            "take a smaller size, or none to read them one by one."
        )
    seen = {part: copies.look(files) for part, (files, _) in listed.items()}
    bad = {
        tree.inside(file): look.why
        for part, (files, _) in listed.items()
        for file, look in zip(files, seen[part])
        if look.why
    }
    if bad and unreadable == "refuse":
        raise DataError(
            f"{len(bad)} of {count:,} pictures in {tree.root.name} cannot be read: {summary(bad)}; fix or remove "
            'them, or skip them with unreadable="skip".'
        )
    tree.unused |= bad
    found = {part: _readable(tree, part, *listed[part], classes, seen[part]) for part in listed}
    parts = {name: part for name, part in found.items() if part is not None}
    return parts, [look for name in parts for look in seen[name] if not look.why]


def _readable(
    tree: Tree,
    part: str,
    files: Sequence[Path],
    labels: Tensor,
    classes: tuple[str, ...],
    seen: Sequence[copies.Look],
) -> FilePart | None:
    """Return the part of those files that can be read, or None; a class of training without any is refused."""
    good = torch.tensor([i for i, look in enumerate(seen) if not look.why], dtype=torch.int64)
    counts = torch.bincount(labels[good], minlength=len(classes)).tolist()
    if 0 in counts and part == "train":
        empty = counts.index(0)
        bad = {tree.inside(files[i]): seen[i].why for i, label in enumerate(labels.tolist()) if label == empty}
        where = f"the class {classes[empty]!r} in {tree.root.name}"
        raise DataError(f"No picture of {where} can be read: {summary(bad)}; get fresh copies, or remove the class.")
    kept = good.tolist()
    if not kept:
        return None
    return FilePart(tuple(files[i] for i in kept), labels[good], classes, part, tuple(seen[i].size for i in kept))


def _as_tensors(parts: dict[str, FilePart], size: tuple[int, int]) -> dict[str, TensorPart]:
    """Return the parts read into memory, scaled and cut to (height, width)."""
    images = {name: decode(part.files, size=size) for name, part in parts.items()}
    mean, std = statistics(images["train"])
    return {n: TensorPart(images[n], part.labels, part.classes, n, mean, std) for n, part in parts.items()}


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
    both = ("validation", "test")
    shared = [file for inside in equal for file in inside if (where[inside[0]][0], where[file][0]) == both]
    if shared:
        told.append(f"{len(shared)} in test are in validation too: {few(map(tree.shown, shared))}.")
    torn = [file for inside in equal for file in inside if len({where[other][1] for other in inside}) > 1]
    if torn:
        told.append(f"{len(torn)} equal under two class names: {few(map(tree.shown, torn))}.")
    if alike.any():
        like = [tree.shown(files[i]) for i in alike.nonzero()[0]]
        told.append(f"{len(like)} look alike: {few(like)}.")
    told += _uneven(parts, fractions) + _floors(tree) if tree.flat else _lacking(parts)
    if tree.unlabelled:
        told.append(f"{len(tree.unlabelled):,} without a label, kept aside: {few(map(tree.shown, tree.unlabelled))}.")
    beside = _parts_beside(tree.root) if tree.flat and part_of(tree.root.name) else []
    if beside:
        told.append(f"Not used: {' and '.join(beside)} beside it; give the folder above to use all parts.")
    if tree.unused:
        folders = sum(name.endswith("/") for name in tree.unused)
        counts = [str(len(tree.unused) - folders)] if len(tree.unused) > folders else []
        counts += [f"{folders} folder{'' if folders == 1 else 's'}"] if folders else []
        told.append(f"{' and '.join(counts)} not used: {summary(tree.unused)}.")
    return tuple(told)


def _uneven(parts: dict[str, FilePart], fractions: Sequence[float]) -> list[str]:
    """Return what should be known of the split of a flat folder: classes too small for all parts, or uneven ones."""
    wanted = [part for part, share in zip(PART_WORDS, fractions) if share]
    classes = parts["train"].classes
    none = dict.fromkeys(classes, 0)
    counts = np.array([list((parts[p].counts() if p in parts else none).values()) for p in wanted])  # (parts, classes)
    told, empty = [], counts == 0
    for pattern in np.unique(empty, axis=1).T:
        labels = (empty == pattern[:, None]).all(axis=0)
        without = " or ".join(PART_WORDS[part] for part, lacks in zip(wanted, pattern) if lacks)
        enough = counts.sum(axis=0) >= len(wanted)  # but for copies, which stay together
        for what, chosen in (("pictures", labels & ~enough), ("different pictures", labels & enough)):
            if without and chosen.any():
                told.append(f"Too few {what} for {without}: {few(classes[label] for label in chosen.nonzero()[0])}.")
    weights = [share for share in fractions if share]
    shares = np.outer(weights, counts.sum(axis=0))
    for label in ((np.abs(counts - shares) > 1 + 1e-6).any(axis=0) & ~empty.any(axis=0)).nonzero()[0]:
        got = counts[:, label].tolist()
        as_without_copies = got == apportion(sum(got), weights, at_least=1)
        why = "each part gets at least one" if as_without_copies else "pictures that repeat stay in one part"
        told.append(f"The class {classes[label]!r} is split {', '.join(map(str, got))}, because {why}.")
    return told


def _floors(tree: Tree) -> list[str]:
    """Return a remark where no class holds pictures itself, but all in folders: these may be the classes."""
    inside = [{file.relative_to(tree.root).parts[1:-1][:1] for file in files} for files in tree.parts["train"].values()]
    if any(() in each or len(each) < 2 for each in inside):
        return []
    names = few(readable(name) for (name,) in sorted(set().union(*inside), key=lambda each: readable(each[0])))
    if all(each == inside[0] for each in inside):
        told = f"Every class holds the folders {names}; if these are the classes, name those above them train and test."
    else:
        told = f"The classes hold folders, {names}; if these are the classes, put them all into one folder."
    return [told]


def _lacking(parts: dict[str, FilePart]) -> list[str]:
    """Return for each part that lacks classes of training which they are."""
    told = []
    for name, part in parts.items():
        lost = [label for label, count in part.counts().items() if not count]
        if lost:
            told.append(f"No {PART_WORDS[name]} picture of {few(lost)}.")
    return told


def _parts_beside(root: Path) -> list[str]:
    """Return the names of folders beside a part that look like the other parts of the same set."""
    try:
        beside = sorted((entry.name for entry in root.parent.iterdir() if entry.is_dir()), key=readable)
    except OSError:
        return []
    return [name for name in beside if part_of(name) not in (None, part_of(root.name))]
