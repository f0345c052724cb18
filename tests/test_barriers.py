"""The pages of `course run --html` keep nobody out: axe-core finds nothing serious, in light and in dark."""

from pathlib import Path

import nbformat
import pytest
from rounds import WEEKLY

from course_utils.base import lessons
from course_utils.command.notebooks.pages import lesson_page, page

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = lessons.notebooks(ROOT)
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def visit(tmp_path_factory, browser):
    from site_pages import reader

    folder = tmp_path_factory.mktemp("pages")
    for path in NOTEBOOKS.values():
        text = lesson_page(nbformat.read(path, as_version=4), path.stem, [other.stem for other in NOTEBOOKS.values()])
        (folder / f"{path.stem}.html").write_text(text, encoding="utf-8")
    planted = '<h1>Planted</h1><p style="color:#ccc">Too pale to read.</p><img src="data:,">'
    planted += "<style>.late{color:#000}@media(prefers-color-scheme:dark){.late{color:#333}}</style>"
    planted += '<pre><span class="k">if</span> <i class="late">dark</i> <span style="color:#ddd">pale</span></pre>'
    (folder / "planted.html").write_text(page("Planted", planted), encoding="utf-8")
    with reader(folder, browser) as opened:
        yield opened


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_lessons_page_has_no_barrier_fits_a_telephone_and_fetches_nothing(number, visit):
    from site_pages import barriers, too_wide

    with visit.open(f"{NOTEBOOKS[number].stem}.html") as opened:
        # The same words and pictures are examined on the site; what these pages have of their own is on each of them.
        assert not (WEEKLY or number in ("02", "05")) or barriers(opened) == []
        assert too_wide(opened) <= 0
    assert (visit.left, visit.errors) == ([], [])


def test_a_planted_barrier_is_found(visit):
    from site_pages import barriers

    with visit.open("planted.html") as opened:
        found = barriers(opened)
    for words in ("Too pale to read", ">dark<", ">pale<"):  # the second in the dark look alone
        assert any(line.startswith("color-contrast") and words in line for line in found)
    assert any(line.startswith("image-alt (critical)") for line in found)
