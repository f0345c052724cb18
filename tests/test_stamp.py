"""Every lesson opens in Colab, on Binder and at home, and its first cell is the same in all of them."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import stamp
from lint_notebooks import check_all

from course_utils import environment
from course_utils.base import lessons
from course_utils.errors import SettingError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = lessons.notebooks(ROOT)
FIRST = stamp.FIRST_LINES.format(repository=stamp.repository(ROOT))
SOURCE = """\
# ---
# jupyter: {}
# ---

# %% [markdown]
# # A lesson
#
# Its question.

# %%
import math


# %%
def area(side):
    return math.pow(side, 2)
"""


@pytest.fixture
def copy(tmp_path):
    """The course's lessons, README and pyproject.toml, to be changed."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(ROOT / "results", tmp_path / "results")
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_every_lesson_and_the_readme_carry_the_repositorys_address():
    changed = [path.name for path in stamp.stamp_all(root=ROOT, check=True)]
    assert changed == [], "run tools/stamp.py"
    assert "<!-- badges -->" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_lesson_without_the_stamp_is_found(copy):
    path = next(iter(lessons.sources(copy).values()))
    path.write_text(path.read_text(encoding="utf-8").replace("environment.prepare()", "pass"), encoding="utf-8")
    assert stamp.stamp_all(root=copy, check=True) == [path]


def test_another_repository_reaches_every_file_and_leaves_the_notebooks_fresh(copy):
    before = stamp.repository(copy)
    changed = stamp.stamp_all("someone/else.1", copy)
    assert len(changed) == 2 * len(NOTEBOOKS) + 2
    for path in changed:
        text = path.read_text(encoding="utf-8")
        assert "someone/else.1" in text and before not in text, path
    readme = (copy / "README.md").read_text(encoding="utf-8")
    assert "git clone https://github.com/someone/else.1\ncd else.1\n" in readme
    assert stamp.stamp_all(root=copy) == [] and stamp.repository(copy) == "someone/else.1"
    path = next(iter(lessons.notebooks(copy).values()))
    assert check_all(path, copy) == []


def test_stamping_keeps_all_else_and_is_done_once():
    once = stamp.stamped_source(SOURCE, "a/b", "01_a.ipynb")
    assert stamp.stamped_source(once, "a/b", "01_a.ipynb") == once
    assert "# # A lesson\n#\n# [Open in Colab][colab] · [Open on Binder][binder]\n#\n# [colab]: https" in once
    assert once.endswith("\nimport math\n\n\n# %%\ndef area(side):\n    return math.pow(side, 2)\n")
    moved = stamp.stamped_source(once, "c/d", "01_a.ipynb")
    assert "a/b" not in moved and moved == stamp.stamped_source(SOURCE, "c/d", "01_a.ipynb")


@pytest.mark.parametrize("repo", ["name", "a/b/c", "https://github.com/a/b", "a/b c", ""])
def test_what_is_no_repository_is_refused_and_nothing_is_written(repo, copy):
    with pytest.raises(SettingError, match="is not a repository; write OWNER/NAME"):
        stamp.stamp_all(repo, copy)
    assert stamp.stamp_all(root=copy, check=True) == []


def test_the_script_stamps_and_checks(capsys):
    assert stamp.main(["--check"]) == 0
    assert capsys.readouterr().out.endswith("no files changed\n")
    assert stamp.main(["--repo", "nonsense"]) == 2
    assert "write OWNER/NAME" in capsys.readouterr().err


