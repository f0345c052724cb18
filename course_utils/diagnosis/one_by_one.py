"""Pictures looked at one by one, each beside its likeliest classes: the surest right, the surest wrong, the unsure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from course_utils import figures
from course_utils.base.words import percent, short, sure
from course_utils.diagnosis.scores import require_names
from course_utils.training.evaluate import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("right", "wrong", "least sure")


@dataclass(frozen=True)
class OneByOne:
    """Some pictures of a set with the classes that a network finds likeliest.

    classes: the names of all classes.
    kinds: of each picture, one of KINDS.
    index: places in the set, int64 (n,).
    truth: int64 (n,).
    guesses: the `k` likeliest classes, the likeliest first, int64 (n, k).
    shares: their probabilities, float32 (n, k).
    """

    classes: tuple[str, ...]
    kinds: tuple[str, ...]
    index: Tensor
    truth: Tensor
    guesses: Tensor
    shares: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def describe(self) -> str:
        """Return a line for each picture: the kind, the truth, and the guesses with their probabilities in percent."""
        return "\n".join(
            f"{kind:<10}  {self.classes[truth]}: "
            + ", ".join(f"{self.classes[guess]} {percent(share, 0)}" for guess, share in zip(guesses[:3], shares))
            for kind, truth, guesses, shares in zip(
                self.kinds, self.truth.tolist(), self.guesses.tolist(), self.shares.tolist()
            )
        )

    def plot(self, images: Sequence[Tensor], title: str = "") -> Figure:
        """Draw each picture beside bars of its likeliest classes, a row a kind: the truth blue, a wrong guess orange.

        Args:
            images: of the pictures in `index`, in that order, each uint8 (C, H, W), or float in [0, 1].
            title: the finding, above the figure.

        Raises:
            TypeError, ValueError: as `pictures.to_picture`, and when there are fewer or more images than pictures.
        """
        import matplotlib.pyplot as plt

        from course_utils import pictures

        if len(images) != len(self):
            raise ValueError(f"There are {len(images)} images for {len(self)} pictures; give one for each.")
        rows = [kind for kind in KINDS if kind in self.kinds]
        columns = max(self.kinds.count(kind) for kind in rows)
        with figures.style():
            figure, axes = plt.subplots(
                len(rows), 2 * columns, figsize=(3.2 * columns, 1.75 * len(rows) + 0.3), squeeze=False,
                width_ratios=(1, 0.8) * columns,
            )  # fmt: skip
            for ax in axes.flat:
                ax.axis("off")
            for i, kind in enumerate(self.kinds):
                place = 2 * self.kinds[:i].count(kind)
                picture, bars = axes[rows.index(kind), place : place + 2]
                picture.imshow(pictures.to_picture(images[i]), cmap="gray", vmin=0, vmax=255)
                name = self.classes[int(self.truth[i])]
                picture.set_title(f"{kind}, truth: {short(name, 14)}", fontsize=9, loc="left")
                self._bars(bars, i)
            if title:
                figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        return figure

    def _bars(self, ax: Axes, i: int) -> None:
        ax.axis("on")
        truth, places = int(self.truth[i]), range(self.guesses.shape[1])
        names, shares = self.guesses[i].tolist(), self.shares[i].tolist()
        colours = [figures.SKY if name == truth else figures.PALE for name in names]
        if names[0] != truth:
            colours[0] = figures.ORANGE
        ax.barh(places, shares, color=colours, height=0.8)
        for place, name, share in zip(places, names, shares):
            text = f"{short(self.classes[name], 15)} {sure(share).removesuffix(' %')}"
            ax.text(0.02, place, text, va="center", fontsize=7.5)
        ax.set(xlim=(0, 1), ylim=(len(places) - 0.4, -0.6), xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)


def one_by_one(predictions: Predictions, classes: Sequence[str], *, n: int = 3, k: int = 5) -> OneByOne:
    """Return the `n` pictures that a network is surest of and right, surest of and wrong, and least sure of.

    Sure is how far the likeliest class is ahead of the next one. No picture is shown twice.

    Args:
        predictions: of all pictures.
        classes: names, one for each logit, at least two.
        n: how many of each kind, where there are as many.
        k: how many of the likeliest classes; all where there are fewer.

    Raises:
        ValueError: when there are other than as many names as logits, or `n` or `k` is not positive.
    """
    require_names(predictions, classes)
    if n < 1 or k < 1 or len(classes) < 2:
        raise ValueError(f"n and k must be at least 1, of at least 2 classes, not {n} and {k} of {len(classes)}.")
    shares, guesses = predictions.probabilities.sort(dim=1, descending=True, stable=True)  # (N, classes)
    lead = shares[:, 0] - shares[:, 1]
    right = guesses[:, 0] == predictions.labels
    surest = lead.argsort(descending=True, stable=True)
    chosen = [("right", i) for i in _first(surest, right, n)] + [("wrong", i) for i in _first(surest, ~right, n)]
    taken = torch.zeros_like(right)
    taken[[i for _, i in chosen]] = True
    chosen += [("least sure", i) for i in _first(surest.flip(0), ~taken, n)]
    index = torch.tensor([i for _, i in chosen])
    kinds, most = tuple(kind for kind, _ in chosen), min(k, len(classes))
    truth = predictions.labels[index]
    return OneByOne(tuple(classes), kinds, index, truth, guesses[index, :most], shares[index, :most])


def _first(order: Tensor, wanted: Tensor, n: int) -> list[int]:
    """Return the first `n` numbers of `order` that are wanted."""
    return order[wanted[order]][:n].tolist()
