"""The second way of running lessons: nbval on the committed files, with marked outputs compared.

papermill (test_notebooks.py) runs every cell of every lesson with the same settings, so nbval runs what it compares:
the marked cells, and those before them that they need. Once a week it runs all lessons whole: `make nbval`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from needed import needed

from course_utils.base import lessons

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = lessons.notebooks(ROOT)
pytestmark = pytest.mark.lessons


def nbval(path, folder):
    # A pytest inside pytest: it must not take this one for its controller.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_CORE"))}
    command = [
        *(sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=900", "-q"),
        *("--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg"), "-c", str(folder / "pytest.ini")),
        *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", f"--rootdir={path.parent}", str(path)),
    ]
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=1800,
        cwd=path.parent,
        env={**environment, "COURSE_PROFILE": "quick", "IPYTHONDIR": str(folder)},
    )
    return done.returncode, done.stdout + done.stderr


def is_compared(cell):
    return "NBVAL_CHECK_OUTPUT" in "".join(cell["source"]) or "nbval-check-output" in cell["metadata"].get("tags", ())


def what_is_compared(path):
    """Return a notebook of the marked cells and of those that they need; None where no cell is marked."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    while cells and not is_compared(cells[-1]):
        cells.pop()
    marked = {"".join(cell["source"]) for cell in cells if is_compared(cell)}
    chosen = needed(["".join(cell["source"]) for cell in cells], marked.__contains__)
    return {**notebook, "cells": [cells[number] for number in chosen]} if marked else None


CUT = {number: cut for number, path in NOTEBOOKS.items() if (cut := what_is_compared(path))}


@pytest.mark.parametrize("number", CUT)
def test_what_a_committed_notebook_shows_is_what_nbval_sees(number, tmp_path):
    path = tmp_path / NOTEBOOKS[number].name
    path.write_text(json.dumps(CUT[number]), encoding="utf-8")
    code, output = nbval(path, tmp_path)
    assert code == 0, output[-3000:]


def test_most_lessons_have_an_output_that_is_compared():
    marked = [cell for cut in CUT.values() for cell in cut["cells"] if is_compared(cell)]
    assert len(CUT) > len(NOTEBOOKS) / 2 and len(marked) >= 20


def test_nbval_refuses_an_error_and_a_changed_output(toy_built, tmp_path):
    notebook = json.loads(toy_built.notebook.read_text(encoding="utf-8"))
    cell = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"][3]
    cell["source"] = ["# NBVAL_CHECK_OUTPUT\n", "print(1 + 1)"]
    cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["3\n"]}]
    path = tmp_path / "doctored.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    code, output = nbval(path, tmp_path)
    assert code == 1 and "1 failed" in output
    cell["outputs"][0]["text"] = ["2\n"]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert nbval(path, tmp_path)[0] == 0
