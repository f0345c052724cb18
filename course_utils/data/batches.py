"""Batches of pictures that lie in memory, made a whole batch at a time.

A loader that handles one picture after another spends its time in Python. Here every step is a single tensor operation
on all pictures of a batch, so its cost is shared by hundreds of pictures. `loading` is for pictures that do not fit in
memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.base.modules import named_device
from course_utils.data.parts import TensorPart, require_part
from course_utils.errors import DataError


@dataclass(frozen=True)
class Augment:
    """Small random changes that keep a picture's class: shifts, mirror images, and squares painted over.

    crop: pixels added on each side before a part of the old size is cut out at random; 0 for none.
    flip: mirror half of the pictures, left to right.
    cutout: side in pixels of a square painted over at a random place; 0 for none (DeVries and Taylor 2017,
        arXiv:1708.04552).
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.crop < 0 or self.cutout < 0:
            raise ValueError(f"crop and cutout are numbers of pixels, 0 or more, not {self.crop} and {self.cutout}.")

    def __call__(self, images: Tensor, generator: torch.Generator | None = None, fill: Tensor | float = 0) -> Tensor:
        """Return changed copies of a batch.

        Args:
            images: (N, C, H, W), uint8 or float, on any device.
            generator: where the random numbers come from, a CPU generator: the same on every device.
            fill: the colour of the squares: one value, or one for each channel, (C, 1, 1).
        """
        n, _, height, width = images.shape
        if self.crop:
            offsets = torch.randint(0, 2 * self.crop + 1, (n, 2), generator=generator)
            images = crop(images, offsets, self.crop)
        if self.flip:
            images = hflip(images, torch.rand(n, generator=generator) < 0.5)
        if self.cutout:
            high = torch.tensor([height, width])
            centres = (torch.rand(n, 2, generator=generator) * high).long()
            images = cutout(images, centres, self.cutout, fill)
        return images


def crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Return each picture padded with zeros, then cut to its old size at its own offset.

    Args:
        images: (N, C, H, W).
        offsets: int64 (N, 2), top and left of each cut in the padded picture, from 0 to 2·padding.
        padding: pixels added on each of the four sides.

    Raises:
        ValueError: for an offset, or a padding, outside its range.
    """
    if padding < 0 or (offsets.numel() and not 0 <= offsets.min() <= offsets.max() <= 2 * padding):
        raise ValueError(f"Offsets must lie between 0 and 2 * padding, which is {2 * padding}; padding is 0 or more.")
    n, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)  # (N, C, H + 2p, W + 2p)
    tall, wide = padded.shape[2:]
    # A row of a cut is `width` neighbours in memory: find where each of the N·C·H rows begins, then copy whole rows.
    top, left = offsets.to(images.device, non_blocking=True).view(n, 2, 1, 1).unbind(1)  # (N, 1, 1) each
    picture = torch.arange(n, device=images.device).view(n, 1, 1) * channels
    channel = torch.arange(channels, device=images.device).view(channels, 1)
    row = torch.arange(height, device=images.device)
    begin = ((picture + channel) * tall + top + row) * wide + left  # (N, C, H)
    neighbours = padded.flatten().unfold(0, width, 1)  # every run of `width` values, no copy
    return neighbours.index_select(0, begin.flatten()).view_as(images)


def hflip(images: Tensor, chosen: Tensor) -> Tensor:
    """Return the pictures (N, C, H, W), mirrored left to right where `chosen`, bool (N,), is true."""
    which = chosen.nonzero().flatten().to(images.device, non_blocking=True)
    return images.index_copy(0, which, images.index_select(0, which).flip(3))


def cutout(images: Tensor, centres: Tensor, side: int, fill: Tensor | float = 0) -> Tensor:
    """Return the pictures with a square painted over; at the border it is cut off.

    Args:
        images: (N, C, H, W).
        centres: int64 (N, 2), row and column of each square's centre.
        side: of the square, in pixels.
        fill: one value, or one for each channel, (C, 1, 1).
    """
    corners = (centres - side // 2).to(images.device, non_blocking=True)
    row, column = corners.unbind(1)  # first row and column of each square
    y = torch.arange(images.shape[2], device=images.device)
    x = torch.arange(images.shape[3], device=images.device)
    in_rows = (y >= row[:, None]) & (y < row[:, None] + side)  # (N, H)
    in_columns = (x >= column[:, None]) & (x < column[:, None] + side)  # (N, W)
    square = in_rows[:, None, :, None] & in_columns[:, None, None, :]  # (N, 1, H, W)
    colour = torch.as_tensor(fill, device=images.device).to(images.dtype)
    return torch.where(square, colour, images)


class Batches:
    """An iterable over a part's batches: float32 pictures (B, C, H, W) and int64 labels (B,) on the device.

    Made by `batches`. Order and augmentation depend on seed and epoch alone. Every pass that comes to its end adds one
    to `epoch`; `set_epoch` sets it, so that a resumed run sees what an uninterrupted one would have.
    """

    def __init__(
        self,
        part: TensorPart,
        size: int,
        shuffle: bool,
        augment: Augment | None,
        device: str | torch.device,
        seed: int,
        drop_last: bool,
        normalise: bool,
        channels_last: bool,
    ) -> None:
        require_part(part, "batches")
        if not isinstance(part, TensorPart):
            raise TypeError(f"batches takes pictures in memory, not {part!r}; for files on disk use data.loader.")
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"A batch holds a whole number of pictures, at least 1, not {size!r}.")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, not {seed!r}.")
        if drop_last and len(part) < size:
            raise DataError(f"{len(part)} pictures fill no batch of {size}; take smaller batches or drop_last=False.")
        self.part, self.size, self.shuffle, self.augment, self.seed = part, size, shuffle, augment, seed
        self.drop_last, self.epoch = drop_last, 0
        self.device = named_device(device, "batches")
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError('There is no GPU that this PyTorch can use; leave device at "cpu".')
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (part.mean, part.std))
        # (pixel / 255 − mean) / std, worked out beforehand as pixel · scale + shift: one pass over the pixels
        scale, shift = (1 / (255 * std), -mean / std) if normalise else (torch.ones_like(std) / 255, 0 * mean)
        self.scale, self.shift = scale.float().to(self.device), shift.float().to(self.device)
        self.mean_colour = (255 * mean).round().to(torch.uint8).to(self.device)  # 0 after normalising, nearly
        self.resident = fits(part.images, self.device)  # bytes, a quarter of what floats would take
        self.images = part.images.to(self.device) if self.resident else part.images
        self.labels = part.labels.to(self.device)

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return len(self.part) // self.size if self.drop_last else -(-len(self.part) // self.size)

    @property
    def count(self) -> int:
        """The number of pictures in a pass."""
        return len(self) * self.size if self.drop_last else len(self.part)

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of `epoch`, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch
        order, draws = generators(self.seed, epoch)
        n = len(self.part)
        indices = torch.randperm(n, generator=order) if self.shuffle else torch.arange(n)
        indices = indices.to(self.images.device)  # once: each copy from the CPU would make a GPU wait
        for chosen in indices[: self.count].split(self.size):
            yield self.batch(chosen, draws)
        self.epoch = epoch + 1

    def batch(self, chosen: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the pictures and labels at the indices `chosen`, augmented with random numbers from `draws`."""
        labels = self.labels.index_select(0, chosen.to(self.device))
        images = self.images.index_select(0, chosen.to(self.images.device)).to(self.device)  # uint8 (B, C, H, W)
        if self.augment is not None:
            images = self.augment(images, draws, self.mean_colour)
        images = images.float().mul_(self.scale).add_(self.shift)  # float32 (B, C, H, W)
        return images.contiguous(memory_format=self.format), labels


def batches(
    part: TensorPart,
    size: int = 256,
    *,
    shuffle: bool = False,
    augment: Augment | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
    drop_last: bool = False,
    normalise: bool = True,
    channels_last: bool = False,
) -> Batches:
    """Return the batches of a part, to be run through as often as wanted.

    Args:
        part: the pictures.
        size: pictures in a batch; the last one may be smaller.
        shuffle: a new order in every epoch; otherwise the part's own.
        augment: random changes, for training pictures only.
        device: where the batches are made. The bytes of the set are moved there once if they take no more than half
            of the free memory, else batch by batch.
        seed: order and augmentation follow from it and the epoch.
        drop_last: leave out a last batch that is smaller.
        normalise: with the part's mean and standard deviation; otherwise the values run from 0 to 1.
        channels_last: lay the channels of each pixel next to each other in memory, which many GPUs prefer.

    Yields:
        Pictures float32 (B, C, H, W) and labels int64 (B,).

    Raises:
        TypeError: when the part's pictures are files on disk.
        ValueError: when `size` is below 1, or PyTorch has no such device.
        DataError: when `drop_last` would leave no batch.
    """
    return Batches(part, size, shuffle, augment, device, seed, drop_last, normalise, channels_last)


def generators(seed: int, epoch: int) -> tuple[torch.Generator, torch.Generator]:
    """Return the two random generators of an epoch: one for the order, one for augmentation."""
    states = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64)
    order, draws = (torch.Generator().manual_seed(int(state)) for state in states)
    return order, draws


def fits(images: Tensor, device: torch.device) -> bool:
    """Return whether the pictures take at most half of the device's free memory."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() <= free / 2
