"""Several processes equal one; a killed one costs a restart and nothing else; nobody is left behind."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch.nn import functional as F

from course_utils import data
from course_utils.acceleration import Plan, distributed, launch
from course_utils.acceleration.distributed import World
from course_utils.acceleration.launch import CHECKPOINT, REPORT, _end
from course_utils.errors import DataError, RunError, SettingError
from course_utils.models.sprint import SprintNet

pytestmark = pytest.mark.processes

SMALL = {"pictures": 90, "epochs": 2, "batch": 25, "width": 8, "save_every": 3, "precision": "float64"}


@pytest.fixture(autouse=True)
def only_the_sample(monkeypatch):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_OFFLINE", "1")
        patch.delenv("COURSE_DATA_DIR", raising=False)
        return distributed.train(Plan(**SMALL), World(), tmp_path_factory.mktemp("alone"))


def left_behind(out):
    """Return the processes that still work on the folder `out`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(out) in part for part in process.info["cmdline"] or ()):
            found.append(process)
    return found


def test_two_processes_equal_one_though_one_is_killed_in_the_middle_of_an_epoch(alone, tmp_path):
    plan = Plan(**SMALL, kill_rank=1, kill_step=5)  # the second of four steps of epoch 2; saved after steps 3 and 4
    report = launch(plan, 2, tmp_path, max_restarts=1, timeout=600)
    assert (report.processes, report.backend, report.restarts, report.resumed_at) == (2, "gloo", 1, 4)
    assert len(report.losses) == len(alone.losses) == 8
    for ours, theirs in zip(report.losses, alone.losses):
        assert ours == pytest.approx(theirs, rel=1e-4)
        assert ours == pytest.approx(theirs, rel=1e-9)  # in float64 there is hardly any rounding to differ by
    assert report.accuracy == alone.accuracy
    assert left_behind(tmp_path) == []


def test_in_float32_two_processes_agree_until_rounding_has_grown(tmp_path):
    plan = Plan(**{**SMALL, "precision": "float32"})
    together = launch(plan, 2, tmp_path / "two", timeout=600)
    (tmp_path / "one").mkdir()
    alone = distributed.train(plan, World(), tmp_path / "one")
    assert together.losses == pytest.approx(alone.losses, rel=1e-4)


