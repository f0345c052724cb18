"""The ladder of lesson 7 on this machine: the same training on every rung, with speed and accuracy side by side.

    python benchmarks/ladder.py [--device cpu|cuda] [--pictures N] [--record]

Every rung starts from the same weights and sees the same batches in the same order. Each is trained for some epochs;
the first one is the cold one, and the median of the others counts. With a GPU the rungs of the CPU are measured
too. With --record, results/ladder_<device>.json is written, which lesson 7 shows with its date and the device's name.
The bar: the accuracies of all rungs agree within the noise of the test pictures (four standard errors).
"""

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
from pathlib import Path

import torch

from course_utils import acceleration, data


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", default="photo_crops", help='"cifar10" for the real thing')
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--test-pictures", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--widths", type=int, nargs=3, default=(16, 32, 32))
    parser.add_argument("--record", action="store_true", help="write results/ladder_<device>.json")
    options = parser.parse_args()
    device = acceleration.pick_device(options.device)
    pictures = data.load(options.data)
    train = pictures.train.take(at_most=options.pictures)
    test = pictures.test.take(at_most=options.test_pictures)
    climbed = acceleration.climb(
        train, test, device, source=f"{pictures.title}: {pictures.source.description}", epochs=options.epochs,
        batch=options.batch, widths=tuple(options.widths), on_rung=lambda row: print(row, flush=True),
    )  # fmt: skip
    print(climbed)
    accuracies = [row.accuracy for row in climbed.measured]
    mean = sum(accuracies) / len(accuracies)
    noise = 4 * (mean * (1 - mean) / len(test)) ** 0.5
    widest = max(accuracies) - min(accuracies)
    print(f"{torch.get_num_threads()} threads; accuracies differ by {widest:.2%} at most (bar: {noise:.2%})")
    if options.record:
        path = Path(__file__).parent.parent / "results" / f"ladder_{device.kind}.json"
        climbed.save(path)
        print(f"written: results/{path.name}")
    if widest > noise:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
