"""What happened in a training run, and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from course_utils import figures
from course_utils.base.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass
class History:
    """What happened in a run: one number an epoch in each list, and each batch's learning rate, the first group's."""

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # training only, without validation
    learning_rates: list[float] = field(default_factory=list)  # one a batch
    best_epoch: int | None = None  # counted from 1; None without validation
    stopped_early: bool = False

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.train_loss)

    def row(self, epoch: int) -> str:
        """Return one line about `epoch`, counted from 1."""
        i = epoch - 1
        text = f"epoch {epoch:>2}  training loss {self.train_loss[i]:.3f}, {percent(self.train_accuracy[i], 2)} right"
        if i < len(self.validation_loss):
            text += f"  validation {self.validation_loss[i]:.3f}, {percent(self.validation_accuracy[i], 2)}"
        return text

    def plot(self, axes: Sequence[Axes] | None = None) -> Figure:
        """Draw loss and accuracy against epochs, training beside validation, with the best epoch marked.

        Args:
            axes: two to draw into, the first for the loss; a new figure when None.

        Raises:
            ValueError: when nothing was trained yet.
        """
        import matplotlib.pyplot as plt

        if self.epochs == 0:
            raise ValueError("There is nothing to draw: the history has no epoch yet; train first.")
        with figures.style():
            left, right = plt.subplots(1, 2, figsize=(9, 3.2))[1] if axes is None else axes
            _lines(left, self.train_loss, self.validation_loss)
            finding = f"Training loss {self.train_loss[0]:.2f} → {self.train_loss[-1]:.2f}"
            left.set(xlabel="epoch", ylabel="loss", title=finding)
            shares = self.train_accuracy, self.validation_accuracy
            _lines(right, *([100 * share for share in part] for part in shares))
            right.set(xlabel="epoch", ylabel="accuracy in %", title=_best(self))
            if self.best_epoch:
                best = self.validation_accuracy[self.best_epoch - 1]
                right.plot(self.best_epoch, 100 * best, "o", markersize=11, fillstyle="none", color=figures.INK)
            right.legend(loc="lower right")
        return left.figure


def _lines(axes: Axes, train: list[float], validation: list[float]) -> None:
    axes.plot(range(1, len(train) + 1), train, "-o", color=figures.BLUE, markersize=4, label="training")
    if validation:
        epochs = range(1, len(validation) + 1)
        axes.plot(epochs, validation, "--s", color=figures.ORANGE, markersize=4, label="validation")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _best(history: History) -> str:
    if history.best_epoch is None:
        return f"Training accuracy {percent(history.train_accuracy[-1])}"
    return f"Best validation accuracy {percent(max(history.validation_accuracy))} (epoch {history.best_epoch})"
