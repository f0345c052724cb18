"""Exercises of lesson 6, "The learning rate".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

import math

import torch

from course_utils.exercises.checking import call, exercise
from course_utils.exercises.quiz import read_quiz

LESSON = "06"


@exercise(
    question="Return `steps` rates from `start` to `end`, each the same number of times the one before.",
    checks=[
        call(1.0, 1000.0, 4, typed=True),
        call(2.0, 32.0, 5, typed=True),
        call(0.01, 10.0, 7, typed=True),
        call(1.0, 9.0, 2, typed=True),
    ],
    hints=[
        "From the first rate to the last there are steps − 1 factors, all the same.",
        "The factor to the power of steps − 1 must be end / start.",
        "torch.tensor([start * factor**i for i in range(steps)]), with factor = (end / start) ** (1 / (steps − 1)).",
    ],
)
def rate_ladder(start: float, end: float, steps: int) -> torch.Tensor:
    """Return `steps` rates from `start` to `end`, each the same number of times the one before, as a float32 tensor."""
    factor = (end / start) ** (1 / (steps - 1))  # steps - 1 factors from the first to the last
    return torch.tensor([start * factor**i for i in range(steps)])


LOSSES = torch.tensor([4.0, 2.0, 3.0, 1.0, 5.0, 0.5])


@exercise(
    question="Return the losses (N,) as an exponential moving average with bias correction, float32 (N,).",
    checks=[
        call(torch.tensor([4.0, 2.0, 3.0]), 0.5, typed=True),
        call(LOSSES, 0.9, shown="six losses, 0.9", typed=True),
        call(LOSSES, 0.98, shown="six losses, 0.98", typed=True),
        call(LOSSES, 0.0, shown="six losses, 0.0", typed=True),
    ],
    hints=[
        "The average starts at 0; each loss makes it beta × average + (1 − beta) × loss.",
        "After step t (from 1) the weights add up to 1 − beta**t only. Divide by that.",
        "Divide a copy for the result, and keep the plain average for the next step.",
    ],
)
def calm_loss(losses: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the losses (N,) as an exponential moving average with bias correction, float32 (N,)."""
    average, result = 0.0, []
    for step, loss in enumerate(losses.tolist(), start=1):
        average = beta * average + (1 - beta) * loss
        result.append(average / (1 - beta**step))
    return torch.tensor(result)


@exercise(
    question="Return the rate where the loss falls most steeply on a logarithmic axis (the left end of that stretch).",
    checks=[
        call(torch.tensor([0.001, 0.01, 0.1, 1.0]), torch.tensor([2.3, 2.0, 1.0, 3.0])),
        call(torch.tensor([0.001, 0.002, 0.1, 1.0]), torch.tensor([2.3, 2.1, 1.6, 1.5]), shown="uneven rates, losses"),
        call(torch.tensor([0.01, 0.1, 1.0]), torch.tensor([2.0, 1.9, 9.0])),
        call(torch.tensor([0.01, 0.1, 1.0, 10.0]), torch.tensor([4.0, 2.5, 1.2, 0.2])),
        call(torch.tensor([0.001, 0.01, 0.1, 1.0, 10.0]), torch.tensor([3.0, 2.9, 1.9, 1.0, 1.2])),
    ],
    hints=[
        "A slope is a difference of losses over a difference of places; the place is the logarithm of the rate.",
        "losses.diff() and rates.log().diff() hold the differences of neighbours. Steepest down is the smallest slope.",
        "rates[slopes.argmin()].item(): the slope number i lies between the rates i and i + 1.",
    ],
)
def steepest_rate(rates: torch.Tensor, losses: torch.Tensor) -> float:
    """Return the rate at the start of the stretch where the loss falls most, per factor of the rate."""
    slopes = losses.diff() / rates.log().diff()  # (N - 1,)
    return rates[slopes.argmin()].item()


@exercise(
    question="Return how many steps a schedule needs; a last batch that is smaller counts, unless it is left out.",
    checks=[
        call(60_000, 256, 5),
        call(10_000, 32, 3),
        call(10_000, 32, 3, True),
        call(640, 64, 2),
        call(65, 64, 2),
        call(640, 64, 2, True),
    ],
    hints=[
        "Count the batches of one epoch first, and multiply by the epochs last.",
        "A rest of even one picture is a batch of its own, so round up; with drop_last round down.",
        "divmod(pictures, size) gives the full batches and the rest.",
    ],
)
def cycle_steps(pictures: int, size: int, epochs: int, drop_last: bool = False) -> int:
    """Return how many steps a schedule needs, for batches of `size` over `epochs` epochs."""
    full, rest = divmod(pictures, size)
    return epochs * (full + (rest > 0 and not drop_last))


@exercise(
    question="Return the rate of the one-cycle schedule at `step`, from 0 to `total` − 1.",
    checks=[
        call(0, 100, 1.0),
        call(29, 100, 1.0),
        call(15, 100, 1.0),
        call(60, 100, 1.0),
        call(99, 100, 1.0),
        call(5, 50, 0.2),
        call(33, 50, 0.2),
        call(40, 100, 1.0),
        call(60, 305, 1.0),
    ],
    hints=[
        "Find out first on which of the two half waves the step lies; the top is at step 0.3 · total − 1.",
        "The share of the way is step / top on the way up, and (step − top) / (total − 1 − top) on the way down.",
        "A half wave from a to b at a share s is b + (a − b) · (1 + cos(π · s)) / 2.",
    ],
)
def one_cycle_rate(step: int, total: int, max_lr: float) -> float:
    """Return the rate of the one-cycle schedule at `step`, from 0 to `total` − 1; it rises for 30 % of the steps."""
    top = 0.3 * total - 1
    if step <= top:
        start, end, share = max_lr / 25, max_lr, step / top
    else:
        start, end, share = max_lr, max_lr / 25 / 1e4, (step - top) / (total - 1 - top)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@exercise(
    question="Return the rate in use in each epoch, when more than `patience` epochs in a row without a new best loss "
    "multiply it by `factor`.",
    checks=[
        call([3.0, 2.0, 1.0], 0.1, 0.5, 1, typed=True),
        call([1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5], 0.4, 0.5, 1, typed=True),
        call([3.0, 2.0, 2.5, 1.0, 1.5, 0.5, 0.6, 0.7, 0.8, 0.4], 1.0, 0.1, 1, typed=True),
        call([1.0, 2.0, 2.0, 2.0, 2.0, 2.0], 1.0, 0.5, 0, typed=True),
        call([1.0, 3.0, 2.0, 3.0, 2.0, 1.0, 0.5], 1.0, 0.5, 1, typed=True),
        call([1.0, 1.0, 2.0, 1.5, 1.6, 1.7], 1.0, 0.5, 1, typed=True),
    ],
    hints=[
        "Walk through the losses with three notes: the best so far, the bad epochs in a row, and the rate.",
        "An epoch's loss is known when the epoch is over, so write the rate down before you look at the loss.",
        "Reduce when bad > patience, and then count the bad epochs from 0 again. The best loss stays.",
    ],
)
def plateau_rates(losses: list[float], rate: float, factor: float, patience: int) -> torch.Tensor:
    """Return the rate in use in each epoch, float32 (epochs,), when a plateau of the validation loss reduces it."""
    best, bad, result = float("inf"), 0, []
    for loss in losses:
        result.append(rate)  # the loss is known only after the epoch
        if loss < best:
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            rate, bad = rate * factor, 0
    return torch.tensor(result)


quiz = read_quiz("lesson6", LESSON)
