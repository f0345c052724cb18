"""A network that trains while you watch: start it, pause it, and change the learning rate as it goes."""

from __future__ import annotations

import copy
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import figures
from course_utils.training.predictions import evaluate
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas
from course_utils.widgets.panel import LivePanel, sentence_of, strict

Batches = Iterable[tuple[Tensor, Tensor]]
SIZE = (7.6, 3.2)
CHECK_EVERY = 25  # steps between two looks at the validation pictures
DRAW_EVERY = 0.3  # seconds between two drawings, so that the steps get most of the time
SMOOTHING = 0.9  # how much of the old average a new loss leaves
CEILING = 4.0  # the highest loss drawn; guessing among ten classes costs 2.3


@dataclass
class Record:
    """What a training run did so far: one loss and one rate a step, an accuracy now and then."""

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    checks: list[tuple[int, float]] = field(default_factory=list)  # (steps done, validation accuracy from 0 to 1)
    broken: bool = False  # the last loss was no longer a number

    def smoothed(self) -> list[float]:
        """Return the losses as a moving average that starts without a bias."""
        average, result = 0.0, []
        for step, loss in enumerate(self.losses, start=1):
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            result.append(average / (1 - SMOOTHING**step))
        return result


def steps_of(
    model: nn.Module, batches: Batches, validation: Batches, rate: Callable[[], float], record: Record
) -> Iterator[None]:
    """Train `model` with SGD and momentum 0.9, one batch for each `next`, and write into `record` what happened.

    Args:
        model: returns logits (B, classes); trained in place.
        batches: pairs of pictures (B, C, H, W) and labels (B,); gone through again and again.
        validation: the same; looked at every `CHECK_EVERY` steps.
        rate: gives the learning rate of the next step.
        record: is filled; when a loss is no longer a number, `broken` is set and the training ends.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=rate(), momentum=0.9)
    for images, labels in itertools.chain.from_iterable(itertools.repeat(batches)):
        model.train()
        optimizer.param_groups[0]["lr"] = rate()
        loss = F.cross_entropy(model(images), labels)
        record.rates.append(optimizer.param_groups[0]["lr"])
        record.losses.append(loss.item())
        if not math.isfinite(record.losses[-1]):
            record.losses.pop()
            record.broken = True
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if len(record.losses) % CHECK_EVERY == 0:
            record.checks.append((len(record.losses), evaluate(model, validation).accuracy))
        yield


def run(model: nn.Module, batches: Batches, validation: Batches, rate: float, steps: int) -> Record:
    """Train a copy of `model` for some steps at one rate, and return what happened; `model` stays as it is."""
    record = Record()
    _from_the_start(batches)
    for _ in itertools.islice(steps_of(copy.deepcopy(model), batches, validation, lambda: rate, record), steps):
        pass
    return record


class LiveTraining(LivePanel):
    """A panel that trains a copy of a network in a thread of its own, so that the kernel stays free.

    Start trains from the same first weights each time; Pause holds; Stop ends. The learning rate counts from the next
    step on. Nothing random is drawn from the process-wide generators, so cells that run meanwhile keep their numbers.

    Args:
        model: the network as it is before training; it is copied, and stays as it is.
        batches, validation: pairs of pictures and labels, such as `data.batches(...)` gives.
        rate: the learning rate at first.
        most_steps: when a run ends by itself.
        compared: rates that the static copy compares.
        compared_steps: steps of each of them.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        validation: Batches,
        *,
        rate: float = 0.1,
        most_steps: int = 2000,
        compared: Sequence[float] = (0.001, 0.1, 3.0),
        compared_steps: int = 60,
    ) -> None:
        self.model, self.batches, self.validation = model, batches, validation
        self.most_steps, self._compared, self._compared_steps = most_steps, tuple(compared), compared_steps
        self.record = Record()
        self.rate = controls.log_slider("learning rate", rate, -4, 1)
        self.start_button = controls.button("Start", lambda: self.attempt(self.start), "play")
        self.pause_button = controls.button("Pause", lambda: self.attempt(self.pause), "pause")
        self.stop_button = controls.button("Stop", lambda: self.attempt(self.stop), "stop")
        self._lock = threading.Lock()  # guards the four below
        self._thread: threading.Thread | None = None
        self._stopping, self._going = threading.Event(), threading.Event()
        self._closed = False
        super().__init__(controls.row(self.rate, self.start_button, self.pause_button, self.stop_button), SIZE)
        self._draw(self.record)
        self._offer()

    @property
    def running(self) -> bool:
        """Whether a run is going on or paused."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def paused(self) -> bool:
        """Whether a run waits to go on."""
        return self.running and not self._going.is_set()

    def start(self) -> None:
        """Begin a run from the first weights; does nothing while one is going on."""
        with self._lock:
            if self.running or self._closed:
                return
            self.error, self.record = None, Record()
            self._stopping.clear()
            self._going.set()
            self._thread = threading.Thread(target=self._train, args=(self.record,), daemon=True)
            self._thread.start()
        self._offer()

    def pause(self) -> None:
        """Hold the run after its present step, or let it go on."""
        if self.running:
            (self._going.clear if self._going.is_set() else self._going.set)()
            self._offer()

    def stop(self) -> None:
        """End the run after its present step."""
        self._stopping.set()
        self._going.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the run to end; return whether it has.

        Raises:
            Exception: what ended the run, in tests (COURSE_STRICT=1).
        """
        if self._thread is not None:
            self._thread.join(seconds)
        if self.error is not None and strict():
            raise self.error
        return not self.running

    def close(self) -> None:
        """End the run and take the panel away."""
        self._closed = True
        self.stop()
        super().close()

    def _train(self, record: Record) -> None:
        """Run in the thread: step by step, with a drawing now and then."""
        drawn = 0.0
        try:
            _from_the_start(self.batches)
            model = copy.deepcopy(self.model)
            steps = steps_of(model, self.batches, self.validation, lambda: self.rate.value, record)
            for _ in itertools.islice(steps, self.most_steps):
                if self._stopping.is_set():
                    break
                if not self._going.is_set():
                    self._draw(record)
                    self._going.wait()
                elif time.monotonic() - drawn > DRAW_EVERY:
                    self._draw(record)
                    drawn = time.monotonic()
            self._draw(record)
        except Exception as error:  # noqa: BLE001 - nobody else would see it: the thread belongs to no cell
            self.error = error
            self.say(sentence_of(error))
        finally:
            self._offer(ended=True)

    def _offer(self, ended: bool = False) -> None:
        """Let the buttons offer what makes sense now."""
        running = self.running and not ended
        self.start_button.disabled = running
        self.pause_button.disabled = self.stop_button.disabled = not running
        going_on = not running or self._going.is_set()
        self.pause_button.description, self.pause_button.icon = ("Pause", "pause") if going_on else ("Go on", "play")

    def _draw(self, record: Record) -> None:
        if self._closed:
            return
        with figures.style():
            figure = Figure(figsize=SIZE, layout="none")
            draw_record(record, figure)
            image = figures.to_live_image(figure)
        self.show(image, sentence(record))

    def _static(self) -> tuple[dict[str, Any], dict[str, Any]]:
        records = {
            rate: run(self.model, self.batches, self.validation, rate, self._compared_steps) for rate in self._compared
        }
        words = "; ".join(f"rate {rate:g}: {sentence(record)}" for rate, record in records.items())
        with figures.style():
            return figures.bundle(draw_comparison(records), f"The training loss at {len(records)} rates. {words}")


