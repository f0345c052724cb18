"""Pictures of a set as a whole: how many each class has, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from course_utils import figures
from course_utils.base.words import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 20  # classes drawn; of more, half of it from either end
COLOURS = (figures.BLUE, figures.ORANGE, figures.SKY)
WIDE = 8  # times the smallest side that the largest may have before the axes become logarithmic
LONGEST_TITLE = 44  # letters in one line, where another figure stands beside it
LONGEST = 24  # letters of a class's name that are drawn


@dataclass(frozen=True)
class Counts:
    """The bars of a figure, longest first.

    names: of the classes drawn.
    parts: for each part, in words, how many pictures each of these classes has.
    left_out: how many classes between the largest and the smallest are not drawn.
    classes, total: how many classes and pictures there are, those not drawn included.
    """

    names: tuple[str, ...]
    parts: Mapping[str, tuple[int, ...]]
    left_out: int
    classes: int
    total: int

    @property
    def sums(self) -> list[int]:
        """The pictures of each class drawn, in all parts together."""
        return [sum(column) for column in zip(*self.parts.values())]


def ends(parts: Mapping[str, Mapping[str, int]], most: int = MOST_BARS) -> Counts:
    """Return what to draw: all classes, or as many of the largest and of the smallest as there is room for.

    Args:
        parts: for each part, in words, the pictures of each class.
        most: the number of classes there is room for.
    """
    sums: dict[str, int] = {}
    for counts in parts.values():
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count
    order = sorted(sums, key=lambda name: -sums[name])  # stable: equal ones as they come
    names = order if len(order) <= most else order[: most // 2] + order[-(most // 2) :]
    chosen = {part: tuple(counts.get(name, 0) for name in names) for part, counts in parts.items()}
    return Counts(tuple(names), chosen, len(order) - len(names), len(order), sum(sums.values()))


@figures.style()
def draw_counts(counts: Counts, ax: Axes | None = None) -> Axes:
    """Draw a bar for each class, its parts one after the other, and say the range in the title.

    Args:
        counts: from `ends`.
        ax: where to draw; a figure of its own when None.
    """
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import ScaledTranslation

    count, half = len(counts.names), len(counts.names) // 2
    places = [i + (counts.left_out > 0 and i >= half) for i in range(count)]
    inside = ax is not None
    if ax is None:
        ax = _axes(6.5, 0.24 * (places[-1] + 1) + 1.1)
    # Points for a row, where axes take two thirds of their figure's height.
    room = 0.66 * 72 * ax.figure.get_figheight() / (places[-1] + 1.4)
    start = np.zeros(count)
    for (part, numbers), colour in zip(counts.parts.items(), COLOURS):
        ax.barh(places, numbers, left=start, color=colour, label=part, height=0.75)
        start = start + numbers
    for place, total in zip(places, counts.sums):
        ax.text(total, place, f" {total:,}", va="center", fontsize=min(8, room), color=figures.GREY)
    if counts.left_out:
        words = f" … {counts.left_out:,} classes between …"
        ax.text(0, half, words, va="center", fontsize=min(8, room), color=figures.GREY)
    ax.set_yticks(places, [shortened(name) for name in counts.names])
    if room < 12:
        ax.tick_params(axis="y", labelsize=0.9 * room)
    ax.set(xlabel="pictures", ylim=(places[-1] + 0.7, -0.7), xlim=(0, 1.12 * max(counts.sums)))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.grid(False, axis="y")
    least, most = counts.sums[-1], counts.sums[0]
    spread = f"{least:,} each" if least == most else f"from {least:,} to {most:,} a class"
    title = f"{counts.total:,} pictures of {counts.classes:,} classes, {spread}"
    ax.set_title(title.replace(", from", ",\nfrom") if inside and len(title) > LONGEST_TITLE else title)
    if len(counts.parts) > 1:
        # Half an inch below the bars: where classes are equal, they fill all of the inside.
        below = ax.transAxes + ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans)
        ncols = len(counts.parts)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, borderaxespad=0, ncols=ncols)
    return ax


@dataclass(frozen=True)
class Sizes:
    """The dots of a figure.

    widths, heights: of each picture, in pixels.
    side: of the square that a network sees.
    smaller: how many pictures have a side shorter than that, and are enlarged.
    """

    widths: np.ndarray
    heights: np.ndarray
    side: int
    smaller: int

    @classmethod
    def of(cls, sizes: Sequence[tuple[int, int]], side: int) -> Sizes:
        """Return the dots for pictures of these (width, height)."""
        widths, heights = np.array(sizes, dtype=np.int64).T
        return cls(widths, heights, side, int((np.minimum(widths, heights) < side).sum()))


@figures.style()
def draw_sizes(sizes: Sizes, ax: Axes | None = None) -> Axes:
    """Draw width against height, a dot for each picture, and the square that a network sees.

    Args:
        sizes: from `Sizes.of`.
        ax: where to draw; a figure of its own when None.
    """
    if ax is None:
        ax = _axes(5.0, 4.6)
    low = min(sizes.widths.min(), sizes.heights.min(), sizes.side)
    high = max(sizes.widths.max(), sizes.heights.max(), sizes.side)
    ends = (0, 1.08 * high) if high <= WIDE * low else (low / 1.3, 1.3 * high)
    ax.set(xlim=ends, ylim=ends, xlabel="width in pixels", ylabel="height in pixels")
    if ends[0]:
        powers = [2**k for k in range(20) if ends[0] <= 2**k <= ends[1]]
        for axis, change in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
            change("log")
            axis.set_major_formatter("{x:.0f}")
            axis.set_ticks(powers)
            axis.set_ticks([], minor=True)
    side = sizes.side
    ax.plot([ends[0], side, side], [side, side, ends[0]], color=figures.ORANGE, linewidth=1.5)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    where = {"xytext": (4, 4), "textcoords": "offset points", "zorder": 3}
    ax.annotate(f"{side}, the network's side", (ends[0], side), **where, fontsize=8, bbox=box)
    ax.set_aspect("equal")
    width, height = sizes.widths[0], sizes.heights[0]
    if (sizes.widths == width).all() and (sizes.heights == height).all():  # one dot for all, which must be seen
        ax.scatter(width, height, s=60, color=figures.BLUE, zorder=4, linewidth=0)
        ax.set_title(f"All are {width} × {height} pixels")
    else:
        ax.scatter(sizes.widths, sizes.heights, s=14, color=figures.BLUE, alpha=0.45, linewidth=0)
        ax.set_title(f"{sizes.smaller:,} of {len(sizes.widths):,} would be enlarged")
    return ax


def shortened(name: str) -> str:
    """Return a class's name in one line, and cut where it is long."""
    return short(" ".join(name.split()), LONGEST)


def _axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height))[1]
