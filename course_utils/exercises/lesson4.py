"""Exercises of lesson 4, "Training for real".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from course_utils.exercises.checking import MISSING, Check, attempted, call, exercise
from course_utils.exercises.differences import described, plain
from course_utils.exercises.given import Score
from course_utils.exercises.quiz import read_quiz

LESSON = "04"

_draws = torch.Generator().manual_seed(4)
MAPS = torch.rand(4, 3, 5, 5, generator=_draws) * 4 - 1  # (N, C, H, W)
MEANS, VARIANCES = torch.tensor([0.5, 0.0, -1.0]), torch.tensor([1.0, 4.0, 0.25])
PICTURES = torch.arange(3 * 1 * 2 * 3, dtype=torch.float32).reshape(3, 1, 2, 3)
WEIGHT = torch.rand(3, 2, 3, 3, generator=_draws) - 0.5  # (O, I, k, k)
SCALES, SHIFTS = torch.tensor([1.0, 2.0, -0.5]), torch.tensor([0.0, 1.0, 3.0])
KEPT = torch.tensor([[True, False, True], [False, True, True], [True, True, True], [False, False, True]])  # (N, C)


@exercise(
    question="Return the weight and the bias of one convolution that does what a convolution and its batch norm do.",
    checks=[
        call(WEIGHT, SCALES, SHIFTS, MEANS, VARIANCES, shown="weight (3, 2, 3, 3), scale, shift, mean, variance"),
        call(WEIGHT[:, :1, :1, :1], SCALES, SHIFTS, MEANS, torch.tensor([0.0, 1e-5, 9.0]), shown="a variance of 0"),
        call(torch.eye(3).view(3, 3, 1, 1), SCALES, SHIFTS, MEANS, VARIANCES, 0.5, shown="a 1 × 1 weight, eps=0.5"),
    ],
    hints=[
        "Write the norm as one multiplication and one addition: (y - mean) / root * scale + shift = y * a + b.",
        "a is scale / root, with the root of variance + eps; b is what is left where y is 0.",
        "Each of the O filters is multiplied by its own a: give a the shape (O, 1, 1, 1) with view.",
    ],
)
def fold_norm(
    weight: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    eps: float = 1e-5,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weight (O, I, k, k) and bias (O,) of a convolution with its batch norm, in evaluation, folded in."""
    factor = scale / (variance + eps).sqrt()  # (O,)
    return weight * factor.view(-1, 1, 1, 1), shift - mean * factor


