"""Pictures as tensors and back; their values scaled, weighed, mixed, normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

REC601 = (19595, 38470, 7471)  # 0.299, 0.587, 0.114 in units of 1/65536, as Pillow and JPEG files have them
SLACK = 0.5  # floats farther outside [0, 1] are no picture; bicubic resizing overshoots by less
Numbers = float | Sequence[float] | Tensor  # one number for all channels, or one per channel


def _require_tensor(images: object, name: str) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(
            f"{name} wants a tensor, not {type(images).__name__}; to_tensor makes one of a picture, "
            "torch.from_numpy of an array."
        )


def _require_unit(images: Tensor, name: str, slack: float, below: str, above: str = "") -> None:
    """Raise an error unless floats lie in [0, 1], give or take `slack`, with a hint; `above` only where it differs."""
    low, high = (value.item() for value in images.detach().aminmax())
    if not (low >= -slack and high <= 1 + slack):  # written so that NaN is refused too
        hint = "find out where NaN came from" if math.isnan(low) else below if low < 0 else above or below
        raise ValueError(f"{name} wants floats in [0, 1], but they reach from {low:.4g} to {high:.4g}; {hint}.")


def to_tensor(picture: Image.Image) -> Tensor:
    """Turn a Pillow picture (size: width, height) into a uint8 tensor (C, H, W), with a memory of its own.

    Raises:
        TypeError: when `picture` is no Pillow picture.
        ValueError: when its mode is neither "RGB" nor "L".
    """
    if not isinstance(picture, Image.Image):
        raise TypeError(
            f"to_tensor wants a Pillow picture, not {type(picture).__name__}; use open_picture for a "
            "file, Image.fromarray for an array."
        )
    if picture.mode not in ("RGB", "L"):
        raise ValueError(
            f'to_tensor wants mode "RGB" or "L", not {picture.mode!r}; use open_picture, or convert("RGB").'
        )
    array = np.atleast_3d(np.array(picture))  # (H, W) or (H, W, 3) -> (H, W, C)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()  # (C, H, W)


def to_picture(image: Tensor) -> Image.Image:
    """Turn a tensor (C, H, W) or (H, W), uint8 or float in [0, 1], into a Pillow picture; floats are rounded.

    Raises:
        TypeError: when `image` is no tensor, or holds neither uint8 nor floats.
        ValueError: when its shape is not that of one picture, or floats lie outside [0, 1].
    """
    _require_tensor(image, "to_picture")
    shape = tuple(image.shape)
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in shape:
        hint = ""
        if image.ndim == 3 and image.shape[2] in (1, 3):
            hint = "; the channels seem to come last, so use .permute(2, 0, 1)"
        elif image.ndim == 4:
            hint = "; this is a batch, so take one picture of it, such as images[0]"
        elif image.ndim == 3 and 0 not in shape:
            hint = f"; choose channels, such as image[:{3 if shape[0] > 3 else 1}]"
        raise ValueError(f"to_picture wants (channels, height, width) with 1 or 3 channels, not {shape}{hint}.")
    image = image.detach().cpu()
    if image.is_floating_point():
        _require_unit(image, "to_picture", 0, "un-normalise, scale or clamp them first")
        image = (image.float() * 255).round().to(torch.uint8)
    elif image.dtype != torch.uint8:
        raise TypeError(f"to_picture wants uint8 or floats in [0, 1], not {image.dtype}; convert it first.")
    array = image.permute(1, 2, 0).numpy()  # (H, W, C)
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else np.ascontiguousarray(array))


def to_float(images: Tensor) -> Tensor:
    """Scale uint8 pictures of any shape from 0…255 to float32 in [0, 1].

    Raises:
        TypeError: when `images` is not uint8, so that nothing is ever divided by 255 twice.
    """
    _require_tensor(images, "to_float")
    if images.dtype != torch.uint8:
        hint = "floats need no scaling a second time" if images.is_floating_point() else "convert it first"
        raise TypeError(f"to_float wants uint8, not {images.dtype}; {hint}.")
    return images.to(torch.float32) / 255


def to_grey(images: Tensor) -> Tensor:
    """Weigh red, green and blue as the eye does: (…, 3, H, W) -> (…, 1, H, W).

    The weights 0.299, 0.587 and 0.114 are those of Recommendation ITU-R BT.601. uint8 stays uint8 and equals
    Pillow's `convert("L")` exactly; floats stay floats.

    Raises:
        TypeError, ValueError: when `images` are no pictures in colour, of uint8 or floats.
    """
    _require_tensor(images, "to_grey")
    if images.ndim < 3 or images.shape[-3] != 3:
        raise ValueError(f"to_grey wants (…, 3, height, width), not {tuple(images.shape)}.")
    if images.is_floating_point():
        red, green, blue = images.unbind(-3)
        return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)
    if images.dtype != torch.uint8:
        raise TypeError(f"to_grey wants uint8 or float pictures, not {images.dtype}.")
    red, green, blue = images.to(torch.int32).unbind(-3)
    total = REC601[0] * red + REC601[1] * green + REC601[2] * blue
    rounded = (total + 32768) >> 16  # a half added, then cut off
    return rounded.to(torch.uint8).unsqueeze(-3)


def mix(images: Tensor, red: float = 1.0, green: float = 1.0, blue: float = 1.0, brightness: float = 0.0) -> Tensor:
    """Multiply each channel by its own number, add `brightness`, clamp to [0, 1]: float (…, 3, H, W).

    Raises:
        TypeError, ValueError: when `images` are no pictures in colour, of floats.
    """
    _require_tensor(images, "mix")
    if images.ndim < 3 or images.shape[-3] != 3 or not images.is_floating_point():
        raise ValueError(f"mix wants float pictures (…, 3, height, width), not {images.dtype} {tuple(images.shape)}.")
    gains = torch.tensor([red, green, blue], dtype=images.dtype, device=images.device).view(3, 1, 1)
    return (images * gains + brightness).clamp(0, 1)


def _per_channel(value: Numbers, images: Tensor, name: str) -> Tensor:
    """Return `value` as a tensor (C, 1, 1) or (1, 1, 1) that fits `images` (…, C, H, W)."""
    _require_tensor(images, "Normalising")
    if not images.is_floating_point():
        raise TypeError(f"Expected float pictures, got {images.dtype}; call pictures.to_float first.")
    if images.ndim < 3:
        raise ValueError(f"Expected (…, channels, height, width), got {tuple(images.shape)}.")
    numbers = torch.as_tensor(value, dtype=images.dtype, device=images.device)
    if numbers.ndim and numbers.numel() != images.shape[-3]:
        many = images.shape[-3]
        hint = "; the channels seem to come last" if images.shape[-1] == numbers.numel() else ""
        shape = tuple(images.shape)
        raise ValueError(f"{name} has {numbers.numel()} numbers, but {shape} has {many} channels{hint}.")
    if not bool(torch.isfinite(numbers).all()) or (name == "std" and bool((numbers <= 0).any())):
        kind = "positive" if name == "std" else "finite"
        raise ValueError(f"{name} must be {kind}, not {numbers.tolist()}.")
    return numbers.reshape(-1, 1, 1)


def normalise(images: Tensor, mean: Numbers, std: Numbers) -> Tensor:
    """Shift and stretch each channel to lie around 0 with a spread of 1: (images − mean) / std.

    Args:
        images: floats in [0, 1], shape (…, C, H, W).
        mean: one number, or one per channel, on the scale of `images`.
        std: likewise, and positive.

    Raises:
        TypeError: when `images` are not floats.
        ValueError: when channels do not fit, or `images` lie far outside [0, 1] (not scaled, or done twice).
    """
    mean, std = _per_channel(mean, images, "mean"), _per_channel(std, images, "std")
    if images.numel():
        _require_unit(images, "normalise", SLACK, "perhaps this was done before", "divide them by 255 first")
    return (images - mean) / std


def unnormalise(images: Tensor, mean: Numbers, std: Numbers) -> Tensor:
    """Undo `normalise`: images × std + mean, for float (…, C, H, W); nothing is clipped."""
    mean, std = _per_channel(mean, images, "mean"), _per_channel(std, images, "std")
    return images * std + mean


def clipped_fraction(images: Tensor) -> float:
    """Return which part of all floats (0 to 1) lies outside [0, 1] or is NaN, and is lost when shown as a picture.

    Raises:
        TypeError: when `images` holds no floats; bytes are shown as they are.
        ValueError: when there is no number.
    """
    _require_tensor(images, "clipped_fraction")
    if not images.is_floating_point():
        raise TypeError(f"clipped_fraction wants floats, not {images.dtype}; to_float makes them of bytes.")
    if images.numel() == 0:
        raise ValueError("There is not one pixel to look at.")
    return (~((images >= 0) & (images <= 1))).double().mean().item()
