"""How threads wait is said before PyTorch is loaded, is inherited, and leaves alone what a user has chosen."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from course_utils.base import machine, threads

LINUX = sys.platform == "linux"
pytestmark = pytest.mark.processes


def clean(**more):
    names = {*threads.CHOSEN, "OMP_NUM_THREADS", "OMP_DISPLAY_ENV"}
    return {**{name: value for name, value in os.environ.items() if name not in names}, **more}


def said_by_openmp(code, **more):
    """Return what GNU's OpenMP library says, when it is loaded, that it works with."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean(OMP_DISPLAY_ENV="VERBOSE", **more), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(line.strip().replace("'", "").split(" = ") for line in done.stderr.splitlines() if " = " in line)


@pytest.mark.skipif(not LINUX, reason="PyTorch brings another OpenMP library")
def test_threads_spin_briefly_when_the_course_is_imported_before_pytorch():
    assert said_by_openmp("import course_utils, torch")["GOMP_SPINCOUNT"] == threads.BRIEF["GOMP_SPINCOUNT"] == "2500"
    assert said_by_openmp("import torch, course_utils")["GOMP_SPINCOUNT"] == "300000"  # too late: PyTorch's default


@pytest.mark.skipif(not LINUX, reason="PyTorch brings another OpenMP library")
def test_what_a_user_has_chosen_stays():
    code = "import course_utils, os, torch; assert 'KMP_BLOCKTIME' not in os.environ"
    assert said_by_openmp(code, GOMP_SPINCOUNT="777")["GOMP_SPINCOUNT"] == "777"
    assert said_by_openmp(code, OMP_WAIT_POLICY="passive")["GOMP_SPINCOUNT"] == "0"


def test_processes_that_are_started_inherit_it():
    code = """
import os, subprocess, sys
import course_utils
print(subprocess.check_output([sys.executable, "-c", "import os; print(os.environ['GOMP_SPINCOUNT'])"], text=True))
"""
    done = subprocess.run([sys.executable, "-c", code], env=clean(), capture_output=True, text=True)
    assert done.stdout.strip() == threads.BRIEF["GOMP_SPINCOUNT"], done.stderr


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups that hold for this process, as files: a function that writes one."""
    monkeypatch.setattr(threads, "GROUPS", str(tmp_path / "groups"))
    monkeypatch.setattr(threads, "OWN_GROUPS", str(tmp_path / "own"))
    monkeypatch.setattr(threads, "usable_cores", lambda: 16)

    def write(name, text):
        file = tmp_path / name if name == "own" else tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    return write


@pytest.mark.parametrize(
    ("content", "granted"),
    [("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("max 100000", 16), ("", 16), ("1600000 1", 16),
     ("100000 0", 16)],
)  # fmt: skip
def test_no_more_threads_run_than_a_container_is_granted_cores(groups, monkeypatch, content, granted):
    groups("cpu.max", content)
    counts = []
    monkeypatch.setattr("torch.get_num_threads", lambda: 16)
    monkeypatch.setattr("torch.set_num_threads", counts.append)  # it is loaded here already
    environment = {}
    threads.prepare(environment)
    assert machine.cores() == granted and counts == ([granted] if granted < 16 else [])
    assert environment.get("OMP_NUM_THREADS") == (str(granted) if granted < 16 else None)
    environment = {"OMP_NUM_THREADS": "5"}
    threads.prepare(environment)
    assert environment["OMP_NUM_THREADS"] == "5" and len(counts) <= 1


@pytest.mark.parametrize(
    ("own", "quotas", "granted"),
    [
        ("0::/", {"": "300000 100000"}, 3),
        ("0::/user.slice/job.scope", {"user.slice/job.scope": "300000 100000"}, 3),
        ("0::/user.slice/job.scope", {"user.slice": "200000 100000", "user.slice/job.scope": "max 100000"}, 2),
        ("0::/a/b", {"a": "200000 100000", "a/b": "500000 100000", "other": "100000 100000"}, 2),
        ("0::/../../outside", {"": "400000 100000"}, 4),
        ("0::/gone", {}, 16),
    ],
)
def test_quotas_of_all_groups_above_hold(groups, own, quotas, granted):
    groups("own", own)
    for group, quota in quotas.items():
        groups(f"{group}/cpu.max".lstrip("/"), quota)
    assert machine.cores() == granted


@pytest.mark.parametrize(("quota", "granted"), [("300000", 3), ("-1", 16)])
@pytest.mark.parametrize(("own", "folder"), [("", "cpu"), ("4:cpu,cpuacct:/docker/1", "cpu,cpuacct/docker/1"),
                                             ("4:cpu,cpuacct:/docker/1", "cpu"),
                                             ("7:cpu:/job", "cpu/job")])  # fmt: skip
def test_control_groups_of_the_first_version_are_read_too(groups, own, folder, quota, granted):
    groups("own", f"9:memory:/job\n{own}".strip())
    groups(f"{folder}/cpu.cfs_quota_us", quota)
    groups(f"{folder}/cpu.cfs_period_us", "100000")
    assert machine.cores() == granted


ROOT = Path(__file__).parent.parent
SCRIPTS = [
    path
    for pattern in ("notebooks/source/*.py", "benchmarks/*.py", "tools/*.py", "tests/conftest.py")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "new_lesson.template.py"  # its first cell comes from tools/stamp.py
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_whatever_loads_pytorch_imports_the_course_before_it(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    later = {inner for function in functions for inner in ast.walk(function)}
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)) and node not in later]
    modules = [
        name.partition(".")[0]
        for node in sorted(imports, key=lambda node: node.lineno)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    ]
    heavy = [name for name in modules if name in ("torch", "torchvision", "timm", "course_utils")]
    assert not heavy or heavy[0] == "course_utils"


@pytest.mark.parametrize(
    ("there", "granted", "busy", "free"),
    [(2, 2, 0, 2), (2, 2, 12, 2), (2, 2, 50, 1), (2, 2, 100, 1), (64, 64, 75, 16), (64, 2, 90, 2), (64, 2, 99, 1)],
)
def test_cores_are_free_that_other_programs_do_not_use(monkeypatch, there, granted, busy, free):
    monkeypatch.setattr(machine, "cores", lambda: granted)
    monkeypatch.setattr(psutil, "cpu_count", lambda: there)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: busy)
    assert machine.free_cores() == free
