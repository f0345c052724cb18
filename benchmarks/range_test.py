"""What `learning_rate.range_test` costs above the bare loop that lesson 6 teaches, and beside torch-lr-finder.

    python benchmarks/range_test.py [--rounds 5] [--steps 100]

The same network, batches, rates and optimizer, run in turn; prints seconds, the ratios, and how far the losses differ.
"""

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import contextlib
import io
import itertools
import statistics
import time
import warnings

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from course_utils import data, learning_rate, models


def made(images, labels):
    torch.manual_seed(0)
    model = models.FashionNet(widths=(8, 16, 32))
    order = torch.Generator().manual_seed(0)
    loader = DataLoader(TensorDataset(images, labels), 100, shuffle=True, generator=order)
    return model, loader, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def bare(model, loader, optimizer, steps):
    losses = []
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    model.train()
    for rate, (images, labels) in zip(learning_rate.geometric_rates(1e-7, 1, steps), stream):
        optimizer.param_groups[0]["lr"] = rate
        loss = F.cross_entropy(model(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def ours(model, loader, optimizer, steps):
    return learning_rate.range_test(model, loader, optimizer, start=1e-7, end=1.0, steps=steps, threshold=1e9).losses


def peer(model, loader, optimizer, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_lr_finder import LRFinder
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder = LRFinder(model, optimizer, F.cross_entropy, device="cpu")
        finder.range_test(loader, start_lr=1e-7, end_lr=1.0, num_iter=steps, smooth_f=0, diverge_th=1e9)
        finder.reset()
    return finder.history["loss"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    part = data.load("fashion_mnist", seed=0, quiet=True).train.take(2000, seed=0)
    pictures = next(iter(data.batches(part, 2000)))
    sides = {"bare loop": bare, "range_test": ours, "torch-lr-finder": peer}
    seconds, losses = {name: [] for name in sides}, {}
    for _ in range(given.rounds + 1):  # the first round warms up
        for name, side in sides.items():
            things = made(*pictures)
            start = time.process_time()
            losses[name] = list(side(*things, given.steps))
            seconds[name].append(time.process_time() - start)
    middle = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, value in middle.items():
        apart = max(abs(a - b) for a, b in zip(losses[name], losses["bare loop"]))
        ratio = value / middle["bare loop"]
        print(f"{name:<16} {value:6.2f} s of processor time, {ratio:.2f} × the bare loop, losses within {apart:.1e}")


if __name__ == "__main__":
    main()
