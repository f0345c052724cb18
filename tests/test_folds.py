"""What is folded: hidden code and "Go deeper" sections, in metadata, in JupyterLab and on exported pages."""

import importlib.util
import re
import sys
from pathlib import Path

import nbformat
import pytest

from course_utils.command import builder
from course_utils.command.notebooks import folds
from course_utils.command.notebooks.normalise import normalised
from course_utils.command.notebooks.pages import lesson_page

ROOT = Path(__file__).resolve().parent.parent
SOURCE = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A lesson
#
# **Predict first.** How much?
# <details><summary>Answer</summary>
# **Bold**, `code`, [a link](#The-end) and $x^2$.
# </details>
# Text below.
#
# ### Go deeper: A proof
#
# Words of the proof.
#
# ```
# ### no heading
# ```

# %% tags=["hide-input"]
print("drawn")

# %% [markdown]
# #### A step of the proof
#
# More words.
#
# ### The end
#
# Words of the end.

# %%
print("taught")
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    root = tmp_path_factory.mktemp("folds")
    source = root / "01_a.py"
    source.write_text(SOURCE, encoding="utf-8")
    return normalised(builder.to_notebook(source), "01", {"lesson": "01"}, root)


def texts(notebook):
    return [cell["source"] for cell in notebook["cells"]]


def test_a_deeper_heading_stands_alone_and_what_ends_it_begins_a_cell(notebook):
    nbformat.validate(notebook)
    _, first, words, drawn, step, end, taught = texts(notebook)
    assert first == "### Go deeper: A proof" and drawn == 'print("drawn")' and taught == 'print("taught")'
    assert words.startswith("Words of the proof.") and words.endswith("### no heading\n```")
    assert step.startswith("#### A step") and end.startswith("### The end")
    within = [within for _, within in folds.inside(notebook["cells"])]
    assert within == [False, False, True, True, True, False, False]


def test_metadata_say_what_is_folded_and_nothing_else(notebook):
    found = [cell["metadata"] for cell in notebook["cells"]]
    assert found[1] == {"jp-MarkdownHeadingCollapsed": True}
    assert found[3] == {"tags": ["hide-input"], "jupyter": {"source_hidden": True}, "cellView": "form"}
    assert [found[i] for i in (0, 2, 4, 5, 6)] == [{}] * 5
    assert notebook["metadata"]["colab"] == {"collapsed_sections": [notebook["cells"][1]["id"]]}


def test_text_inside_details_is_read_as_markdown(notebook):
    head = texts(notebook)[0]
    assert "<details><summary>Answer</summary>\n\n**Bold**" in head
    assert "$x^2$.\n\n</details>\n\nText below." in head
    assert folds.spaced(head) == head  # and nothing is added twice
    fenced = "```\n<details><summary>a</summary>b</details>\n```"
    assert folds.spaced(fenced) == fenced


def test_an_exported_page_folds_the_same(notebook):
    page = lesson_page(notebook, "A lesson")
    assert page.count("<details") == page.count("</details>") == 3
    assert re.search(r'<details class="code"><summary>Code</summary>.*?drawn.*?</details>', page, re.DOTALL)
    assert "<strong>Bold</strong>" in page and "<code>code</code>" in page and "<math" in page
    deeper = page[page.index('<details class="deeper">') : page.index('id="The-end"')]
    assert "Words of the proof." in deeper and "A step" in deeper and deeper.count("</details>") == 2
    assert "taught" not in page[page.index('<details class="deeper">') : page.rindex("</details>")]


def test_two_deeper_sections_in_a_row_are_two_folds(tmp_path):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "## A\n\n### Go deeper: B\n\nb\n\n### Go deeper: C\n\nc\n"},
        {"cell_type": "code", "metadata": {}, "source": "1", "outputs": []},
    ]
    done = normalised({"cells": list(folds.apart(cells))}, "01", {}, tmp_path)
    assert [cell["source"] for cell in done["cells"]] == ["## A", "### Go deeper: B", "b", "### Go deeper: C", "c", "1"]
    assert len(done["metadata"]["colab"]["collapsed_sections"]) == 2
    page = lesson_page(done, "A")
    assert page.count('<details class="deeper">') == page.count("</details>") == 2


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the site is built with Python 3.11 or newer")
def test_the_site_folds_a_deeper_section_with_its_heading_as_the_summary():
    from docutils import nodes

    specification = importlib.util.spec_from_file_location("site_settings", ROOT / "docs" / "conf.py")
    settings = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(settings)
    inner = nodes.section("", nodes.title("", "A step"), nodes.paragraph("", "More words."))
    deeper = nodes.section("", nodes.title("", "Go deeper: A proof"), nodes.paragraph("", "Words."), inner)
    plain = nodes.section("", nodes.title("", "The end"), nodes.paragraph("", "End."))
    page = nodes.section("", nodes.title("", "A lesson"), deeper, plain)
    settings.fold_deeper(None, page, "a")
    begin, title, under, words, step, end = deeper.children
    assert (begin.astext(), under.astext()) == ('<details class="deeper"><summary>', "</summary>")
    assert title.astext() == "Go deeper: A proof" and words.astext() == "Words." and step is inner
    assert end.astext() == "</details>" and title.parent is deeper
    assert len(plain.children) == 2 and len(inner.children) == 2


@pytest.mark.browser
def test_jupyterlab_folds_what_the_metadata_say(browser, notebook):
    from lab import Lab

    with Lab(browser=browser) as lab, lab.open(notebook) as opened:
        page = opened.page
        page.set_default_timeout(30_000)
        page.wait_for_selector(".jp-MarkdownCell details strong", state="attached")
        inside = page.locator(".jp-MarkdownCell details")
        inside.locator("summary").click()
        for what in ("strong", "code", "a[href]", "mjx-container"):
            inside.locator(what).first.wait_for(state="visible")
        shown = page.evaluate(
            "[...document.querySelectorAll('.jp-Cell')].filter(c => c.offsetHeight > 0).map(c => c.innerText)"
        )
        text = "\n".join(shown)
        assert "Go deeper: A proof" in text and "Words of the end." in text and "taught" in text
        assert "Words of the proof" not in text and "A step of the proof" not in text
        page.locator(".jp-showHiddenCellsButton").click()
        page.locator("p", has_text="Words of the proof").wait_for(state="visible")
        drawn, taught = page.locator(".jp-CodeCell").all()
        assert drawn.locator(".jp-InputPlaceholder").is_visible() and not drawn.locator(".cm-content").is_visible()
        assert taught.locator(".cm-content").is_visible() and not taught.locator(".jp-InputPlaceholder").count()
