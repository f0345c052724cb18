"""Time a newcomer's way from `course lab` to the first live panel that answers, and count the clicks.

    python benchmarks/first_panel.py [--clicks 3] [--seconds 60]

It starts the command in an empty home, clicks on lesson 1 on the start page and on "Run All Cells", scrolls down until
a panel is there, and drags its first slider until the picture is another one. Exit code 1 when a bar is missed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from lab import NONE_FOUND, chromium, launched, newcomer

WAIT = 180_000  # milliseconds for any one step
READ = 1_000  # milliseconds before each click: people look first


class Way:
    """What was done so far: clicks, and seconds since the beginning."""

    def __init__(self):
        self.begin, self.clicks = time.perf_counter(), 0

    def note(self, what):
        """Print what has just happened, and when."""
        self.seconds = time.perf_counter() - self.begin
        print(f"{self.seconds:6.1f} s  {self.clicks} clicks  {what}", flush=True)

    def click(self, place, what):
        """Click on a place of the page, and count it."""
        place.page.wait_for_timeout(READ)
        place.click()
        self.clicks += 1
        self.note(f"clicked on {what}")


def walk(page, url, way):
    """Go from the start page to a moved panel."""
    page.set_default_timeout(WAIT)
    page.goto(url)
    link = page.get_by_role("link", name="1. Pixels and tensors").first
    link.wait_for()
    way.note("the start page is there")
    way.click(link, "lesson 1")
    page.locator(".jp-Notebook").wait_for()
    # JupyterLab runs nothing before there is a kernel; its bar below says when.
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    way.click(page.get_by_role("menuitem", name="Run", exact=True), "Run")
    way.click(page.locator(".lm-Menu [data-command='runmenu:run-all']"), "Run All Cells")
    picture = page.locator(".course-panel img.course-picture").first
    notebook = page.locator(".jp-Notebook").bounding_box()
    page.mouse.move(notebook["x"] + notebook["width"] / 2, notebook["y"] + notebook["height"] / 2)
    end = time.monotonic() + WAIT / 1000
    while not picture.count():  # JupyterLab makes what is near the window
        assert time.monotonic() < end, "no panel came"
        page.mouse.wheel(0, 1500)
        page.wait_for_timeout(150)
        at_end = page.evaluate("""() => {
          const place = document.querySelector(".jp-WindowedPanel-outer");
          return place.scrollTop + place.clientHeight > place.scrollHeight - 5;
        }""")
        if at_end and not picture.count():
            page.mouse.wheel(0, -1_000_000)
    picture.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth", arg=picture.element_handle())
    way.note("the first panel is there")
    before = picture.get_attribute("src")
    handle = page.locator(".course-panel [role=slider]").first
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(x + 12 * step, y)
    page.mouse.up()
    page.wait_for_function(
        "([image, before]) => image.src !== before && image.complete", arg=[picture.element_handle(), before]
    )
    way.note("its slider was dragged, and the picture is another one")


def main():
    """Read the bars, walk, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=3, help="how many it may take")
    parser.add_argument("--seconds", type=float, default=60, help="how many it may take")
    settings = parser.parse_args()
    if chromium() is None:
        parser.error(NONE_FOUND)
    with tempfile.TemporaryDirectory(prefix="course-newcomer-") as home, launched() as browser:
        way = Way()
        with newcomer(Path(home)) as url:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            walk(page, url, way)
    return int(way.clicks > settings.clicks or way.seconds > settings.seconds)


if __name__ == "__main__":
    sys.exit(main())
