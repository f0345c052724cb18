"""Explorations of lesson 2: nine numbers on a photograph, and the arithmetic of one output cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import ipywidgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from torch import Tensor

from course_utils import convolution, figures, pictures
from course_utils.base.words import percent
from course_utils.convolution import worked
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin
from course_utils.widgets.panel import at_rest

PLACES = (  # of the nine numbers: what a field is called where it is not seen
    "top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right"
)  # fmt: skip
OWN = "your own"
NOTHING = 0.0005  # a sum below it is written as 0
STRONG = 0.5  # answers around zero have their full colour here; few edges of a photograph get farther


@dataclass(frozen=True)
class Filtered:
    """A grey photograph (H, W) before, and (H − 2, W − 2) after, a 3×3 kernel."""

    before: Tensor
    after: Tensor
    kernel: Tensor  # as it was used: after normalising, if that was asked for
    name: str
    normalised: bool = False  # whether that changed its numbers

    @property
    def signed(self) -> bool:
        """Whether flat areas answer about 0 because the kernel's numbers cancel, nearly at least, or are tiny.

        Then 0 means "nothing here". A sum is not yet about 0 because large numbers nearly cancel: 25 and −24 give 1.
        """
        total, size = self.kernel.sum().abs().item(), self.kernel.abs().sum().item()
        return size > 0 and (total < 0.05 * min(size, 1) or total < NOTHING)


@lru_cache(maxsize=16)
def grey_photograph(name: str) -> Tensor:
    """Return one of the course's photographs in grey: float32 (H, W) in [0, 1]."""
    return pictures.to_grey(pictures.to_float(pictures.to_tensor(pictures.photograph(name))))[0]


def normalised(kernel: Tensor) -> Tensor:
    """Return a kernel whose answers stay in the range of the picture: numbers that sum to 1, where that is possible.

    A kernel whose numbers cancel is divided by half of what they sum to without their signs: its answers to a picture
    in [0, 1] then lie in [−1, 1]. A kernel of zeros stays as it is.
    """
    total, size = kernel.sum(), kernel.abs().sum()
    if total.abs() > 1e-6 * size:
        return kernel / total
    return kernel / (size / 2) if size > 0 else kernel


def filtered(photograph: str, kernel: Tensor, normalise: bool) -> Filtered:
    """Return what the 3×3 `kernel` answers on a photograph."""
    picture = grey_photograph(photograph)
    used = normalised(kernel) if normalise else kernel
    after = convolution.corr2d_slices(picture[None, None], used[None, None])[0, 0]
    return Filtered(picture, after, used, name_of(kernel), normalised=not torch.equal(used, kernel))


def as_written(name: str) -> tuple[Tensor, bool]:
    """Return a named kernel in whole numbers, and whether it must be normalised to be that kernel."""
    kernel = convolution.kernel(name)
    smallest = kernel[kernel != 0].abs().min()
    return (kernel / smallest).round(), bool(smallest < 1)


def name_of(kernel: Tensor) -> str:
    """Return the name that a kernel in whole numbers has, or "your own"."""
    for name in convolution.KERNELS:
        if torch.allclose(as_written(name)[0], kernel):
            return name
    return OWN


def changed(**numbers: float) -> dict[str, float | bool]:
    """Return the editor's settings for zeros everywhere but at some fields, n0 to n8, counted along the rows."""
    return {**{f"n{i}": 0.0 for i in range(9)}, **numbers, "normalise": False}


# What the lesson asks before the widget: the identity, a 2 in the middle, the 1 in a corner, a −1 beside it.
ASKED = {
    "identity": changed(n4=1),
    "2 in the middle": changed(n4=2),
    "1 in a corner": changed(n0=1),
    "−1 beside the 1": changed(n4=1, n5=-1),
}


