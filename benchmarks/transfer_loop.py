"""Lesson 5's training loop against one written with torchvision's pieces alone: in turn, in one run.

    python benchmarks/transfer_loop.py [--per-class 100] [--seeds 3] [--record]

Both train the same network from the same weights on the same picture files: one epoch of the head with the body frozen,
then the upper stages with smaller rates below, both with random crops, one-cycle and two workers. The reference has
`ImageFolder`, torchvision's transforms, `DataLoader` and a loop of a few lines; ours has `data.folder`, `data.loader`,
`transfer` and `training.fit`. Prints both sides' seconds and test accuracy for each seed, and the ratio. The bars: the
same accuracy to within the sampling error, and no slower (5 % are left for what else the machine does).
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import statistics
import tempfile
import time
from pathlib import Path

import clothes
import recipe
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from course_utils import data, learning_rate, training, transfer

SLACK = 1.05  # times the reference's seconds
HEAD_RATE = 3e-3  # of the head, with batches of recipe.SIZE
LEVELS = ("classifier", "bn2", "conv_head", *(f"blocks.{i}" for i in range(6, 2, -1)))  # what the reference trains


def ours(own: data.ImageSet, net: transfer.Network, epochs: int, seed: int) -> None:
    """The lesson's way."""
    transfer.freeze(net.model, keep=net.head)
    optimizer = torch.optim.AdamW(net.head_layer.parameters(), lr=HEAD_RATE)
    look = recipe.crops(net, clothes.SIDE)
    batches = data.loader(own.train, recipe.SIZE, transform=look, shuffle=True, seed=seed, workers=2)
    schedule = learning_rate.one_cycle(optimizer, batches, 1)
    training.fit(net.model, batches, epochs=1, optimizer=optimizer, scheduler=schedule, progress=False)
    recipe.train_upper_stages(net, own.train, seed, epochs=epochs)


def reference(folder: Path, net: transfer.Network, epochs: int, seed: int) -> None:
    """The same with torch and torchvision alone, as their tutorials write it."""
    torch.manual_seed(seed)
    model, mean, std = net.model, net.preprocess.mean, net.preprocess.std
    change = v2.Compose(
        [
            v2.RandomResizedCrop(clothes.SIDE, scale=(recipe.LEAST, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    loader = DataLoader(ImageFolder(folder, change), recipe.SIZE, shuffle=True, num_workers=2)
    for parameter in model.parameters():
        parameter.requires_grad = False
    for parameter in model.classifier.parameters():
        parameter.requires_grad = True
    by_hand(model, loader, [{"params": model.classifier.parameters(), "lr": HEAD_RATE}], 1, ("classifier",))
    groups = []
    for name in LEVELS:
        layer = model.get_submodule(name)
        layer.requires_grad_(True)
        groups.append({"params": layer.parameters(), "lr": recipe.RATE * recipe.FACTOR ** len(groups)})
    by_hand(model, loader, groups, epochs, LEVELS)


def by_hand(model: nn.Module, loader: DataLoader, groups: list[dict], epochs: int, learning: tuple[str, ...]) -> None:
    """Train for some epochs; batch normalisation moves in the layers `learning` alone."""
    optimizer = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=epochs * len(loader))
    for _ in range(epochs):
        model.eval()
        for name in learning:
            model.get_submodule(name).train()
        for images, labels in loader:
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def main() -> None:
    """Measure both in turn, print them, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-class", type=int, default=100, help="training pictures")
    parser.add_argument("--test", type=int, default=400, help="test pictures a class")
    parser.add_argument("--epochs", type=int, default=2, help="of the upper stages")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="write results/benchmark_transfer_loop.json")
    options = parser.parse_args()
    runs: dict[str, list[tuple[float, float]]] = {"reference": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            own = clothes.clothes(Path(folder), options.per_class, seed, test=options.test)
            test = data.loader(own.test, 100, transform=clothes.plain(recipe.fresh(own.classes, 0)), workers=2)
            ways = {
                "reference": lambda net, own=own, seed=seed: reference(
                    own.source.path / "train", net, options.epochs, seed
                ),
                "ours": lambda net, own=own, seed=seed: ours(own, net, options.epochs, seed),
            }
            for name in sorted(ways, reverse=bool(seed % 2)):  # each goes first in its turn
                net = recipe.fresh(own.classes, seed)
                start = time.perf_counter()
                ways[name](net)
                seconds = time.perf_counter() - start
                runs[name].append((round(seconds, 2), training.predict(net.model, test).accuracy))
                print(f"seed {seed}  {name:<10} {seconds:6.1f} s  {runs[name][-1][1]:.1%}", flush=True)
    count = len(own.test)
    ends = {name: clothes.summary([accuracy for _, accuracy in rows], count) for name, rows in runs.items()}
    for name, found in ends.items():
        print(clothes.line(name, found))
    ratio = statistics.median(a / b for (a, _), (b, _) in zip(runs["ours"], runs["reference"]))
    apart = ends["ours"]["mean"] - ends["reference"]["mean"]
    print(f"ours takes {ratio:.2f} of the reference's time; its accuracy lies {apart:+.1%} from it")
    if options.record:
        figures = {
            "data": own.source.description,
            "per_class": options.per_class,
            "test_pictures": count,
            "epochs": {"head": 1, "upper stages": options.epochs},
            "runs": runs,
            "ends": ends,
            "ratio": round(ratio, 3),
            "slack": SLACK,
            "apart": round(apart, 4),
        }
        clothes.record("transfer_loop", figures)
    if ratio > SLACK or abs(apart) > ends["reference"]["sampling_error"]:
        raise SystemExit(f"The bars: at most {SLACK} times the time, and the accuracy within its sampling error.")


if __name__ == "__main__":
    main()
