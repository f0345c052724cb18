import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from course_utils.base import lessons
from course_utils.command import runner
from course_utils.command.builder import read_notebook
from course_utils.command.grading import answers, sandbox, submissions
from course_utils.command.notebooks import (
    client,
    execution,
    folds,
    normalise,
    pages,
    parameters,
    prose,
    sections,
    study,
    worker,
)
from course_utils.command.notebooks.execution import execute
from course_utils.command.notebooks.parameters import parameters_of, parse_assignments
from course_utils.errors import RunError, SettingError

pytestmark = pytest.mark.processes

PLANTED = Path(__file__).parent / "planted"
LONG = 300  # seconds that nothing here takes, on a busy machine either


@pytest.mark.parametrize(
    ("parallel", "free", "chosen", "threads"),
    [
        (1, 4, None, None), (1, 2, None, "2"), (1, 1, None, "1"), (1, 1, "3", None), (2, 1, None, "2"),
        (8, 4, None, "1"),
    ],
)  # fmt: skip
def test_a_notebook_computes_with_the_cores_that_others_leave_free(monkeypatch, parallel, free, chosen, threads):
    monkeypatch.delenv("OMP_NUM_THREADS")
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    monkeypatch.setattr(runner, "cores", lambda: 4)
    monkeypatch.setattr(runner, "free_cores", lambda: free)
    expected = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} if threads else {}
    assert runner._threads(parallel) == expected


@pytest.fixture
def no_process_left():
    """Fail when a process of a run is still there afterwards: the kernel, or a helper that a notebook started."""
    before = {process.pid for process in psutil.process_iter()}
    yield
    deadline = time.monotonic() + LONG
    while left := [p for p in map(describe, psutil.process_iter()) if p and p[0] not in before]:
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {left}")
        time.sleep(0.1)


def describe(process):
    """Return (pid, command line) of a process that belongs to this test's runs, by what only it would run."""
    try:
        line = " ".join(process.cmdline())
        mine = process.environ().get("COURSE_TEST") == os.environ["COURSE_TEST"] and process.pid != os.getpid()
    except (psutil.Error, KeyError):
        return None
    return (process.pid, line) if mine and process.status() != psutil.STATUS_ZOMBIE else None


@pytest.fixture(autouse=True)
def marked(monkeypatch, request):
    monkeypatch.setenv("COURSE_TEST", f"{os.getpid()}-{request.node.name}")


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [
        ("error", LONG, "error failed: cell 4: ValueError: planted"),
        ("hang", 6, "hang timed out: cell 3: took longer than 6 s"),
        ("dead_kernel", LONG, "dead_kernel kernel died: cell 3: the kernel died; it may have run out of memory"),
        (
            "hidden_error",
            LONG,
            "hidden error: a widget's state hides an error: RuntimeError: planted, and hidden",
        ),
        ("widget_error", LONG, "widget_error failed: cell 3: ZeroDivisionError: float division by zero"),
        (
            "shown_error",
            LONG,
            "hidden error: a widget's state hides an error: This setting does not work: ZeroDivisionError",
        ),
        ("endless_output", 6, "cell 3"),
    ],
)
def test_a_planted_notebook_fails_long_before_it_would_end_with_the_right_code_and_word(
    course, tmp_path, no_process_left, name, limit, message
):
    started = time.monotonic()
    code, _, errors = course("run", PLANTED / f"{name}.ipynb", "--out", tmp_path, "--cell-timeout", limit)
    assert code == 1 and message in errors and "Traceback" not in errors
    assert time.monotonic() - started < LONG  # the cell of `hang` alone takes 600 s, that of `endless_output` for ever
    (entry,) = json.loads((tmp_path / "report.json").read_text())["lessons"]
    assert entry["status"] != "passed" and entry["error"] in errors
    written = {path.name for path in tmp_path.iterdir()}
    assert {"report.json", "index.html"} <= written <= {"report.json", "index.html", f"{name}.ipynb"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "parameters.step=3"], "parameters.ipynb has no parameter 'step'; it has steps, rate, name; did you"),
        (["--set", "parameters.steps=many"], "Parameter 'steps' is 'many', but must be of type int"),
        (["--set", "parameters.steps=1.5"], "Parameter 'steps' is 1.5, but must be of type int"),
        (["--set", "steps"], "--set 'steps' is not understood; write NN.name=value"),
        (["--set", "other.steps=3"], "--set 'other.steps=3' is for lesson 'other', which is not among"),
        (["--set", "profile=quick"], "has no parameter 'profile'; it has steps, rate, name; use --profile.\n"),
        (["--profile", "fast"], "There is no profile 'fast'; there are auto, quick, full.\n"),
        (["--set", "xyz=3"], "has no parameter 'xyz'; it has steps, rate, name.\n"),
        (["--jobs", "none"], "Invalid value for '--jobs'"),
        (["--out", __file__], "The results cannot be written to"),
        ([str(PLANTED / "missing.ipynb")], "There is no notebook"),
        ([str(PLANTED / "parameters.ipynb")], "Two notebooks are called 'parameters'"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_sentence_and_nothing_runs(course, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execution.subprocess, "Popen", lambda *a, **k: pytest.fail("something ran"))
    code, output, errors = course("run", PLANTED / "parameters.ipynb", *arguments)
    assert code == 2 and output == "" and message in errors and errors.count("\n") == 1
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "runs"])


