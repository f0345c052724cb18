"""Training, watched: the loss of a loop that you write yourself, and the table that `fit` lets grow.

Call a `LossCurve` with the loss of each batch, `curve(loss.item())`, and `curve.finish()` after the last one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from course_utils import figures
from course_utils.base.words import percent
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
        """Add the loss of one batch, and draw the curve again if it is time."""
        self.losses.append(loss)
        if time.monotonic() - self._drawn > EVERY:
            self._show()

    def finish(self) -> None:
        """Draw all losses once more.

        Raises:
            ValueError: when there are none.
        """
        if not self.losses:
            raise ValueError("There is no loss to draw; call the curve with the loss of each batch first.")
        self._show()

    def plot(self) -> Figure:
        """Draw the loss of each batch, pale, and their moving average."""
        from matplotlib.figure import Figure

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
        """Say in words where the loss began and where it is."""
        now = smooth(self.losses, BETA)[-1]
        name = f"{self.title}, " if self.title else ""
        return f"{name}loss {self.losses[0]:.2f} → {now:.2f} in {len(self.losses):,} steps"

    def _show(self) -> None:
        self._drawn = time.monotonic()
        if not _in_notebook():
            return
        from IPython.display import display

        with figures.style():
            data, metadata = figures.bundle(self.plot(), f"The loss of each batch, and its average: {self.sentence()}.")
        if self._handle is None:
            self._handle = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            self._handle.update(data, metadata=metadata, raw=True)


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
        return not unseen and _in_notebook()

    def batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Pass the batches of an epoch on, and show now and then how far it is."""
        total = len(batches) if hasattr(batches, "__len__") else 0
        start = time.perf_counter()
        for done, batch in enumerate(batches, 1):
            yield batch
            if total and time.perf_counter() - self._drawn > EVERY:
                self.show(done / total, time.perf_counter() - start)

    def show(self, share: float = 0.0, seconds: float = 0.0) -> None:
        """Show the table.

        Args:
            share: of the epoch that is going on, from 0 to 1.
            seconds: that it has taken so far.
        """
        from IPython.display import display

        self._drawn = time.perf_counter()
        status = self.status(share, seconds)
        rows = [self.history.row(epoch + 1) for epoch in range(self.history.epochs)]
        data = {"text/plain": "\n".join([*rows, status]), "text/html": self.html(status)}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def status(self, share: float, seconds: float) -> str:
        """Say how far the run is and how long the rest will take, or how long it took."""
        done, took = self.history.epochs, self.history.seconds[self._before :]
        if done >= self.epochs or self.history.stopped_early:
            return f"{done - self._before} epochs in {_spoken(time.perf_counter() - self._begun)}"
        # Validation counts too: all that has passed, over the epochs that it was for.
        passed = time.perf_counter() - self._begun
        worked = len(took) + share
        left = f", about {_spoken(passed / worked * (self.epochs - done - share))} left" if worked > 0.02 else ""
        return f"epoch {done + 1} of {self.epochs}: {percent(share, 0)}{left}"

    def html(self, status: str) -> str:
        """Return the table, a bar and the curve, in the page's own colours."""
        h = self.history
        validated = bool(h.validation_loss)
        heads = ["epoch", "training loss", "training right", *(["validation loss", "validation right"] * validated)]
        cells = "".join(f"<th>{head}</th>" for head in [*heads, "seconds"])
        body = ""
        for i in range(h.epochs):
            values = [f"{i + 1}", f"{h.train_loss[i]:.3f}", figures.percent(h.train_accuracy[i], 2)]
            if i < len(h.validation_loss):
                values += [f"{h.validation_loss[i]:.3f}", figures.percent(h.validation_accuracy[i], 2)]
            values.append(f"{h.seconds[i]:.1f}")
            body += f"<tr>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        curves = _curves({"training loss": h.train_loss, "validation loss": h.validation_loss}, self.epochs)
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>{curves}<p>{status}</p>"


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


def _spoken(seconds: float) -> str:
    """Return a time as one says it: 45 s, 3 min 20 s, 1 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")
