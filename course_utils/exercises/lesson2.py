"""Exercises of lesson 2, "Convolution by hand".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from course_utils.base.words import percent
from course_utils.exercises.checking import Check, attempted, call, exercise
from course_utils.exercises.differences import described, plain, shaped
from course_utils.exercises.given import EFFECTS, Effect, answers, small_photograph
from course_utils.exercises.given import unknown_effect as unknown_effect  # for the lesson
from course_utils.exercises.quiz import read_quiz

LESSON = "02"
DRAW = torch.Generator().manual_seed(2)
PICTURE = torch.randperm(7 * 8, generator=DRAW).reshape(7, 8).float()  # whole numbers, none twice
DARK = PICTURE[:6, :6] - 60  # all below 0: a maximum that starts from 0 fails
GREY = torch.rand(14, 17, generator=DRAW)
KERNEL = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
SECRET = torch.tensor([[0.5, 0, -1], [2, 0.5, 0], [0, -1.5, 0]])
MOST_LEFT = 0.01  # of the variance of an effect


CORNER = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
WIDE = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])  # its left half alone is found elsewhere


def _hidden(row: int, column: int, brightness: float, pattern: torch.Tensor = CORNER) -> torch.Tensor:
    """Return a dark picture (8, 11) with a faint pattern at the place and a patch of even brightness elsewhere."""
    picture = torch.zeros(8, 11)
    picture[5:, 7:] = brightness
    picture[row : row + pattern.shape[0], column : column + pattern.shape[1]] = pattern / 2
    return picture


@exercise(
    question="Return the (row, column) of the window where the correlation with the pattern is largest.",
    checks=[
        call(_hidden(1, 2, 0.0), CORNER, shown="a dark picture with the pattern in it, the pattern"),
        call(_hidden(3, 0, 0.0), CORNER, shown="a dark picture with the pattern at its edge, the pattern"),
        call(_hidden(1, 2, 0.9), CORNER, shown="a picture with a bright patch, the pattern"),
        call(_hidden(0, 4, 0.9).T.contiguous(), CORNER.T.contiguous(), shown="the same lying on its side, the pattern"),
        call(_hidden(5, 8, 0.0), CORNER, shown="a dark picture with the pattern in its last corner, the pattern"),
        call(_hidden(2, 5, 0.0, WIDE), WIDE, shown="a dark picture with a pattern of 2 × 4 in it, the pattern"),
    ],
    hints=[
        "A bright place answers strongly to any pattern of positive numbers. Less its mean, the pattern sums to 0.",
        "F.conv2d with pattern[None, None] as the weight gives the answer of every window; argmax finds the largest.",
        "argmax counts through all rows: divmod(number, columns of the answers) gives (row, column).",
    ],
)
def find_pattern(picture: torch.Tensor, pattern: torch.Tensor) -> tuple[int, int]:
    """Return (row, column) of the window's upper left corner where the pattern, less its mean, answers most."""
    kernel = pattern - pattern.mean()  # sums to 0: even brightness answers nothing
    answers = F.conv2d(picture[None, None], kernel[None, None])[0, 0]
    return divmod(int(answers.argmax()), answers.shape[1])


@exercise(
    question="Return the weight (C, C, kh, kw) of a layer that applies one kernel to every channel by itself.",
    checks=[call(KERNEL, 3), call(KERNEL, 1), call(KERNEL[:2], 4), call(KERNEL[:1, :1], 2)],
    hints=[
        "weight[o, c] is the plane with which output channel o looks at input channel c.",
        "Output channel 0 must see input channel 0 alone: all its other planes hold zeros.",
        "Start from torch.zeros(channels, channels, *kernel.shape) and set weight[c, c] for each channel.",
    ],
)
def channel_by_channel(kernel: torch.Tensor, channels: int) -> torch.Tensor:
    """Return the weight (C, C, kh, kw) of a layer that applies a kernel (kh, kw) to every channel by itself."""
    weight = torch.zeros(channels, channels, *kernel.shape)
    for channel in range(channels):
        weight[channel, channel] = kernel
    return weight


@exercise(
    question="Return the largest minus the smallest number of each size × size window, windows side by side.",
    checks=[call(PICTURE[:4, :6], 2), call(DARK, 2), call(PICTURE, 2), call(PICTURE, 3), call(PICTURE, 1)],
    hints=[
        "The output has H // size rows and W // size columns; cut off what fills no whole window.",
        "The smallest number is minus the largest of the negative picture, so max pooling can find both.",
        "Or reshape to (rows, size, columns, size), then amax and amin over the axes 1 and 3.",
    ],
)
def contrast_pool(picture: torch.Tensor, size: int) -> torch.Tensor:
    """Return the largest minus the smallest number of each size × size window of a picture (H, W)."""
    largest = F.max_pool2d(picture[None], size)[0]
    smallest = -F.max_pool2d(-picture[None], size)[0]
    return largest - smallest


