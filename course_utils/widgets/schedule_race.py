"""Draw your own schedule, and race it against one-cycle: the same network, batch by batch, in a thread of its own."""

from __future__ import annotations

import copy
import itertools
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import figures, learning_rate
from course_utils.learning_rate.schedules import Maker
from course_utils.training.predictions import evaluate
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas
from course_utils.widgets.live_training import DRAW_EVERY, Record
from course_utils.widgets.panel import LivePanel, sentence_of, strict

Batches = Iterable[tuple[Tensor, Tensor]]
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
    """One of the two in the race: what is planned and what has happened."""

    name: str
    planned: tuple[float, ...]
    record: Record = field(default_factory=Record)


def lane_of(name: str, rates: Sequence[float], highest: float, steps: int) -> tuple[Lane, Maker]:
    """Return a lane and the schedule that it runs under: one-cycle, or one drawn through `rates`."""

    def make(optimizer: torch.optim.Optimizer, batches: Length, epochs: int) -> learning_rate.schedules.Scheduler:
        if name == ONE_CYCLE:
            return learning_rate.one_cycle(optimizer, batches, epochs, highest=highest)
        return learning_rate.drawn(optimizer, batches, epochs, rates=rates)

    return Lane(name, learning_rate.preview(make, Length(steps), 1, rate=highest).rates), make