def test_parameters_figures_and_sources_reach_the_notebook_and_the_report(course, tmp_path, no_process_left):
    call = ["run", PLANTED / "parameters.ipynb", "--out", tmp_path, "--profile", "quick", "--html"]
    code, output, errors = course(*call, "--set", "parameters.steps=5", "--set", "rate=1", "--set", "name=me")
    assert code == 0, errors
    report = json.loads((tmp_path / "report.json").read_text())
    (entry,) = report["lessons"]
    assert report["passed"] and report["hardware"]["cores"] >= 1 and report["versions"]["torch"]
    assert entry["figures"] == {"steps": 5, "rate": 1.0, "label": "me"}
    assert entry["data"] == [{"name": "toy", "kind": "sample", "description": "Toy: three pictures."}]
    assert entry["seconds"] > 0 and entry["peak_memory_mb"] > 10 and entry["status"] == "passed"
    notebook = json.loads((tmp_path / entry["notebook"]).read_text())
    injected = [cell for cell in notebook["cells"] if "injected-parameters" in cell["metadata"].get("tags", ())]
    assert len(injected) == 1 and 'profile = "quick"' in "".join(injected[0]["source"])
    index, page = ((tmp_path / name).read_text() for name in ("index.html", entry["page"]))
    assert "Toy: three pictures." in index and "1 of 1 passed" in index and "index.html" in output
    for text in (index, page):
        assert not re.search(r"<script|<link|src=[\"']?(?!data:)|url\(|@import", text)
        assert "prefers-color-scheme:dark" in text and '<html lang="en">' in text
    assert list(tmp_path.glob(".*")) == []


def test_the_page_of_an_earlier_run_does_not_stand_beside_a_new_notebook(tmp_path, no_process_left):
    jobs = runner.plan([str(PLANTED / "parameters.ipynb")])
    page = tmp_path / runner.run(jobs, tmp_path, html=True).lessons[0]["page"]
    assert page.is_file()
    assert runner.run(jobs, tmp_path).lessons[0]["page"] is None and not page.exists()
    page.write_text("<!DOCTYPE html><p>somebody's own", encoding="utf-8")
    assert runner.run(jobs, tmp_path).passed and page.is_file()


def test_notebooks_run_side_by_side_and_one_failure_does_not_stop_the_others(tmp_path, no_process_left):
    jobs = runner.plan([str(PLANTED / "parameters.ipynb"), str(PLANTED / "error.ipynb")])
    seen = []

    class Watcher(runner.Watcher):
        def cell(self, label, index, of):
            seen.append((label, index, of))

    report = runner.run(jobs, tmp_path / "new" / "folder", parallel=2, watcher=Watcher())
    assert [lesson["status"] for lesson in report.lessons] == ["passed", "failed"] and not report.passed
    assert {("parameters", 0, 4), ("error", 2, 5)} <= set(seen)


def test_the_whole_lesson_has_a_limit_too(tmp_path, no_process_left):
    result = execute(PLANTED / "hang.ipynb", timeout=5, cell_timeout=500)
    assert result.status == "timed out" and "took longer than 5 s" in result.error


@pytest.mark.parametrize(
    ("last", "limits"),
    [("import time\ntime.sleep(600)", {"cell_timeout": 4}), ("while True:\n    print('again ' * 200)", {})],
)
def test_what_ran_before_a_cell_that_is_ended_is_kept(tmp_path, no_process_left, last, limits):
    path = notebook_with(tmp_path / "short_and_long.ipynb", *["print('as it was')"] * 3, last)
    result = execute(path, timeout=60, **limits)
    assert not result.passed
    *before, ended = (cell["outputs"] for cell in result.notebook["cells"])
    assert [each["text"] for outputs in before for each in outputs] == [["as it was\n"]] * 3 and ended == []


