"""The second way of running every lesson: nbval on the committed files, with marked outputs compared."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.base import lessons

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = lessons.notebooks(ROOT)


def nbval(path, folder):
    # A pytest inside pytest: it must not take this one for its controller.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_CORE"))}
    command = [
        *(sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=200", "-q"),
        *("--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg"), "-c", str(folder / "pytest.ini")),
        *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", f"--rootdir={path.parent}", str(path)),
    ]
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=path.parent,
        env={**environment, "COURSE_PROFILE": "quick", "IPYTHONDIR": str(folder)},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_a_committed_notebook_runs_under_nbval(path, tmp_path):
    code, output = nbval(path, tmp_path)
    assert code == 0, output[-3000:]


def test_nbval_refuses_an_error_and_a_changed_output(toy_built, tmp_path):
    import json

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
