"""Drawings of lesson 2: a window on its way, windows written as columns, and a filter on several channels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils import figures
from course_utils.convolution.geometry import PALETTE
from course_utils.convolution.worked import as_table, number_grid, written, written_factor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.1  # inches: as wide as the text of a page
CHANNELS = (figures.RED, figures.GREEN, figures.BLUE)


def sliding_window(picture: Tensor, kernel: Tensor) -> Iterator[Figure]:
    """Draw, one figure after another, how a kernel's window fills the output cell by cell.

    Args:
        picture: tensor (H, W), small enough to read.
        kernel: tensor (kh, kw).

    Yields:
        A figure for each output cell, left to right and top to bottom, and at last one without a window.

    Raises:
        ValueError: when a tensor has not two axes, or the kernel does not fit.
    """
    picture, kernel, output = _answers(picture, kernel)
    places: list[tuple[int, int] | None] = [*product(*map(range, output.shape)), None]
    for done, place in enumerate(places):
        yield _slid(picture, kernel, output, done, place)


def _slid(picture: Tensor, kernel: Tensor, output: Tensor, done: int, place: tuple[int, int] | None) -> Figure:
    from matplotlib import pyplot as plt

    (kh, kw), width = kernel.shape, output.shape[1]
    window, here, sums = set(), set(), "Each window has given one number."
    if place is not None:
        window = set(product(range(place[0], place[0] + kh), range(place[1], place[1] + kw)))
        here, done = {place}, done + 1
        pixels = picture[place[0] : place[0] + kh, place[1] : place[1] + kw]
        terms = [
            f"{written(pixel)}·{written_factor(weight)}"
            for pixel, weight in zip(pixels.flatten(), kernel.flatten())
            if weight != 0
        ]
        sums = f"{' + '.join(terms)} = {written(output[place])}"
    blank = {divmod(i, width) for i in range(done, output.numel())}
    ratios = (picture.shape[1], 0.8, kw, 0.8, width)
    tall = picture.shape[0]
    with figures.style():
        figure, axes = plt.subplots(1, 5, figsize=(WIDTH, 2.9), width_ratios=ratios)
        before, times, middle, equals, after = axes
        number_grid(before, picture, window, tall=tall)
        number_grid(middle, kernel, tall=tall)
        number_grid(after, output, here, figures.BLUE, tall=tall, blank=blank)
        for axis, name in ((before, "picture"), (middle, "kernel"), (after, "output")):
            axis.set_xlabel(name)
        _sign(times, "×")
        _sign(equals, "=")
        figure.suptitle("The window slides, and fills the output", x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(sums, fontsize=10)
    return figure


def draw_columns(picture: Tensor, kernel: Tensor) -> Figure:
    """Draw a convolution as one matrix product, each window in its colour on its way into a column.

    Args:
        picture: tensor (H, W) with at most six windows.
        kernel: tensor (kh, kw).

    Raises:
        ValueError: when a tensor has not two axes, the kernel does not fit, or there are more windows than colours.
    """
    from matplotlib import pyplot as plt
    from matplotlib.patches import Rectangle

    picture, kernel, output = _answers(picture, kernel)
    (kh, kw), places = kernel.shape, list(product(*map(range, output.shape)))
    if len(places) > len(PALETTE):
        raise ValueError(f"draw_columns has colours for {len(PALETTE)} windows, not {len(places)}; cut the picture.")
    columns = F.unfold(picture[None, None], (kh, kw))[0]
    tall, colours = len(columns), PALETTE[: len(places)]
    with figures.style():
        ratios = (picture.shape[1] + 1, kh * kw, 0.9, len(places), 0.9, len(places))
        figure, axes = plt.subplots(1, 6, figsize=(WIDTH, 3.2), width_ratios=ratios)
        image, row, times, table, equals, result = axes
        number_grid(image, picture, tall=tall)
        for i, ((top, left), colour) in enumerate(zip(places, colours)):
            outset = 0.07 * (i - 1.5)  # frames at one place stay apart
            size = kw + 2 * outset, kh + 2 * outset
            image.add_patch(
                Rectangle((left - outset, top - outset), *size, fill=False, ec=colour, lw=2.2, clip_on=False)
            )
        number_grid(row, kernel.reshape(1, -1), tall=tall)
        number_grid(
            table, columns, {(r, c): colours[c] for r, c in product(range(tall), range(len(places)))}, tall=tall
        )
        number_grid(result, output.reshape(1, -1), {(0, c): colours[c] for c in range(len(places))}, tall=tall)
        _sign(times, "×")
        _sign(equals, "=")
        shapes = (tuple(picture.shape), (1, kh * kw), tuple(columns.shape), (1, len(places)))
        for axis, name, shape in zip((image, row, table, result), ("picture", "kernel", "windows", "output"), shapes):
            axis.text(shape[1] / 2, shape[0] + 0.75, f"{name} {shape}", ha="center", va="center", fontsize=9)
        figure.suptitle("Each window becomes a column", x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def draw_channels(picture: Tensor, planes: Tensor, row: int = 0, column: int = 0) -> Figure:
    """Draw one output cell of a filter on a picture of three channels: three windows, three planes, one sum.

    Args:
        picture: tensor (3, H, W), small enough to read.
        planes: the filter, tensor (3, kh, kw).
        row, column: the output cell, counted from 0.

    Raises:
        ValueError: when there are not three channels and planes, or the output has no such cell.
    """
    from matplotlib import pyplot as plt

    if picture.ndim != 3 or planes.ndim != 3 or {len(picture), len(planes)} != {3}:
        raise ValueError(
            f"draw_channels needs a picture (3, H, W) and a filter (3, kh, kw), not {tuple(picture.shape)} and "
            f"{tuple(planes.shape)}."
        )
    parts = torch.stack([_answers(channel, plane)[2] for channel, plane in zip(picture, planes)])
    output = parts.sum(0)
    if not (0 <= row < output.shape[0] and 0 <= column < output.shape[1]):
        raise ValueError(f"There is no output cell ({row}, {column}); the output is {tuple(output.shape)}.")
    kh, kw = planes.shape[1:]
    window = set(product(range(row, row + kh), range(column, column + kw)))
    tall = picture.shape[1]
    with figures.style():
        figure = plt.figure(figsize=(WIDTH, 4.3))
        ratios = (picture.shape[2], 0.7, kw + 0.4, 0.7, 1.8, 0.7, output.shape[1] + 1.2)
        places = figure.add_gridspec(3, 7, width_ratios=ratios)
        for i, (name, colour) in enumerate(zip(("red", "green", "blue"), CHANNELS)):
            channel, times, plane, equals, part = (figure.add_subplot(places[i, j]) for j in range(5))
            number_grid(channel, picture[i], window, colour, tall=tall)
            number_grid(plane, planes[i], set(product(range(kh), range(kw))), colour, tall=tall)
            number_grid(part, parts[i, row, column].view(1, 1), {(0, 0)}, colour, tall=tall)
            _sign(times, "×")
            _sign(equals, "=")
            channel.set_ylabel(name, color=figures.INK)
            if i == 2:
                for axis, text in ((channel, "three channels"), (plane, "three planes"), (part, "three sums")):
                    axis.set_xlabel(text)
            if i < 2:
                part.text(0.5, tall / 2 + 1.9, "+", ha="center", va="center", fontsize=15)
        _sign(figure.add_subplot(places[1, 5]), "=")
        total = figure.add_subplot(places[1, 6])
        number_grid(total, output, {(row, column)}, figures.PURPLE, tall=tall)
        total.set_xlabel("one output\nchannel")
        figure.suptitle(
            "A filter has a plane for each channel; their sums are added", x=0.01, ha="left", fontsize=11,
            fontweight="bold",
        )  # fmt: skip
    return figure


def _answers(picture: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return one channel, one table and their convolution, as floats."""
    picture, kernel = as_table(picture), as_table(kernel)
    if not all(1 <= k <= n for k, n in zip(kernel.shape, picture.shape)):
        raise ValueError(f"The kernel {tuple(kernel.shape)} does not fit into the picture {tuple(picture.shape)}.")
    return picture, kernel, F.conv2d(picture[None, None], kernel[None, None])[0, 0]


def _sign(axis: Axes, sign: str) -> None:
    axis.axis("off")
    axis.text(0.5, 0.5, sign, ha="center", va="center", fontsize=16, transform=axis.transAxes)
