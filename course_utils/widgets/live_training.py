"""A network that trains while you watch: start it, pause it, and change the learning rate as it goes."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from course_utils import figures
from course_utils.training.evaluate import evaluate
from course_utils.widgets import controls
from course_utils.widgets.background import BackgroundRun, Batches, Record, one_step
from course_utils.widgets.exploration import Canvas

SIZE = (7.6, 3.2)
CHECK_EVERY = 25  # steps between two looks at the validation pictures
CEILING = 4.0  # the highest loss drawn; guessing among ten classes costs 2.3


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
        optimizer.param_groups[0]["lr"] = rate()
        if not one_step(model, optimizer, images, labels, record):
            return
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


class LiveTraining(BackgroundRun[Record]):
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
        self.pause_button = controls.button("Pause", lambda: self.attempt(self.pause), "pause")
        self._going = threading.Event()  # cleared while a run is paused
        self._going.set()
        super().__init__(lambda start, stop: controls.row(self.rate, start, self.pause_button, stop), SIZE)
        self._draw(self.record)

    @property
    def paused(self) -> bool:
        """Whether a run waits to go on."""
        return self.running and not self._going.is_set()

    def pause(self) -> None:
        """Hold the run after its present step, or let it go on."""
        with self._lock:
            if self.running and not self._stopping.is_set():  # a run that is ending must not be held
                (self._going.clear if self._going.is_set() else self._going.set)()
                self._offer(running=True)

    def stop(self) -> None:
        """End the run after its present step, or where it is held."""
        super().stop()
        self._going.set()

    def _prepare(self) -> Record:
        self._going.set()
        self.record = Record()
        return self.record

    def _steps(self, record: Record) -> Iterator[None]:
        _from_the_start(self.batches)
        model = copy.deepcopy(self.model)
        steps = steps_of(model, self.batches, self.validation, lambda: self.rate.value, record)
        for _ in itertools.islice(steps, self.most_steps):
            if not self._going.is_set():
                self._draw(record)
                self._going.wait()
            yield

    def _paint(self, record: Record, figure: Figure) -> None:
        draw_record(record, figure)

    def _words(self, record: Record) -> str:
        return sentence(record)

    def _offer(self, running: bool) -> None:
        super()._offer(running)
        self.pause_button.disabled = not running
        held = running and not self._going.is_set()
        self.pause_button.description, self.pause_button.icon = ("Go on", "play") if held else ("Pause", "pause")

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
