"""Pictures to look at: many side by side, and one so small that its numbers can be read."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from course_utils import figures
from course_utils.base.words import short
from course_utils.pictures.files import eight_bits
from course_utils.pictures.tensors import to_picture, to_tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LETTERS = 14.5  # of a picture's title, for each inch


def _pillows(taker: str, images: Tensor | Sequence[Tensor | Image.Image], columns: int | None) -> list[Image.Image]:
    """Return the pictures that the function `taker` is to draw in so many columns; raise an error for other things."""
    if isinstance(images, Tensor) and images.ndim == 3:
        raise ValueError(f"{taker} wants a batch (N, C, H, W), not {tuple(images.shape)}; add an axis with [None].")
    if isinstance(images, Image.Image):
        raise TypeError(f"{taker} wants several pictures, not a single one; put it into a list.")
    if columns is not None and (not isinstance(columns, Integral) or columns < 1):
        raise ValueError(f"{taker} needs columns of at least 1, a whole number, not {columns!r}; or leave it out.")
    pillows = (image if isinstance(image, Image.Image) else to_picture(image) for image in images)
    return [image if image.mode in ("RGB", "L") else eight_bits(image) for image in pillows]


def _wrapped(text: str, letters: int) -> str:
    """Return a title in lines of at most so many letters, none of its own lines in more than three."""
    lines = (textwrap.wrap(line, max(letters, 4), max_lines=3, placeholder="…") for line in text.split("\n"))
    return "\n".join("\n".join(line) for line in lines)


def grid(
    images: Tensor | Sequence[Tensor | Image.Image],
    titles: Sequence[object] | None = None,
    columns: int | None = None,
    *,
    title: str | None = None,
    width: float = 6.5,
    frames: Mapping[int, tuple[float, float, float, float]] | None = None,
) -> Figure:
    """Draw pictures side by side, row by row; in a single row all are equally high.

    Args:
        images: a batch (N, C, H, W), uint8 or float in [0, 1], or a sequence of pictures of any sizes.
        titles: one per picture, drawn above it; long ones in several lines.
        columns: pictures per row; up to 6 by default.
        title: the finding, above the whole figure.
        width: of the figure, in inches.
        frames: a box (left, top, right, bottom), as Pillow's `crop` wants it, to draw into the picture of that number.

    Raises:
        TypeError, ValueError: as `to_picture`, when the numbers of pictures and titles differ, or columns are below 1.
    """
    import matplotlib.pyplot as plt

    shown = _pillows("grid", images, columns)
    if not 1 <= len(shown) <= 100:
        raise ValueError(f"grid draws 1 to 100 pictures, not {len(shown)}; take fewer, such as images[:36].")
    if titles is not None and len(titles) != len(shown):
        raise ValueError(f"grid was given {len(titles)} titles for {len(shown)} pictures.")
    columns = min(len(shown), 6) if columns is None else columns
    rows = -(-len(shown) // columns)
    # One row: each as wide as its shape asks for, so that no picture leaves a hole below it.
    aspects = [picture.width / picture.height for picture in shown] if rows == 1 else []
    aspects += [sum(aspects) / len(shown)] * (columns - len(aspects)) if aspects else []
    tallest = columns / sum(aspects) if aspects else max(picture.height / picture.width for picture in shown)
    tallest = min(tallest, 3, 1.5 * columns)  # what is taller stands in the middle of its place
    shares = [aspect / sum(aspects) for aspect in aspects] or [1 / columns]
    wide = [int(LETTERS * width * share) for share in shares]
    names = [_wrapped(str(text), wide[i % len(wide)]) for i, text in enumerate(() if titles is None else titles)]
    lines = max((name.count("\n") + 1 for name in names), default=0)
    height = rows * (0.97 * width / columns * tallest + 0.17 * lines + 0.06) + (0.27 if title else 0) + 0.04
    with figures.style():
        ratios = {"width_ratios": aspects} if aspects else {}
        figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **ratios)
        for axis in axes.flat[len(shown) :]:
            axis.axis("off")
        for i, (axis, picture) in enumerate(zip(axes.flat, shown)):
            axis.set(xticks=[], yticks=[], anchor="N")  # tops in one line, also for pictures of different shapes
            axis.spines[:].set(visible=True, color=figures.GREY, linewidth=0.5)  # a white picture has an edge too
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
            if names:
                axis.set_title(names[i], fontsize=9, fontweight="normal", loc="center", pad=3)
            if frames and i in frames:
                left, top, right, bottom = frames[i]
                for colour, line in ((figures.INK, 3.0), ("white", 1.5)):  # seen on light and on dark places
                    axis.add_patch(
                        plt.Rectangle(
                            (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, lw=line
                        )
                    )
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def contact_sheet(
    images: Sequence[Image.Image | Tensor],
    groups: Sequence[object],
    *,
    marked: Collection[int] = (),
    columns: int = 15,
    side: int = 72,
    title: str | None = None,
    width: float = 7.5,
) -> Figure:
    """Draw many pictures small, in rows by group, as photographers print a film to choose from.

    All pictures are pasted into one, so hundreds take no longer than a few axes.

    Args:
        images: of any sizes, Pillow or as `to_picture` takes them.
        groups: the group of each, such as its class; groups come in the order in which they first occur.
        marked: the numbers of pictures to frame and cross out.
        columns, side: pictures in a row, and pixels for each.
        title: the finding, above the sheet.
        width: of the figure, in inches.

    Raises:
        TypeError, ValueError: as `grid`, and when there are no pictures, or other than as many groups.
    """
    import matplotlib.pyplot as plt
    from PIL import ImageDraw

    shown, groups = _pillows("contact_sheet", images, columns), [str(group) for group in groups]
    if not shown or len(shown) != len(groups):
        raise ValueError(f"contact_sheet needs pictures and a group for each, not {len(shown)} and {len(groups)}.")
    rows: list[tuple[str, list[int]]] = []
    for name in dict.fromkeys(groups):
        members = [i for i, group in enumerate(groups) if group == name]
        rows += [(name if k == 0 else "", members[k : k + columns]) for k in range(0, len(members), columns)]
    sheet = Image.new("RGB", (side * min(columns, max(len(inside) for _, inside in rows)), side * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (_, members) in enumerate(rows):
        for column, index in enumerate(members):
            small = shown[index].convert("RGB")
            small.thumbnail((side - 4, side - 4), Image.Resampling.BILINEAR)
            left, top = column * side + (side - small.width) // 2, row * side + (side - small.height) // 2
            sheet.paste(small, (left, top))
            if index in marked:
                box = (column * side + 1, row * side + 1, (column + 1) * side - 2, (row + 1) * side - 2)
                pen.rectangle(box, outline=figures.RED, width=3)
                pen.line((box[0], box[3], box[2], box[1]), fill=figures.RED, width=3)
    with figures.style():
        left = 0.2 + 0.085 * min(28, max(len(name) for name, _ in rows))  # inches for the names of the groups
        tall, above = (width - left) * sheet.height / sheet.width, 0.35 if title else 0.05
        figure = plt.figure(figsize=(width, tall + above), layout="none")
        axis = figure.add_axes((left / width, 0, 1 - left / width, tall / (tall + above)))
        axis.imshow(sheet, interpolation="antialiased")
        axis.set(xticks=[])
        named = [(side * (row + 0.5), name) for row, (name, _) in enumerate(rows) if name]
        axis.set_yticks([at for at, _ in named], [short(name, 28) for _, name in named])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.grid(False)
        if title:
            figure.text(0.01, 1 - 0.06 / (tall + above), title, va="top", fontsize=11, fontweight="bold")
    return figure


def pixels(image: Tensor | Image.Image, *, title: str | None = None, width: float = 5.0) -> Figure:
    """Draw a small picture (H, W) or (C, H, W), at most 16 × 16, with its numbers written into its pixels.

    Raises:
        TypeError, ValueError: as `to_picture`, and when the picture is too large for its numbers to be read.
    """
    import matplotlib.pyplot as plt

    if isinstance(image, Image.Image):
        image = to_tensor(image)
    shown = to_picture(image)
    if max(shown.size) > 16:
        size = f"{shown.width} × {shown.height}"
        raise ValueError(f"pixels draws at most 16 × 16 pixels, not {size}; cut out a piece.")
    values = image if image.ndim == 3 else image[None]  # (C, H, W)
    form = "{:.2f}" if values.is_floating_point() else "{}"
    light = np.asarray(shown.convert("L")) > 120
    size = min(10.0, width / shown.width * (14 if len(values) == 1 else 10))  # points: fits into a square
    with figures.style():
        figure, axis = plt.subplots(figsize=(width, width * shown.height / shown.width + 0.5))
        axis.imshow(shown, cmap="gray", vmin=0, vmax=255)
        for y, x in np.ndindex(light.shape):
            text = "\n".join(form.format(value) for value in values[:, y, x].tolist())
            colour = figures.INK if light[y, x] else "white"
            axis.text(x, y, text, ha="center", va="center", color=colour, fontsize=size, linespacing=1.05)
        axis.set(xticks=range(shown.width), yticks=range(shown.height), xlabel="column (x)", ylabel="row (y)")
        axis.grid(False)
        axis.set_title(title or "")
    return figure
