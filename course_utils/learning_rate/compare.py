"""Schedules compared: the same network, the same pictures and the same number of steps, with several seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim import lr_scheduler

from course_utils import figures
from course_utils.base.words import percent
from course_utils.errors import DivergedError
from course_utils.learning_rate.schedules import Maker, made
from course_utils.training import guards
from course_utils.training.evaluate import evaluate
from course_utils.training.fit import fit
from course_utils.training.guards import Pairs
from course_utils.training.history import History
from course_utils.training.snapshot import seed_everything

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Candidate:
    """A schedule that takes part: its name, the optimizer's first rate, and what makes it (see `schedules.preview`)."""

    name: str
    rate: float
    make: Maker


@dataclass
class Comparison:
    """Each candidate's accuracies, from 0 to 1, one a seed, and its histories; a run that broke off counts as 0."""

    seeds: tuple[int, ...]
    accuracies: dict[str, list[float]] = field(default_factory=dict)
    histories: dict[str, list[History]] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        """Return a candidate's mean accuracy over the seeds."""
        return statistics.fmean(self._of(name))

    def spread(self, name: str) -> float:
        """Return the distance from a candidate's worst to its best seed."""
        return max(self._of(name)) - min(self._of(name))

    def gains(self, name: str, over: str) -> list[float]:
        """Return by how much `name` is ahead of `over`, seed by seed: the same first weights, the same order."""
        return [a - b for a, b in zip(self._of(name), self._of(over))]

    def finding(self, name: str, over: str) -> str:
        """Return in words what the comparison says about two candidates."""
        ahead, behind = (name, over) if self.mean(name) >= self.mean(over) else (over, name)
        gains = self.gains(ahead, behind)
        low, high, mean = min(gains), max(gains), statistics.fmean(gains)
        points = f"{100 * mean:.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
        if low == high == 0:
            return f"{name} and {over} are equal with {'every' if len(gains) > 1 else 'the only'} seed"
        if len(gains) == 1:
            return f"{ahead} is ahead of {behind} by {100 * mean:.2f} points with the only seed"
        if low > 0:
            return f"{ahead} beats {behind} with every seed, by {points}"
        return f"{ahead} is ahead of {behind} by {points}, not with every seed"

    def ranking(self) -> list[str]:
        """Return the candidates' names, the best mean first."""
        return sorted(self.accuracies, key=self.mean, reverse=True)

    def _of(self, name: str) -> list[float]:
        if name not in self.accuracies:
            raise ValueError(
                f"{name!r} did not take part; the candidates are {', '.join(self.accuracies) or 'none yet'}."
            )
        return self.accuracies[name]

    def __str__(self) -> str:
        width = max(map(len, self.accuracies), default=0)
        return "\n".join(
            f"{name:<{width}}  {percent(self.mean(name), 2):>8}  from {percent(min(of), 2)} to {percent(max(of), 2)}"
            for name, of in ((name, self._of(name)) for name in self.ranking())
        )

    def plot(self, title: str = "", ax: Axes | None = None) -> Figure:
        """Draw each seed's accuracy and the mean of every candidate, the best on top.

        Args:
            title: the finding.
            ax: to draw into; a new figure when None.
        """
        import matplotlib.pyplot as plt

        title = title or "Same network, same pictures, same steps"
        with figures.style():
            if ax is None:
                figure, ax = plt.subplots(figsize=(7, 0.9 + 0.45 * len(self.accuracies)))
                figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
            else:
                ax.set_title(title)
            for height, name in enumerate(reversed(self.ranking())):
                shares = [100 * accuracy for accuracy in self._of(name)]
                ax.plot([min(shares), max(shares)], [height, height], color=figures.SKY, linewidth=6, alpha=0.5)
                ax.plot(shares, [height] * len(shares), "o", color=figures.BLUE, markersize=5)
                ax.plot(100 * self.mean(name), height, "|", color=figures.RED, markersize=18, markeredgewidth=2.5)
            ax.set_yticks(range(len(self.accuracies)), list(reversed(self.ranking())))
            ax.set(xlabel="accuracy in % (dots: seeds, red line: mean)", ylim=(-0.6, len(self.accuracies) - 0.4))
        return ax.figure


def compare(
    candidates: Sequence[Candidate],
    model: Callable[[], nn.Module],
    batches: Callable[[int], Pairs],
    validation: Pairs,
    *,
    epochs: int,
    seeds: Sequence[int],
    judge: Pairs | None = None,
) -> Comparison:
    """Train the same network under each candidate's schedule with each seed, and return how far they came.

    Runners with the same seed begin with the same weights and see the same batches in the same order. All take their
    steps by SGD with momentum 0.9.

    Args:
        candidates: names, rates and schedules; `schedules.plateau` is stepped per epoch, all others per batch.
        model: makes an untrained network; called after the seed is set.
        batches: makes the training batches for a seed.
        validation: pairs of pictures and labels; watched by the plateau.
        epochs: how long each trains.
        seeds: one run of each candidate for each.
        judge: what the networks are measured on at the end, once; `validation` when None.

    Raises:
        ValueError: when there is no candidate or no seed, or two have the same name.
        TypeError: when `model` or `batches` make nothing anew, or pictures can be gone through only once.
    """
    if isinstance(model, nn.Module) or not callable(model) or not callable(batches):
        raise TypeError(
            "A comparison makes network and batches anew for each run, so it needs functions, such as "
            f"models.FashionNet and lambda seed: data.batches(part, seed=seed), not {guards.kind_of(model)} and "
            f"{guards.kind_of(batches)}."
        )
    for given in (validation, judge) if judge is not None else (validation,):
        guards.require_reusable(given, "the first run")
    names = [candidate.name for candidate in candidates]
    if not names or not seeds or len(set(names)) < len(names):
        raise ValueError(
            "A comparison needs at least one seed, and at least one candidate, each with a name of its own."
        )
    result = Comparison(tuple(seeds), {name: [] for name in names}, {name: [] for name in names})
    for seed in seeds:
        for candidate in candidates:
            seed_everything(seed)
            network, stream = model(), batches(seed)
            moves = torch.optim.SGD(network.parameters(), lr=candidate.rate, momentum=0.9)
            schedule = made(candidate.make, moves, stream, epochs)
            per_batch = not isinstance(schedule, lr_scheduler.ReduceLROnPlateau)
            try:
                history = fit(
                    network, stream, validation, epochs=epochs, optimizer=moves, scheduler=schedule, progress=False,
                    schedule_every="batch" if per_batch else "epoch",
                )  # fmt: skip
                accuracy = history.validation_accuracy[-1] if judge is None else evaluate(network, judge).accuracy
            except DivergedError:  # the loss was no longer a number: the run does not count
                history, accuracy = History(), 0.0
            result.accuracies[candidate.name].append(accuracy)
            result.histories[candidate.name].append(history)
    return result


def best_rate(scores: Mapping[float, float]) -> float:
    """Return the rate with the best score; the smaller one where two are equal.

    Raises:
        ValueError: when there is none.
    """
    scores = {rate: score for rate, score in scores.items() if not math.isnan(score)}  # that of a run that broke off
    if not scores:
        raise ValueError("There is no rate to choose from; try at least one.")
    return min(scores, key=lambda rate: (-scores[rate], rate))
