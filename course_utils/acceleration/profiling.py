"""Where the time goes inside a step: PyTorch's profiler, in words and numbers that a beginner can read."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from course_utils import figures
from course_utils.acceleration.devices import Device
from course_utils.acceleration.timer import require_function, waitable
from course_utils.base.words import percent
from course_utils.errors import CourseError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What PyTorch's own names mean, the first that fits. Names of kernels differ from version to version: words, not names.
WORDS = (
    (r"conv.*backward|backward.*conv|wgrad|dgrad", "convolution, backward"),
    (r"conv|implicit_gemm", "convolution, forward"),
    (r"batch_norm.*backward|bn_bw|bn_backward", "batch normalisation, backward"),
    (r"batch_norm|bn_fw|group_norm|bn_", "batch normalisation, forward"),
    (r"softmax|nll_loss|cross_entropy", "loss"),  # before what its name holds too: max_
    (r"pool.*backward", "pooling, backward"),
    (r"pool|amax|(?<!clamp_)max_", "pooling, forward"),
    (r"gelu.*backward|threshold_backward|relu.*backward", "activation, backward"),
    (r"gelu|relu|clamp", "activation, forward"),
    (r"upsample", "resizing"),
    (r"addb?mm|::b?mm|linear|matmul|gemm", "matrix products"),
    (r"_foreach|sgd|adam|optimizer", "update of the weights"),
    (r"copy|::to$|memcpy|contiguous|cat$|clone", "copying"),
    (r"index|gather|randperm|fill|zero|empty", "choosing and filling"),
)
REST = "everything else"


@dataclass(frozen=True)
class Row:
    """One kind of work: its name in words, how often it was asked for, and its own milliseconds in one call."""

    name: str
    calls: float
    milliseconds: float


@dataclass(frozen=True)
class Profile:
    """The kinds of work inside one call, the longest first. `device` is the name of what it ran on."""

    rows: tuple[Row, ...]
    device: str

    @property
    def milliseconds(self) -> float:
        """All of them together."""
        return sum(row.milliseconds for row in self.rows)

    def share(self, name: str) -> float:
        """Return the share, from 0 to 1, of all kinds of work whose name begins with `name`."""
        return sum(row.milliseconds for row in self.rows if row.name.startswith(name)) / self.milliseconds

    def __str__(self) -> str:
        lines = [f"{'work':<32}{'calls':>7}{'ms':>9}{'share':>8}"]
        lines += [
            f"{row.name:<32}{row.calls:>7.0f}{row.milliseconds:>9.2f}{percent(row.milliseconds / self.milliseconds):>8}"
            for row in self.rows
        ]
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw one bar for each kind of work, the longest on top; into `ax`, or into a figure of its own."""
        import matplotlib.pyplot as plt

        with figures.style():
            if ax is None:
                _, ax = plt.subplots(figsize=(7.5, 0.34 * len(self.rows) + 1))
            rows = self.rows[::-1]
            colours = [figures.ORANGE if "backward" in row.name else figures.BLUE for row in rows]
            bars = ax.barh([row.name for row in rows], [row.milliseconds for row in rows], color=colours)
            shares = [percent(row.milliseconds / self.milliseconds, 0) for row in rows]
            ax.bar_label(bars, labels=shares, padding=3)
            longest = self.rows[0].name
            share = percent(self.rows[0].milliseconds / self.milliseconds, 0)
            title = f"{longest[:1].upper()}{longest[1:]}: {share} of the time"
            ax.set(xlabel=f"milliseconds in one call, on {self.device} (orange: backward)", title=title)
            ax.margins(x=0.1)
            ax.grid(axis="y", visible=False)
        return ax.figure


def profiled(
    work: Callable[[], Any], device: Device | torch.device | str = "cpu", *, calls: int = 3, most: int = 9
) -> Profile:
    """Return where the time of `work()` goes, on the device: each operation's own time, without those it calls.

    Args:
        work: called once to warm up and then `calls` times; what is shown is the mean of these.
        device: where it computes, as for `measure`.
        calls: how many.
        most: kinds of work to list; the others are added up.

    Raises:
        CourseError: when the profiler may not look into the GPU.
        ValueError: when `calls` is below 1 or `most` below 2.
        TypeError: when `work` cannot be called.
    """
    require_function(work, "profiled")
    if calls < 1 or most < 2:
        raise ValueError(f"profiled needs calls ≥ 1 and most ≥ 2, not {calls} and {most}.")
    waited = waitable(device)
    on_gpu = getattr(waited, "kind", "cpu") == "cuda"
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler prints notes for its own developers
    work()
    waited.synchronize()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as record:
        for _ in range(calls):
            work()
        waited.synchronize()
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for event in record.key_averages():
        if on_gpu and event.device_type != DeviceType.CPU:  # the kernels once more: their operations count them
            continue
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total  # microseconds
        if own > 0:
            entry = spent[in_words(event.key)]
            entry[0] += event.count / calls
            entry[1] += own / calls / 1000
    if not spent:
        raise CourseError("The profiler recorded nothing; ask for access to the GPU's counters, or take the CPU.")
    rows = sorted((Row(name, *entry) for name, entry in spent.items()), key=lambda row: -row.milliseconds)
    named = [row for row in rows if row.name != REST]
    shown, others = named[: most - 1], [*named[most - 1 :], *(row for row in rows if row.name == REST)]
    if others:
        shown.append(Row(REST, sum(row.calls for row in others), sum(row.milliseconds for row in others)))
    return Profile(tuple(shown), waited.name)


def in_words(name: str) -> str:
    """Return what an operation of PyTorch does, in words."""
    return next((words for pattern, words in WORDS if re.search(pattern, name, re.IGNORECASE)), REST)