def test_a_notebook_of_short_cells_is_not_written_at_each_of_them(tmp_path, monkeypatch):
    import papermill.engines

    written = []

    def write(notebook, path):
        written.append(sum(bool(cell.get("outputs")) for cell in notebook.cells))
        Path(path).write_text(json.dumps(notebook))

    monkeypatch.setattr(papermill.engines, "write_ipynb", write)
    path = notebook_with(tmp_path / "short.ipynb", *["print(1)"] * 30)
    worker.run({"input": str(path), "output": str(tmp_path / "out.ipynb"), "parameters": {}, "cell_timeout": 60})
    assert written[0] == 0 and written[-1] == 30  # papermill's first and last time
    assert len(written) < 20


def test_an_act_is_seldom_done():
    acts = []
    often, seldom = client.seldom(lambda: acts.append("often"), 0), client.seldom(lambda: acts.append("seldom"), LONG)
    for _ in range(3):
        often()
        seldom()
    assert acts == ["often"] * 3


def test_a_worker_that_says_nothing_is_a_failure_with_its_last_words(tmp_path, no_process_left):
    broken = tmp_path / "broken.ipynb"
    broken.write_text('{"cells": 3}')
    result = execute(broken)
    assert result.status == "failed" and "the process ended with code 1: " in result.error and result.notebook is None
    report = runner.run([runner.Job("broken", broken)], tmp_path / "out")
    assert report.lessons[0]["notebook"] is None and report.lessons[0]["title"] == "broken"


def test_a_start_failure_is_tried_once_more_and_others_are_not(monkeypatch, tmp_path):
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    job = {"input": "a", "output": "b", "parameters": {}, "cell_timeout": 5}

    def events(*errors):
        told, left = [], list(errors)

        def notebook(*args, **kwargs):
            if left:
                raise left.pop(0)

        monkeypatch.setattr(papermill, "execute_notebook", notebook)
        monkeypatch.setattr(client, "tell", lambda **event: told.append((event["event"], event.get("kind"))))
        worker.run(job)
        return told

    start = RuntimeError(worker.START_FAILURE)
    assert events(start) == [("retry", None), ("done", None)]
    assert events(start, start) == [("retry", None), ("failed", "start")]
    assert events(RuntimeError("other")) == [("failed", "start")]
    assert events(DeadKernelError("x")) == [("failed", "dead")]
    assert events(CellTimeoutError("x")) == [("failed", "timeout")]


ENDS = {
    "exit": (["1", "exit()", "import time; time.sleep(1)"], "failed", "cell 2: asked the kernel to end, with exit()"),
    "exit at once": (["1", "quit()", "2"], "failed", "cell 2: asked the kernel to end, with exit() or quit()"),
    "system exit": (["1", "import sys; sys.exit(0)", "2"], "failed", "cell 2: SystemExit: 0"),
    "own end": (["1", "import os; os._exit(7)"], "kernel died", "cell 2: the kernel ended itself (exit code 7)"),
    "crash": (["import ctypes; ctypes.string_at(0)"], "kernel died", "cell 1: the kernel crashed (signal 11, Segmen"),
    "thread": (
        ["import threading, time", "threading.Thread(target=lambda: 1 / 0).start(); time.sleep(0.5)", "2"],
        "hidden error",
        "cell 2: an error in a thread or a task was only printed: ZeroDivisionError: division by zero",
    ),
    "forged end": (
        [
            "import os\nfor place in (1, 2, 3):\n    try: os.write(place, b'\\n{\"event\": \"done\"}\\n')"
            "\n    except OSError: pass",
            "1 / 0",
        ],
        "failed",
        "cell 2: ZeroDivisionError",
    ),
    "removes all": (
        ["import os, shutil; shutil.rmtree(os.path.dirname(os.environ['TMPDIR']), ignore_errors=True)", "2"],
        "",
        "",
    ),
    "survivors": (
        [
            "import subprocess, sys\nfor seconds in (301, 302):\n    subprocess.Popen([sys.executable, '-c', "
            "f'import time; time.sleep({seconds}.25)'], env={}, start_new_session=True)"
        ],
        "passed",
        "",
    ),
    "a long word": (
        [
            "from IPython.display import HTML\nprint('y' * 200_000)",
            "HTML('<img alt=\"x\" src=\"data:,' + 'A' * 10**6 + '\">')",
        ],
        "passed",
        "",
    ),
}  # fmt: skip


