"""Draw your own schedule, and race it against one-cycle: the same network, batch by batch, in a thread of its own."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from course_utils import figures, learning_rate
from course_utils.learning_rate.schedules import Maker
from course_utils.training.evaluate import evaluate
from course_utils.widgets import controls
from course_utils.widgets.background import BackgroundRun, Batches, Record, one_step
from course_utils.widgets.exploration import Canvas

SIZE = (7.6, 3.1)
CHECKS = 8  # looks at the validation pictures in a race
KNOTS = 6
OWN, ONE_CYCLE = "yours", "one-cycle"
COLOURS = {OWN: figures.ORANGE, ONE_CYCLE: figures.BLUE}
SHAPES = {  # shares of the highest rate, as powers of ten
    "level": (-0.5,) * KNOTS,
    "falling": (0.0, -0.5, -1.0, -1.5, -2.0, -3.0),
    "two steps down": (0.0, 0.0, 0.0, -1.0, -1.0, -2.0),
    "up and down": (-1.4, -0.4, 0.0, -0.3, -1.0, -3.0),
    "rising": (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0),  # the one that falls, the other way round
    "upside down": (0.0, -1.0, -2.0, -2.0, -1.0, 0.0),
}


class Length:
    """A number of batches, for a schedule that only asks how many there are."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return self.steps


@dataclass
class Lane:
    """One of the two in the race: what is planned, what makes the schedule, and what has happened."""

    name: str
    planned: tuple[float, ...]
    make: Maker
    record: Record = field(default_factory=Record)


def lane_of(name: str, rates: Sequence[float], max_lr: float, steps: int) -> Lane:
    """Return a lane under one-cycle, or under a schedule drawn through `rates`."""

    def make(optimizer: torch.optim.Optimizer, batches: Length, epochs: int) -> learning_rate.schedules.Scheduler:
        if name == ONE_CYCLE:
            return learning_rate.one_cycle(optimizer, batches, epochs, max_lr=max_lr)
        return learning_rate.from_points(optimizer, batches, epochs, rates=rates)

    return Lane(name, learning_rate.preview(make, Length(steps), 1, rate=max_lr).rates, make)


