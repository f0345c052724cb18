import base64
import io
import json
import re
import shutil
import time
from pathlib import Path

import lint_notebooks
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from course_utils import figures, results
from course_utils.base import notes
from course_utils.command import builder
from course_utils.command.notebooks import prose
from course_utils.command.notebooks.normalise import normalised, seal, smaller_png, to_json, without_machine
from course_utils.errors import RunError, SettingError

pytestmark = pytest.mark.processes


@pytest.fixture
def copy(toy_root, toy_built, tmp_path):
    """A copy of the built toy course, free to be doctored."""
    root = tmp_path / "copy"
    shutil.copytree(toy_root, root)
    return root


@pytest.fixture
def doctor(copy):
    """Change the copy's notebook with a function, and return what the checks then say."""

    def change(function):
        path = copy / "notebooks" / "01_toy.ipynb"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        function(notebook)
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return lint_notebooks.check_all(path, copy)

    return change


def code(notebook, number):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"][number]


def test_a_built_notebook_passes_every_check(toy_root, toy_built):
    assert toy_built.problems == []
    assert lint_notebooks.check_all(toy_root / "notebooks" / "01_toy.ipynb", toy_root) == []


def test_the_lint_says_of_each_lesson_what_is_wrong(copy, monkeypatch, capsys):
    monkeypatch.setattr(lint_notebooks, "find_root", lambda: copy)
    assert lint_notebooks.main([]) == 0 and capsys.readouterr().out == "1 notebook in order\n"
    notebook = copy / "notebooks" / "01_toy.ipynb"
    notebook.write_text(notebook.read_text(encoding="utf-8").replace("plt.subplots", "plt.figure"), encoding="utf-8")
    assert lint_notebooks.main(["1"]) == 1
    assert capsys.readouterr().out.startswith("01_toy.ipynb: Code cell 5 differs from 01_toy.py")
    assert lint_notebooks.main(["2"]) == 2 and "There is no lesson '2'" in capsys.readouterr().err


def test_the_text_quotes_the_figures_of_that_very_run(toy_root, toy_built):
    recorded = results.load("01", "quick", toy_root)
    text = "".join(builder.read_notebook(toy_built.notebook)["cells"][0]["source"])
    assert f"The answer is 42.0, found in {recorded['seconds']:.0f} s, after 3 tries" in text


def test_a_figure_that_a_run_did_not_find_is_not_another_runs():
    text, figures = "It is {{answer:.1f}}, {{quick.answer}}, {{gone:.1%}}.", {"answer": 3, "quick.answer": 4}
    assert prose.render(text, figures, missing="—") == "It is 3.0, 4, —."
    with pytest.raises(SettingError, match=r"quotes {{gone}}, which is not recorded"):
        prose.render(text, figures)
    with pytest.raises(SettingError, match=r"quotes {{full.answer}}, which is not recorded"):
        prose.render("{{full.answer}}", figures, missing="—")


def test_a_recorded_run_says_how_it_came_about(toy_root, toy_built):
    recorded = results.load("01", "quick", toy_root)
    assert recorded["figures"] == {"answer": 41.96, "tries": 3}
    assert recorded["lesson"] == "01" and recorded["profile"] == "quick" and recorded["seed"] == 0
    assert recorded["settings"]["seed"] == 0 and recorded["data"] == ["Toy: 3 pictures."]
    assert recorded["seconds"] > 0 and recorded["peak_memory_mb"] > 10
    assert recorded["hardware"]["cores"] >= 1 and recorded["hardware"]["processor"]
    assert set(recorded["versions"]) == {"python", "torch", "torchvision", "numpy"} and recorded["date"][:2] == "20"


def test_a_built_notebook_is_normalised(toy_root, toy_built):
    text = toy_built.notebook.read_text(encoding="utf-8")
    notebook = json.loads(text)
    nbformat.validate(notebook)
    assert [cell["id"] for cell in notebook["cells"]] == [f"01-cell-0{n}" for n in range(1, 8)]
    assert notebook["metadata"]["course"] == {"lesson": "01", "profile": "quick", "outputs": seal(notebook)}
    assert (
        "papermill" not in text and str(toy_root) not in text and "version" not in notebook["metadata"]["language_info"]
    )
    assert code(notebook, 1)["source"][0].startswith('profile = "auto"')  # nothing injected is left
    assert code(notebook, 1)["metadata"] == {"tags": ["parameters"]}
    assert "where: notebooks/x <object object at 0x…>" in "".join(code(notebook, 3)["outputs"][-1]["text"])
    assert notes.SETTINGS not in text and notes.SOURCE not in text


