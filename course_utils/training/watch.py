"""The loss of a loop that you write yourself, drawn while it runs.

Call a `LossCurve` with the loss of each batch, `curve(loss.item())`, and `curve.finish()` after the last one.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from course_utils import figures
from course_utils.training.smoothing import smooth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        if shell is None or not hasattr(shell, "kernel"):
            return
        from IPython.display import display

        with figures.style():
            data, metadata = figures.bundle(self.plot(), f"The loss of each batch, and its average: {self.sentence()}.")
        if self._handle is None:
            self._handle = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            self._handle.update(data, metadata=metadata, raw=True)
