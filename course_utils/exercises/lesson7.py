"""Exercises of lesson 7, "Speed: from loops to GPUs".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from course_utils import acceleration
from course_utils.exercises import given
from course_utils.exercises.checking import Check, attempted, by_way_of, call, exercise
from course_utils.exercises.differences import first_difference
from course_utils.exercises.quiz import read_quiz

LESSON = "07"


@exercise(
    question="Return (pictures / median of the warm calls, (slowest − fastest) / median), leaving out the warm-up.",
    checks=[
        call([9.0, 2.0, 1.0, 4.0], 64, 1),
        call([5.0, 0.5, 0.25, 0.75, 1.0], 100, 1),
        call([3.0, 3.0, 2.0, 1.0], 12, 2),
        call([0.5], 32, 0),
        call([1.0, 0.3, 0.3, 0.3], 100, 1),
    ],
    hints=[
        "seconds[warmup:] are the calls that count.",
        "The median is the middle one of the sorted calls; with an even number, the mean of the middle two.",
        "Return two numbers: pictures / median, and (max − min) / median.",
    ],
)
def throughput(seconds: list[float], pictures: int, warmup: int) -> tuple[float, float]:
    """Return (pictures per second, spread) from timed calls, without the first `warmup` of them."""
    warm = sorted(seconds[warmup:])
    middle = len(warm) // 2
    median = warm[middle] if len(warm) % 2 else (warm[middle - 1] + warm[middle]) / 2
    return pictures / median, (warm[-1] - warm[0]) / median


@exercise(
    question="Return the speed-up of the whole when all but the share `fixed` of the time is `factor` times faster.",
    checks=[call(0.5, 2.0), call(0.1, 10.0), call(0.0, 8.0), call(1.0, 100.0), call(0.25, 1e9)],
    hints=[
        "Let the whole take 1 second before. How long does the fixed part take afterwards, and how long the rest?",
        "Afterwards it takes fixed + (1 − fixed) / factor.",
        "The speed-up is the time before over the time after.",
    ],
)
def amdahl(fixed: float, factor: float) -> float:
    """Return how many times faster everything is when all but the share `fixed` becomes `factor` times faster."""
    return 1 / (fixed + (1 - fixed) / factor)


@exercise(
    question='Return what limits a step, "launch", "memory" or "compute": the one of the three that takes longest.',
    checks=[
        call(300, 1e6, 1e8),
        call(10, 4e9, 1e9),
        call(10, 4e7, 9e11),
        call(200, 1.4e9, 2e11),
        call(100, 1.4e9, 1e11),
        call(100, 8e8, 2.4e11),
        call(10, 8e8, 1e11),
        call(10, 8e8, 1.3e11),
    ],
    hints=[
        "Three times: for launching, for fetching, for computing. None of them waits for the others.",
        "launches · 5e-6 s, moved / 2e12 s and operations / 3e14 s.",
        "Put the three seconds into a dict by name; max(seconds, key=seconds.get) is the name of the longest.",
    ],
)
def limited_by(launches: int, moved: float, operations: float) -> str:
    """Return what takes longest on a GPU with 5 µs a launch, 2e12 bytes and 3e14 operations a second."""
    seconds = {"launch": launches * 5e-6, "memory": moved / 2e12, "compute": operations / 3e14}
    return max(seconds, key=seconds.get)


@exercise(
    question="Return [(start, stop), …], one for each process: even slices of a batch, the longer ones first.",
    checks=[call(8, 2), call(7, 3), call(10, 4), call(2, 3), call(5, 1)],
    hints=[
        "count // processes pictures for everyone, and count % processes are left over.",
        "The first count % processes slices get one picture more.",
        "Each slice starts where the one before it stopped; a slice may be empty.",
    ],
)
def slices(count: int, processes: int) -> list[tuple[int, int]]:
    """Return (start, stop) of each process's slice of `count` pictures: as even as can be, longer ones first."""
    short, extra = divmod(count, processes)
    result, start = [], 0
    for rank in range(processes):
        stop = start + short + (1 if rank < extra else 0)
        result.append((start, stop))
        start = stop
    return result


