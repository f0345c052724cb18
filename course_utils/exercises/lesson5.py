"""Exercises of lesson 5, "Transfer learning".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional

from course_utils import transfer
from course_utils.data import samples
from course_utils.exercises import given
from course_utils.exercises.checking import MISSING, Check, attempted, by_way_of, call, exercise
from course_utils.exercises.differences import described, shaped
from course_utils.exercises.quiz import read_quiz

LESSON = "05"


def small(frozen: str = "") -> given.Small:
    """Return the toy network, the same in every call; parameters whose names begin with `frozen` are frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = given.Small()
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
        if not isinstance(got, nn.Module) or not {"block1", "block2", "block3", "top"} <= set(vars(got)["_modules"]):
            return f"{name}: got {described(got)}, expected the network{MISSING if got is None else ''}"
        if not isinstance(got.top, nn.Linear):
            return f"{name}: the head is {described(got.top)}, expected one nn.Linear"
        outputs, failure = attempted(got.eval(), torch.ones(2, 4))
        if failure:
            return f"{name}: the network {failure}"
        if outputs.shape != (2, classes):
            return f"{name}: the network gives {tuple(outputs.shape)} for two pictures, expected {(2, classes)}"
        for parameter, value in got.named_parameters():
            learns = parameter.startswith("top.")
            if value.requires_grad != learns:
                state = "is frozen, but it is part of the new head" if learns else "still learns; freeze it"
                return f"{name}: {parameter} {state}"
        for key, value in before.state_dict().items():
            if not key.startswith("top.") and not torch.equal(got.state_dict()[key], value):
                return f"{name}: {key} has other numbers than before; only the head is new"
        if classes == 3 and torch.equal(got.top.weight, before.top.weight):
            return f"{name}: the head has its old numbers; put a new one in its place"
        if got.top.bias is None or not got.top.weight.any():
            return f"{name}: the head has no bias, or weights of 0; leave it as nn.Linear makes it"
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


def _split(counts: list[int], fraction: float, draws: int = 1, classes: tuple[int, ...] = ()) -> Check:
    """Return a check that a split loses nothing, doubles nothing, takes a share of each class, and is random."""
    named = f"the classes {' and '.join(map(str, classes))}" if classes else f"{len(counts)} classes"
    classes = classes or tuple(range(len(counts)))
    labels = torch.tensor(classes).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    name = f"stratified_split({len(labels)} labels of {named}, {fraction:g})"

    def check(answer: object, reference: object) -> str | None:
        drawn, own = [], labels.clone()
        results, failure = attempted(by_way_of(given.several, answer), draws, own, fraction)
        if failure:
            return f"{name} {failure}"
        for got in results:
            pair = isinstance(got, (list, tuple)) and len(got) == 2
            if not pair or not all(isinstance(each, (torch.Tensor, np.ndarray)) for each in got):
                return f"{name}: got {described(got)}, expected two tensors of indices{MISSING if got is None else ''}"
            got = [torch.as_tensor(each) for each in got]
            if any(each.dtype != torch.int64 or each.ndim != 1 for each in got):
                return f"{name}: the two tensors must hold indices, int64 of one dimension"
            both = torch.cat(got)
            if len(both.unique()) < len(both):
                return f"{name}: the picture {int(both.mode().values)} is in both parts, or twice in one"
            if not torch.equal(both.sort().values, torch.arange(len(labels))):
                return f"{name}: the two parts hold {len(both)} pictures together, expected all {len(labels)}"
            for label, count in zip(classes, counts):
                found, share = int((labels[got[1]] == label).sum()), fraction * count
                if abs(found - share) > 0.5:
                    return f"{name}: class {label} has {count} pictures, {found} set aside, expected {round(share)}"
            if not torch.equal(own, labels):
                return f"{name}: the result is right, but the input was changed; work on a copy of it"
            drawn.append(torch.isin(labels.argsort(stable=True), got[1]))  # bool (N,), class by class
        for label, each in zip(classes, torch.stack(drawn).split(counts, dim=1) if draws > 1 else ()):
            if (each == each[0]).all():
                return f"{name}: {draws} calls set the same pictures of class {label} aside; draw them at random"
            if ((each != each.roll(1, dims=1)).sum(dim=1) == 2).all():
                return f"{name}: of class {label} neighbours are set aside; draw single ones, as torch.randperm does"
        return None

    return check


