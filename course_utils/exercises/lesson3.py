"""Exercises of lesson 3, "A first network".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from course_utils import data, training
from course_utils.data import samples
from course_utils.exercises.checking import MISSING, Check, attempted, call, exercise
from course_utils.exercises.differences import described, first_difference, shaped
from course_utils.exercises.quiz import read_quiz
from course_utils.models.shapes import TraceRow, shape_trace

LESSON = "03"


PICTURES = torch.zeros(2, 1, 28, 28)


def _built(make: Callable[..., Any]) -> tuple[nn.Module | None, str]:
    """Return the network that `make` builds, and what is wrong with it in words, or an empty text."""
    network, failure = attempted(make)
    if failure:
        return None, failure
    if not isinstance(network, nn.Module):
        missing = MISSING if network is None else ""
        return None, f"gave {described(network)}, expected a network, an nn.Module{missing}"
    scores, failure = attempted(network.eval(), PICTURES.clone())  # a layer may change its input in place
    if failure:
        return None, f"gave a network that {failure}"
    if not isinstance(scores, torch.Tensor) or scores.shape != (2, 10):
        return None, f"gave a network that answers {shaped(scores)} to pictures (2, 1, 28, 28), expected (2, 10)"
    return network, ""


def _asked(*judges: Callable[[nn.Module, Callable[..., Any]], str | None]) -> Check:
    """Return a check of one network that an answer builds: it must be one, and no judge may find fault with it.

    What several checks ask of a network, the last one asks of the same.
    """

    def check(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
        network, wrong = _built(answer)
        if network is None:
            return f"{reference.__name__}() {wrong}"
        return next(
            (f"{reference.__name__}(): {found}" for judge in judges if (found := judge(network, reference))), None
        )

    return check


def _layers(network: nn.Module) -> list[TraceRow]:
    """Return the layers behind which the shape may change."""
    return [row for row in shape_trace(network, (1, 1, 28, 28)).rows if row.kind not in ("Flatten", "ReLU")]


def _given_numbers(network: nn.Module, reference: nn.Module) -> bool:
    """Give a network the reference's numbers, by their shapes, and tell whether these are the reference's.

    No two of the reference's shapes are equal, and the layers may have been declared in another order than they run.
    """
    mine, theirs = list(network.parameters()), {each.shape: each for each in reference.parameters()}
    if len(mine) != len(theirs) or {each.shape for each in mine} != set(theirs):
        return False
    with torch.no_grad():
        for parameter in mine:
            parameter.copy_(theirs[parameter.shape])
    return True


def _does_the_same(network: nn.Module, reference: nn.Module) -> bool:
    """Tell whether a network with the reference's numbers gives the reference's answers, however it is written."""
    if not _given_numbers(network, reference):
        return False
    asked = torch.randn(4, 1, 28, 28)  # negative numbers show a ReLU before the first layer
    with torch.no_grad():
        return torch.allclose(network.train()(asked.clone()), reference(asked), atol=1e-5)


def _facts(row: TraceRow) -> tuple[str, tuple[int, ...], int]:
    return row.kind, row.shape, row.parameters


def _same_layers(network: nn.Module, reference: Callable[..., Any]) -> str | None:
    if _does_the_same(network, reference()):
        return None
    expected, got = _layers(reference()), _layers(network)
    if [_facts(row) for row in got] == [_facts(row) for row in expected if row.parameters]:
        return None  # it pools by calling functions, which are no layers
    for place, row in enumerate(expected):
        if place == len(got):
            return f"layer {place + 1} is missing, expected {row.kind} with output {row.shape[1:]}"
        mine = got[place]
        if _facts(mine) != _facts(row):
            return (
                f"layer {place + 1} is {mine.kind} with output {mine.shape[1:]} and {mine.parameters:,} numbers, "
                f"expected {row.kind} with {row.shape[1:]} and {row.parameters:,}"
            )
    return f"there is a layer too many, {got[len(expected)].kind}" if len(got) > len(expected) else None


PLACES = (
    "before the first convolution",
    "between the two convolutions",
    "between the second convolution and the first dense layer",
    "between the two dense layers",
    "behind the last dense layer",
)


def _met(network: nn.Module, pictures: torch.Tensor) -> list[torch.Tensor]:
    """Return what comes to each layer that learns, in the order they run, and what comes out at the end."""
    met: list[torch.Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: met.extend(each.clone() for each in inputs))
        for module in network.modules()
        if list(module.parameters(recurse=False))
    ]
    try:
        with torch.no_grad():
            scores = network(pictures.clone())
    finally:
        for hook in hooks:
            hook.remove()
    return [*met, scores]


def _same_relus(network: nn.Module, reference: Callable[..., Any]) -> str | None:
    if _does_the_same(network, reference()):
        return None
    expected, asked = reference(), torch.randn(4, 1, 28, 28)
    if not _given_numbers(network, expected):
        return "it has other numbers to learn than the layers of the table"
    got, wanted = _met(network.eval(), asked), _met(expected.eval(), asked)
    if [each.shape for each in got] != [each.shape for each in wanted]:
        return "a ReLU is missing, or there is one too many"
    for place, mine, theirs in zip(PLACES, got, wanted):
        if (mine < 0).any() and not (theirs < 0).any():
            return f"a ReLU is missing {place}"
        if not torch.allclose(mine, theirs, atol=1e-5):
            return f"{place} stands something that the table does not have, such as a ReLU"
    return "in training it gives other answers than the layers of the table"


@exercise(
    question="Return a network for pictures (N, 1, 28, 28) with the layers of the table.",
    checks=[_asked(), _asked(_same_layers), _asked(_same_layers, _same_relus)],
    hints=[
        "nn.Sequential(...) takes the layers in order; nn.Conv2d(1, 6, 5, padding=2) is the first.",
        "nn.Flatten() turns 16 maps of 5 × 5 into the numbers that the first dense layer takes: how many are they?",
        "A ReLU follows every layer that learns, but not the last: logits may be negative.",
    ],
)
def lenet() -> nn.Module:
    """Return a network close to LeNet-5 (LeCun et al. 1998), for pictures (N, 1, 28, 28)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),  # (N, 6, 14, 14)
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),  # (N, 16, 5, 5)
        *(nn.Flatten(), nn.Linear(16 * 5 * 5, 120), nn.ReLU(), nn.Linear(120, 10)),
    )


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


