"""The project's own promises: light imports, a README whose figures are recorded ones, small samples."""

import ast
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

import course_utils

ROOT = Path(__file__).resolve().parent.parent


def test_importing_the_package_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.process_time(); import course_utils; seconds = time.process_time() - start; "
        "print(seconds, *sorted({'torch', 'numpy', 'matplotlib', 'IPython', 'PIL'} & set(sys.modules)))"
    )
    answers = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(3)]
    assert all(len(answer.split()) == 1 for answer in answers), answers
    assert min(float(answer) for answer in answers) < 0.1  # of the processor's time: others on it do not count


def test_contributing_names_the_packages_that_there_are():
    words = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|([^|]*)\|.*\|.*\|$", words, flags=re.MULTILINE)
    named = {package: re.findall(r"\w+", modules) for names, modules in rows for package in re.findall(r"\w+", names)}
    assert sorted(named) == sorted(module.name for module in pkgutil.iter_modules(course_utils.__path__))
    for package, modules in named.items():
        folder = ROOT / "course_utils" / package
        there = {module.name for module in pkgutil.iter_modules([str(folder)])}
        assert set(modules) <= there, f"{package} has no {set(modules) - there}"
        assert bool(modules) == folder.is_dir(), f"the table says nothing of what is in {package}"


def test_the_readme_quotes_the_recorded_runs():
    tool = [sys.executable, str(ROOT / "tools" / "make_readme.py"), "--check"]
    run = subprocess.run(tool, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_readme_begins_with_a_picture_that_moves_and_is_small():
    head = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    (path,) = re.findall(r'<img src="(docs/pictures/\w+\.webp)" width="\d+" alt="[^"]{40,}">', head)
    with Image.open(ROOT / path) as picture:
        assert picture.n_frames > 20 and picture.width >= 700
    assert (ROOT / path).stat().st_size < 1.5e6


def test_the_benchmark_holds_its_bar_in_the_recorded_run():
    run = json.loads((ROOT / "results" / "benchmark_fashion_mnist.json").read_text(encoding="utf-8"))
    listing_best = max(accuracy for _, accuracy in run["listing"])
    for rows, speedup in zip(run["ours"].values(), run["speedups"], strict=True):
        reached = next(seconds for seconds, accuracy in rows if accuracy >= listing_best)
        assert abs(run["listing_seconds"] / reached - speedup) < 0.1
        assert speedup >= 10


def test_cached_features_hold_their_bar_in_the_recorded_run():
    run = json.loads((ROOT / "results" / "benchmark_features.json").read_text(encoding="utf-8"))
    cached, every_epoch = run["sides"]["cached features"], run["sides"]["body every epoch"]
    assert run["epochs"] == 10 and abs(every_epoch["seconds"] / cached["seconds"] - run["ratio"]) < 0.1
    assert run["ratio"] >= run["bar"] >= 8
    assert abs(cached["accuracy"] - every_epoch["accuracy"]) <= run["noise"] <= 0.04


@pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="CI's script is for bash")
@pytest.mark.parametrize("data_beside", [True, False])
def test_ci_runs_the_readmes_test_command_on_the_data_that_lies_beside(tmp_path, data_beside):
    clone, programs = tmp_path / "clone", tmp_path / "bin"
    (clone / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", clone / ".ci" / "run")
    said = 'echo "make $* data=$COURSE_DATA_DIR browser=$COURSE_NEEDS_BROWSER"'
    scripts = {programs / "make": said, programs / "chromium": ""}
    if data_beside:
        scripts[tmp_path / "shared" / "data" / "unpack"] = 'touch "$1/set"; echo "$1"'
    for path, text in scripts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")}
    variables |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(tmp_path)}

    def run(*arguments):
        command = ["bash", str(clone / ".ci" / "run"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
        return re.fullmatch(r"(make .*) data=(.*) browser=1\n", done.stdout).groups()

    command, folder = run()
    assert f"```bash\n{command}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert bool(folder) == data_beside and not (folder and Path(folder).exists())  # unpacked, and tidied away
    assert run("lessons")[0] == "make lessons"


def test_every_direct_dependency_is_pinned_and_explained():
    wanted = [entry for entry in metadata.requires("pixels-to-predictions") if 'extra == "docs"' not in entry]
    names = {re.match(r"[\w.-]+", entry)[0].lower() for entry in wanted} - {"pixels-to-predictions"}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in names:
        assert f"\n{name}==" in pins.lower(), f"{name} has no exact version in constraints.txt"
        assert name in contributing, f"CONTRIBUTING.md does not say why {name} is there"


def test_every_file_of_the_package_is_installed_with_it():
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    globs = ast.literal_eval(re.search(r"^course_utils = (\[.*\])$", settings, re.MULTILINE)[1])
    package = ROOT / "course_utils"
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files == {path for glob in globs for path in package.glob(glob) if path.is_file()}
    assert (package / "exercises" / "quizzes" / "lesson1.md") in files
