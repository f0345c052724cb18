"""Batches of picture files, read one after another: for pictures that do not fit in memory.

PyTorch's DataLoader, with four savings. A transform that begins with a crop or a resize needs few of a file's pixels,
so a JPEG file is decoded at a half, a quarter or an eighth of its size where that is enough. Where only mirroring
follows before the change to a tensor, PyTorch resizes bytes, several times faster than Pillow. What usually ends a
transform (bytes to floats, normalise) is done in place where the batch lies. And mirroring and the change to a tensor
skip what torchvision does for inputs of other kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2

from course_utils.data.parts import FilePart, require_part
from course_utils.pictures import files as picture_files
from course_utils.pictures.files import Cut
from course_utils.pictures.tensors import to_tensor

FLIPS = (v1.RandomHorizontalFlip, v2.RandomHorizontalFlip)
Step = Callable[[Any], Any]


@dataclass(frozen=True)
class Plan:
    """A transform in three pieces that, one after the other, do what it does.

    choose: the crop or resize it begins with, as what to take of a picture of a given width and height; None where it
        begins with anything else.
    middle: what follows, for one picture at a time.
    floats: whether it ends by bringing bytes to floats from 0 to 1, and
    normalise: the means and standard deviations, each (C, 1, 1), that are then subtracted and divided by.
    tensors: whether the beginning gives bytes (C, H, W) to the middle, which then only mirrors.
    """

    choose: Chooser | None
    middle: tuple[Step, ...]
    floats: bool
    normalise: tuple[tuple[Tensor, Tensor], ...]
    tensors: bool


def planned(transform: Step) -> Plan:
    """Return a transform, one of torchvision's or any other, in the pieces of a `Plan`."""
    steps = _steps(transform)
    choose = _chooser(steps[0])
    steps = [Flip(step) if type(step) in FLIPS else step for step in steps[choose is not None :]]
    middle, normalise = list(steps), []
    while middle and isinstance(middle[-1], (v1.Normalize, v2.Normalize)) and 0 not in middle[-1].std:
        step = middle.pop()
        normalise.insert(0, tuple(torch.as_tensor(each).float().view(-1, 1, 1) for each in (step.mean, step.std)))
    if not middle or not _to_floats(middle[-1]):
        return Plan(choose, tuple(steps), False, (), False)
    if isinstance(middle[-1], v1.ToTensor):
        middle[-1] = to_tensor
    else:
        middle.pop()
        if middle and isinstance(middle[-1], (v1.PILToTensor, v2.PILToTensor, v2.ToImage)):
            middle[-1] = to_tensor
    tensors = choose is not None and middle[-1:] == [to_tensor] and all(isinstance(step, Flip) for step in middle[:-1])
    return Plan(choose, tuple(middle[:-1] if tensors else middle), True, tuple(normalise), tensors)


def _to_floats(step: Step) -> bool:
    """Return whether a step brings bytes to floats from 0 to 1."""
    if isinstance(step, (v1.ConvertImageDtype, v2.ConvertImageDtype, v2.ToDtype)):
        return step.dtype == torch.float32 and getattr(step, "scale", True)
    return isinstance(step, v1.ToTensor)


@dataclass(frozen=True)
class Flip:
    """Torchvision's RandomHorizontalFlip: the same pictures from the same random numbers."""

    step: Any

    def __call__(self, picture: Any) -> Any:
        """Return the picture, mirrored left to right or as it is."""
        if not isinstance(picture, Image.Image) and type(picture) is not Tensor:
            return self.step(picture)
        if torch.rand(1) >= self.step.p:
            return picture
        return picture.flip(-1) if isinstance(picture, Tensor) else picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _steps(transform: Step) -> list[Step]:
    """Return the single steps of a composed transform."""
    if isinstance(transform, (v1.Compose, v2.Compose)):
        inside = transform.transforms
    elif type(transform) is nn.Sequential:
        inside = list(transform)
    else:
        return [transform]
    return [step for part in inside for step in _steps(part)] or [v2.Identity()]


def _chooser(step: Step) -> Chooser | None:
    """Return what a first step takes of a picture; None if it is no crop or resize that is known."""
    try:
        mode = InterpolationMode(getattr(step, "interpolation", None))  # some versions keep its name only
        resample = Image.Resampling[mode.name]
    except (ValueError, KeyError):
        return None
    resizes = type(step) in (v1.Resize, v2.Resize) and step.max_size is None and step.size is not None
    crops = type(step) in (v1.RandomResizedCrop, v2.RandomResizedCrop)
    return Chooser(step, resample) if resizes or crops else None


@dataclass(frozen=True)
class Chooser:
    """What a crop or resize of torchvision's takes of a picture, with the random numbers that it would draw itself."""

    step: Any
    resample: Image.Resampling

    def __call__(self, width: int, height: int) -> Cut:
        """Return the cut for a picture of this size."""
        step = self.step
        if isinstance(step, (v1.Resize, v2.Resize)):
            return Cut((0, 0, width, height), _resized(step.size, width, height), self.resample)
        shape = torch.empty((3, height, width), device="meta")  # a picture without pixels
        if isinstance(step, v2.RandomResizedCrop):
            found = step.make_params([shape])
            top, left, tall, wide = (found[side] for side in ("top", "left", "height", "width"))
        else:
            top, left, tall, wide = step.get_params(shape, step.scale, step.ratio)
        return Cut((left, top, left + wide, top + tall), (step.size[1], step.size[0]), self.resample)


