"""Exercises of lesson 1, "Pixels and tensors".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from course_utils.exercises.checking import Check, attempted, call, exercise
from course_utils.exercises.quiz import read_quiz

LESSON = "01"
# Every pixel differs from its neighbours and none is 0 or 255, so that a wrong place or border cannot look right.
PICTURE = (torch.arange(1, 127).reshape(3, 6, 7) * 2).to(torch.uint8)  # (C, H, W)
FLOATS = torch.linspace(0, 1, 3 * 3 * 3 * 3).reshape(3, 3, 3, 3)  # as many pictures as channels: a wrong axis fits
LIGHTS = torch.stack([0.2 + 0.5 * FLOATS[0], 0.9 - 0.3 * FLOATS[1]])  # two pictures, neither from 0 to 1
FLAT = torch.full((1, 3, 3, 3), 0.25)


@exercise(
    question='Return (102, 255, 102) for "#66FF66"; lower-case letters work too.',
    checks=[call("#66FF66"), call("#000000"), call("#0A64FF"), call("#ffa07a")],
    hints=[
        "After the # come two characters for each of red, green and blue: text[1:3] is red.",
        'int(text, 16) reads a number in base 16, in capitals or not: int("FF", 16) is 255.',
        "Return a tuple of int(text[1:3], 16), int(text[3:5], 16) and the same for the last two characters.",
    ],
)
def from_hex(text: str) -> tuple[int, ...]:
    """Return the (red, green, blue) of a colour such as "#66FF66"."""
    return tuple(int(text[start : start + 2], 16) for start in (1, 3, 5))


def _copied(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
    given = PICTURE.clone()
    got, _ = attempted(answer, given, 0)
    itself = isinstance(got, torch.Tensor) and got.data_ptr() == given.data_ptr()
    itself |= isinstance(got, np.ndarray) and np.may_share_memory(got, given.numpy())
    return "frame(…, 0) returned the picture itself, expected a copy of it" if itself else None


@exercise(
    question="Return a copy of a uint8 picture (C, H, W) with a white border over its edge.",
    checks=[
        call(PICTURE, 1, typed=True),
        call(PICTURE, 2, typed=True),
        call(PICTURE[:1], 1, typed=True),
        call(PICTURE, 0, typed=True),
        call(PICTURE, 3, typed=True),
        _copied,
    ],
    hints=[
        "Work on image.clone(), so that the picture that was given stays as it was. White is 255 in every channel.",
        "The top border is framed[:, :thickness]; left and right ones are slices of the last axis.",
        "Mind a thickness of 0: a slice from -0 begins at 0 and takes everything. height - thickness has no such trap.",
    ],
)
def frame(image: torch.Tensor, thickness: int) -> torch.Tensor:
    """Return a copy of a uint8 picture (C, H, W) with a white border painted over its edge."""
    framed = torch.full_like(image, 255)
    height, width = image.shape[1:]
    rows = slice(thickness, max(thickness, height - thickness))  # counted from the front: -0 would mean the start
    columns = slice(thickness, max(thickness, width - thickness))
    framed[:, rows, columns] = image[:, rows, columns]
    return framed


@exercise(
    question="Stretch each picture of a float batch (N, C, H, W) to reach from 0 to 1; a plain one becomes all 0.",
    checks=[
        call(FLOATS),
        call(LIGHTS),
        call(LIGHTS[:1, :, 1:]),
        call(torch.cat([LIGHTS, FLAT]), shown="<with a plain picture>"),
    ],
    hints=[
        "images.amin(dim=(1, 2, 3), keepdim=True) is each picture's smallest number, (N, 1, 1, 1), and broadcasts.",
        "Subtract the smallest number, then divide by what is left of the largest: largest − smallest.",
        "Where largest = smallest this divides 0 by 0. Divide by 1 there: torch.where(spread == 0, 1, spread).",
    ],
)
def stretch(images: torch.Tensor) -> torch.Tensor:
    """Return a float batch (N, C, H, W) in which each picture reaches from 0 to 1; a plain one becomes all 0."""
    darkest = images.amin(dim=(1, 2, 3), keepdim=True)  # (N, 1, 1, 1)
    spread = images.amax(dim=(1, 2, 3), keepdim=True) - darkest
    return (images - darkest) / torch.where(spread == 0, 1, spread)


@exercise(
    question="Return the megabytes (10⁶ bytes) of a dense layer's float32 weights and biases, for colour pictures.",
    checks=[call(28, 28, 10), call(1, 1, 1), call(640, 480, 1000)],
    hints=[
        "Each output has one weight for every input number, and one bias.",
        "A colour picture has three numbers per pixel; a float32 number takes 32 bits, which is 4 bytes.",
        "(width * height * 3 * outputs + outputs) numbers, times the bytes of each, divided by a million.",
    ],
)
def dense_megabytes(width: int, height: int, outputs: int) -> float:
    """Return the megabytes of a dense layer's float32 weights and biases, for colour pictures of this size."""
    weights = width * height * 3 * outputs
    biases = outputs
    return (weights + biases) * 4 / 1e6  # a float32 number has 4 bytes


@exercise(
    question="Which learning rate reaches the bottom of a·x² + b·x + c (a > 0) in a single step?",
    checks=[call(1.0), call(2.0), call(0.25), call(5)],
    hints=[
        "The slope at x is 2·a·x + b, and the bottom is where it is 0, at −b / (2·a).",
        "The slope is 2·a times the distance from the bottom, so a step multiplies the distance by 1 − 2·a·rate.",
        "The factor must be 0. Which rate makes 2·a·rate equal to 1?",
    ],
)
def perfect_rate(a: float) -> float:
    """Return the learning rate that reaches the bottom of a·x² + b·x + c in one step."""
    return 1 / (2 * a)  # a step multiplies the distance by 1 − 2·a·rate


def _filtered(red: float, green: float, blue: float, brightness: float) -> Check:
    """Return a check on a small picture in [0, 1], darkest in blue, before and after a filter."""
    waves = torch.linspace(0, 300, 3 * 7 * 7).sin().reshape(3, 7, 7)
    before = torch.tensor([0.6, 0.45, 0.35]).view(3, 1, 1) + torch.tensor([0.39, 0.4, 0.34]).view(3, 1, 1) * waves
    after = before * torch.tensor([red, green, blue]).view(3, 1, 1) + brightness
    return call(before, after, shown=f"<filter {red:g}, {green:g}, {blue:g}, {brightness:g}>")


@exercise(
    question="Find by gradient descent the three gains and the brightness of a filter, rounded to two decimals.",
    checks=[_filtered(0.5, 1.5, 1.5, 0.0), _filtered(1.2, 0.8, 0.4, 0.15), _filtered(0.903, 1.1, 1.7, -0.2)],
    hints=[
        "numbers = torch.tensor([1.0, 1.0, 1.0, 0.0], requires_grad=True) holds all four; one optimizer changes them.",
        "predicted = before * numbers[:3].view(3, 1, 1) + numbers[3]; the other four lines are those of learn_gains.",
        "The rate can go up to about 0.9. At 0.1 the photograph above takes some 1,500 steps, at 0.8 some 180.",
    ],
)
def find_filter(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the gains of red, green and blue and the brightness that turn `before` into `after`, float32 (4,)."""
    numbers = torch.tensor([1.0, 1.0, 1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.SGD([numbers], lr=0.8)
    for _ in range(500):
        predicted = before * numbers[:3].view(3, 1, 1) + numbers[3]
        loss = ((predicted - after) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return numbers.detach().round(decimals=2)


quiz = read_quiz("lesson1", LESSON)