def kernel_editor(photograph: str = "cat") -> Exploration:
    """Return an exploration of all 3×3 kernels: nine numbers, presets, and a photograph to try them on."""
    first = "vertical edges"
    numbers = zip(PLACES, as_written(first)[0].flatten().tolist())
    fields = {f"n{i}": controls.number(place, value) for i, (place, value) in enumerate(numbers)}
    preset = controls.choice("kernel", [*convolution.KERNELS, OWN], first)
    shown = controls.choice("photograph", pictures.photographs(), photograph)
    normalise = controls.tick("normalise: answers in the range of the picture")

    def compute(photograph: str, normalise: bool, **numbers: float) -> Filtered:
        return filtered(photograph, torch.tensor(list(numbers.values())).view(3, 3), normalise)

    def apply(_: object) -> None:
        if preset.value != OWN:
            editor.set(**_settings(preset.value))

    def rename(_: object) -> None:
        if not editor.waiting:  # else the nine numbers are being set one after another
            preset.value = name_of(torch.tensor([field.value for field in fields.values()]).view(3, 3))

    square = ipywidgets.GridBox(list(fields.values()), layout={"grid_template_columns": "repeat(3, 5.5em)"})
    square.add_class("course-square")
    beside = controls.grid(preset, shown, normalise)
    beside.layout.width, beside.layout.flex = "auto", "1 1 20em"
    editor = Exploration(
        compute,
        draw_filtered,
        {"photograph": shown, "normalise": normalise, **fields},
        describe=sentence,
        arrangement=controls.row(beside, square),
        twin=Twin(
            {
                **ASKED,
                **{name: _settings(name) for name in convolution.KERNELS if name not in ("identity", "box blur")},
            },
            draw=_draw_with_numbers,
            size=(1.78, 1.8),
            columns=4,
            title="Nine numbers decide what a filter sees",
            alt="Twelve versions of a cat's face: unchanged, twice as bright, moved by one pixel, and edges from a 1 "
            "and a −1; then vertical and horizontal edges, Sobel in both directions, all edges, blurred, sharpened and "
            "embossed. Above each stand the nine numbers of its kernel.",
        ),
        move=move_filtered,
        title="Kernel editor",
        size=(7.6, 2.85),
        photograph=True,
    )
    preset.observe(apply, "value")
    editor.settled = lambda: rename(None)
    for field in fields.values():
        field.observe(rename, "value")
    return editor


def _settings(name: str) -> Mapping[str, float | bool]:
    numbers, normalise = as_written(name)
    return {**{f"n{i}": value for i, value in enumerate(numbers.flatten().tolist())}, "normalise": normalise}


def sentence(result: Filtered) -> str:
    """Return in words what the kernel does to flat areas, and how much of the answer cannot be shown."""
    total = result.kernel.sum().item()
    if not math.isfinite(total):
        return f"{result.name}: the numbers are too large to be added up; take smaller ones."
    summed = f"{'once normalised, ' * result.normalised}the numbers sum to {worked.written(total)}"
    if result.signed:
        return f"{result.name}: {summed}; flat areas answer about 0, shown white."
    lost = pictures.clipped_fraction(result.after)
    rest = f"; {percent(lost, 0)} of the answers leave the range from 0 to 1 and are cut off" if lost >= 0.005 else ""
    flat = (
        "flat areas keep their brightness"
        if round(total, 3) == 1
        else f"flat areas come out {worked.written(total)} times as bright"
    )
    return f"{result.name}: {summed}; {flat}{rest}."


