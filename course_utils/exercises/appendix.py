"""Exercises of appendix A, the same network in PyTorch and in Keras: the way back, from Keras to PyTorch.

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the appendix imports: a copy runs in its cell.
"""

from __future__ import annotations

import torch

from course_utils.exercises.checking import call, exercise
from course_utils.exercises.quiz import read_quiz

LESSON = "A"


def counted(*shape: int) -> torch.Tensor:
    """Return a tensor of `shape` that holds 0, 1, 2 …, so that each number tells where it came from."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


@exercise(
    question="Return a convolution's weights (out, in, height, width) for Keras's kernel (height, width, in, out).",
    checks=[call(counted(3, 3, 1, 4)), call(counted(3, 3, 4, 4)), call(counted(1, 5, 2, 3))],
    hints=[
        "Only the order of the axes changes, no number does; permute takes the old axes in their new order.",
        "Keras's axes are numbered height 0, width 1, in 2, out 3. Which one must come first?",
        "out is axis 3, so it begins with kernel.permute(3, …).",
    ],
)
def kernel_to_pytorch(kernel: torch.Tensor) -> torch.Tensor:
    """Return a convolution's weights (out, in, height, width) for Keras's kernel (height, width, in, out)."""
    return kernel.permute(3, 2, 0, 1)


@exercise(
    question="Return a dense layer's weights (out, C·H·W) behind `nn.Flatten` for Keras's kernel (H·W·C, out).",
    checks=[
        call(counted(8, 3), 2, 2, 2),
        call(counted(12, 4), 2, 3, 2),
        call(counted(5, 2), 5, 1, 1),
        call(counted(24, 2), 4, 3, 2),
    ],
    hints=[
        "A transpose gives the right shape; but are the inputs in the right order?",
        "First undo Keras's Flatten: reshape the kernel to (height, width, channels, out).",
        "Then permute to (out, channels, height, width), and flatten all but the first axis.",
    ],
)
def dense_to_pytorch(kernel: torch.Tensor, channels: int, height: int, width: int) -> torch.Tensor:
    """Return a dense layer's weights (out, channels · height · width) for Keras's (height · width · channels, out)."""
    by_pixel = kernel.reshape(height, width, channels, -1)  # row, column, channel, class
    return by_pixel.permute(3, 2, 0, 1).flatten(1)  # class, then channel by channel


@exercise(
    question="Return batch normalisation's running mean (C,) after a batch (N, C, H, W), with Keras's `momentum`.",
    checks=[
        call(torch.zeros(2), counted(1, 2, 1, 2), 0.75),
        call(torch.tensor([8.0, -4.0, 0.0]), counted(2, 3, 2, 2), 0.5),
        call(torch.tensor([1.0]), counted(3, 1, 1, 1), 1.0),
    ],
    hints=[
        "In Keras momentum is the share of the old mean that stays. What is the share of the new batch?",
        "The batch's mean is one number for each channel: a mean over pictures, rows and columns.",
        "momentum · old + (1 − momentum) · batch.mean(dim=(0, 2, 3)).",
    ],
)
def keras_mean(old: torch.Tensor, batch: torch.Tensor, momentum: float) -> torch.Tensor:
    """Return the running mean after a batch (N, C, H, W), with `momentum` as Keras means it; `old` is (C,)."""
    return momentum * old + (1 - momentum) * batch.mean(dim=(0, 2, 3))


@exercise(
    question="Return what Keras counts: 3×3 convolutions without bias, batch normalisations, a dense layer.",
    checks=[
        call(1, (16, 48, 96), 864, 10),
        call(3, (8,), 8, 2),
        call(3, (), 3072, 10),
        call(1, (4, 4, 4, 4), 16, 5),
    ],
    hints=[
        "A 3×3 convolution without bias has 9 · in · out numbers; what goes out of one goes into the next.",
        "A batch normalisation has four numbers for each channel: two learned ones and two that are remembered.",
        "The dense layer has flat · classes weights, and one bias for each class.",
    ],
)
def keras_count(channels: int, widths: tuple[int, ...], flat: int, classes: int) -> int:
    """Return what Keras's `count_params` gives for 3×3 convolutions, each batch-normalised, and a dense layer."""
    total = 0
    for width in widths:
        total += 3 * 3 * channels * width  # a convolution without bias
        total += 4 * width  # scale and shift are learned, mean and variance remembered
        channels = width
    return total + flat * classes + classes


quiz = read_quiz("appendix", LESSON)
