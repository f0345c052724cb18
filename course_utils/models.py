"""The lessons' networks, and two ways to look inside one: its shapes and its parameters.

Each network is what its lesson builds by hand; the lesson asserts that the two agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.training.predictions import evaluating


class PublishedNet(nn.Module):
    """The network of a widely read Fashion-MNIST tutorial: four convolutions, two poolings, three dense layers.

    Its published listing flattens to 32·5·5 = 800 numbers. On 28×28 pictures 32·2·2 = 128 arrive, so `flat`
    is 128 here; lesson 3 passes 800 to see the listing fail and finds the mend with `shape_trace`.

    Args:
        flat: how many numbers the first dense layer expects.
    """

    def __init__(self, flat: int = 32 * 2 * 2) -> None:
        super().__init__()
        self.features = nn.Sequential(  # (N, 1, 28, 28)
            nn.Conv2d(1, 16, 3), nn.ReLU(),  # (N, 16, 26, 26)
            nn.Conv2d(16, 16, 3), nn.ReLU(),  # (N, 16, 24, 24)
            nn.MaxPool2d(2),  # (N, 16, 12, 12)
            nn.Conv2d(16, 32, 5), nn.ReLU(),  # (N, 32, 8, 8)
            nn.Conv2d(32, 32, 5), nn.ReLU(),  # (N, 32, 4, 4)
            nn.MaxPool2d(2),  # (N, 32, 2, 2)
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(),  # (N, flat)
            nn.Linear(flat, 256), nn.ReLU(),
            nn.Linear(256, 128), nn.ReLU(),
            nn.Linear(128, 10),  # logits, (N, 10)
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) for float pictures (N, 1, 28, 28)."""
        return self.classifier(self.features(images))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Return one step of `FashionNet`: convolution, pooling, batch normalisation, ReLU.

    Pooling comes straight after the convolution, so that the two steps behind it touch a quarter of the numbers.
    ReLU would give the same picture before or after max pooling, because it never changes which number is largest.
    The convolution has no bias: batch normalisation subtracts the mean and adds a bias of its own.

    Args:
        inputs: channels in.
        outputs: channels out; the height and width are halved, rounded down.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class FashionNet(nn.Module):
    """Lesson 3's own network for 28×28 grey pictures: three blocks and one dense layer.

    Args:
        widths: channels after each of the three blocks.
        classes: how many logits come out.
    """

    def __init__(self, widths: tuple[int, int, int] = (16, 48, 96), classes: int = 10) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1 or classes < 2:
            raise ValueError(
                f"FashionNet needs three widths of 1 or more and classes ≥ 2, not widths={widths}, classes={classes}."
            )
        first, second, third = widths
        self.features = nn.Sequential(  # (N, 1, 28, 28)
            block(1, first),  # (N, first, 14, 14)
            block(first, second),  # (N, second, 7, 7)
            block(second, third),  # (N, third, 3, 3)
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(third * 3 * 3, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for float pictures (N, 1, 28, 28)."""
        return self.classifier(self.features(images))


def count_parameters(model: nn.Module, trainable_only: bool = False) -> int:
    """Return how many numbers `model` has to learn (with `trainable_only`, only those that are not frozen)."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


@dataclass(frozen=True)
class TraceRow:
    """One layer of a shape trace."""

    layer: str  # the path inside the network, such as "features.0"
    kind: str  # the class, such as "Conv2d"
    shape: tuple[int, ...]  # what comes out, the batch axis first
    parameters: int


@dataclass(frozen=True)
class ShapeTrace:
    """What `shape_trace` found: a row for each layer that ran, and the problem if one did not."""

    input_shape: tuple[int, ...]
    rows: tuple[TraceRow, ...]
    problem: str | None = None

    def __str__(self) -> str:
        """Return the trace as a table in plain text."""
        lines = [("layer", "kind", "output shape", "numbers per picture", "parameters")]
        lines.append(("input", "", _axes(self.input_shape), f"{math.prod(self.input_shape[1:]):,}", ""))
        for row in self.rows:
            per_picture = f"{math.prod(row.shape[1:]):,}"
            lines.append((row.layer, row.kind, _axes(row.shape), per_picture, f"{row.parameters:,}"))
        widths = [max(len(line[column]) for line in lines) for column in range(5)]
        text = "\n".join(
            "  ".join(
                cell.rjust(width) if column > 2 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths))
            ).rstrip()
            for line in lines
        )
        return text if self.problem is None else f"{text}\n✗ {self.problem}"


def _axes(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(n) for n in shape) + ")"


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
        with evaluating(model), torch.inference_mode():
            model(torch.zeros(input_shape, dtype=parameter.dtype, device=parameter.device))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        place = f"{running[-1]} fails" if running else "the network fails between its layers"
        problem = f"{place}: {error}"
    finally:
        for hook in hooks:
            hook.remove()
    return ShapeTrace(tuple(input_shape), tuple(rows), problem)
