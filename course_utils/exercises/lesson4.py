"""Exercises of lesson 4, "Training for real".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from course_utils.exercises.checking import call, exercise
from course_utils.exercises.quiz import read_quiz

LESSON = "04"

_draws = torch.Generator().manual_seed(4)
MAPS = torch.rand(4, 3, 5, 5, generator=_draws) * 4 - 1  # (N, C, H, W)
MEANS, VARIANCES = torch.tensor([0.5, 0.0, -1.0]), torch.tensor([1.0, 4.0, 0.25])
PICTURES = torch.arange(3 * 1 * 2 * 3, dtype=torch.float32).reshape(3, 1, 2, 3)
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 1.5, 4.0], [1.0, 2.0, 3.0]])
LABELS = torch.tensor([0, 2, 1, 1])


@exercise(
    question="Normalise each channel: by the batch's own mean and variance in training, by the given ones otherwise.",
    checks=[
        call(MAPS, MEANS, VARIANCES, False, shown="images (4, 3, 5, 5), mean, variance, training=False"),
        call(MAPS, MEANS, VARIANCES, True, shown="images (4, 3, 5, 5), mean, variance, training=True"),
        call(MAPS[:1, :, :1, :2], MEANS, VARIANCES, True, shown="images (1, 3, 1, 2), mean, variance, training=True"),
    ],
    hints=[
        "One mean and one variance for each channel: average over the axes 0, 2 and 3.",
        "Give them the shape (1, C, 1, 1) with view, so that they are broadcast over the pictures and pixels.",
        "Divide by the root of variance + 1e-5, and take the variance with unbiased=False.",
    ],
)
def batch_norm(
    images: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, training: bool, eps: float = 1e-5
) -> torch.Tensor:
    """Return images (N, C, H, W) normalised per channel: by their own batch in training, else by what is given."""
    if training:
        mean = images.mean(dim=(0, 2, 3))  # (C,)
        variance = images.var(dim=(0, 2, 3), unbiased=False)
    shape = (1, -1, 1, 1)
    return (images - mean.view(shape)) / (variance.view(shape) + eps).sqrt()


@exercise(
    question="Mirror those pictures of a batch (N, C, H, W) left to right for which `chosen`, bool (N,), is True.",
    checks=[
        call(PICTURES, torch.tensor([True, False, True]), shown="images (3, 1, 2, 3), [True, False, True]"),
        call(PICTURES, torch.tensor([False, False, False]), shown="images (3, 1, 2, 3), all False"),
        call(MAPS, torch.tensor([True, True, False, True]), shown="images (4, 3, 5, 5), [True, True, False, True]"),
    ],
    hints=[
        "Left and right lie along the last axis, the width: images.flip(3) mirrors every picture.",
        "Make a mirrored batch of all, then take from it only what is chosen.",
        "torch.where(condition, a, b) chooses; give `chosen` the shape (N, 1, 1, 1) with view.",
    ],
)
def flip_some(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return images (N, C, H, W), those mirrored left to right where chosen, bool (N,), is True."""
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


