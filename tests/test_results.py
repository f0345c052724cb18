import importlib.metadata
import json
import math

import numpy as np
import pytest
import torch

from course_utils import profiles, results
from course_utils.base import lessons, notes, recorded
from course_utils.base.words import in_form
from course_utils.command.notebooks import prose
from course_utils.errors import RunError, SettingError, told


@pytest.fixture
def shell(monkeypatch):
    """A kernel's shell, with what it has shown."""
    from IPython.testing.globalipapp import get_ipython

    shell = get_ipython() or __import__("IPython").get_ipython()
    shown = []
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    monkeypatch.setattr(shell, "course_told", {}, raising=False)
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.delenv(notes.MARK, raising=False)
    return shown


@pytest.fixture
def page(monkeypatch):
    """The recorded run of lesson 3's page, by its figures."""
    figures = {}
    asked = []
    monkeypatch.setattr(recorded, "on_the_page", lambda lesson: asked.append(lesson) or {"figures": figures})
    return figures


def last(shell):
    return shell[-1]["text/plain"]


def test_record_prints_each_figure_in_a_line_outside_notebooks(capsys):
    results.record(test_accuracy=0.91234, pictures=60000, name="small")
    assert capsys.readouterr().out == "test accuracy: yours 0.9123\npictures: yours 60,000\nname: yours small\n"


def test_record_shows_shares_with_a_space_and_whole_numbers_as_they_are(capsys):
    results.record(".1%", accuracy=0.91234, pictures=153)
    assert capsys.readouterr().out == "accuracy: yours 91.2 %\npictures: yours 153\n"
    with pytest.raises(ValueError, match=r"[Ii]nvalid format"):
        results.record("per cent", accuracy=0.91234)


def test_record_shows_a_learners_figure_beside_that_of_the_page(shell, page):
    page.update(test_accuracy=0.9212, pictures=10000, truth="Shirt")
    profiles.load("03", "quick")
    results.record(".1%", test_accuracy=0.886, pictures=10000, truth="Coat", own=0.5)
    assert last(shell).splitlines() == [
        "test accuracy: yours 88.6 % · this page 92.1 %",
        "pictures: yours and this page 10,000",
        "truth: yours Coat · this page Shirt",
        "own: yours 50.0 %",
    ]
    assert "yours <strong>88.6&nbsp;%</strong> · this page <strong>92.1&nbsp;%</strong>" in shell[-1]["text/html"]
    assert shell[-1][notes.FIGURES]["test_accuracy"] == 0.886  # not rounded


def test_the_page_that_is_being_made_shows_its_own_figure_alone(shell, page, monkeypatch):
    page.update(test_accuracy=0.9)
    profiles.load("03", "full")
    monkeypatch.setenv(notes.MARK, "a run")
    results.record(".1%", test_accuracy=0.92)
    assert last(shell) == "test accuracy: this page 92.0 %"


def test_a_kernel_that_has_loaded_no_lesson_compares_with_none(shell, page):
    page.update(test_accuracy=0.9)
    results.record(".1%", test_accuracy=0.92)
    assert last(shell) == "test accuracy: yours 92.0 %"


def test_no_line_is_longer_than_the_page_is_wide(shell, page):
    words = "a long text of many words " * 4
    page.update({"a_figure_with_a_name_that_says_all": words.strip()})
    profiles.load("03", "quick")
    results.record(a_figure_with_a_name_that_says_all=words.upper().strip())
    assert max(map(len, last(shell).splitlines())) <= results.WIDTH
    assert " ".join(last(shell).split()).endswith(f"this page {words.strip()}")


def test_record_carries_exact_figures_in_the_same_output(shell):
    results.record(accuracy=0.1 + 0.2, note="<b>")
    (bundle,) = shell
    assert bundle[notes.FIGURES] == {"accuracy": 0.1 + 0.2, "note": "<b>"}
    assert bundle["text/plain"].startswith("accuracy: yours 0.3")
    assert "&lt;b&gt;" in bundle["text/html"] and "<b>" not in bundle["text/html"]


def run_file(root, name, **about):
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / name).write_text(json.dumps(about), encoding="utf-8")