def test_a_run_that_takes_too_long_is_ended_with_all_its_processes(tmp_path):
    plan = Plan(epochs=500, width=8, batch=50)
    with pytest.raises(RunError, match="2 processes did not end within 8 s; they were ended"):
        launch(plan, 2, tmp_path, timeout=8)
    deadline = time.monotonic() + 300
    while left_behind(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_behind(tmp_path) == []


def test_an_interrupted_run_goes_on_from_its_checkpoint_and_ends_as_if_nothing_had_been(alone, tmp_path, monkeypatch):
    def no_more(*arguments):
        if len(steps) == 6:
            raise KeyboardInterrupt
        steps.append(1)
        return step(*arguments)

    steps, step = [], distributed._step
    monkeypatch.setattr(distributed, "_step", no_more)
    with pytest.raises(KeyboardInterrupt):
        distributed.train(Plan(**SMALL), World(), tmp_path)
    monkeypatch.setattr(distributed, "_step", step)
    report = distributed.train(Plan(**SMALL), World(), tmp_path)
    assert report.resumed_at == 6 and report.losses == alone.losses and report.accuracy == alone.accuracy
    with pytest.raises(DataError, match=r"checkpoint.pt in .* belongs to another plan; choose another folder"):
        distributed.train(Plan(**{**SMALL, "seed": 1}), World(), tmp_path)


@pytest.mark.parametrize(("count", "size"), [(8, 2), (7, 3), (2, 5), (1, 1)])
def test_slices_are_even_and_together_the_batch(count, size):
    batch = torch.randperm(count)
    slices = [distributed.slice_of(batch, rank, size) for rank in range(size)]
    assert torch.equal(torch.cat(slices), batch)
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_a_batch_depends_on_seed_and_step_alone_and_an_epoch_holds_every_picture_once():
    chosen = torch.cat([distributed.batch_of(10, 4, 0, step)[0] for step in range(3)])
    assert sorted(chosen.tolist()) == list(range(10))
    torch.rand(7)
    first, mirror = distributed.batch_of(10, 4, 0, 1)
    again, mirror_again = distributed.batch_of(10, 4, 0, 1)
    assert torch.equal(first, again) and torch.equal(mirror, mirror_again)
    assert not torch.equal(first, distributed.batch_of(10, 4, 0, 4)[0])


def test_gradients_weighted_by_their_slices_are_the_gradient_of_the_batch():
    torch.manual_seed(0)
    model = SprintNet((8, 8, 8), norm="group").double()
    images, labels = torch.randn(7, 3, 32, 32, dtype=torch.float64), torch.randint(0, 10, (7,))
    whole = torch.autograd.grad(F.cross_entropy(model(images), labels), list(model.parameters()))
    parts = list(distributed.split_gradients(model, images, labels, 3))
    for whole_one, *mine in zip(whole, *parts):
        torch.testing.assert_close(sum(g * n / 7 for g, n in zip(mine, (3, 2, 2))), whole_one)


def test_one_process_needs_no_torchrun(alone, tmp_path):
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    command = [sys.executable, "-m", "course_utils.acceleration.distributed", f"--out={tmp_path}", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"1 processes, 8 steps, test accuracy {100 * alone.accuracy:.2f} %" in done.stdout
    assert json.loads((tmp_path / REPORT).read_text(encoding="utf-8"))["losses"] == alone.losses


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, not 1.5"),
        ({"rate": float("nan")}, "rate must be a number above 0, not nan"),
        ({"rate": -1.0}, "rate must be a number above 0, not -1.0"),
        ({"precision": "half"}, "precision must be float32 or"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(SettingError, match=message):
        Plan(**change)


def test_the_folder_of_a_run_may_be_given_as_text(tmp_path, monkeypatch):
    (tmp_path / REPORT).write_text('{"losses": [1.0]}', encoding="utf-8")
    ended = SimpleNamespace(communicate=lambda timeout: ("", None), poll=lambda: 0, returncode=0)
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **more: ended)
    assert launch(Plan(**SMALL), 1, str(tmp_path)).losses == [1.0]


def test_a_failure_in_a_process_is_told(tmp_path):
    with pytest.raises(RunError, match=r"torchrun ended with 1: .*There is no data set 'nothing'"):
        launch(Plan(data="nothing"), 1, tmp_path, timeout=600)


def test_a_damaged_checkpoint_is_told_in_the_courses_own_words(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(RunError, match=r"DataError: checkpoint\.pt is damaged or cut short"):
        launch(Plan(**SMALL), 1, tmp_path, timeout=600)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_stopped_process_is_ended_too():
    worker = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    code = (
        f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {worker!r}], start_new_session=True)"
    )
    code += "\nprint(child.pid, flush=True)\nchild.wait()"
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(running.stdout.readline()))
    while child.status() != psutil.STATUS_STOPPED:
        time.sleep(0.05)
    _end(running)
    psutil.wait_procs([child], timeout=10)
    assert running.returncode is not None and not (child.is_running() and child.status() != psutil.STATUS_ZOMBIE)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("unshare"), reason="needs root")
def test_processes_find_each_other_where_the_machines_name_does_not_resolve(tmp_path):
    code = f"""
from pathlib import Path
from course_utils.acceleration.launch import Plan, launch
print(launch(Plan(**{SMALL!r}), 2, Path({str(tmp_path)!r}), timeout=200).processes, "processes")
"""
    inside = f"hostname no-such-name.lan && exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    done = subprocess.run(["unshare", "--uts", "sh", "-c", inside], capture_output=True, text=True)
    if "unshare failed" in done.stderr:
        pytest.skip("a container that may not have a name of its own")
    assert done.stdout == "2 processes\n", done.stderr


def test_data_of_the_sample_is_what_the_report_names(alone):
    assert alone.data == data.load("photo_crops", quiet=True).source.description