def test_the_same_run_gives_the_same_bytes(toy_root, toy_built, copy):
    again = builder.build("01", "quick", root=copy)
    mine, theirs = again.notebook.read_text(encoding="utf-8"), toy_built.notebook.read_text(encoding="utf-8")
    seconds = [f"{results.load('01', 'quick', root)['seconds']:.0f} s" for root in (copy, toy_root)]
    assert mine.replace(seconds[0], "") == theirs.replace(seconds[1], "")


def test_overrides_are_for_trying_out_and_touch_nothing_committed(copy):
    before = (copy / "notebooks" / "01_toy.ipynb").read_bytes()
    outcome = builder.build("01", "quick", overrides={"seed": "7"}, root=copy)
    assert outcome.execution.settings["values"]["seed"] == 7 and outcome.execution.settings["changed"] == ["seed"]
    assert outcome.notebook == copy / "runs" / "build" / "01_toy.ipynb" and outcome.notebook.exists()
    assert (copy / "notebooks" / "01_toy.ipynb").read_bytes() == before


def test_record_only_keeps_the_notebook_and_lets_it_quote_the_other_profile(copy):
    before = (copy / "notebooks" / "01_toy.ipynb").read_bytes()
    builder.build("01", "full", record_only=True, root=copy)
    assert (copy / "notebooks" / "01_toy.ipynb").read_bytes() == before
    source = copy / "notebooks" / "source" / "01_toy.py"
    source.write_text(source.read_text().replace("{{quick.tries}} tries", "{{full.tries}} long tries"))
    assert builder.fill_again("01", root=copy).problems == []
    notebook = copy / "notebooks" / "01_toy.ipynb"
    assert "after 3 long tries" in notebook.read_text() and lint_notebooks.check_all(notebook, copy) == []


def test_text_can_be_filled_again_without_a_run_but_not_over_changed_code(copy):
    source = copy / "notebooks" / "source" / "01_toy.py"
    source.write_text(source.read_text().replace("A toy lesson", "A better title"))
    assert builder.fill_again("01", root=copy).execution is None
    assert "A better title" in (copy / "notebooks" / "01_toy.ipynb").read_text()
    source.write_text(source.read_text().replace("[1, 2, 3]", "[1, 2, 4]"))
    with pytest.raises(RunError, match="The code of lesson 01 has changed since it was built"):
        builder.fill_again("01", root=copy)
    (copy / "notebooks" / "01_toy.ipynb").unlink()
    with pytest.raises(RunError, match="Lesson 01 has no notebook yet"):
        builder.fill_again("01", root=copy)


def test_an_output_that_was_put_in_the_place_of_another_is_noticed(copy):
    path = copy / "notebooks" / "01_toy.ipynb"
    notebook = json.loads(path.read_text("utf-8"))
    pictures = [output["data"] for cell in notebook["cells"] for output in cell.get("outputs", ()) if "data" in output]
    pictures[-1]["image/png"] = base64.b64encode(b"another picture").decode()
    path.write_text(json.dumps(notebook), "utf-8")
    words = "outputs (of lesson 01 )?are not those of its build"
    assert any(re.search(words, problem) for problem in lint_notebooks.check_all(path, copy))
    with pytest.raises(RunError, match=words):
        builder.fill_again("01", root=copy)


def test_an_unknown_figure_is_a_problem_that_names_it(copy):
    source = copy / "notebooks" / "source" / "01_toy.py"
    source.write_text(source.read_text().replace("{{answer:.1f}}", "{{anser:.1f}}"))
    outcome = builder.fill_again("01", root=copy)
    assert len(outcome.problems) == 1 and "did you mean 'answer'" in outcome.problems[0]
    assert any("did you mean 'answer'" in p for p in lint_notebooks.check_all(outcome.notebook, copy))


def test_a_quote_of_an_unknown_profile_is_refused_before_anything_runs(copy):
    source = copy / "notebooks" / "source" / "01_toy.py"
    source.write_text(source.read_text().replace("quick.tries", "slow.tries"))
    with pytest.raises(SettingError, match="'slow' is not a profile; use quick or full"):
        builder.build("01", "quick", root=copy)


