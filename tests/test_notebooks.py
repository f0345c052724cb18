import json
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils import results
from course_utils.notebooks import lessons
from course_utils.notebooks.checks import check_all
from course_utils.profiles import lesson_profile

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = lessons.notebooks(ROOT)
MOST_MEMORY = 1536  # MB a kernel may take in the profile quick


def test_every_source_has_a_notebook_and_settings():
    assert set(lessons.sources(ROOT)) == set(NOTEBOOKS) and NOTEBOOKS
    assert all(lesson_profile(number) for number in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_a_committed_notebook_is_whole_fresh_and_true_to_its_recorded_run(path):
    assert check_all(path, ROOT) == []


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_every_recorded_run_of_a_lesson_names_its_machine_versions_and_date(number):
    about = json.loads(NOTEBOOKS[number].read_text(encoding="utf-8"))["metadata"]["course"]
    recorded = results.load(number, about["profile"], ROOT)
    assert recorded["hardware"]["cores"] and recorded["versions"]["torch"] and recorded["date"]
    assert recorded["figures"] and recorded["seconds"] > 0


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_lesson_runs_quickly_from_the_command_line(number, tmp_path):
    command = [sys.executable, "-m", "course_utils.cli", "run", number, "--profile", "quick", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--timeout", "300"], capture_output=True, text=True, timeout=330, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["lessons"]
    assert entry["status"] == "passed" and entry["profile"] == "quick" and entry["lesson"] == number
    assert entry["figures"] and entry["settings"] == dict(lesson_profile(number).values["quick"])
    assert entry["peak_memory_mb"] < MOST_MEMORY
    assert (tmp_path / entry["notebook"]).exists() and "1 of 1 passed" in (tmp_path / "index.html").read_text()
