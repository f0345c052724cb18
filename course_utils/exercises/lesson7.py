"""Exercises of lesson 7, "GPU acceleration".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

from __future__ import annotations

import torch

from course_utils.exercises.checking import call, exercise
from course_utils.exercises.quiz import read_quiz

LESSON = "07"


@exercise(
    question="Return (pictures / median of the warm calls, (slowest − fastest) / median), leaving out the warm-up.",
    checks=[
        call([9.0, 2.0, 1.0, 4.0], 64, 1),
        call([5.0, 0.5, 0.25, 0.75, 1.0], 100, 1),
        call([3.0, 3.0, 2.0, 1.0], 12, 2),
        call([0.5], 32, 0),
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
    question="Return the gradient of the mean loss over all pictures, given that of each slice and the slices' sizes.",
    checks=[
        call([torch.tensor([1.0, -2.0]), torch.tensor([3.0, 4.0])], [4, 4]),
        call([torch.tensor([1.0, -2.0]), torch.tensor([4.0, 1.0])], [2, 1]),
        call([torch.tensor([[0.5, 1.0]]), torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 1.0]])], [3, 3, 2]),
    ],
    hints=[
        "Each slice's gradient is a mean over its own pictures. What is the sum over its pictures?",
        "Gradient times count is the sum over a slice. Add the sums, and divide once by all pictures.",
        "The plain average is right only where all slices have the same size.",
    ],
)
def average_gradient(gradients: list[torch.Tensor], counts: list[int]) -> torch.Tensor:
    """Return the gradient of the mean loss over a batch, from those of its slices with `counts` pictures."""
    total = sum(counts)
    return sum(gradient * (count / total) for gradient, count in zip(gradients, counts))


@exercise(
    question="Return the bytes of a batch (N, C, H, W) whose numbers have `bits` bits each.",
    checks=[call((256, 3, 32, 32), 32), call((256, 3, 32, 32), 8), call((1, 64, 31, 31), 16), call((10, 1, 7, 5), 32)],
    hints=[
        "How many numbers are there? N · C · H · W.",
        "A byte has 8 bits: bfloat16 takes 2 bytes, float32 takes 4.",
    ],
)
def batch_bytes(shape: tuple[int, int, int, int], bits: int) -> int:
    """Return the bytes of a batch (N, C, H, W) whose numbers have `bits` bits."""
    pictures, channels, height, width = shape
    return pictures * channels * height * width * bits // 8


@exercise(
    question="Return which pictures are mirrored in `epoch`, bool (N,), when `first` are those mirrored in epoch 0.",
    checks=[
        call(torch.tensor([True, False, True]), 0),
        call(torch.tensor([True, False, True]), 1),
        call(torch.tensor([False, False, True, True]), 6),
        call(torch.tensor([False, False, True, True]), 7),
    ],
    hints=[
        "In every second epoch a picture is seen the other way round.",
        "epoch % 2 is 0 in even epochs and 1 in odd ones.",
        "~first turns a tensor of True and False round.",
    ],
)
def alternating(first: torch.Tensor, epoch: int) -> torch.Tensor:
    """Return which pictures are mirrored in an epoch, bool (N,): those of `first` in even ones, the others in odd."""
    return first if epoch % 2 == 0 else ~first


quiz = read_quiz("lesson7")
