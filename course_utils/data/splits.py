"""Data sets as plain tensors: training, validation and test parts, how they are split, and where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from course_utils.base import notes
from course_utils.data import sources
from course_utils.data.catalogue import KNOWN
from course_utils.data.sources import Source
from course_utils.errors import DataError


@dataclass(frozen=True, eq=False)
class Part:
    """Pictures and their labels: all of training, validation or test.

    images: uint8 (N, C, H, W), values 0 to 255.
    labels: int64 (N,), each an index into `classes`.
    classes: the names of the classes.
    name: such as "train".
    mean, std: of each channel in the set's training part, on the scale [0, 1]; the same in every part of a set, so
        that all are normalised alike.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise TypeError(
                f"Pictures must be a uint8 tensor (N, C, H, W), not {self.images.dtype} with {self.images.ndim} axes."
            )
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise TypeError(
                f"Labels must be an int64 tensor (N,), not {self.labels.dtype} with {self.labels.ndim} axes."
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images):,} pictures but {len(self.labels):,} labels; there must be as many.")
        if len(self.labels) == 0:
            raise DataError(f"The part {self.name!r} is empty; a set needs at least one picture.")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            wrong = high if high >= len(self.classes) else low
            raise DataError(
                f"Label {wrong} has no class; {len(self.classes)} classes have 0 to {len(self.classes) - 1}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = "×".join(str(n) for n in self.images.shape[1:])
        return f"Part({self.name!r}: {len(self):,} pictures of {shape}, {len(self.classes)} classes)"

    def counts(self) -> dict[str, int]:
        """Return how many pictures each class has."""
        numbers = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, numbers))

    def take(self, n: int, seed: int = 0) -> Part:
        """Return `n` pictures chosen at random, each class in proportion, in the order they have here.

        Raises:
            ValueError: unless 1 ≤ n ≤ len(self).
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"take needs a number from 1 to {len(self):,}, not {n}.")
        numbers = apportion(n, list(self.counts().values()))
        generator = torch.Generator().manual_seed(seed)
        chosen = []
        for label, count in enumerate(numbers):
            members = (self.labels == label).nonzero().flatten()
            chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
        return self.select(torch.cat(chosen).sort().values)

    def of_class(self, name: str) -> Part:
        """Return the pictures of one class, with the same labels as here."""
        if name not in self.classes:
            raise ValueError(f"There is no class {name!r}; choose one of {', '.join(self.classes)}.")
        members = (self.labels == self.classes.index(name)).nonzero().flatten()
        if len(members) == 0:
            raise DataError(f"The part {self.name!r} holds no picture of the class {name!r}.")
        return self.select(members)

    def select(self, indices: Tensor, name: str | None = None) -> Part:
        """Return the pictures at `indices`, int64 (n,), as a part of their own."""
        return Part(self.images[indices], self.labels[indices], self.classes, name or self.name, self.mean, self.std)


@dataclass(frozen=True, eq=False)
class PictureSet:
    """A data set: its parts (None where it has none), its class names, and where it came from."""

    name: str
    title: str
    train: Part
    validation: Part | None
    test: Part | None
    classes: tuple[str, ...]
    source: Source

    def describe(self) -> str:
        """Return one line: how many pictures of what, from where, and whether they are only a sample or a stand-in."""
        parts = ((self.train, "training"), (self.validation, "validation"), (self.test, "test"))
        counts = [f"{len(part):,} {word}" for part, word in parts if part is not None]
        listed = " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
        title = f"Stand-in for {self.title}" if self.source.stand_in else self.title
        return f"{title}: {listed} pictures, {self.source.description}."

    def __str__(self) -> str:
        return self.describe()

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


def load(
    name: str, *, seed: int = 0, validation: float = 0.1, sample_ok: bool = True, quiet: bool = False
) -> PictureSet:
    """Return a data set, from the first source that has it (see `course_utils.data.sources`), and say which in a line.

    Args:
        name: "fashion_mnist", "cifar10" or "photo_crops".
        seed: which pictures of the training part are set aside for validation.
        validation: the share of the training part to set aside, each class alike; 0 for none. The test part is never
            touched.
        sample_ok: False raises DataError instead of falling back to the sample in the package.
        quiet: do not print the line.

    Raises:
        SettingError: for an unknown name.
        DataError: for damaged files, and see `sample_ok`.
        ValueError: when `validation` is not a share.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"validation is a share of the training pictures, from 0 to below 1, not {validation}.")
    found = sources.find(name, sample_ok=sample_ok, validation=validation)
    result = assemble(
        name,
        KNOWN[name].title,
        found.classes,
        found.source,
        tensors(found.train),
        held_out=tensors(found.validation) if found.validation else None,
        test=tensors(found.test),
        validation=validation,
        seed=seed,
    )
    if not quiet:
        announce(result)
    return result


