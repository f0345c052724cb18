"""The two environments that the course is tried in are made of exact versions within its ranges."""

import try_environment
from make_environment import requirements
from packaging.requirements import Requirement


def exact(name):
    lines = [line for line in try_environment.versions(name).splitlines() if line and not line.startswith("#")]
    return {wanted.name: str(wanted.specifier).removeprefix("==") for wanted in map(Requirement, lines)}


def test_colabs_versions_and_the_oldest_are_allowed_and_exact():
    ranges = {wanted.name: wanted.specifier for wanted in requirements(())}
    for name in try_environment.PYTHONS:
        assert {"torch", "torchvision", "numpy", "ipywidgets"} <= set(exact(name)) <= set(ranges)
        assert all(ranges[package].contains(version) for package, version in exact(name).items())
    assert set(exact("oldest")) == set(ranges)


def test_an_environment_is_made_once_for_its_versions_and_the_course_run_in_it(tmp_path, monkeypatch):
    calls = []

    def run(command, **options):
        calls.append([str(part) for part in command])
        if "venv" in calls[-1]:
            (tmp_path / "build" / "colab").mkdir(parents=True)
        return type("Done", (), {"returncode": 1})

    monkeypatch.setattr(try_environment, "ROOT", tmp_path)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "colab.txt").write_text("torch==2.11.0\n", encoding="utf-8")
    monkeypatch.setattr(try_environment.subprocess, "run", run)
    monkeypatch.setattr(try_environment.sys, "argv", ["try_environment.py", "colab", "2", "--profile", "quick"])
    assert try_environment.main() == try_environment.main() == 1
    made = [call for call in calls if "venv" in call or "pip" in call]
    assert len(made) == 2 and "--constraint" in made[1]  # the second time all is there
    assert calls[-1][1:] == ["run", "--out", str(tmp_path / "runs" / "colab"), "2", "--profile", "quick"]
