"""The site: built strictly from the committed notebooks, open to everybody, with nothing on it from elsewhere."""

import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from PIL import Image

from course_utils import pictures
from course_utils.base import lessons
from course_utils.widgets import lesson1, lesson2, lesson6

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = lessons.notebooks(ROOT)
pytestmark = [
    pytest.mark.browser,  # all of it, so that one worker builds the site, once
    pytest.mark.skipif(sys.version_info < (3, 11), reason="the site is built with Python 3.11 or newer"),
]
LESSONS = [f"notebooks/{path.stem}.html" for path in NOTEBOOKS.values()]


class Links(HTMLParser):
    """What a page has of links, names and pictures."""

    def __init__(self, text):
        super().__init__()
        self.links, self.names, self.bare = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "img" and len((found.get("alt") or "").strip()) < 3:
            self.bare.append(found.get("src", "")[:80])
        for key in ("href", "src"):
            if found.get(key):
                self.links.append((tag, found[key]))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site, built as `make site` does."""
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, str(ROOT / "tools" / "make_site.py"), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, cwd=ROOT)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "WARNING" not in done.stderr, done.stderr
    return folder


@pytest.fixture(scope="session")
def pages(site):
    """Each page's content, by its path in the site."""
    files = [p for p in site.rglob("*.html") if "_static" not in p.parts]  # there lie the theme's templates
    return {p.relative_to(site).as_posix(): Links(p.read_text(encoding="utf-8")) for p in files}


def test_every_lesson_and_every_module_has_a_page(site, pages):
    assert set(LESSONS) <= set(pages)
    home = (site / "index.html").read_text(encoding="utf-8")
    places = [home.index(f'href="{lesson}"') for lesson in LESSONS]
    assert places == sorted(places)
    for module in ("training", "convolution", "data"):
        assert "course_utils" in (site / "api" / f"{module}.html").read_text(encoding="utf-8")


def test_the_reference_shows_each_idea_with_what_it_offers_first_and_the_command_apart(site, pages):
    training = (site / "api" / "training.html").read_text(encoding="utf-8")
    assert training.count('id="course_utils.training.fit"') == 1 and "course_utils.training.fit.fit" not in training
    assert training.index('id="course_utils.training.fit"') < training.index('id="training-fit"')
    assert not {"api/base.html", "api/command.html"} & set(pages)
    behind = (site / "behind.html").read_text(encoding="utf-8")
    for name in ("runner", "grading.judge", "lessons", "make_site", "describe_machine"):
        assert f">{name}<" in behind, name


def test_no_link_inside_the_site_is_broken(site, pages):
    broken = []
    for path, page in pages.items():
        for _, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site / path).parent / unquote(parts.path) if parts.path else site / path
            if not target.exists():
                broken.append(f"{path}: {link}")
            elif parts.fragment and target.suffix == ".html":
                names = pages[os.path.relpath(target.resolve(), site.resolve()).replace(os.sep, "/")].names
                if unquote(parts.fragment) not in names:
                    broken.append(f"{path}: {link}")
    assert broken == []


def test_every_picture_says_what_it_shows(pages):
    assert {path: page.bare for path, page in pages.items() if page.bare} == {}


def test_nothing_on_a_page_comes_from_elsewhere_by_its_text(pages):
    for path, page in pages.items():
        loaded = [link for tag, link in page.links if tag in ("script", "img", "link", "iframe")]
        assert [link for link in loaded if re.match(r"(https?:)?//", link)] == [], path


def test_formulas_are_mathml_so_that_no_script_has_to_draw_them(site):
    for lesson in LESSONS[:2]:
        text = (site / lesson).read_text(encoding="utf-8")
        assert "<mfrac>" in text and "mathjax" not in text.lower(), lesson


def test_a_lesson_can_be_downloaded_as_it_is_committed_and_opened_elsewhere(site, pages):
    for path in NOTEBOOKS.values():
        assert (site / "_sources" / "notebooks" / path.name).read_bytes() == path.read_bytes()
        links = [link for _, link in pages[f"notebooks/{path.stem}.html"].links]
        assert f"../_sources/notebooks/{path.name}" in links
        for host in ("https://colab.research.google.com/github/", "https://mybinder.org/v2/gh/"):
            assert any(link.startswith(host) and path.name in unquote(link) for link in links)


