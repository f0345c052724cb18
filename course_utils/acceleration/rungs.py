"""The rungs of the ladder, and what a climb gave: a table, a picture, a file in `results/`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils import figures
from course_utils.base import recorded
from course_utils.base.files import replace_file
from course_utils.base.words import fitted, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOT_YET = "not measured yet: run benchmarks/ladder.py on a GPU"
PARTS = ("data", "forward", "backward", "update")
WHOLE = "one launch"  # of a CUDA graph: forward, backward and update cannot be told apart


@dataclass(frozen=True)
class Rung:
    """One rung: what changes on it, and how its loop is made.

    name, change: in words.
    kind: "cpu" or "cuda".
    loading: "one by one", "workers" (two processes, pinned memory on a GPU) or "resident" (the set lies on the device).
    channels_last, half, compiled, graph: what its loop uses; half is `half_type` of the device, scaled where needed.
    """

    name: str
    change: str
    kind: str = "cpu"
    loading: str = "one by one"
    channels_last: bool = False
    half: bool = False
    compiled: bool = False
    graph: bool = False


RUNGS = (
    Rung("CPU loop", "pictures one by one from a DataLoader"),
    Rung("CPU: workers", "two more processes prepare the pictures", loading="workers"),
    Rung("CPU: resident", "whole batches, cut from a tensor in memory", loading="resident"),
    Rung("CPU: channels_last", "the channels of a pixel side by side", loading="resident", channels_last=True),
    Rung("CPU: torch.compile", "operations fused into new code", "cpu", "resident", True, compiled=True),
    Rung("CPU: bf16", "16 bits instead of 32 (compare with channels_last)", "cpu", "resident", True, half=True),
    Rung("GPU loop", "batches on the GPU, pictures one by one", "cuda"),
    Rung("GPU: workers, pinned", "two processes prepare, in memory for the GPU", "cuda", "workers"),
    Rung("GPU: resident", "the whole set lies on the GPU as bytes", "cuda", "resident"),
    Rung("GPU: channels_last", "the channels of a pixel side by side", "cuda", "resident", True),
    Rung("GPU: 16 bits", "bfloat16 or float16, for the GPU's tensor cores", "cuda", "resident", True, True),
    Rung("GPU: torch.compile", "operations fused into new kernels", "cuda", "resident", True, True, True),
    Rung("GPU: CUDA graph", "a whole step with a single launch", "cuda", "resident", True, True, True, True),
)


@dataclass(frozen=True)
class Size:
    """How much a step of the ladder has to compute.

    what: in words.
    pictures, batch, widths, rate: of the training, as for `climb`.
    """

    what: str
    pictures: int
    batch: int
    widths: tuple[int, int, int]
    rate: float


SIZES = {
    "small": Size("a GPU waits for its launches", 1024, 64, (16, 32, 32), 0.5),
    "large": Size("the sprint's, where a GPU has enough to compute", 40_000, 2000, (64, 256, 256), 2.0),
}


@dataclass(frozen=True)
class Measured:
    """What one rung gave.

    rung: its name.
    device: the name of the chip.
    pictures_per_second: trained, in the median epoch after the first.
    accuracy: from 0 to 1, after all epochs.
    cold_seconds: of the first epoch, with starting workers, compiling and recording.
    warm_seconds: of the median epoch after it.
    memory_mb: on a GPU the most that was allocated, on the CPU what is kept for the backward pass.
    parts: milliseconds of a batch for each of `PARTS`, measured apart with waiting in between; of a CUDA graph `WHOLE`.
    missing: why it did not run.
    """

    rung: str
    device: str
    pictures_per_second: float = 0.0
    accuracy: float = 0.0
    cold_seconds: float = 0.0
    warm_seconds: float = 0.0
    memory_mb: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    missing: str = ""

    def __str__(self) -> str:
        if self.missing:
            return f"{self.rung:<21}{self.missing}"
        return (
            f"{self.rung:<21}{self.pictures_per_second:>11,.0f}{percent(self.accuracy):>10}{self.cold_seconds:>8.2f}"
            f"{self.warm_seconds:>8.2f}{self.memory_mb:>7.1f}"
        )


@dataclass(frozen=True)
class Ladder:
    """Rungs measured in one run, on which machine, when, and on what data."""

    rows: tuple[Measured, ...]
    date: str
    hardware: dict[str, Any]
    versions: dict[str, Any]
    data: str
    settings: dict[str, Any]

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The rungs that ran."""
        return tuple(row for row in self.rows if not row.missing)

    def row(self, name: str) -> Measured | None:
        """Return what the rung `name` gave, or None when this run did not measure it."""
        return next((row for row in self.measured if row.rung == name), None)

    def __str__(self) -> str:
        head = f"{'rung':<21}{'pictures/s':>11}{'accuracy':>10}{'cold s':>8}{'warm s':>8}{'MB':>7}"
        lines = [head, *map(str, self.measured)]
        open_ones: dict[str, list[str]] = {}
        for row in self.rows:
            if row.missing:
                open_ones.setdefault(row.missing, []).append(row.rung)
        lines += [fitted(f"{', '.join(names)}: {reason}") for reason, names in open_ones.items()]
        devices = ", ".join(sorted({row.device for row in self.measured})) or "no device"
        about = f"measured on {devices}, {self.date}" + (f"; {self.data}" if self.data else "")
        return "\n".join([*lines, fitted(about)])

    def save(self, path: Path) -> None:
        """Write the ladder as JSON, all of it or nothing."""
        replace_file(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw one bar a rung with its speed, and its accuracy beside it; into `ax`, or into a figure of its own."""
        import matplotlib.pyplot as plt

        rows = self.measured[::-1]
        fastest = max(rows, key=lambda row: row.pictures_per_second)
        factor = fastest.pictures_per_second / self.measured[0].pictures_per_second
        with figures.style():
            if ax is None:
                _, ax = plt.subplots(figsize=(8, 0.4 * len(rows) + 1.1))
            colours = [figures.ORANGE if row is fastest else figures.BLUE for row in rows]
            bars = ax.barh([row.rung for row in rows], [row.pictures_per_second for row in rows], color=colours)
            labels = [f"{row.pictures_per_second:,.0f}   ({percent(row.accuracy)} right)" for row in rows]
            ax.bar_label(bars, labels=labels, padding=4)
            title = f"{fastest.rung} is {factor:.1f} times as fast as {self.measured[0].rung}"
            ax.set(title=title, xlabel=f"pictures trained in a second, on {fastest.device}, {self.date}")
            ax.margins(x=0.32)
            ax.grid(axis="y", visible=False)
        return ax.figure


def ladder_file(kind: str, size: str = "small") -> str:
    """Return the name of the file in `results/` for a ladder of one of `SIZES` on a "cpu" or "cuda"."""
    return f"ladder_{kind}.json" if size == "small" else f"ladder_{kind}_{size}.json"


def stored_ladder(kind: str, size: str = "small") -> Ladder | None:
    """Return the ladder of one of `SIZES` that was measured on a "cpu" or "cuda" and is in `results/`.

    None where there is none, or where the file is not what `Ladder.save` writes.
    """
    path = recorded.find(ladder_file(kind, size))
    if path is None:
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Ladder(**{**stored, "rows": tuple(Measured(**row) for row in stored["rows"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