@exercise(
    question="Split pictures at random into indices to keep and to set aside; `fraction` of every class is set aside.",
    checks=[
        _split([20, 20], 0.25, draws=5),
        _split([60, 8, 32], 0.25),
        _split([40, 10], 0.34),
        _split([8, 1], 0.25),
        _split([12, 8], 0.25, classes=(1, 4)),
    ],
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


TRAIN = torch.arange(4 * 3 * 2 * 3, dtype=torch.uint8).reshape(4, 3, 2, 3)
ONE_PIXEL = F.pad(torch.full((1, 1, 1), 1, dtype=torch.uint8), (2, 0, 1, 0, 2, 0))  # (3, 2, 3)
TEST = torch.cat([TRAIN[2:3], TRAIN[:1] + 100, TRAIN[1:2].flip(3), TRAIN[3:].flip(2)])


@exercise(
    question="Return the numbers of those test pictures that are training pictures too, as they are or mirrored.",
    checks=[
        call(TRAIN[:1], TRAIN[:1], shown="a picture, the same one"),
        call(TRAIN, TEST, shown="4 training pictures, 4 test pictures"),
        call(TRAIN[:2], TRAIN[2:], shown="2 training pictures, 2 others"),
        call(TRAIN, TRAIN + ONE_PIXEL, shown="4 training pictures, 4 copies with one number changed"),
        call(
            TRAIN,
            torch.cat([TRAIN[:2].flip(3), TRAIN[:1]]),
            shown="4 training pictures, 3 copies, two of them mirrored",
        ),
        call(
            torch.cat([TRAIN, TRAIN[:1], TRAIN[1:2].flip(3)]),
            TEST,
            shown="6 training pictures, one repeated and one mirrored, 4 test pictures",
        ),
    ],
    hints=[
        "Two pictures are equal when torch.equal says so; picture.flip(-1) is the mirrored one.",
        "Go over the test pictures with enumerate, and ask of each whether any training picture equals it.",
        "Return a list of whole numbers; each test picture counts once, however many copies training has.",
    ],
)
def leaked(train: torch.Tensor, test: torch.Tensor) -> list[int]:
    """Return the numbers of test pictures that are also in training, as they are or mirrored left to right."""
    return [
        number
        for number, picture in enumerate(test)
        if any(torch.equal(picture, other) or torch.equal(picture.flip(-1), other) for other in train)
    ]


@exercise(
    question="Return weights (N,), float32, for a WeightedRandomSampler: every class is drawn equally often.",
    checks=[
        call(torch.tensor([0, 0, 0, 1]), typed=True),
        call(torch.tensor([2, 0, 1, 0, 2, 2, 2]), shown="7 labels of 3 classes", typed=True),
        call(torch.tensor([4, 1, 1, 4, 4]), shown="5 labels, 1 and 4 only", typed=True),
    ],
    hints=[
        "labels.bincount() counts the pictures of each class; counts[labels] is, for each picture, that of its class.",
        "A picture's weight is 1 / (its class's count); all pictures of a class together then weigh 1.",
        "Divide by the sum of all weights, so that they add up to 1. A class without pictures has no weight.",
    ],
)
def sampler_weights(labels: torch.Tensor) -> torch.Tensor:
    """Return a weight for each picture, so that every class is drawn equally often; together they are 1."""
    weights = 1 / labels.bincount()[labels].float()
    return weights / weights.sum()


SHARES = torch.tensor(
    [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.48, 0.47, 0.05], [0.3, 0.25, 0.45], [0.25, 0.36, 0.39], [0.34, 0.4, 0.26]]
)


@exercise(
    question="Return the indices (n,) of the n pictures whose two likeliest classes are closest, the closest first.",
    checks=[
        call(SHARES, 1, shown="probabilities (6, 3), 1", typed=True),
        call(SHARES, 3, shown="probabilities (6, 3), 3", typed=True),
        call(SHARES.flip(0), 5, shown="probabilities (6, 3) in another order, 5", typed=True),
        call(torch.tensor([[0.36, 0.33, 0.31], [0.4925, 0.4575, 0.05]]), 1, typed=True),
    ],
    hints=[
        "probabilities.topk(2, dim=1).values holds the two largest of each row, (N, 2).",
        "The lead is the first column less the second; the smallest leads are wanted.",
        "lead.argsort()[:n] are their indices, the smallest lead first.",
    ],
)
def doubts(probabilities: torch.Tensor, n: int) -> torch.Tensor:
    """Return the indices of the n pictures whose two likeliest classes are closest together, the closest first."""
    best = probabilities.topk(2, dim=1).values  # (N, 2)
    return (best[:, 0] - best[:, 1]).argsort()[:n]


COUNTS = (60, 4, 3, 40, 3, 25, 2, 16, 10, 6)  # training pictures of the ten classes of clothes
RARE, ASKED = 5, 30  # a rare class has at most so many pictures; held-out pictures of each class
BAR, RARE_BAR = 0.68, 0.45  # what passes: the mean of the classes' accuracies, and that of the rare ones


