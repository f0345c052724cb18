"""Pictures a second from folders of JPEG files: `data.loader` against torchvision's ImageFolder and a DataLoader.

python benchmarks/folder_loader.py                            2,000 files, two workers
python benchmarks/folder_loader.py --files 20000 --record     as results/benchmark_folder_loader.json has it

Both sides read the same made-up files of 500 × 375 pixels through the same transform (random crop, mirrored by chance,
normalised) with the same workers, by turns; the middle of their times counts, and their pixels are compared. Beside
them stands the processor time of the workers a picture, which says the same on a machine that is not idle. What both
cannot do without is the decoder's share, which is measured alone: a whole file, and one at half its size.
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from course_utils import data, pictures
from course_utils.base.files import replace_file
from course_utils.base.machine import describe_machine, versions

WIDTH, HEIGHT, CLASSES, DIFFERENT = 500, 375, 10, 2000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECORD = Path(__file__).resolve().parent.parent / "results" / "benchmark_folder_loader.json"


def make_files(folder, count):
    """Write so many JPEG files, parts of photographs, which compress like any: `DIFFERENT` ones and copies of them."""
    chance = np.random.default_rng(0)
    photographs = [pictures.photograph(name) for name in pictures.photographs()]

    def place(i):
        inside = folder / f"class{i % CLASSES}"
        inside.mkdir(exist_ok=True)
        return inside / f"{i:05d}.jpg"

    for i in range(min(count, DIFFERENT)):
        whole = photographs[i % len(photographs)]
        scale = chance.uniform(0.6, 1.0) * min(whole.width / WIDTH, whole.height / HEIGHT)
        wide, tall = WIDTH * scale, HEIGHT * scale
        left, top = chance.uniform(0, whole.width - wide), chance.uniform(0, whole.height - tall)
        picture = whole.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, (left, top, left + wide, top + tall))
        picture.save(place(i), quality=88)
    for i in range(DIFFERENT, count):
        shutil.copy(place(i % DIFFERENT), place(i))


def views(side):
    """Return the usual transform of a training."""
    return v2.Compose([
        v2.RandomResizedCrop(side), v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ])  # fmt: skip


def seconds(loader):
    """Return how long one pass takes, and the processor time of its workers."""
    started, spent = time.perf_counter(), os.times()
    count = sum(len(labels) for _, labels in loader)
    assert count == len(loader.dataset)
    ended = os.times()  # its workers have ended too
    busy = ended.children_user + ended.children_system - spent.children_user - spent.children_system
    return time.perf_counter() - started, busy


def decoding(part, smaller):
    """Return the processor time, in ms, that Pillow takes to decode one of the files at 1/`smaller` of its size."""
    spent = time.process_time()
    for file in part.files[:500]:
        with Image.open(file) as picture:
            picture.draft("RGB", (WIDTH // smaller, HEIGHT // smaller))
            picture.load()
    return 1000 * (time.process_time() - spent) / len(part.files[:500])


def apart(folder, files, transform):
    """Return the files as a part, and for some how far the two sides' pixels are apart, in levels of 0 to 255."""
    theirs, levels = ImageFolder(folder, transform), []
    part = data.FilePart(
        tuple(Path(path) for path, _ in theirs.samples), torch.tensor(theirs.targets), tuple(theirs.classes), "train",
        ((WIDTH, HEIGHT),) * len(theirs.samples),
    )  # fmt: skip
    chosen = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:files].tolist()
    for i in chosen:
        torch.manual_seed(i)
        one = theirs[i][0]
        torch.manual_seed(i)
        other = next(iter(data.loader(part.select([i]), 1, transform=transform, seed=i)))[0][0]
        levels.append(255 * ((one - other).abs() * torch.tensor(STD)[:, None, None]).mean().item())
    return part, levels


def main():
    """Measure, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 224])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        make_files(Path(name), options.files)
        for side in options.sides:
            transform = views(side)
            part, levels = apart(name, 100, transform)
            ours = data.loader(part, options.batch, transform=transform, shuffle=True, workers=options.workers)
            theirs = DataLoader(ImageFolder(name, transform), options.batch, shuffle=True, num_workers=options.workers)
            times = {"ours": [], "theirs": []}
            for _ in range(options.rounds):
                times["theirs"].append(seconds(theirs))
                times["ours"].append(seconds(ours))
            middle = {key: [statistics.median(each) for each in zip(*values)] for key, values in times.items()}
            rate = {key: options.files / wall for key, (wall, _) in middle.items()}
            busy = {key: 1000 * spent / options.files for key, (_, spent) in middle.items()}
            rows[str(side)] = {
                "loader": rate["ours"],
                "image_folder": rate["theirs"],
                "ratio": rate["ours"] / rate["theirs"],
                "loader_processor_ms": busy["ours"],
                "image_folder_processor_ms": busy["theirs"],
                "levels_apart_mean": statistics.mean(levels),
                "levels_apart_most": max(levels),
            }
            print(
                f"to {side} pixels: data.loader {rate['ours']:,.0f} pictures a second, ImageFolder "
                f"{rate['theirs']:,.0f}: {rate['ours'] / rate['theirs']:.2f} times as many; pixels "
                f"{statistics.mean(levels):.2f} levels apart, {max(levels):.2f} at most; processor time of the workers "
                f"{busy['ours']:.2f} and {busy['theirs']:.2f} ms a picture"
            )
        alone = {"whole": decoding(part, 1), "half": decoding(part, 2)}
    print(f"the decoder alone: {alone['whole']:.2f} ms a picture, {alone['half']:.2f} at half its size")
    if options.record:
        record = {
            "files": options.files, "size": [WIDTH, HEIGHT], "batch": options.batch, "workers": options.workers,
            "rounds": options.rounds, "sides": rows, "decoder_processor_ms": alone, "hardware": describe_machine(),
            "versions": versions("torch", "torchvision", "pillow"), "date": time.strftime("%Y-%m-%d"),
        }  # fmt: skip
        replace_file(RECORD, json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
