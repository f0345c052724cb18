"""Labelled pictures, as tensors or as files, and sets of them in three parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from PIL import Image
from torch import Tensor

from course_utils.base import notes
from course_utils.base.paths import missing_data_folder
from course_utils.base.words import fitted
from course_utils.data import drawing
from course_utils.data.splits import apportion
from course_utils.errors import DataError
from course_utils.pictures import files as picture_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PART_WORDS = {"train": "training", "validation": "validation", "test": "test"}
P = TypeVar("P", bound="Part")


class Part:
    """Pictures and their labels: all of training, validation or test. Either a `TensorPart` or a `FilePart`.

    labels: int64 (N,), each an index into `classes`.
    classes: the names of the classes.
    name: such as "train".
    """

    labels: Tensor
    classes: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> dict[str, int]:
        """Return how many pictures each class has."""
        numbers = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, numbers))

    def take(self: P, n: int | None = None, *, at_most: int | None = None, seed: int = 0) -> P:
        """Return some pictures chosen at random, each class in proportion, in the order they have here.

        Args:
            n: how many; or
            at_most: how many if there are as many, else all; but one of each class at least.
            seed: the same seed chooses the same pictures. A class goes empty only where `n` is too small for all.

        Raises:
            ValueError: unless 1 ≤ n ≤ len(self), or at_most ≥ 1.
        """
        if (n is None) == (at_most is None):
            raise ValueError("take needs one of n, so many exactly, and at_most, so many if there are.")
        counts = {label: count for label, count in enumerate(self.counts().values()) if count}
        if n is None:
            n = min(max(at_most, len(counts)) if at_most > 0 else at_most, len(self))
        if not isinstance(n, Integral) or not 1 <= n <= len(self):
            raise ValueError(
                f"take needs a whole number from 1 to {len(self):,}, not {n!r}; at_most takes all there are."
            )
        if n == len(self):
            return self
        numbers = apportion(n, list(counts.values()), at_least=int(n >= len(counts)))
        generator = torch.Generator().manual_seed(seed)
        chosen = []
        for label, number in zip(counts, numbers):
            members = (self.labels == label).nonzero().flatten()
            chosen.append(members[torch.randperm(len(members), generator=generator)[:number]])
        return self.select(torch.cat(chosen).sort().values)

    def of_class(self: P, name: str) -> P:
        """Return the pictures of one class, with the same labels as here."""
        if name not in self.classes:
            raise ValueError(f"There is no class {name!r}; choose one of {', '.join(self.classes)}.")
        members = (self.labels == self.classes.index(name)).nonzero().flatten()
        if len(members) == 0:
            raise DataError(f"The part {self.name!r} holds no picture of the class {name!r}.")
        return self.select(members)

    def select(self: P, indices: Tensor | Sequence[int], name: str | None = None) -> P:
        """Return the pictures at `indices`, int64 (n,) or a mask, bool (N,), as a part of their own."""
        raise NotImplementedError

    def plot_counts(self, ax: Axes | None = None) -> Axes:
        """Draw how many pictures each class has; of more than 20 classes the largest and the smallest."""
        return drawing.draw_counts({PART_WORDS.get(self.name, self.name): self.counts()}, ax)

    def _check(self, what: str, count: int) -> None:
        """Raise an error unless the labels fit `count` pictures (`what`) and the classes."""
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise TypeError(
                f"Labels must be an int64 tensor (N,), not {self.labels.dtype} with {self.labels.ndim} axes."
            )
        if count != len(self.labels):
            raise DataError(f"{count:,} {what} but {len(self.labels):,} labels; there must be as many.")
        if count == 0:
            raise DataError(f"The part {self.name!r} is empty; a set needs at least one picture.")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            wrong = high if high >= len(self.classes) else low
            raise DataError(
                f"Label {wrong} has no class; {len(self.classes)} classes have 0 to {len(self.classes) - 1}."
            )


@dataclass(frozen=True, eq=False)
class TensorPart(Part):
    """A part whose pictures lie in memory, all of one size.

    images: uint8 (N, C, H, W), values 0 to 255.
    labels, classes, name: as in `Part`.
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
        self._check("pictures", len(self.images))

    def __repr__(self) -> str:
        shape = "×".join(str(n) for n in self.images.shape[1:])
        return f"TensorPart({self.name!r}: {len(self):,} pictures of {shape}, {len(self.classes)} classes)"

    def select(self, indices: Tensor | Sequence[int], name: str | None = None) -> TensorPart:
        """Return the pictures at `indices`, int64 (n,) or a mask, bool (N,), as a part of their own."""
        chosen = places(indices, len(self))
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], name=name or self.name)