@pytest.fixture(scope="module")
def visit(site, browser):
    from site_pages import reader

    with reader(site, browser) as opened:
        yield opened


PLACES = ["index.html", *LESSONS, "start.html", "api/training.html", "search.html?q=convolution"]


@pytest.mark.parametrize("place", PLACES)
def test_a_page_needs_nothing_from_elsewhere_cuts_nothing_off_fits_a_telephone_and_has_no_barrier(place, visit):
    from site_pages import barriers, cut_off, too_wide

    with visit.open(place, width=1200) as page:
        assert page.locator("h1").count() >= 1
        if place.startswith("search"):
            page.wait_for_selector("#search-results li a", timeout=180_000)  # they come later than the page
        if place in LESSONS:
            assert page.locator("main pre").count() > 30
            assert cut_off(page) == []
        assert barriers(page) == []
        assert too_wide(page) <= 0
    assert (visit.left, visit.errors, visit.failed) == ([], [], [])


def test_the_site_is_dark_where_the_reader_wants_it_dark(visit):
    def paper(dark):
        with visit.open("index.html", dark=dark) as page:
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert paper(dark=True) < 150 and paper(dark=False) > 700


def test_hints_and_answers_unfold_by_keyboard(visit):
    with visit.open(LESSONS[0]) as page:
        folded = page.locator(".cell_output details:visible").first
        answer = folded.locator("summary + *")
        assert not answer.is_visible()
        folded.locator("summary").focus()
        page.keyboard.press("Enter")
        assert answer.is_visible()


def test_a_word_of_a_lesson_is_found_by_the_search(visit):
    with visit.open("search.html?q=stride") as page:
        page.wait_for_selector("#search-results li a", timeout=180_000)
        assert any("02_" in (a.get_attribute("href") or "") for a in page.locator("#search-results li a").all())


def test_lessons_are_found_first_and_their_excerpts_hold_no_menus(visit):
    with visit.open("search.html?q=convolution") as page:
        page.wait_for_selector("#search-results li .context", timeout=180_000)
        places = [a.get_attribute("href") or "" for a in page.locator("#search-results li a").all()]
        assert "notebooks/" in places[0] and "02_" in " ".join(places[:3])
        assert not any("System Settings" in each for each in page.locator("#search-results .context").all_inner_texts())


def test_the_front_page_has_a_face(site, pages, visit):
    home = (site / "index.html").read_text(encoding="utf-8")
    for name in ("description", "og:title", "og:description", "og:image"):
        assert re.search(rf'<meta (name|property)="{name}" content="[^"]{{15,}}', home), name
    assert "<title>Image classification, from one pixel" in home and 'rel="icon"' in home
    assert Image.open(site / "_static" / "card.png").size == (1200, 630)
    with visit.open("index.html") as page:
        (start,) = page.locator(".hero a.start").all()
        assert start.get_attribute("href") == LESSONS[0]
        entries = page.locator("ol.lessons li").all_inner_texts()
    assert [entry.split()[0] for entry in entries] == [number.lstrip("0") for number in NOTEBOOKS]
    assert all(re.search(r"^About \d+ minutes", entry, re.MULTILINE) for entry in entries)


def test_lessons_are_numbered_in_titles_and_menus(pages, site):
    for number, path in NOTEBOOKS.items():
        page = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        name = f"{int(number)}. " if number.isdigit() else f"Appendix {number}. "
        assert f"<h1>{name}" in page and f"<title>{name}" in page and re.search(rf'href="#">\s*{name}', page)


def test_names_in_where_the_code_lives_lead_to_the_reference(pages):
    for lesson in LESSONS:
        assert sum(link.startswith("../api/") for _, link in pages[lesson].links) >= 5, lesson