@exercise(
    question="Blur a picture (H, W) with a 1×side and a side×1 kernel; return (H − side + 1, W − side + 1).",
    checks=[call(GREY), call(GREY, 3), call(GREY[:9], 9), call(GREY, 1)],
    hints=[
        "Average each row's windows first; then average the result along the columns.",
        "The numbers of each of the two kernels sum to 1, so each is 1 / side.",
        "F.conv2d wants four axes: picture[None, None] goes in, [0, 0] of the output comes back.",
    ],
)
def box_blur_in_two_steps(picture: torch.Tensor, side: int = 9) -> torch.Tensor:
    """Return the averages of all side×side windows of a picture (H, W): first along rows, then along columns."""
    level = torch.full((1, 1, 1, side), 1 / side)
    upright = torch.full((1, 1, side, 1), 1 / side)
    return F.conv2d(F.conv2d(picture[None, None], level), upright)[0, 0]


def _pair(number: int, effect: Effect, enough: bool) -> Check:
    """Return a check that shows an answer one pair, and measures its kernel on another photograph."""
    name = f"learn_effect on pair {number}"

    def check(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
        before, other = small_photograph("cat", 8, 24, 64), small_photograph("raccoon", 8, 24, 64)
        given = before.clone(), effect(before)
        got, failure = attempted(answer, *given)
        if failure:
            return f"{name} {failure}"
        if not isinstance(got, (list, tuple)) or len(got) != 2:
            return f"{name}: got {described(got)}, expected a pair (kernel, enough)"
        kernel, said = got[0], plain(got[1])
        if not isinstance(kernel, (torch.Tensor, np.ndarray)) or kernel.shape != (3, 3):
            return f"{name}: the kernel is {shaped(kernel)}, expected a tensor of shape (3, 3)"
        if not isinstance(said, bool):
            return f"{name}: enough is {described(said)}, expected True or False"
        if not (torch.equal(given[0], before) and torch.equal(given[1], effect(before))):
            return f"{name}: the pair was changed; work on copies of it"
        if said and not enough:
            return f"{name}: it said True, but no nine numbers explain this effect; look at the loss that is left"
        if enough and not said:
            return f"{name}: it said False, but there are nine numbers that explain this effect; take more steps"
        expected = effect(other)
        left = (
            F.mse_loss(answers(other, torch.as_tensor(kernel).detach().float()), expected).item()
            / expected.var().item()
        )
        if enough and not left <= MOST_LEFT:  # nan too
            return (
                f"{name}: on another photograph the kernel leaves {percent(left)} of the effect unexplained, and at "
                f"most {percent(MOST_LEFT, 0)} passes"
            )
        return None

    return check


@exercise(
    question="Learn the 3×3 kernel of an effect from a photograph before and after, and say whether it is enough.",
    checks=[
        _pair(1, lambda picture: answers(picture, SECRET), enough=True),
        _pair(2, EFFECTS[1], enough=True),
        _pair(3, EFFECTS[2], enough=False),
        _pair(4, EFFECTS[3], enough=False),
    ],
    hints=[
        "Start from `recover`. Print the loss, divided by after.var(). How far down does it come?",
        "Subtract the photograph's mean, divide by its spread, learn one added number beside the kernel, and take "
        "1,000 steps at rate 0.1.",
        "A kernel learned on picture / spread comes out multiplied by that spread, so divide it by the spread. If more "
        "than 1 % of the effect is left on the pair itself, nine numbers are not enough.",
    ],
)
def learn_effect(before: torch.Tensor, after: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Return the kernel (3, 3) learned from a pair, and whether its nine numbers explain the effect."""
    spread = before.std()
    picture = ((before - before.mean()) / spread)[None, None]
    kernel = torch.zeros(1, 1, 3, 3, requires_grad=True)
    shift = torch.zeros(1, requires_grad=True)  # makes up for the mean
    for _ in range(1000):
        loss = F.mse_loss(F.conv2d(picture, kernel, shift)[0, 0], after)
        gradients = torch.autograd.grad(loss, (kernel, shift))
        with torch.no_grad():
            for numbers, gradient in zip((kernel, shift), gradients):
                numbers -= 0.1 * gradient
    enough = loss.item() < 0.01 * after.var().item()
    return kernel.detach()[0, 0] / spread, enough


quiz = read_quiz("lesson2", LESSON)
