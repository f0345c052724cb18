"""Questions with checks: `check(answer)` says correct, wrong or not attempted; `hint()` and `solution()` help.

A question's object calls the learner's function on a few inputs and compares with the reference solution. It looks at
results only, never at how the answer was written. Each call gets fresh inputs, and no check ends in an exception.
"""

from __future__ import annotations

import copy
import dis
import functools
import html
import inspect
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from course_utils import figures
from course_utils.base import progress
from course_utils.base.notes import is_live, show_note
from course_utils.exercises.differences import described, first_difference, shortened

EXERCISE = "application/vnd.course.exercise+json"  # rides along with an outcome: {lesson, exercise, outcome}
HELP = "application/vnd.course.help+json"  # rides along with a hint or a solution: {lesson, exercise, help}

Verdict = Literal["correct", "wrong", "not attempted"]
SIGNS: dict[str, tuple[str, str]] = {
    "correct": ("✓", figures.GREEN),
    "wrong": ("✗", figures.RED),
    "not attempted": ("○", figures.GREY),
}
# What a function that does nothing is made of, in the words of any version of Python.
IDLE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "POP_TOP", "CACHE"}
MISSING = "; is the return missing?"
FAILURES = (Exception, SystemExit, GeneratorExit)  # an interruption by the learner is none
Check = Callable[[Callable[..., Any], Callable[..., Any]], "str | None"]


class Unanswered(Exception):
    """The learner's function gave its placeholder back."""


class Interrupted(KeyboardInterrupt):
    """The learner stopped a check. A notebook shows this sentence alone and runs none of the cells that wait."""

    def _render_traceback_(self) -> list[str]:  # IPython's hook
        return [str(self)]


@dataclass(frozen=True)
class Outcome:
    """What a check found: "correct", "wrong" or "not attempted", and one sentence about it."""

    lesson: str
    exercise: str
    outcome: Verdict
    message: str

    def __str__(self) -> str:
        return f"{SIGNS[self.outcome][0]} {self.outcome}: {self.message}"

    @property
    def colour(self) -> str:
        """The colour of its bar."""
        return SIGNS[self.outcome][1]

    def as_html(self) -> str:
        """Return the outcome as HTML."""
        return f"<strong>{SIGNS[self.outcome][0]} {self.outcome}:</strong> {html.escape(self.message)}"

    def _ipython_display_(self) -> None:
        """Add nothing when a cell ends with a check: `check` has shown its outcome already."""