def sentence(record: Record) -> str:
    """Return in words where a run stands."""
    count = len(record.losses)
    steps = f"{count} step{'s' * (count != 1)}"
    if record.broken:
        return (
            f"After {steps} the loss is no longer a number: the last rate, {record.rates[-1]:.2g}, was too "
            "large. Choose a smaller one and press Start."
        )
    if not count:
        return "Not started yet."
    checked = f", validation accuracy {record.checks[-1][1]:.1%}" if record.checks else ""
    return f"After {steps}: loss {record.smoothed()[-1]:.2f}, learning rate {record.rates[-1]:.2g}{checked}."


def draw_record(record: Record, figure: Canvas) -> None:
    """Draw the loss on the left; on the right the accuracy, and the learning rate below it."""
    margins = {"left": 0.08, "right": 0.985, "top": 0.91, "bottom": 0.14, "wspace": 0.2, "hspace": 0.55}
    grid = figure.add_gridspec(2, 2, **margins)
    end = max(100, 1.02 * len(record.losses))
    loss = figure.add_subplot(grid[:, 0])
    _draw_loss(record, loss)
    loss.set(xlim=(0, end), xlabel="step", ylabel="training loss")
    loss.set_title("loss (pale: each batch)")
    accuracy = figure.add_subplot(grid[0, 1])
    accuracy.plot([s for s, _ in record.checks], [100 * a for _, a in record.checks], "o-", color=figures.GREEN, ms=3)
    accuracy.set(xlim=(0, end), ylim=(0, 100), ylabel="%", yticks=[0, 50, 100])
    accuracy.set_title("validation accuracy")
    rate = figure.add_subplot(grid[1, 1])
    rate.plot(record.rates, color=figures.ORANGE)
    rate.set(xlim=(0, end), yscale="log", ylim=(5e-5, 20), xlabel="step", ylabel="rate", yticks=[1e-4, 1e-2, 1])
    rate.set_title("learning rate")


def draw_comparison(records: Mapping[float, Record]) -> Figure:
    """Draw the losses of runs at several rates side by side."""
    figure = Figure(figsize=(2.9 * len(records), 2.7))
    axes = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
    for ax, (rate, record) in zip(axes, records.items()):
        _draw_loss(record, ax)
        ax.set(xlabel="step")
        end = "no longer a number" if record.broken else f"loss {record.smoothed()[-1]:.2f} at the end"
        ax.set_title(f"rate {rate:g}: {end}", fontsize=10)
    axes[0].set(ylabel="training loss")
    figure.suptitle("The same network, the same pictures, three learning rates", x=0.01, ha="left", weight="bold")
    return figure


def _draw_loss(record: Record, axes: Axes) -> None:
    axes.plot(range(1, len(record.losses) + 1), record.losses, color=figures.SKY, linewidth=0.8, alpha=0.6)
    axes.plot(range(1, len(record.losses) + 1), record.smoothed(), color=figures.BLUE)
    axes.set(ylim=(0, CEILING))


def _from_the_start(batches: Batches) -> None:
    """Let batches that know their epoch begin again, so that each run sees the same pictures in the same order."""
    if hasattr(batches, "set_epoch"):
        batches.set_epoch(0)
