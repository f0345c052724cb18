"""Time how long a learner waits from a key on a slider to the new picture, for every live figure of a lesson.

    python benchmarks/widgets.py [--lessons 1 2] [--moves 15] [--bar 150]

JupyterLab and a headless Chromium run on this machine. The page itself takes both times: of the key, and of the first
frame that shows the new picture. Prints each figure's median and quartiles; exit code 1 when a median is above the bar.
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
    settings = parser.parse_args()
    if chromium() is None:
        parser.error(NONE_FOUND)
    chosen = lessons.choose(settings.lessons, lessons.notebooks(ROOT), "notebook")
    slowest = 0.0
    with Lab(threads=None) as lab:
        print(f"Chromium {lab.browser.version}, milliseconds from a key to its painted picture\n")
        print(f"{'live figure':44} {'moves':>5} {'quartile':>9} {'median':>7} {'quartile':>9}")
        for path in chosen.values():
            with lab.open(path) as notebook:
                notebook.run_all()
                for panel in notebook.panels():
                    delays = panel.delays(settings.moves)
                    low, median, high = quantiles(delays, n=4)
                    print(f"{panel.title:44} {len(delays):5} {low:9.0f} {median:7.0f} {high:9.0f}", flush=True)
                    slowest = max(slowest, median)
    print(f"\nslowest median {slowest:.0f} ms, bar {settings.bar:.0f} ms")
    return int(slowest > settings.bar)


if __name__ == "__main__":
    sys.exit(main())