def test_each_end_of_a_kernel_has_its_cell_and_cause_and_none_takes_the_others_or_the_report(tmp_path, no_process_left):
    jobs = runner.plan([str(notebook_with(tmp_path / f"{name}.ipynb", *cells)) for name, (cells, *_) in ENDS.items()])
    report = runner.run(jobs, tmp_path / "out", parallel=2, timeout=LONG, html=True)
    got = {lesson["label"]: (lesson["status"], lesson["error"] or "") for lesson in report.lessons}
    assert len(got) == len(ENDS)
    wrong = {
        name: got[name]
        for name, (_, status, words) in ENDS.items()
        if status not in got[name][0] or words not in got[name][1]
    }
    assert not wrong
    left = [
        p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if "02.25)" in " ".join(p.info["cmdline"] or ())
    ]
    assert not left
    assert (tmp_path / "out" / "report.json").exists() and (tmp_path / "out" / "a long word.html").exists()


def test_an_error_that_a_tag_allows_is_reported_for_its_own_cell(tmp_path, no_process_left):
    path = notebook_with(tmp_path / "tagged.ipynb", "1", "1 / 0", "3", "4")
    book = json.loads(path.read_text())
    book["cells"][1]["metadata"]["tags"] = ["raises-exception"]
    path.write_text(json.dumps(book))
    assert execute(path).error == "cell 2: ZeroDivisionError: division by zero"


def test_two_runs_into_one_folder_are_both_in_its_report(tmp_path, monkeypatch):
    def entry(name):
        return runner._entry(runner.Job(name, Path(f"{name}.ipynb")), execution.Execution("passed", 1.0))

    def slow(job, *arguments):  # another run ends meanwhile
        runner._write_report(runner.Report([entry("other"), {**entry("mine"), "seconds": 99.0}], tmp_path))
        return entry("mine")

    runner._write_report(runner.Report([entry("older")], tmp_path))
    os.utime(tmp_path / "report.json", (1, 1))
    monkeypatch.setattr(runner, "execute", lambda *arguments, **named: None)
    monkeypatch.setattr(runner, "_write", slow)
    runner.run([runner.Job("mine", Path("mine.ipynb"))], tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert [(each["label"], each["seconds"]) for each in found["lessons"]] == [("mine", 1.0), ("other", 1.0)]
    assert "other" in (tmp_path / "index.html").read_text() and found["passed"]
    (tmp_path / "report.json").write_text("[]")
    assert runner._others(tmp_path / "report.json", (), 0.0) == []


def test_the_report_says_how_long_the_run_took_not_the_sum_of_its_notebooks(tmp_path, monkeypatch):
    def one(job, *arguments):
        time.sleep(0.5)
        return runner._entry(job, execution.Execution("passed", 300.0))

    monkeypatch.setattr(runner, "execute", lambda *arguments, **named: None)
    monkeypatch.setattr(runner, "_write", one)
    runner.run([runner.Job(name, Path(f"{name}.ipynb")) for name in "ab"], tmp_path, parallel=2)
    assert 0.4 < json.loads((tmp_path / "report.json").read_text())["seconds"] < 100


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "julia-1.9", "language": "julia"}, "language_info": {"name": "python"}},
        {"kernelspec": {"name": "julia-1.9"}, "language_info": {"name": "julia"}},
    ],
)
def test_a_notebook_of_another_language_is_refused(tmp_path, metadata):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    with pytest.raises(SettingError, match=r"^x.ipynb is a notebook in julia, but the course runs Python; run it in J"):
        runner.plan([str(path)])


TRACE = (
    'Exception in thread Thread-3 (<lambda>):\nTraceback (most recent call last):\n  File "threading.py", line 1045\n'
)


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ({"text": TRACE}, "an error in a thread or a task was only printed"),
        ({"text": f"{TRACE}KeyError: 'a'\n  more\n"}, "an error in a thread or a task was only printed: KeyError: 'a'"),
        ({"text": f"{TRACE}AssertionError\n"}, "an error in a thread or a task was only printed: AssertionError"),
        ({"ename": "ValueError", "evalue": "one\n  two"}, "ValueError: one two"),
        ({"ename": "ValueError", "evalue": "x" * 1000}, f"ValueError: {'x' * 279}…"),
    ],
)
def test_an_error_is_told_in_one_short_line(output, error):
    kind = {"output_type": "error"} if "ename" in output else {"output_type": "stream", "name": "stderr"}
    result = execution.Execution("passed", 1.0, notebook={"cells": [{"outputs": [kind | output]}]})
    execution.collect(result)
    assert result.error == f"cell 1: {error}"
    if "ename" in output:
        message = f"{output['ename']}: {output['evalue']}"
        told = execution._failure({"kind": "error", "message": message}, 1).error
        assert "\n" not in told and len(told) <= 308


