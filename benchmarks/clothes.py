"""What the scripts about transfer learning share: Fashion-MNIST as a folder of picture files, errors, records."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from course_utils import data, transfer
from course_utils.base.machine import describe_machine, versions
from course_utils.data.sample_folder import write_sample_folder

RESULTS = Path(__file__).resolve().parent.parent / "results"
SIDE = 96  # of the pictures, in pixels


def clothes(root: Path, per_class: int, seed: int, test: int = 400, validation: int = 0) -> data.ImageSet:
    """Write Fashion-MNIST as picture files and return it, read from the folder as any other.

    Args:
        root: a folder to write into.
        per_class: training pictures a class, drawn with `seed`.
        test: pictures a class, the same for every seed.
        validation: pictures a class, drawn with the training pictures, none of which is among them; 0 for none.
    """
    folder = root / f"clothes-{per_class}-{seed}"
    write_sample_folder(folder / "train", per_class=per_class + validation, side=SIDE, seed=seed, source="load")
    write_sample_folder(folder / "test", per_class=test, side=SIDE, part="test", source="load")
    for kind in sorted((folder / "train").iterdir()) if validation else ():
        (folder / "validation" / kind.name).mkdir(parents=True)
        for file in sorted(kind.iterdir())[per_class:]:
            file.rename(folder / "validation" / kind.name / file.name)
    words = "Fashion-MNIST, scaled up to 96 × 96 and written out as picture files"
    return data.folder(folder, source=data.Source("folder", words, path=folder), quiet=True)


def plain(net: transfer.Network) -> transfer.Preprocess:
    """Return how these pictures go into a network: as large as they are, normalised by its own numbers."""
    return replace(net.preprocess, resize=SIDE, crop=SIDE)


def sampling_error(share: float, count: int) -> float:
    """Return √(p(1 − p)/n): how far a share of `count` pictures lies from that of all such pictures, typically."""
    return math.sqrt(share * (1 - share) / count)


def summary(accuracies: Sequence[float], count: int) -> dict[str, Any]:
    """Return accuracies over seeds with their mean, their spread, and the sampling error of one of them."""
    mean = statistics.mean(accuracies)
    return {
        "accuracies": [round(accuracy, 4) for accuracy in accuracies],
        "mean": round(mean, 4),
        "spread": round(statistics.stdev(accuracies), 4) if len(accuracies) > 1 else 0.0,
        "sampling_error": round(sampling_error(mean, count), 4),
    }


def line(title: str, found: dict[str, Any]) -> str:
    """Return a summary as one line."""
    return (
        f"{title:<28} {found['mean']:.1%}, spread over seeds {found['spread']:.1%}, "
        f"sampling error {found['sampling_error']:.1%}"
    )


def record(name: str, figures: dict[str, Any], *packages: str) -> None:
    """Write results/benchmark_<name>.json: the figures, the machine, the versions and the date."""
    whole = figures | {
        "hardware": describe_machine(),
        "versions": versions("torch", "torchvision", "timm", *packages),
        "date": time.strftime("%Y-%m-%d"),
    }
    path = RESULTS / f"benchmark_{name}.json"
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: results/{path.name}")
