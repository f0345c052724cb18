"""How often a network is right: top-k, class by class, class against class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from course_utils import figures
from course_utils.base.words import percent
from course_utils.training.evaluate import Predictions
from course_utils.training.guards import require_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def require_names(predictions: Predictions, classes: Sequence[str]) -> None:
    """Raise `ValueError` unless there is a name for each logit."""
    size = predictions.logits.shape[1]
    if len(classes) != size:
        raise ValueError(f"There are {len(classes)} class names for {size} logits; give one name for each logit.")


def top_k(predictions: Predictions, k: int = 5) -> float:
    """Return the share of pictures (0 to 1) whose true class is among the `k` largest logits.

    Of equal logits the first counts, as in a guess.

    Raises:
        ValueError: when `k` is below 1 or above the number of classes.
    """
    classes = predictions.logits.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(f"k must be between 1 and the number of classes, {classes}, not {k}.")
    best = predictions.logits.sort(dim=1, descending=True, stable=True).indices[:, :k]  # (N, k)
    return (best == predictions.labels[:, None]).any(dim=1).double().mean().item()


@dataclass(frozen=True)
class PerClass:
    """How often a network is right in each class.

    classes: their names.
    accuracy: float64 (classes,) from 0 to 1, NaN for a class without pictures.
    counts: pictures of each class, int64 (classes,).
    """

    classes: tuple[str, ...]
    accuracy: Tensor
    counts: Tensor

    @property
    def standard_error(self) -> Tensor:
        """Of each accuracy, √(p(1 − p)/n), float64 (classes,)."""
        return (self.accuracy * (1 - self.accuracy) / self.counts).sqrt()

    @property
    def worst(self) -> str:
        """The class with the lowest accuracy; "Coat and Shirt" where two share it, "3 classes" where more do."""
        accuracy = self.accuracy.nan_to_num(2.0)  # a class without pictures is not the worst
        lowest = [name for name, share in zip(self.classes, accuracy) if share == accuracy.min()]
        return " and ".join(lowest) if len(lowest) < 3 else f"{len(lowest)} classes"

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw one bar a class, the best on top; into `ax`, or into a figure of its own."""
        import matplotlib.pyplot as plt

        order = self.accuracy.nan_to_num(0.0).argsort()
        digits = int(self.counts.min() >= 500)  # fewer pictures do not tell tenths of a point apart
        with figures.style():
            if ax is None:
                _, ax = plt.subplots(figsize=(7, 0.32 * len(self.classes) + 0.9))
            shares, errors = (
                100 * self.accuracy[order].numpy(),
                200 * self.standard_error[order].nan_to_num(0.0).numpy(),
            )
            ax.barh([self.classes[i] for i in order], np.nan_to_num(shares), color=figures.BLUE)
            ax.errorbar(
                np.nan_to_num(shares), range(len(order)), xerr=errors, fmt="none", ecolor=figures.INK, capsize=3
            )
            for row, share in enumerate(self.accuracy[order].tolist()):
                text = "no pictures" if math.isnan(share) else percent(share, digits).removesuffix(" %")
                ax.text(2, row, text, va="center", color="white" if share > 0.15 else figures.INK)
            lowest = self.accuracy.nan_to_num(2.0).min()
            title = f"Lowest: {self.worst}, {percent(lowest, digits)} right"
            ax.set(xlim=(0, 108), xlabel="accuracy in %, with two standard errors on either side", title=title)
            ax.grid(axis="y", visible=False)
        return ax.figure


def per_class(predictions: Predictions, classes: Sequence[str]) -> PerClass:
    """Return the accuracy of each class, in the order of `classes`.

    Raises:
        ValueError: when the number of names is not the number of logits.
    """
    matrix = confusion_matrix(predictions, classes).matrix
    counts = matrix.sum(dim=1)
    return PerClass(tuple(classes), matrix.diagonal().double() / counts, counts)


