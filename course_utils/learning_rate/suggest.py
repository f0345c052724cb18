"""Which rate to pick from a curve of loss against rate: several rules, a range, or "no clear answer" and why.

The rules are those in wide use: where the loss falls most steeply, the middle of its longest way downhill ("valley"),
and a tenth of the rate with the lowest loss. The ideas are from Smith 2017 (arXiv:1506.01186) and fastai's `lr_find`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from course_utils.training.smoothing import smooth

# When a curve says something. Shares are of the loss at the beginning, its level. Measured with batches of 64 on three
# small networks, three seeds each: neighbouring losses differ by 1 to 4 % of the level by chance; the smoothed loss
# falls by 34 to 55 % with true labels, and with random ones, as it levels off at guessing evenly, by 0.2 to 3.5 %.
FEWEST = 20  # losses; the level takes the first 5 of so few, and the rules need some more to see a fall
SURE = 5.0  # standard errors by which it must fall; noise does so less than once in 3,000 curves of 1,000 losses
SMALLEST_FALL = 0.03  # a smaller one is flat, however sure it is
HIGH = 0.20  # above the level by this: the loss has risen, and not by chance
NOISY = 0.10  # where losses differ by more, noise is to blame and not flatness
AT_THE_END = 0.02  # of the steps, at least 3: a lowest loss there is not yet the lowest
QUICKER = 0.9  # of an average that looks whether the losses themselves still fall
QUARTILE = NormalDist().inv_cdf(0.75)  # half of all normal numbers lie within so many standard deviations of the mean


@dataclass(frozen=True)
class SuggestedRate:
    """One rule's answer: its name, the place on the curve, the rate it suggests, and the reason in words."""

    rule: str
    index: int
    rate: float
    reason: str


@dataclass(frozen=True)
class Suggestion:
    """What a curve says: three rules' answers and the range they span, or why there is no clear answer."""

    answers: tuple[SuggestedRate, ...] = ()
    problem: str | None = None

    @property
    def clear(self) -> bool:
        """Whether there is an answer."""
        return self.problem is None

    @property
    def rate(self) -> float | None:
        """The rate to begin with: the middle one of the three rules' answers. None without a clear answer."""
        return sorted(answer.rate for answer in self.answers)[1] if self.clear else None

    @property
    def range(self) -> tuple[float, float] | None:
        """The smallest and the largest answer. None without a clear answer."""
        rates = [answer.rate for answer in self.answers]
        return (min(rates), max(rates)) if self.clear else None

    def of(self, rule: str) -> SuggestedRate:
        """Return the answer of one rule: "steepest", "valley" or "minimum / 10".

        Raises:
            ValueError: when there is none of that name.
        """
        for answer in self.answers:
            if answer.rule == rule:
                return answer
        known = ", ".join(answer.rule for answer in self.answers) or "none, for the curve gives no answer"
        raise ValueError(f"There is no rule {rule!r}; there are: {known}.")

    def __str__(self) -> str:
        if not self.clear:
            return f"No clear answer: {self.problem}"
        low, high = self.range
        lines = [f"Begin with a rate near {self.rate:.2g}; between {low:.2g} and {high:.2g} is worth trying."]
        return "\n".join(lines + [f"  {c.rule:<12} {c.rate:>8.2g}  {c.reason}" for c in self.answers])


def suggest(rates: Sequence[float], losses: Sequence[float], beta: float = 0.98, *, ended: bool = False) -> Suggestion:
    """Return what a curve of loss against rate suggests.

    Args:
        rates: the rates tried, growing, one a step.
        losses: the loss of each step's batch, not smoothed.
        beta: for `smooth`; the rules look at the smoothed losses.
        ended: whether the test ended early because the loss exploded, so that a fall up to the very end is no problem.

    Raises:
        ValueError: when rates and losses differ in number, the rates do not grow, or a loss is not finite.
    """
    x, raw = np.asarray(rates, dtype=float), np.asarray(losses, dtype=float)
    if x.ndim != 1 or x.shape != raw.shape:
        raise ValueError(f"Each rate needs one loss, not {x.shape} rates and {raw.shape} losses.")
    if len(x) and (x[0] <= 0 or (np.diff(x) <= 0).any()):
        raise ValueError("The rates must be positive and grow from step to step, as those of a range test do.")
    if not np.isfinite(raw).all():
        raise ValueError("A loss is not a finite number; leave out what comes after the loss exploded.")
    y = np.asarray(smooth(raw, beta))
    if not ended and len(x) >= FEWEST and _at_the_end(y):
        quicker = np.asarray(smooth(raw, min(beta, QUICKER)))  # a slow average may still fall when the losses do not
        y, beta = (y, beta) if _at_the_end(quicker) else (quicker, min(beta, QUICKER))
    problem = _problem(x, raw, y, beta, ended)
    if problem:
        return Suggestion(problem=problem)
    lowest = _lowest(y)
    steep, middle = _steepest(x, y, lowest), valley(y)
    return Suggestion(
        (
            SuggestedRate("steepest", steep, float(x[steep]), "where the smoothed loss falls fastest"),
            SuggestedRate("valley", middle, float(x[middle]), "the middle of the longest way downhill"),
            SuggestedRate(
                "minimum / 10", lowest, float(x[lowest]) / 10, f"a tenth of {x[lowest]:.2g}, where it is lowest"
            ),
        )
    )


