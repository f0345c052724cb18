"""The pictures that a network got wrong, the most confident mistakes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from course_utils.base.words import sure
from course_utils.diagnosis.scores import require_names
from course_utils.training.evaluate import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Mistakes:
    """Wrongly classified pictures, the most confident first.

    classes: the names of all classes.
    index: places in the set, int64 (n,).
    images: uint8 (n, C, H, W).
    truth, guess: int64 (n,).
    confidence: the probability the network gave its wrong guess, float32 (n,).
    """

    classes: tuple[str, ...]
    index: Tensor
    images: Tensor
    truth: Tensor
    guess: Tensor
    confidence: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def captions(self) -> list[str]:
        """Return three lines for each picture: the truth, the guess, and how sure the network was of it."""
        return [
            f"{self.classes[t]}\n→ {self.classes[g]}\n{sure(c)} sure"
            for t, g, c in zip(self.truth.tolist(), self.guess.tolist(), self.confidence.tolist())
        ]

    def plot(self, columns: int = 6) -> Figure:
        """Draw the pictures, each with its truth, the guess, and how sure the network was."""
        from course_utils import pictures

        if not len(self):
            raise ValueError("There is no mistake to draw; choose another pair of classes.")
        columns = min(columns, len(self))
        title = "The truth → the network's guess, and how sure it was" if columns >= 4 else None
        return pictures.grid(self.images, self.captions(), columns, title=title)


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
    require_names(predictions, classes)
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
    confidence = predictions.probabilities.max(dim=1).values
    index = wanted.nonzero().flatten()
    index = index[confidence[index].argsort(descending=True, stable=True)][:n]
    return Mistakes(tuple(classes), index, images[index], labels[index], guesses[index], confidence[index])
