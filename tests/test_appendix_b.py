"""Appendix B on a folder of one's own: names of any kind, a class of one picture, pictures of another day."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils import pictures
from course_utils.base import lessons
from course_utils.command.builder import code_of, to_notebook
from course_utils.data.sample_folder import write_sample_folder

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.lessons


def test_the_appendix_makes_a_classifier_of_a_folder_of_ones_own(tmp_path):
    for name, part in (("today", "train"), ("later", "test")):
        folder = write_sample_folder(tmp_path / name, ["Bag", "Coat"], 6, side=64, part=part)
        (folder / "Bag").rename(folder / "my $bag ü")
        (folder / "one").mkdir()
        pictures.photograph("cat").save(folder / "one" / f"{name}.jpg")
        (folder / "one" / "notes.txt").write_text("no picture")
    source = "\n".join(code_of(to_notebook(lessons.sources(ROOT)["B"])))
    code = source.replace("pictures = None", f"pictures = {str(tmp_path / 'today')!r}", 1)
    code = code.replace("later = None", f"later = {str(tmp_path / 'later')!r}", 1)
    code = code.partition("shoes = (")[0]  # what follows is about made-up pictures only
    assert code != source and len(code) > 5000
    variables = os.environ | {"COURSE_OFFLINE": "1", "COURSE_PROFILE": "quick", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"{code}\nprint('the end', classes)"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "one/notes.txt (is not a picture)" in done.stdout
    assert "pictures, 1,280 numbers for each" in done.stdout
    assert "categories for 1 of your classes: 'Coat' (fur coat, " in " ".join(done.stdout.split())
    assert "This classifier knows 3 classes and has none for anything else" in done.stdout
    assert done.stdout.endswith("the end ('Coat', 'my $bag ü', 'one')\n")
    assert (tmp_path / "mine.safetensors").is_file()  # kept where the notebook runs