@exercise(
    question="Paint a square of `side` pixels centred at (row, column); what leaves the picture is cut off.",
    checks=[
        call(MAPS[0], 2, 2, 3, 0.0, shown="image (3, 5, 5), row 2, column 2, side 3, fill 0"),
        call(MAPS[0], 0, 4, 3, 9.0, shown="image (3, 5, 5), row 0, column 4, side 3, fill 9"),
        call(MAPS[0], 1, 3, 2, 0.5, shown="image (3, 5, 5), row 1, column 3, side 2, fill 0.5"),
        call(MAPS[0], 4, 0, 5, 0.0, shown="image (3, 5, 5), row 4, column 0, side 5, fill 0"),
    ],
    hints=[
        "The square begins at row - side // 2 and ends `side` rows later; the same for the columns.",
        "A slice that begins at -1 begins at the *last* row. Use max(…, 0).",
        "A slice that ends beyond the picture is harmless. Work on image.clone().",
    ],
)
def paint_square(image: torch.Tensor, row: int, column: int, side: int, fill: float) -> torch.Tensor:
    """Return image (C, H, W) with a square around (row, column) painted in `fill`, cut off at the border."""
    painted = image.clone()
    top, left = row - side // 2, column - side // 2
    painted[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = fill
    return painted


@exercise(
    question="Return (best epoch, last epoch trained) for validation accuracies and a patience, counted from 1.",
    checks=[
        call([0.5, 0.6, 0.7, 0.69, 0.68, 0.9], 2),
        call([0.5, 0.6, 0.7, 0.69, 0.71, 0.70], 2),
        call([0.8, 0.8, 0.8], 2),
        call([0.3, 0.2, 0.4], 1),
        call([0.1, 0.2, 0.3], 5),
    ],
    hints=[
        "Go through the epochs in order, and remember the best one so far. A run cannot know what comes later.",
        "Stop when `patience` epochs in a row were not better than the best.",
        "Equal is not better. With no early stop, the last epoch is len(accuracies).",
    ],
)
def best_epoch(accuracies: list[float], patience: int) -> tuple[int, int]:
    """Return (the best epoch, the last epoch trained), both counted from 1, for a run with early stopping."""
    best = 1
    for epoch, accuracy in enumerate(accuracies, start=1):
        if accuracy > accuracies[best - 1]:
            best = epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, len(accuracies)


@exercise(
    question="Return the mean cross-entropy with label smoothing, for logits (N, K) and labels (N,).",
    checks=[
        call(LOGITS, LABELS, 0.1, shown="logits (4, 3), labels, 0.1"),
        call(LOGITS, LABELS, 0.0, shown="logits (4, 3), labels, 0"),
        call(LOGITS * 500, LABELS, 0.2, shown="logits up to 2000, labels, 0.2"),
        call(LOGITS[:1], LABELS[:1], 1.0, shown="one row of logits, its label, 1"),
    ],
    hints=[
        "F.log_softmax(logits, dim=1) gives log probabilities that do not overflow; the loss needs their negatives.",
        "All K classes share `smoothing` equally, the true one too: that part is smoothing × the mean over classes.",
        "The rest, 1 - smoothing, weighs the true class's negative log probability. Average over the pictures.",
    ],
)
def smoothed_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return the mean cross-entropy where the truth keeps 1 − smoothing and all K classes share the rest."""
    minus_log = -F.log_softmax(logits, dim=1)  # (N, K)
    of_truth = minus_log[torch.arange(len(labels)), labels]  # (N,)
    return ((1 - smoothing) * of_truth + smoothing * minus_log.mean(dim=1)).mean()


@exercise(
    question="Return the heat (h, w) of maps (C, h, w) and slopes (C, h, w): weigh, add, cut off below 0, scale to 1.",
    checks=[
        call(MAPS[0], MAPS[1], shown="maps (3, 5, 5), slopes (3, 5, 5)"),
        call(MAPS[2, :, :2, :3], MAPS[3, :, :2, :3], shown="maps (3, 2, 3), slopes (3, 2, 3)"),
        call(torch.ones(2, 2, 2), -torch.ones(2, 2, 2), shown="maps of ones, slopes of minus one"),
    ],
    hints=[
        "Each map has one weight: the mean of its slopes over height and width.",
        "Add the weighted maps up, then cut off what is negative with relu, in this order.",
        "Divide by the largest value, unless all is 0: 0 / 0 is not a number.",
    ],
)
def class_heat(maps: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """Return Grad-CAM's heat (h, w), at most 1, from maps (C, h, w) and the slopes of a logit of the same shape."""
    weights = slopes.mean(dim=(1, 2))  # (C,)
    heat = (weights.view(-1, 1, 1) * maps).sum(dim=0).relu()  # (h, w)
    return heat / heat.max() if heat.max() > 0 else heat


quiz = read_quiz("lesson4")
