"""What a trained network gets right and wrong: per class, class against class, picture by picture, layer by layer.

Each function computes and returns a result; the result's `plot()` draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from course_utils import figures
from course_utils.training.predictions import Predictions, device_of, evaluating, require_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def top_k(predictions: Predictions, k: int = 5) -> float:
    """Return the share of pictures (0 to 1) whose true class is among the `k` largest logits."""
    classes = predictions.logits.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(f"k must be between 1 and the number of classes, {classes}, not {k}.")
    best = predictions.logits.topk(k, dim=1).indices  # (N, k)
    return (best == predictions.labels[:, None]).any(dim=1).double().mean().item()


@dataclass(frozen=True)
class PerClass:
    """The accuracy of each class, float64 (classes,) from 0 to 1, NaN for a class without pictures."""

    classes: tuple[str, ...]
    accuracy: Tensor
    counts: Tensor  # pictures of each class, int64 (classes,)

    @property
    def worst(self) -> str:
        """The class with the lowest accuracy."""
        return self.classes[int(self.accuracy.nan_to_num(2.0).argmin())]

    def plot(self) -> Figure:
        """Draw one bar a class, the best on top."""
        import matplotlib.pyplot as plt

        order = self.accuracy.nan_to_num(0.0).argsort()
        with figures.style():
            figure, axes = plt.subplots(figsize=(7, 0.32 * len(self.classes) + 0.9))
            shares = 100 * self.accuracy[order].numpy()
            bars = axes.barh([self.classes[i] for i in order], np.nan_to_num(shares), color=figures.BLUE)
            axes.bar_label(bars, labels=[f"{share:.1f}" for share in shares], padding=3)
            lowest = self.accuracy[self.classes.index(self.worst)]
            title = f"{self.worst} is the hardest class: {lowest:.1%} right"
            axes.set(xlim=(0, 108), xlabel="accuracy in %", title=title)
            axes.grid(axis="y", visible=False)
        return figure


def per_class(predictions: Predictions, classes: Sequence[str]) -> PerClass:
    """Return the accuracy of each class, in the order of `classes`.

    Raises:
        ValueError: when the number of names is not the number of logits.
    """
    matrix = confusion(predictions, classes).matrix
    counts = matrix.sum(dim=1)
    return PerClass(tuple(classes), matrix.diagonal().double() / counts, counts)


@dataclass(frozen=True)
class Confusion:
    """How often class i (row, the truth) was taken for class j (column, the guess): int64 (classes, classes)."""

    classes: tuple[str, ...]
    matrix: Tensor

    def worst_pairs(self, n: int = 5) -> list[tuple[str, str, int]]:
        """Return the `n` most frequent mistakes as (truth, guess, how often), the most frequent first."""
        wrong = self.matrix.clone().fill_diagonal_(0)
        values, places = wrong.flatten().sort(descending=True, stable=True)
        size = len(self.classes)
        return [
            (self.classes[place // size], self.classes[place % size], value)
            for value, place in zip(values[:n].tolist(), places[:n].tolist())
            if value
        ]

    def plot(self) -> Figure:
        """Draw the matrix, each row in % of its class, with the most frequent mistake in the title."""
        import matplotlib.pyplot as plt

        share = 100 * self.matrix.double() / self.matrix.sum(dim=1, keepdim=True).clamp(min=1)
        size = len(self.classes)
        with figures.style():
            figure, axes = plt.subplots(figsize=(0.55 * size + 2.2, 0.5 * size + 1.6))
            image = axes.imshow(share.numpy(), cmap=figures.SEQUENTIAL, vmin=0, vmax=100)
            for row in range(size):
                for column in range(size):
                    value = share[row, column].item()
                    if round(value) >= 1:
                        ink = "white" if value < 60 else "black"
                        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=8)
            axes.set_xticks(range(size), self.classes, rotation=45, ha="right")
            axes.set_yticks(range(size), self.classes)
            axes.set(xlabel="the network's guess", ylabel="the truth", title=self._finding())
            axes.grid(visible=False)
            figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
        return figure

    def _finding(self) -> str:
        pairs = self.worst_pairs(1)
        if not pairs:
            return "No mistakes"
        truth, guess, count = pairs[0]
        return f"Most frequent mistake: {truth} taken for {guess} ({count} times)"


def confusion(predictions: Predictions, classes: Sequence[str]) -> Confusion:
    """Count how often each class was taken for each other class.

    Raises:
        ValueError: when the number of names is not the number of logits.
    """
    size = predictions.logits.shape[1]
    if len(classes) != size:
        raise ValueError(f"There are {len(classes)} class names for {size} logits; give one name for each logit.")
    require_labels(predictions.labels, size)
    pairs = predictions.labels * size + predictions.guesses  # each pair (truth, guess) as one number
    return Confusion(tuple(classes), torch.bincount(pairs, minlength=size * size).reshape(size, size))


@dataclass(frozen=True)
class Mistakes:
    """Wrongly classified pictures, the most confident first."""

    classes: tuple[str, ...]
    index: Tensor  # places in the set, int64 (n,)
    images: Tensor  # uint8 (n, C, H, W)
    truth: Tensor  # int64 (n,)
    guess: Tensor  # int64 (n,)
    confidence: Tensor  # the probability the network gave its wrong guess, float32 (n,)

    def __len__(self) -> int:
        return len(self.index)

    def captions(self) -> list[str]:
        """Return three lines for each picture: the truth, the guess, and how sure the network was of it."""
        return [
            f"{self.classes[t]}\n→ {self.classes[g]}\n{c:.0%} sure"
            for t, g, c in zip(self.truth.tolist(), self.guess.tolist(), self.confidence.tolist())
        ]

    def plot(self, columns: int = 6) -> Figure:
        """Draw the pictures, each with its truth, the guess, and how sure the network was."""
        from course_utils import pictures

        if not len(self):
            raise ValueError("There is no mistake to draw; choose another pair of classes.")
        return pictures.grid(self.images, titles=self.captions(), columns=min(columns, len(self)))


def mistakes(
    predictions: Predictions,
    images: Tensor,
    classes: Sequence[str],
    *,
    truth: str | None = None,
    guess: str | None = None,
    n: int = 12,
) -> Mistakes:
    """Return the `n` wrong guesses the network was most sure of.

    Args:
        predictions: for `images`, in the same order.
        images: the pictures, uint8 (N, C, H, W).
        classes: names, one for each logit.
        truth: only pictures of this class.
        guess: only pictures taken for this class.
        n: how many at most.

    Raises:
        ValueError: when the lengths differ, or a class name is unknown.
    """
    if len(images) != len(predictions.labels):
        raise ValueError(
            f"There are {len(images)} pictures for {len(predictions.labels)} predictions; give the same set."
        )
    for name in (truth, guess):
        if name is not None and name not in classes:
            raise ValueError(f"There is no class {name!r}; the classes are {', '.join(classes)}.")
    guesses, labels = predictions.guesses, predictions.labels
    wanted = guesses != labels
    if truth is not None:
        wanted &= labels == list(classes).index(truth)
    if guess is not None:
        wanted &= guesses == list(classes).index(guess)
    sure = predictions.probabilities.max(dim=1).values
    index = wanted.nonzero().flatten()
    index = index[sure[index].argsort(descending=True, stable=True)][:n]
    return Mistakes(tuple(classes), index, images[index], labels[index], guesses[index], sure[index])


@dataclass(frozen=True)
class FeatureMaps:
    """What one layer answers to one picture: float32 (channels, H, W)."""

    layer: str
    maps: Tensor

    def plot(self, columns: int = 8, most: int = 32) -> Figure:
        """Draw the first `most` channels, bright where the answer is strong; all share one scale.

        The brightest half per cent is cut off, so that one strong answer does not darken all others.
        """
        import matplotlib.pyplot as plt

        shown = self.maps[:most]
        columns = min(columns, len(shown))
        rows = -(-len(shown) // columns)
        with figures.style():
            figure, grid = plt.subplots(rows, columns, figsize=(columns, rows + 0.4), squeeze=False)
            high = max(shown.flatten().quantile(0.995).item(), 1e-12)
            for axes in grid.flat:
                axes.axis("off")
            for axes, channel in zip(grid.flat, shown):
                axes.imshow(channel.numpy(), cmap=figures.SEQUENTIAL, vmin=min(0.0, shown.min().item()), vmax=high)
            size = " × ".join(str(n) for n in self.maps.shape[1:])
            title = f"{self.layer}: {len(shown)} of {len(self.maps)} channels, each {size}"
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        return figure


def feature_maps(model: nn.Module, picture: Tensor, layers: Sequence[str]) -> list[FeatureMaps]:
    """Return what each of `layers` answers to `picture`, in evaluation mode.

    Args:
        model: any network; its mode is put back.
        picture: one normalised picture, float32 (1, C, H, W).
        layers: names of layers as `model.named_modules()` has them, such as "features.0"; each must give (1, C, H, W).

    Raises:
        ValueError: for an unknown layer, or one whose answer is not a stack of maps.
    """
    if picture.ndim != 4 or len(picture) != 1:
        raise ValueError(f"One picture of shape (1, C, H, W) is needed, not {tuple(picture.shape)}; add picture[None].")
    modules = dict(model.named_modules())
    unknown = [name for name in layers if name not in modules]
    if unknown:
        raise ValueError(
            f"There is no layer {unknown[0]!r}; the layers are {', '.join(name for name in modules if name)}."
        )
    answers: dict[str, Tensor] = {}
    # Cloned, because an in-place ReLU behind the layer would change the answer afterwards.
    hooks = [
        modules[name].register_forward_hook(lambda _, __, output, name=name: answers.update({name: output.clone()}))
        for name in layers
    ]
    try:
        with evaluating(model), torch.inference_mode():
            model(picture.to(device_of(model)))
    finally:
        for hook in hooks:
            hook.remove()
    for name in layers:
        if name not in answers:
            raise ValueError(f"{name} took no part in the answer to this picture; choose a layer that does.")
        answer = answers[name]
        if answer.ndim != 4:
            raise ValueError(f"{name} gives {tuple(answer.shape)}, which is no stack of maps; choose a convolution.")
    return [FeatureMaps(name, answers[name][0].float().cpu()) for name in layers]
