"""The learning rate range test: let the rate grow from batch to batch, and watch the loss fall and explode.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks" (arXiv:1506.01186); geometric growth,
smoothing and stop are those that Gugger described in 2018 ("How Do You Find A Good Learning Rate", sgugger.github.io).
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from course_utils import figures
from course_utils.base.modules import device_of
from course_utils.errors import TrainingError
from course_utils.learning_rate.suggest import FALLS, FEWEST, SuggestedRate, Suggestion, suggest
from course_utils.training import guards
from course_utils.training.amp import Amp
from course_utils.training.fit import train_step
from course_utils.training.guards import Loss, Pairs
from course_utils.training.smoothing import MovingAverage, smooth
from course_utils.training.snapshot import restored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STOPS = {
    "end": "the largest rate was reached",
    "threshold": "the average exceeded the threshold",
    "not a number": "the loss was no longer a number",
}
MOST_PASSES = 3  # through a set, before a fall may be due to learning by heart
COLOURS = {"steepest": figures.GREEN, "valley": figures.RED, "minimum / 10": figures.PURPLE}
MARKS = {"steepest": "v", "valley": "o", "minimum / 10": "s"}


@dataclass(frozen=True)
class RangeTest:
    """What a range test measured: one rate and one loss a batch, why it stopped, and what to read off it.

    With several parameter groups, `rates` are those of the group with the largest rate; the others kept their ratio
    to it. `str()` gives the answer in words, `plot()` draws it.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    beta: float = 0.98
    stopped: str = "end"  # a key of STOPS
    passes: float = 1.0  # how often the test went through all its batches
    steps: int = 200  # that were asked for

    @cached_property
    def smoothed(self) -> tuple[float, ...]:
        """The losses as a moving average with bias correction."""
        return tuple(smooth(self.losses, self.beta))

    @cached_property
    def suggestion(self) -> Suggestion:
        """Each rule's answer and their range, or the reason why there is no clear answer."""
        ended = self.stopped != "end" and self.steps >= FEWEST  # with fewer, no smaller rate would help
        return suggest(self.rates, self.losses, self.beta, ended=ended)

    @property
    def answers(self) -> tuple[SuggestedRate, ...]:
        """Each rule's rate with its reason; empty without a clear answer."""
        return self.suggestion.answers

    @property
    def rate(self) -> float | None:
        """The rate to begin with, or None."""
        return self.suggestion.rate

    def __str__(self) -> str:
        tried = f"{len(self.rates)} batches" + (f", up to a rate of {self.rates[-1]:.2g}" if self.rates else "")
        text = f"{tried}: {STOPS[self.stopped]}.\n{self.suggestion}"
        fell = self.suggestion.clear or FALLS in str(self.suggestion.problem)
        if fell and self.passes > MOST_PASSES:
            text += (
                f"\nThe test went {self.passes:.0f} times through its pictures, so part of the fall is\n"
                "learning by heart; take fewer steps, or more pictures."
            )
        return text

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw loss against rate with the rules' answers marked, into `ax` where it is given."""
        import matplotlib.pyplot as plt

        with figures.style():
            if ax is None:
                _, ax = plt.subplots(figsize=(7, 3.4))
            self._draw(ax)
        return ax.figure

    def _draw(self, ax: Axes) -> None:
        ax.plot(self.rates, self.losses, color=figures.SKY, linewidth=0.8, alpha=0.7, label="each batch")
        ax.plot(self.rates, self.smoothed, color=figures.BLUE, label="smoothed")
        for answer in self.answers:
            rule = answer.rule
            height, label = self._height(answer.rate), f"{rule}: {answer.rate:.2g}"
            # Hollow, so that another rule's mark in the same place is seen through it.
            hollow = {"markerfacecolor": "none", "markeredgewidth": 2} if rule == "minimum / 10" else {}
            ax.plot(answer.rate, height, MARKS[rule], color=COLOURS[rule], markersize=9, label=label, **hollow)
        if self.losses:
            low, high = min(self.losses), max(self.smoothed)
            first = self.smoothed[0]
            top = min(high, first + 1.2 * max(first - low, 0.2 * abs(first), 1e-9))
            ax.set_ylim(low - 0.05 * (top - low), top + 0.1 * (top - low))
        ax.set(xscale="log", xlabel="learning rate", ylabel="training loss", title=self._finding())
        ax.legend(loc="lower left", fontsize=9)

    def _finding(self) -> str:
        if not self.suggestion.clear:
            return f"No clear answer: {self.suggestion.problem.split(';')[0].rstrip('.')}"
        low, high = self.suggestion.range
        return f"Begin near {self.rate:.2g}; {low:.2g} to {high:.2g} is worth trying"

    def _height(self, rate: float) -> float:
        """Return the smoothed loss at the rate tried that is nearest."""
        return self.smoothed[min(range(len(self.rates)), key=lambda i: abs(math.log(self.rates[i] / rate)))]


