"""Exercises of lesson 5, "Transfer learning".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

import torch
from torch import nn

from course_utils.exercises.checking import Check, attempted, call, exercise
from course_utils.exercises.differences import described, first_difference
from course_utils.exercises.quiz import read_quiz

LESSON = "05"


@exercise(
    question="Return the number of parameters of Linear(features, hidden), ReLU, Dropout, Linear(hidden, classes), "
    "LogSoftmax.",
    checks=[call(4096, 256, 100), call(1280, 64, 2), call(1, 1, 1), call(512, 1000, 7)],
    hints=[
        "ReLU, dropout and log-softmax have no parameters; only the two linear layers count.",
        "A linear layer has one weight for each pair of an input and an output, and one bias for each output.",
        "features · hidden + hidden for the first, hidden · classes + classes for the second.",
    ],
)
def head_parameters(features: int, hidden: int, classes: int) -> int:
    """Return the parameters of Linear(features, hidden), ReLU, Dropout, Linear(hidden, classes), LogSoftmax."""
    return (features + 1) * hidden + (hidden + 1) * classes  # weights and one bias for each output


LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 1.0], [-3.0, 1.5, 4.0, 1.0]])


@exercise(
    question="Return the logarithms of the softmax probabilities of logits (N, K); logits may be as large as 1,000.",
    checks=[
        call(LOGITS[:1]),
        call(LOGITS, shown="logits (3, 4)"),
        call(LOGITS * 300, shown="logits up to 1200"),
        call(LOGITS - 2000, shown="logits near -2000"),
    ],
    hints=[
        "log softmax is the logit less the logarithm of the row's sum of exp(logits).",
        "exp(1000) overflows: subtract each row's largest logit first, with amax(dim=1, keepdim=True).",
        "Do not take the softmax and then its logarithm: a probability too small for a float becomes log(0) = −inf.",
    ],
)
def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of the softmax probabilities of logits (N, K), safe for large logits."""
    shifted = logits - logits.amax(dim=1, keepdim=True)  # changes no probability, and exp cannot overflow
    return shifted - shifted.exp().sum(dim=1, keepdim=True).log()


SHARES = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.3, 0.25, 0.45], [0.25, 0.35, 0.4]])


@exercise(
    question="Return the share of pictures (N) whose true class is among the k largest of probabilities (N, K).",
    checks=[
        call(SHARES, torch.tensor([0, 1, 2, 0, 1]), 1, shown="probabilities (5, 3), labels, 1"),
        call(SHARES, torch.tensor([0, 2, 0, 0, 0]), 2, shown="probabilities (5, 3), labels, 2"),
        call(SHARES, torch.tensor([2, 0, 0, 1, 0]), 3, shown="probabilities (5, 3), labels, 3"),
        call(SHARES[:1], torch.tensor([1]), 2, shown="probabilities (1, 3), labels, 2"),
    ],
    hints=[
        "probabilities.topk(k, dim=1).indices holds the k likeliest classes of each picture, (N, k).",
        "Compare them with labels[:, None]: a picture is right when any of its k places is.",
        "Return a Python number, the mean over the pictures.",
    ],
)
def top_k_accuracy(probabilities: torch.Tensor, labels: torch.Tensor, k: int) -> float:
    """Return the share of pictures whose true class is among the k likeliest, from probabilities (N, K)."""
    best = probabilities.topk(k, dim=1).indices  # (N, k)
    return (best == labels[:, None]).any(dim=1).double().mean().item()


@exercise(
    question="Return the mean of the probabilities of two views, given the logits (N, K) of each.",
    checks=[
        call(LOGITS[:1], -LOGITS[:1]),
        call(LOGITS, LOGITS.flip(1), shown="logits (3, 4), logits (3, 4)"),
        call(LOGITS * 10, LOGITS, shown="sure logits, less sure logits"),
        call(LOGITS + 100, LOGITS.flip(0), shown="logits about 100 higher, logits"),
    ],
    hints=[
        "Each view votes with its probabilities: make them from its logits first.",
        "softmax over dim=1, the classes; then add the two and divide by 2.",
    ],
)
def average_views(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the mean of the probabilities that two views' logits (N, K) stand for."""
    return (first.softmax(dim=1) + second.softmax(dim=1)) / 2


def _split(counts: list[int], fraction: float) -> Check:
    """Return a check that a split loses nothing, doubles nothing, takes a share of each class, and is random."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    name = f"stratified_split({len(labels)} labels of {len(counts)} classes, {fraction:g})"

    def check(answer: object, reference: object) -> str | None:
        drawn = []
        for _ in range(2):
            given = labels.clone()
            got, failure = attempted(answer, given, fraction)
            if failure:
                return f"{name} {failure}"
            if not isinstance(got, tuple) or len(got) != 2 or not all(isinstance(each, torch.Tensor) for each in got):
                return f"{name}: got {described(got)}, expected two tensors of indices"
            if any(each.dtype != torch.int64 or each.ndim != 1 for each in got):
                return f"{name}: the two tensors must hold indices, int64 of one dimension"
            both = torch.cat(got)
            if len(both.unique()) < len(both):
                return f"{name}: the picture {int(both.mode().values)} is in both parts, or twice in one"
            if not torch.equal(both.sort().values, torch.arange(len(labels))):
                return f"{name}: the two parts hold {len(both)} pictures together, expected all {len(labels)}"
            for label, count in enumerate(counts):
                found, share = int((labels[got[1]] == label).sum()), fraction * count
                if abs(found - share) >= 1:
                    return f"{name}: class {label} has {count} pictures, {found} set aside, expected about {share:g}"
            if not torch.equal(given, labels):
                return f"{name}: the result is right, but the input was changed; work on a copy of it"
            drawn.append(got[1].sort().values.tolist())
        if drawn[0] == drawn[1]:
            return f"{name}: two calls set the same pictures aside; draw them at random, as torch.randperm does"
        return None

    return check


@exercise(
    question="Split pictures at random into indices to keep and to set aside; `fraction` of every class is set aside.",
    checks=[_split([20, 20], 0.25), _split([60, 8, 32], 0.25), _split([40, 10], 0.5)],
    hints=[
        "Go class by class: (labels == label).nonzero().flatten() are the indices of one class.",
        "Shuffle them with members[torch.randperm(len(members))]; the first round(fraction · count) are set aside.",
        "Collect the pieces in two lists, and return (torch.cat(kept), torch.cat(aside)).",
    ],
)
def stratified_split(labels: torch.Tensor, fraction: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Split pictures at random into indices to keep and indices to set aside, the same fraction of every class."""
    kept, aside = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members))]
        count = round(fraction * len(members))
        aside.append(members[:count])
        kept.append(members[count:])
    return torch.cat(kept), torch.cat(aside)