def test_a_bar_is_drawn_on_a_terminal_only_whatever_colours_are_asked_for(monkeypatch, capsys):
    from course_utils.command import cli

    monkeypatch.setenv("FORCE_COLOR", "1")
    with cli.progress({"01": "01_toy"}) as watcher:
        watcher.cell("01", 1, 3)
        watcher.finished("01", {"status": "passed", "seconds": 1.25, "peak_memory_mb": None})
    with cli.counting(3, "judged") as one_more:
        one_more("a")
    assert "\x1b[2K" not in capsys.readouterr().err


PATTERNS = {
    (module.__name__, name): value
    for module in (
        answers,
        sandbox,
        submissions,
        execution,
        pages,
        normalise,
        folds,
        parameters,
        prose,
        sections,
        study,
    )
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
}


@pytest.mark.parametrize("place", PATTERNS, ids=lambda place: ".".join(place)[13:])
def test_no_pattern_takes_long_for_a_long_text(place):
    for text in (
        "y",
        "<",
        " ",
        "\n",
        "$",
        "$$x",
        "`",
        "(",
        "/tmp/ipykernel_1/",
        "0x1",
        "{{",
        "[a](",
        "x\r",
        "#",
        "%",
        "y=",
        "<a ",
    ):
        started = time.process_time()
        for found in PATTERNS[place].finditer(text * (100_000 // len(text))):
            del found
        PATTERNS[place].match(text * (100_000 // len(text)))
        assert time.process_time() - started < 2, f"{text!r}"  # a quadratic one takes a minute


def test_pieces_of_streams_become_one_in_no_time():
    outputs = [{"output_type": "stream", "name": name, "text": "y" * 1000} for name in ("stderr", "stdout") * 10_000]
    outputs.insert(1, {"output_type": "display_data", "data": {}, "metadata": {}})
    started = time.process_time()
    merged = normalise._merged(outputs)
    assert [each.get("name") for each in merged] == ["stderr", None, "stdout"] and len(merged[0]["text"]) == 10**7
    assert [each["name"] for each in normalise._merged(outputs[:1] + outputs[2:])] == ["stdout", "stderr"]
    text = "y" * 10**6 + "\r" + "z" * 10**6
    assert normalise.without_machine(normalise._after_returns(text), Path("/")) == "z" * 10**6
    assert time.process_time() - started < 5


def test_the_memory_of_a_kernel_that_was_started_anew_counts():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    code = "hold = bytearray(60_000_000); print('held', flush=True); input()"
    anew = subprocess.Popen(
        [sys.executable, "-c", code, "ipykernel_launcher"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert anew.stdout.readline().startswith(b"held")
        kernel, held = execution._kernel_memory(gone.pid, os.getpid())
        assert kernel == anew.pid and held > 60_000_000
        assert execution._kernel_memory(kernel, 0) == (kernel, held)
    finally:
        anew.communicate(b"\n")


def test_an_interrupt_ends_kernels_and_leaves_whole_files(tmp_path, no_process_left):
    command = [
        sys.executable,
        "-m",
        "course_utils.command.cli",
        "run",
        str(PLANTED / "hang.ipynb"),
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run that was itself started in the background hands down "ignore interrupts".
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for_kernel(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == 130 and errors.strip().endswith("course: interrupted") and "Traceback" not in errors
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["interrupted"] and report["lessons"][0]["status"] == "interrupted"


def test_an_interrupted_run_keeps_the_results_of_an_earlier_one_and_says_so(tmp_path, monkeypatch):
    def asked_to_stop(notebook, *values, stop, **how):
        stop.wait(LONG)
        return execution.Execution("interrupted", 1.0, error="interrupted", notebook={"cells": []})

    def interrupted(futures, timeout):
        monkeypatch.setattr(runner, "wait", waits)
        raise KeyboardInterrupt

    waits = runner.wait
    jobs = [runner.Job(name, PLANTED / f"{name}.ipynb") for name in ("error", "hang", "shown_error")]
    monkeypatch.setattr(runner, "execute", asked_to_stop)
    monkeypatch.setattr(runner, "wait", interrupted)
    for name in ("error", "shown_error"):
        (tmp_path / f"{name}.ipynb").write_text('{"cells": []}')
        (tmp_path / f"{name}.html").write_text("a page")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    runner.run(jobs, tmp_path, parallel=2)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before
    said = {each["label"]: each for each in json.loads((tmp_path / "report.json").read_text())["lessons"]}
    assert said["error"]["error"] == "interrupted; the notebook is that of an earlier run"
    assert said["shown_error"]["error"] == "not started; the notebook is that of an earlier run"
    assert said["hang"]["error"] == "interrupted" and (tmp_path / "hang.ipynb").exists()
    assert all(each["status"] == "interrupted" for each in said.values())


def test_a_killed_run_leaves_no_half_file_and_no_process(tmp_path, no_process_left):
    lessons = [str(PLANTED / name) for name in ("error.ipynb", "hang.ipynb")]
    command = [sys.executable, "-m", "course_utils.command.cli", "run", *lessons, "--jobs", "2", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_kernel(process.pid)
    process.kill()  # while one lesson hangs, the other may have been written
    process.wait()
    for path in tmp_path.iterdir():
        assert path.suffix == ".ipynb"  # report and page come at the end
        json.loads(path.read_text())


def wait_for_kernel(pid):
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        children = psutil.Process(pid).children(recursive=True)
        if any("ipykernel_launcher" in " ".join(child.cmdline()) for child in children):
            return time.sleep(1)
        time.sleep(0.1)
    return pytest.fail("no kernel was started")


def test_a_full_disk_fails_the_lesson_and_says_so(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    result = execution.Execution("passed", 1.0, notebook={"cells": []})
    monkeypatch.setattr(runner, "execute", lambda *args, **kwargs: result)
    monkeypatch.setattr(runner, "replace_file", full)
    job = runner.Job("error", PLANTED / "error.ipynb")
    assert (
        runner._write(job, result, tmp_path, False)["error"] == "the result cannot be written: No space left on device"
    )
    with pytest.raises(RunError, match=r"report cannot be written to .*No space left on device"):
        runner.run([job], tmp_path)


def test_an_error_output_without_a_failed_cell_still_fails():
    error = {"output_type": "error", "ename": "ValueError", "evalue": "shown"}
    result = execution.Execution("passed", 1.0, notebook={"cells": [{"metadata": {}, "outputs": [error]}]})
    execution.collect(result)
    assert result.status == "failed" and result.error == "cell 1: ValueError: shown"


def test_a_running_notebook_can_be_stopped_from_another_thread(no_process_left):
    stop = threading.Event()
    threading.Timer(3, stop.set).start()
    assert execute(PLANTED / "hang.ipynb", stop=stop).status == "interrupted"


@pytest.mark.parametrize(
    ("source", "message"),
    [("x = f()", "may only set constants"), ("import os", "line 1 sets nothing"), ("x =", "may only set constants")],
)
def test_a_parameters_cell_with_more_than_constants_is_refused(tmp_path, source, message):
    path = tmp_path / "x.ipynb"
    path.write_text(
        json.dumps({"cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}]})
    )
    with pytest.raises(SettingError, match=message):
        parameters_of(path)


def test_parameters_are_read_with_annotations_comments_and_equals_signs(tmp_path):
    path = tmp_path / "x.ipynb"
    source = '"""Settings."""\na: int = 3  # how many\nb = "x=y"\nc = d = -1.5\n'
    path.write_text(
        json.dumps({"cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [source]}]})
    )
    assert parameters_of(path) == {"a": 3, "b": "x=y", "c": -1.5, "d": -1.5}
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "metadata": {}, "source": []}]}))
    assert parameters_of(path) is None
    assert runner.plan([str(path)])[0].parameters == {}
    with pytest.raises(SettingError, match="has no cell tagged 'parameters'"):
        runner.plan([str(path)], "quick")
    for content in (b"not json", b"\xff\xfe", b"[]", b'{"cells": 3}', b'{"cells": [1]}', b"{}", b"[" * 100_000, b""):
        path.write_bytes(content)
        for read in (parameters_of, read_notebook):
            with pytest.raises((SettingError, RunError), match=r"x\.ipynb cannot be read as a notebook: expected JSON"):
                read(path)


def test_no_message_shows_an_exceptions_repr():
    package = Path(runner.__file__).parents[1]
    shown = [
        path
        for path in package.rglob("*.py")
        if re.search(r"\{(error|problem|exception|cause)!r\}", path.read_text("utf-8"))
    ]
    assert shown == []


def test_an_error_that_no_output_holds_is_told_all_the_same(tmp_path):
    """As where no file can be opened any more, so that the kernel's output is lost."""
    source = "get_ipython()._showtraceback = lambda *_: None\nraise OSError(24, 'Too many open files')"
    cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    done = execute(path, {}, timeout=LONG, cell_timeout=LONG)
    assert (done.status, done.error) == ("failed", "cell 1: OSError: [Errno 24] Too many open files")


def test_assignments_are_split_by_lesson():
    assert parse_assignments(["03.a=1", "1.b=x=y"], ["01", "03"]) == {"01": {"b": "x=y"}, "03": {"a": "1"}}
    assert parse_assignments(["a=1"], ["03"]) == {"03": {"a": "1"}}
    with pytest.raises(SettingError, match="not understood"):
        parse_assignments(["a=1"], ["01", "03"])


def test_a_run_fills_the_text_with_its_own_figures(toy_root, toy_built, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "find_root", lambda: toy_root)
    report = runner.run(runner.plan(["1"], "full", root=toy_root), tmp_path, html=True)
    assert report.passed and report.lessons[0]["profile"] == "full" and report.lessons[0]["title"] == "A toy lesson"
    text = (tmp_path / "01_toy.ipynb").read_text()
    assert f"found in {report.lessons[0]['seconds']:.0f} s" in text and "{{" not in text
    page = (tmp_path / "01_toy.html").read_text()
    assert 'alt="A line that rises from one to three."' in page and "data:image/png;base64," in page
    with pytest.raises(SettingError, match="is for lesson '02', which is not among"):
        runner.plan(["1"], changes=["02.seed=1"], root=toy_root)


def test_formulas_become_mathml_and_code_stays():
    text = "Take $y = x^2$ and `$HOME`, then\n$$\\frac{a}{b}$$\n```\n$x$\n```\nfor $5 or $6, $\\oops{$, $\\oops x$."
    shown = pages.with_formulas(text)
    inline, block = re.findall(r"<math.*?</math>", shown)
    assert 'display="inline"' in inline and "<msup><mi>x</mi><mn>2</mn></msup>" in inline
    assert 'display="block"' in block and "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in block
    assert "`$HOME`" in shown and "```\n$x$\n```" in shown
    assert shown.endswith("for $5 or $6, $\\oops{$, $\\oops x$.")


def test_every_formula_of_the_lessons_becomes_mathml():
    found = 0
    for path in lessons.notebooks(PLANTED.parents[1]).values():
        for cell in read_notebook(path)["cells"]:
            if cell["cell_type"] == "markdown":
                formulas = pages.MATH.findall("".join(pages.CODE_IN_TEXT.split(cell["source"])[::2]))
                shown = pages.with_formulas(cell["source"])
                assert shown.count("<math ") == len(formulas), (path.name, cell["id"])
                found += len(formulas)
    assert found >= 4


def test_lessons_are_found_by_number_name_and_path(tmp_path, monkeypatch):
    assert [lessons.lesson_number(text) for text in (3, "3", "03", "03_x", "a/03_x.ipynb", "a")] == ["03"] * 5 + ["A"]
    with pytest.raises(SettingError, match="is not a lesson; write its number"):
        lessons.lesson_number("three")
    for text in ("2.5", "2.", "2.ipynb.zip", "2.5_x.py"):
        with pytest.raises(SettingError, match="is not a lesson; write its number"):
            lessons.lesson_number(text)
    with pytest.raises(SettingError, match="no notebook of a lesson here"):
        lessons.choose([], {})
    monkeypatch.setattr(lessons, "__file__", str(tmp_path / "site" / "course_utils" / "lessons.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match="The lessons are not here"):
        lessons.find_root()
    (tmp_path / "notebooks" / "source").mkdir(parents=True)
    assert lessons.find_root() == tmp_path


def test_the_worker_tells_of_every_cell_and_of_too_much_output(monkeypatch, tmp_path, capsys):
    job = {"input": str(PLANTED / "parameters.ipynb"), "output": str(tmp_path / "output.ipynb")}
    job |= {"parameters": {"steps": 3}, "cell_timeout": 60}
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path / "job.json")])
    monkeypatch.setattr(client, "MOST_OUTPUT", 10)
    monkeypatch.setattr(client, "FLOOD_PAUSE", 0)
    monkeypatch.setattr(worker, "end_with", lambda parent, folder: None)  # this process stays
    worker.main()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [(e["index"], e["of"]) for e in told if e["event"] == "cell"] == [(0, 4), (1, 4), (1, 4), (2, 4), (3, 4)]
    assert "flood" in {e["event"] for e in told} and told[-1]["event"] == "done"
    job |= {"input": str(PLANTED / "error.ipynb"), "parameters": {}}
    worker.run(job)
    assert '"message": "ValueError: planted"' in capsys.readouterr().out
    job |= {"input": str(PLANTED / "hang.ipynb"), "cell_timeout": 2}
    worker.run(job)
    assert '"kind": "timeout", "message": "took longer than 2 s"' in capsys.readouterr().out
    for process in psutil.process_iter(["cmdline"]):
        if "time.sleep(600)" in " ".join(process.info["cmdline"] or ()) and describe(process):
            process.kill()  # the notebook's helper: here no runner ends it


def test_a_worker_ends_with_whoever_started_it(monkeypatch, tmp_path):
    class Ended(BaseException):
        pass

    def leave(code):
        raise Ended

    (tmp_path / "work").mkdir()
    parents, killed = iter([7, 7, 1]), []
    child = type("Child", (), {"kill": lambda self: killed.append(self)})()
    monkeypatch.setattr(worker.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(worker.os, "_exit", leave)
    monkeypatch.setattr(worker.psutil.Process, "children", lambda self, recursive: [child])
    with pytest.raises(Ended):
        worker.end_with(7, tmp_path / "work", seconds=0)
    assert killed == [child] and not (tmp_path / "work").exists()


def notebook_with(path, *cells):
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return path


def test_a_notebook_is_never_overwritten_by_its_own_result(tmp_path):
    path = notebook_with(tmp_path / "mine.ipynb", "1")
    before = path.read_bytes()
    with pytest.raises(SettingError, match="itself, which would be overwritten"):
        runner.run(runner.plan([str(path)]), tmp_path)
    assert path.read_bytes() == before


def test_a_page_called_index_is_refused(tmp_path):
    path = notebook_with(tmp_path / "index.ipynb", "1")
    with pytest.raises(SettingError, match="rename the notebook"):
        runner.run(runner.plan([str(path)]), tmp_path / "out", html=True)


def test_two_files_of_one_name_are_refused_even_if_one_is_a_lesson(tmp_path):
    lesson = lessons.notebooks()["02"]
    copy = tmp_path / lesson.name
    copy.write_bytes(lesson.read_bytes())
    with pytest.raises(SettingError, match="Two notebooks are called"):
        runner.plan(["2", str(copy)])


def test_last_words_past_the_kernels_channels_do_not_hide_the_end(tmp_path, no_process_left):
    (tmp_path / "random.py").write_text("raise ImportError('not the real one')")  # not for the process around it
    path = notebook_with(tmp_path / "words.ipynb", "import atexit, os; atexit.register(os.write, 1, b'bye')", "1")
    assert execute(path).passed


def test_data_and_widgets_of_odd_kinds_do_not_end_the_run():
    state = {"a": {"model_name": "MyModel", "state": {"outputs": 3}}}
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    data = {f"application/vnd.course.{name}+json": [1] for name in ("figures", "settings", "source")}
    cell = {"cell_type": "code", "source": "", "outputs": [{"output_type": "display_data", "data": data}]}
    result = execution.Execution("passed", 1.0, notebook={"cells": [cell], "metadata": {"widgets": widgets}})
    execution.collect(result)
    assert result.passed and not result.figures and not result.sources


def test_one_notebook_that_cannot_be_written_does_not_end_the_others(tmp_path, monkeypatch):
    done = execution.Execution("passed", 1.0, notebook={"cells": [], "metadata": {}})
    monkeypatch.setattr(runner, "execute", lambda *args, **kwargs: done)

    def odd(*args, **kwargs):
        raise KeyError("odd")

    monkeypatch.setattr(runner, "normalised", odd)
    report = runner.run([runner.Job("error", PLANTED / "error.ipynb")], tmp_path)
    assert not report.passed and "KeyError" in report.lessons[0]["error"]
    assert (tmp_path / "report.json").exists() and (tmp_path / "index.html").exists()


def test_a_relative_data_folder_means_the_commands_folder_in_the_kernel_too(tmp_path, monkeypatch, no_process_left):
    (tmp_path / "sets").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_DATA_DIR", "sets")
    (tmp_path / "deep").mkdir()
    path = notebook_with(
        tmp_path / "deep" / "where.ipynb",
        f"import os; assert os.environ['COURSE_DATA_DIR'] == {str(tmp_path / 'sets')!r}",
        "assert os.path.basename(os.getcwd()) == 'deep'",
    )
    result = execute(path)
    assert result.passed, result.error


def test_a_page_links_to_the_pages_of_the_same_run_and_keeps_only_the_text_of_other_links():
    text = "[next](02_b.ipynb), [part](02_b.ipynb#Here), [other](03_c.ipynb)"
    book = {"cells": [{"id": "a", "cell_type": "markdown", "metadata": {}, "source": text}], "metadata": {}}
    page = pages.lesson_page(book | {"nbformat": 4, "nbformat_minor": 5}, "A", ["01_a", "02_b"])
    assert (
        'href="02_b.html"' in page and 'href="02_b.html#Here"' in page and "03_c" not in page and ", other</p>" in page
    )


def test_a_formula_in_a_heading_of_a_page_is_mathml_as_browsers_know_it():
    cell = {"id": "a", "cell_type": "markdown", "metadata": {}, "source": "## The rate $x^2$\n\nand `<ns0:math>`"}
    page = pages.lesson_page({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, "A")
    assert re.search(r'<h2 id="The-rate-x2">The rate <math display="inline"><mrow><msup>.*?</math>', page)
    assert page.count("ns0") == 1 and "&lt;ns0:math&gt;" in page
