"""Quiz questions: choose an answer, and read why it is right or wrong; a copy without a kernel unfolds all answers.

Core controls of ipywidgets: quiz libraries work by scripts in a cell's output, which a static copy does not run.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets

from course_utils import figures
from course_utils.base import progress
from course_utils.exercises.checking import whole_number

VIEW = "application/vnd.jupyter.widget-view+json"
LETTERS = "abcdefghij"
CODE = re.compile(r"`([^`]+)`")
STRESS = re.compile(r"(?<!\w)\*([^*\s][^*]*)\*")
# The lines of a quiz in Markdown.
QUESTION = re.compile(r"^## (.*)$", re.MULTILINE)
OPTION = re.compile(r"^- \[([x ])\] (.+)$", re.MULTILINE)
ASKED, WHY = re.compile(r"([^\s#>-].*)"), re.compile(r"  > (.*\S)")
NAMED = {ASKED: "a line of the question, which begins with a word", WHY: "'  > why it is right or wrong'"}


@dataclass(frozen=True)
class Option:
    """One answer to choose, and why it is right or wrong; `code` and *stress* are marked as in Markdown."""

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question with its options, exactly one of which is right."""

    text: str
    options: Sequence[Option]

    def __post_init__(self) -> None:
        rights = sum(option.right for option in self.options)
        if rights != 1 or not 2 <= len(self.options) <= len(LETTERS):
            raise ValueError(
                f"A question needs 2 to {len(LETTERS)} options and exactly one right one, not {len(self.options)} "
                f"with {rights} right: {self.text!r}."
            )
        if not self.text.strip():
            raise ValueError("A question needs a text above its options.")
        if not all(option.text.strip() and option.why.strip() for option in self.options):
            raise ValueError(f"Every option needs a text and an explanation: {self.text!r}.")


@dataclass(frozen=True)
class Quiz:
    """The questions at the end of a lesson; `ask(1)` is the first."""

    questions: Sequence[Question]
    lesson: str = ""

    def ask(self, number: int) -> AskedQuestion:
        """Return question `number`, counted from 1, as a widget to answer.

        Raises:
            ValueError: when there is no question of that number.
        """
        place = whole_number(number)
        if place not in range(1, len(self.questions) + 1):
            raise ValueError(f"There is no question {number!r}; they are numbered from 1 to {len(self.questions)}.")
        return AskedQuestion(place, self.questions[place - 1], self.lesson)


def read_quiz(name: str, lesson: str) -> Quiz:
    """Return the quiz of a lesson, such as "lesson1" and "01", from its Markdown file; see `parse_quiz`."""
    path = Path(__file__).parent / "quizzes" / f"{name}.md"
    return Quiz(parse_quiz(path.read_text(encoding="utf-8"), path.name).questions, lesson)


def parse_quiz(text: str, source: str) -> Quiz:
    """Return the quiz that a Markdown file holds.

    Below the title, `## 1` begins the first question, whose text follows. Each option is one line, `- [x] text` for the
    right one and `- [ ] text` for the others, and the lines below it, `  > text`, say why it is right or wrong.

    Args:
        text: what is in the file.
        source: its name, for messages.

    Raises:
        ValueError: for a line that is none of these, and for a question that is not complete; the message says which.
    """
    title, *parts = QUESTION.split(text)
    if not parts or not re.fullmatch(r"# .+\s*", title):
        raise ValueError(f"{source} must begin with a title, '# Quiz of lesson 1', and '## 1', not {title[:40]!r}.")
    questions = []
    for count, (number, body) in enumerate(zip(parts[::2], parts[1::2]), start=1):
        where = f"{source}, question {count}"
        if number != str(count):
            raise ValueError(f"{where} begins with '## {number}'; number the questions 1, 2, 3 and so on.")
        words, *options = OPTION.split(body)
        asked = _joined(words, ASKED, where)
        made = [
            Option(text.strip(), _joined(why, WHY, f"{where}, below the option {text!r}"), mark == "x")
            for mark, text, why in zip(options[::3], options[1::3], options[2::3])
        ]
        try:
            questions.append(Question(asked, made))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return Quiz(questions)


def _joined(block: str, form: re.Pattern[str], where: str) -> str:
    """Return the lines of a block as one text, without what marks them."""
    lines = [line for line in block.splitlines() if line]
    for line in lines:
        if not form.fullmatch(line):
            raise ValueError(f"{where}: {line!r} is neither '- [x] an option' nor {NAMED[form]}.")
    return " ".join(form.fullmatch(line)[1] for line in lines)