def test_a_failed_build_leaves_the_committed_files_as_they_were(copy):
    before = (copy / "notebooks" / "01_toy.ipynb").read_bytes()
    source = copy / "notebooks" / "source" / "01_toy.py"
    source.write_text(source.read_text() + "\n# %%\nraise ValueError('planted')\n")
    with pytest.raises(RunError, match=r"Lesson 01 failed: cell 8: ValueError: planted; see runs.build.01_toy.ipynb"):
        builder.build("01", "quick", root=copy)
    assert (copy / "notebooks" / "01_toy.ipynb").read_bytes() == before
    assert "planted" in (copy / "runs" / "build" / "01_toy.ipynb").read_text()


@pytest.mark.parametrize(
    ("lesson", "profile", "overrides", "message"),
    [
        ("7", "quick", {}, "There is no lesson '7'; there are 01"),
        ("01", "fast", {}, "There is no profile 'fast'"),
        ("01", "quick", {"sed": 1}, "has no parameter 'sed'.*did you mean 'seed'"),
        ("01", "quick", {"seed": "x"}, "'seed' is 'x', but must be a whole number"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_runs(copy, lesson, profile, overrides, message):
    with pytest.raises(SettingError, match=message):
        builder.build(lesson, profile, overrides=overrides, root=copy)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda nb: code(nb, 4)["source"].append("# edited"), "Code cell 5 differs from 01_toy.py"),
        (lambda nb: nb["cells"][0]["source"].__setitem__(1, "The answer is 43.0, found\n"), "'The answer is 43.0"),
        (lambda nb: nb["cells"].pop(4), "Its cells are not those of 01_toy.py"),
        (lambda nb: code(nb, 4)["outputs"][0]["metadata"].clear(), "a picture has no alternative text"),
        (lambda nb: code(nb, 4)["outputs"][0]["data"].update({"text/plain": "<Figure>"}), "plain text does not say"),
        (lambda nb: code(nb, 3).update(execution_count=None), "execution count None instead of 4"),
        (lambda nb: nb["metadata"].update(widgets={}), "metadata.widgets is left"),
        (lambda nb: nb["metadata"].update(papermill={}), "metadata.papermill is left"),
        (lambda nb: nb["metadata"]["language_info"].update(version="3.11"), "a version of Python"),
        (lambda nb: code(nb, 2)["metadata"].update(execution={}), "has metadata.execution"),
        (lambda nb: code(nb, 2).update(id="01-cell-01"), "Two cells have the same id"),
        (lambda nb: code(nb, 3)["metadata"].update(tags=["nbval-check-output"]), "Cell 6 is compared by nbval"),
        (lambda nb: code(nb, 2)["metadata"].update(tags=["hide-input"]), "has other tags than 01_toy.py"),
        (lambda nb: code(nb, 2)["metadata"].update(tags=["hide-input"]), "lacks metadata.jupyter, which folds it"),
        (lambda nb: code(nb, 2).update(id="not valid!"), "not a valid notebook"),
        (lambda nb: code(nb, 3)["outputs"][0]["data"][notes.FIGURES].update(answer=43.0), "not the recorded ones"),
        (lambda nb: code(nb, 3)["outputs"][-1].update(text="/home/me/x.py"), "names a folder of the machine"),
        (lambda nb: code(nb, 1)["metadata"].clear(), "must be the second code cell"),
        (lambda nb: code(nb, 1)["source"].insert(0, "seed = 1\n"), "must start with profile"),
        (lambda nb: code(nb, 1)["source"].append("\nother = 1"), "'other' is not among the lesson's settings"),
        (
            lambda nb: code(nb, 1).update(source=['profile = "auto"']),
            "'seed' of profiles.yaml is not in the parameters",
        ),
        (lambda nb: code(nb, 4)["source"].append("\nassert fig.axes"), "Cell 7: the assert in line 5 has no message"),
        (lambda nb: nb["cells"][0]["source"].append("[there](#Nowhere)"), "#Nowhere leads to no heading"),
        (lambda nb: nb["cells"][0].update(source=["# T"]), "no table of contents"),
        (lambda nb: nb["cells"][0]["source"].append("![](x.png)"), "a picture in the text has no alternative text"),
        (lambda nb: nb["cells"][0]["source"].append("x" * 3_000_001), "3 MB is the limit"),
        (
            lambda nb: code(nb, 2)["outputs"].append(
                {"output_type": "error", "ename": "ValueError", "evalue": "oh", "traceback": []}
            ),
            "ends in an error: ValueError: oh",
        ),
    ],
)
def test_the_checks_catch(doctor, change, problem):
    problems = doctor(change)
    assert any(problem in found for found in problems), problems