@dataclass(eq=False)
class Exercise:
    """One question: what is asked, the checks that an answer must pass, hints by degree, and the reference solution.

    Args:
        question: what the learner's function must do, in a sentence.
        checks: each takes the answer and the reference, and returns the first difference in words, or None. See `call`.
        hints: from a nudge to nearly the answer.
        reference: the solution that `solution()` shows, a function of a module; the learner's takes its name.
        lesson: the lesson's number, such as "01".
    """

    question: str
    checks: Sequence[Check]
    hints: Sequence[str]
    reference: Callable[..., Any]
    lesson: str
    name: str = field(init=False)
    _given: int = field(default=0, init=False, repr=False)
    _checked: Any = field(default=None, init=False, repr=False)  # the answer of the last check
    _right: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        self.name = self.reference.__name__

    def __repr__(self) -> str:
        return f"{self.name}: {self.question}\nAsk .check({self.name}), .hint() or .solution()."

    def check(self, answer: Any) -> Outcome:
        """Check `answer` (the learner's function), show the outcome and return it; see `judge`."""
        outcome, again = self.tried(answer)
        payload = {"lesson": self.lesson, "exercise": self.name, "outcome": outcome.outcome}
        from course_utils.exercises import check_panel  # loads ipywidgets, which printing does without

        page = check_panel.framed(outcome.as_html(), outcome.colour) + check_panel.folds(self)
        view = check_panel.CheckPanel(self, outcome, again).view() if is_live() else None
        show_note(str(outcome), EXERCISE, payload, html_text=page, view=view)
        return outcome

    def tried(self, answer: Any) -> tuple[Outcome, bool]:
        """Return the outcome for `answer`, keep it as progress, and tell whether it is the one of the last check.

        Raises:
            Interrupted: when the learner does not wait for the answer's end.
        """
        try:
            outcome, again = self.judge(answer), answer is not None and answer is self._checked
        except KeyboardInterrupt:
            raise Interrupted(
                f"The check was interrupted before {self.name} came to an end. Does it loop for ever?"
            ) from None
        self._checked = answer
        if outcome.outcome != "not attempted":
            self._right |= outcome.outcome == "correct"
            progress.note(self.lesson, self.name, outcome.outcome == "correct")
        return outcome, again

    def done(self) -> tuple[int, int]:
        """Return how many exercises of its lesson are solved, in this kernel or before, and how many there are."""
        kept, all_of_them = progress.read().get(self.lesson, {}), self.of_its_lesson()
        return sum(each._right or kept.get(each.name, False) for each in all_of_them), len(all_of_them)

    def of_its_lesson(self) -> list[Exercise]:
        """Return all exercises of its lesson, in their order."""
        return [each for each in self.reference.__globals__.values() if isinstance(each, Exercise)]

    def judge(self, answer: Any) -> Outcome:
        """Return the outcome for `answer` and show nothing.

        Nothing that the answer does ends in an exception here: one that fails is wrong, and the outcome says on which
        input and how. Random numbers drawn meanwhile start from a fixed seed and leave the notebook's own untouched.
        """
        return Outcome(self.lesson, self.name, *self._judged(answer))

    def hint(self, degree: int | None = None) -> None:
        """Show the next hint, or the one of `degree` (from 1)."""
        if degree is None:
            degree = self._given + 1
            self._given = min(degree, len(self.hints))
        number = whole_number(degree)
        if 1 <= number <= len(self.hints):
            text = f"Hint {number} of {len(self.hints)}: {self.hints[number - 1]}"
        elif number > len(self.hints):
            text = f"There are only {len(self.hints)} hints for {self.name}; .solution() shows one way to do it."
        else:
            text = f"Hints for {self.name} are numbered from 1 to {len(self.hints)}; .hint() gives the next one."
        self._help(text, html.escape(text), {"hint": number})

    def source(self) -> str:
        """Return the source of the reference solution, without the decorator that makes a question of it."""
        source = inspect.getsource(self.reference).rstrip()
        return source[re.search("^def ", source, re.MULTILINE).start() :]

    def solution(self) -> None:
        """Show the source of the reference solution: one way of several."""
        source = self.source()
        self._help(source, None, {"solution": True})

    def _help(self, text: str, inner: str | None, what: dict[str, Any]) -> None:
        from course_utils.exercises import check_panel

        payload = {"lesson": self.lesson, "exercise": self.name, **what}
        page = check_panel.framed(inner or check_panel.coloured(text), figures.BLUE)
        show_note(text, HELP, payload, html_text=page)

    def _judged(self, answer: Any) -> tuple[Verdict, str]:
        try:
            return self._compared(answer)
        except FAILURES as error:  # what came back fails at whatever a check does with it
            return "wrong", f"{self.name} gave something that cannot be checked; looking at it {_failure(error)}."

    def _compared(self, answer: Any) -> tuple[Verdict, str]:
        blank = ("not attempted", f"{self.name} is still blank.")
        if answer is None or answer is Ellipsis or is_untouched(answer):
            return blank
        if not callable(answer):
            return "wrong", f"got {described(answer)}, expected a function; pass it without brackets, as {self.name}."
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            for check in self.checks:
                torch.manual_seed(0)
                try:
                    difference = check(answer, self.reference)
                except Unanswered:
                    return blank
                if difference:
                    return "wrong", difference if difference.endswith("?") else f"{difference}."
        return "correct", f"{self.name} passed all {len(self.checks)} checks."


