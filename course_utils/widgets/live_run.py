"""A run in the background: networks train in a thread of its own while a panel draws how far they are."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import ipywidgets
import torch
from torch import nn
from torch.nn import functional as F

from course_utils.training import guards
from course_utils.training.evaluate import evaluate
from course_utils.training.guards import Pairs
from course_utils.training.smoothing import smooth
from course_utils.widgets import controls
from course_utils.widgets.panel import LivePanel, strict

SHOW_EVERY = 0.3  # seconds between two drawings, so that the steps get most of the time
SMOOTHING = 0.9  # how much of the old average a new loss leaves


class LiveRun:
    """Steps that are taken in a thread of their own, so that the kernel stays free, and three buttons to steer them.

    Start begins a new run, Pause holds it or lets it go on, Stop ends it.

    Args:
        panel: shows what goes wrong.
        begin: returns the steps of a new run; each is taken by a `next` in the thread.
        show: draws where the run stands; called now and then, when it is held, and at its end.
        locked: controls that cannot be moved while a run goes on.
    """

    def __init__(
        self,
        panel: LivePanel,
        begin: Callable[[], Iterator[object]],
        show: Callable[[], None],
        locked: Sequence[ipywidgets.Widget] = (),
    ) -> None:
        self.panel, self.begin, self.show, self.locked = panel, begin, show, locked
        self.start_button = controls.button("Start", lambda: panel.attempt(self.start), "play")
        self.pause_button = controls.button("Pause", lambda: panel.attempt(self.pause), "pause")
        self.stop_button = controls.button("Stop", lambda: panel.attempt(self.stop), "stop")
        self.buttons = (self.start_button, self.pause_button, self.stop_button)
        self._lock = threading.Lock()  # guards what runs, and what the buttons offer
        self._thread: threading.Thread | None = None
        self.running = False  # whether a run is going on, or held
        self._closed = False
        self._stopping, self._going = threading.Event(), threading.Event()  # the second is cleared while a run is held
        self._offer()

    @property
    def paused(self) -> bool:
        """Whether a run waits to go on."""
        return self.running and not self._going.is_set()

    def start(self) -> None:
        """Begin a new run; does nothing while one is going on."""
        with self._lock:
            if self.running or self._closed:
                return
            self.panel.error = None
            self._stopping.clear()
            self._going.set()
            self._thread = threading.Thread(target=self._work, args=(self.begin(),), daemon=True)
            self._thread.start()
            self.running = True
            self._offer()

    def pause(self) -> None:
        """Hold the run after its present step, or let it go on."""
        with self._lock:
            if self.running and not self._stopping.is_set():  # a run that is ending must not be held
                (self._going.clear if self._going.is_set() else self._going.set)()
                self._offer()

    def stop(self) -> None:
        """End the run after its present step, or where it is held."""
        self._stopping.set()
        self._going.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the run to end; return whether it has.

        Raises:
            Exception: what ended the run, in tests (COURSE_STRICT=1).
        """
        if self._thread is not None:
            self._thread.join(seconds)
        if self.panel.error is not None and strict():
            raise self.panel.error
        return not self.running

    def close(self) -> None:
        """End the run, and draw nothing any more."""
        self._closed = True
        self.stop()

    def _offer(self) -> None:
        """Let the controls offer what makes sense now."""
        self.start_button.disabled = self.running
        self.pause_button.disabled = self.stop_button.disabled = not self.running
        self.pause_button.description, self.pause_button.icon = ("Go on", "play") if self.paused else ("Pause", "pause")
        for control in self.locked:
            control.disabled = self.running

    def _work(self, steps: Iterator[object]) -> None:
        """Take the steps, in the thread."""
        shown = 0.0
        try:
            for _ in steps:
                if not self._going.is_set():
                    self._show()
                    self._going.wait()
                if self._stopping.is_set():
                    break
                if time.monotonic() - shown > SHOW_EVERY:
                    self._show()
                    shown = time.monotonic()
            self._show()
        except Exception as error:  # noqa: BLE001 - nobody else would see it: the thread belongs to no cell
            self.panel.report(error)
        finally:
            with self._lock:  # after what `start` lets the buttons offer, however short the run
                self.running = False
                self._offer()

    def _show(self) -> None:
        if not self._closed:
            self.show()


@dataclass
class Record:
    """What a training did so far: one loss and one rate a step, an accuracy now and then."""

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)  # when broken, the rate of the last step too
    checks: list[tuple[int, float]] = field(default_factory=list)  # (steps done, validation accuracy from 0 to 1)
    broken: bool = False  # the last loss was no longer a number

    def top(self, usual: float) -> float:
        """Return the highest loss to draw: the usual one, or above the first, which many classes make higher."""
        return max([usual, *(1.1 * loss for loss in self.losses[:1])])

    def smoothed(self) -> list[float]:
        """Return the losses as a moving average that starts without a bias."""
        return smooth(self.losses, SMOOTHING)


def train(
    model: nn.Module,
    batches: Pairs,
    validation: Pairs,
    record: Record,
    steer: Callable[[torch.optim.Optimizer], Iterator[object]],
    check: Callable[[int], bool],
    rate: float,
) -> Iterator[None]:
    """Train a copy of `model` with SGD and momentum 0.9, one batch for each `next`, and write down what happens.

    Nothing random is drawn from the process-wide generators but by the network itself: without dropout and the like,
    cells that run meanwhile keep their numbers.

    Args:
        model: returns logits (B, classes); stays as it is.
        batches: pairs of pictures (B, C, H, W) and labels (B,); gone through again and again, from their first epoch.
        validation: the same; looked at when `check` asks for it.
        record: is filled; when a loss is no longer a number, `broken` is set and the training ends.
        steer: takes the optimizer; each `next` of what it returns sets the rate of the next step.
        check: tells after how many steps to look at the validation pictures.
        rate: the optimizer's first learning rate.

    Raises:
        ValueError: when a pass through the batches gives none, as the second one through a generator does.
    """
    if hasattr(batches, "set_epoch"):
        batches.set_epoch(0)  # the same pictures in the same order in each run
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    for _, (images, labels) in zip(steer(optimizer), guards.endless(batches)):
        model.train()
        loss = F.cross_entropy(model(images), labels)
        record.rates.append(optimizer.param_groups[0]["lr"])
        value = loss.item()
        if not math.isfinite(value):  # the weights stay as they are
            record.broken = True
            return
        record.losses.append(value)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if check(len(record.losses)):
            record.checks.append((len(record.losses), evaluate(model, validation).accuracy))
        yield
