"""A stopwatch that can be believed: warm up, wait for the device, take the median, say how far it spreads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from course_utils.acceleration.devices import Device, TorchDevice, pick_device
from course_utils.base.words import percent
from course_utils.errors import WIDTH

NEXT_LINE = "\n  "

Clock = Callable[[], float]


@dataclass(frozen=True)
class Timing:
    """What a piece of work took, in seconds.

    cold: the very first call, with everything that is done only once: memory fetched, kernels chosen or compiled.
    warm: the calls that count, one number each, after the warm-up.
    device: the name of the device that it was measured on.
    """

    cold: float
    warm: tuple[float, ...]
    device: str

    @property
    def median(self) -> float:
        """The middle of the warm calls: one that was disturbed does not move it."""
        return statistics.median(self.warm)

    @property
    def spread(self) -> float:
        """The distance from the fastest to the slowest warm call, as a share of the median."""
        return (max(self.warm) - min(self.warm)) / self.median if self.median else 0.0

    @property
    def drift(self) -> float:
        """How far the median of the first half of the warm calls is from that of the second, as a share of `median`.

        Unlike the spread, which one disturbed call makes large, it shrinks as calls are repeated.
        """
        half = len(self.warm) // 2
        if not half or not self.median:
            return 0.0
        return abs(statistics.median(self.warm[:half]) - statistics.median(self.warm[half:])) / self.median

    def per_second(self, count: int) -> float:
        """Return how many things a second that is, for work that handles `count` of them in a call."""
        return count / self.median

    def __str__(self) -> str:
        calls = f"{len(self.warm)} call{'s' * (len(self.warm) != 1)}"
        took = (
            f"{1e3 * self.median:.2f} ms (median of {calls}, spread {percent(self.spread, 0)}; "
            f"first {1e3 * self.cold:.2f} ms)"
        )
        fits = len(took) + len(f"   on {self.device}") <= WIDTH  # with two spaces before it, as lessons print it
        return f"{took}{' ' if fits else NEXT_LINE}on {self.device}"


def require_function(work: object, taker: str) -> None:
    """Raise `TypeError` unless `work` can be called, for the function of the name `taker`."""
    if not callable(work):
        raise TypeError(f"{taker} needs a function to call, not a {type(work).__name__}; write lambda: … around it.")


def measure(
    work: Callable[[], Any],
    device: Device | torch.device | str = "cpu",
    *,
    warmup: int = 2,
    repeats: int = 7,
    clock: Clock = time.perf_counter,
) -> Timing:
    """Return how long `work()` takes on a device, waiting for the device before and after every call.

    Args:
        work: called without arguments, 1 + `warmup` + `repeats` times.
        device: where it computes: a name such as "cpu" or "cuda", a `torch.device`, or anything with a `name` and a
            `synchronize()` that waits. There is no way to time without waiting.
        warmup: calls after the first that do not count either.
        repeats: calls that count.
        clock: gives seconds; for tests.

    Raises:
        TypeError: when `work` cannot be called, or the device cannot be waited for.
        ValueError: when `warmup` is negative or `repeats` below 1.
    """
    require_function(work, "measure")
    return measure_in_turn({"work": work}, device, warmup=warmup, repeats=repeats, clock=clock)["work"]


def measure_in_turn(
    works: Mapping[str, Callable[[], Any]],
    device: Device | torch.device | str = "cpu",
    *,
    warmup: int = 2,
    repeats: int = 7,
    steady: float | None = None,
    most: int = 50,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Measure several works in turn, so that whatever else the machine does meanwhile disturbs all of them alike.

    Args:
        works: what to call, by name; the order is turned round in every second lap.
        device, warmup, repeats, clock: as for `measure`.
        steady: go on beyond `repeats` until the halves of each work's calls agree this closely (see `Timing.drift`).
        most: calls of each that count, at most; `drift` says whether they agreed by then.

    Raises:
        TypeError, ValueError: as `measure`.
    """
    for work in works.values():
        require_function(work, "measure_in_turn")
    if warmup < 0 or repeats < 1:
        raise ValueError(f"A timer needs warmup ≥ 0 and repeats ≥ 1, not {warmup} and {repeats}.")
    waited = waitable(device)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    timings: dict[str, Timing] = {}
    for lap in range(1 + warmup + (repeats if steady is None else max(repeats, most))):
        for name in list(works) if lap % 2 == 0 else reversed(list(works)):
            with stopwatch(waited, clock) as watch:
                works[name]()
            seconds[name].append(watch.seconds)
        if lap >= warmup + repeats:
            timings = {
                name: Timing(taken[0], tuple(taken[1 + warmup :]), waited.name) for name, taken in seconds.items()
            }
            if steady is None or all(timing.drift <= steady for timing in timings.values()):
                break
    return timings


@dataclass
class Stopwatch:
    """The seconds of a `with stopwatch(...)` block, once it has ended."""

    seconds: float = field(default=float("nan"))


@contextmanager
def stopwatch(device: Device | torch.device | str = "cpu", clock: Clock = time.perf_counter) -> Iterator[Stopwatch]:
    """Time a `with` block: the device has nothing to do when it begins, and has done everything when it ends."""
    waited, watch = waitable(device), Stopwatch()
    waited.synchronize()
    start = clock()
    yield watch
    waited.synchronize()
    watch.seconds = clock() - start


def waitable(device: Device | torch.device | str) -> Device:
    """Return `device` as something that can be waited for.

    Raises:
        TypeError: when it has no way to be waited for: such a timing would measure how fast kernels are launched.
    """
    if isinstance(device, torch.device) and device.type not in ("cpu", "cuda"):
        return TorchDevice(device, str(device))
    if isinstance(device, str | torch.device):
        return pick_device(device)
    if not callable(getattr(device, "synchronize", None)) or not isinstance(getattr(device, "name", None), str):
        raise TypeError(
            f"An object of type {type(device).__name__} cannot be waited for, so its times would mean nothing: give a "
            'name such as "cuda", a torch.device, or an object with a name and synchronize().'
        )
    return device