@dataclass(frozen=True)
class ConfusionMatrix:
    """How often each class was taken for each other one.

    classes: their names.
    matrix: how often class i (row, the truth) was taken for class j (column, the guess), int64 (classes, classes).
    """

    classes: tuple[str, ...]
    matrix: Tensor

    def worst_pairs(self, n: int = 5) -> list[tuple[str, str, int]]:
        """Return the `n` most frequent mistakes as (truth, guess, how often), the most frequent first, else by name."""
        wrong = self.matrix.clone().fill_diagonal_(0)
        found = [(self.classes[a], self.classes[b], wrong[a, b].item()) for a, b in wrong.nonzero().tolist()]
        return sorted(found, key=lambda pair: (-pair[2], pair[:2]))[:n]

    def ordered(self) -> ConfusionMatrix:
        """Return the same with classes that are mixed up beside each other.

        From the most frequently mixed-up pair on, rows of classes are joined end to end.
        """
        mixed = self.matrix + self.matrix.T
        size = len(self.classes)
        pairs = torch.triu_indices(size, size, offset=1).T.tolist()
        chains = {place: [place] for place in range(size)}  # the chain of each class; those of a chain share the list
        for a, b in sorted(pairs, key=lambda pair: -mixed[pair[0], pair[1]].item()):
            left, right = chains[a], chains[b]
            if left is right or a not in (left[0], left[-1]) or b not in (right[0], right[-1]):
                continue
            joined = (left if left[-1] == a else left[::-1]) + (right if right[0] == b else right[::-1])
            chains |= dict.fromkeys(joined, joined)
        order = torch.tensor(chains[0] if chains[0][0] < chains[0][-1] else chains[0][::-1])
        return ConfusionMatrix(tuple(self.classes[place] for place in order), self.matrix[order][:, order])

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the matrix, each row in % of its class, with the most frequent mistake in the title.

        Mistakes have their own scale of colours, from white to dark red; what is right is grey. The scale is of roots,
        so that rare mistakes show beside frequent ones. Into `ax`, or into a figure of its own.
        """
        import matplotlib.pyplot as plt
        from matplotlib.colors import LinearSegmentedColormap, PowerNorm

        share = 100 * self.matrix.double() / self.matrix.sum(dim=1, keepdim=True).clamp(min=1)
        right = torch.eye(len(self.classes), dtype=torch.bool)
        wrong = share.masked_fill(right, 0)
        size = len(self.classes)
        with figures.style():
            if ax is None:
                _, ax = plt.subplots(figsize=(0.55 * size + 2.2, 0.5 * size + 1.6))
            reds = LinearSegmentedColormap.from_list("mistakes", [(0, "white"), (0.65, figures.RED), (1, "#8B2500")])
            scale = PowerNorm(0.5, 0, max(wrong.max().item(), 1))
            image = ax.imshow(wrong.numpy(), cmap=reds, norm=scale)
            for row in range(size):
                for column in range(size):
                    value = share[row, column].item()
                    if row == column:
                        ax.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, color=figures.PALE))
                    if round(value) >= 1:
                        dark = row != column and scale(value) > 0.6
                        ink = "white" if dark else figures.INK
                        ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=8)
            ax.set_xticks(range(size), self.classes, rotation=45, ha="right")
            ax.set_yticks(range(size), self.classes)
            ax.set(xlabel="the network's guess", ylabel="the truth", title=self._finding())
            ax.grid(visible=False)
            ax.figure.colorbar(image, ax=ax, label="mistakes, % of the true class", shrink=0.8)
        return ax.figure

    def _finding(self) -> str:
        pairs = self.worst_pairs(1)
        if not pairs:
            return "No mistakes"
        truth, guess, count = pairs[0]
        return f"Most frequent mistake: {truth} taken for {guess} ({count} times)"


def confusion_matrix(predictions: Predictions, classes: Sequence[str]) -> ConfusionMatrix:
    """Count how often each class was taken for each other class.

    Raises:
        ValueError: when the number of names is not the number of logits.
    """
    require_names(predictions, classes)
    size = len(classes)
    require_labels(predictions.labels, size)
    pairs = predictions.labels * size + predictions.guesses  # each pair (truth, guess) as one number
    return ConfusionMatrix(tuple(classes), torch.bincount(pairs, minlength=size * size).reshape(size, size))
