"""CI on GitHub calls the commands that the README and the Makefile have, and nothing of its own."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def steps(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def commands(path):
    return [step["run"] for step in steps(path) if "run" in step]


def test_there_is_a_workflow_for_tests_new_releases_full_runs_and_the_site():
    assert [path.stem for path in FILES] == ["full", "site", "tests", "weekly"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_action_is_fixed_to_a_major_version_and_every_job_ends(path):
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]), step["uses"]
    for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items():
        assert "timeout-minutes" in job or name == "publish"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_workflow_calls_exists(path):
    for command in commands(path):
        for target in re.findall(r"^make (\w+)", command, re.MULTILINE):
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), command
        for script in re.findall(r"(?:^|\s)(\.ci/run|tools/\w+\.py)", command):
            assert (ROOT / script).is_file(), command


def test_the_tests_are_called_as_the_makefile_calls_them():
    test = re.search(r"python -m (pytest -n 2 --dist loadfile)", MAKEFILE)[1]
    called = commands(FOLDER / "tests.yml")
    assert ".ci/run" in called and called.count(f"python -m {test}") == 2
    install = [command for command in called if "pip install --constraint constraints.txt" in command]
    assert install == ['python -m pip install --constraint constraints.txt --editable ".[test]"']


def test_three_systems_and_the_oldest_and_newest_python_are_tested():
    jobs = yaml.safe_load((FOLDER / "tests.yml").read_text(encoding="utf-8"))["jobs"]
    systems = {jobs["linux"]["runs-on"], *jobs["others"]["strategy"]["matrix"]["system"]}
    assert systems == {"ubuntu-latest", "macos-latest", "windows-latest"}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'requires-python = ">=([\d.]+)"', project)[1]
    for name in ("linux", "others"):
        assert jobs[name]["strategy"]["matrix"]["python"] == [oldest, "3.13"]


def test_new_releases_are_tried_every_week_without_exact_versions():
    weekly = yaml.safe_load((FOLDER / "weekly.yml").read_text(encoding="utf-8"))
    assert weekly[True]["schedule"] and commands(FOLDER / "weekly.yml") == [
        "make test CONSTRAINTS="
    ]  # True: YAML's "on"
    assert "$(CONSTRAINTS:%=--constraint %)" in MAKEFILE


def test_a_text_from_outside_reaches_no_command_line_unquoted():
    for path in FILES:
        assert not any("${{" in command for command in commands(path)), path.name