def test_where_the_course_is_the_first_cell_says_nothing_and_takes_no_time():
    code = f"import time; start = time.process_time()\n{FIRST}\nprint(time.process_time() - start)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT) for _ in range(3)]
    assert all(run.returncode == 0 and len(run.stdout.split()) == 1 and not run.stderr for run in runs), runs
    assert min(float(run.stdout) for run in runs) < 1


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python that has all packages of this one but the course, and a git that finds the course's address here."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed, and pip fetches the course with it")
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    windows = sys.platform == "win32"
    python = folder / "venv" / ("Scripts/python.exe" if windows else "bin/python")
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    # A path in a .pth file, so that files ending in .pth over there (an editable course) are not followed.
    (packages / "rest.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    clone = folder / "clone"
    clone.mkdir()
    shutil.copytree(ROOT / "course_utils", clone / "course_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-C", str(clone)]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "course"]):
        subprocess.run([*git, *command], check=True)
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COURSE_STRICT")}
    variables |= {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{clone.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{stamp.repository(ROOT)}",
        "PIP_NO_BUILD_ISOLATION": "0",  # means "no isolation": the tools to build with are here
        "PIP_NO_INDEX": "1",
        "IPYTHONDIR": str(folder / "ipython"),
    }
    return python, variables, folder


@pytest.mark.processes
def test_without_a_network_the_first_cell_says_what_to_do(bare):
    python, variables, folder = bare
    nowhere = {**variables, "GIT_CONFIG_KEY_0": f"url.{(folder / 'nowhere').as_uri()}.insteadOf"}
    run = subprocess.run([python, "-c", FIRST], capture_output=True, text=True, env=nowhere, cwd=folder)
    assert run.returncode == 1 and run.stderr.count("Traceback") == 1
    assert re.fullmatch(
        r"RuntimeError: pip could not fetch the course from git\+https://github.com/\S+ \(see above\); switch the "
        r"network on \(on Kaggle: Settings, Internet\), then run this cell again\.",
        run.stderr.splitlines()[-1],
    )


@pytest.mark.processes
def test_in_a_kernel_without_the_course_the_first_cell_installs_it_and_replaces_nothing(bare):
    python, variables, folder = bare
    look = "import importlib.util as i; print(bool(i.find_spec('course_utils')))"
    assert (
        subprocess.run([python, "-c", look], capture_output=True, text=True, env=variables, cwd=folder).stdout
        == "False\n"
    )
    cells = [
        "import numpy; before = numpy.__version__",
        FIRST,
        "import course_utils; print(course_utils.__file__)",
        "from importlib.metadata import version\nassert before == numpy.__version__ == version('numpy')",
    ]
    run = (
        "import nbformat, sys; from nbclient import NotebookClient\n"
        "cells = [nbformat.v4.new_code_cell(c) for c in eval(sys.argv[1])]\n"
        "book = nbformat.v4.new_notebook(cells=cells)\n"
        "NotebookClient(book, timeout=600, kernel_name='python3').execute()\n"
        "print(nbformat.writes(book))"
    )
    done = subprocess.run([python, "-c", run, repr(cells)], capture_output=True, text=True, env=variables, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    where = "".join(json.loads(done.stdout)["cells"][2]["outputs"][0]["text"])
    assert str(folder / "venv") in where


@pytest.fixture
def pretended(monkeypatch):
    """Pretend that the course asks for other packages; pip's calls are kept instead of made."""
    calls = []

    def set_needs(*needs, code=0, said=""):
        monkeypatch.setattr(environment.metadata, "requires", lambda name: list(needs))

        def run(command, **_):
            constraints = Path(command[command.index("--constraint") + 1]).read_text(encoding="utf-8").split("\n")
            calls.append((command, constraints))
            return subprocess.CompletedProcess(command, code, "", said)

        monkeypatch.setattr(environment.subprocess, "run", run)
        return calls

    return set_needs


def test_only_what_is_missing_is_installed_and_what_is_here_is_held(pretended, capsys):
    import numpy
    import torch

    calls = pretended("numpy>=1", "torch", "no-such-package>=2", 'another; extra == "lab"')
    environment.prepare()
    ((command, held),) = calls
    assert command[-1] == "no-such-package>=2" and command[:4] == [sys.executable, "-m", "pip", "install"]
    assert {f"numpy=={numpy.__version__}"} <= set(held)
    assert any(line.startswith(f"torch=={torch.__version__.partition('+')[0]}") for line in held)
    assert "no-such-package>=2. Nothing was replaced." in capsys.readouterr().out


def test_a_package_of_another_version_is_named_and_left(pretended, capsys):
    calls = pretended("numpy>=999")
    environment.prepare()
    assert calls == [] and re.search(r"numpy [\d.]+ is installed, but .* numpy >=999", capsys.readouterr().out)


def test_what_pip_cannot_install_is_said_in_one_sentence_with_pips_own_words(pretended):
    pretended("no-such-package", code=1, said="ERROR: No matching distribution found for no-such-package")
    with pytest.raises(
        environment.PrepareError,
        match=r"no-such-package.*No matching distribution.*network.*install it yourself.*again\.$",
    ):
        environment.prepare()


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [("COLAB_RELEASE_TAG", "r", "Colab"), ("BINDER_SERVICE_HOST", "h", "Binder"), ("OTHER", "", "this environment")],
)
def test_the_place_is_told(name, value, place, monkeypatch):
    for known in ("COLAB_RELEASE_TAG", "BINDER_SERVICE_HOST"):
        monkeypatch.delenv(known, raising=False)
    monkeypatch.setenv(name, value)
    assert environment.place() == place