def test_the_site_is_light_enough_for_any_host(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 31e6


# --- explorations that need no kernel

CLIPPED = """card => [...card.querySelectorAll("*:not(svg, svg *)")]
  .filter((node) => node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== "inline")
  .map((node) => node.outerHTML.slice(0, 80))"""

CHANCE = random.Random(17)


def mixer():
    """Give settings, and what Python makes of them: shares and some pixels, and the sentence."""
    exploration = lesson1.channel_mixer("coffee")
    for _ in range(100):
        gains = {name: round(CHANCE.uniform(0, 3), 2) for name in lesson1.GAINS}
        settings = {**gains, "brightness": round(CHANCE.uniform(-0.5, 0.5), 2)}
        mixture = exploration.compute(**settings)
        pixels = mixture.after.flatten(1)[:, ::997].flatten().tolist()
        yield settings, [mixture.cut, mixture.black, *pixels], exploration.describe(mixture)


def editor():
    for _ in range(100):
        # Eighths, whose float32 sums are the same in any order: one of 134,000 pixels may else leave the range or not.
        numbers = [CHANCE.randint(-16, 24) / CHANCE.choice((1, 8)) for _ in range(9)]
        normalise = CHANCE.random() < 0.5
        found = lesson2.filtered("cat", torch.tensor(numbers).view(3, 3), normalise)
        pixels = found.after.flatten()[::997].tolist()
        shown = [pictures.clipped_fraction(found.after), *found.kernel.flatten().tolist(), *pixels]
        settings = {**{f"n{i}": number for i, number in enumerate(numbers)}, "normalise": normalise}
        yield settings, shown, lesson2.sentence(found)


def descent():
    for _ in range(100):
        settings = {
            "rate": CHANCE.randint(1, 120) / 100, "start": CHANCE.randint(-6, 8) / 2, "steps": CHANCE.randint(0, 30)
        }  # fmt: skip
        walk = lesson1.walk(**settings)
        yield settings, walk.places.tolist(), lesson1.next_step(walk)


def valley():
    exploration = lesson6.valley_walk()
    for _ in range(100):
        settings = {
            "rate": 10 ** CHANCE.uniform(-3, 1), "start": CHANCE.randint(-8, 16) / 2, "steps": CHANCE.randint(0, 100)
        }  # fmt: skip
        walk = lesson6.walk(**settings)
        yield settings, walk.places.tolist(), exploration.describe(walk)


@pytest.mark.parametrize("cases", [mixer, editor, descent, valley], ids=lambda cases: cases.__name__)
def test_an_exploration_without_a_kernel_computes_what_python_computes(cases, visit):
    with visit.open(LESSONS[0]) as page:
        page.wait_for_function("window.explore")
        for settings, numbers, sentence in cases():
            found = page.evaluate(f"settings => explore.run('{cases.__name__}', settings)", settings)
            assert found["numbers"] == pytest.approx(numbers, rel=1e-6, abs=1e-6), settings
            assert found["sentence"].replace("\xa0", " ") == sentence.replace("\xa0", " "), settings


@pytest.mark.parametrize(
    ("lesson", "name", "control"),
    [(0, "mixer", "red ×"), (0, "descent", "steps taken"), (1, "editor", "middle"), (5, "valley", "steps")],
)
def test_an_exploration_without_a_kernel_works_by_keyboard_and_fits_any_window(lesson, name, control, visit):
    with visit.open(LESSONS[lesson]) as page:
        card = page.locator(f".explore-{name}")
        said = card.get_by_role("status")
        for width in (400, 900, 1200, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            before = said.inner_text()
            card.get_by_label(control, exact=True).focus()
            page.keyboard.press("ArrowUp")
            assert said.inner_text() != before
            card.get_by_role("button", name="Reset").press("Enter")
            assert said.inner_text() == before
            clipped = card.evaluate(CLIPPED)
            assert clipped == []
    assert (visit.left, visit.errors, visit.failed) == ([], [], [])


def test_the_picture_stays_where_a_script_fails(site, visit):
    with visit.open(LESSONS[0]) as page:
        page.route("**/explore-data.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
        page.reload()
        page.wait_for_function("window.explore")
        page.wait_for_timeout(500)
        assert page.locator("[data-explore=mixer] img.figure").is_visible()
