"""Pooling by kernels of our own, written in Triton: for NVIDIA GPUs, and for pictures laid out as channels_last.

PyTorch's pooling notes for every maximum where it was, as a place in the picture of 8 bytes: four times as much as the
maximum itself in 16 bits. Which of four pixels it was fits into a byte. And the backward pass writes every gradient
once, the zeros too, where PyTorch's fills all with zeros first.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

PLACES, CHANNELS = 32, 64  # that one program works on


@triton.jit
def _forward(  # noqa: ANN202 - Triton reads it as a language of its own
    images, halved, chosen, height, width, channels, places, PLACES: tl.constexpr, CHANNELS: tl.constexpr
):
    place = tl.program_id(0) * PLACES + tl.arange(0, PLACES)[:, None]  # in `halved`, counted over all pictures
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    inside = (place < places) & (channel < channels)
    rows, columns = height // 2, width // 2
    row = place // columns  # counted over all pictures
    corner = (row // rows * height + row % rows * 2) * width + place % columns * 2  # its window's upper left pixel
    best = tl.load(images + corner * channels + channel, inside)
    which = tl.zeros((PLACES, CHANNELS), tl.int32)
    for k in tl.static_range(1, 4):
        other = corner + k // 2 * width + k % 2
        pixel = tl.load(images + other * channels + channel, inside)
        better = (pixel > best) | (pixel != pixel)  # of equal ones the first; NaN wins, as in PyTorch
        which = tl.where(better, k, which)
        best = tl.where(better, pixel, best)
    tl.store(halved + place * channels + channel, best, inside)
    tl.store(chosen + place * channels + channel, which.to(tl.uint8), inside)


@triton.jit
def _backward(  # noqa: ANN202 - Triton reads it as a language of its own
    gradient, chosen, result, height, width, channels, places, PLACES: tl.constexpr, CHANNELS: tl.constexpr
):
    place = tl.program_id(0) * PLACES + tl.arange(0, PLACES)[:, None]  # in `result`, counted over all pictures
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    inside = (place < places) & (channel < channels)
    rows, columns = height // 2, width // 2
    row, column = place // width % height, place % width
    window = (place // width // height * rows + row // 2) * columns + column // 2
    pooled = inside & (row < 2 * rows) & (column < 2 * columns)  # the last row and column of odd sides are in no window
    value = tl.load(gradient + window * channels + channel, pooled, other=0.0)
    which = tl.load(chosen + window * channels + channel, pooled, other=0)
    value = tl.where(which == row % 2 * 2 + column % 2, value, 0.0)
    tl.store(result + place * channels + channel, value, inside)


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(context, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        count, channels, height, width = images.shape
        halved = _empty((count, channels, height // 2, width // 2), images)
        chosen = torch.empty_like(halved, dtype=torch.uint8)
        _launch(_forward, images, halved, chosen, height, width, channels, halved.numel() // channels)
        context.save_for_backward(chosen)
        context.sides = height, width
        return halved

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        (chosen,) = context.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        count, channels = gradient.shape[:2]
        result = _empty((count, channels, *context.sides), gradient)
        _launch(_backward, gradient, chosen, result, *context.sides, channels, result.numel() // channels)
        return result


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _launch(kernel: triton.JITFunction, *given: Tensor | int) -> None:
    *_, channels, places = given
    grid = (triton.cdiv(places, PLACES), triton.cdiv(channels, CHANNELS))
    with torch.cuda.device_of(given[0]):  # Triton launches on the current device
        kernel[grid](*given, PLACES=PLACES, CHANNELS=CHANNELS)


def halved(images: Tensor) -> Tensor:
    """Return the maxima of windows of 2×2 pixels, (N, C, H // 2, W // 2), as `F.max_pool2d(images, 2)` does.

    Args:
        images: float (N, C, H, W) on an NVIDIA GPU, with fewer than 2³¹ numbers.
    """
    return _Halved.apply(images)


class Halved(nn.Module):
    """`halved` as a layer."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, H // 2, W // 2) for (N, C, H, W)."""
        return halved(images)