class AskedQuestion(ipywidgets.VBox):
    """A question on the page: options to choose from, and below them why the chosen one is right or wrong."""

    def __init__(self, number: int, question: Question, lesson: str = "") -> None:
        self.question, self.number, self.lesson = question, number, lesson
        choices = [(f"({letter}) {_plain(o.text)}", i) for i, (letter, o) in enumerate(zip(LETTERS, question.options))]
        self.choice = ipywidgets.RadioButtons(
            options=choices, value=None, layout={"width": "100%", "height": "auto"}, style={"description_width": "0"}
        )
        self.choice.add_class("course-choice")
        self.verdict = ipywidgets.HTML(layout={"max_width": "100%"})
        self.verdict.add_class("course-verdict")
        self.choice.observe(self._explain, "value")
        asked = ipywidgets.HTML(f"<strong>{number}.</strong> {_rich(question.text)}", layout={"max_width": "100%"})
        look = ipywidgets.HTML(LOOK, layout={"display": "none"})
        super().__init__([look, asked, self.choice, self.verdict], layout={"width": "100%", "max_width": "46em"})
        self.add_class("course-quiz")
        self._explain()

    def _explain(self, change: object = None) -> None:
        if self.choice.value is None:
            colour, text = figures.GREY, "Choose an answer."
        else:
            option = self.question.options[self.choice.value]
            progress.note(self.lesson, f"quiz {self.number}", option.right)
            colour = figures.GREEN if option.right else figures.RED
            sign = "✓ Yes:" if option.right else "✗ No:"
            text = f"<strong>{sign}</strong> {_rich(option.why)}"
        frame = f"border-left:4px solid {colour};padding:0.2em 0.8em"
        self.verdict.value = f'<div role="status" aria-live="polite" style="{frame}">{text}</div>'

    _ipython_display_ = None  # ipywidgets 7 would pass the bundle below by

    def _repr_mimebundle_(self, *_: object, **__: object) -> dict[str, Any]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {VIEW: view, "text/html": self.as_html(), "text/plain": self.as_text()}

    def as_html(self) -> str:
        """Return the question and its options as HTML, each with its answer folded in, for places without a kernel."""
        options = "".join(
            f'<details><summary>({letter}) {_rich(o.text)}</summary><p style="margin:0.2em 0 0.6em 1.4em">'
            f"<strong>{'✓ Yes:' if o.right else '✗ No:'}</strong> {_rich(o.why)}</p></details>"
            for letter, o in self._lettered()
        )
        return f"<p><strong>{self.number}.</strong> {_rich(self.question.text)}</p>{options}"

    def as_text(self) -> str:
        """Return question, options and answers as plain text."""
        options = [f"({letter}) {_plain(o.text)}" for letter, o in self._lettered()]
        answers = [f"({letter}) {'Yes' if o.right else 'No'}: {_plain(o.why)}" for letter, o in self._lettered()]
        return "\n".join([f"{self.number}. {_plain(self.question.text)}", *options, "Answers", *answers])

    def _lettered(self) -> list[tuple[str, Option]]:
        return list(zip(LETTERS, self.question.options))


# Jupyter cuts long options off; here they wrap.
LOOK = (
    "<style>.course-quiz .widget-html-content{line-height:1.45;white-space:normal}"
    # The circle comes after the text in the page, and floats: in a row turned round it stands before its first line.
    ".course-choice .widget-radio-box label{white-space:normal;height:auto;line-height:1.45;margin-bottom:0.3em;"
    "width:auto;display:flex;flex-direction:row-reverse;justify-content:flex-end;align-items:flex-start;gap:0.5em}"
    ".course-choice .widget-radio-box label input[type=radio]{position:static;height:1.45em;margin:0 0 0 4px;flex:none}"
    ".course-choice .widget-radio-box{max-width:100%;width:100%}"
    ".course-choice{height:auto}</style>"
)


def _plain(text: str) -> str:
    return "".join(part if i % 2 else STRESS.sub(r"\1", part) for i, part in enumerate(CODE.split(text)))


def _rich(text: str) -> str:
    parts = enumerate(CODE.split(html.escape(text, quote=False)))
    return "".join(f"<code>{part}</code>" if i % 2 else STRESS.sub(r"<em>\1</em>", part) for i, part in parts)