@dataclass(frozen=True, eq=False)
class FilePart(Part):
    """A part whose pictures stay on disk until they are needed.

    files: where they lie.
    labels, classes, name: as in `Part`.
    sizes: (width, height) of each, in pixels.
    """

    files: tuple[Path, ...]
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    sizes: tuple[tuple[int, int], ...] = field(repr=False)

    def __post_init__(self) -> None:
        self._check("files", len(self.files))

    def __repr__(self) -> str:
        return f"FilePart({self.name!r}: {len(self):,} pictures, {len(self.classes)} classes)"

    def select(self, indices: Tensor | Sequence[int], name: str | None = None) -> FilePart:
        """Return the pictures at `indices`, int64 (n,) or a mask, bool (N,), as a part of their own."""
        chosen = places(indices, len(self)).tolist()
        files, sizes = tuple(self.files[i] for i in chosen), tuple(self.sizes[i] for i in chosen)
        return FilePart(files, self.labels[chosen], self.classes, name or self.name, sizes)

    def picture(self, index: int) -> Image.Image:
        """Open one of the pictures, in RGB and the right way up."""
        return picture_files.open_picture(self.files[index])

    def plot_sizes(self, side: int = 224, ax: Axes | None = None) -> Axes:
        """Draw width against height, a dot for each picture, and the `side` of the square that a network sees."""
        return drawing.draw_sizes(self.sizes, side, ax)

    @property
    def pixels(self) -> str:
        """The range of sizes in words, such as "from 120 × 160 to 320 × 500 pixels"."""
        by_area = sorted(self.sizes, key=lambda size: (size[0] * size[1], size))
        small, large = (" × ".join(map(str, size)) for size in (by_area[0], by_area[-1]))
        return f"{small} pixels each" if len(set(self.sizes)) == 1 else f"from {small} to {large} pixels"


@dataclass(frozen=True)
class Source:
    """Where the pictures of a set came from.

    `kind` is "folder" (COURSE_DATA_DIR, the system's package, or the reader's own), "cache", "download" or "sample".
    `description` says it in words, without a path. `complete`: whether it is the full set. `stand_in`: whether other
    pictures replace it. `reason`: why it is only the sample. `path`: the folder, where there is one. `shareable`:
    whether its pictures may be passed on, in a notebook's outputs say.
    """

    kind: str
    description: str
    complete: bool = True
    stand_in: bool = False
    reason: str = ""
    path: Path | None = field(default=None, repr=False)
    shareable: bool = True


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set: its parts, all TensorPart or all FilePart (None where it has none), its classes, where it came from.

    skipped: for each file of a folder that is not used, by its path there, the reason.
    copies: how many pictures of a folder are copies of another one, pixel by pixel.
    remarks: what else should be known of it, sentences.
    unlabelled: picture files without a label, from a folder `test` that holds no class folders: to ask about.
    """

    name: str
    title: str
    train: Part
    validation: Part | None
    test: Part | None
    classes: tuple[str, ...]
    source: Source
    skipped: Mapping[str, str] = field(default_factory=dict)
    copies: int = 0
    remarks: tuple[str, ...] = ()
    unlabelled: tuple[Path, ...] = ()

    def plot_counts(self, ax: Axes | None = None) -> Axes:
        """Draw how many pictures each class has in each part; of more than 20 classes the largest and the smallest."""
        return drawing.draw_counts({PART_WORDS[name]: part.counts() for name, part in self.parts.items()}, ax)

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that it has, by name."""
        return {name: getattr(self, name) for name in PART_WORDS if getattr(self, name) is not None}

    def describe(self) -> str:
        """Return how many pictures of what, from where, whether they are only a sample or a stand-in; then remarks."""
        counts = [f"{len(part):,} {PART_WORDS[name]}" for name, part in self.parts.items()]
        listed = " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
        what = f"{listed} pictures of {len(self.classes)} classes"
        return "\n".join((f"{self.title}: {what}, {self.source.description}.", *self.remarks))

    def __str__(self) -> str:
        return self.describe()

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


def places(indices: Tensor | Sequence[int], count: int) -> Tensor:
    """Return `indices` of `count` things as int64 (n,); a mask, bool (count,), stands for the places where it is true.

    Raises:
        TypeError: for anything but whole numbers and masks.
        ValueError: for a mask of another length, or a place that there is not.
    """
    try:
        chosen = torch.as_tensor(indices).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"select takes a list of whole numbers or a mask of bools, not {indices!r}.") from None
    if chosen.numel() == 0 and chosen.dtype != torch.bool:
        return torch.zeros(0, dtype=torch.int64)
    if chosen.ndim != 1 or chosen.dtype not in (torch.bool, torch.int8, torch.int16, torch.int32, torch.int64):
        raise TypeError(
            f"select takes whole numbers (n,) or a mask of bools ({count},), not {chosen.dtype} {tuple(chosen.shape)}."
        )
    if chosen.dtype != torch.bool:
        wrong = chosen[(chosen < -count) | (chosen >= count)]
        if len(wrong):
            raise ValueError(f"There is no picture {wrong[0]} to select; their places go from 0 to {count - 1:,}.")
        return chosen.long()
    if len(chosen) != count:
        raise ValueError(f"A mask needs a value for each of the {count:,} pictures, not {len(chosen):,} values.")
    return chosen.nonzero().flatten()


def require_part(pictures: object, name: str) -> None:
    """Raise TypeError where the function `name` is given a whole set in place of one of its parts."""
    if isinstance(pictures, ImageSet):
        raise TypeError(f"{name} takes one part of a set, not the whole set {pictures.name!r}; give it .train, say.")


def announce(pictures: ImageSet) -> None:
    """Show what a set is and where it came from; in a notebook the note also tells `course run` what it ran on."""
    source, words = pictures.source, pictures.describe()
    if source.kind == "sample" and not source.complete:
        words = f"{words}\n{missing_data_folder()}".rstrip()
    note = {"name": pictures.name, "kind": source.kind, "description": source.description}
    notes.show_note(fitted(words), notes.SOURCE, note)


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, on the scale [0, 1].

    Args:
        images: uint8 (N, C, H, W).

    Sums of whole numbers in float64 are exact here, so the result does not depend on the order of the pictures.
    A channel that never changes gets the standard deviation 1, so that it can be divided by.

    Raises:
        TypeError: when `images` is anything else, or holds no picture.
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
