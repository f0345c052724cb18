import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from held import HELD
from lint_notebooks import check_all
from margins import run_source
from rounds import WEEKLY

from course_utils import results
from course_utils.base import lessons
from course_utils.profiles import lesson_profile

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = lessons.notebooks(ROOT)
MOST_MEMORY = 1200  # MB of its own that a kernel may take in the profile quick, libraries mapped from disk apart
# Sections that took no longer than so many seconds are run again after the whole, as learners do.
AGAIN = "600" if WEEKLY else "0.5"
LIMIT = 2 * 1024**3  # bytes of private memory that each process of a quick run gets, where the system can limit it


def limited():
    """Keep this process, and those that it starts, from having more than LIMIT of memory of their own."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))


@cache
def mapped_from_disk():
    """Return the MB of library files that a process with the lessons' libraries has in memory at once.

    They are shared among processes, can be dropped at any time, and are more or fewer by hundreds of MB as the disk's
    cache is warm or cold; the recorded peak counts them.
    """
    code = "import torch, torchvision, matplotlib.pyplot, ipywidgets; print(open('/proc/self/status').read())"
    if sys.platform != "linux":
        return 336  # what is left of 1.5 GB
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RssFile:"))
    return int(line.split()[1]) / 1024


CAN_LIMIT = limited if sys.platform == "linux" else None  # elsewhere the recorded peak alone is held to its bar


@pytest.mark.processes
@pytest.mark.skipif(CAN_LIMIT is None, reason="only Linux limits the memory that a process really asks for")
def test_the_memory_limit_of_the_next_test_does_limit():
    code = "import numpy; numpy.ones({} << 20, dtype='uint8'); print('fits')"
    small, large = (
        subprocess.run([sys.executable, "-c", code.format(size)], capture_output=True, text=True, preexec_fn=limited)
        for size in (256, 2200)
    )
    assert small.stdout == "fits\n" and "MemoryError" in large.stderr


def test_lesson_3_looks_at_its_test_pictures_in_one_cell():
    cells = lessons.sources(ROOT)["03"].read_text(encoding="utf-8").split("\n# %%")
    assert sum("clothes.test" in cell or "test_batches" in cell for cell in cells) == 1


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
    assert about["outputs"], "without it nobody would notice a picture that was replaced"


def test_the_page_of_lesson_4_is_about_cifar_10():
    (data,) = results.load("04", "quick", ROOT)["data"]
    assert "say nothing about" not in data, "its text speaks of CIFAR-10: build it where COURSE_DATA_DIR holds that"


@pytest.mark.lessons
@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_lesson_runs_quickly_from_the_command_line(number, tmp_path):
    command = [sys.executable, "-m", "course_utils.command.cli", "run", number, "--profile", "quick"]
    command += ["--out", str(tmp_path), *(["--again", AGAIN] if number in HELD else [])]
    done = subprocess.run(
        [*command, "--timeout", "1500"], capture_output=True, text=True, timeout=1600, cwd=ROOT, preexec_fn=CAN_LIMIT
    )
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["lessons"]
    assert entry["status"] == "passed" and entry["profile"] == "quick" and entry["lesson"] == number
    assert bool(entry["again"]) == (number in HELD)  # and each of these sections could be run a second time
    assert entry["figures"] and entry["settings"] == dict(lesson_profile(number).values["quick"])
    assert entry["peak_memory_mb"] - mapped_from_disk() < MOST_MEMORY
    assert (tmp_path / entry["notebook"]).exists() and "1 of 1 passed" in (tmp_path / "index.html").read_text()


@pytest.mark.lessons
@pytest.mark.filterwarnings("default")  # as in a kernel: NumPy warns of PyTorch's tensors
@pytest.mark.skipif(not WEEKLY, reason="runs once a week, with COURSE_WEEKLY=1")
@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_lesson_runs_to_its_end_with_its_smallest_settings(number, monkeypatch):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    numbers = {name: each for name, each in lesson_profile(number).settings.items() if each.type in ("int", "float")}
    # Batches stay as they are: with those of two pictures it would take an hour.
    least = {name: each.min for name, each in numbers.items() if name not in ("seed", "batch_size")}
    error, _, _ = run_source(lessons.sources(ROOT)[number], {"profile": "quick", **least})
    assert error == ""
