"""What learners' answers are given, apart from the solutions: a process that runs an answer may load this module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from course_utils import acceleration, convolution, pictures

Effect = Callable[[torch.Tensor], torch.Tensor]


class Small(nn.Module):
    """A toy family: three blocks and a head called `top`."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
        self.block2 = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU())
        self.block3 = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
        self.top = nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits of inputs (N, 4)."""
        return self.top(self.block3(self.block2(self.block1(inputs))))


class Score:
    """A score of pictures (N, C, H, W) that looks at some places more than at others."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights  # (C, H, W)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N,)."""
        return (images * self.weights).sum(dim=(1, 2, 3)).square()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Score) and torch.equal(self.weights, other.weights)

    __hash__ = None


def measured(
    step: Callable[..., object], net: nn.Module, images: torch.Tensor, labels: torch.Tensor, memory: int
) -> Any:
    """Call `step` and return what it took: bytes that autograd kept at most, uses of `net`, pictures at most in one.

    What `torch.utils.checkpoint` computes again is not among the bytes, but it goes through `net` as well. Pictures do
    not count where autograd is off, as nothing is kept of them there. A step that gives its placeholder `...` back has
    it returned.
    """
    used: list[int] = []
    counting = net.register_forward_hook(lambda _, inputs, scores: used.append(len(scores) * torch.is_grad_enabled()))
    try:
        with acceleration.keeping(net, images, labels) as kept:
            result = step(net, images, labels, memory)
    finally:
        counting.remove()
    return ... if result is ... else (kept.most, len(used), max(used, default=0))


def several(answer: Callable[..., object], times: int, *arguments: Any) -> Any:
    """Return the results of so many calls, or the placeholder `...` where one of them gives it back.

    In `course check`, where each call starts from the notebook as it is written, these go on from each other.
    """
    results = [answer(*arguments) for _ in range(times)]
    return ... if any(each is ... for each in results) else results


EFFECTS: tuple[Effect, ...] = (
    lambda picture: answers(picture, convolution.kernel("emboss")),
    lambda picture: answers(picture, convolution.kernel("sharpen")),
    lambda picture: (picture[1:-1, 1:-1] * 4).floor() / 4,
    lambda picture: _length(picture, "Sobel x", "Sobel y"),
)


def answers(picture: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Return the answers (H - 2, W - 2) of a 3×3 kernel on a picture (H, W)."""
    return F.conv2d(picture[None, None], kernel[None, None])[0, 0]


def _length(picture: torch.Tensor, *names: str) -> torch.Tensor:
    return sum(answers(picture, convolution.kernel(name)) ** 2 for name in names).sqrt()


def small_photograph(name: str, top: int = 0, left: int = 0, side: int | None = None) -> torch.Tensor:
    """Return a photograph of the course, small and grey, or a square cut out of it: float32 (H, W)."""
    grey = pictures.to_grey(pictures.to_float(pictures.to_tensor(pictures.photograph(name))))
    small = F.avg_pool2d(grey, 4)[0]
    return small if side is None else small[top : top + side, left : left + side]


def unknown_effect(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a grey photograph (H, W) and what an effect made of it, (H − 2, W − 2), both float32.

    Args:
        number: of the effect, 0 to 3.

    Raises:
        ValueError: for another number.
    """
    if number not in range(len(EFFECTS)):
        raise ValueError(f"There is no effect {number!r}; they are numbered from 0 to {len(EFFECTS) - 1}.")
    before = small_photograph("coffee")
    return before, EFFECTS[number](before)
