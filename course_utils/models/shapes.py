"""Two ways to look inside a network: its shapes, and how many parameters it has."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_utils import figures
from course_utils.base.modules import evaluating, without_gradients
from course_utils.errors import WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTER = 0.17  # of a drawing's labels, in its units: a pooled map of 1 × 1 is half a unit
# Left out of a drawing, so that convolutions, poolings and dense layers stay in sight.
UNDRAWN = ("ReLU", "Flatten", "Dropout", "BatchNorm2d", "Identity")


def count_parameters(model: nn.Module, trainable_only: bool = False) -> int:
    """Return how many numbers `model` has to learn (with `trainable_only`, only those that are not frozen)."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


@dataclass(frozen=True)
class TraceRow:
    """One layer of a shape trace.

    layer: the path inside the network, such as "features.0".
    kind: the class, such as "Conv2d".
    shape: what comes out, the batch axis first.
    parameters: how many it has.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class ShapeTrace:
    """What `shape_trace` found.

    input_shape: of the batch.
    rows: one for each layer that ran.
    problem: in words, if one did not; else None.
    """

    input_shape: tuple[int, ...]
    rows: tuple[TraceRow, ...]
    problem: str | None = None

    def __str__(self) -> str:
        """Return the trace as a table in plain text."""
        lines = [("layer", "kind", "output shape", "numbers", "parameters")]
        lines.append(("input", "", str(self.input_shape), f"{math.prod(self.input_shape[1:]):,}", ""))
        for row in self.rows:
            per_picture = f"{math.prod(row.shape[1:]):,}"
            lines.append((row.layer, row.kind, str(row.shape), per_picture, f"{row.parameters:,}"))
        widths = [max(len(line[column]) for line in lines) for column in range(5)]
        text = "\n".join(
            "  ".join(
                cell.rjust(width) if column > 2 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths))
            ).rstrip()
            for line in lines
        )
        return text if self.problem is None else f"{text}\n{textwrap.fill(f'✗ {self.problem}', WIDTH)}"

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the network from left to right: a stack of maps behind each layer, or a column of numbers.

        Height and depth grow with the number of rows and of channels, less than in proportion, so that small maps and
        long columns stay in sight. ReLU, dropout, batch norm and flattening are left out.

        Args:
            ax: draw into these axes; None makes a figure.
        """
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        steps = [("picture", self.input_shape)]
        steps += [(row.kind, row.shape) for row in self.rows if row.kind not in UNDRAWN]
        with figures.style():
            if ax is None:
                ax = Figure(figsize=(min(9.5, 0.92 * len(steps) + 0.6), 2.2)).subplots()
            x, label_end = 0.0, -math.inf
            for kind, shape in steps:
                is_maps = len(shape) == 4
                tall = 0.5 * math.sqrt(shape[2]) if is_maps else 0.16 * math.sqrt(shape[1])
                wide = tall if is_maps else 0.22
                layers = min(8, 1 + round(math.log2(shape[1]))) if is_maps else 1
                stack = wide + 0.09 * (layers - 1)
                size = " × ".join(map(str, shape[1:]))
                half_label = LETTER * max(len(size), len(_drawn_as(kind))) / 2
                x = max(x, label_end + 0.25 + half_label - stack / 2)  # labels keep apart
                for layer in reversed(range(layers)):
                    corner = (x + 0.09 * layer, -tall / 2 + 0.09 * layer)
                    colour = figures.PALE if kind == "picture" else figures.BLUE if is_maps else figures.ORANGE
                    ax.add_patch(Rectangle(corner, wide, tall, facecolor=colour, edgecolor="white", linewidth=0.8))
                middle = x + stack / 2
                ax.text(middle, -1.75, f"{_drawn_as(kind)}\n{size}", ha="center", va="top", fontsize=9)
                label_end = middle + half_label
                x += stack + 0.45
            ax.set(xlim=(-0.3, max(x - 0.2, label_end)), ylim=(-2.5, 1.8), aspect="equal")
            ax.set_title("What comes out of each layer: channels × rows × columns, or numbers")
            ax.axis("off")
        return ax.figure


def _drawn_as(kind: str) -> str:
    return {"Conv2d": "convolution", "MaxPool2d": "pooling", "Linear": "dense"}.get(kind, kind)


def shape_trace(model: nn.Module, input_shape: tuple[int, ...]) -> ShapeTrace:
    """Send zeros through `model` and note the shape behind each layer, up to the first layer that fails.

    Args:
        model: any network; its mode, weights and buffers are left as they were.
        input_shape: shape of one batch, such as (1, 1, 28, 28).

    Returns:
        A `ShapeTrace`; print it. `.problem` names the layer that failed and why, or is None.
    """
    rows: list[TraceRow] = []
    running: list[str] = []  # layers entered and not left: the last one is where an error happened

    def enter(name: str):  # noqa: ANN202 - a hook for PyTorch
        return lambda module, inputs: running.append(f"{name} ({type(module).__name__})")

    def leave(name: str):  # noqa: ANN202
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            running.pop()
            if not isinstance(output, Tensor):
                return  # some layers, such as recurrent ones, answer with several tensors: no one shape to note
            own = sum(p.numel() for p in module.parameters())
            rows.append(TraceRow(name, type(module).__name__, tuple(output.shape), own))

        return note

    parameter = next(model.parameters(), torch.zeros(()))
    hooks = []
    for name, module in model.named_modules():
        if name and not any(module.children()):
            hooks += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave(name))]
    problem = None
    try:
        with evaluating(model), without_gradients(model):
            model(torch.zeros(input_shape, dtype=parameter.dtype, device=parameter.device))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        place = f"{running[-1]} fails" if running else "the network fails between its layers"
        problem = f"{place}: {error}"
    finally:
        for hook in hooks:
            hook.remove()
    return ShapeTrace(tuple(map(int, input_shape)), tuple(rows), problem)