def geometric_rates(start: float = 1e-8, end: float = 10.0, steps: int = 200) -> list[float]:
    """Return `steps` rates from `start` to `end`, each the same number of times the one before.

    Raises:
        ValueError: unless 0 < start < end and there are at least 2 steps.
    """
    if not isinstance(steps, int) or steps < 2:
        raise ValueError(f"A range test needs at least 2 steps, not {steps!r}; 100 to 300 are usual.")
    if not guards.is_between(0, start, math.inf) or not guards.is_between(start, end, math.inf):
        raise ValueError(f"The rates must grow from a positive start to a larger end, not from {start!r} to {end!r}.")
    return [start * (end / start) ** (i / (steps - 1)) for i in range(steps)]


def range_test(
    model: nn.Module,
    batches: Pairs,
    optimizer: torch.optim.Optimizer,
    loss: Loss = F.cross_entropy,
    *,
    start: float = 1e-8,
    end: float = 10.0,
    steps: int = 200,
    beta: float = 0.98,
    threshold: float = 4.0,
    autocast: torch.dtype | None = None,
) -> RangeTest:
    """Train on one batch at each of a growing ladder of rates, note the losses, and put everything back.

    Weights, buffers, gradients, the optimizer's state and rates, the mode of every layer and the random state are
    afterwards what they were, bit for bit, also after an error or an interrupt. Schedulers are not stepped.

    Args:
        model: trained in training mode on the device where its weights are.
        batches: yields pairs of inputs and targets each time it is gone through; shorter ones are gone through again.
        optimizer: over the parameters of `model`; any but L-BFGS, whose steps need a closure. Groups with different
            rates keep their ratios: the group with the largest rate climbs the ladder.
        loss: takes the network's answer and the targets, returns the mean loss of the batch.
        start, end: the smallest and the largest rate.
        steps: batches, at most, and rungs of the ladder.
        beta: of the smoothing, from 0 (none) to below 1. A large one makes the curve calm, and late.
        threshold: stop when the smoothed loss exceeds this many times its lowest value; `math.inf` never stops. (A
            lowest loss below zero counts by its size: the rise allowed is `threshold` − 1 times its size.)
        autocast: `torch.bfloat16` or `torch.float16`, as for `training.fit`.

    Returns:
        A `RangeTest`. A loss that is no longer a number ends the test and is left out.

    Raises:
        ValueError, TypeError: for settings or batches that do not fit.
        TrainingError: when the first loss, that of the untouched network, is not a number.
    """
    rates, average = geometric_rates(start, end, steps), MovingAverage(beta)
    if not threshold > 1:
        raise ValueError(f"threshold is a multiple of the lowest loss and must be above 1, not {threshold}.")
    guards.require_optimizer(optimizer, model)
    guards.require_reusable(batches)
    guards.require_loss(loss)
    losses: list[float] = []
    stopped, lowest, device, size = "end", math.inf, device_of(model), 0
    amp, shares = Amp(device, autocast), _shares(optimizer)
    with (
        restored(model, optimizer, batches, loss),
        guards.explained(device, lambda: size),
        torch.enable_grad(),
        closing(guards.endless(batches)) as stream,
    ):
        model.train()
        for rate, (inputs, targets) in zip(rates, stream):
            size = len(inputs)
            for group, share in zip(optimizer.param_groups, shares):
                group["lr"] = rate * share
            value = train_step(model, inputs.to(device), targets.to(device), loss, optimizer, amp)[0].item()
            if not math.isfinite(value):
                if not losses:
                    raise TrainingError(
                        f"The loss is {value} before any step, so no rate is to blame; look for NaN and huge values in "
                        "the pictures and in the weights."
                    )
                stopped = "not a number"
                break
            losses.append(value)
            smoothed = average.add(value)
            if smoothed > lowest + (threshold - 1) * abs(lowest):
                stopped = "threshold"
                break
            lowest = min(lowest, smoothed)
    count = guards.count_of(batches)
    passes = len(losses) / count if count else 1.0
    return RangeTest(tuple(rates[: len(losses)]), tuple(losses), beta, stopped, passes, steps)


def _shares(optimizer: torch.optim.Optimizer) -> list[float]:
    """Return each group's rate as a share of the largest; all 1 where every rate is 0."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    largest = max(rates)
    return [rate / largest if largest > 0 else 1.0 for rate in rates]
