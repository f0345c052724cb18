"""Take pictures of the lessons as learners see them in JupyterLab: light and dark, wide and narrow.

    python tools/screenshots.py FOLDER [--lessons 1 2 3] [--panels]

Writes FOLDER/01_panel1_channel_mixer_light_1400.png for each live figure, and FOLDER/01_page03_light_1400.png for each
window of a whole lesson after "Run All"; with --panels the live figures alone.
"""

import argparse
import re
import sys
from pathlib import Path

from lab import NONE_FOUND, Lab, chromium
from pages import Notebook

from course_utils.base import lessons

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = (1400, 600)
HEIGHT = 1600


def take(notebook: Notebook, folder: Path, number: str, look: str, whole: bool) -> int:
    """Take all pictures of a lesson as the window is at the moment, and return how many."""
    panels = notebook.panels()
    for count, panel in enumerate(panels, 1):
        name = "_".join(re.findall(r"\w+", panel.title.partition("(")[0])[-1:])
        panel.place.scroll_into_view_if_needed()
        notebook.page.evaluate("course.frames(20)")  # JupyterLab draws the cells around it and moves it once more
        panel.place.screenshot(path=folder / f"{number}_panel{count}_{name}_{look}.png")
    pages = 0
    for pages in notebook.windowfuls() if whole else ():
        notebook.page.screenshot(path=folder / f"{number}_page{pages:02}_{look}.png")
    return len(panels) + pages


def main() -> int:
    """Read the settings, run the lessons, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lessons", nargs="+", default=[], help="numbers; all if omitted")
    parser.add_argument("--panels", action="store_true", help="the live figures alone")
    settings = parser.parse_args()
    if chromium() is None:
        parser.error(NONE_FOUND)
    settings.folder.mkdir(parents=True, exist_ok=True)
    with Lab(threads=None) as lab:
        for number, path in lessons.choose(settings.lessons, lessons.notebooks(ROOT), "notebook").items():
            with lab.open(path) as notebook:
                notebook.run_all()
                for width in WIDTHS:
                    notebook.resize(width, HEIGHT)
                    for look in ("light", "dark"):
                        notebook.theme(dark=look == "dark")
                        taken = take(notebook, settings.folder, number, f"{look}_{width}", not settings.panels)
                        print(f"lesson {number}, {look}, {width} px wide: {taken} pictures", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
