"""What ImageNet knows of ants and bees beforehand: the untouched network on the pictures of PyTorch's own tutorial.

    COURSE_DATA_DIR=… python benchmarks/leak.py [--record]

The 153 validation pictures of `hymenoptera_data` are asked about twice. The untouched network compares its own two
logits, for its categories "ant" and "bee"; nothing is trained. A linear head is trained on the features of the 244
training pictures, from five seeds. Prints both shares. Needs `hymenoptera_data` in the data folder.
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
from torch.optim.lr_scheduler import OneCycleLR

from course_utils import data, transfer
from course_utils.base.machine import describe_machine, versions

EPOCHS, SIZE, RATE, SEEDS = 20, 32, 0.003, 5


def trained(features, labels, seed):
    """Return a linear head trained with one-cycle."""
    torch.manual_seed(seed)
    head = nn.Linear(features.shape[1], 2)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE)
    schedule = OneCycleLR(optimizer, RATE, total_steps=EPOCHS * -(-len(labels) // SIZE))
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(labels)).split(SIZE):
            loss = F.cross_entropy(head(features[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head


def share(scores, labels):
    return (scores.argmax(dim=1) == labels).double().mean().item()


def main():
    """Measure both, print them, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write results/benchmark_leak.json")
    options = parser.parse_args()
    own = data.own_pictures()
    if own.classes != ("ants", "bees"):
        raise SystemExit("This needs the ants and bees: put hymenoptera_data into COURSE_DATA_DIR.")
    net = transfer.backbone()
    known = net.knows(own.classes)
    columns = [net.classes.index(kinds[0]) for kinds in known.values()]
    test = data.held_out(own)
    with tempfile.TemporaryDirectory() as cache, torch.inference_mode():
        parts = [transfer.cached_features(net, part, cache=Path(cache), progress=False) for part in (own.train, test)]
        (values, labels), (asked, truth) = ((part.values, part.labels) for part in parts)
        untouched = share(net.tail()(asked)[:, columns], truth)
    heads = [trained(values.clone(), labels.clone(), seed) for seed in range(SEEDS)]
    with torch.inference_mode():
        shares = [share(head(asked), truth) for head in heads]
    mean = sum(shares) / SEEDS
    print(f"untouched {untouched:.1%}, trained {mean:.1%} ({min(shares):.1%} to {max(shares):.1%}) of {len(truth)}")
    if options.record:
        recorded = {
            "date": time.strftime("%Y-%m-%d"),
            "data": own.source.description,
            "pictures": {"training": len(labels), "test": len(truth)},
            "categories": {name: list(kinds) for name, kinds in known.items()},
            "untouched": untouched,
            "trained": mean,
            "seeds": shares,
            "hardware": describe_machine(),
            "versions": versions("torch", "torchvision", "timm"),
        }
        path = Path(__file__).resolve().parent.parent / "results" / "benchmark_leak.json"
        path.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