def announce(pictures: PictureSet) -> None:
    """Show what a set is and where it came from; in a notebook the note also tells `course run` what it ran on."""
    note = {"name": pictures.name, "kind": pictures.source.kind, "description": pictures.source.description}
    notes.show_note(pictures.describe(), notes.SOURCE, note)


def tensors(pair: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, ...]:
    """Return pictures and labels as tensors; arrays that must not be written to, as files give them, are copied."""
    return tuple(torch.from_numpy(np.require(array, requirements="W")) for array in pair)


def assemble(
    name: str,
    title: str,
    classes: tuple[str, ...],
    source: Source,
    train: tuple[Tensor, Tensor],
    *,
    held_out: tuple[Tensor, Tensor] | None = None,
    test: tuple[Tensor, Tensor] | None = None,
    validation: float = 0.0,
    seed: int = 0,
) -> PictureSet:
    """Return a PictureSet of pictures and labels; validation pictures are given (`held_out`) or split off training.

    Raises:
        DataError: when a class is missing from a part.
    """
    if held_out is None and validation:
        kept, aside = split(train[1], (1 - validation, validation), seed)
        held_out, train = (tuple(values.index_select(0, chosen) for values in train) for chosen in (aside, kept))
    mean, std = statistics(train[0])
    parts: dict[str, Part | None] = {}
    for part, pair in (("train", train), ("validation", held_out), ("test", test)):
        parts[part] = Part(*pair, classes, part, mean, std) if pair is not None else None
        missing = [label for label, count in parts[part].counts().items() if not count] if pair is not None else []
        if missing:
            raise DataError(
                f"The {part} part of {title} has no picture of the class {missing[0]!r}; every part needs all."
            )
    return PictureSet(name, title, classes=classes, source=source, **parts)


def split(labels: Tensor | Sequence[int], fractions: Sequence[float], seed: int = 0) -> tuple[Tensor, ...]:
    """Divide pictures at random into parts, each class in the same proportions; no picture is in two parts.

    Args:
        labels: int64 (N,).
        fractions: the share of each part, such as (0.5, 0.25, 0.25); they add up to 1.
        seed: the same seed gives the same parts.

    Returns:
        For each fraction the indices of its pictures, int64, in increasing order. In every class, the number in a
        part differs by less than 1 from the exact share, where the class has enough pictures: no part goes empty.

    Raises:
        ValueError: when the fractions are not positive or do not add up to 1.
        DataError: when there are no labels, or a class has fewer pictures than there are parts.
    """
    labels = torch.as_tensor(labels)
    if not fractions or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"The fractions {tuple(fractions)} must be positive and add up to 1.")
    if labels.ndim != 1 or len(labels) == 0:
        raise DataError("There are no labels to split; expected one for each picture.")
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in fractions]
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        if len(members) < len(fractions):
            raise DataError(
                f"Class {label} has {len(members)} pictures, too few for {len(fractions)} parts; add some or drop it."
            )
        counts = apportion(len(members), fractions, at_least=1)
        shuffled = members[torch.randperm(len(members), generator=generator)]
        for part, piece in zip(parts, shuffled.split(counts)):
            part.append(piece)
    return tuple(torch.cat(part).sort().values for part in parts)


def apportion(total: int, weights: Sequence[float], at_least: int = 0) -> list[int]:
    """Divide `total` into whole numbers in proportion to `weights`: rounded down, the rest to the largest remainders.

    With `at_least`, a share that would be smaller takes what it lacks from the largest one.
    """
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [int(share + 1e-9) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    while min(counts) < at_least:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(min(counts))] += 1
    return counts


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, on the scale [0, 1].

    Args:
        images: uint8 (N, C, H, W).

    Sums of whole numbers in float64 are exact here, so the result does not depend on the order of the pictures.
    A channel that never changes gets the standard deviation 1, so that it can be divided by.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
        raise TypeError(f"Expected some pictures, uint8 (N, C, H, W), not {images.dtype} {tuple(images.shape)}.")
    values = torch.arange(256, dtype=torch.float64, device=images.device) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        share = histogram(channel) / channel.numel()
        mean = (share * values).sum()
        means.append(mean.item())
        stds.append((share * (values - mean) ** 2).sum().sqrt().item() or 1.0)
    return tuple(means), tuple(stds)


def histogram(values: Tensor) -> Tensor:
    """Return how often each of the values 0 to 255 occurs in a uint8 tensor: float64 (256,)."""
    counts = torch.zeros(256, dtype=torch.int64, device=values.device)
    for chunk in values.split(8192):  # bincount makes int64 of its input: a little at a time saves memory
        counts += torch.bincount(chunk.reshape(-1), minlength=256)
    return counts.double()