def test_an_assert_without_a_message_is_found_wherever_it_stands_in_a_cell():
    bare, worded = "for x in (1, 2):\n    assert (\n        x\n    )", "assert 1 + 1 == 2, 'one and one make two'"
    sources = [worded, f"{worded}\n{bare}", "def f(x):\n    assert x\n\n\nassert f", "assert ="]
    cells = [{"cell_type": "code", "source": source} for source in sources]
    *found, last = lint_notebooks.check_asserts({"cells": [{"cell_type": "markdown", "source": bare}, *cells]})
    assert sorted(found) == [
        "Cell 3: the assert in line 3 has no message.",
        "Cell 4: the assert in line 2 has no message.",
        "Cell 4: the assert in line 5 has no message.",
    ]
    assert last.startswith("Cell 5 is not Python: invalid syntax")


def test_the_checks_name_a_folder_a_missing_source_and_a_missing_run(copy, toy_root):
    path = copy / "notebooks" / "01_toy.ipynb"
    path.write_text(path.read_text().replace("A toy lesson", f"A lesson in {copy}"))
    assert "The file names the folder that it was built in." in lint_notebooks.check_all(path, copy)
    shutil.rmtree(copy / "results")
    assert any("01_quick.json is missing" in problem for problem in lint_notebooks.check_all(path, copy))
    (copy / "notebooks" / "source" / "01_toy.py").unlink()
    assert any("has no source" in problem for problem in lint_notebooks.check_all(path, copy))
    path.write_text("{}")
    assert "cannot be read as a notebook" in lint_notebooks.check_all(path, copy)[0]


def test_pictures_get_smaller_and_keep_every_pixel():
    generator = np.random.default_rng(0)
    few = np.zeros((50, 60, 4), dtype=np.uint8)
    few[..., :3] = generator.integers(0, 5, (50, 60, 1)) * 40
    few[..., 3] = 255
    many = np.stack([*np.meshgrid(np.arange(60), np.arange(50)), np.full((50, 60), 7)], axis=-1).astype(np.uint8)
    clear = many.copy()[..., [0, 1, 2, 0]]
    clear[:, -1, 3] = 255  # from clear on the left to opaque on the right
    for pixels in (few, many, clear):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)
        small = smaller_png(buffer.getvalue())
        assert len(small) < len(buffer.getvalue())
        with Image.open(io.BytesIO(small)) as picture:
            mode = "RGBA" if pixels.shape[2] == 4 else "RGB"
            assert np.array_equal(np.asarray(picture.convert(mode)), pixels)


def test_pictures_of_other_kinds_are_left_alone():
    buffer = io.BytesIO()
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(buffer, format="PNG")
    for other in (buffer.getvalue(), b"GIF89a, and not a PNG file", buffer.getvalue()[:40], b""):
        assert smaller_png(other) == other


def test_outputs_lose_what_differs_from_machine_to_machine(tmp_path):
    import site
    import tempfile
    from pathlib import Path

    text = "\n".join(
        [
            f"{site.getsitepackages()[0]}/torch/nn.py:12: UserWarning",
            f"{tmp_path}/notebooks/x.png",
            f"{Path.home()}/cache",
            f"{tempfile.gettempdir()}/ipykernel_123/456.py:1",
            f"{tempfile.gettempdir()}/course-run-a_b1/tmp/x.npy",
            "<object at 0x7f00deadbeef> but 0xFF and 0x1F stay",
        ]
    )
    assert without_machine(text, tmp_path).split("\n") == [
        "torch/nn.py:12: UserWarning",
        "notebooks/x.png",
        "~/cache",
        "<cell>:1",
        "<temporary>/x.npy",
        "<object at 0x…> but 0xFF and 0x1F stay",
    ]


