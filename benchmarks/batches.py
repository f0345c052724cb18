"""Pictures per second: `data.batches` against torchvision's DataLoader, the same work, in turn, in one run.

    python benchmarks/batches.py [--rounds 5] [--pictures 20000]

The work: CIFAR-10-sized pictures, shuffled, padded by 4 and cut at random, half of them mirrored, as float batches.
torchvision does it picture by picture (RandomCrop, RandomHorizontalFlip, ToTensor) in two worker processes. Its start
of the workers is timed apart and left out, which favours it. Ours also normalises, in one thread.
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import statistics
import time

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from course_utils import data

BAR = 8  # times as many pictures per second


class OneByOne(Dataset):
    """Pictures as torchvision's CIFAR10 hands them out: a Pillow picture through the transforms, and its label."""

    def __init__(self, part: data.TensorPart):
        self.pixels = part.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = part.labels.tolist()
        self.transform = transforms.Compose(
            [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def pictures_per_second(loader) -> float:
    """Run through a loader once and return the speed, from the first batch on."""
    batches = iter(loader)
    next(batches)
    started, count = time.perf_counter(), 0
    for _, labels in batches:
        count += len(labels)
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measure both in turn, and print every round and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1, help="threads of data.batches")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    n = options.pictures
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (n,), generator=generator)
    part = data.TensorPart(images, labels, tuple("0123456789"), "train", (0.5,) * 3, (0.25,) * 3)
    ours = data.batches(part, options.batch, shuffle=True, augment=data.Augment(crop=4, flip=True))
    theirs = DataLoader(OneByOne(part), options.batch, shuffle=True, num_workers=2, persistent_workers=True)
    pictures_per_second(theirs)  # starts the workers
    speeds: dict[str, list[float]] = {"DataLoader, 2 workers": [], "data.batches": []}
    for round_ in range(options.rounds):
        speeds["DataLoader, 2 workers"].append(pictures_per_second(theirs))
        speeds["data.batches"].append(pictures_per_second(ours))
        last = ", ".join(f"{name} {values[-1]:,.0f}" for name, values in speeds.items())
        print(f"round {round_ + 1}: {last} pictures a second")
    old, new = (statistics.median(values) for values in speeds.values())
    print(
        f"median of {options.rounds}: {old:,.0f} and {new:,.0f} pictures a second: {new / old:.1f} times (bar: {BAR})"
    )
    if new < BAR * old:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
