"""Where no kernel answers, each widget has a true picture in its place: committed notebooks, pages, HTML exports."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert.exporters import HTMLExporter, MarkdownExporter
from PIL import Image

from course_utils.base import lessons
from course_utils.command.notebooks.normalise import normalised
from course_utils.command.notebooks.pages import lesson_page
from course_utils.widgets.panel import VIEW

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = lessons.notebooks(ROOT)
NOTHING = re.compile(
    r"widget not found|error displaying widget|loading widget|VBox\(children|widget-view", re.IGNORECASE
)
ALT = "Six versions of the photograph"


@pytest.fixture(scope="module")
def saved():
    """A notebook as a learner saves it after a run: with live widgets' views in its outputs."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    sources = ["from course_utils import widgets", 'widgets.lesson1.channel_mixer("coffee")']
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    NotebookClient(notebook, timeout=600, kernel_name="python3", store_widget_state=False).execute()
    (output,) = notebook.cells[1].outputs
    assert VIEW in output.data
    return notebook


def picture_in(data):
    (kind,) = [kind for kind in data if kind.startswith("image/")]
    return Image.open(io.BytesIO(base64.b64decode(data[kind]))).convert("L")


@pytest.mark.processes
def test_a_committed_notebook_keeps_the_picture_and_drops_the_view(saved):
    (output,) = normalised(saved, "01", {}, ROOT)["cells"][1]["outputs"]
    assert VIEW not in output["data"] and output["data"]["text/plain"].startswith(ALT)
    low, high = picture_in(output["data"]).getextrema()
    assert low < 30 and high > 200  # a picture of something, not a blank


@pytest.mark.processes
def test_a_lessons_page_shows_the_picture_with_its_words(saved):
    page = lesson_page(saved, "A lesson")
    assert f'<img alt="{ALT}' in page and not NOTHING.search(page)


@pytest.mark.processes
def test_jupyters_own_export_shows_the_picture(saved):
    page, _ = HTMLExporter().from_notebook_node(saved)
    shown = page[page.index("channel_mixer") :]
    assert "data:image/jpeg;base64," in shown and not NOTHING.search(shown)
    text, resources = MarkdownExporter().from_notebook_node(saved)
    assert "![" in text and resources["outputs"] and not NOTHING.search(text)


def shows_a_panel(source):
    """Whether a cell ends with a panel: with the call that makes it, or with the name that the cell gave it."""
    last = re.escape(source.rstrip().rpartition("\n")[2])
    return re.search(rf"^({last} = )?widgets\.(?:lesson\d|appendix_[a-z])\.", source, re.MULTILINE) is not None


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_every_widget_of_a_committed_lesson_has_its_picture(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    panels = [
        cell["outputs"]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and shows_a_panel("".join(cell["source"]))
    ]
    assert len(panels) >= {"A": 0}.get(path.name.partition("_")[0], 2)  # appendix A has none
    for outputs in panels:
        data = outputs[-1]["data"]
        assert len(set(picture_in(data).tobytes())) > 20
    assert not NOTHING.search(path.read_text(encoding="utf-8"))
