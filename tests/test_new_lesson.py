"""`tools/new_lesson.py`: what it writes is a lesson like the others, and runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stamp
import yaml
from new_lesson import PROFILES, new_lesson

from course_utils.base import lessons
from course_utils.errors import SettingError

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def copy(tmp_path):
    """The course without its notebooks and pictures, to be changed."""
    for folder in ("course_utils", "notebooks/source"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_a_new_lesson_follows_the_last_one_builds_and_shows_its_figure(copy):
    path = new_lesson("Attention, by hand: für alle", copy)
    assert path.name == "08_attention_by_hand_fuer_alle.py"
    assert list(lessons.sources(copy))[-3:] == ["08", "A", "B"]
    assert yaml.safe_load((copy / PROFILES).read_text(encoding="utf-8"))["08"]["seed"]["quick"] == 0
    assert stamp.stamp_all(root=copy, check=True) == []
    command = [sys.executable, "-m", "course_utils.command.cli", "build", "8", "--profile", "quick"]
    variables = os.environ | {"PYTHONPATH": str(copy), "COURSE_OFFLINE": "1"}
    done = subprocess.run(command, cwd=copy, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    built = lessons.notebooks(copy)["08"].read_text(encoding="utf-8")
    assert "# Attention, by hand: für alle" in built and "{{" not in built
    mean = json.loads((copy / "results" / "08_quick.json").read_text(encoding="utf-8"))["figures"]["mean"]
    assert f"The mean of these numbers is {mean:.3f}" in built
    assert new_lesson("Größe ist Übung", copy).name == "09_groesse_ist_uebung.py"


@pytest.mark.parametrize("title", ["", "…", "two\nlines"])
def test_a_title_without_words_or_with_two_lines_is_refused_and_nothing_is_written(title, copy):
    before = (copy / PROFILES).read_text(encoding="utf-8")
    with pytest.raises(SettingError, match="needs a title of one line"):
        new_lesson(title, copy)
    assert (copy / PROFILES).read_text(encoding="utf-8") == before and "08" not in lessons.sources(copy)
