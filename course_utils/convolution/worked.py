"""One output cell of a convolution or a pooling, with its arithmetic written out and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils import figures
from course_utils.base.words import signed
from course_utils.convolution.geometry import output_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cell = tuple[int, int]
FIGSIZE = (7.1, 2.15)  # of one worked cell; n of them below each other are n times as high
LINE = 30  # letters of the arithmetic that fit beside the output; longer lines are written smaller
WIDTHS = (7, 3.6, 5.2, 7.2)  # input, kernel, output, arithmetic


@dataclass(frozen=True)
class WorkedCell:
    """One output cell and everything it was computed from; `plot` draws it.

    padded: the picture with its border of zeros (H + 2·padding, W + 2·padding).
    padding: width of that border.
    rows, columns: the rows and columns of `padded` that the window covers.
    kernel: the kernel (kh, kw), or None when the window was pooled.
    output: the whole output (H', W').
    row, column: the chosen cell of the output.
    arithmetic: the sum written out, one line per row of the window, ending with the result.
    title: what was done, in a few words.
    """

    padded: Tensor
    padding: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    kernel: Tensor | None
    output: Tensor
    row: int
    column: int
    arithmetic: str
    title: str

    def plot(self, axes: Sequence[Axes] | None = None) -> Figure:
        """Draw input, kernel, output and arithmetic side by side, into a sequence of four axes."""
        from matplotlib import pyplot as plt

        with figures.style():
            if axes is None:
                _, axes = plt.subplots(1, 4, figsize=FIGSIZE, width_ratios=WIDTHS)
            before, middle, after, text = axes
            marked = {(r, c) for r in self.rows for c in self.columns}
            height, width = self.padded.shape
            inside = range(self.padding, height - self.padding), range(self.padding, width - self.padding)
            border = {(r, c) for r in range(height) for c in range(width)}
            border -= {(r, c) for r in inside[0] for c in inside[1]}
            tall = max(height, width)
            number_grid(before, self.padded, marked, figures.ORANGE, border, tall)
            before.set_title(self.title, fontsize=9.5)
            before.set_xlabel("input" if not self.padding else "input, zeros added around it")
            if self.kernel is None:
                middle.axis("off")
            else:
                number_grid(middle, self.kernel, tall=tall)
                middle.set_xlabel("kernel")
            number_grid(after, self.output, {(self.row, self.column)}, figures.BLUE, tall=tall)
            after.set_xlabel("output")
            text.axis("off")
            longest = max(map(len, self.arithmetic.split("\n")))
            size = min(9, 9 * LINE / longest)  # points
            text.text(0, 0.5, self.arithmetic, va="center", fontsize=size, linespacing=1.5, transform=text.transAxes)
        return before.figure


def worked_cell(
    picture: Tensor,
    kernel: Tensor | None = None,
    *,
    row: int = 0,
    column: int = 0,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    pool: str | None = None,
    size: int = 2,
) -> WorkedCell:
    """Work out one output cell of a convolution, or of a pooling, with its arithmetic in words.

    Args:
        picture: tensor (H, W), small enough to read.
        kernel: tensor (kh, kw) to correlate with; None when `pool` is given.
        row, column: the output cell to work out, counted from 0.
        stride: pixels between windows; None means 1 for a kernel and `size` for a pooling.
        padding, dilation: as in `output_size`; a pooling takes neither.
        pool: "max", "average" or "sum" of each window; None when `kernel` is given.
        size: side of the pooling window.

    Raises:
        ValueError: when not exactly one of kernel and pool is given, a tensor is not two-dimensional, the
            window does not fit, or the output has no such cell.
    """
    if (kernel is None) == (pool is None):
        raise ValueError("Give either a kernel or a kind of pooling, not both and not neither.")
    if pool not in (None, "max", "average", "sum"):
        raise ValueError(f"pool is {pool!r}; choose 'max', 'average' or 'sum'.")
    picture, kernel = as_table(picture), None if kernel is None else as_table(kernel)
    if pool and (padding, dilation) != (0, 1):
        raise ValueError("A pooling takes no padding and no dilation here; leave them out.")
    sides = (size, size) if kernel is None else tuple(kernel.shape)
    step = stride if stride is not None else 1 if pool is None else size
    shape = [output_size(n, side, step, padding, dilation) for n, side in zip(picture.shape, sides)]
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise ValueError(
            f"There is no output cell ({row}, {column}); the output has {shape[0]} rows and {shape[1]} "
            "columns, counted from 0."
        )
    padded = F.pad(picture, (padding,) * 4)
    rows = [tuple(range(r * step, r * step + dilation * sides[0], dilation)) for r in range(shape[0])]
    columns = [tuple(range(c * step, c * step + dilation * sides[1], dilation)) for c in range(shape[1])]
    windows = [[padded[list(r)][:, list(c)] for c in columns] for r in rows]
    summarise = {
        None: lambda window: (window * kernel).sum(),
        "max": torch.amax,
        "average": torch.mean,
        "sum": torch.sum,
    }[pool]
    output = torch.stack([torch.stack([summarise(window) for window in line]) for line in windows])
    changed = [
        f"stride {step}",
        f"padding {padding}" * (padding > 0),
        f"dilation {dilation}" * (dilation > 1),
    ]
    name = f"{pool} pooling, {size} × {size}" if pool else f"{sides[0]} × {sides[1]} kernel"
    title = ", ".join([name, *filter(None, changed)])
    arithmetic = _arithmetic(windows[row][column], kernel, pool, output[row, column])
    return WorkedCell(padded, padding, rows[row], columns[column], kernel, output, row, column, arithmetic, title)


def as_table(numbers: Tensor) -> Tensor:
    """Return a picture or a kernel (height, width) as a float32 tensor, whatever kind its numbers are of.

    Raises:
        ValueError: when it has not two axes.
    """
    floats = torch.as_tensor(numbers, dtype=torch.float32)
    if floats.ndim != 2:
        raise ValueError(f"picture and kernel must each have two axes, (height, width), not {tuple(floats.shape)}.")
    return floats


def written(value: Tensor | float) -> str:
    """Write a number shortly, with a proper minus sign."""
    return signed(round(float(value), 3), "g")


def written_factor(value: Tensor | float) -> str:
    """Write a number as the second factor of a product: in brackets when it is negative."""
    return f"({written(value)})" if value < 0 else written(value)


def _arithmetic(window: Tensor, kernel: Tensor | None, pool: str | None, result: Tensor) -> str:
    """Write out how `result` comes from `window`, one line per row of the window."""
    if kernel is None:
        joint = " + " if pool != "max" else ", "
        cut = joint if window.numel() <= 4 else f"{joint.rstrip()}\n"
        inner = cut.join(joint.join(map(written, line)) for line in window)
        sums = {"max": f"max({inner})", "average": f"({inner}) / {window.numel()}", "sum": inner}[pool]
    else:
        lines = []
        for pixels, weights in zip(window, kernel):
            products = [f"{written(p)}·{written_factor(w)}" for p, w in zip(pixels, weights)]
            lines.append(" + ".join(products))
        sums = "\n+ ".join(lines)
    return f"{sums}\n= {written(result)}"


def number_grid(
    ax: Axes,
    values: Tensor,
    marked: AbstractSet[Cell] | Mapping[Cell, str] = frozenset(),
    colour: str = figures.ORANGE,
    border: AbstractSet[Cell] = frozenset(),
    tall: int | None = None,
    blank: AbstractSet[Cell] = frozenset(),
) -> None:
    """Draw a small table of numbers as squares.

    Args:
        ax: where to draw; its ticks and frame are removed.
        values: tensor (rows, columns).
        marked: cells (row, column) to fill with `colour`, or each with its own colour.
        colour: any colour matplotlib knows.
        border: cells to grey, such as those that padding added.
        tall: height of the axes in cells, so that the squares of neighbouring tables have one size.
        blank: cells whose numbers are not written yet.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba, to_rgba_array

    height, width = values.shape
    cells = [(row, column) for row in range(height) for column in range(width)]
    faces = to_rgba_array([figures.PALE if cell in border else "white" for cell in cells]).reshape(height, width, 4)
    ax.pcolormesh(faces, edgecolor=figures.GREY, linewidth=0.6, antialiased=True)
    low, high = 0.04, 0.96  # a mark's line stays inside its cell
    corners = [(low, low), (high, low), (high, high), (low, high)]
    squares = [[(column + x, row + y) for x, y in corners] for row, column in marked]
    colours = list(marked.values()) if isinstance(marked, Mapping) else [colour] * len(squares)
    faces = [to_rgba(each, 0.35) for each in colours]
    look = {"facecolor": faces, "edgecolor": colours, "linewidth": 1.8} if squares else {}
    ax.add_collection(PolyCollection(squares, **look), autolim=False)
    shown = [cell for cell in cells if cell not in blank]
    if shown:
        texts, rows = [written(values[cell]) for cell in shown], tall or height
        fits = 137 / (rows * max(map(len, texts)))  # points at which the longest number stays in its cell
        figures.write_all(
            ax,
            texts,
            [(column + 0.5, row + 0.5) for row, column in shown],
            size=min(8.5 if rows < 8 else 7.5, max(6.5, fits)),
            colours=[figures.GREY if cell in border and cell not in marked else figures.INK for cell in shown],
            bold=[cell in marked for cell in shown],
        )
    space = ((tall or height) - height) / 2 + 0.05
    ax.set(xlim=(-0.05, width + 0.05), ylim=(height + space, -space), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
