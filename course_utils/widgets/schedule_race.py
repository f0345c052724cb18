"""Draw your own schedule, and race it against one-cycle: the same network, batch by batch, in the background."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from course_utils import figures, learning_rate
from course_utils.base.words import percent, written_loss
from course_utils.learning_rate.schedules import Maker
from course_utils.training.guards import Pairs
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas
from course_utils.widgets.live_run import LiveRun, Record, train
from course_utils.widgets.panel import LivePanel

SIZE = (7.6, 3.1)
CHECKS = 8  # looks at the validation pictures in a race
KNOTS = 6
FEWEST = 10  # steps: with fewer, one-cycle has no way up
OWN, ONE_CYCLE = "yours", "one-cycle"
COLOURS = {OWN: figures.ORANGE, ONE_CYCLE: figures.BLUE}
SHAPES = {  # shares of the highest rate, as powers of ten
    "level": (-0.5,) * KNOTS,
    "falling": (0.0, -0.1, -0.22, -0.4, -0.7, -3.0),  # nearly a straight line from the highest rate to 0
    "two steps down": (0.0, 0.0, 0.0, -1.0, -1.0, -2.0),
    "up and down": (-1.4, -0.4, 0.0, -0.3, -1.0, -3.0),
    "rising": (-3.0, -0.7, -0.4, -0.22, -0.1, 0.0),  # the one that falls, the other way round
    "upside down": (0.0, -1.0, -2.0, -2.0, -1.0, 0.0),
}


@dataclass
class Lane:
    """One of the two in the race: what makes its schedule, the rates that it plans, and what has happened."""

    make: Maker
    planned: tuple[float, ...]
    record: Record = field(default_factory=Record)


def lanes_of(rates: Sequence[float], max_lr: float, steps: int) -> dict[str, Lane]:
    """Return a lane under a schedule drawn through `rates`, and one under one-cycle."""
    makers = {
        OWN: partial(learning_rate.from_points, rates=rates),
        ONE_CYCLE: partial(learning_rate.one_cycle, max_lr=max_lr),
    }
    return {
        name: Lane(make, learning_rate.preview(make, range(steps), 1, rate=max_lr).rates)
        for name, make in makers.items()
    }


class ScheduleRace(LivePanel):
    """A panel with a schedule to draw, by six sliders, and a race of it against one-cycle.

    Start trains two copies of the network in turn, batch by batch, in the background; see `live_run`.

    Args:
        model: the network as it is before training; it is copied, and stays as it is.
        batches: pairs of pictures and labels that come in the same order each time, such as a list of batches.
        validation: pairs of pictures and labels.
        max_lr: the top rate of one-cycle, from a range test.
        steps: batches for each of the two, at least 10.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[tuple[Tensor, Tensor]],
        validation: Pairs,
        *,
        max_lr: float = 0.1,
        steps: int = 150,
    ) -> None:
        if not 1e-4 < max_lr <= 1:
            raise ValueError(f"The highest rate must be above 0.0001 and at most 1 for this race, not {max_lr}.")
        if not isinstance(steps, int) or steps < FEWEST:
            raise ValueError(f"A race has a whole number of at least {FEWEST} steps, not {steps!r}; give it more.")
        self.model, self.batches, self.validation = model, batches, validation
        self.max_lr, self.steps = max_lr, steps
        self.knots = [
            controls.log_slider(f"rate at {100 * i // (KNOTS - 1)} %", rate, -5, 0)
            for i, rate in enumerate(self._shape("level"))
        ]
        self.shape = controls.choice("begin with", list(SHAPES))
        self.lanes: dict[str, Lane] = {}
        self._moving = False
        self.run = LiveRun(self, self._begin, self._show, locked=(*self.knots, self.shape))
        members = [controls.grid(self.shape), controls.grid(*self.knots), controls.row(*self.run.buttons)]
        super().__init__(members, SIZE, title="Race your schedule")
        for knot in self.knots:
            knot.observe(lambda change: self._moved(), "value")
        self.shape.observe(lambda change: self.attempt(self._take_shape), "value")
        self._moved()

    @property
    def rates(self) -> list[float]:
        """The rates of the six knots."""
        return [knot.value for knot in self.knots]

    def _shape(self, name: str) -> list[float]:
        return [min(1.0, max(1e-5, self.max_lr * 10**power)) for power in SHAPES[name]]

    def _take_shape(self) -> None:
        self._moving = True  # six sliders, one drawing
        try:
            for knot, rate in zip(self.knots, self._shape(self.shape.value)):
                knot.value = rate
        finally:
            self._moving = False
        self._moved()

    def _moved(self) -> None:
        """Draw the new schedule; a race that goes on keeps the one it began with."""
        if self._moving or self.run.running:
            return
        self.lanes = lanes_of(self.rates, self.max_lr, self.steps)
        self.attempt(self._show)

    def _begin(self) -> Iterator[object]:
        self.lanes = lanes_of(self.rates, self.max_lr, self.steps)
        return self._train(self.lanes.values())

    def _train(self, lanes: Iterable[Lane]) -> Iterator[object]:
        """Return the steps of a race: one of each lane in turn."""
        return itertools.zip_longest(*(itertools.islice(self._train_in(lane), self.steps) for lane in lanes))

    def _train_in(self, lane: Lane) -> Iterator[None]:
        def steer(optimizer: torch.optim.Optimizer) -> Iterator[None]:
            schedule = lane.make(optimizer, range(self.steps), 1)
            while True:
                yield
                schedule.step()

        def check(step: int) -> bool:
            return step % max(1, self.steps // CHECKS) == 0 or step == self.steps

        return train(self.model, self.batches, self.validation, lane.record, steer, check, lane.planned[0])

    def _show(self) -> None:
        self.redraw(lambda figure: draw_lanes(self.lanes, figure), told(self.lanes, self.steps))

    def _static(self) -> tuple[dict[str, Any], dict[str, Any]]:
        races: dict[str, dict[str, Lane]] = {}
        for shape in ("falling", "up and down", "rising"):
            lanes = lanes_of(self._shape(shape), self.max_lr, self.steps)
            lanes[ONE_CYCLE] = next(iter(races.values()), lanes)[ONE_CYCLE]  # the same each time
            for _ in self._train(lane for lane in lanes.values() if not lane.record.losses):
                pass
            races[shape] = lanes
        words = " ".join(f"{shape}: {told(lanes, self.steps)}" for shape, lanes in races.items())
        with figures.style():
            figure = draw_races(races)
            return figures.bundle(figure, f"Three drawn schedules, each raced against one-cycle. {words}")


def told(lanes: Mapping[str, Lane], steps: int) -> str:
    """Return in words where a race stands."""
    own, cycle = lanes[OWN].record, lanes[ONE_CYCLE].record
    if own.broken or cycle.broken:
        name = OWN if own.broken else ONE_CYCLE
        return f"The loss of {name} is no longer a number: its rate was too large. Lower the sliders and start again."
    done = len(own.losses)
    if not done:
        planned = lanes[OWN].planned
        begin, end, low, high = (f"{rate:.2g}" for rate in (planned[0], planned[-1], min(planned), max(planned)))
        between = f", between {low} and {high}" if {begin, end} != {low, high} else ""
        top = max(lanes[ONE_CYCLE].planned)
        return f"Your schedule goes from {begin} to {end}{between}; one-cycle goes up to {top:.2g}."
    mine, other = (written_loss(record.smoothed()[-1]) for record in (own, cycle))
    text = f"{done} of {steps} steps: your loss {mine}, one-cycle's {other}"
    if own.checks and cycle.checks:
        text += f"; on validation {percent(own.checks[-1][1])} and {percent(cycle.checks[-1][1])}"
    return text + "."


def draw_lanes(lanes: Mapping[str, Lane], figure: Canvas) -> None:
    """Draw both schedules on the left, both losses in the middle, both accuracies on the right."""
    margins = {"left": 0.08, "right": 0.97, "top": 0.89, "bottom": 0.16, "wspace": 0.32}
    rates, losses, accuracies = figure.subplots(1, 3, gridspec_kw=margins)
    _draw_rates(lanes, rates)
    end = len(lanes[OWN].planned)
    for name, lane in lanes.items():
        losses.plot(range(1, len(lane.record.losses) + 1), lane.record.smoothed(), color=COLOURS[name])
    losses.set(xlim=(0, end), ylim=(0, max(lane.record.top(3.0) for lane in lanes.values())), xlabel="step")
    losses.set_title("training loss", fontsize=10)
    _draw_accuracies(lanes, accuracies)
    accuracies.set(xlim=(0, end))
    accuracies.set_title("validation accuracy, %", fontsize=10)


def draw_races(races: Mapping[str, Mapping[str, Lane]]) -> Figure:
    """Draw several finished races side by side: schedules above, accuracies below."""
    figure = Figure(figsize=(2.5 * len(races), 3.8))
    axes = figure.subplots(2, len(races), sharex=True, sharey="row", squeeze=False)
    for column, (shape, lanes) in enumerate(races.items()):
        _draw_rates(lanes, axes[0][column], legend=column == 0)
        axes[0][column].set_title(f"yours: {shape}", fontsize=10)
        _draw_accuracies(lanes, axes[1][column])
    axes[0][0].set_ylabel("learning rate")
    axes[1][0].set_ylabel("validation accuracy, %")
    ends = [_last(lanes[OWN]) for lanes in races.values()]
    cycle = _last(next(iter(races.values()))[ONE_CYCLE])
    title = f"The drawings end at {100 * min(ends):.1f} to {percent(max(ends))}, one-cycle at {percent(cycle)}"
    figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=11)
    return figure


def _last(lane: Lane) -> float:
    return lane.record.checks[-1][1] if lane.record.checks else 0.0


def _draw_rates(lanes: Mapping[str, Lane], axes: Any, legend: bool = True) -> None:
    end = len(lanes[OWN].planned)
    for name, lane in lanes.items():
        axes.plot(range(1, end + 1), lane.planned, color=COLOURS[name], label=name)
    axes.set(yscale="log", ylim=(5e-6, 2), xlim=(0, end), xlabel="step", yticks=[1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1])
    axes.minorticks_off()  # slow on a logarithmic axis, and it is drawn at each move of a slider
    axes.set_title("learning rate", fontsize=10)
    if legend:
        axes.legend(loc="lower left", fontsize=8.5)


def _draw_accuracies(lanes: Mapping[str, Lane], axes: Any) -> None:
    for name, lane in lanes.items():
        percent = [100 * accuracy for _, accuracy in lane.record.checks]
        axes.plot([step for step, _ in lane.record.checks], percent, "o-", color=COLOURS[name], markersize=3)
    axes.set(ylim=(0, 100), xlabel="step")