def valley(losses: Sequence[float]) -> int:
    """Return the index in the middle of the longest way downhill.

    That way is the longest selection of losses, in their order, of which each is below the one before: small bumps are
    stepped over. fastai's `valley` looks for the same way, but returns the loss that lies half its length before its
    end, as if none had been stepped over: the more bumps, the further to the right. It also leaves out the first tenth
    of the losses and the last five beforehand. On smooth curves both agree to within a step.
    """
    y = np.asarray(losses, dtype=float)
    n = len(y)
    length, before = np.ones(n, dtype=int), np.full(n, -1)
    for i in range(1, n):
        higher = np.flatnonzero(y[:i] > y[i])
        if len(higher):
            before[i] = higher[np.argmax(length[higher])]
            length[i] = length[before[i]] + 1
    way = [int(np.argmax(length))]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return way[len(way) // 2]


def _first(n: int) -> int:
    """Return how many points at the beginning are the level that everything is compared with."""
    return max(5, n // 10)


def _lowest(y: np.ndarray) -> int:
    """Return where the curve is lowest; the very first points are averages of few losses and do not count."""
    skip = _first(len(y))
    return skip + int(np.argmin(y[skip:]))


def _at_the_end(y: np.ndarray) -> bool:
    """Tell whether the curve is lowest in its last steps, so that it may fall further."""
    return _lowest(y) >= len(y) - max(3, int(AT_THE_END * len(y)))


def _steepest(x: np.ndarray, y: np.ndarray, lowest: int) -> int:
    skip = min(_first(len(y)), lowest - 1)
    slope = np.diff(y) / np.diff(np.log(x))
    return skip + int(np.argmin(slope[skip:lowest]))


def _problem(x: np.ndarray, raw: np.ndarray, y: np.ndarray, beta: float, ended: bool) -> str | None:
    """Return why a person would not read a rate off this curve, or None."""
    n = len(x)
    if n < FEWEST:
        return f"only {n} losses were measured and at least {FEWEST} are needed; " + (
            "begin at a smaller rate." if ended else "take more steps."
        )
    first, lowest = _first(n), _lowest(y)
    # The first loss is that of the untouched network: a fall from a height that the rates caused is no fall.
    level = min(float(np.median(raw[:first])), float(raw[0] + abs(raw[0]) / 4))
    noise = _noise(raw[: max(lowest + 1, FEWEST // 2)])  # before the loss rises
    # Of the level, a median of `first` losses: its variance is π / 2 of that of a mean (Laplace). And of the smoothed
    # loss: (1 − β) / (1 + β) of that of a single one (Roberts 1959, on control charts with moving averages).
    error = noise * np.sqrt(math.pi / 2 / first + (1 - beta) / (1 + beta))
    if level - float(y[lowest]) < max(SURE * error, SMALLEST_FALL * abs(level)):
        return _without_a_fall(x, raw, y, level, noise, risen=level + max(SURE * error, HIGH * abs(level)))
    if not ended and _at_the_end(y):
        return f"the loss still falls at the largest rate; test beyond {x[-1]:.2g}."
    return None


def _noise(losses: np.ndarray) -> float:
    """Return the standard deviation of losses around their course, from the differences of neighbours.

    A difference of two varies √2 times as much as one. The median of their sizes lets single leaps pass.
    """
    return float(np.median(np.abs(np.diff(losses)))) / QUARTILE / math.sqrt(2)


def _without_a_fall(
    x: np.ndarray, raw: np.ndarray, y: np.ndarray, level: float, noise: float, risen: float
) -> str:  # fmt: skip
    """Return what a curve does instead of falling; above `risen` it is clearly higher than at the beginning."""
    n, high = len(x), np.flatnonzero(y > risen)
    # The first step alone makes it leap, and for long no loss is below the untouched network's; or it rises soon after
    # the losses that set the level.
    leaps = np.median(raw[1 : _first(n)]) > raw[0] + abs(raw[0]) / 4 and np.argmin(raw[: n // 3]) == 0
    if leaps or np.median(raw[n // 8 : n // 4]) > risen:
        return (
            f"the smoothed loss is never clearly below its first value, {raw[0]:.2g}; begin at a smaller rate than "
            f"{x[0]:.2g}."
        )
    if len(high) and high[-1] == n - 1:
        return (
            f"the loss stays near {level:.2g} and then rises, near a rate of {x[high[0]]:.2g}, without a fall "
            "before; take larger batches, or check that there is something to learn: labels, frozen layers."
        )
    if noise > NOISY * abs(level):
        return (
            f"the batches' losses differ by about {noise:.2g} by chance, too much to see a fall; "
            "take larger batches, or more steps."
        )
    return (
        f"the loss stays near {level:.2g} at all rates up to {x[-1]:.2g}; test larger ones, or check that the "
        "network can learn: labels, frozen layers."
    )
