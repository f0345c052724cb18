"""Time the four convolutions of lesson 2 side by side, and print each one's median and ratio to the loops.

    python benchmarks/convolutions.py [--side 32] [--channels 16] [--filters 16] [--rounds 5] [--threads 1]

All four compute the same (checked first). Each round runs every version, the quick ones many times, so that a busy
moment of the machine hits all of them.
"""

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import time
from statistics import median

import torch
from torch.nn import functional as F

from course_utils import convolution

VERSIONS = {
    "loops": convolution.corr2d_loops,
    "slices": convolution.corr2d_slices,
    "unfold": convolution.corr2d_unfold,
    "F.conv2d": F.conv2d,
}
LONG_ENOUGH = 0.05  # seconds per version and round


def race(images, weight, rounds):
    """Return every version's median seconds per call."""
    times = {name: [] for name in VERSIONS}
    for _ in range(rounds):
        for name, version in VERSIONS.items():
            begin = time.perf_counter()
            while not times[name] or time.perf_counter() - begin < LONG_ENOUGH:
                start = time.perf_counter()
                version(images, weight)
                times[name].append(time.perf_counter() - start)
    return {name: median(series) for name, series in times.items()}


def main():
    """Read the settings, race twice, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=32, help="side of the picture in pixels")
    parser.add_argument("--channels", type=int, default=16, help="input channels of the second race")
    parser.add_argument("--filters", type=int, default=16, help="filters of the second race")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="cores that PyTorch may use")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    random = torch.Generator().manual_seed(0)
    print(f"PyTorch {torch.__version__}, {settings.threads} thread(s), 3×3 kernels, padding 1, one picture")
    for channels, filters in ((1, 1), (settings.channels, settings.filters)):
        images = torch.randn(1, channels, settings.side, settings.side, generator=random)
        images = F.pad(images, (1, 1, 1, 1))
        weight = torch.randn(filters, channels, 3, 3, generator=random)
        expected = F.conv2d(images, weight)
        for version in VERSIONS.values():
            torch.testing.assert_close(version(images, weight), expected, rtol=1e-4, atol=1e-4)
        typical = race(images, weight, settings.rounds)
        print(f"\n{channels} -> {filters} channels, {settings.side}×{settings.side} pixels")
        print(f"{'version':10} {'median':>12} {'loops / version':>16}")
        for name, seconds in typical.items():
            print(f"{name:10} {1000 * seconds:9.3f} ms {typical['loops'] / seconds:16,.0f}")


if __name__ == "__main__":
    main()
