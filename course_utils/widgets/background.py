"""A run in the background: networks that train in a thread of their own while the panel draws how far they are."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.training.smoothing import smooth
from course_utils.widgets import controls
from course_utils.widgets.panel import LivePanel, sentence_of, strict

Batches = Iterable[tuple[Tensor, Tensor]]
DRAW_EVERY = 0.3  # seconds between two drawings, so that the steps get most of the time
SMOOTHING = 0.9  # how much of the old average a new loss leaves
State = TypeVar("State")


@dataclass
class Record:
    """What a training run did so far: one loss and one rate a step, an accuracy now and then."""

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)  # when broken, the rate of the last step too
    checks: list[tuple[int, float]] = field(default_factory=list)  # (steps done, validation accuracy from 0 to 1)
    broken: bool = False  # the last loss was no longer a number

    def smoothed(self) -> list[float]:
        """Return the losses as a moving average."""
        return smooth(self.losses, SMOOTHING)


def one_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, record: Record
) -> bool:
    """Train `model` on one batch and write loss and rate into `record`.

    Returns:
        Whether it can go on: False when the loss is no longer a number, which leaves the weights as they were.
    """
    model.train()
    loss = F.cross_entropy(model(images), labels)
    record.rates.append(optimizer.param_groups[0]["lr"])
    value = loss.item()
    if not math.isfinite(value):
        record.broken = True
        return False
    record.losses.append(value)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return True


class BackgroundRun(LivePanel, Generic[State]):
    """A panel whose Start begins a run in a thread of its own, so that the kernel stays free, and whose Stop ends it.

    A subclass says what a run is: `_prepare` makes the state of a new one, `_steps` goes through it in the thread,
    `_paint` and `_words` show it. What these need is set before `super().__init__`.

    Args:
        arrange: puts the buttons Start and Stop among the panel's other controls.
        size: of the picture, in inches.
    """

    # Here for `close`, which is called on a panel too that was refused before it had any of its own.
    _closed = False
    _thread: threading.Thread | None = None

    def __init__(
        self,
        arrange: Callable[[ipywidgets.Button, ipywidgets.Button], ipywidgets.Widget],
        size: tuple[float, float],
    ) -> None:
        self.start_button = controls.button("Start", lambda: self.attempt(self.start), "play")
        self.stop_button = controls.button("Stop", lambda: self.attempt(self.stop), "stop")
        self._lock = threading.Lock()  # guards what runs, and what the buttons offer
        self._running = False
        self._stopping = threading.Event()
        super().__init__(arrange(self.start_button, self.stop_button), size)
        self._offer(running=False)

    @property
    def running(self) -> bool:
        """Whether a run is going on, or held."""
        return self._running

    def start(self) -> None:
        """Begin a run from the first weights; does nothing while one is going on."""
        with self._lock:
            if self.running or self._closed:
                return
            self.error = None
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, args=(self._prepare(),), daemon=True)
            self._thread.start()
            self._running = True
            self._offer(running=True)

    def stop(self) -> None:
        """End the run after its present step."""
        self._stopping.set()

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
        if self._thread is not None:
            self.stop()
        super().close()

    def _prepare(self) -> State:
        """Return the state of a new run."""
        raise NotImplementedError

    def _steps(self, state: State) -> Iterator[None]:
        """Go through a run, one step for each `next`; called in the thread."""
        raise NotImplementedError

    def _paint(self, state: State, figure: Figure) -> None:
        """Draw into an empty figure where a run stands."""
        raise NotImplementedError

    def _words(self, state: State) -> str:
        """Return in a sentence where a run stands."""
        raise NotImplementedError

    def _offer(self, running: bool) -> None:
        """Let the controls offer what makes sense now."""
        self.start_button.disabled, self.stop_button.disabled = running, not running

    def _draw(self, state: State) -> None:
        if not self._closed:
            self.redraw(lambda figure: self._paint(state, figure), self._words(state))

    def _run(self, state: State) -> None:
        """Run in the thread: step by step, with a drawing now and then."""
        drawn = 0.0
        try:
            for _ in self._steps(state):
                if self._stopping.is_set() or self._closed:
                    break
                if time.monotonic() - drawn > DRAW_EVERY:
                    self._draw(state)
                    drawn = time.monotonic()
            self._draw(state)
        except Exception as error:  # noqa: BLE001 - nobody else would see it: the thread belongs to no cell
            self.error = error
            self.say(sentence_of(error))
        finally:
            with self._lock:  # after what `start` lets the buttons offer, however short the run
                self._running = False
                self._offer(running=False)
