"""What becomes of classes with few training pictures, and what helps: class weights, a sampler, adjusted logits.

    python benchmarks/unequal_classes.py [--draws 5] [--record]

Ten classes of Fashion-MNIST with 5 to 200 training pictures, each number 1.5 times the one before. Which class gets
which number is turned round in a second set. The same head is trained on features of the frozen EfficientNet-Lite0:
with nothing done; with weights N / (K · n) in the loss; with pictures drawn so that all classes come equally often; and
with log(n / N) added to the logits while training (Menon and others 2021, arXiv:2007.07314). Prints the balanced
accuracy (the mean of the classes' accuracies), what a remedy gains in each draw, and the correlation of a class's
accuracy with the logarithm of its number: as it is, and less what the class reaches when all have equal numbers.
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import statistics
import tempfile
from pathlib import Path

import clothes
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import diagnosis, training, transfer

FEWEST, MOST, POOL, TEST = 5, 200, 300, 400  # pictures a class: in the sets, to draw from, to measure on
STEPS, SIZE, RATE = 600, 64, 0.003
REMEDIES = ("nothing", "class weights", "sampler", "adjusted logits")


def train_head(features: Tensor, labels: Tensor, counts: Tensor, remedy: str, seed: int) -> nn.Linear:
    """Return a head trained for `STEPS` steps with one of the remedies."""
    training.seed_everything(seed)
    head = nn.Linear(features.shape[1], len(counts))
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    weights = counts.sum() / (len(counts) * counts) if remedy == "class weights" else None
    offset = (counts / counts.sum()).log() if remedy == "adjusted logits" else torch.zeros(len(counts))
    chance = (1 / counts)[labels] if remedy == "sampler" else None
    while schedule.last_epoch < STEPS:
        if chance is None:
            order = torch.randperm(len(labels))
        else:
            order = torch.multinomial(chance, len(labels), replacement=True)
        for chosen in order.split(SIZE)[: STEPS - schedule.last_epoch]:
            loss = F.cross_entropy(head(features[chosen]) + offset, labels[chosen], weight=weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head


def drawn(labels: Tensor, counts: list[int], seed: int) -> Tensor:
    """Return the indices of `counts` pictures of each class."""
    generator = torch.Generator().manual_seed(seed)
    members = [(labels == k).nonzero().flatten() for k in range(len(counts))]
    return torch.cat([m[torch.randperm(len(m), generator=generator)[:n]] for m, n in zip(members, counts)])


def by_class(pool, final, counts: list[int], remedy: str, draws: int) -> Tensor:
    """Return the accuracy of each class in each draw, (draws, classes)."""
    rows = []
    for seed in range(draws):
        chosen = drawn(pool.labels, counts, seed)
        head = train_head(pool.values[chosen], pool.labels[chosen], torch.tensor(counts).float(), remedy, seed)
        with torch.no_grad():
            answer = training.Predictions(head(final.values), final.labels)
        rows.append(diagnosis.per_class(answer, final.classes).accuracy)
    return torch.stack(rows)


def correlation(counts: list[int], accuracy: Tensor) -> float:
    """Return the correlation of accuracies (classes,) with the logarithms of the counts."""
    return torch.corrcoef(torch.stack([torch.tensor(counts).log(), accuracy.float()]))[0, 1].item()


def measure(pool, final, counts: list[int], equal: Tensor, draws: int) -> dict:
    """Return what each remedy gives on one set of unequal classes, and print it."""
    found = {"counts": counts, "remedies": {}}
    small, large = ([k for k, n in enumerate(counts) if test(n)] for test in (lambda n: n <= 12, lambda n: n >= 80))
    for remedy in REMEDIES:
        rows = by_class(pool, final, counts, remedy, draws)
        balanced = rows.mean(dim=1).tolist()
        row = {
            "balanced": [round(value, 4) for value in balanced],
            "mean": round(statistics.mean(balanced), 4),
            "by_class": [round(value, 4) for value in rows.mean(dim=0).tolist()],
            "at_most_12": round(rows[:, small].mean().item(), 4),
            "at_least_80": round(rows[:, large].mean().item(), 4),
            "correlation": round(correlation(counts, rows.mean(dim=0)), 3),
            "correlation_less_equal": round(correlation(counts, rows.mean(dim=0) - equal), 3),
        }
        first = found["remedies"].get("nothing", row)["balanced"]
        row["gains"] = [round(a - b, 4) for a, b in zip(row["balanced"], first)]
        found["remedies"][remedy] = row
        print(
            f"  {remedy:<16} balanced {row['mean']:.1%}, gain {min(row['gains']):+.1%} to {max(row['gains']):+.1%}; "
            f"classes of at most 12: {row['at_most_12']:.1%}, of at least 80: {row['at_least_80']:.1%}; "
            f"correlation {row['correlation']:.2f}, less equal {row['correlation_less_equal']:.2f}",
            flush=True,
        )
    return found


def main() -> None:
    """Measure both sets, print them, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="write results/benchmark_unequal_classes.json")
    options = parser.parse_args()
    net = transfer.backbone("efficientnet_lite0")
    plain = clothes.plain(net)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        own = clothes.clothes(root, POOL, seed=0, test=TEST)
        pool, final = (
            transfer.cached_features(net, part, plain, cache=root / "features", batch=32, progress=False)
            for part in (own.train, own.test)
        )
        number = len(own.classes)
        growing = [round(FEWEST * (MOST / FEWEST) ** (k / (number - 1))) for k in range(number)]
        each = round(sum(growing) / number)
        alike = by_class(pool, final, [each] * number, "nothing", options.draws)
        print(f"{each} pictures of each class: balanced {alike.mean():.1%}", flush=True)
        sets = {}
        for name, counts in {"growing": growing, "falling": growing[::-1]}.items():
            print(f"{name}: {dict(zip(own.classes, counts))}")
            sets[name] = measure(pool, final, counts, alike.mean(dim=0), options.draws)
        del pool, final  # Windows removes no folder with a file that is mapped
    if options.record:
        figures = {
            "data": own.source.description,
            "classes": list(own.classes),
            "test_pictures": TEST * number,
            "draws": options.draws,
            "equal": {
                "count": each,
                "balanced": [round(value, 4) for value in alike.mean(dim=1).tolist()],
                "mean": round(alike.mean().item(), 4),
                "by_class": [round(value, 4) for value in alike.mean(dim=0).tolist()],
            },
            "sets": sets,
        }
        clothes.record("unequal_classes", figures)


if __name__ == "__main__":
    main()