def _step(
    name: str,
    answer: Callable[..., Any],
    net: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    memory: int,
    wanted: Sequence[torch.Tensor],
    limit: int = 0,
) -> tuple[str, int, int, int]:
    """Return what is wrong with a step, or "", and what `given.measured` returns of it; for `limit` see `by_way_of`."""
    own = images.clone(), labels.clone()
    counted, failure = attempted(by_way_of(given.measured, answer, limit), net, *own, memory)
    if failure:
        return f"{name} {failure}", 0, 0, 0
    if not (torch.equal(own[0], images) and torch.equal(own[1], labels)):
        return f"{name}: the input was changed; work on a copy of it", 0, 0, 0
    for parameter, expected in zip(net.parameters(), wanted):
        if parameter.grad is None:
            return f"{name}: a weight has no gradient afterwards", 0, 0, 0
        if difference := first_difference(parameter.grad, expected):
            return f"{name}: the gradient of the mean loss is another; {difference}", 0, 0, 0
    return "", *counted


def _little_memory(count: int, room: int) -> Check:
    """Return a check: the gradient of a batch of `count`, while at most `room` pictures' activations are kept."""

    def check(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.GELU(), nn.Flatten(), nn.Linear(512, 4)
        )
        images, labels = torch.randn(count, 3, 8, 8), torch.randint(0, 4, (count,))
        wanted = torch.autograd.grad(F.cross_entropy(net(images), labels), list(net.parameters()))
        memory = int(room * acceleration.kept_for_backward(net, images, labels) / count * 1.15)
        name = f"little_memory(net, {count} pictures, labels, {memory:,})"
        wrong, kept, used, largest = _step(name, answer, net, images, labels, memory, wanted)
        if wrong:
            return wrong
        if kept > memory:
            return f"{name} kept {kept:,} bytes at once"
        if largest > (fit := memory // acceleration.kept_for_backward(net, images[:1], labels[:1])):
            return f"{name} gave the network {largest} pictures at once, expected at most {fit}"
        most = 2 * math.ceil(count / room)
        return None if used <= most else f"{name} used the network {used} times, expected at most {most}"

    return check


def _enforced(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
    """Return what is wrong with an answer that must do with a third of the memory that the whole batch takes.

    In `course check` the system enforces that, whatever the answer does to what counts; a notebook's kernel must not be
    limited.
    """
    if not hasattr(answer, "by_way_of"):
        return None
    net, images, labels, wanted = _large_batch()
    net, whole = copy.deepcopy(net), 3 * images.numel() * MAPS * 4  # behind each of the first three layers
    name = f"little_memory(net, {len(images):,} pictures, labels, {whole // 30:,})"
    return _step(name, answer, net, images, labels, whole // 30, wanted, limit=whole // 3 * 2)[0] or None


MAPS = 32


@functools.cache
def _large_batch() -> tuple[nn.Module, torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Return a network, images and labels that take much memory at once, and the gradients of their mean loss."""
    net = nn.Sequential(nn.Conv2d(1, MAPS, 1), nn.GroupNorm(2, MAPS), nn.GELU(), nn.AvgPool2d(16), nn.Flatten())
    images, labels = torch.randn(6000, 1, 16, 16), torch.randint(0, MAPS, (6000,))
    trained = copy.deepcopy(net)
    for some, right in zip(images.split(200), labels.split(200)):
        (F.cross_entropy(trained(some), right, reduction="sum") / len(images)).backward()
    return net, images, labels, [parameter.grad for parameter in trained.parameters()]


@exercise(
    question="Leave the gradient of the batch's mean loss in the network, keeping at most `memory` bytes at once.",
    checks=[
        *(_little_memory(*sizes) for sizes in ((40, 10), (37, 8), (30, 30), (23, 5), (5, 1))),
        _enforced,
    ],
    hints=[
        "How much does one picture need? acceleration.kept_for_backward(net, images[:1], labels[:1]) counts it.",
        "memory // that is the size of a piece; images.split(size) cuts.",
        "For each piece: the summed loss, divided by all pictures, then .backward(): gradients add up.",
    ],
)
def little_memory(net: nn.Module, images: torch.Tensor, labels: torch.Tensor, memory: int) -> None:
    """Leave in `net` the gradient of the mean cross-entropy, with pieces so small that `memory` bytes are enough."""
    one = acceleration.kept_for_backward(net, images[:1], labels[:1])
    size = max(1, memory // one)
    for some, right in zip(images.split(size), labels.split(size)):
        loss = F.cross_entropy(net(some), right, reduction="sum") / len(images)
        loss.backward()


quiz = read_quiz("lesson7", LESSON)
