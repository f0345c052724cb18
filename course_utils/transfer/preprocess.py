"""How a network wants its pictures: resized, cut, scaled and normalised by the network's own numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from course_utils.pictures import files as picture_files

LONGEST = 16  # a side may be so many times the other; a strip of one pixel would grow to gigabytes otherwise
INTERPOLATIONS = tuple(mode.value for mode in InterpolationMode)
MOST_PADDED = 1.15  # timm's VOLO networks were published with resize = crop / 1.15; no other has resize below crop
MOST_PIXELS = 2048  # the largest side that a network may ask for


@dataclass(frozen=True)
class Preprocess:
    """A picture's way into a network, for evaluation: resize, centre crop, scale to [0, 1], normalise.

    resize: the shorter side after resizing, in pixels; (height, width) squashes the picture to exactly that. No side
        is shorter than `crop`, but for the few pixels that `MOST_PADDED` allows: there the border stays black.
    crop: the side of the square that is cut from the middle, in pixels.
    mean, std: subtracted from and divided into each channel, on the scale [0, 1].
    interpolation: "bilinear", "bicubic" or another of torchvision's names.

    Calling it with one picture returns float32 (3, crop, crop).
    """

    resize: int | tuple[int, int]
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        sides = self.resize if isinstance(self.resize, tuple) else (self.resize,)
        if not all(isinstance(side, int) and 1 <= side <= MOST_PIXELS for side in (*sides, self.crop)):
            raise ValueError(
                f"resize and crop must be whole numbers from 1 to {MOST_PIXELS}, not {sides}, {self.crop}."
            )
        if len(sides) not in (1, 2) or min(sides) < math.floor(self.crop / MOST_PADDED):
            raise ValueError(
                f"resize is one side or two, none shorter than crop, not {self.resize} with crop {self.crop}."
            )
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if not finite or len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(
                f"mean and std need three finite numbers each, std above 0, not {self.mean} and {self.std}."
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, not {self.interpolation!r}.")

    def __call__(self, picture: Image.Image | Tensor) -> Tensor:
        """Return one picture, Pillow or uint8 (3, H, W), ready for the network: float32 (3, crop, crop)."""
        return self.normalise(self.cut(picture))

    def cut(self, picture: Image.Image | Tensor) -> Tensor:
        """Return the part of the picture that the network will see, uint8 (3, crop, crop).

        Raises:
            TypeError: for anything but a Pillow picture or a uint8 tensor (3, H, W).
        """
        if isinstance(picture, Image.Image):
            picture = picture_files.eight_bits(picture)
        elif not isinstance(picture, Tensor) or picture.dtype != torch.uint8 or not _three_planes(picture):
            what = f"{picture.dtype} {tuple(picture.shape)}" if isinstance(picture, Tensor) else type(picture).__name__
            raise TypeError(f"A picture is a Pillow picture or a uint8 tensor (3, H, W), not {what}.")
        picture = _no_strip(picture)
        size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
        resized = F.resize(picture, size, interpolation=InterpolationMode(self.interpolation), antialias=True)
        square = F.center_crop(resized, [self.crop, self.crop])
        return square if isinstance(square, Tensor) else F.pil_to_tensor(square)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return uint8 pixels (…, 3, H, W) as the network wants them, float32."""
        scaled = pixels.to(torch.float32).div(255)  # to the last bit as torchvision's published preprocessing does it
        return F.normalize(scaled, list(self.mean), list(self.std))

    def describe(self) -> str:
        """Return in words what is done."""
        size = f"shorter side {self.resize}" if isinstance(self.resize, int) else " × ".join(map(str, self.resize))
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"{size} ({self.interpolation}), centre crop {self.crop} × {self.crop}, mean {mean}, std {std}"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """Return what `dataclasses.asdict` gave, also where a file has made lists of its tuples.

        Raises:
            ValueError, TypeError, KeyError: when the values are of another kind.
        """
        resize = values["resize"] if isinstance(values["resize"], int) else tuple(int(v) for v in values["resize"])
        mean, std = (tuple(float(v) for v in values[name]) for name in ("mean", "std"))
        return cls(resize, values["crop"], mean, std, str(values["interpolation"]))


def opened(picture: Any) -> Image.Image | Tensor:
    """Return `picture` ready for `Preprocess`: a path or an open file is read defensively, others pass as they are."""
    if isinstance(picture, (Image.Image, Tensor)):
        return picture
    return picture_files.open_picture(picture)


def _three_planes(picture: Tensor) -> bool:
    return picture.shape[:-2] == (3,) and picture.numel() > 0


def _no_strip(picture: Image.Image | Tensor) -> Image.Image | Tensor:
    """Cut the middle out of a picture that is `LONGEST` times longer than wide, or more."""
    height, width = F.get_size(picture)
    most = LONGEST * min(height, width)
    return F.center_crop(picture, [min(height, most), min(width, most)]) if max(height, width) > most else picture
