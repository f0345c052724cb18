"""Time how long a learner waits from a key on a slider to the new picture, for every live figure of a lesson.

    python benchmarks/widgets.py [--lessons 1 2] [--moves 15] [--bar 150] [--pictures 15]

JupyterLab and a headless Chromium run on this machine. The page itself takes both times: of the key, and of the first
frame that shows the new picture. Prints each figure's median and quartiles, and how many pictures a second come while
the mouse drags its first slider; exit code 1 when one of them misses its bar.
"""

import argparse
import sys
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from lab import NONE_FOUND, Lab, chromium  # noqa: E402

from course_utils.base import lessons  # noqa: E402


def main():
    """Read the settings, run the lessons, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lessons", nargs="+", default=["1", "2"], help="numbers")
    parser.add_argument("--moves", type=int, default=15, help="keys pressed in each live figure")
    parser.add_argument("--bar", type=float, default=150, help="milliseconds that a median may take")
    parser.add_argument("--pictures", type=float, default=15, help="pictures a second that dragging must give")
    settings = parser.parse_args()
    if chromium() is None:
        parser.error(NONE_FOUND)
    chosen = lessons.choose(settings.lessons, lessons.notebooks(ROOT), "notebook")
    slowest, fewest = 0.0, float("inf")
    with Lab(threads=None) as lab:
        print(f"Chromium {lab.browser.version}, milliseconds from a key to its painted picture\n")
        print(f"{'live figure':44} {'moves':>5} {'quartile':>9} {'median':>7} {'quartile':>9} {'dragging /s':>11}")
        for path in chosen.values():
            with lab.open(path) as notebook:
                notebook.run_all()
                for panel in notebook.panels():
                    delays = panel.delays(settings.moves, apart=0.3)
                    low, median, high = quantiles(delays, n=4)
                    rate = panel.drag()
                    numbers = f"{len(delays):5} {low:9.0f} {median:7.0f} {high:9.0f}"
                    print(f"{panel.title:44} {numbers} {'' if rate is None else f'{rate:11.1f}'}", flush=True)
                    slowest, fewest = max(slowest, median), min(fewest, fewest if rate is None else rate)
    print(f"\nslowest median {slowest:.0f} ms, bar {settings.bar:.0f} ms")
    print(f"dragging, slowest {fewest:.1f} pictures a second, bar {settings.pictures:.0f}")
    return int(slowest > settings.bar or fewest < settings.pictures)


if __name__ == "__main__":
    sys.exit(main())
