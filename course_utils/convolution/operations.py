"""Four convolutions with one answer, pooling, and how many numbers a layer learns.

Everything here grows in lesson 2, `notebooks/02_convolution_by_hand.ipynb`. "Convolution" means what deep
learning means by it: cross-correlation, the kernel not flipped, as in `torch.nn.functional.conv2d`, which is
the fourth version. Where windows go (output size, receptive field) is in `course_utils.convolution.geometry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.convolution.geometry import Size, output_size, pair, whole

Rows = tuple[tuple[float, ...], ...]

# Read-only, so that no lesson can change another's kernels. Those that sum to 1 keep the brightness of a flat
# area; those that sum to 0 answer 0 there.
KERNELS: Mapping[str, Rows] = MappingProxyType(
    {
        "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
        "vertical edges": ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)),
        "horizontal edges": ((-1, -1, -1), (0, 0, 0), (1, 1, 1)),
        "Sobel x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
        "Sobel y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
        "all edges": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
        "box blur": ((1 / 9, 1 / 9, 1 / 9), (1 / 9, 1 / 9, 1 / 9), (1 / 9, 1 / 9, 1 / 9)),
        "Gaussian blur": ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)),
        "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
        "emboss": ((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
    }
)


def kernel(name: str) -> Tensor:
    """Return the named kernel of `KERNELS` as a float32 tensor (3, 3); ValueError for another name."""
    if name not in KERNELS:
        raise ValueError(f"There is no kernel named {name!r}; choose one of: {', '.join(KERNELS)}.")
    return torch.tensor(KERNELS[name], dtype=torch.float32)


@dataclass(frozen=True)
class _Plan:
    """A checked call: the padded pictures, and what the three versions need, as (vertical, horizontal)."""

    padded: Tensor  # (N, C, H + 2·padding, W + 2·padding)
    kernel: tuple[int, int]
    output: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    def window(self, row: int, column: int) -> tuple[slice, slice]:
        """The pixels under the kernel for output cell (row, column); dilation makes it skip some."""
        top, left = row * self.stride[0], column * self.stride[1]
        height, width = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel))
        return slice(top, top + height, self.dilation[0]), slice(left, left + width, self.dilation[1])

    def under(self, i: int, j: int) -> tuple[slice, slice]:
        """The pixels that kernel cell (i, j) meets on its way: as many as the output has cells."""
        top, left = i * self.dilation[0], j * self.dilation[1]
        height, width = (s * (n - 1) + 1 for s, n in zip(self.stride, self.output))
        return slice(top, top + height, self.stride[0]), slice(left, left + width, self.stride[1])


def _plan(images: Tensor, weight: Tensor, bias: Tensor | None, stride: Size, padding: Size, dilation: Size) -> _Plan:
    """Check all arguments of a convolution and pad the pictures."""
    for name, value, layout in (("images", images, "(N, C, H, W)"), ("weight", weight, "(O, C, kh, kw)")):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}; give a float tensor {layout}.")
        if value.ndim != 4:
            raise ValueError(
                f"{name} has {value.ndim} axes, {tuple(value.shape)}; give {layout}, "
                "and add an axis of length 1 with [None] where one is missing."
            )
        if not value.is_floating_point():
            raise TypeError(f"{name} holds {value.dtype} numbers, which cannot hold fractions; use .float().")
    if images.dtype != weight.dtype:
        raise TypeError(f"images are {images.dtype} and weight is {weight.dtype}; give both the same dtype.")
    if images.shape[1] != weight.shape[1]:
        raise ValueError(
            f"images have {images.shape[1]} channels but each filter expects {weight.shape[1]}; "
            "the second axis of images and of weight must agree."
        )
    if bias is not None and getattr(bias, "dtype", None) != images.dtype:
        found = bias.dtype if isinstance(bias, Tensor) else f"a {type(bias).__name__}"
        raise TypeError(f"bias is {found}; give a tensor of {images.dtype}, as images and weight are.")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(f"bias has shape {tuple(bias.shape)}; give one number per filter, shape ({weight.shape[0]},).")
    steps, zeros = pair(stride, "stride", 1), pair(padding, "padding", 0)
    spread = pair(dilation, "dilation", 1)
    sides = tuple(images.shape[2:]), tuple(weight.shape[2:])
    height, width = (output_size(*one) for one in zip(*sides, steps, zeros, spread))
    padded = F.pad(images, (zeros[1], zeros[1], zeros[0], zeros[0]))
    return _Plan(padded, sides[1], (height, width), steps, spread)


def _add_bias(output: Tensor, bias: Tensor | None) -> Tensor:
    return output if bias is None else output + bias.view(1, -1, 1, 1)


def corr2d_loops(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
) -> Tensor:
    """Cross-correlate one output cell at a time: the definition, and the slowest of the four versions.

    Args:
        images: float tensor (N, C, H, W).
        weight: float tensor (O, C, kh, kw) of the same dtype: O filters, C planes each.
        bias: None, or one number per filter, shape (O,).
        stride: pixels from one window to the next, one number or (vertical, horizontal).
        padding: zeros added on each side, likewise.
        dilation: pixels from one kernel cell to the next, likewise.

    Returns:
        Tensor (N, O, H', W') with the sides that `output_size` gives.

    Raises:
        TypeError, ValueError: one sentence that names the argument, what was wrong and what was expected.
    """
    plan = _plan(images, weight, bias, stride, padding, dilation)
    output = images.new_zeros(len(images), len(weight), *plan.output)
    for row, column in product(*map(range, plan.output)):
        down, across = plan.window(row, column)
        window = plan.padded[:, :, down, across]  # (N, C, kh, kw)
        for n, o in product(range(len(images)), range(len(weight))):
            output[n, o, row, column] = (window[n] * weight[o]).sum()
    return _add_bias(output, bias)


def corr2d_slices(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
) -> Tensor:
    """Cross-correlate one kernel cell at a time, for all places at once; arguments as for `corr2d_loops`."""
    plan = _plan(images, weight, bias, stride, padding, dilation)
    output = images.new_zeros(len(images), len(weight), *plan.output)
    for i, j in product(*map(range, plan.kernel)):
        down, across = plan.under(i, j)
        shifted = plan.padded[:, :, down, across]  # (N, C, H', W')
        output = output + torch.einsum("nchw,oc->nohw", shifted, weight[:, :, i, j])
    return _add_bias(output, bias)


def corr2d_unfold(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
) -> Tensor:
    """Cross-correlate with one matrix product, a column per window; arguments as for `corr2d_loops`."""
    plan = _plan(images, weight, bias, stride, padding, dilation)
    # (N, C·kh·kw, H'·W')
    columns = F.unfold(plan.padded, plan.kernel, dilation=plan.dilation, stride=plan.stride)
    output = weight.flatten(1) @ columns  # (O, C·kh·kw) @ (N, C·kh·kw, H'·W') -> (N, O, H'·W')
    return _add_bias(output.view(len(images), len(weight), *plan.output), bias)


def pool2d(images: Tensor, size: Size, stride: Size | None = None, kind: str = "max") -> Tensor:
    """Summarise each window of each channel by one number.

    Args:
        images: float tensor (N, C, H, W).
        size: side of the window in pixels, or (height, width).
        stride: pixels from one window to the next; None means `size`: windows side by side.
        kind: "max", "average" or "sum".

    Returns:
        Tensor (N, C, H', W'); pixels that fill no whole window are left out.

    Raises:
        TypeError, ValueError: one sentence that names the argument, what was wrong and what was expected.
    """
    if kind not in ("max", "average", "sum"):
        raise ValueError(f"kind is {kind!r}; choose 'max', 'average' or 'sum'.")
    if not isinstance(images, Tensor) or not images.is_floating_point():
        found = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images are {found}; give a float tensor (N, C, H, W).")
    if images.ndim != 4:
        raise ValueError(f"images have {images.ndim} axes, {tuple(images.shape)}; give (N, C, H, W).")
    sides = pair(size, "size", 1)
    steps = sides if stride is None else pair(stride, "stride", 1)
    for n, side in zip(images.shape[2:], sides):
        output_size(n, side)  # says clearly when the window is larger than the picture
    # (N, C, H', W', height, width)
    windows = images.unfold(2, sides[0], steps[0]).unfold(3, sides[1], steps[1])
    if kind == "max":
        return windows.amax((-2, -1))
    return windows.mean((-2, -1)) if kind == "average" else windows.sum((-2, -1))


def conv_parameters(in_channels: int, out_channels: int, kernel: Size, bias: bool = True) -> int:
    """How many numbers a convolutional layer learns; the size of the picture does not matter."""
    inputs, outputs = whole(in_channels, "in_channels", 1), whole(out_channels, "out_channels", 1)
    height, width = pair(kernel, "kernel", 1)
    return outputs * (inputs * height * width + bias)


def dense_parameters(inputs: int, outputs: int, bias: bool = True) -> int:
    """How many numbers a dense layer learns that joins each of `inputs` values with each of `outputs`."""
    return whole(outputs, "outputs", 1) * (whole(inputs, "inputs", 1) + bias)
