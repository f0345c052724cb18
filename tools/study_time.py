"""How long each lesson takes to study, what its visible code is for, and which lines are too wide for the site.

python tools/study_time.py [LESSON...] [--lines]

Pictures and outputs are those of the committed notebook where its code is the source's; else the source's calls count.
"""

from __future__ import annotations

import argparse
import sys

from course_utils.base.lessons import choose, find_root, sources
from course_utils.base.words import percent
from course_utils.command.builder import studied
from course_utils.errors import CourseError


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each lesson, with --lines also each line that draws, proves, records or is too wide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="numbers such as 1 3; all if omitted")
    parser.add_argument("--lines", action="store_true", help="print the lines that count against a lesson")
    given = parser.parse_args(arguments)
    try:
        root = find_root()
        chosen = choose(given.lessons, sources(root), "source")
        found = {number: studied(number, root) for number in chosen}
    except CourseError as error:
        print(f"study_time: {error}", file=sys.stderr)
        return 2
    print("lesson  minutes  words  code lines  pictures  draw, prove, record  wide code  wide output")
    for number, (held, fresh) in found.items():
        pictures = f"{held.pictures}{'' if fresh else '*'}"
        print(
            f"{number:<6}  {held.minutes:>7}  {held.words:>5,}  {held.code_lines:>10}  {pictures:>8}  "
            f"{percent(held.share):>19}  {len(held.wide_code):>9}  {len(held.wide_output):>11}"
        )
        for what in ("aside", "wide_code", "wide_output") if given.lines else ():
            print("\n".join([f"  {what}:", *(f"    {line}" for line in getattr(held, what))]))
    if not all(fresh for _, fresh in found.values()):
        print("* counted from the source's calls; the committed notebook is older")
    return 0


if __name__ == "__main__":
    sys.exit(main())