def test_streams_are_merged_progress_bars_collapsed_and_errors_cleaned(tmp_path):
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["a\n", "0%\r50%"]},
        {"output_type": "stream", "name": "stdout", "text": "\r100%\nend\r"},
        {"output_type": "stream", "name": "stderr", "text": "b"},
        {"output_type": "error", "ename": "E", "evalue": f"{tmp_path}/x", "traceback": [f"{tmp_path}/y"]},
        {"output_type": "execute_result", "execution_count": 9, "data": {"text/plain": ["1"]}, "metadata": {}},
    ]
    cell = {"cell_type": "code", "metadata": {"tags": ["t"], "x": 1}, "source": ["1\n", "2"], "outputs": outputs}
    blank = {"cell_type": "code", "metadata": {}, "source": "", "outputs": []}
    notebook = normalised({"cells": [blank, cell]}, "09", {}, tmp_path)
    assert notebook["cells"][0]["execution_count"] is None
    done = notebook["cells"][1]
    assert [output.get("text") for output in done["outputs"][:2]] == ["a\n100%\nend", "b"]
    assert done["outputs"][2]["evalue"] == "x" and done["outputs"][2]["traceback"] == ["y"]
    assert done["execution_count"] == done["outputs"][3]["execution_count"] == 1 and done["metadata"] == {"tags": ["t"]}
    assert json.loads(to_json(notebook))["cells"][1]["source"] == ["1\n", "2"]


def test_a_progress_bar_that_was_wiped_away_leaves_nothing(tmp_path):
    bar = "\rfeatures:  50%|#####     |\r" + 60 * " " + "\r"
    cells = [
        {"cell_type": "code", "metadata": {}, "source": "1", "outputs": [stdout(bar)]},
        {"cell_type": "code", "metadata": {}, "source": "2", "outputs": [stdout(bar), stdout("done\n")]},
        {"cell_type": "code", "metadata": {}, "source": "3", "outputs": [stdout("   indented\n")]},
    ]
    notebook = normalised({"cells": cells}, "09", {}, tmp_path)
    left = [[output["text"] for output in cell["outputs"]] for cell in notebook["cells"]]
    assert left == [[], ["done\n"], ["   indented\n"]]


def stdout(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_the_picture_in_the_toy_lesson_is_a_picture(toy_built):
    data = code(json.loads(toy_built.notebook.read_text()), 4)["outputs"][0]["data"]["image/png"]
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size[0] > picture.size[1] > 50


def test_a_source_that_is_no_percent_script_is_refused(tmp_path):
    with pytest.raises(RunError, match="cannot be read as a percent script"):
        builder.to_notebook(tmp_path / "missing.py")


@pytest.mark.parametrize("shareable", [True, False])
def test_a_built_notebook_holds_no_picture_that_may_not_be_passed_on(tmp_path, shareable):
    data, metadata = figures.bundle(Figure(figsize=(1, 1)), "Four cats and a dog.", shareable)
    output = {"output_type": "display_data", "data": data, "metadata": metadata}
    cell = {"cell_type": "code", "metadata": {}, "source": "x", "outputs": [output]}
    executed = {"cells": [cell]}
    (own,) = normalised(executed, "04", {}, tmp_path)["cells"][0]["outputs"]
    assert "image/png" in own["data"]  # a learner's own copy keeps it
    built = normalised(executed, "04", {}, tmp_path, published=True)
    (public,) = built["cells"][0]["outputs"]
    assert ("image/png" in public["data"]) == shareable
    assert "Four cats and a dog." in public["data"]["text/plain"]
    assert lint_notebooks.check_pictures(built) == []
    problems = lint_notebooks.check_pictures(normalised(executed, "04", {}, tmp_path))
    assert problems == ([] if shareable else ["Cell 1 shows pictures that may not be passed on; rebuild the lesson."])


@pytest.mark.parametrize(
    "piece", ["y", "\r", "y\n", "\"'(", "ipykernel_1/", "0x", "a", "<", " ", "/tmp/course-run-", "\x1b[2K", "y\b", "/"]
)
@pytest.mark.parametrize("kind", ["stream", "display_data"])
def test_no_output_takes_longer_than_its_length_asks_for(piece, kind):
    text = "0x" + piece * (300_000 // len(piece))
    output = {"output_type": kind, "name": "stdout", "text": text, "data": {"text/html": text}, "metadata": {}}
    cell = {"cell_type": "code", "metadata": {}, "source": "x", "outputs": [output]}
    started = time.process_time()
    to_json(normalised({"cells": [cell]}, "01", {}, Path("/course")))
    assert time.process_time() - started < 20  # seconds; a tenth of one here, and minutes with a quadratic pattern
