"""The process that judges notebooks, one after the other; `referee` starts it.

It reads a notebook a line (JSON) and answers a line an exercise. Learners' code runs only in copies of another process,
see `sandbox` and `template`. It starts once for many notebooks, because importing PyTorch takes seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from course_utils import exercises
from course_utils.command.grading.answers import cut, statements
from course_utils.command.grading.confinement import is_confining, limit_memory
from course_utils.command.grading.sandbox import Answer, Stopped, answer
from course_utils.command.grading.template import Template
from course_utils.exercises.checking import Exercise

MOST_MEMORY = 8 * 2**30  # bytes of address space that the judge may take beyond what it holds at the start
HIDDEN = "hidden.json"  # beside the folder: files that no answer may read, such as other learners' notebooks


def all_exercises() -> dict[str, dict[str, Exercise]]:
    """Return the exercises of each lesson, by the lesson's number and their names, in the lesson's order."""
    found: dict[str, dict[str, Exercise]] = {}
    for module in (getattr(exercises, name) for name in exercises.__all__):
        for each in vars(module).values():
            if isinstance(each, Exercise):
                found.setdefault(each.lesson, {})[each.name] = each
    return found


def judge(exercise: Exercise, answer: Answer) -> tuple[str, str]:
    """Return the outcome for one answer, "correct", "wrong", "not attempted" or "error", and a sentence."""
    needed = answer.cut
    if needed.problem:
        return "error", needed.problem
    if not needed.statements:
        return "not attempted", f"The notebook does not define {exercise.name}."
    try:
        outcome = exercise.judge(answer)
    except Stopped as stopped:
        outcome = stopped
    except Exception as error:  # noqa: BLE001 - a check that a foreign result surprised
        outcome = Stopped("error", f"The check failed: {type(error).__name__}: {error}.")
        answer.network |= bool(answer.foreign)
    if outcome.outcome != "correct" and answer.network:
        return (
            "error",
            f"It returned something that cannot be judged outside its notebook, an object of type {answer.foreign}.",
        )
    if outcome.outcome == "wrong" and answer.failed:
        return "error", f"It needs something that is missing: {answer.failed}."
    return outcome.outcome, outcome.message


def judge_notebook(job: dict[str, Any], folder: Path, template: Template) -> Iterator[dict[str, str]]:
    """Give the outcome of each exercise that `job` asks for.

    Args:
        job: "cells" (number and source), "lesson", "exercises" (names), "timeout" (seconds for one) and
            "notebook_timeout" (seconds for all).
        folder: for what answers write.
        template: the process of which each answer gets a copy.
    """
    cells = [(int(number), source) for number, source in job["cells"]]
    left = job["notebook_timeout"]  # the answers' own time; to prepare and to compare takes the judge's
    found, broken = statements(cells)
    known = all_exercises()[job["lesson"]]
    for name in job["exercises"]:
        needed = cut(name, found, cells, broken)
        if left <= 0 and needed.statements:
            outcome = "error", f"Not judged: the notebook had used up its {job['notebook_timeout']:.3g} s."
        else:
            asked = Answer(needed, folder, min(job["timeout"], left), template)
            outcome = judge(known[name], asked)
            left -= asked.used
        yield {"exercise": name, "outcome": outcome[0], "message": outcome[1]}


def main() -> None:
    """Judge what comes on standard input until it ends; the argument names the folder for what answers write."""
    folder = Path(sys.argv[1]).resolve()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")  # a check that prints must not disturb
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the copy is ended too
    tempfile.tempdir = str(folder)  # what a check hands to an answer must be writable for it
    torch.set_num_threads(1)  # the copies of a process with several threads would hang

    def tell(**what: Any) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    limit_memory(MOST_MEMORY)  # a forged answer must not take all of the machine's
    secret = [Path(path) for path in json.loads((folder.parent / HIDDEN).read_text("utf-8"))]
    template = Template(answer, secret)  # before the exercises are loaded
    try:
        lessons = {lesson: list(names) for lesson, names in all_exercises().items()}
        tell(lessons=lessons, confined=template.hides and is_confining(folder))
        with contextlib.suppress(KeyboardInterrupt):
            for line in sys.stdin:
                for outcome in judge_notebook(json.loads(line), folder, template):
                    tell(**outcome)
    finally:
        template.close()
