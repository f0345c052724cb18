"""Exercises of appendix B, your own pictures: look-alikes, answers held back, scenes, floors that tell nothing.

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the appendix imports: a copy runs in its cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from course_utils.exercises.checking import MISSING, attempted, call, exercise
from course_utils.exercises.differences import described, shortened
from course_utils.exercises.quiz import read_quiz

LESSON = "B"
FLOORS = ("wood", "tiles", "carpet", "grass", "blanket")
SHOES = ("ankle boot", "sandal", "sneaker")


def _steps(*rows: Sequence[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)


@exercise(
    question="Return in how many places the fingerprints of two grey pictures (H, W) differ: is a pixel brighter than "
    "the one to its left?",
    checks=[
        call(_steps([1, 2, 3], [3, 2, 1]), _steps([1, 2, 3], [3, 2, 1])),
        call(_steps([1, 2, 3], [3, 2, 1]), _steps([11, 12, 13], [13, 12, 11])),
        call(_steps([1, 2, 3], [3, 2, 1]), _steps([3, 2, 1], [1, 2, 3])),
        call(_steps([1, 2, 3, 3]), _steps([1, 2, 1, 5])),
        call(_steps([1, 2, 3], [4, 1, 1]), _steps([3, 2, 1], [0, 1, 0])),
    ],
    hints=[
        "A fingerprint has one column fewer than the picture: the first column has no neighbour to its left.",
        "picture[:, 1:] > picture[:, :-1] is the fingerprint.",
        "(one != other).sum() counts where two fingerprints differ; .item() makes a Python number of it.",
    ],
)
def bits_apart(first: torch.Tensor, second: torch.Tensor) -> int:
    """Return how many bits of two pictures' fingerprints differ; a bit says whether a row gets brighter there."""
    one, other = (picture[:, 1:] > picture[:, :-1] for picture in (first, second))
    return (one != other).sum().item()


CHANCES = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.55, 0.45], [0.2, 0.8], [0.7, 0.3]])
CHANCES_OF_THREE = torch.tensor([[0.2, 0.1, 0.7], [0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.4, 0.35, 0.25]])


@exercise(
    question="Hold back answers with a largest probability below `least`; return the share answered, and of these the "
    "share right (0.0 where none is answered).",
    checks=[
        call(CHANCES, torch.tensor([0, 1, 1, 0, 0]), 0.0, shown="probabilities, labels, 0.0"),
        call(CHANCES, torch.tensor([0, 1, 1, 0, 0]), 0.6, shown="probabilities, labels, 0.6"),
        call(CHANCES, torch.tensor([0, 1, 1, 0, 0]), 0.85, shown="probabilities, labels, 0.85"),
        call(CHANCES, torch.tensor([0, 1, 1, 0, 0]), 0.95, shown="probabilities, labels, 0.95"),
        call(CHANCES_OF_THREE, torch.tensor([2, 0, 1, 0]), 0.5, shown="probabilities of three classes, labels, 0.5"),
    ],
    hints=[
        "probabilities.max(dim=1) gives the largest of each row, and which class it is.",
        "answered = largest >= least is True where an answer is given; answered.double().mean() is the first share.",
        "Compare guesses[answered] with labels[answered]; an empty tensor has the mean nan, so ask before.",
    ],
)
def held_back(probabilities: torch.Tensor, labels: torch.Tensor, least: float) -> tuple[float, float]:
    """Return which share of pictures is answered, and which share of these answers is right."""
    largest, guesses = probabilities.max(dim=1)
    answered = largest >= least
    if not answered.any():
        return 0.0, 0.0
    right = (guesses == labels)[answered].double().mean().item()
    return answered.double().mean().item(), right


@exercise(
    question="Number the scenes of photographs taken at `times` (seconds, any order): a longer pause starts a new one.",
    checks=[
        call([0, 1, 2, 60, 61, 200], 10),
        call([60, 0, 200, 1, 61, 2], 10),
        call([5, 15, 26], 10),
        call([7], 3),
        call([0, 4, 12, 20], 5),
        call([3, 3, 3], 0),
        call([0, 4, 8, 12, 30], 5),
    ],
    hints=[
        "Walk through the times from the earliest to the latest, and remember the one before.",
        "sorted(range(len(times)), key=lambda i: times[i]) gives the numbers of the photographs in order of time.",
        "Start a new scene when times[i] - before > pause, and write the scene's number to place i of the result.",
    ],
)
def scenes(times: list[float], pause: float) -> list[int]:
    """Return the number of each photograph's scene, from 0, in the order of `times`."""
    order = sorted(range(len(times)), key=lambda i: times[i])
    found, scene, before = [0] * len(times), 0, times[order[0]]
    for i in order:
        if times[i] - before > pause:
            scene += 1
        found[i], before = scene, times[i]
    return found


def _planned(*judges: Callable[[dict[str, list[str]]], str | None]) -> Callable[..., str | None]:
    """Return a check of one plan of floors; each judge says what is wrong with it, or None."""

    def check(answer: Callable[..., object], reference: Callable[..., object]) -> str | None:
        plan, failure = attempted(answer, SHOES)
        if failure:
            return f"floors(shoes) {failure}"
        kinds = (list, tuple, set, frozenset)
        if not isinstance(plan, dict) or not all(isinstance(chosen, kinds) for chosen in plan.values()):
            expected = f"expected a dictionary with a list of floors for each class{MISSING if plan is None else ''}"
            return f"floors(shoes) returned {described(plan)}, {expected}"
        named = {str(name): list(map(str, chosen)) for name, chosen in plan.items()}
        return next((found for judge in judges if (found := judge(named))), None)

    return check


def _all_classes(plan: dict[str, list[str]]) -> str | None:
    if sorted(plan) != sorted(SHOES):
        return (
            f"floors(shoes) names the classes {shortened(', '.join(plan)) or 'of nothing'}, expected {', '.join(SHOES)}"
        )
    return None


def _known_floors(plan: dict[str, list[str]]) -> str | None:
    for name, chosen in plan.items():
        for floor in chosen:
            if floor not in FLOORS:
                return f"floors(shoes) puts {name!r} on {described(floor)}, expected floors of {', '.join(FLOORS)}"
        if not 1 <= len(set(chosen)) <= 2:
            return f"floors(shoes) gives {name!r} {len(set(chosen))} floors, expected one or two"
    return None


def _tells_nothing(plan: dict[str, list[str]]) -> str | None:
    for floor in FLOORS:
        on_it = [name for name, chosen in plan.items() if floor in chosen]
        if on_it and len(on_it) < len(plan):
            return (
                f"who sees {floor!r} knows already that it is {' or '.join(on_it)}; a floor must tell nothing of the "
                "class"
            )
    return None


@exercise(
    question="Return for each of the three `shoes` one or two floors, so that a floor tells nothing of the shoe on it.",
    checks=[
        _planned(_all_classes),
        _planned(_all_classes, _known_floors),
        _planned(_all_classes, _known_floors, _tells_nothing),
    ],
    hints=[
        "When could a network guess the shoe from the floor alone?",
        "If a floor lies under one kind of shoe only, it gives that shoe away.",
        "Give all three the same two floors.",
    ],
)
def floors(shoes: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the floors that each shoe may lie on, one or two of each."""
    return {shoe: ["wood", "carpet"] for shoe in shoes}


quiz = read_quiz("appendix_b", LESSON)
