"""CI on GitHub calls the commands that the README and the Makefile have, and leaves no test out."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import SLOW

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
CALLERS = [*FILES, ROOT / ".ci" / "run", ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile"]
needs_make = pytest.mark.skipif(
    shutil.which("make") is None or sys.platform == "win32", reason="the Makefile needs make and a Unix shell"
)


def workflow(name):
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))


def steps(path):
    return [step for job in workflow(path.stem)["jobs"].values() for step in job["steps"]]


def commands(path):
    return [step["run"] for step in steps(path) if "run" in step]


def make(*arguments):
    """Return what make would do, from a clone without anything installed."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # as if none called it
    done = subprocess.run(["make", "-n", "-B", *arguments], capture_output=True, text=True, cwd=ROOT, env=outside)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_action_is_fixed_to_a_major_version_and_every_job_ends(path):
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]), step["uses"]
    for name, job in workflow(path.stem)["jobs"].items():
        assert "timeout-minutes" in job or name == "publish"


@needs_make
@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.name)
def test_what_is_called_exists(path):
    text = path.read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:^|run: |`|# )make ([a-z]+)\b", text, re.MULTILINE)):
        assert make(target)
    for script in re.findall(r"(?:^|\s)(\.ci/run|(?:tools|benchmarks)/\w+\.py)", text):
        assert (ROOT / script).is_file(), script


@needs_make
def test_the_kinds_that_run_side_by_side_are_together_all_tests_and_none_twice():
    (job,) = [job for job in workflow("tests")["jobs"].values() if "kind" in job.get("strategy", {}).get("matrix", ())]
    assert job["env"]["KIND"] == "${{ matrix.kind }}" and job["steps"][-1]["run"] == '.ci/run "$KIND"'
    chosen = [re.search(r"pytest .*-m (.+)", make(kind))[1].strip('"') for kind in job["strategy"]["matrix"]["kind"]]
    for mine in [None, *SLOW]:  # a test has one of the markers or none: tests/conftest.py sees to that
        marks = {name: name == mine for name in SLOW}
        assert sum(eval(expression, {}, marks) for expression in chosen) == 1, f"{mine}: {chosen}"


@needs_make
def test_where_there_is_no_make_the_tests_run_as_it_runs_them():
    (options,) = re.findall(r"-m pytest (.*)", make("test"))
    options = re.sub(r"\$\(.*\)", "2", options)  # make asks how many cores are granted: GitHub grants more than two
    by_hand = [command for command in commands(FOLDER / "tests.yml") if "-m pytest" in command]
    assert by_hand and set(by_hand) == {f"python -m pytest {options}"}


def test_three_systems_and_the_oldest_python_are_tested():
    jobs = workflow("tests")["jobs"].values()
    systems = {system for job in jobs for system in job.get("strategy", {}).get("matrix", {}).get("system", ())}
    assert {"macos-latest", "windows-latest"} == systems and any(job["runs-on"] == "ubuntu-latest" for job in jobs)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'requires-python = ">=([\d.]+)"', project)[1]
    for job in jobs:
        versions = job.get("strategy", {}).get("matrix", {}).get("python", [oldest])
        assert versions[0] == oldest and versions == sorted(versions, key=lambda text: int(text.split(".")[1]))


@needs_make
def test_every_week_new_releases_are_tried_and_claims_measured_anew():
    weekly = workflow("weekly")
    assert weekly[True]["schedule"]  # True: YAML's "on"
    called = "\n".join(commands(FOLDER / "weekly.yml"))
    (newest,) = re.findall(r"^make (coverage .*)", called, re.MULTILINE)
    assert f"{make('test').rstrip()} --cov --cov-report=term --cov-fail-under=90" in make("coverage").replace(
        "COVERAGE_CORE=sysmon ", ""
    )
    assert "--constraint constraints.txt" in make("test")
    assert "--constraint" not in make(*newest.split())
    assert "make benchmarks" in called and "make nbval" in called and "make outcomes" in called


@needs_make
@pytest.mark.parametrize(("granted", "workers"), [(1, 1), (2, 2), (64, 2)])
def test_make_starts_no_more_workers_than_cores_are_granted(monkeypatch, granted, workers):
    monkeypatch.setattr("course_utils.base.machine.cores", lambda: granted)
    said = set()
    for target in ("test", "quick", "nbval", "outcomes", "lessons"):
        for code in re.findall(r'(?:-n|--jobs) \$\(\S+ -c "(.*?)"\)', make(target)):
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(code)
            said.add((target, int(output.getvalue())))
    assert said == {(target, workers) for target in ("test", "quick", "nbval", "outcomes", "lessons")}


@needs_make
def test_make_benchmarks_runs_every_one_and_fails_at_the_end_when_one_missed_its_bar(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    for name, code in {"a": "print('a')", "b": "raise SystemExit(1)", "c": "print('c')"}.items():
        (tmp_path / "benchmarks" / f"{name}.py").write_text(code, encoding="utf-8")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(shutil.which("python3"))
    (tmp_path / ".venv" / ".test").touch()
    done = subprocess.run(["make", "benchmarks"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "\na\n" in done.stdout and "\nc\n" in done.stdout
    assert "missed their bars: benchmarks/b.py\n" in done.stdout
    (tmp_path / "benchmarks" / "b.py").unlink()
    assert subprocess.run(["make", "benchmarks"], cwd=tmp_path, capture_output=True).returncode == 0


def test_a_text_from_outside_reaches_no_command_line_unquoted():
    for path in FILES:
        assert not any("${{" in command for command in commands(path)), path.name
