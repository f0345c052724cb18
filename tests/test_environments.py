"""conda's files, Binder's and the exact versions say the same as pyproject.toml."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from course_utils.base import machine

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "make_environment.py"
FILES = ("environment.yml", "binder/environment.yml")


@pytest.fixture(scope="module")
def tool():
    specification = importlib.util.spec_from_file_location("make_environment", TOOL)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path):
    """The files in question, in a folder of their own, to be changed."""
    for name in ("pyproject.toml", "constraints.txt", *FILES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_files_are_those_that_pyproject_gives():
    run = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", FILES)
def test_every_package_stands_in_the_file_once_with_its_range(name, tool):
    entries = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["dependencies"]
    listed = [entry for entry in entries if isinstance(entry, str)]
    from_pip = [entry for block in entries if isinstance(block, dict) for entry in block["pip"]]
    for wanted in tool.requirements():
        called = tool.conda_name(wanted)
        mine = [e for e in listed if e.split()[0] == called] if called else [e for e in from_pip if wanted.name in e]
        assert len(mine) == 1, f"{name}: {wanted.name} stands there {len(mine)} times"
        assert {part.strip() for part in str(wanted.specifier).split(",")} == set(
            mine[0].replace(called or wanted.name, "").strip().split(",")
        )


def test_a_changed_range_makes_both_conda_files_stale(copy, tool):
    path = copy / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('"numpy>=1.26"', '"numpy>=1.27"'), encoding="utf-8")
    for file, text in tool.files(copy).items():
        assert "numpy >=1.27" in text and file.read_text(encoding="utf-8") != text


def test_an_exact_version_outside_its_range_is_named(copy, tool):
    path = copy / "constraints.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("ipywidgets==8.1.8", "ipywidgets==8.1.9"), "utf-8")
    (problem,) = tool.outside(copy)
    assert problem.startswith("constraints.txt has ipywidgets==8.1.9, which pyproject.toml does not allow")


def test_a_package_that_nobody_has_looked_for_on_conda_forge_is_refused(tool):
    with pytest.raises(SystemExit, match="rarely is new; check whether conda-forge has it"):
        tool.conda_name(tool.Requirement("rarely>=1"))


@pytest.mark.skipif(sys.platform == "win32", reason="Binder runs Linux; Windows has no executable bit")
@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_binders_scripts_can_be_run(name):
    path = ROOT / "binder" / name
    assert path.stat().st_mode & 0o111 and path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Binder runs Linux")
def test_binder_starts_the_small_profile_and_then_jupyter(tmp_path):
    command = ["bash", str(ROOT / "binder" / "start"), "bash", "-c", 'echo "$COURSE_PROFILE $COURSE_OFFLINE"']
    assert subprocess.run(command, capture_output=True, text=True).stdout == "quick 1\n"


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "Intel Xeon Platinum 8481C"),
        ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "Intel Core i7-8550U"),
        ("AMD EPYC 7R13 48-Core Processor", "AMD EPYC 7R13 48-Core"),
    ],
)
def test_a_processor_is_named_without_trade_marks_and_clock(told, name, monkeypatch):
    monkeypatch.setattr(machine.Path, "read_text", lambda *_, **__: f"processor : 0\nmodel name : {told}\n")
    assert machine.processor() == name