def test_the_page_shows_the_full_run_or_the_quick_one_where_there_is_no_other(tmp_path):
    assert recorded.on_the_page("03", tmp_path) is None
    run_file(tmp_path, "03_quick.json", figures={"a": 1})
    assert recorded.on_the_page(3, tmp_path) == {"figures": {"a": 1}}
    run_file(tmp_path, "03_full.json", figures={"a": 2})
    assert recorded.on_the_page("3", tmp_path) == {"figures": {"a": 2}}
    (tmp_path / "results" / "03_full.json").write_text("{", encoding="utf-8")
    assert recorded.on_the_page("3", tmp_path) is None  # damaged: the lesson goes on


def test_every_committed_page_is_the_run_that_learners_compare_with():
    for number, path in lessons.notebooks().items():
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]
        assert recorded.on_the_page(number)["profile"] == about["profile"], number


def test_an_installed_package_brings_the_recorded_runs(tmp_path, monkeypatch):
    """As a wheel puts them: beside the package, known to its list of files."""
    run_file(tmp_path, "03_full.json", figures={"a": 2})
    file = importlib.metadata.PackagePath("../../../share/pixels-to-predictions/results/03_full.json")
    file.dist = type("Dist", (), {"locate_file": lambda self, path: tmp_path / "results" / path.name})()
    monkeypatch.setattr(recorded, "find_root", lambda: (_ for _ in ()).throw(SettingError("no clone here")))
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [file])
    assert recorded.on_the_page("3") == {"figures": {"a": 2}}
    assert recorded.find("benchmark_race.json") is None


def test_record_takes_tensors_and_numpy_scalars(capsys, monkeypatch):
    kept = {}
    monkeypatch.setattr(notes, "show_note", lambda text, kind, payload, html_text: kept.update(payload))
    results.record(a=torch.tensor(0.5), b=np.float64(0.25), c=np.int64(3), d=True)
    assert kept == {"a": 0.5, "b": 0.25, "c": 3, "d": True}
    assert [type(value) for value in kept.values()] == [float, float, int, bool]
    json.dumps(kept)


@pytest.mark.parametrize(
    ("figures", "error", "message"),
    [
        ({}, ValueError, "got no figures"),
        ({"Accuracy": 1}, ValueError, "cannot be called 'Accuracy'"),
        ({"seconds": 1}, ValueError, "'seconds' is reserved for the run"),
        ({"loss": float("nan")}, ValueError, "'loss' is nan, not a finite number"),
        ({"loss": float("inf")}, ValueError, "not a finite number"),
        ({"name": "x" * 121}, ValueError, "must have 1 to 120 characters"),
        ({"name": " "}, ValueError, "must have 1 to 120 characters"),
        ({"losses": [1, 2]}, TypeError, "'losses' is a list; a figure is a number"),
        ({"losses": torch.ones(2)}, TypeError, "'losses' is a Tensor; a figure is a number"),
        ({"nothing": None}, TypeError, "a number or a short text"),
    ],
)
def test_record_refuses_what_is_no_figure(figures, error, message):
    with pytest.raises(error, match=message):
        results.record(**figures)


def test_render_fills_placeholders_with_pythons_formats():
    figures = {"accuracy": 0.91234, "n": 60000, "name": "small", "quick.accuracy": 0.8}
    text = "{{accuracy:.1%}} of {{ n:, }} with {{name}}, {{quick.accuracy:.0%}} quickly; $x_{i}$ and {n} stay"
    assert prose.render(text.replace(" n:, ", "n:,"), figures) == (
        "91.2\N{NO-BREAK SPACE}% of 60,000 with small, 80\N{NO-BREAK SPACE}% quickly; $x_{i}$ and {n} stay"
    )
    assert prose.placeholders(text) == ["accuracy", "n", "name", "quick.accuracy"]


def test_render_names_the_figure_that_is_missing_and_the_closest_one():
    with pytest.raises(SettingError, match=r"quotes \{\{acuracy\}\}, which is not recorded; did you mean 'accuracy'"):
        prose.render("{{acuracy}}", {"accuracy": 1})