def _step(most: float, *, steps: int = 1, stale: bool = False) -> Check:
    """Return a check that compares a small network's parameters after a step, or two, with the reference's."""

    def after(step: Callable[..., Any]) -> tuple[dict[str, torch.Tensor], str]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        images, labels = torch.randn(6, 1, 3, 4) * 3, torch.tensor([0, 1, 2, 0, 1, 2])
        if stale:
            (model(images) ** 2).sum().backward()
        failure = ""
        for _ in range(steps):
            failure = failure or attempted(step, model, images, labels, optimizer, most)[1]
        return dict(model.state_dict()), failure

    def check(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
        name = f"clipped_step with most={most:g}{' and gradients left from an earlier step' if stale else ''}"
        after_it = "the step" if steps == 1 else f"{steps} steps with momentum"
        expected, _ = after(reference)
        got, failure = after(answer)
        if failure:
            return f"{name} {failure}"
        for parameter, value in expected.items():
            difference = first_difference(got[parameter], value)
            if difference:
                return f"{name}: the parameter {parameter!r} after {after_it}, {difference}"
        return None

    return check


@exercise(
    question="Write a training step that scales all gradients down together when their norm is larger than `most`.",
    checks=[_step(0.5), _step(0.01), _step(1000.0), _step(0.5, stale=True), _step(2.0, steps=2)],
    hints=[
        "Start from the five lines (predict, compare, clear, differentiate, step) and clip before the step.",
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


@exercise(
    question="Return the precision of each class (K,) from a confusion matrix (K, K); 0 for a class never guessed.",
    checks=[
        call(torch.tensor([[8, 2], [4, 6]]), typed=True),
        call(torch.tensor([[5, 0, 0], [1, 3, 1], [2, 0, 3]]), typed=True),
        call(torch.tensor([[6, 0], [4, 0]]), typed=True),
        call(torch.tensor([[4, 0], [5, 1]]), typed=True),
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


MOST_NUMBERS, ENOUGH = 30_000, 0.45
CLOTHES = tuple("0123456789")  # names are not asked for
MEAN, STD = (0.286,), (0.353,)  # of the sample's training pictures


def moved_accuracy(network: nn.Module) -> float:
    """Return how often a network is right about clothes that have moved by six pixels, trained on unmoved ones.

    Trains it on 5,000 pictures of the embedded sample: 2 epochs, batches of 64, AdamW, one-cycle up to 0.01.
    """
    train, test = (
        data.TensorPart(torch.from_numpy(images.copy()), torch.from_numpy(labels.copy()), CLOTHES, name, MEAN, STD)
        for name in ("train", "test")
        for images, labels in [samples.fashion_mnist(name)]
    )
    torch.manual_seed(0)
    batches = data.batches(train.take(5000), 64, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=2 * len(batches))
    training.fit(network, batches, epochs=2, optimizer=optimizer, scheduler=schedule, progress=False)
    asked = test.take(1000)
    moved = replace(asked, images=F.pad(asked.images, (6, 0))[..., :28])
    return training.evaluate(network, data.batches(moved, 500)).accuracy


def _small_enough(network: nn.Module, reference: Callable[..., Any]) -> str | None:
    numbers = sum(parameter.numel() for parameter in network.parameters())
    return (
        None if 0 < numbers <= MOST_NUMBERS else f"it has {numbers:,} numbers to learn, expected 1 to {MOST_NUMBERS:,}"
    )


def _steady(network: nn.Module, reference: Callable[..., Any]) -> str | None:
    try:
        share = moved_accuracy(network)
    except Exception as error:  # noqa: BLE001 - what a learner has built may fail anywhere
        return f"it could not be trained: {(str(error) or type(error).__name__).splitlines()[0].rstrip('.')}"
    return None if share >= ENOUGH else f"it is right about {share:.1%} of the moved pictures, expected {ENOUGH:.0%}"


@exercise(
    question="Return a network with at most 30,000 numbers that still knows clothes moved by six pixels.",
    checks=[_asked(), _asked(_small_enough), _asked(_small_enough, _steady)],
    hints=[
        "What a filter finds moves with the picture. It is the dense layer behind that asks where.",
        "nn.AdaptiveAvgPool2d(1) averages each map over all its places: what is left says whether, not where.",
        "Blocks of convolution, pooling, batch normalisation and ReLU, then that average, nn.Flatten() and nn.Linear.",
    ],
)
def steady_network() -> nn.Module:
    """Return a network whose answer hardly depends on where the clothes are: it averages over all places."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU()),  # (N, 8, 14, 14)
        *(nn.Conv2d(8, 24, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(24), nn.ReLU()),  # (N, 24, 7, 7)
        *(nn.Conv2d(24, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),  # (N, 64, 7, 7)
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),  # (N, 10)
    )


quiz = read_quiz("lesson3", LESSON)