def _resized(size: int | Sequence[int], width: int, height: int) -> tuple[int, int]:
    """Return the (width, height) that torchvision's Resize makes of a picture."""
    if not isinstance(size, int) and len(size) == 2:
        return size[1], size[0]
    shorter = size if isinstance(size, int) else size[0]
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def resized(
    picture: Image.Image, size: tuple[int, int], resample: Image.Resampling, box: tuple[float, ...]
) -> Image.Image | Tensor:
    """Return what Pillow's `resize` does, where PyTorch does it several times faster as bytes (3, H, W).

    They round in other places, so a few values differ by 1. PyTorch knows no box that begins between pixels.
    """
    if resample != Image.Resampling.BILINEAR or box != (0, 0, *picture.size):
        return picture.resize(size, resample, box)
    pixels = torch.frombuffer(bytearray(picture.tobytes("raw", "RGBX")), dtype=torch.uint8)  # as it lies in memory
    pixels = pixels.view(1, picture.height, picture.width, 4).permute(0, 3, 1, 2)
    return F.interpolate(pixels, size[::-1], mode="bilinear", antialias=True)[0, :3]


@dataclass(frozen=True)
class PictureDataset(Dataset):
    """Pairs of a picture, as `plan` returns it but for floats, and its label, read when they are asked for."""

    part: FilePart
    plan: Plan

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if self.plan.choose is None:
            picture = self.part.picture(index)
        else:
            resize = resized if self.plan.tensors else Image.Image.resize
            picture, _ = picture_files.open_cut(self.part.files[index], self.plan.choose, resize=resize)
            if self.plan.tensors and not isinstance(picture, Tensor):
                picture = to_tensor(picture)
        for step in self.plan.middle:
            picture = step(picture)
        return picture, int(self.part.labels[index])

    def batch(self, pairs: Sequence[tuple[Any, int]]) -> tuple[Any, Tensor]:
        """Return pairs as one batch, in floats where the plan says so.

        Raises:
            TypeError, ValueError: when the transform gives no tensors, or some of different sizes.
        """
        pictures, labels = zip(*pairs)
        if isinstance(pictures[0], Image.Image):
            raise TypeError("The transform gives a picture of Pillow; let it end with one that gives a tensor.")
        shapes = sorted({tuple(picture.shape) for picture in pictures if isinstance(picture, Tensor)})
        if len(shapes) > 1:
            raise ValueError(
                f"The transform gives pictures of different sizes, {shapes[0]} and {shapes[1]}; let it bring all to "
                "one, with Resize((height, width)) or a crop."
            )
        return self._floats(pictures) if self.plan.floats else default_collate(pictures), default_collate(labels)

    def _floats(self, pictures: Sequence[Tensor]) -> Tensor:
        """Return pictures as one batch, each written once into memory that is new: asking for that takes longest."""
        # In a worker, PyTorch's collate takes it from what processes share.
        images = default_collate([torch.zeros(()).expand(pictures[0].shape)] * len(pictures))
        for image, picture in zip(images, pictures):
            if picture.dtype == torch.uint8:
                image.copy_(picture).mul_(1 / 255)
            else:
                image.copy_(v2.functional.to_dtype(picture, torch.float32, scale=True))
            for mean, std in self.plan.normalise:
                image.sub_(mean).div_(std)
        return images


def loader(
    part: FilePart,
    size: int = 32,
    *,
    transform: Step,
    shuffle: bool = False,
    workers: int = 0,
    seed: int = 0,
    drop_last: bool = False,
) -> DataLoader:
    """Return PyTorch's DataLoader over picture files, with a seeded order.

    Args:
        part: from `data.folder`.
        size: pictures in a batch.
        transform: what makes a tensor, the same size for all, of a picture (Pillow, RGB): one of torchvision's
            transforms, say. With `workers` it must be possible to pickle it. Quickest where it begins with
            RandomResizedCrop or Resize and ends with ToDtype and Normalize; the batches are the same as one by one,
            but for a level of rounding, and the few levels by which a JPEG file decoded at a smaller size differs.
        shuffle: a new order in every pass, the same for the same seed.
        workers: processes that read ahead. 0 reads in this process, which is the safe choice in notebooks.
        seed: of the order.
        drop_last: leave out a last batch that is smaller.

    Yields:
        Pictures, mostly float32 (B, C, H, W), and labels int64 (B,).

    Raises:
        TypeError: for pictures in memory, a whole set, or a transform that is none.
    """
    require_part(part, "loader")
    if not isinstance(part, FilePart):
        raise TypeError(f"loader takes picture files, not {part!r}; for pictures in memory use data.batches.")
    if not callable(transform):
        raise TypeError(f"loader needs a transform that makes a tensor of a picture, not {transform!r}.")
    dataset = PictureDataset(part, planned(transform))
    return DataLoader(
        dataset,
        size,
        shuffle=shuffle,
        num_workers=workers,
        collate_fn=dataset.batch,
        drop_last=drop_last,
        generator=torch.Generator().manual_seed(seed),
    )