class Small(nn.Module):
    """A toy family: three blocks and a head called `top`."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
        self.block2 = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU())
        self.block3 = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
        self.top = nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits of inputs (N, 4)."""
        return self.top(self.block3(self.block2(self.block1(inputs))))


def small(frozen: str = "") -> Small:
    """Return the toy network, the same in every call; parameters whose names begin with `frozen` are frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = Small()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not (frozen and name.startswith(frozen)))
    return model


def _prepared(classes: int) -> Check:
    name = f"prepare(model, {classes})"

    def check(answer: object, reference: object) -> str | None:
        before = small()
        got, failure = attempted(answer, small(), classes)
        if failure:
            return f"{name} {failure}"
        if not isinstance(got, nn.Module):
            return f"{name}: got {described(got)}, expected the network; is the return missing?"
        outputs = got.eval()(torch.ones(2, 4)).shape
        if outputs != (2, classes):
            return f"{name}: the network gives {tuple(outputs)} for two pictures, expected {(2, classes)}"
        for parameter, value in got.named_parameters():
            learns = parameter.startswith("top")
            if value.requires_grad != learns:
                state = "is frozen, but it is part of the new head" if learns else "still learns; freeze it"
                return f"{name}: {parameter} {state}"
            if not learns and not torch.equal(value, before.state_dict()[parameter]):
                return f"{name}: {parameter} has other numbers than before; only the head is new"
        if classes == 3 and torch.equal(got.top.weight, before.top.weight):
            return f"{name}: the head has its old numbers; put a new one in its place"
        return None

    return check


@exercise(
    question="Freeze all parameters of a network whose head is `model.top`, and give it a fresh head, which learns.",
    checks=[_prepared(2), _prepared(10), _prepared(3)],
    hints=[
        "Go over model.parameters() and switch requires_grad off; then replace the head.",
        "The order matters: what is frozen after the new head is in place includes the head.",
        "model.top = nn.Linear(model.top.in_features, classes). And return the model.",
    ],
)
def prepare(model: nn.Module, classes: int) -> nn.Module:
    """Freeze all parameters of `model` and give it a fresh linear head `model.top` for `classes`."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.top = nn.Linear(model.top.in_features, classes)  # new, so it learns
    return model


def _rates(frozen: str, rate: float, factor: float) -> Check:
    what = f"model with {frozen} frozen" if frozen else "model"
    name = f"layer_rates({what}, {rate:g}, {factor:g})"

    def check(answer: object, reference: object) -> str | None:
        got, failure = attempted(answer, small(frozen), rate, factor)
        if failure:
            return f"{name} {failure}"
        expected = tuple(reference(small(frozen), rate, factor))
        if not isinstance(got, list):
            return f"{name}: got {described(got)}, expected a list of (name, rate)"
        difference = first_difference(tuple(tuple(each) if isinstance(each, list) else each for each in got), expected)
        return f"{name}: {difference}" if difference else None

    return check


@exercise(
    question="Return a list of (child, rate): the last child that learns gets `rate`, each below it `factor` of that.",
    checks=[_rates("", 0.1, 0.5), _rates("block1", 0.01, 0.1), _rates("top", 1.0, 0.3)],
    hints=[
        "model.named_children() lists blocks and head from the input on; reversed(list(…)) starts at the head.",
        "Leave out children in which no parameter has requires_grad; they take no place in the sequence of rates.",
        "The i-th that learns, counted from the head, gets rate · factor**i.",
    ],
)
def layer_rates(model: nn.Module, rate: float, factor: float) -> list[tuple[str, float]]:
    """Return (name, learning rate) of each child with learning parameters, from the last: rate, rate · factor, …"""
    names = [name for name, child in model.named_children() if any(p.requires_grad for p in child.parameters())]
    return [(name, rate * factor**i) for i, name in enumerate(reversed(names))]


quiz = read_quiz("lesson5")
