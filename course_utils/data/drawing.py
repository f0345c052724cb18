"""Pictures of a set as a whole: how many each class has, and how large they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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


@figures.style()
def draw_counts(parts: Mapping[str, Mapping[str, int]], ax: Axes | None = None) -> Axes:
    """Draw a bar for each class, its parts one after the other, and say the range in the title.

    Of more than `MOST_BARS` classes the largest and the smallest are drawn, and how many lie between is written there.

    Args:
        parts: for each part, in words, the pictures of each class.
        ax: where to draw; a figure of its own when None.
    """
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import ScaledTranslation

    sums: Counter[str] = Counter()
    for counts in parts.values():
        sums.update(counts)
    order = [name for name, _ in sums.most_common()]  # equal ones as they come
    half = MOST_BARS // 2
    names = order if len(order) <= MOST_BARS else order[:half] + order[-half:]
    left_out = len(order) - len(names)
    places = [i + (left_out > 0 and i >= half) for i in range(len(names))]
    inside = ax is not None
    if ax is None:
        ax = _axes(6.5, 0.24 * (places[-1] + 1) + 1.1)
    # Points for a row, where axes take two thirds of their figure's height.
    room = 0.66 * 72 * ax.figure.get_figheight() / (places[-1] + 1.4)
    start = np.zeros(len(names))
    for (part, counts), colour in zip(parts.items(), COLOURS):
        numbers = [counts.get(name, 0) for name in names]
        ax.barh(places, numbers, left=start, color=colour, label=part, height=0.75)
        start = start + numbers
    for place, name in zip(places, names):
        ax.text(sums[name], place, f" {sums[name]:,}", va="center", fontsize=min(8, room), color=figures.GREY)
    if left_out:
        words = f" … {left_out:,} classes between …"
        ax.text(0, half, words, va="center", fontsize=min(8, room), color=figures.GREY)
    ax.set_yticks(places, [shortened(name) for name in names])
    if room < 12:
        ax.tick_params(axis="y", labelsize=0.9 * room)
    ax.set(xlabel="pictures", ylim=(places[-1] + 0.7, -0.7), xlim=(0, 1.12 * sums[names[0]]))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.grid(False, axis="y")
    least, most = sums[names[-1]], sums[names[0]]
    spread = f"{least:,} each" if least == most else f"from {least:,} to {most:,} a class"
    title = f"{sum(sums.values()):,} pictures of {len(order):,} classes, {spread}"
    ax.set_title(title.replace(", from", ",\nfrom") if inside and len(title) > LONGEST_TITLE else title)
    if len(parts) > 1:
        # Half an inch below the bars: where classes are equal, they fill all of the inside.
        below = ax.transAxes + ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans)
        ncols = len(parts)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, borderaxespad=0, ncols=ncols)
    return ax


@figures.style()
def draw_sizes(sizes: Sequence[tuple[int, int]], side: int, ax: Axes | None = None) -> Axes:
    """Draw width against height, a dot for each picture, and the square that a network sees.

    Args:
        sizes: (width, height) of each picture, in pixels.
        side: of the square. The title tells how many pictures have a shorter side than that, and are enlarged.
        ax: where to draw; a figure of its own when None.
    """
    widths, heights = np.array(sizes, dtype=np.int64).T
    if ax is None:
        ax = _axes(5.0, 4.6)
    low, high = min(widths.min(), heights.min(), side), max(widths.max(), heights.max(), side)
    ends = (0, 1.08 * high) if high <= WIDE * low else (low / 1.3, 1.3 * high)
    ax.set(xlim=ends, ylim=ends, xlabel="width in pixels", ylabel="height in pixels")
    if ends[0]:
        powers = [2**k for k in range(20) if ends[0] <= 2**k <= ends[1]]
        for axis, change in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
            change("log")
            axis.set_major_formatter("{x:.0f}")
            axis.set_ticks(powers)
            axis.set_ticks([], minor=True)
    ax.plot([ends[0], side, side], [side, side, ends[0]], color=figures.ORANGE, linewidth=1.5)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    where = {"xytext": (4, 4), "textcoords": "offset points", "zorder": 3}
    ax.annotate(f"{side}, the network's side", (ends[0], side), **where, fontsize=8, bbox=box)
    ax.set_aspect("equal")
    if len(set(sizes)) == 1:  # one dot for all, which must be seen
        ax.scatter(widths[0], heights[0], s=60, color=figures.BLUE, zorder=4, linewidth=0)
        ax.set_title(f"All are {widths[0]} × {heights[0]} pixels")
    else:
        ax.scatter(widths, heights, s=14, color=figures.BLUE, alpha=0.45, linewidth=0)
        ax.set_title(f"{(np.minimum(widths, heights) < side).sum():,} of {len(sizes):,} would be enlarged")
    return ax


def shortened(name: str) -> str:
    """Return a class's name in one line, and cut where it is long."""
    return short(" ".join(name.split()), LONGEST)


def _axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height))[1]
