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
FLAT = 0.02  # of the whole fall: who is nearer to the lowest loss has come down to it
LIKELY, CLEARLY = 2.0, 3.0  # standard errors by which the last losses differ from those before, or from the level
QUICKER = 0.9  # of an average that looks whether the losses themselves still fall
FALLS = "the loss still falls at the largest rate"
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
    if len(x) < FEWEST:
        return Suggestion(problem=_too_few(raw, ended))
    curve = _Curve(x, raw, beta, ended)
    if not ended and curve.ends_lowest:
        quicker = _Curve(x, raw, min(beta, QUICKER), ended)
        # A slow average may still fall when the losses do not.
        curve = quicker if not quicker.ends_lowest or quicker.flat_at_the_end else curve
    if problem := curve.problem():
        return Suggestion(problem=problem)
    steep, middle, lowest = curve.steepest(), valley(curve.y), curve.lowest
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


def _too_few(raw: np.ndarray, ended: bool) -> str:
    """Return why so few losses say nothing, and what to do."""
    said = f"only {len(raw)} losses were measured and at least {FEWEST} are needed; "
    if not ended:
        return said + "take more steps."
    calm = len(raw) > 2 and raw.max() <= (1 + HIGH) * abs(raw[0])
    return said + (
        "the loss had not risen before, so look for NaN in the pictures, or begin at a smaller rate."
        if calm
        else "begin at a smaller rate."
    )


class _Curve:
    """A curve of at least `FEWEST` losses against rates, smoothed with `beta`, and what is read off it.

    Attributes:
        level: the loss at the beginning, which everything is compared with.
        noise: the standard deviation of losses around their course before they rise.
        error: the standard error of a smoothed loss below the level.
        lowest: where the smoothed curve is lowest; where it is flat at the end, where it first comes down to that.
    """

    def __init__(self, x: np.ndarray, raw: np.ndarray, beta: float, ended: bool) -> None:
        self.x, self.raw, self.beta, self.ended = x, raw, beta, ended
        self.y = np.asarray(smooth(raw, beta))
        self.first = max(5, len(x) // 10)  # points at the beginning that are the level
        # The very first points are averages of few losses and do not count.
        self.lowest = self.first + int(np.argmin(self.y[self.first :]))
        # The first loss is that of the untouched network: a fall from a height that the rates caused is no fall.
        self.level = min(float(np.median(raw[: self.first])), float(raw[0] + abs(raw[0]) / 4))
        self.noise = _noise(raw[: max(self.lowest + 1, FEWEST // 2)])
        # Of the level, a median of `first` losses: its variance is π / 2 of that of a mean (Laplace). And of the
        # smoothed loss: (1 − β) / (1 + β) of that of a single one (Roberts 1959, on control charts with moving
        # averages).
        self.error = self.noise * math.sqrt(math.pi / 2 / self.first + (1 - beta) / (1 + beta))
        self.fall = self.level - float(self.y[self.lowest])
        self.ends_lowest = self.lowest >= len(x) - max(3, int(AT_THE_END * len(x)))
        late = not ended and self.lowest >= len(x) - self.first
        self.flat_at_the_end = late and self._has_fallen() and self._is_level_at_the_end()
        if self.flat_at_the_end:  # the average creeps on towards a lowest loss that was reached long before
            near = float(self.y[self.lowest]) + FLAT * max(self.fall, 0.0)
            self.lowest = self.first + int(np.argmax(self.y[self.first :] <= near))

    def _is_level_at_the_end(self) -> bool:
        """Tell whether the losses themselves neither fall nor rise from the last tenth but one to the last."""
        before, last = (np.median(part) for part in (self.raw[-2 * self.first : -self.first], self.raw[-self.first :]))
        chance = _noise(self.raw[-2 * self.first :]) * math.sqrt(math.pi / self.first)  # of a difference of two medians
        return bool(abs(before - last) <= max(LIKELY * chance, FLAT * self.fall))

    def _has_fallen(self) -> bool:
        """Tell whether the last losses are below the level, though the smoothed ones do not show it yet."""
        chance = self.noise * math.sqrt(math.pi / self.first)
        fallen = self.level - float(np.median(self.raw[-self.first :]))
        return fallen > max(CLEARLY * chance, SMALLEST_FALL * abs(self.level))

    def steepest(self) -> int:
        """Return where the smoothed loss falls fastest, from where it last was at the level.

        Before that the average of few losses wavers: with small batches more steeply than the loss then falls.
        """
        half = self.first + int(np.argmax(self.y[self.first :] <= self.level - self.fall / 2))
        high = np.flatnonzero(self.y[:half] >= self.level - self.error)
        skip = min(max(self.first, int(high[-1]) if len(high) else 0), self.lowest - 1)
        slope = np.diff(self.y) / np.diff(np.log(self.x))
        return skip + int(np.argmin(slope[skip : self.lowest]))

    def problem(self) -> str | None:
        """Return why a person would not read a rate off this curve, or None."""
        if self.fall <= max(SURE * self.error, SMALLEST_FALL * abs(self.level)):
            return self._without_a_fall(self.level + max(SURE * self.error, HIGH * abs(self.level)))
        if not self.ended and self.ends_lowest and not self.flat_at_the_end:
            return f"{FALLS}; test beyond {self.x[-1]:.2g}."
        return None

    def _without_a_fall(self, risen: float) -> str:
        """Return what a curve does instead of falling; above `risen` it is clearly higher than at the beginning."""
        x, raw, level, n = self.x, self.raw, self.level, len(self.x)
        # The first step alone makes it leap, and for long no loss is below the untouched network's; or it rises soon
        # after the losses that set the level.
        leaps = np.median(raw[1 : self.first]) > raw[0] + abs(raw[0]) / 4 and np.argmin(raw[: n // 3]) == 0
        if leaps or np.median(raw[n // 8 : n // 4]) > risen:
            return (
                f"the smoothed loss is never clearly below its first value, {raw[0]:.2g}; begin at a smaller rate than "
                f"{x[0]:.2g}."
            )
        if raw[0] - level > max(SURE * self.noise, HIGH * abs(level)):
            return (
                f"the loss fell from {raw[0]:.2g} to {level:.2g} within the first {self.first} steps; begin at a "
                f"smaller rate than {x[0]:.2g}."
            )
        if not self.ended and self._has_fallen():
            return f"{FALLS}; test beyond {x[-1]:.2g}, with more steps."
        if self.noise > NOISY * abs(level):
            return (
                f"the batches' losses differ by about {self.noise:.2g} by chance, too much to see a fall; "
                "take larger batches, or more steps."
            )
        low = np.flatnonzero(self.y <= risen)
        since = int(low[-1]) + 1 if len(low) else 0  # above `risen` from here to the end
        if since < n:
            return (
                f"the loss stays near {level:.2g} and then rises, near a rate of {x[since]:.2g}, without a clear fall "
                "before; take larger batches, or check that there is something to learn: labels, frozen layers."
            )
        if self.ended:
            return (
                f"the loss stays near {level:.2g} up to a rate of {x[-1]:.2g}, and the next one is not a number; look "
                "for NaN in the pictures."
            )
        return (
            f"the loss stays near {level:.2g} at all rates up to {x[-1]:.2g}; test larger ones, or check that the "
            "network can learn: labels, frozen layers."
        )


def _noise(losses: np.ndarray) -> float:
    """Return the standard deviation of losses around their course, from the differences of neighbours.

    A difference of two varies √2 times as much as one. The median of their sizes lets single leaps pass.
    """
    return float(np.median(np.abs(np.diff(losses)))) / QUARTILE / math.sqrt(2)