def test_render_says_when_a_format_does_not_suit():
    with pytest.raises(SettingError, match="'small' cannot be shown that way"):
        prose.render("{{name:.1%}}", {"name": "small"})


def test_load_returns_the_recorded_run_and_quotable_adds_the_run_itself(tmp_path):
    path = results.result_path(3, "quick", tmp_path)
    path.parent.mkdir()
    recorded = {"figures": {"a": 1}, "seconds": 90.0, "hardware": {"cores": 2, "gpu": None}, "versions": {"torch": "2"}}
    path.write_text(json.dumps(recorded), encoding="utf-8")
    assert path.name == "03_quick.json"
    quotable = prose.quotable(results.load("03", "quick", tmp_path))
    assert quotable["minutes"] == 1.5 and quotable["cores"] == 2 and quotable["gpu"] == "none" and quotable["a"] == 1
    assert set(results.RUN_FIGURES) <= set(quotable)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_load_says_what_to_do_when_there_is_no_recorded_run(tmp_path, content):
    if content is not None:
        results.result_path(3, "full", tmp_path).parent.mkdir()
        results.result_path(3, "full", tmp_path).write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"^results/03_full\.json is missing .*course build 03 --profile full"):
        results.load("03", "full", tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000123, "0.000123"),
        (-1.25, "−1.25"),
        (1234.5, "1,234"),
        (98765.4, "98,765"),
        (7, "7"),
        (True, "True"),
        (9999.6, "10,000"),
        (-0.0, "0"),
    ],
)
def test_figures_are_shown_with_four_digits_that_count(value, text):
    assert results.shown(value) in (text, text.replace("1,234", "1,235"))


@pytest.mark.parametrize(
    "value, form, text",
    [
        (0.2875, ".1%", "28.8 %"), (0.8815, ".1%", "88.2 %"), (0.8625, ".1%", "86.3 %"),
        (np.float64(0.2875), ".1%", "28.8 %"), (0.5, ".0%", "50 %"), (-0.035, ".1%", "−3.5 %"),
        (-2.5, "+.1f", "−2.5"), (2.5, "+.1f", "+2.5"),
        (1e-5, ".0e", "1e-05"), (math.nan, ".1%", "nan %"), (7, ".0%", "700 %"), ("2026-11-26", "", "2026-11-26"),
    ],
)  # fmt: skip
def test_a_share_is_rounded_as_its_digits_say_and_a_minus_is_one(value, form, text):
    assert in_form(value, form) == text


@pytest.mark.parametrize(
    ("value", "form", "text"), [(-0.0001, ".1%", "0.0 %"), (-0.0, "", "0"), (-0.001, "", "−0.001")]
)
def test_zero_has_no_sign(value, form, text):
    assert results.shown(value, form) == text


def test_a_recorded_benchmark_says_when_and_on_what_it_was_measured(tmp_path, capsys):
    (tmp_path / "results").mkdir()
    record = {"date": "2026-01-02", "hardware": {"processor": "A processor", "cores": 2}, "data": "the full set"}
    (tmp_path / "results" / "benchmark_race.json").write_text(json.dumps(record), encoding="utf-8")
    assert results.benchmark("race", tmp_path) == record
    said = capsys.readouterr().out
    assert said == (
        "Recorded by benchmarks/race.py on 2026-01-02, not in this run: A\nprocessor, 2 cores, on the full set.\n"
    )
    for damaged in ("{", "{}", "[]"):
        (tmp_path / "results" / "benchmark_race.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(RunError, match=r"benchmark_race\.json cannot be read"):
            results.benchmark("race", tmp_path)


def test_a_lesson_goes_on_without_the_recorded_benchmark(tmp_path, capsys):
    assert results.benchmark("race", tmp_path) is None
    assert "'race' is not here" in capsys.readouterr().out


def test_an_error_is_told_in_lines_that_fit_on_the_page():
    try:
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    except RuntimeError as error:
        said = told(error)
    assert said.startswith("RuntimeError: mat1 and mat2") and max(map(len, said.split("\n"))) <= results.WIDTH
    assert told(ValueError("a\nb")) == "ValueError: a b"
    assert told(ValueError("a\nb"), first_line=True) == "ValueError: a"
