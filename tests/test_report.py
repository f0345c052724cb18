"""The page of a run: what a reader sees of each lesson."""

import base64
import html
import io
import re

from PIL import Image

from course_utils.command.notebooks import pages

SUMMARY = {
    "date": "2026-11-26T10:00:00+00:00",
    "passed": True,
    "seconds": 340.4,
    "hardware": {"processor": "Toy <1>", "cores": 2, "gpu": None},
    "versions": {"torch": "2.9", "numpy": None},
}
LESSON = {
    "label": "03", "lesson": "03", "title": "A first <network>", "notebook": "03.ipynb", "page": "03.html",
    "status": "passed", "error": None, "seconds": 50.04, "peak_memory_mb": 1100.4, "profile": "quick", "data": [],
    "figures": {"test_accuracy": 0.9214, "runs": 3}, "parameters": {"profile": "quick"},
}  # fmt: skip
RECORDED = {"profile": "quick", "date": "2026-11-25", "seconds": 48.0, "figures": {"test_accuracy": 0.92}}


def words(page):
    """Return the text of a page, one space between words."""
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


def output(width, colour, mode="RGB", alt=""):
    file = io.BytesIO()
    Image.new(mode, (width, width), colour).save(file, "PNG", compress_level=0)
    return {"data": {"image/png": base64.b64encode(file.getvalue()).decode()}, "metadata": {"image/png": {"alt": alt}}}


def test_a_lesson_has_its_number_its_notebook_and_the_recorded_run_beside():
    page = pages.index_page(SUMMARY | {"lessons": [LESSON]}, {}, {"03": RECORDED})
    shown = words(page)
    assert "1 of 1 passed in 5 min 40 s" in shown and "3. A first <network>" in shown
    assert "50 s (recorded: 48 s)" in shown and "1,100 MB at most profile quick notebook" in shown
    assert "2 figures, beside the recorded run (profile quick, 2026-11-25)" in shown
    assert "this run recorded test accuracy 0.9214 0.92 runs 3" in shown
    assert "passed in 2 min 0 s" in words(pages.index_page(SUMMARY | {"lessons": [LESSON], "seconds": 119.7}))
    assert 'href="03.html"' in page and 'href="03.ipynb"' in page and "changed" not in shown and "other" not in shown


def test_a_lesson_with_changed_settings_says_which_and_that_the_recorded_run_had_others():
    changed = LESSON | {"parameters": {"profile": "quick", "seed": 7, "pictures": "<mine>"}}
    shown = words(pages.index_page(SUMMARY | {"lessons": [changed]}, {}, {"03": RECORDED}))
    assert "profile quick changed: seed = 7, pictures = <mine> notebook" in shown
    assert "beside the recorded run (profile quick, 2026-11-25), which had other settings" in shown


def test_a_notebook_of_no_lesson_is_shown_without_what_it_lacks():
    other = LESSON | {"lesson": None, "page": None, "notebook": None, "status": "failed", "error": "cell 2: <bad>"}
    shown = words(pages.index_page(SUMMARY | {"passed": False, "lessons": [other]}))
    assert "0 of 1 passed" in shown and "cell 2: <bad>" in shown and "recorded" not in shown
    assert "A first <network> failed" in shown


def test_the_richest_picture_stands_for_a_lesson():
    cells = [{"outputs": [output(10, "red"), output(900, (0, 0, 255, 0), "RGBA", "a large <one>")]}, {}]
    picture = pages.telling_picture({"cells": cells})
    assert picture.alt == "a large <one>"
    with Image.open(io.BytesIO(base64.b64decode(picture.jpeg))) as small:
        assert max(small.size) <= 720 and small.getpixel((5, 5)) == (255, 255, 255)  # on white, as a page is
    page = pages.index_page(SUMMARY | {"lessons": [LESSON]}, {"03": picture})
    assert 'alt="a large &lt;one&gt;"' in page
    assert pages.telling_picture({"cells": [{"outputs": [{"data": {"image/png": "broken"}}]}]}) is None
    assert pages.telling_picture({"cells": [{"outputs": []}]}) is None
