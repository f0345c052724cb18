"""Where windows go: how many fit along a side, and how much of the picture one output cell sees.

`course_utils.convolution` computes with such windows; this module says where they are. Both grow in lesson 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

from torch import nn

from course_utils import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Size = int | tuple[int, int]
WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
# Where PyTorch keeps layers whose output at a place depends on the input at that place alone, or on whole channels by
# their statistics; and what is there beside them.
POINTWISE = ("activation", "batchnorm", "dropout", "instancenorm", "normalization")
NOT_POINTWISE = (nn.GLU, nn.MultiheadAttention, nn.Softmax, nn.Softmin, nn.LogSoftmax)
PALETTE = (figures.ORANGE, figures.BLUE, figures.GREEN, figures.PURPLE, figures.SKY, figures.RED)


def is_whole(value: object, smallest: int) -> bool:
    """Tell whether a value is a whole number of at least `smallest`; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= smallest


def whole(value: object, name: str, smallest: int) -> int:
    """Return `value` as an int; ValueError unless a whole number of at least `smallest`."""
    if not is_whole(value, smallest):
        raise ValueError(f"{name} is {value!r}; give a whole number of at least {smallest}.")
    return int(value)


def pair(value: Size, name: str, smallest: int) -> tuple[int, int]:
    """Return `value` as (vertical, horizontal); ValueError unless whole numbers of at least `smallest`."""
    both = value if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(is_whole(one, smallest) for one in both):
        raise ValueError(
            f"{name} is {value!r}; give a whole number of at least {smallest}, "
            "or a pair (vertical, horizontal) of them."
        )
    return int(both[0]), int(both[1])


def output_size(n: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Count the output cells along a side: floor((n + 2·padding − dilation·(kernel − 1) − 1) / stride) + 1.

    Args:
        n: pixels along that side of the input, at least 1.
        kernel: cells of the kernel along it, at least 1.
        stride: pixels from one window to the next, at least 1.
        padding: zeros added at each of the two ends, at least 0.
        dilation: pixels from one kernel cell to the next, at least 1.

    Raises:
        ValueError: when a value is out of its range, or the kernel does not fit even once.

    Source: the shape rule in the documentation of `torch.nn.Conv2d`.
    """
    values = {"n": n, "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    n, kernel, stride, padding, dilation = (whole(values[name], name, int(name != "padding")) for name in values)
    reach = dilation * (kernel - 1) + 1  # pixels from the kernel's first cell to its last
    if reach > n + 2 * padding:
        raise ValueError(
            f"The kernel reaches over {reach} pixels but the padded input has only {n + 2 * padding}; "
            "use a smaller kernel or dilation, or more padding."
        )
    return (n + 2 * padding - reach) // stride + 1


@dataclass(frozen=True)
class ReceptiveField:
    """What one output cell sees of the input, layer by layer; in pixels of the input, along one side.

    names: the layers, in order.
    sizes: side of the square that one cell sees after each layer.
    jumps: how far the squares of two neighbouring cells lie apart.
    starts: first pixel that cell 0 sees; negative when padding puts it outside the picture.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    jumps: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Side of the square that one cell sees after the last layer."""
        return self.sizes[-1]

    def span(self, cell: int) -> tuple[int, int]:
        """First and last pixel that output cell number `cell` sees; they may lie in the padding."""
        first = self.starts[-1] + cell * self.jumps[-1]
        return first, first + self.size - 1

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the squares that one cell sees after each layer that widens its view, one inside the other."""
        from matplotlib import pyplot as plt
        from matplotlib.patches import Rectangle

        side, colours = self.size, PALETTE
        # From the last layer back: of the cells that the outer square is made of, follow the middle one.
        corner, corners = 0, []
        for outer, size, jump in zip((side, *self.sizes[::-1]), (*self.sizes[::-1], 1), (*self.jumps[::-1], 1)):
            corner += round((outer - size) / 2 / jump) * jump
            corners.append(corner)
        *corners, pixel = corners
        wider = [i for i, size in enumerate(self.sizes) if size != (1, *self.sizes)[i]]
        with figures.style():
            ax = ax or plt.subplots(figsize=(6.6, 4.2))[1]
            for place, i in enumerate(wider):
                outset = 0.1 * (place - len(wider) + 1)  # so that edges at one place stay apart
                corner, size, colour = (
                    corners[::-1][i] - outset,
                    self.sizes[i] + 2 * outset,
                    colours[place % len(colours)],
                )
                label = f"after {self.names[i]}: {self.sizes[i]} × {self.sizes[i]}"
                square = Rectangle((corner, corner), size, size, fill=False, ec=colour, lw=2.5, label=label)
                ax.add_patch(square)
            ax.add_patch(Rectangle((pixel, pixel), 1, 1, color=figures.INK, label="one pixel"))
            ax.set(xlim=(-0.5, side + 0.5), ylim=(side + 0.5, -0.5), aspect="equal")
            ax.set(xticks=range(side + 1), yticks=range(side + 1), xticklabels=[], yticklabels=[])
            ax.tick_params(length=0)
            ax.set(xlabel="columns of pixels", ylabel="rows of pixels")
            ax.set_title(f"One output cell sees {side} × {side} pixels")
            ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=9, labelspacing=0.9)
        return ax.figure


