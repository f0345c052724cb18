"""A network's answers over many pictures, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.base.modules import device_of, evaluating, without_gradients
from course_utils.base.words import percent
from course_utils.errors import DivergedError, TrainingError
from course_utils.training import guards
from course_utils.training.guards import Loss, Pairs


@dataclass(frozen=True)
class Metrics:
    """What `evaluate` measured over all samples: mean loss, accuracy from 0 to 1, and how many samples."""

    loss: float
    accuracy: float
    count: int

    def __str__(self) -> str:
        return f"loss {self.loss:.3f}, accuracy {percent(self.accuracy, 2)} of {self.count:,} pictures"


@dataclass(frozen=True)
class Predictions:
    """A network's answers: logits, float32 (N, classes), and the true labels, int64 (N,), both on the CPU.

    Raises:
        ValueError, TypeError: when there is not one row of logits for each label.
        TrainingError: when a logit is not a number, of which no guess can be made.
    """

    logits: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        guards.require_answers(self.logits, self.labels)
        pictures = self.logits.isnan().any(dim=1).nonzero()
        if len(pictures):
            kind = DivergedError if len(pictures) == len(self.logits) else TrainingError
            raise kind(
                f"Some answers to {len(pictures):,} of {len(self.logits):,} pictures, the first of them number "
                f"{pictures[0].item()}, are not numbers (NaN): look for NaN in the pictures and in the weights."
            )

    @property
    def probabilities(self) -> Tensor:
        """The logits as probabilities, float32 (N, classes); each row sums to 1."""
        return self.logits.softmax(dim=1)

    @property
    def guesses(self) -> Tensor:
        """The class with the largest logit, int64 (N,)."""
        return self.logits.argmax(dim=1)

    @property
    def accuracy(self) -> float:
        """The share of right guesses, from 0 to 1."""
        return (self.guesses == self.labels).double().mean().item()


def predict(model: nn.Module, batches: Pairs) -> Predictions:
    """Return the logits of `model` for all pictures of `batches`, computed in evaluation mode.

    Args:
        model: returns logits (B, classes); its mode is put back afterwards.
        batches: yields pairs of pictures, float32 (B, C, H, W), and labels, int64 (B,).

    Raises:
        ValueError, TypeError: when `batches` yields nothing, or pictures, labels or answers do not fit.
    """
    guards.require_network(model)
    guards.require_batches(batches)
    device = device_of(model)
    logits, labels = [], []
    with evaluating(model), without_gradients(model):
        for batch in batches:
            guards.require_batch(batch, model)
            images, targets = batch
            answers = model(images.to(device))
            guards.require_tensor(answers)
            logits.append(answers.float())
            labels.append(targets)
    if not logits:
        raise ValueError("There are no batches to predict; give at least one picture.")
    return Predictions(torch.cat(logits).cpu(), torch.cat(labels).cpu())  # copied once: each copy makes a GPU wait


def evaluate(model: nn.Module, batches: Pairs, loss: Loss = F.cross_entropy) -> Metrics:
    """Return mean loss and accuracy over all samples, in evaluation mode.

    A smaller last batch counts by its samples: averaging the batches' averages would be wrong. A label that the loss
    leaves out (its `ignore_index`) counts in neither.

    Args:
        model: returns logits (B, classes).
        batches: as for `predict`.
        loss: takes logits and labels, returns the mean loss of the batch.

    Raises:
        ValueError, TypeError: as `predict`, and when the loss is no mean, or leaves out every label.
        TrainingError: when an answer is not a number.
    """
    shares, answers = guards.Shares(loss), predict(model, batches)
    guards.require_labels(answers.labels, answers.logits.shape[1], shares.ignored)
    kept = shares.kept(answers.labels)
    if not kept.any():
        raise ValueError("The loss leaves out every one of these labels; give at least one that counts.")
    device = device_of(model)  # a loss may hold tensors of its own, such as weights
    mean = loss(answers.logits.to(device), answers.labels.to(device))
    guards.require_mean(mean)
    return Metrics(mean.item(), Predictions(answers.logits[kept], answers.labels[kept]).accuracy, int(kept.sum()))
