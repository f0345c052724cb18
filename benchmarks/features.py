"""A head trained for 10 epochs on cached features, against running the frozen body in every epoch: in turn, in one run.

    python benchmarks/features.py [--pictures 80] [--record]

Both sides train the same linear head from the same numbers, on the same pictures in the same order, with the frozen
EfficientNet-Lite0. One computes the features once (that time counts) and trains on them; the other opens, prepares and
sends every picture through the body in every epoch, as a usual training loop does. Prints both sides, their ratio, and
their accuracies on pictures that took no part. The bar: at least 8 times faster, with the same accuracy.
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from course_utils import data, training, transfer
from course_utils.base.machine import describe_machine, versions

BAR, EPOCHS, SIZE, RATE = 8, 10, 16, 0.003
NOISE = 0.04  # the two accuracies may differ by this much


def orders(count, seed=0):
    """Yield the batches of each epoch, the same for both sides."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        yield from torch.randperm(count, generator=generator).split(SIZE)


def fresh_head(net, classes):
    training.seed_everything(0)
    head = nn.Linear(net.head_layer.in_features, classes)
    return head, torch.optim.AdamW(head.parameters(), lr=RATE)


def step(head, optimizer, features, labels):
    loss = F.cross_entropy(head(features), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def with_cache(net, pictures, cache):
    """Return the trained head and the seconds that features and training took."""
    head, optimizer = fresh_head(net, len(pictures.classes))
    start = time.perf_counter()
    features = transfer.cached_features(net, pictures, cache=cache, batch=SIZE, progress=False)
    for chosen in orders(len(pictures)):
        step(head, optimizer, features.rows(chosen), features.labels[chosen])
    return head, time.perf_counter() - start


def every_epoch(net, pictures):
    """Return the trained head and the seconds that training took, with the body run in every epoch."""
    head, optimizer = fresh_head(net, len(pictures.classes))
    start = time.perf_counter()
    for chosen in orders(len(pictures)):
        images = torch.stack([net.preprocess(pictures.picture(i)) for i in chosen.tolist()])
        step(head, optimizer, net.features(images), pictures.labels[chosen])
    return head, time.perf_counter() - start


def main():
    """Measure both in turn, print them, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=80)
    parser.add_argument("--record", action="store_true", help="write results/benchmark_features.json")
    options = parser.parse_args()
    own = data.own_pictures()
    train, final = own.train.take(at_most=options.pictures), data.held_out(own).take(at_most=options.pictures)
    net = transfer.backbone("efficientnet_lite0")
    net.features(torch.zeros(SIZE, 3, 224, 224))  # warm
    with tempfile.TemporaryDirectory() as folder:
        asked = transfer.cached_features(net, final, cache=Path(folder), progress=False)
        sides = {"cached features": with_cache(net, train, Path(folder)), "body every epoch": every_epoch(net, train)}
        rows = {}
        for name, (head, seconds) in sides.items():
            right = (head(asked.values).argmax(dim=1) == asked.labels).double().mean().item()
            rows[name] = {"seconds": round(seconds, 2), "accuracy": round(right, 4)}
            work = f"{EPOCHS} epochs of {len(train)} pictures"
            print(f"{name:<17} {work}  {seconds:7.1f} s  {right:.1%} of {len(final)} right")
        del asked
    ratio = sides["body every epoch"][1] / sides["cached features"][1]
    print(f"{ratio:.1f} times faster (bar: {BAR})")
    if options.record:
        record = {
            "pictures": {"training": len(train), "final": len(final)},
            "epochs": EPOCHS,
            "sides": rows,
            "ratio": round(ratio, 2),
            "bar": BAR,
            "noise": NOISE,
            "hardware": describe_machine(),
            "versions": versions("torch", "torchvision", "timm"),
            "date": time.strftime("%Y-%m-%d"),
            "data": own.source.description,
        }
        path = Path(__file__).resolve().parent.parent / "results" / "benchmark_features.json"
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    first, second = (row["accuracy"] for row in rows.values())
    if ratio < BAR or abs(first - second) > NOISE:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
