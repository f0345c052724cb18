"""How threads wait: the course's setting against PyTorch's own, on a quiet machine and on one that is shared.

    python benchmarks/threads.py [--rounds 5] [--seconds 6] [--cores 2] [--set NAME=VALUE …]

A small training script, FashionNet on 28×28 pictures and ResidualNet on 32×32, runs on two cores: alone; then
four copies of it at once. Every copy trains for the same time, with its imports and first steps behind it, so that all
four run side by side from the first picture counted to the last. Both sides run in turn, in processes of their own.
--set tries other variables in place of the course's (see course_utils/base/threads.py).

The bars: together, the four train at least 0.8 times as many pictures a second as one alone, which is what they would
do one after another; alone, the course's setting is at most 3 % slower than PyTorch's own.
"""

import argparse
import os
import statistics
import subprocess
import sys

from course_utils.base import threads

TOGETHER, ALONE = 0.8, 0.97
COPIES = 4
CHILD = """\
import sys, time
import torch
from torch.nn import functional as F
from course_utils import models

seconds = float(sys.argv[1])
torch.manual_seed(0)
works = []
for net, shape in ((models.FashionNet(), (64, 1, 28, 28)), (models.ResidualNet(), (32, 3, 32, 32))):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    works.append((net, optimizer, torch.randn(shape), torch.randint(0, 10, shape[:1])))

def train(seconds):
    counts, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for net, optimizer, images, labels in works:
            loss = F.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            counts += len(images)
    return counts / (time.perf_counter() - start)

train(1)
print("ready", flush=True)
sys.stdin.readline()
print(train(seconds), flush=True)
"""


def pictures_per_second(copies, seconds, variables):
    """Train in several processes at once; return how many pictures a second they come to together."""
    left_alone = {name: value for name, value in os.environ.items() if name not in threads.CHOSEN}
    # PyTorch is loaded before the course, which can change nothing any more: what is set is what is given here.
    command = [sys.executable, "-c", CHILD, str(seconds)]
    running = [
        subprocess.Popen(
            command, env=left_alone | variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(copies)
    ]  # fmt: skip
    try:
        for process in running:
            if process.stdout.readline() != "ready\n":
                raise SystemExit("A training process ended before it began; its error stands above.")
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        return sum(float(process.stdout.readline()) for process in running)
    finally:
        for process in running:
            process.kill()
            process.communicate()


def main():
    """Measure both sides in turn, print them and the ratios, and say whether the bars are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="that each process trains for")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="in place of the course's variables")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # the processes inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    ours = dict(pair.split("=", 1) for pair in options.set) or threads.BRIEF
    sides = {"PyTorch's own": {}, " ".join(f"{name}={value}" for name, value in ours.items()): ours}
    default, course = sides
    measured = {(side, copies): [] for side in sides for copies in (1, COPIES)}
    for turn in range(options.rounds):
        for side, copies in list(measured) if turn % 2 == 0 else reversed(list(measured)):
            measured[side, copies].append(pictures_per_second(copies, options.seconds, sides[side]))
    width = max(map(len, sides))
    print(f"pictures a second on {threads.usable_cores()} cores, median of {options.rounds} rounds (lowest to highest)")
    for (side, copies), rates in measured.items():
        spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"{side:<{width}}  {copies} at once {statistics.median(rates):>8,.0f}  {spread}")
    shares = {
        side: statistics.median(four / one for one, four in zip(measured[side, 1], measured[side, COPIES]))
        for side in sides
    }
    for side, share in shares.items():
        print(f"{side:<{width}}  four at once against one after another: {share:.2f}")
    alone = statistics.median(new / old for old, new in zip(measured[default, 1], measured[course, 1]))
    print(f"alone, against PyTorch's own: {alone:.3f}")
    kept = shares[course] >= TOGETHER and alone >= ALONE
    print(f"bars: together at least {TOGETHER}, alone at least {ALONE}: {'kept' if kept else 'missed'}")
    raise SystemExit(not kept)


if __name__ == "__main__":
    main()
