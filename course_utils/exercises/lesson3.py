"""Exercises of lesson 3, "A first network".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.exercises.checking import Check, attempted, call, exercise
from course_utils.exercises.differences import first_difference
from course_utils.exercises.quiz import read_quiz

LESSON = "03"


@exercise(
    question="Return the number of values at the first dense layer, for conv 3, 3, pool, conv 5, 5, pool, 32 channels.",
    checks=[call(28), call(32), call(29), call(40), call(43), call(96)],
    hints=[
        "A convolution of side k without padding takes k − 1 off the side; a pool halves it.",
        "An odd side halves to the smaller whole number: use //, and use it at each pool.",
        "After the second pool there are 32 channels of side × side values each.",
    ],
)
def flat_size(side: int) -> int:
    """Return how many values arrive at the tutorial's first dense layer, for square pictures of any side."""
    for kernel in (3, 5):  # conv, conv, pool: twice
        side = (side - 2 * (kernel - 1)) // 2
    return 32 * side**2


LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 1.5, 4.0], [1.0, 2.0, 3.0]])
LABELS = torch.tensor([0, 2, 1, 1])


@exercise(
    question="Return the mean cross-entropy of logits (N, K) for labels (N,); logits may be as large as 1,000.",
    checks=[
        call(torch.zeros(2, 10), torch.tensor([3, 7]), shown="ten equal logits, labels"),
        call(LOGITS[:1], LABELS[:1]),
        call(LOGITS, LABELS, shown="logits (4, 3), labels"),
        call(LOGITS * 500, LABELS, shown="logits up to 2000, labels"),
        call(LOGITS - 1000, LABELS, shown="logits near -1000, labels"),
    ],
    hints=[
        "A picture costs the log of the sum of exp(logits), less the logit of its true class.",
        "Subtract each row's largest logit first (amax with keepdim=True): then no exp is larger than 1.",
        "logits[torch.arange(N), labels] picks the true class's logit of each row. Average over the N pictures.",
    ],
)
def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of logits (N, K) for labels (N,), safe for large logits."""
    shifted = logits - logits.amax(dim=1, keepdim=True)  # changes no probability, and exp cannot overflow
    log_total = shifted.exp().sum(dim=1).log()  # (N,)
    right = shifted[torch.arange(len(labels)), labels]  # (N,)
    return (log_total - right).mean()


@exercise(
    question="Return the accuracy over all pictures, given (right answers, pictures) per batch.",
    checks=[call([(30, 32), (2, 4)]), call([(7, 8)]), call([(32, 32), (32, 32), (0, 1)]), call([(0, 5), (0, 3)])],
    hints=[
        "Each picture counts once. A small last batch must not weigh as much as a full one.",
        "Add up the right answers, add up the pictures, and divide once.",
    ],
)
def accuracy(batches: list[tuple[int, int]]) -> float:
    """Return the accuracy over all pictures, from (right answers, pictures) of each batch."""
    return sum(right for right, _ in batches) / sum(pictures for _, pictures in batches)


@exercise(
    question="Return the precision of each class (K,) from a confusion matrix (K, K); 0 for a class never guessed.",
    checks=[
        call(torch.tensor([[8, 2], [4, 6]])),
        call(torch.tensor([[5, 0, 0], [1, 3, 1], [2, 0, 3]])),
        call(torch.tensor([[6, 0], [4, 0]])),
    ],
    hints=[
        "All pictures called coats stand in the coats' column, whatever they are.",
        "matrix.sum(dim=0) adds up each column, and matrix.diagonal() holds the right ones.",
        "A class that was never guessed would be 0 / 0: clamp(min=1) makes the divisor 1.",
    ],
)
def precision(matrix: torch.Tensor) -> torch.Tensor:
    """Return the precision of each class from a confusion matrix (rows: truth, columns: guess)."""
    called = matrix.sum(dim=0)  # (K,) how often each class was guessed
    return matrix.diagonal() / called.clamp(min=1)  # never guessed: 0 / 1


def _step(most: float, *, stale: bool = False) -> Check:
    """Return a check that compares a small network's parameters after the step with the reference's."""

    def after(step: Callable[..., Any]) -> tuple[dict[str, torch.Tensor], str]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        images, labels = torch.randn(6, 1, 3, 4) * 3, torch.tensor([0, 1, 2, 0, 1, 2])
        if stale:
            (model(images) ** 2).sum().backward()
        _, failure = attempted(step, model, images, labels, optimizer, most)
        return dict(model.state_dict()), failure

    def check(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
        name = f"clipped_step with most={most:g}{' and gradients left from an earlier step' if stale else ''}"
        expected, _ = after(reference)
        got, failure = after(answer)
        if failure:
            return f"{name} {failure}"
        for parameter, value in expected.items():
            difference = first_difference(got[parameter], value)
            if difference:
                return f"{name}: the parameter {parameter!r} after the step, {difference}"
        return None

    return check


@exercise(
    question="Write a training step that scales all gradients down together when their norm is larger than `most`.",
    checks=[_step(0.5), _step(0.01), _step(1000.0), _step(0.5, stale=True)],
    hints=[
        "Start from the five lines: predict, measure (F.cross_entropy), clear, slopes, step. Clip before the step.",
        "The norm of all gradients together is the root of the sum of all squares, over all parameters.",
        "If the norm is larger than `most`, multiply every parameter's .grad by most / norm; else leave them alone.",
    ],
)
def clipped_step(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, optimizer: torch.optim.Optimizer, most: float
) -> None:
    """Take one training step, with the norm of all gradients together held to at most `most`."""
    loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    if norm > most:
        for gradient in gradients:
            gradient *= most / norm
    optimizer.step()


quiz = read_quiz("lesson3")