def steps_of(
    lane: Lane, make: Maker, model: nn.Module, batches: Batches, validation: Batches, steps: int
) -> Iterator[None]:
    """Train a copy of `model` under a schedule, one batch for each `next`, and write what happens into the lane."""
    model, record = copy.deepcopy(model), lane.record
    optimizer = torch.optim.SGD(model.parameters(), lr=lane.planned[0], momentum=0.9)
    schedule = make(optimizer, Length(steps), 1)
    every = max(1, steps // CHECKS)
    stream = itertools.chain.from_iterable(itertools.repeat(batches))
    for step, (images, labels) in enumerate(itertools.islice(stream, steps), start=1):
        model.train()
        loss = F.cross_entropy(model(images), labels)
        value = loss.item()
        if not math.isfinite(value):
            record.broken = True
            return
        record.rates.append(optimizer.param_groups[0]["lr"])
        record.losses.append(value)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == steps:
            record.checks.append((step, evaluate(model, validation).accuracy))
        yield


class ScheduleRace(LivePanel):
    """A panel with a schedule to draw, by six sliders, and a race of it against one-cycle.

    Start trains two copies of the network in turn, batch by batch, in a thread of its own, so that the kernel stays
    free; Stop ends it. Nothing random is drawn from the process-wide generators.

    Args:
        model: the network as it is before training; it is copied, and stays as it is.
        batches: pairs of pictures and labels that come in the same order each time, such as a list of batches.
        validation: pairs of pictures and labels.
        highest: the top rate of one-cycle, from a range test.
        steps: batches for each of the two.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[tuple[Tensor, Tensor]],
        validation: Batches,
        *,
        highest: float = 0.1,
        steps: int = 150,
    ) -> None:
        self._stopping = threading.Event()  # first, for `close` may be called on a panel that was refused
        if not 1e-4 < highest <= 1:
            self._closed = True
            raise ValueError(f"The highest rate must be above 0.0001 and at most 1 for this race, not {highest}.")
        self.model, self.batches, self.validation = model, batches, validation
        self.highest, self.steps = highest, steps
        self.knots = [
            controls.log_slider(f"rate at {100 * i // (KNOTS - 1)} %", rate, -5, 0)
            for i, rate in enumerate(self._shape("level"))
        ]
        self.shape = controls.choice("begin with", list(SHAPES))
        self.start_button = controls.button("Start", lambda: self.attempt(self.start), "play")
        self.stop_button = controls.button("Stop", lambda: self.attempt(self.stop), "stop")
        self.lanes: dict[str, Lane] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = self._moving = False
        buttons = controls.row(self.start_button, self.stop_button)
        super().__init__(controls.row(self.shape, *self.knots, buttons), SIZE)
        for knot in self.knots:
            knot.observe(lambda change: self._moved(), "value")
        self.shape.observe(lambda change: self.attempt(self._take_shape), "value")
        self._moved()
        self._offer()

    @property
    def rates(self) -> list[float]:
        """The rates of the six knots."""
        return [knot.value for knot in self.knots]

    @property
    def running(self) -> bool:
        """Whether a race is going on."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin a race from the first weights, with the schedule as it is drawn now; nothing while one is going on."""
        with self._lock:
            if self.running or self._closed:
                return
            self.error = None
            self._stopping.clear()
            pairs = [lane_of(name, self.rates, self.highest, self.steps) for name in (OWN, ONE_CYCLE)]
            self.lanes = {lane.name: lane for lane, _ in pairs}
            self._thread = threading.Thread(target=self._run, args=(pairs,), daemon=True)
            self._thread.start()
        self._offer()

    def stop(self) -> None:
        """End the race after its present step."""
        self._stopping.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the race to end; return whether it has.

        Raises:
            Exception: what ended the race, in tests (COURSE_STRICT=1).
        """
        if self._thread is not None:
            self._thread.join(seconds)
        if self.error is not None and strict():
            raise self.error
        return not self.running

    def close(self) -> None:
        """End the race and take the panel away."""
        self._closed = True
        self.stop()
        super().close()

    def _shape(self, name: str) -> list[float]:
        return [min(1.0, max(1e-5, self.highest * 10**power)) for power in SHAPES[name]]

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
        pairs = [lane_of(name, self.rates, self.highest, self.steps) for name in (OWN, ONE_CYCLE)]
        self.lanes = {lane.name: lane for lane, _ in pairs}
        self.attempt(lambda: self._draw(self.lanes))

    def _run(self, pairs: Sequence[tuple[Lane, Maker]]) -> None:
        """Run in the thread: a step of each in turn, with a drawing now and then."""
        lanes, drawn = {lane.name: lane for lane, _ in pairs}, 0.0
        try:
            streams = [
                steps_of(lane, make, self.model, self.batches, self.validation, self.steps) for lane, make in pairs
            ]
            for _ in itertools.zip_longest(*streams):
                if self._stopping.is_set():
                    break
                if time.monotonic() - drawn > DRAW_EVERY:
                    self._draw(lanes)
                    drawn = time.monotonic()
            self._draw(lanes)
        except Exception as error:  # noqa: BLE001 - nobody else would see it: the thread belongs to no cell
            self.error = error
            self.say(sentence_of(error))
        finally:
            self._offer(ended=True)

    def _offer(self, ended: bool = False) -> None:
        running = self.running and not ended
        self.start_button.disabled, self.stop_button.disabled = running, not running
        for control in (*self.knots, self.shape):
            control.disabled = running

    def _draw(self, lanes: Mapping[str, Lane]) -> None:
        if self._closed:
            return
        with figures.style():
            figure = Figure(figsize=SIZE, layout="none")
            draw_lanes(lanes, figure)
            image = figures.to_live_image(figure)
        self.show(image, told(lanes, self.steps))

    def _static(self) -> tuple[dict[str, Any], dict[str, Any]]:
        races = {}
        for shape in ("level", "up and down", "upside down"):
            pairs = [lane_of(name, self._shape(shape), self.highest, self.steps) for name in (OWN, ONE_CYCLE)]
            if races:  # one-cycle is the same each time
                pairs[1] = (next(iter(races.values()))[ONE_CYCLE], pairs[1][1])
            for lane, make in pairs:
                if not lane.record.losses:
                    for _ in steps_of(lane, make, self.model, self.batches, self.validation, self.steps):
                        pass
            races[shape] = {lane.name: lane for lane, _ in pairs}
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
        record = lane.record
        losses.plot(range(1, len(record.losses) + 1), record.smoothed(), color=COLOURS[name])
        percent = [100 * accuracy for _, accuracy in record.checks]
        accuracies.plot([step for step, _ in record.checks], percent, "o-", color=COLOURS[name], markersize=3)
    losses.set(xlim=(0, end), ylim=(0, 3), xlabel="step")
    losses.set_title("training loss", fontsize=10)
    accuracies.set(xlim=(0, end), ylim=(0, 100), xlabel="step")
    accuracies.set_title("validation accuracy, %", fontsize=10)


def draw_races(races: Mapping[str, Mapping[str, Lane]]) -> Figure:
    """Draw several finished races side by side: schedules above, accuracies below."""
    figure = Figure(figsize=(2.9 * len(races), 4.0))
    axes = figure.subplots(2, len(races), sharey="row", squeeze=False)
    for column, (shape, lanes) in enumerate(races.items()):
        _draw_rates(lanes, axes[0][column], legend=column == 0)
        axes[0][column].set_title(f"yours: {shape}", fontsize=10)
        for name, lane in lanes.items():
            percent = [100 * accuracy for _, accuracy in lane.record.checks]
            steps = [step for step, _ in lane.record.checks]
            axes[1][column].plot(steps, percent, "o-", color=COLOURS[name], markersize=3)
        axes[1][column].set(xlabel="step", ylim=(0, 100))
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
