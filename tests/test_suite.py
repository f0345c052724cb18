"""The suite itself: with two workers, tests that share something run one after another in one of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import shared

ROOT = Path(__file__).resolve().parent.parent
TESTS = """\
import os
from pathlib import Path

import pytest


@pytest.mark.parametrize("lesson", ["01", "02", "A"])
@pytest.mark.parametrize("look", [1, 2])
def test_of_a_lesson(look, lesson):
    note(f"{Path(__file__).stem} {lesson}")


@pytest.mark.parametrize("number", range(6))
def test_of_a_file(number):
    note(Path(__file__).stem)


def note(shared):
    with open(f"{shared}.txt", "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + " ")
"""


def test_what_is_shared_is_told_by_the_name_of_a_test():
    assert shared("tests/test_browser.py::test_a[03]") == shared("tests/test_browser.py::test_b[x-03]")
    names = ["tests/test_browser.py::test_a[A]", "tests/test_nbval.py::test_a[A]", "tests/test_runner.py::test_a[A]"]
    assert len({shared(name) for name in names}) == 3
    assert shared("tests/test_runner.py::test_a[A]") == shared("tests/test_runner.py::test_b") == "tests/test_runner.py"


@pytest.mark.processes
def test_tests_that_share_something_run_in_one_worker(tmp_path):
    for name in ("test_browser_toy", "test_one", "test_two", "test_three"):
        (tmp_path / f"{name}.py").write_text(TESTS, encoding="utf-8")
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").touch()
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_CORE"))}
    variables["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = {file.stem: file.read_text(encoding="utf-8").split() for file in tmp_path.glob("*.txt")}
    for name in ("one", "two", "three"):  # where lessons share what the file has
        seen[f"test_{name}"] += [worker for lesson in ("01", "02", "A") for worker in seen.pop(f"test_{name} {lesson}")]
    assert {name: len(set(workers)) for name, workers in seen.items()} == dict.fromkeys(seen, 1)
    assert len(seen) == 7 and sum(map(len, seen.values())) == 48
    assert {worker for workers in seen.values() for worker in workers} == {"gw0", "gw1"}