def exercise(
    *, question: str, checks: Sequence[Check], hints: Sequence[str]
) -> Callable[[Callable[..., Any]], Exercise]:
    """Return a decorator that makes a question of a reference solution, whose module says in LESSON where it belongs.

    Args:
        question, checks, hints: see `Exercise`.
    """
    return lambda reference: Exercise(question, checks, hints, reference, reference.__globals__["LESSON"])


def call(*arguments: Any, shown: str | None = None, typed: bool = False) -> Check:
    """Return a check that calls the answer with `arguments` and expects what the reference gives.

    Args:
        arguments: tensors, numbers, texts, lists. They are copied for every call, and an answer must leave its own as
            they were.
        shown: how to write the arguments in a message, where writing them out says too little.
        typed: whether the text asks for the dtype of the tensor to return.
    """
    tensors = [each for each in arguments if isinstance(each, Tensor) and each.is_floating_point()]
    scale = max((each.abs().max().item() for each in tensors), default=0.0)
    inside = ", ".join(described(each) for each in arguments) if shown is None else shown

    @functools.cache
    def expected(reference: Callable[..., Any]) -> Any:
        return reference(*copy.deepcopy(arguments))

    def check(answer: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
        given = copy.deepcopy(arguments)
        name = f"{reference.__name__}({inside})"
        got, failure = attempted(answer, *given)
        if failure:
            return f"{name} {failure}"
        difference = first_difference(got, expected(reference), typed=typed, scale=scale)
        if difference:
            return f"{name}: {difference}{MISSING if got is None else ''}"
        if not _same(given, arguments):
            return f"{name}: the result is right, but the input was changed; work on a copy of it"
        return None

    return check


def attempted(answer: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Return what `answer` gives for `arguments`, and an empty text or how it failed.

    Raises:
        Unanswered: when the answer gives its placeholder back, or says that it is not implemented.
    """
    try:
        got = answer(*arguments)
    except FAILURES as error:
        # PyTorch raises NotImplementedError too, for an operation that a dtype lacks, and then always says which.
        if isinstance(error, NotImplementedError) and not _reason(error):
            raise Unanswered from None
        return None, _failure(error)
    if got is Ellipsis:
        raise Unanswered
    return got, ""


def by_way_of(function: Callable[..., Any], answer: Callable[..., Any], memory: int = 0) -> Callable[..., Any]:
    """Return what calls a function of `given` with the answer, and then the arguments.

    `course check` has it called where the answer runs, and lets it have `memory` bytes at most, if any are given.
    """
    elsewhere = getattr(answer, "by_way_of", None)
    return elsewhere(function, memory) if elsewhere else functools.partial(function, answer)


def whole_number(number: Any) -> int:
    """Return a whole number of any type as Python's own, and 0 for what is none, such as 1.0 or True."""
    try:
        return 0 if isinstance(number, bool) else operator.index(number)
    except TypeError:
        return 0


def is_untouched(answer: Any) -> bool:
    """Tell whether `answer` is a function that still does nothing: `...`, `pass`, a docstring, or an empty return."""
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    constants = [step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    does_nothing = all(step.opname in IDLE for step in dis.get_instructions(code))
    return does_nothing and all(each is None or each is Ellipsis for each in constants)


def _failure(error: BaseException) -> str:
    reason = _reason(error)
    return f"raised {type(error).__name__}{f': {shortened(reason)}' if reason else ''}"


def _reason(error: BaseException) -> str:
    """Return the first line of its message: PyTorch adds notes for its own developers below it."""
    try:
        return (str(error).strip().splitlines() or [""])[0].rstrip(".")
    except Exception:  # noqa: BLE001 - its __str__ is the learner's
        return ""


def _same(left: Any, right: Any) -> bool:
    """Tell whether inputs are exactly as they were, number by number."""
    if isinstance(left, Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and bool(torch.equal(left, right))
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