@exercise(
    question="Drop whole maps of (N, C, H, W), those for which `kept`, bool (N, C), is False, in training only.",
    checks=[
        call(MAPS, KEPT, 0.5, True, shown="maps (4, 3, 5, 5), kept, p=0.5, training=True"),
        call(MAPS[..., 1:], KEPT, 0.2, True, shown="maps (4, 3, 5, 4), kept, p=0.2, training=True"),
        call(MAPS, KEPT, 0.5, False, shown="maps (4, 3, 5, 5), kept, p=0.5, training=False"),
    ],
    hints=[
        "In evaluation a dropout does nothing at all.",
        "In training, give `kept` the shape (N, C, 1, 1) with view, so that it counts for every place of a map.",
        "p is the probability to be dropped: what stays is divided by 1 - p, the share that is kept on average.",
    ],
)
def drop_maps(maps: torch.Tensor, kept: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    """Return maps (N, C, H, W): in training only those of kept, bool (N, C), divided by 1 − p; else all as they are."""
    if not training:
        return maps.clone()
    return maps * kept.view(*kept.shape, 1, 1) / (1 - p)


SMALLEST, LARGEST = 1.1, 2.5  # how many times as large as the input the output may be


def growth(factor: float, blocks: int, seed: int) -> float:
    """Return how many times larger than its input a stack of `x + factor · relu(x W)`, W by He's rule, makes it."""
    generator = torch.Generator().manual_seed(seed)
    first = x = torch.randn(64, 32, generator=generator)
    for _ in range(blocks):
        x = x + factor * (x @ (torch.randn(32, 32, generator=generator) * (2 / 32) ** 0.5)).relu()
    return (x.square().mean() / first.square().mean()).sqrt().item()


def _in_range(blocks: int) -> Check:
    def check(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
        name = f"branch_factor({blocks})"
        got, failure = attempted(answer, blocks)
        if failure:
            return f"{name} {failure}"
        factor = plain(got)
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return f"{name}: got {described(got)}, expected a number{MISSING if got is None else ''}"
        for seed in range(3):
            times = growth(factor, blocks, seed)
            if not SMALLEST <= times <= LARGEST:
                return f"{name}: the output is {times:.3g} times as large, expected {SMALLEST} to {LARGEST} times"
        return None

    return check


@exercise(
    question="Return the factor of each branch that keeps a deep residual network without normalisation in range.",
    checks=[_in_range(10), _in_range(40), _in_range(160)],
    hints=[
        "With b blocks, what each adds must shrink as b grows. Try 1 / blocks ** power for a few powers.",
        "The root would do if what the branches add were independent and around 0. ReLU's output is never negative.",
        "So what they add piles up, b times: the factor must be about 1 / b. Much smaller, and nothing is added.",
    ],
)
def branch_factor(blocks: int) -> float:
    """Return what to multiply each branch with: the outputs of ReLU are not negative, so all of them pile up."""
    return 1 / blocks


@exercise(
    question="Mirror those pictures of a batch (N, C, H, W) left to right for which `chosen`, bool (N,), is True.",
    checks=[
        call(PICTURES, torch.tensor([True, False, True]), shown="images (3, 1, 2, 3), [True, False, True]"),
        call(PICTURES, torch.tensor([False, False, False]), shown="images (3, 1, 2, 3), all False"),
        call(MAPS, torch.tensor([True, True, False, True]), shown="images (4, 3, 5, 5), [True, True, False, True]"),
    ],
    hints=[
        "Left and right lie along the last axis, the width: images.flip(3) mirrors every picture.",
        "Make a mirrored batch of all, then take from it only what is chosen.",
        "torch.where(condition, a, b) chooses; give `chosen` the shape (N, 1, 1, 1) with view.",
    ],
)
def flip_some(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return images (N, C, H, W), those mirrored left to right where chosen, bool (N,), is True."""
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


@exercise(
    question="Paint a square of `side` pixels centred at (row, column); what leaves the picture is cut off.",
    checks=[
        call(MAPS[0], 2, 2, 3, 0.0, shown="image (3, 5, 5), row 2, column 2, side 3, fill 0"),
        call(MAPS[0], 0, 4, 3, 9.0, shown="image (3, 5, 5), row 0, column 4, side 3, fill 9"),
        call(MAPS[0], 1, 3, 2, 0.5, shown="image (3, 5, 5), row 1, column 3, side 2, fill 0.5"),
        call(MAPS[0], 4, 0, 5, 0.0, shown="image (3, 5, 5), row 4, column 0, side 5, fill 0"),
        call(MAPS[0], -3, 2, 3, 9.0, shown="image (3, 5, 5), row -3, column 2, side 3, fill 9"),
        call(MAPS[0], 2, -4, 4, 9.0, shown="image (3, 5, 5), row 2, column -4, side 4, fill 9"),
        call(MAPS[0], -1, 2, 3, 9.0, shown="image (3, 5, 5), row -1, column 2, side 3, fill 9"),
        call(MAPS[0][:, :4], 3, 4, 3, 9.0, shown="image (3, 4, 5), row 3, column 4, side 3, fill 9"),
        call(MAPS[0][:, :, :4], 4, 3, 3, 9.0, shown="image (3, 5, 4), row 4, column 3, side 3, fill 9"),
    ],
    hints=[
        "The square begins at row - side // 2 and ends `side` rows later; the same for the columns.",
        "A slice that begins or ends at -1 counts from the *last* row. Use max(…, 0) for both.",
        "A slice that ends beyond the picture is harmless. Work on image.clone().",
    ],
)
def paint_square(image: torch.Tensor, row: int, column: int, side: int, fill: float) -> torch.Tensor:
    """Return image (C, H, W) with a square around (row, column) painted in `fill`, cut off at the border."""
    painted = image.clone()
    top, left = row - side // 2, column - side // 2
    painted[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = fill
    return painted


@exercise(
    question="Return (best epoch, last epoch trained) for validation accuracies and a patience, counted from 1.",
    checks=[
        call([0.5, 0.6, 0.7, 0.69, 0.68, 0.9], 2),
        call([0.5, 0.6, 0.7, 0.69, 0.71, 0.70], 2),
        call([0.8, 0.8, 0.8], 2),
        call([0.3, 0.2, 0.4], 1),
        call([0.7, 0.6, 0.65, 0.66], 2),
        call([0.1, 0.2, 0.3], 5),
        call([0.5, 0.6, 0.7, 0.69, 0.71, 0.70, 0.72], 2),
        call([0.0, 0.0, 0.0], 2),
    ],
    hints=[
        "Go through the epochs in order, and remember the best one so far. A run cannot know what comes later.",
        "Stop when `patience` epochs in a row were not better than the best.",
        "Equal is not better. With no early stop, the last epoch is len(accuracies).",
    ],
)
def best_epoch(accuracies: list[float], patience: int) -> tuple[int, int]:
    """Return (the best epoch, the last epoch trained), both counted from 1, for a run with early stopping."""
    best = 1
    for epoch, accuracy in enumerate(accuracies, start=1):
        if accuracy > accuracies[best - 1]:
            best = epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, len(accuracies)


@exercise(
    question="Return the weights (steps,) of SGD with Nesterov's momentum on ½ · curvature · w², one after each step.",
    checks=[
        call(4.0, 1.0, 0.1, 0.9, 5),
        call(-1.0, 40.0, 0.01, 0.5, 6),
        call(2.0, 3.0, 0.2, 0.0, 4),
    ],
    hints=[
        "The gradient of ½ · curvature · w² is curvature · w. The velocity starts at 0.",
        "In each step first velocity = momentum * velocity + gradient, then the weight moves.",
        "It moves by rate * (gradient + momentum * velocity): the velocity is counted once more, for the step ahead.",
    ],
)
def nesterov_path(start: float, curvature: float, rate: float, momentum: float, steps: int) -> torch.Tensor:
    """Return the weights (steps,) of `torch.optim.SGD(..., nesterov=True)` on ½ · curvature · w²."""
    weight, velocity, path = start, 0.0, []
    for _ in range(steps):
        gradient = curvature * weight
        velocity = momentum * velocity + gradient
        weight -= rate * (gradient + momentum * velocity)
        path.append(weight)
    return torch.tensor(path)


def _eighths(*shape: int) -> torch.Tensor:
    """Return numbers from 0 to 1 that float32 adds and squares without rounding."""
    return (torch.rand(shape, generator=_draws) * 8).round() / 8


BOARD = _eighths(2, 4, 6)  # (C, H, W)


@exercise(
    question="Return how much of a score is lost when each square of a picture is covered, (H / side, W / side).",
    checks=[
        call(Score(_eighths(2, 4, 6)), BOARD, 2, shown="score, image (2, 4, 6), 2"),
        call(Score(_eighths(2, 4, 6) - 0.5), BOARD, 1, shown="score, image (2, 4, 6), 1"),
        call(Score(torch.ones(3, 5, 5)), _eighths(3, 5, 5), 5, shown="score, image (3, 5, 5), 5"),
    ],
    hints=[
        "Two loops, over the rows and the columns of squares. Cover on image.clone(), not on the picture.",
        "`score` wants a batch: score(covered[None])[0] is the score of one picture.",
        "The whole picture's score minus the covered one's: where much is lost, the network looked.",
    ],
)
def covered_drop(score: torch.nn.Module, image: torch.Tensor, side: int) -> torch.Tensor:
    """Return the score of image (C, H, W) minus its score with each square covered by 0, (H / side, W / side)."""
    rows, columns = image.shape[1] // side, image.shape[2] // side
    whole = score(image[None])[0]
    drop = torch.zeros(rows, columns)
    for row in range(rows):
        for column in range(columns):
            covered = image.clone()
            covered[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = 0
            drop[row, column] = whole - score(covered[None])[0]
    return drop


quiz = read_quiz("lesson4", LESSON)
