"""The ladder of lesson 7 on this machine: the same training on every rung, with speed and accuracy side by side.

    python benchmarks/ladder.py [--device cpu|cuda] [--size small|large] [--pictures N] [--gpu-only] [--record]

Every rung starts from the same weights and sees the same batches in the same order. Each is trained for some epochs;
the first one is the cold one, and the median of the others counts. Two sizes (`acceleration.SIZES`): in the small one
a GPU waits for its launches; the large one, the sprint's, gives it enough to compute, and is for GPUs alone. With a GPU
the rungs of the CPU are measured too, unless --gpu-only. With --record, results/ladder_<device>[_large].json is
written, which lesson 7 shows with its date and the device's name. The bar: the accuracies of all rungs agree within the
noise of the test pictures (four standard errors); on a GPU the last rung is 20 times as fast as its first. (On
an H100 it was 12 and 9 times as fast, and the accuracies of one seed lay further apart.)
"""

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
from pathlib import Path

import torch

from course_utils import acceleration, data

GAIN = 20  # of the last GPU rung over the first


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", default="photo_crops", help='"cifar10" for the real thing')
    parser.add_argument("--size", choices=acceleration.SIZES, default="small")
    parser.add_argument("--pictures", type=int, help="of the size, if not given")
    parser.add_argument("--test-pictures", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--gpu-only", action="store_true", help="leave out the rungs of the CPU")
    parser.add_argument("--record", action="store_true", help="write results/ladder_<device>[_large].json")
    options = parser.parse_args()
    device, size = acceleration.pick_device(options.device), acceleration.SIZES[options.size]
    rungs = [rung for rung in acceleration.RUNGS if rung.kind in ("cpu", device.kind)]
    if options.gpu_only or options.size == "large":
        rungs = [rung for rung in acceleration.RUNGS if rung.kind == "cuda"]
        if device.kind != "cuda":
            names = ", ".join(rung.name for rung in rungs)
            print(f"No GPU here. These rungs of the {options.size} size are {acceleration.NOT_YET}. ({names})")
            return
    pictures = data.load(options.data)
    train = pictures.train.take(at_most=options.pictures or size.pictures)
    test = pictures.test.take(at_most=options.test_pictures)
    climbed = acceleration.climb(
        train, test, device, rungs=rungs, source=f"{pictures.title}: {pictures.source.description}",
        epochs=options.epochs, batch=size.batch, widths=size.widths, rate=size.rate,
        on_rung=lambda row: print(row, flush=True),
    )  # fmt: skip
    print(climbed)
    accuracies = [row.accuracy for row in climbed.measured]
    mean = sum(accuracies) / len(accuracies)
    noise = 4 * (mean * (1 - mean) / len(test)) ** 0.5
    widest = max(accuracies) - min(accuracies)
    print(f"{torch.get_num_threads()} threads; accuracies differ by {widest:.2%} at most (bar: {noise:.2%})")
    on_gpu = [row for row in climbed.measured if row.rung.startswith("GPU")]
    gain = on_gpu[-1].pictures_per_second / on_gpu[0].pictures_per_second if on_gpu else None
    if gain:
        print(f"last GPU rung: {gain:.1f} times the first (bar: {GAIN})")
    if options.record:
        name = acceleration.ladder_file(device.kind, options.size)
        climbed.save(Path(__file__).parent.parent / "results" / name)
        print(f"written: results/{name}")
    if widest > noise or (gain and gain < GAIN):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
