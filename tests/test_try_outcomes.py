"""`tools/try_outcomes.py`: what holds only by luck is found, and by how little the rest holds is measured."""

import json
import sys

import pytest
import torch
import try_outcomes
from margins import run_source
from try_outcomes import PROCESSORS, combinations, main, sureness

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform == "win32", reason="trials are forks"),
]

TOY = """\
# %% [markdown]
# # A toy lesson

# %%
import os

import torch
from torch.testing import assert_close

from course_utils import figures

# %% tags=["parameters"]
profile = "auto"
seed = None

# %%
torch.manual_seed(seed)
outcome = 0.5 + 0.01 * torch.rand(1).item()
figures.show(None, alt="Nothing is drawn in a trial.")
assert profile == "quick" and os.environ["ATEN_CPU_CAPABILITY"] == "default"
assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
assert 0 < outcome < 0.6 and all(x > 0.1 for x in (1, outcome) if x < 1)
assert_close(torch.tensor(1.0), torch.tensor(1.05), rtol=0, atol=0.1)
"""

TOY_TESTS = """\
import pytest
import torch


@pytest.mark.outcome
def test_luck():
    torch.manual_seed(1)
    assert torch.rand(1).item() > 0.5


def test_what_no_training_decides():
    raise AssertionError
"""


@pytest.fixture
def toy(tmp_path):
    """Write a lesson of a course: the source above, and more."""
    folder = tmp_path / "notebooks" / "source"
    folder.mkdir(parents=True)

    def write(more="", name="01_toy.py"):
        (folder / name).write_text(TOY + more, encoding="utf-8")
        return folder / name

    return write


def test_every_value_of_every_axis_occurs_and_a_longer_list_begins_with_the_shorter():
    processors, data = list(PROCESSORS), ["sample", "full"]
    chosen = list(combinations("04", 40, processors, data))
    assert len({tuple(each.values()) for each in chosen}) == 40
    for axis, values in {"processor": processors, "threads": [1, 2, 4], "seed": range(10), "data": data}.items():
        counts = [sum(each[axis] == value for each in chosen) for value in values]
        assert min(counts) > 0 and max(counts) <= 2 * min(counts)
    assert list(combinations("04", 10, processors, data)) == chosen[:10]
    assert len(list(combinations("04", 999, processors, data))) == 180


def test_an_assert_tells_how_far_it_was_from_failing(toy, monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")  # read when PyTorch is imported, so without effect
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    path = toy("assert outcome > 0.7 and outcome < 0.8")
    error, margins, _ = run_source(path, {"seed": 3, "profile": "quick"})
    torch.manual_seed(3)
    outcome = 0.5 + 0.01 * torch.rand(1).item()
    assert error == "line 24, assert outcome > 0.7 and outcome < 0.8: AssertionError"
    assert margins == {
        "22: 0 < outcome < 0.6 (1)": pytest.approx(outcome),
        "22: 0 < outcome < 0.6 (2)": pytest.approx(0.6 - outcome),
        "22: x > 0.1": pytest.approx(outcome - 0.1),
        "23: assert_close": pytest.approx(0.5, abs=1e-5),
        "24: outcome > 0.7": pytest.approx(outcome - 0.7),
    }


def test_panels_and_checks_which_claim_nothing_are_passed_over(toy, monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    path = toy("if outcome:\n    widgets.lesson1.of_no_such_name('coffee').anything()\nexercises.lesson1.none.check()")
    assert run_source(path, {"seed": 3, "profile": "quick"})[0] == ""


def test_two_tensors_are_compared_element_by_element(toy, monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    path = toy("steps = torch.tensor([4.0, 2.0, 1.5])\nassert (steps[1:] < steps[:-1]).all()\nassert outcome > 0.7")
    error, margins, _ = run_source(path, {"seed": 3, "profile": "quick"})
    assert error.startswith("line 26") and margins["25: steps[1:] < steps[:-1]"] == pytest.approx(0.5)


@pytest.mark.processes
def test_what_is_sure_passes_and_what_holds_by_luck_is_named_with_what_breaks_it(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setattr(try_outcomes, "processors_here", lambda: ["default"])  # each costs one more import of PyTorch
    toy()
    dies = next(combinations("02", 4, ["default"], ["sample"]))["seed"]
    toy(f"assert outcome > 0.505\n\nif seed == {dies}:\n    os.kill(os.getpid(), 9)", "02_luck.py")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_toy.py").write_text(TOY_TESTS)
    file = tmp_path / "outcomes.json"
    command = ["--trials", "4", "--out", str(file)]
    assert main(command, tmp_path) == 1
    trials, out = json.loads(file.read_text()), capsys.readouterr().out
    sure, luck, tests = ([trial for trial in trials if trial["lesson"] == name] for name in ("01", "02", "tests"))
    assert len({trial["seed"] for trial in sure}) == 4 and not any(trial["error"] for trial in sure)
    assert all(trial["margins"]["22: x > 0.1"] > 0.4 for trial in sure) and "| 01 | 4 | 4 sample | 0 |" in out

    for trial in luck:
        torch.manual_seed(trial["seed"])
        good = 0.5 + 0.01 * torch.rand(1).item() > 0.505
        expected = "line 24, assert outcome > 0.505: AssertionError" * (not good)
        assert trial["error"] == (expected or "ended by signal 9, without an answer" * (trial["seed"] == dies))
    assert "- 02 is not sure, " in out and ": line 24: outcome > 0.505" in out and "- 01 is not sure" not in out

    for trial in tests:
        torch.manual_seed(1 + 1000 * trial["seed"])
        margin = torch.rand(1).item() - 0.5
        assert trial["margins"] == {"test_toy.py, 8: torch.rand(1).item() > 0.5": pytest.approx(margin)}
        assert ("test_luck" in trial["error"]) == (margin <= 0) and "no_training" not in trial["error"]

    assert main(["1", *command, "--resume"], tmp_path) == 0
    assert "passed" not in capsys.readouterr().out and json.loads(file.read_text()) == trials  # nothing ran again


def test_the_less_sure_kind_of_data_counts_and_what_never_moves_is_left_out():
    margins = {"sample": [0.5, 0.7], "full": [0.1, 0.2]}
    tried = [
        {"data": kind, "margins": {"1: a > b": value, "2: 1 < 2": 1.0}} for kind in margins for value in margins[kind]
    ]
    ((sure, smallest, spread, place),) = sureness(tried)
    assert place == "1: a > b" and smallest == 0.1 and sure == pytest.approx(0.15 / spread)