def receptive_field(layers: Iterable[nn.Module | tuple[int, ...]]) -> ReceptiveField:
    """Follow the layers from the input on and compute what one output cell sees.

    Args:
        layers: an `nn.Sequential` or any series of layers with square windows: `Conv2d`, `MaxPool2d`, `AvgPool2d`, or
            tuples (kernel, stride=1, padding=0, dilation=1). A series may stand inside another one. Activations,
            dropout and normalisation change nothing; what a normalisation's statistics carry from other places is
            not counted.

    Raises:
        ValueError: for an empty series, numbers out of range, or a window that is not square.
        TypeError: for a layer that has no window, such as `nn.Linear`, or one that is no plain series of layers, such
            as a residual block.

    Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill,
    2019, doi.org/10.23915/distill.00021.
    """
    size, jump, start = 1, 1, 0
    rows = []
    for layer in _in_a_row(layers):
        name, (kernel, stride, padding, dilation) = _geometry(layer)
        size += dilation * (kernel - 1) * jump
        start -= padding * jump
        jump *= stride
        rows.append((name, size, jump, start))
    if not rows:
        raise ValueError("There are no layers; give at least one, such as (3,) for a 3×3 kernel.")
    return ReceptiveField(*zip(*rows))


def _in_a_row(layers: Iterable[nn.Module | tuple[int, ...]]) -> Iterator[nn.Module | tuple[int, ...]]:
    """Yield the layers one after another, those of a series inside the series too."""
    if isinstance(layers, nn.Module) and not isinstance(layers, nn.Sequential | nn.ModuleList):
        layers = [layers]
    for layer in layers:
        if isinstance(layer, nn.Sequential | nn.ModuleList):
            yield from _in_a_row(layer)
        else:
            yield layer


def _geometry(layer: nn.Module | tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Return a layer's name and its (kernel, stride, padding, dilation)."""
    if isinstance(layer, tuple) and 1 <= len(layer) <= 4:
        values = (*layer, *(1, 1, 0, 1)[len(layer) :])
        name = f"a {values[0]} × {values[0]} window"
    elif isinstance(layer, WINDOWED):
        dilation = getattr(layer, "dilation", 1)
        values = (layer.kernel_size, layer.stride, _zeros_before(layer), dilation)
        name = type(layer).__name__
    elif isinstance(layer, nn.Identity) or _is_pointwise(layer):
        values, name = (1, 1, 0, 1), type(layer).__name__
    else:
        raise TypeError(
            f"{str(layer).splitlines()[0]} is no layer with a window; give convolutions, poolings or tuples "
            "(kernel, stride, padding, dilation), and stop before the first dense layer."
        )
    smallest = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1}
    pairs = [pair(value, what, least) for value, (what, least) in zip(values, smallest.items())]
    if any(down != across for down, across in pairs):
        raise ValueError(f"{name} has a window that is not square, {values}; give layers with square windows.")
    return name, tuple(down for down, _ in pairs)


def _is_pointwise(layer: object) -> bool:
    homes = (kind.__module__.rpartition(".") for kind in type(layer).__mro__)
    known = any(package == "torch.nn.modules" and name in POINTWISE for package, _, name in homes)
    return known and not isinstance(layer, NOT_POINTWISE)


def _zeros_before(layer: nn.Module) -> Size:
    """Return the padding above and to the left; "same" puts the smaller half of what it needs there."""
    if layer.padding == "valid":
        return 0
    if layer.padding == "same":
        return tuple(d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size))
    return layer.padding
