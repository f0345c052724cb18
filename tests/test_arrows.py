"""The house's arrows run one way, as pyproject.toml draws them; lessons and benchmarks use what the house shows."""

import ast
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import course_utils

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "pyproject.toml"
INSIDE = ("base", "command")  # what is not for readers
SHOWN = {module.name for module in pkgutil.iter_modules(course_utils.__path__)} - set(INSIDE)
READERS = sorted([*(ROOT / "notebooks" / "source").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")])


def lint(folder):
    """Return exit code and words of import-linter for the package in a folder."""
    code = (
        f"from importlinter.cli import lint_imports; raise SystemExit(lint_imports({str(CONTRACTS)!r}, no_cache=True))"
    )
    variables = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=variables, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_every_arrow_of_the_package_points_down_and_no_packages_form_a_circle():
    code, words = lint(ROOT)
    assert code == 0, words
    assert "2 kept, 0 broken" in words


@pytest.mark.processes
@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("base/words.py", "from course_utils.command import cli", "Arrows run one way BROKEN"),
        ("data/batches.py", "from course_utils import transfer", "Arrows run one way BROKEN"),
        ("exercises/quiz.py", "def later():\n    from course_utils import widgets", "Arrows run one way BROKEN"),
        ("command/notebooks/prose.py", "from course_utils.command import builder", "No circle BROKEN"),
        ("newcomer.py", "", "- course_utils.newcomer"),
    ],
)
def test_a_planted_arrow_is_found(module, line, contract, tmp_path):
    shutil.copytree(ROOT / "course_utils", tmp_path / "course_utils", ignore=shutil.ignore_patterns("samples", "__py*"))
    with (tmp_path / "course_utils" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    code, words = lint(tmp_path)
    assert code != 0 and contract in words, words


def imported(path):
    """Return what a script imports of the course, with dots."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "course_utils":
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "course_utils")


@pytest.mark.parametrize("path", READERS, ids=lambda path: path.stem)
def test_lessons_and_benchmarks_use_what_the_house_shows(path):
    allowed = SHOWN | {"base"} if path.parent.name == "benchmarks" else SHOWN
    for name in imported(path):
        _, *parts = name.split(".")
        assert not parts or parts[0] in allowed, f"{name} is not for readers"
        assert not any(part.startswith("_") for part in parts), f"{name} is private"
        if len(parts) > 1:
            place = importlib.import_module(".".join(["course_utils", *parts[:-1]]))
            assert hasattr(place, parts[-1]) or importlib.import_module(name)
