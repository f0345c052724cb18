"""What `training.fit` costs above the bare loop it teaches: the same network, batches and optimizer, run in turn.

    python benchmarks/fit_overhead.py [--rounds 9]

Prints both sides and their ratio. The bar: at most 1.03.
"""

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import statistics
import time

import torch
from torch.nn import functional as F

from course_utils import data, models, training

BAR = 1.03  # times as long as the bare loop


def bare_loop(model, batches, optimizer):
    model.train()
    for images, labels in batches:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def fit(model, batches, optimizer):
    training.fit(model, batches, epochs=1, optimizer=optimizer, progress=False)


def seconds(train, batches):
    torch.manual_seed(0)
    model = models.FashionNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    start = time.perf_counter()
    train(model, batches, optimizer)
    return time.perf_counter() - start


def measure(rounds):
    """Return the median seconds of both sides and the median of the ratios of neighbouring runs."""
    part = data.load("fashion_mnist", quiet=True).train.take(5_000)
    batches = data.batches(part, 256, shuffle=True, channels_last=True)
    sides = {"bare loop": bare_loop, "fit": fit}
    for train in sides.values():  # warm up
        seconds(train, batches)
    taken = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))  # so that neither side is always first
        for name in order:
            taken[name].append(seconds(sides[name], batches))
    ratios = [ours / bare for ours, bare in zip(taken["fit"], taken["bare loop"])]
    return {name: statistics.median(times) for name, times in taken.items()}, statistics.median(ratios), ratios


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    medians, ratio, ratios = measure(parser.parse_args().rounds)
    for name, median in medians.items():
        print(f"{name:<10} {median:7.3f} s for 5,000 pictures")
    print(f"fit / bare loop: {ratio:.3f} (median of pairs; from {min(ratios):.3f} to {max(ratios):.3f}; bar: {BAR})")
    if ratio > BAR:
        raise SystemExit(1)
