"""A network's features in two dimensions: principal component analysis (Pearson 1901), by singular value decomposition.

t-SNE (van der Maaten and Hinton 2008) often draws tighter groups, but its distances mean little, it has no inverse, and
new points cannot be put into an old picture. Principal components are a turned coordinate system and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_utils import figures
from course_utils.base.words import percent
from course_utils.diagnosis.maps import layer_answers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Six colours and three marks tell eighteen classes apart, for colour-blind readers too.
COLOURS = (figures.BLUE, figures.ORANGE, figures.GREEN, figures.RED, figures.PURPLE, figures.SKY)
MARKS = ("o", "^", "s")


@dataclass(frozen=True)
class PCA:
    """Points along the directions in which they differ most.

    mean: the centre of all points, float32 (D,).
    axes: the directions, float32 (dimensions, D), each of length 1, the most important first.
    points: the coordinates along them, float32 (N, dimensions).
    share: of all variance along each of them, float32 (dimensions,), from 0 to 1.
    """

    mean: Tensor
    axes: Tensor
    points: Tensor
    share: Tensor

    def place(self, features: Tensor) -> Tensor:
        """Return where other points (M, D) lie in the same picture: (M, dimensions)."""
        return (features - self.mean) @ self.axes.T

    def plot(self, labels: Tensor, classes: Sequence[str], ax: Axes | None = None) -> Figure:
        """Draw each point by its class, int64 (N,), along the first two directions; into `ax`, or a figure of its own.

        Raises:
            ValueError: when the number of labels is not that of the points, one has no class, or there is only one
                direction.
        """
        import matplotlib.pyplot as plt

        labels = torch.as_tensor(labels)
        if len(labels) != len(self.points) or self.points.shape[1] < 2:
            raise ValueError(
                f"Two directions and one label a point are drawn, not {self.points.shape[1]} and {len(labels)} labels "
                f"for {len(self.points)} points; project the same pictures to two dimensions."
            )
        if not 0 <= labels.min() <= labels.max() < len(classes):
            low, high = (int(end) for end in labels.aminmax())
            raise ValueError(f"Labels go from {low} to {high}, but there are {len(classes)} classes; name each.")
        with figures.style():
            if ax is None:
                _, ax = plt.subplots(figsize=(7.6, 4.6))
            centres = []
            for i, name in enumerate(classes):
                x, y = self.points[labels == i, :2].T.numpy()
                colour, mark = COLOURS[i % len(COLOURS)], MARKS[i // len(COLOURS) % len(MARKS)]
                ax.scatter(x, y, s=12, color=colour, marker=mark, alpha=0.6, linewidths=0, label=name)
                if len(x):
                    centres.append((y.mean(), x.mean(), name, colour))
            self._name(ax, sorted(centres))
            both = self.share[:2].sum().item()
            ax.set(
                xlabel=f"first direction ({percent(self.share[0], 0)} of the variance)",
                ylabel=f"second direction ({percent(self.share[1], 0)})",
                title=f"Two of {self.axes.shape[1]} directions hold {percent(both, 0)} of what differs",
            )
            ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.8)
        return ax.figure

    def _name(self, ax: Axes, centres: list[tuple[float, float, str, str]]) -> None:
        """Write names at the centres (y, x, name, colour) from low to high, each above those it would cover."""
        width, height = self.points[:, 0].aminmax(), self.points[:, 1].aminmax()
        wide, high = 0.02 * (width.max - width.min).item(), 0.05 * (height.max - height.min).item()
        placed: list[tuple[float, float, int]] = []
        for y, x, name, colour in centres:
            for lower, beside, letters in sorted(placed):
                if abs(x - beside) < wide * (len(name) + letters) / 2 and abs(y - lower) < high:
                    y = lower + high
            placed.append((y, x, len(name)))
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
            ax.text(x, y, name, fontsize=8, ha="center", va="center", bbox=box)


def pca(features: Tensor, dimensions: int = 2) -> PCA:
    """Return `features` along the directions in which they vary most.

    Args:
        features: float (N, D), one row a picture, N of 2 or more.
        dimensions: how many directions, from 1 to the smaller of N and D.

    Raises:
        ValueError: for another shape, a number that is not finite, or too many dimensions.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"Features are (N, D) with N of 2 or more, not {tuple(features.shape)}; flatten each picture.")
    most = min(features.shape)
    if not 1 <= dimensions <= most:
        raise ValueError(
            f"Features {tuple(features.shape)} have 1 to {most} directions, not {dimensions}; ask for fewer."
        )
    if not features.isfinite().all():
        raise ValueError("A feature is not a finite number; look for NaN in the network's weights or in the pictures.")
    features = features.detach().float().cpu()
    mean = features.mean(dim=0)
    _, strengths, directions = torch.linalg.svd(features - mean, full_matrices=False)  # rows of the last: directions
    axes = directions[:dimensions]
    # A direction and its opposite are as good: take the one whose largest number is positive, so runs look alike.
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))  # (dimensions, 1)
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    variance = strengths.square()
    share = variance[:dimensions] / variance.sum().clamp(min=torch.finfo(variance.dtype).tiny)
    return PCA(mean, axes, (features - mean) @ axes.T, share)


def layer_outputs(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], layer: str) -> tuple[Tensor, Tensor]:
    """Return what `layer` answers to all pictures of `batches`, flattened, and their labels, in evaluation mode.

    Args:
        model: its mode is put back.
        batches: yields pairs of pictures (B, C, H, W) and labels (B,).
        layer: a name as `model.named_modules()` has it.

    Returns:
        Features float32 (N, D) and labels int64 (N,), both on the CPU.

    Raises:
        ValueError: for an unknown layer, one that takes no part, or no batches.
    """
    found: list[Tensor] = []
    labels: list[Tensor] = []
    for images, targets in batches:
        found.append(layer_answers(model, images, [layer])[layer].flatten(1).float().cpu())
        labels.append(targets.cpu())
    if not labels:
        raise ValueError("There are no batches to look at; give at least one picture.")
    # `inference_mode` marks its tensors; copies made outside can be used in any computation.
    return torch.cat(found).clone(), torch.cat(labels)
