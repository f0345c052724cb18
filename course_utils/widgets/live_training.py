"""A network that trains while you watch: start it, pause it, and change the learning rate as it goes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from course_utils import figures
from course_utils.base.words import percent, written_loss
from course_utils.training.guards import Pairs
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas
from course_utils.widgets.live_run import LiveRun, Record, train
from course_utils.widgets.panel import LivePanel

SIZE = (7.6, 3.2)
CHECK_EVERY = 25  # steps between two looks at the validation pictures
CEILING = 4.0  # the highest loss drawn, as a rule; guessing among ten classes costs 2.3
SLOWEST, FASTEST = -4, 1  # learning rates that can be chosen, as powers of ten


class LiveTraining(LivePanel):
    """A panel that trains a copy of a network in the background, at a learning rate that can be moved meanwhile.

    Start trains from the same first weights each time; Pause holds; Stop ends. The learning rate counts from the next
    step on. See `live_run`.

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
        batches: Pairs,
        validation: Pairs,
        *,
        rate: float = 0.1,
        most_steps: int = 2000,
        compared: Sequence[float] = (0.001, 0.1, 3.0),
        compared_steps: int = 60,
    ) -> None:
        if not 10**SLOWEST <= rate <= 10**FASTEST:
            raise ValueError(f"The learning rate must be from {10**SLOWEST:g} to {10**FASTEST} here, not {rate}.")
        self.model, self.batches, self.validation = model, batches, validation
        self.most_steps, self._compared, self._compared_steps = most_steps, tuple(compared), compared_steps
        self.record = Record()
        self.rate = controls.log_slider("learning rate", rate, SLOWEST, FASTEST)
        self.run = LiveRun(self, self._begin, self._show)
        members = [controls.grid(self.rate), controls.row(*self.run.buttons)]
        super().__init__(members, SIZE, title="Training, live")
        self._show()

    def _begin(self) -> Iterator[None]:
        self.record = Record()
        return itertools.islice(self._train(self.record), self.most_steps)

    def _train(self, record: Record, rate: float | None = None) -> Iterator[None]:
        """Return a training at `rate`, or at the slider's when None."""

        def steer(optimizer: torch.optim.Optimizer) -> Iterator[None]:
            while True:
                optimizer.param_groups[0]["lr"] = self.rate.value if rate is None else rate
                yield

        return train(self.model, self.batches, self.validation, record, steer, _due, rate or self.rate.value)

    def trained_at(self, rate: float, steps: int) -> Record:
        """Return what happens in some steps at one rate, without the thread."""
        record = Record()
        for _ in itertools.islice(self._train(record, rate), steps):
            pass
        return record

    def _show(self) -> None:
        self.redraw(lambda figure: draw_record(self.record, figure), sentence(self.record))

    def _static(self) -> tuple[dict[str, Any], dict[str, Any]]:
        records = {rate: self.trained_at(rate, self._compared_steps) for rate in self._compared}
        words = "; ".join(f"rate {rate:g}: {sentence(record).rstrip('.')}" for rate, record in records.items())
        with figures.style():
            return figures.bundle(draw_comparison(records), f"The training loss at {len(records)} rates. {words}.")


def _due(step: int) -> bool:
    return step % CHECK_EVERY == 0


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
    checked = f", validation accuracy {percent(record.checks[-1][1])}" if record.checks else ""
    return f"After {steps}: loss {written_loss(record.smoothed()[-1])}, learning rate {record.rates[-1]:.2g}{checked}."


def draw_record(record: Record, figure: Canvas) -> None:
    """Draw the loss on the left; on the right the accuracy, and the learning rate below it."""
    margins = {"left": 0.08, "right": 0.97, "top": 0.91, "bottom": 0.14, "wspace": 0.26, "hspace": 0.55}
    grid = figure.add_gridspec(2, 2, **margins)
    end = max(100, 1.02 * len(record.losses))
    loss = figure.add_subplot(grid[:, 0])
    _draw_loss(record, loss)
    loss.set(xlim=(0, end), xlabel="step", ylabel="training loss")
    loss.set_title("loss of each batch, and its average")
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
    figure = Figure(figsize=(2.5 * len(records), 2.8))
    axes = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
    for ax, (rate, record) in zip(axes, records.items()):
        _draw_loss(record, ax)
        ax.set(xlabel="step")
        end = "no longer a number" if record.broken else f"about {written_loss(record.smoothed()[-1])} at the end"
        ax.set_title(f"rate {rate:g}\n{end}", fontsize=10)
    axes[0].set(ylabel="training loss")
    axes[0].legend(loc="lower left", fontsize=8)
    figure.suptitle("The same network, the same pictures, three learning rates", x=0.01, ha="left", weight="bold")
    return figure


def _draw_loss(record: Record, axes: Axes) -> None:
    steps = range(1, len(record.losses) + 1)
    axes.plot(steps, record.losses, color=figures.SKY, linewidth=0.8, alpha=0.6, label="each batch")
    axes.plot(steps, record.smoothed(), color=figures.BLUE, label="moving average")
    axes.set(ylim=(0, record.top(CEILING)))
