"""Several notebooks judged side by side, each by a process that is ended and replaced when it does not answer."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.command.grading.submissions import Found, Submission, read
from course_utils.errors import CourseError

OUTCOMES = ("correct", "wrong", "not attempted", "error")
LONGEST = 1000  # characters of a message
WHOLE = 5  # a notebook may take as long as this many answers that hang
GRACE = 60.0  # seconds beyond that, for the judge's own work, after which it is replaced
ENDED = "Not judged: its judge hung or was killed, perhaps for lack of memory."
UNCONFINED = (
    "this system cannot confine answers (that takes Linux with Landlock and seccomp), so an answer may do what you "
    "may; check only notebooks from people you trust, or use a container."
)
# The same course_utils as here, wherever it came from, and nothing that lies in the current folder, such as torch.py.
RUN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from course_utils.command.grading import judge; judge.main()"
)
START = 180.0  # seconds that the judge may take to start: PyTorch from a slow disk
# What the judge needs of the environment; answers can read it, so nothing else comes along.
KEPT = ("PATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "HOME", "LANG", "LC_ALL", "COURSE_DATA_DIR", "TORCH_HOME")


@dataclass(frozen=True)
class Result:
    """The outcome of one exercise in one notebook; without lesson and exercise when the notebook cannot be judged."""

    notebook: str
    lesson: str
    exercise: str
    outcome: str
    message: str


@dataclass
class Results:
    """The outcomes of all notebooks, in the order in which they were found."""

    rows: list[Result] = field(default_factory=list)
    confined: bool = True  # whether this system forbids an answer what it should
    passed_over: list[str] = field(default_factory=list)  # files with nothing to judge, such as pictures
    remarks: list[str] = field(default_factory=list)  # sentences about what is not judged in a notebook that is

    @property
    def complete(self) -> bool:
        """Whether everything could be judged."""
        return all(row.outcome != "error" for row in self.rows)


def judge_all(
    found: Found,
    *,
    jobs: int = 1,
    timeout: float = 20.0,
    finished: Callable[[str], None] = lambda notebook: None,
) -> Results:
    """Judge every exercise of the notebooks and return all outcomes; nothing that a notebook does stops it.

    Args:
        found: from `submissions.find`.
        jobs: how many are judged side by side.
        timeout: seconds that one answer may take; a notebook gets five times as many.
        finished: told the name of each notebook that is done, from several threads.

    Raises:
        CourseError: when judging cannot start on this system.
    """
    if not hasattr(os, "fork"):
        raise CourseError(
            "course check needs Linux or macOS to keep answers away from their judge; on Windows, run it in WSL."
        )
    hidden = [path.absolute() for path in found.notebooks.values()]  # no answer reads a neighbour's notebook
    with tempfile.TemporaryDirectory(prefix="course-check-") as folder:
        first = _Judge(Path(folder), hidden)
        everyone = [first]
        try:
            first.start()
            # All are read before the first answer runs.
            submissions = [
                read(found.notebooks[name], first.lessons, name)
                if name in found.notebooks
                else Submission(name, problem=found.problems[name])
                for name in found.names
            ]
            everyone += [_Judge(Path(folder), hidden) for _ in range(min(jobs, len(submissions)) - 1)]
            rows = _side_by_side(everyone, submissions, timeout, finished)
            remarks = [_remark(submission) for submission in submissions if submission.others]
            return Results(rows, first.confined, found.data, remarks)
        finally:
            for judge in everyone:
                judge.close()


def _side_by_side(
    judges: Sequence[_Judge], submissions: Sequence[Submission], timeout: float, finished: Callable[[str], None]
) -> list[Result]:
    """Return the outcomes of all submissions in their order; a judge takes the next one as soon as it is free."""
    free: queue.SimpleQueue[_Judge] = queue.SimpleQueue()
    for judge in judges:
        free.put(judge)

    def judged(submission: Submission) -> list[Result]:
        judge = free.get()
        try:
            return judge.notebook(submission, timeout)
        except Exception as error:
            if judge.closed:
                raise
            name, lesson = submission.notebook, submission.lesson
            why = str(error) if isinstance(error, CourseError) else f"its judge failed ({type(error).__name__})."
            return [
                Result(name, lesson, each, "error", f"Not judged: {why}"[:LONGEST])
                for each in judges[0].lessons[lesson]
            ]
        finally:
            free.put(judge)
            finished(submission.notebook)

    with ThreadPoolExecutor(len(judges)) as pool:
        try:
            futures = [pool.submit(judged, submission) for submission in submissions]
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for judge in judges:
                judge.close()  # what waits for one goes on then, and the pool can end
            raise
    return [row for future in futures for row in future.result()]


def _remark(submission: Submission) -> str:
    others = " and ".join(lesson.lstrip("0") for lesson in submission.others)
    return (
        f"{submission.notebook} is judged as lesson {submission.lesson.lstrip('0')} only; hand in its exercises of "
        f"lesson {others} in a notebook of their own."
    )


def _places() -> list[str]:
    """Return where Python looks for modules, without the current folder unless the course lies there."""
    root = Path(__file__).resolve().parents[3]
    places = [Path(place).resolve() for place in sys.path]
    return [str(place) for place in places if place == root or place != Path.cwd()]


class _Judge:
    """One judging process and what is needed to talk to it; it is started when it is first needed."""

    def __init__(self, folder: Path, hidden: Iterable[Path]) -> None:
        self.home = Path(tempfile.mkdtemp(dir=folder))
        (self.home / "hidden.json").write_text(json.dumps([str(path) for path in hidden]), encoding="utf-8")
        self.process: subprocess.Popen[str] | None = None
        self.lessons: dict[str, list[str]] = {}
        self.confined = True
        self.closed = False

    def start(self) -> None:
        """Start the process, unless it runs.

        Raises:
            CourseError: when it does not start.
        """
        if self.process is not None and self.process.poll() is None:
            return
        if self.closed:
            raise CourseError("judging was interrupted")
        environment = {key: os.environ[key] for key in KEPT if key in os.environ}
        for key in {"COURSE_DATA_DIR", "TORCH_HOME"} & set(environment):  # the judge runs in another folder
            environment[key] = os.path.abspath(os.path.expanduser(environment[key]))  # noqa: PTH100, PTH111
        environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg",
                        "PYTHONIOENCODING": "utf-8", "COURSE_OFFLINE": "1", "TMPDIR": str(self.home),
                        "MPLCONFIGDIR": str(self.home / "matplotlib")}  # fmt: skip
        (self.home / "answers").mkdir(exist_ok=True)
        (self.home / "cwd").mkdir(exist_ok=True)
        with (self.home / "errors.txt").open("w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", RUN, json.dumps(_places()), str(self.home / "answers")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=self.home / "cwd", env=environment,
                text=True, encoding="utf-8", start_new_session=True,
            )  # fmt: skip
        ready = self._line(START)
        if ready is None:
            self.close()
            said = (self.home / "errors.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise CourseError(f"Judging cannot start: {said[-1] if said else 'it gives no reason'}.")
        self.lessons, self.confined = ready["lessons"], ready["confined"]

    def notebook(self, submission: Submission, timeout: float) -> list[Result]:
        """Return the outcomes of a notebook's exercises; those that end the judge itself become errors."""
        name, lesson = submission.notebook, submission.lesson
        if submission.problem:
            return [Result(name, lesson, "", "error", submission.problem)]
        self.start()
        rows: list[Result] = []
        names = self.lessons[lesson]
        limit = timeout * WHOLE
        last = time.monotonic() + limit + GRACE
        while len(rows) < len(names):
            if time.monotonic() > last:
                rows += [Result(name, lesson, each, "error", ENDED) for each in names[len(rows) :]]
                break
            self.start()
            job = {"cells": submission.cells, "lesson": lesson, "exercises": names[len(rows) :]}
            line = json.dumps({**job, "timeout": timeout, "notebook_timeout": limit}) + "\n"
            for _ in names[len(rows) :]:
                told = self._asked(line, timeout + GRACE)
                line = ""
                if told is None:  # it died or hangs, as when memory ran out: the next ones get a new judge
                    self._end()
                    rows.append(Result(name, lesson, names[len(rows)], "error", ENDED))
                    break
                outcome = told["outcome"] if told["outcome"] in OUTCOMES else "error"
                rows.append(Result(name, lesson, names[len(rows)], outcome, told["message"][:LONGEST]))
        return rows

    def close(self) -> None:
        """End the process for good."""
        self.closed = True
        self._end()

    def _asked(self, line: str, seconds: float) -> dict[str, Any] | None:
        try:
            if line:
                self.process.stdin.write(line)
                self.process.stdin.flush()
        except (OSError, ValueError):
            return None
        return self._line(seconds)

    def _line(self, seconds: float) -> dict[str, Any] | None:
        """Return what the process says next; None when it dies or stays silent, and it is ended then."""
        timer = threading.Timer(seconds, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):  # the end of the file is not JSON
            return None
        finally:
            timer.cancel()

    def _end(self) -> None:
        process = self.process
        if process is None:
            return
        process.terminate()  # it ends its copy first, where the system would not
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream.close()
