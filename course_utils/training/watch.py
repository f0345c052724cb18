"""Training, watched: the loss of a loop that you write yourself, and the table that `fit` lets grow.

Call a `LossCurve` with the loss of each batch, `curve(loss.item())`, and `curve.finish()` after the last one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from course_utils import figures
from course_utils.base.notes import notebook_shell
from course_utils.base.words import duration, percent
from course_utils.training.guards import count_of
from course_utils.training.smoothing import smooth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from course_utils.training.history import History

EVERY = 0.7  # seconds between two drawings: the loop itself shall take the time
BETA = 0.95  # of the smoothed line


class LossCurve:
    """A curve under the cell that grows with each loss it is given; outside a notebook it only keeps the losses.

    Args:
        title: what is trained.
        guessing: the loss of pure guessing, drawn as a line; none when None.
    """

    def __init__(self, title: str = "", guessing: float | None = None) -> None:
        self.title, self.guessing = title, guessing
        self.losses: list[float] = []
        self._drawn, self._handle = 0.0, None

    def __call__(self, loss: float) -> None:
        """Add the loss of one batch, a number or a tensor, and draw the curve again if it is time."""
        self.losses.append(float(loss.item() if hasattr(loss, "item") else loss))
        if time.monotonic() - self._drawn > EVERY:
            self._show()

    def finish(self) -> None:
        """Draw all losses once more.

        Raises:
            ValueError: when there are none.
        """
        self._require_losses()
        self._show()

    def plot(self) -> Figure:
        """Draw the loss of each batch, pale, and their moving average.

        Raises:
            ValueError: when there are none.
        """
        from matplotlib.figure import Figure

        self._require_losses()
        steps = range(1, len(self.losses) + 1)
        with figures.style():
            figure = Figure(figsize=(6.5, 2.4))
            ax = figure.subplots()
            ax.plot(steps, self.losses, color=figures.SKY, linewidth=0.7, alpha=0.6, label="each batch")
            ax.plot(steps, smooth(self.losses, BETA), color=figures.BLUE, label="moving average")
            if self.guessing is not None:
                ax.axhline(self.guessing, color=figures.GREY, linestyle=":", linewidth=1.5, label="guessing")
            ax.set(xlabel="step", ylabel="loss", ylim=(0, None), title=self.sentence())
            ax.legend(loc="upper right", bbox_to_anchor=(1, 0.88))
        return figure

    def sentence(self) -> str:
        """Say in words where the loss began and where it is.

        Raises:
            ValueError: when there is none.
        """
        self._require_losses()
        now = smooth(self.losses, BETA)[-1]
        name = f"{self.title}, " if self.title else ""
        return f"{name}loss {self.losses[0]:.2f} → {now:.2f} in {len(self.losses):,} steps"

    def _require_losses(self) -> None:
        if not self.losses:
            raise ValueError("There is no loss to draw; call the curve with the loss of each batch first.")

    def _show(self) -> None:
        self._drawn = time.monotonic()
        if notebook_shell() is None:
            return
        data, metadata = figures.bundle(self.plot(), f"The loss of each batch, and its average: {self.sentence()}.")
        self._handle = _shown(self._handle, data, metadata)


class EpochTable:
    """A table that grows with each epoch, a curve below it, and the time left for the whole run.

    For a front end with a reader: `wanted` tells whether there is one.

    Args:
        history: of the run; `fit` fills it.
        epochs: how many there will be.
    """

    def __init__(self, history: History, epochs: int) -> None:
        self.history, self.epochs = history, epochs
        self._begun, self._drawn, self._handle = time.perf_counter(), 0.0, None
        self._before = history.epochs  # of a run that goes on: done at another time

    @staticmethod
    def wanted() -> bool:
        """Tell whether a reader watches: in a notebook, but not where `course run` or a test runs it."""
        unseen = os.environ.get("COURSE_STRICT") == "1" or os.environ.get("COURSE_PROGRESS") == "0"
        return not unseen and notebook_shell() is not None

    def batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Pass the batches of an epoch on, and show now and then how far it is."""
        total = count_of(batches)
        for done, batch in enumerate(batches, 1):
            yield batch
            if total and time.perf_counter() - self._drawn > EVERY:
                self.show(done / total)

    def show(self, share: float = 0.0) -> None:
        """Show the table, and the share, from 0 to 1, of the epoch that is going on."""
        self._drawn = time.perf_counter()
        status = self.status(share)
        rows = [self.history.row(epoch + 1) for epoch in range(self.history.epochs)]
        data = {"text/plain": "\n".join([*rows, status]), "text/html": self.html(status)}
        self._handle = _shown(self._handle, data)

    def status(self, share: float) -> str:
        """Say how far the run is and how long the rest will take, or how long it took."""
        done, passed = self.history.epochs, time.perf_counter() - self._begun
        worked = done - self._before + share
        if done >= self.epochs or self.history.stopped_early:
            return f"{done - self._before} epochs in {duration(passed)}"
        # Validation counts too: all that has passed, over the epochs that it was for.
        left = f", about {duration(passed / worked * (self.epochs - done - share))} left" if worked > 0.02 else ""
        return f"epoch {done + 1} of {self.epochs}: {percent(share, 0)}{left}"

    def html(self, status: str) -> str:
        """Return the table, the curve and `status`, in the page's own colours."""
        h = self.history
        validated = bool(h.validation_loss)
        heads = ["epoch", "training loss", "training right", *(["validation loss", "validation right"] * validated)]
        cells = "".join(f"<th>{head}</th>" for head in [*heads, "seconds"])
        body = ""
        for i in range(h.epochs):
            values = [f"{i + 1}", f"{h.train_loss[i]:.3f}", percent(h.train_accuracy[i], 2)]
            if i < len(h.validation_loss):
                values += [f"{h.validation_loss[i]:.3f}", percent(h.validation_accuracy[i], 2)]
            values.append(f"{h.seconds[i]:.1f}")
            body += f"<tr>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        curves = _curves({"training loss": h.train_loss, "validation loss": h.validation_loss}, self.epochs)
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>{curves}<p>{status}</p>"


def _shown(handle: Any, data: dict[str, str], metadata: dict[str, Any] | None = None) -> Any:
    """Show what is new in the old place, or in one of its own where `handle` is None; return the place's handle."""
    from IPython.display import display

    if handle is None:
        return display(data, metadata=metadata, raw=True, display_id=True)
    handle.update(data, metadata=metadata, raw=True)
    return handle


def _curves(lines: dict[str, Sequence[float]], epochs: int) -> str:
    """Return a small drawing of one number an epoch for each line, from the second epoch on."""
    most = max((value for values in lines.values() for value in values), default=0.0)
    if not most or max(map(len, lines.values())) < 2:
        return ""
    drawn, words = [], []
    for (name, values), colour in zip(lines.items(), (figures.BLUE, figures.ORANGE)):
        if not values:
            continue
        points = " ".join(
            f"{4 + 292 * i / max(1, epochs - 1):.1f},{96 - 92 * v / most:.1f}" for i, v in enumerate(values)
        )
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        words.append(f'<span style="color:{colour}">■</span> {name}')
    frame = '<path d="M2 0V98H298" fill="none" stroke="currentColor" opacity="0.5"/>'
    size = 'viewBox="0 0 300 100" width="300" height="100"'
    picture = f'<svg {size} role="img" aria-label="loss after each epoch">{frame}{"".join(drawn)}</svg>'
    return f"{picture}<p>{' '.join(words)}</p>"