def draw_filtered(result: Filtered, figure: Canvas) -> None:
    """Draw the photograph and what the kernel answers on it, side by side."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.9, "bottom": 0.01, "wspace": 0.03}
    left, right = figure.subplots(1, 2, gridspec_kw=margins)
    left.imshow(result.before.numpy(), vmin=0, vmax=1)
    left.set_title("photograph")
    left.axis("off")
    _draw_answer(result, right)
    right.set_title(_title(result))


def move_filtered(result: Filtered, figure: Figure) -> list[Artist]:
    """Show another photograph and another answer in a drawn figure."""
    left, right = figure.axes
    (before,), (after,) = left.images, right.images
    colours, low, high = _look(result)
    after.set(cmap=colours, clim=(low, high))
    _put(before, result.before)
    _put(after, result.after)
    return [before, after, right.set_title(_title(result))]


def _put(image: AxesImage, picture: Tensor) -> None:
    """Show another picture (H, W), of any shape, as large as it can be where the first one stood."""
    image.axes.autoscale(False)
    left, right = image.axes.get_xlim()
    bottom, top = image.axes.get_ylim()
    high, wide = picture.shape
    scale = min((right - left) / wide, (bottom - top) / high)
    x, y, across, down = (left + right) / 2, (bottom + top) / 2, scale * wide / 2, scale * high / 2
    image.set(data=picture.numpy(), extent=(x - across, x + across, y + down, y - down))


def _title(result: Filtered) -> str:
    return f"{result.name}: blue below 0, red above" if result.signed else result.name


def _look(result: Filtered) -> tuple[str, float, float]:
    return (figures.DIVERGING, -STRONG, STRONG) if result.signed else ("gray", 0, 1)


def _draw_answer(result: Filtered, axes: Axes) -> None:
    colours, low, high = _look(result)
    axes.imshow(result.after.numpy(), cmap=colours, vmin=low, vmax=high)
    axes.axis("off")


def _draw_with_numbers(result: Filtered, figure: Canvas) -> None:
    axes = figure.subplots()
    _draw_answer(result, axes)
    rows = [" ".join(f"{Fraction(n).limit_denominator(99)!s:>4}" for n in row) for row in result.kernel.tolist()]
    axes.set_title("\n".join(rows).replace("-", "−"), fontsize=7.5, fontweight="normal", family="monospace")


OPERATIONS = ("convolution", "max pooling", "average pooling", "sum pooling")


def cell_arithmetic(numbers: Tensor, kernel: str = "vertical edges") -> Exploration:
    """Return an exploration of one output cell of a convolution or a pooling, with its sum written out.

    Args:
        numbers: a small picture, float (H, W), at least 5 × 5 so that every setting fits.
        kernel: the name of the kernel that is chosen at first.

    Raises:
        ValueError: when the picture is too small.
    """
    if numbers.ndim != 2 or min(numbers.shape) < 5:
        raise ValueError(f"cell_arithmetic needs a picture (H, W) of at least 5 × 5, not {tuple(numbers.shape)}.")
    operation = controls.choice("operation", OPERATIONS)
    chosen = controls.choice("kernel", list(convolution.KERNELS), kernel)
    stride, padding = controls.whole_slider("stride", 1, 1, 3), controls.whole_slider("padding", 0, 0, 2)
    dilation, size = controls.whole_slider("dilation", 1, 1, 2), controls.whole_slider("pooling size", 2, 2, 3)
    row, column = controls.whole_slider("row", 0, 0, 2), controls.whole_slider("column", 0, 0, 2)

    def compute(
        operation: str, kernel: str, stride: int, padding: int, dilation: int, size: int, row: int, column: int
    ) -> worked.WorkedCell:
        pooled = operation != OPERATIONS[0]
        side = size if pooled else 3
        settings = {"stride": stride} if pooled else {"stride": stride, "padding": padding, "dilation": dilation}
        height, width = (
            convolution.output_size(n, side, stride, 0 if pooled else padding, 1 if pooled else dilation)
            for n in numbers.shape
        )
        # A cell that the smaller output of another setting lacks gives way to the last one there is.
        settings |= {"row": min(row, height - 1), "column": min(column, width - 1)}
        if pooled:
            return worked.worked_cell(numbers, pool=operation.split()[0], size=size, **settings)
        return worked.worked_cell(numbers, convolution.kernel(kernel), **settings)

    def offer(_: object = None) -> None:
        """Offer what the operation has."""
        pooled = operation.value != OPERATIONS[0]
        chosen.disabled = padding.disabled = dilation.disabled = pooled
        size.disabled = not pooled

    def fit() -> None:
        """Offer the cells that the output has."""
        height, width = compute(**explorer.values).output.shape
        explorer.waiting += 1  # what is drawn already is the cell that these limits lead to: see `compute`
        row.max, column.max = height - 1, width - 1
        explorer.waiting -= 1

    explorer = Exploration(
        compute,
        draw_cell,
        {
            "operation": operation,
            "kernel": chosen,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "size": size,
            "row": row,
            "column": column,
        },
        describe=lambda cell: f"Row {cell.row}, column {cell.column}: {' '.join(cell.arithmetic.split())}",
        twin=Twin(
            [
                {"row": 1, "column": 2},
                {"row": 1, "column": 2, "padding": 1},
                {"row": 1, "column": 2, "padding": 1, "stride": 2},
                {"row": 1, "column": 2, "padding": 2, "dilation": 2},
            ],
            columns=1,
            title="The same cell of the output, four settings, four windows",
            alt="Four rows, each with an input table, the vertical edge kernel, the output and a sum written out for "
            "the cell in row 1 and column 2: no padding, padding 1, padding 1 with stride 2, and padding 2 with "
            "dilation 2. The window lies elsewhere each time.",
        ),
        move=move_cell,
        title="One cell of the output",
        size=worked.FIGSIZE,
    )
    operation.observe(offer, "value")
    for control in (operation, stride, padding, dilation, size):
        control.observe(at_rest(fit), "value")
    offer()
    fit()
    return explorer


def draw_cell(cell: worked.WorkedCell, figure: Canvas) -> None:
    """Draw input, kernel, output and arithmetic of a worked cell."""
    margins = {"left": 0.005, "right": 0.98, "top": 0.9, "bottom": 0.1, "wspace": 0.08}
    cell.plot(figure.subplots(1, 4, gridspec_kw={"width_ratios": worked.WIDTHS, **margins}))


def move_cell(cell: worked.WorkedCell, figure: Figure) -> list[Artist]:
    """Draw another cell into the axes of a drawn figure: to make the axes takes as long as all the rest."""
    for axes in figure.axes:
        axes.axis("on")
        for artist in (*axes.collections, *axes.texts):
            artist.remove()
    cell.plot(figure.axes)
    moving: list[Artist] = []
    for axes in figure.axes:
        axes.apply_aspect()
        moving += [part for part in axes.get_children() if isinstance(part, (Collection, Text))]
        moving += [axes.xaxis] if axes.axison else []
    return moving