@functools.cache
def unequal_features() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return features and labels of unequal classes of clothes, and of pictures held out, 30 of each class.

    Features are float32 (N, 1280), of EfficientNet-Lite0 on pictures of 96 × 96 pixels.
    """
    net = transfer.backbone()
    images, labels = (torch.from_numpy(array) for array in samples.fashion_mnist("train"))
    members = [(labels == label).nonzero().flatten() for label in range(10)]
    picked = [torch.cat([each[:count] for each, count in zip(members, COUNTS)])]
    picked.append(torch.cat([each[100 : 100 + ASKED] for each in members]))
    found = []
    for chosen in picked:
        large = functional.resize(images[chosen], [96, 96], antialias=True).expand(-1, 3, -1, -1)
        parts = net.preprocess.normalise(large).split(50)
        found += [torch.cat([net.features(part) for part in parts]), labels[chosen]]
    return tuple(found)


def _rare(labels: torch.Tensor) -> torch.Tensor:
    return torch.tensor(COUNTS)[labels] <= RARE


def _trained(
    answer: object, features: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor, what: str
) -> tuple[torch.Tensor, str]:
    """Return what a head that `answer` trains says of the features `asked`, (n,), and "" or what is wrong."""
    own = features.clone(), labels.clone()
    classes, nothing = int(labels.max()) + 1, torch.empty(0)
    got, failure = attempted(answer, *own)
    name = f"balanced_head({what})"
    if failure:
        return nothing, f"{name} {failure}"
    if not isinstance(got, nn.Module):
        missing = MISSING if got is None else ""
        return nothing, f"{name}: got {described(got)}, expected a trained head, an nn.Module{missing}"
    if not torch.equal(own[0], features) or not torch.equal(own[1], labels):
        return nothing, f"{name}: the input was changed; work on a copy of it"
    with torch.inference_mode():
        scores, failure = attempted(got.eval(), asked.clone())
    if failure:
        return nothing, f"{name}: the head {failure}"
    if not isinstance(scores, torch.Tensor) or scores.shape != (len(asked), classes):
        return nothing, f"{name}: the head gives {shaped(scores)}, expected scores of shape {(len(asked), classes)}"
    return scores.argmax(dim=1), ""


def _small_head(counts: tuple[int, ...], numbers: int) -> Check:
    """Return a check on few features of so many numbers, which lie far apart, with so many pictures of each class."""

    def check(answer: object, reference: object) -> str | None:
        labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        features = 3 * F.one_hot(labels, numbers).float() + 0.1 * torch.randn(len(labels), numbers)
        shape = f"({len(labels)}, {numbers})"
        guesses, wrong = _trained(
            answer, features, labels, features, f"features {shape}, labels of {len(counts)} classes"
        )
        right = (guesses == labels).double().mean().item() if not wrong else 1.0
        if right < 0.8:
            return f"balanced_head(features {shape}, …): {right:.0%} of its training pictures right; train more"
        return wrong or None

    return check


def _balanced(answer: object, reference: object) -> str | None:
    features, labels, asked, truth = unequal_features()
    what = f"features {tuple(features.shape)}, labels"
    guesses, wrong = _trained(answer, features, labels, asked, what)
    if wrong:
        return wrong
    right = (guesses == truth).double()
    if (mean := right.mean().item()) < BAR:  # as many pictures of each class: the mean of the classes' accuracies
        return (
            f"balanced_head({what}): {mean:.1%} right, averaged over the classes, and at least {BAR:.0%} are wanted; "
            f"of the rare classes {right[_rare(truth)].mean():.1%}, of the others {right[~_rare(truth)].mean():.1%}"
        )
    if (mean := right[_rare(truth)].mean().item()) < RARE_BAR:
        return f"balanced_head({what}): {mean:.1%} of the rare classes right, and at least {RARE_BAR:.0%} are wanted"
    return None


@exercise(
    question=f"Train a linear head on features of very unequal classes: at least {BAR:.0%} right, averaged over them.",
    checks=[_small_head((8, 4, 2), 5), _small_head((20, 10, 5), 12), _balanced],
    hints=[
        "Begin with a loop of full batches: head = nn.Linear(features.shape[1], int(labels.max()) + 1), AdamW with a "
        "rate of 0.003, cross-entropy, 200 steps. Alone it gets too few of the rare classes.",
        "Add the logarithm of each class's number of pictures to the logits, in training only (Menon and others 2020, "
        "arXiv:2007.07314): extra = labels.bincount().float().log(), loss on head(features) + extra.",
        "More helps: 1.5 * extra. Weights alone, as in F.cross_entropy(..., weight=…), are not quite enough here.",
    ],
)
def balanced_head(features: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """Return a linear head trained without the points that common classes get for being common, and a little more."""
    head = nn.Linear(features.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.003)
    extra = 1.5 * labels.bincount().float().log()  # in training only
    for _ in range(200):
        loss = F.cross_entropy(head(features) + extra, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head


quiz = read_quiz("lesson5", LESSON)
