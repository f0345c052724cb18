"""What stands under a check: the outcome with buttons where a kernel answers, with folds where none does.

An exercise is a `checking.Exercise` and an outcome a `checking.Outcome`, here as `Any`: that module imports this one.
"""

from __future__ import annotations

import html
import sys
from typing import Any

import ipywidgets
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from course_utils import figures

VIEW = "application/vnd.jupyter.widget-view+json"
AGAIN = (
    "This is the same function as at the last check. If you have changed its cell since, run that cell first "
    "(Shift + Enter): only then does the kernel know it."
)
STALE = "You have changed the cell above since it was last run. Run it first (Shift + Enter), then check."
# JupyterLab's own colours, which suit its light and dark themes, or one that can be read on both.
COLOURS = {
    Keyword.Constant: "var(--jp-mirror-editor-atom-color,#7a6fd0)",
    Keyword: "var(--jp-mirror-editor-keyword-color,#2f8f46)",
    Comment: "var(--jp-mirror-editor-comment-color,#5b8a8a)",
    String: "var(--jp-mirror-editor-string-color,#c2554f)",
    Number: "var(--jp-mirror-editor-number-color,#7a6fd0)",
    Operator: "var(--jp-mirror-editor-operator-color,#a24fd0)",
    Name.Function: "var(--jp-mirror-editor-def-color,#3a7bd5)",
    Name.Builtin: "var(--jp-mirror-editor-builtin-color,#2f8f46)",
}


def coloured(source: str) -> str:
    """Return Python source as HTML, in colours for a light and a dark page."""
    parts = []
    for token, text in PythonLexer(stripnl=False).get_tokens(source.rstrip()):
        colour = next((COLOURS[kind] for kind in (token, *reversed(token.split())) if kind in COLOURS), "")
        escaped = html.escape(text, quote=False)
        parts.append(f'<span style="color:{colour}">{escaped}</span>' if colour else escaped)
    return f'<pre style="margin:0;overflow-x:auto;background:none"><code>{"".join(parts).rstrip()}</code></pre>'


def framed(inner: str, colour: str) -> str:
    """Return HTML with a coloured bar to its left."""
    return f'<div style="border-left:4px solid {colour};padding:0.2em 0.8em">{inner}</div>'


def folds(exercise: Any) -> str:
    """Return the hints and the solution, each in its own fold: they open without a kernel and without scripts."""
    count = len(exercise.hints)
    hints = [(f"Hint {i} of {count}", html.escape(hint)) for i, hint in enumerate(exercise.hints, start=1)]
    return "".join(
        f'<details style="margin:0.2em 0"><summary>{title}</summary>{framed(inner, figures.BLUE)}</details>'
        for title, inner in [*hints, ("Solution", coloured(exercise.source()))]
    )


class CheckPanel(ipywidgets.VBox):
    """An outcome, with buttons that check again, give the next hint, and show the solution."""

    def __init__(self, exercise: Any, outcome: Any, again: bool) -> None:
        self.exercise, self._hints = exercise, 0
        self.said, self.help, self.done = (ipywidgets.HTML(layout={"max_width": "100%"}) for _ in range(3))
        self.buttons = {
            word: ipywidgets.Button(description=word, tooltip=tip, layout={"width": "auto"})
            for word, tip in [
                ("Check", f"Check {exercise.name} as its cell was last run"),
                ("Hint", "Show one more hint"),
                ("Solution", "Show one way to do it"),
            ]
        }
        for word, action in zip(self.buttons, (self.check, self.hint, self.solution)):
            self.buttons[word].on_click(action)
        row = ipywidgets.HBox(
            [*self.buttons.values(), self.done], layout={"flex_flow": "row wrap", "align_items": "center"}
        )
        look = ipywidgets.HTML(LOOK, layout={"display": "none"})
        stale = ipywidgets.HTML(f'<div role="status">{framed(STALE, figures.ORANGE)}</div>')
        stale.add_class("course-stale")
        super().__init__([look, self.said, stale, row, self.help], layout={"width": "100%", "max_width": "70em"})
        self.add_class("course-check")
        self.show(outcome, again)

    def show(self, outcome: Any, again: bool) -> None:
        """Show an outcome; `again` says that the same function was checked before."""
        warning = f'<p style="margin:0.3em 0 0">{AGAIN}</p>' if again and outcome.outcome != "correct" else ""
        self._say(framed(outcome.as_html() + warning, outcome.colour))
        self.done.value = "{} of {} exercises done".format(*self.exercise.done())

    def check(self, _: object = None) -> None:
        """Check the function that has the exercise's name in the notebook now."""
        answer = sys.modules["__main__"].__dict__.get(self.exercise.name)
        self._say(framed("Checking …", figures.GREY))  # the last verdict was another answer's
        try:
            self.show(*self.exercise.tried(answer))
        except KeyboardInterrupt as stopped:
            self._say(framed(html.escape(str(stopped)), figures.GREY))

    def _say(self, text: str) -> None:
        self.said.value = f'<div role="status" aria-live="polite">{text}</div>'

    def hint(self, _: object = None) -> None:
        """Show one more hint."""
        hints = self.exercise.hints
        self._hints = min(self._hints + 1, len(hints))
        given = enumerate(hints[: self._hints], start=1)
        lines = "".join(f"<div>Hint {i} of {len(hints)}: {html.escape(hint)}</div>" for i, hint in given)
        self.help.value = framed(lines, figures.BLUE)
        self.buttons["Hint"].disabled = self._hints == len(hints)

    def solution(self, _: object = None) -> None:
        """Show the reference solution."""
        self.help.value = framed(coloured(self.exercise.source()), figures.BLUE)

    def view(self) -> dict[str, Any]:
        """Return what shows the panel, by MIME type."""
        return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.model_id}}


# JupyterLab and Notebook 7 mark a cell that was edited since it was last run; the kernel never sees the edit.
LOOK = (
    "<style>.course-check .widget-html-content{line-height:1.45;white-space:normal}"
    ".course-check pre{white-space:pre}.course-stale{display:none}"
    ".jp-CodeCell.jp-mod-dirty+.jp-CodeCell .course-stale{display:block}</style>"
)
