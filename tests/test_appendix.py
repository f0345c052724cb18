"""Appendix A runs through without Keras, too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.base import lessons
from course_utils.command.builder import code_of, to_notebook

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.lessons


def test_without_keras_the_appendix_says_so_and_runs_to_its_end():
    code = "\n".join(code_of(to_notebook(lessons.sources(ROOT)["A"])))
    code = code.replace("pictures_used = None", "pictures_used = 500").replace("epochs = None", "epochs = 1")
    # None among the loaded modules makes Python answer as if there were no Keras.
    code = f"import sys; sys.modules['keras'] = None\n{code}\nprint('the end')"
    variables = os.environ | {"COURSE_OFFLINE": "1", "COURSE_PROFILE": "quick"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=variables)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Keras is not installed, so its half is skipped" in done.stdout and done.stdout.endswith("the end\n")
