"""Exercises of lesson 4, "Training for real". Each reference is followed by its question, which takes its name.

References are shown to learners, so they use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from course_utils.exercises.checking import Exercise, call
from course_utils.exercises.quiz import Question, Quiz, right, wrong

LESSON = "04"

_draws = torch.Generator().manual_seed(4)
MAPS = torch.rand(4, 3, 5, 5, generator=_draws) * 4 - 1  # (N, C, H, W)
MEANS, VARIANCES = torch.tensor([0.5, 0.0, -1.0]), torch.tensor([1.0, 4.0, 0.25])
PICTURES = torch.arange(3 * 1 * 2 * 3, dtype=torch.float32).reshape(3, 1, 2, 3)
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 1.5, 4.0], [1.0, 2.0, 3.0]])
LABELS = torch.tensor([0, 2, 1, 1])


def batch_norm(
    images: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, training: bool, eps: float = 1e-5
) -> torch.Tensor:
    """Return images (N, C, H, W) normalised per channel: by their own batch in training, else by what is given."""
    if training:
        mean = images.mean(dim=(0, 2, 3))  # (C,)
        variance = images.var(dim=(0, 2, 3), unbiased=False)
    shape = (1, -1, 1, 1)
    return (images - mean.view(shape)) / (variance.view(shape) + eps).sqrt()


batch_norm = Exercise(
    lesson=LESSON,
    name="batch_norm",
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
    reference=batch_norm,
)


def flip_some(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return images (N, C, H, W), those mirrored left to right where chosen, bool (N,), is True."""
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


flip_some = Exercise(
    lesson=LESSON,
    name="flip_some",
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
    reference=flip_some,
)


def paint_square(image: torch.Tensor, row: int, column: int, side: int, fill: float) -> torch.Tensor:
    """Return image (C, H, W) with a square around (row, column) painted in `fill`, cut off at the border."""
    painted = image.clone()
    top, left = row - side // 2, column - side // 2
    painted[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = fill
    return painted


paint_square = Exercise(
    lesson=LESSON,
    name="paint_square",
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
    reference=paint_square,
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


best_epoch = Exercise(
    lesson=LESSON,
    name="best_epoch",
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
    reference=best_epoch,
)


def smoothed_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return the mean cross-entropy where the truth keeps 1 − smoothing and all K classes share the rest."""
    minus_log = -F.log_softmax(logits, dim=1)  # (N, K)
    of_truth = minus_log[torch.arange(len(labels)), labels]  # (N,)
    return ((1 - smoothing) * of_truth + smoothing * minus_log.mean(dim=1)).mean()


smoothed_loss = Exercise(
    lesson=LESSON,
    name="smoothed_loss",
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
    reference=smoothed_loss,
)


def class_heat(maps: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """Return Grad-CAM's heat (h, w), at most 1, from maps (C, h, w) and the slopes of a logit of the same shape."""
    weights = slopes.mean(dim=(1, 2))  # (C,)
    heat = (weights.view(-1, 1, 1) * maps).sum(dim=0).relu()  # (h, w)
    return heat / heat.max() if heat.max() > 0 else heat


class_heat = Exercise(
    lesson=LESSON,
    name="class_heat",
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
    reference=class_heat,
)

quiz = Quiz(
    [
        Question(
            "A network with batch normalisation gives one picture another answer whenever its neighbours in the batch "
            "change. What was forgotten?",
            [
                wrong("`optimizer.zero_grad()`", "It clears slopes; an answer needs none."),
                wrong("`shuffle=False`", "The order is not the cause: no picture should depend on its neighbours."),
                right(
                    "`model.eval()`",
                    "In training mode each batch is normalised by its own mean and variance, so every picture counts "
                    "in every answer.",
                ),
                wrong("label smoothing", "It changes the loss, not how an answer is computed."),
            ],
        ),
        Question(
            "Training accuracy is 99 %, validation accuracy has stood at 71 % for ten epochs. What helps most?",
            [
                wrong("more epochs", "There is nothing left to learn from these pictures; they are known by heart."),
                right(
                    "more pictures, or augmented ones",
                    "What the network has never seen, it cannot learn by heart. New pictures are best; changed copies "
                    "of the old ones are the cheap way.",
                ),
                wrong("a wider network", "It learns by heart even more easily."),
                wrong(
                    "taking validation pictures from the training part",
                    "The figure would rise, and would no longer say anything about new pictures.",
                ),
            ],
        ),
        Question(
            "Why are pictures of CIFAR-10 mirrored left to right, but not upside down?",
            [
                right(
                    "new pictures may face left or right, but hardly stand on their heads",
                    "An augmentation should make what the network may meet. A car upside down is rare, and learning "
                    "it takes room from what is common.",
                ),
                wrong("a vertical flip is slower", "Both are one indexing operation of the same cost."),
                wrong("it would change the labels", "The labels stay; the pictures become improbable."),
                wrong(
                    "convolutions cannot see it",
                    "They can. A filter for a horizontal edge with the bright side up answers the other way round.",
                ),
            ],
        ),
        Question(
            "A run of 20 epochs under a one-cycle schedule was interrupted after 12. You load only the weights and "
            "train 8 more with a new optimizer and a new schedule. Is it the same run?",
            [
                wrong("yes, the weights are all there is", "The optimizer remembers its last steps too."),
                wrong("yes, but the order of pictures differs", "That too, but it is the smallest difference."),
                wrong("no, because the test set has changed", "The test set plays no part in training."),
                right(
                    "no: momentum, learning rate and random numbers start anew",
                    "A checkpoint must hold all that changes while a run goes on. `fit(checkpoint=…)` keeps all of it.",
                ),
            ],
        ),
    ]
)
