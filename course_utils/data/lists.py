"""Lists of picture files with labels, split into parts: for sets whose pictures stay on disk until they are needed.

A folder with parts (`train/<class>/…`) is taken as it is; a flat one (`<class>/…`) is split at random, each class
alike, and pictures that are copies of each other, or nearly so, are never divided among two parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from course_utils.base import notes
from course_utils.data import image_files
from course_utils.data.folders import described, list_parts
from course_utils.data.sources import Source
from course_utils.data.splits import apportion
from course_utils.errors import DataError
from course_utils.pictures import files as picture_files

FRACTIONS = (0.5, 0.25, 0.25)
GRID = 8  # a picture's fingerprint: whether each of 8 × 8 fields is brighter than its neighbour, to the right and below
NEAR = (
    12  # of its 128 bits may differ: copies at half size and JPEG quality 50 differ in up to 8, other photographs in 29
)
CHUNK = 2048  # fingerprints compared at a time


@dataclass(frozen=True, eq=False)
class PictureList:
    """Picture files and their labels: all of training, validation or test.

    files: where the pictures lie.
    labels: int64 (N,), each an index into `classes`.
    sizes: (width, height) of each picture, in pixels.
    """

    name: str
    files: tuple[Path, ...]
    labels: Tensor
    classes: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"PictureList({self.name!r}: {len(self):,} pictures, {len(self.classes)} classes)"

    def counts(self) -> dict[str, int]:
        """Return how many pictures each class has."""
        return dict(zip(self.classes, torch.bincount(self.labels, minlength=len(self.classes)).tolist()))

    def select(self, indices: Tensor | Sequence[int], name: str | None = None) -> PictureList:
        """Return the pictures at `indices` as a list of their own."""
        chosen = torch.as_tensor(indices).tolist()
        files, sizes = tuple(self.files[i] for i in chosen), tuple(self.sizes[i] for i in chosen)
        return PictureList(name or self.name, files, self.labels[chosen], self.classes, sizes)

    def take(self, n: int, seed: int = 0) -> PictureList:
        """Return at most `n` pictures chosen at random, each class in proportion and with one at least."""
        if n < len(self.classes):
            raise ValueError(f"take needs at least one picture for each of the {len(self.classes)} classes, not {n}.")
        if n >= len(self):
            return self
        generator = torch.Generator().manual_seed(seed)
        chosen = []
        for label, count in enumerate(apportion(n, list(self.counts().values()), at_least=1)):
            members = (self.labels == label).nonzero().flatten()
            chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
        return self.select(torch.cat(chosen).sort().values)

    def picture(self, index: int) -> Image.Image:
        """Open one of the pictures, in RGB and the right way up."""
        return picture_files.open_picture(self.files[index])

    @property
    def pixels(self) -> str:
        """The range of sizes in words, such as "from 120×160 to 320×500 pixels"."""
        by_area = sorted(self.sizes, key=lambda size: (size[0] * size[1], size))
        small, large = ("×".join(map(str, size)) for size in (by_area[0], by_area[-1]))
        return f"{small} pixels each" if len(set(self.sizes)) == 1 else f"from {small} to {large} pixels"


@dataclass(frozen=True, eq=False)
class PictureLists:
    """A set of picture files in parts; `validation` or `test` is None where a folder with parts has none.

    copies: how many pictures are copies of another one, or nearly so, and lie in the same part for that reason; None
        where the folder's own parts were taken.
    """

    name: str
    train: PictureList
    validation: PictureList | None
    test: PictureList | None
    classes: tuple[str, ...]
    source: Source
    skipped: tuple[str, ...] = ()
    copies: int | None = None

    def describe(self) -> str:
        """Return one line: how many pictures in each part, of how many classes, and from where."""
        parts = ((self.train, "training"), (self.validation, "validation"), (self.test, "test"))
        counts = ", ".join(f"{len(part):,} {word}" for part, word in parts if part is not None)
        return f"{self.name}: {counts} pictures of {len(self.classes)} classes, {self.source.description}."

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


@dataclass(frozen=True)
class _Seen:
    """What looking at one file showed: its size and fingerprint, or why it cannot be read."""

    size: tuple[int, int] = (0, 0)
    bits: np.ndarray = field(default_factory=lambda: np.zeros(2 * GRID * GRID, bool))
    why: str = ""


def picture_lists(
    path: str | Path,
    *,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    unreadable: str = "refuse",
    source: Source | None = None,
    quiet: bool = False,
) -> PictureLists:
    """Return the pictures of a folder as lists of files; each file is opened once, to see that it can be read.

    Args:
        path: a folder with `train/<class>/…` and, if wanted, `val/<class>/…` and `test/<class>/…`, taken as it is;
            or a flat one, `<class>/…`, which is split.
        fractions: the shares of training, validation and test for a flat folder.
        seed: of that split.
        unreadable: "refuse" raises DataError with the names of files that cannot be read; "skip" leaves them out and
            names them.
        source: where the pictures came from, if that is more than a folder.
        quiet: do not print the line that describes the set.

    Raises:
        DataError: when there is no such folder, a class has too few pictures, files cannot be read, or parts differ in
            their classes.
        ValueError: for wrong arguments.
    """
    if unreadable not in image_files.UNREADABLE:
        raise ValueError(f"unreadable must be one of {', '.join(image_files.UNREADABLE)}, not {unreadable!r}.")
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"The fractions {tuple(fractions)} must be three positive numbers that add up to 1.")
    root = Path(path).expanduser()
    listings = list_parts(root)
    flat = set(listings) == {"train"} and not (root / "train").is_dir()
    skipped: list[str] = []
    parts: dict[str, PictureList] = {}
    prints: list[np.ndarray] = []
    for part, listing in listings.items():
        with ThreadPoolExecutor(image_files.THREADS) as pool:
            seen = list(pool.map(_look, listing.files))
        bad = [i for i, each in enumerate(seen) if each.why]
        names = [str(listing.files[i].relative_to(root)) for i in bad]
        if bad and unreadable == "refuse":
            raise DataError(
                f"{len(bad)} of {len(seen):,} pictures in {root.name} cannot be read: {_few(names)} "
                f'({seen[bad[0]].why}); mend or remove them, or skip them with unreadable="skip".'
            )
        skipped += names
        good = [i for i, each in enumerate(seen) if not each.why]
        parts[part] = PictureList(
            part,
            tuple(listing.files[i] for i in good),
            torch.from_numpy(listing.labels[good]),
            listing.classes,
            tuple(seen[i].size for i in good),
        )
        empty = [name for name, count in parts[part].counts().items() if not count]
        if empty:
            raise DataError(f"No picture of the class {empty[0]!r} in {root.name} can be read; mend some or drop it.")
        prints += [seen[i].bits for i in good]
    copies = None
    if flat:
        whole = parts["train"]
        groups = near_copies(np.stack(prints))
        copies = len(whole) - len(np.unique(groups))
        chosen = split_groups(whole.labels, groups, fractions, seed, whole.classes)
        parts = {name: whole.select(indices, name) for name, indices in zip(("train", "validation", "test"), chosen)}
    source = source or Source("folder", described(skipped), path=root, shareable=False)
    classes = parts["train"].classes
    rest = {name: parts.get(name) for name in ("train", "validation", "test")}
    made = PictureLists(root.name, classes=classes, source=source, skipped=tuple(skipped), copies=copies, **rest)
    if not quiet:
        note = {"name": made.name, "kind": source.kind, "description": source.description}
        notes.show_note(made.describe(), notes.SOURCE, note)
    return made


def _look(path: Path) -> _Seen:
    """Decode a picture to its end and return its size and fingerprint."""
    try:
        picture = picture_files.open_picture(path, "L")
    except DataError as error:
        return _Seen(why=str(error).removeprefix(f"{path} ").split(";")[0])
    small = picture.resize((GRID + 1, GRID + 1), Image.Resampling.BOX)
    grey = np.asarray(small).astype(np.int16)
    bits = np.concatenate([grey[:GRID, 1:] > grey[:GRID, :-1], grey[1:, :GRID] > grey[:-1, :GRID]])
    return _Seen(picture.size, bits.reshape(-1))


def near_copies(prints: np.ndarray) -> np.ndarray:
    """Return for each fingerprint, bool (N, bits), the number of its group: near copies share one, int64 (N,)."""
    signs = torch.from_numpy(np.where(prints, 1, -1).astype(np.float32))
    parent = list(range(len(signs)))

    def top(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for start in range(0, len(signs), CHUNK):
        agree = signs[start : start + CHUNK] @ signs.T  # bits that agree, less those that differ
        for i, j in (agree >= prints.shape[1] - 2 * NEAR).nonzero().tolist():
            if start + i < j:
                parent[top(j)] = top(start + i)
    return np.array([top(i) for i in range(len(signs))])


def split_groups(
    labels: Tensor, groups: np.ndarray, fractions: Sequence[float], seed: int, classes: Sequence[str]
) -> tuple[Tensor, ...]:
    """Divide pictures at random into parts, each class in proportion; a group is never divided.

    Args:
        labels: int64 (N,).
        groups: the number of each picture's group, int64 (N,); a group belongs to the class of its first picture.
        fractions: the share of each part; they add up to 1.
        seed: the same seed gives the same parts.
        classes: names, for messages.

    Returns:
        For each fraction the indices of its pictures, in increasing order. Without copies the number of a class in a
        part differs by less than 1 from the exact share, where the class has enough pictures.

    Raises:
        DataError: when a class has fewer groups than there are parts.
    """
    generator = torch.Generator().manual_seed(seed)
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(i)
    parts: list[list[int]] = [[] for _ in fractions]
    for label, name in enumerate(classes):
        own = [group for group, inside in members.items() if int(labels[inside[0]]) == label]
        if len(own) < len(fractions):
            raise DataError(
                f"The class {name!r} has {len(own)} different pictures, too few for {len(fractions)} parts; add some."
            )
        shuffled = [own[i] for i in torch.randperm(len(own), generator=generator).tolist()]
        shuffled.sort(key=lambda group: -len(members[group]))  # stable: the order among equals stays random
        left = apportion(sum(len(members[group]) for group in own), fractions, at_least=1)
        first = sorted(range(len(left)), key=lambda part: -left[part])  # no part goes without: one group for each
        for group, given in zip_longest(shuffled, first):
            part = left.index(max(left)) if given is None else given
            parts[part] += members[group]
            left[part] -= len(members[group])
    return tuple(torch.tensor(sorted(part), dtype=torch.int64) for part in parts)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
