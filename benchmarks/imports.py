"""Time a lesson's imports against those of the libraries it stands on, in processes run in turn.

    python benchmarks/imports.py [--lesson 1] [--rounds 5] [--bar 1.4]

The libraries are `import torch, matplotlib.pyplot, ipywidgets`. The lesson imports what its first cell does; a third
row adds the lesson's own live figures and exercises, which are loaded when they are first used. Prints the best and
the median seconds of each, the best seconds of the processor (which a busy machine changes less), and their ratios to
the libraries'; exit code 1 when the lesson takes longer than the bar allows.
"""

import argparse
import ast
import os
import statistics
import subprocess
import sys
import time

from course_utils.base import lessons

LIBRARIES = "import torch, matplotlib.pyplot, ipywidgets"


def imports_of(number: str) -> str:
    """Return the import lines of a lesson's first cell, as it has them before its settings."""
    source = lessons.sources()[number].read_text(encoding="utf-8")
    first = source[: source.index('# %% tags=["parameters"')]
    lines = [node for node in ast.parse(first).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return "\n".join(["from course_utils import environment", *map(ast.unparse, lines)])


def seconds(code: str) -> tuple[float, float]:
    """Return how long a fresh Python takes for `code`, its own start included: by the clock, and on the processor."""
    start, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, used


def main():
    """Read the settings, run the sides in turn, print both and their ratio, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lesson", default="1", help="its number")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each side")
    parser.add_argument("--bar", type=float, default=1.4, help="how many times as long the lesson's imports may take")
    settings = parser.parse_args()
    number = lessons.lesson_number(settings.lesson)
    lesson = imports_of(number)
    used = f"{lesson}\nwidgets.lesson{int(number)}, exercises.lesson{int(number)}"
    sides = {"the libraries": LIBRARIES, f"lesson {int(number)}": lesson, "with figures, exercises": used}
    taken = {name: [] for name in sides}
    for code in sides.values():  # once for nothing: files come from the disk the first time
        seconds(code)
    for _ in range(settings.rounds):
        for name, code in sides.items():
            taken[name].append(seconds(code))
    columns = ("best s", "ratio", "median s", "processor s", "ratio")
    print(f"{'imports of':24}" + "".join(f"{column:>13}" for column in columns))
    best = {name: [min(side) for side in zip(*pairs)] for name, pairs in taken.items()}
    ratios = {name: [mine / theirs for mine, theirs in zip(best[name], best["the libraries"])] for name in sides}
    for name, pairs in taken.items():
        median = statistics.median(clock for clock, _ in pairs)
        figures = (best[name][0], ratios[name][0], median, best[name][1], ratios[name][1])
        print(f"{name:24}" + "".join(f"{figure:13.2f}" for figure in figures))
    ratio = ratios[f"lesson {int(number)}"][0]
    print(f"\nratio {ratio:.2f}, bar {settings.bar:g}")
    return int(ratio > settings.bar)


if __name__ == "__main__":
    sys.exit(main())