def steps_of(lane: Lane, model: nn.Module, batches: Batches, validation: Batches, steps: int) -> Iterator[None]:
    """Train a copy of `model` in a lane, one batch for each `next`, and write into the lane what happens."""
    model, record = copy.deepcopy(model), lane.record
    optimizer = torch.optim.SGD(model.parameters(), lr=lane.planned[0], momentum=0.9)
    schedule = lane.make(optimizer, Length(steps), 1)
    every = max(1, steps // CHECKS)
    stream = itertools.chain.from_iterable(itertools.repeat(batches))
    for step, (images, labels) in enumerate(itertools.islice(stream, steps), start=1):
        if not one_step(model, optimizer, images, labels, record):
            return
        schedule.step()
        if step % every == 0 or step == steps:
            record.checks.append((step, evaluate(model, validation).accuracy))
        yield


class ScheduleRace(BackgroundRun[dict[str, Lane]]):
    """A panel with a schedule to draw, by six sliders, and a race of it against one-cycle.

    Start trains two copies of the network in turn, batch by batch, in a thread of its own, so that the kernel stays
    free; Stop ends it. Nothing random is drawn from the process-wide generators.

    Args:
        model: the network as it is before training; it is copied, and stays as it is.
        batches: pairs of pictures and labels that come in the same order each time, such as a list of batches.
        validation: pairs of pictures and labels.
        max_lr: the top rate of one-cycle, from a range test.
        steps: batches for each of the two.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[tuple[Tensor, Tensor]],
        validation: Batches,
        *,
        max_lr: float = 0.1,
        steps: int = 150,
    ) -> None:
        if not 1e-4 < max_lr <= 1:
            raise ValueError(f"The highest rate must be above 0.0001 and at most 1 for this race, not {max_lr}.")
        self.model, self.batches, self.validation = model, batches, validation
        self.max_lr, self.steps = max_lr, steps
        self.knots = [
            controls.log_slider(f"rate at {100 * i // (KNOTS - 1)} %", rate, -5, 0)
            for i, rate in enumerate(self._shape("level"))
        ]
        self.shape = controls.choice("begin with", list(SHAPES))
        self.lanes: dict[str, Lane] = {}
        self._moving = False
        super().__init__(lambda *buttons: controls.row(self.shape, *self.knots, controls.row(*buttons)), SIZE)
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
        if self._moving or self.running:
            return
        lanes = self._prepare()
        self.attempt(lambda: self._draw(lanes))

    def _prepare(self) -> dict[str, Lane]:
        self.lanes = self._lanes(self.rates)
        return self.lanes

    def _lanes(self, rates: Sequence[float]) -> dict[str, Lane]:
        return {name: lane_of(name, rates, self.max_lr, self.steps) for name in (OWN, ONE_CYCLE)}

    def _steps(self, lanes: Mapping[str, Lane]) -> Iterator[None]:
        streams = [steps_of(lane, self.model, self.batches, self.validation, self.steps) for lane in lanes.values()]
        for _ in itertools.zip_longest(*streams):  # a step of each in turn
            yield

    def _paint(self, lanes: Mapping[str, Lane], figure: Figure) -> None:
        draw_lanes(lanes, figure)

    def _words(self, lanes: Mapping[str, Lane]) -> str:
        return told(lanes, self.steps)

    def _offer(self, running: bool) -> None:
        super()._offer(running)
        for control in (*self.knots, self.shape):
            control.disabled = running

    def _static(self) -> tuple[dict[str, Any], dict[str, Any]]:
        races: dict[str, dict[str, Lane]] = {}
        for shape in ("falling", "up and down", "rising"):
            lanes, asked = self._lanes(self._shape(shape)), (OWN, ONE_CYCLE)
            if races:  # one-cycle is the same each time
                lanes[ONE_CYCLE], asked = races["falling"][ONE_CYCLE], (OWN,)
            for _ in self._steps({name: lanes[name] for name in asked}):
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
        low, high = min(lanes[OWN].planned), max(lanes[OWN].planned)
        return f"Your schedule goes from {low:.2g} to {high:.2g}, one-cycle up to {max(lanes[ONE_CYCLE].planned):.2g}."
    text = f"{done} of {steps} steps: your loss {own.smoothed()[-1]:.2f}, one-cycle's {cycle.smoothed()[-1]:.2f}"
    if own.checks and cycle.checks:
        text += f"; on validation {own.checks[-1][1]:.1%} and {cycle.checks[-1][1]:.1%}"
    return text + "."


def draw_lanes(lanes: Mapping[str, Lane], figure: Canvas) -> None:
    """Draw both schedules on the left, both losses in the middle, both accuracies on the right."""
    margins = {"left": 0.08, "right": 0.97, "top": 0.89, "bottom": 0.16, "wspace": 0.32}
    rates, losses, accuracies = figure.subplots(1, 3, gridspec_kw=margins)
    _draw_rates(lanes, rates)
    end = len(lanes[OWN].planned)
    for name, lane in lanes.items():
        losses.plot(range(1, len(lane.record.losses) + 1), lane.record.smoothed(), color=COLOURS[name])
    losses.set(xlim=(0, end), ylim=(0, 3), xlabel="step")
    losses.set_title("training loss", fontsize=10)
    _draw_accuracies(lanes, accuracies)
    accuracies.set(xlim=(0, end))
    accuracies.set_title("validation accuracy, %", fontsize=10)


def draw_races(races: Mapping[str, Mapping[str, Lane]]) -> Figure:
    """Draw several finished races side by side: schedules above, accuracies below."""
    figure = Figure(figsize=(2.9 * len(races), 4.0))
    axes = figure.subplots(2, len(races), sharey="row", squeeze=False)
    for column, (shape, lanes) in enumerate(races.items()):
        _draw_rates(lanes, axes[0][column], legend=column == 0)
        axes[0][column].set_title(f"yours: {shape}", fontsize=10)
        _draw_accuracies(lanes, axes[1][column])
    axes[0][0].set_ylabel("learning rate")
    axes[1][0].set_ylabel("validation accuracy, %")
    best = max(races, key=lambda shape: _last(races[shape][OWN]))
    ahead = _last(races[best][OWN]) - _last(races[best][ONE_CYCLE])
    figure.suptitle(
        f"Of these three drawings “{best}” came furthest, "
        f"{abs(100 * ahead):.1f} points {'ahead of' if ahead >= 0 else 'behind'} one-cycle",
        x=0.01, ha="left", weight="bold", fontsize=11,
    )  # fmt: skip
    return figure


def _last(lane: Lane) -> float:
    return lane.record.checks[-1][1] if lane.record.checks else 0.0


def _draw_rates(lanes: Mapping[str, Lane], axes: Any, legend: bool = True) -> None:
    end = len(lanes[OWN].planned)
    for name, lane in lanes.items():
        axes.plot(range(1, end + 1), lane.planned, color=COLOURS[name], label=name)
    axes.set(yscale="log", ylim=(5e-6, 2), xlim=(0, end), xlabel="step", yticks=[1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1])
    axes.set_title("learning rate", fontsize=10)
    if legend:
        axes.legend(loc="lower left", fontsize=8.5)


def _draw_accuracies(lanes: Mapping[str, Lane], axes: Any) -> None:
    for name, lane in lanes.items():
        percent = [100 * accuracy for _, accuracy in lane.record.checks]
        axes.plot([step for step, _ in lane.record.checks], percent, "o-", color=COLOURS[name], markersize=3)
    axes.set(ylim=(0, 100), xlabel="step")
