"""Recorded figures: shown under a cell, collected by the runner, quoted in prose.

A lesson calls `record(test_accuracy=0.912)`. The figure appears in a line, beside that of the run which the page
shows, and the same output carries it as data, so that `course run` and `course build` can collect it. `course build`
stores the figures of a run in `results/NN_<profile>.json` and fills `{{test_accuracy:.1%}}` in the lesson's text from
them.
"""

from __future__ import annotations

import html
import json
import math
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_utils.base import notes, recorded
from course_utils.base.lessons import find_root, lesson_number
from course_utils.base.words import fitted, in_form
from course_utils.errors import WIDTH, RunError

NAME = re.compile(r"[a-z][a-z0-9_]*")
# What every recorded run holds beside the lesson's own figures; a lesson cannot use these names itself.
RUN_FIGURES = ("seconds", "minutes", "peak_memory_mb", "cores", "processor", "gpu", "torch", "date")
STUDY_MINUTES = "study_minutes"  # what a build knows of the lesson itself
LONGEST_TEXT = 120


def record(form: str = "", /, **figures: float | int | str) -> None:
    """Show each of `figures` in a line, beside that of the page, and hand them to the runner.

    "test accuracy: yours 88.6 % · this page 92.1 %": the page's is that of the recorded run, which a clone has in
    `results/` and the installed package beside it; where there is none, "yours" stands alone. The page that `course
    build` or `course run` makes shows only its own.

    Args:
        form: how numbers that are not whole are shown, such as ".1%" for shares; four significant digits when empty.
            The runner gets every figure unrounded.
        figures: numbers (also 0-d tensors and numpy scalars) or short texts; names in lower_case.

    Raises:
        ValueError: for a name in another style or reserved for the run itself, a number that is not finite, a
            long text, an invalid format, or nothing at all.
        TypeError: for a value that is neither a number nor a text.
    """
    if not figures:
        raise ValueError("record() got no figures; call it with names and values, such as record(test_accuracy=0.91).")
    plain = {name: _plain(name, value) for name, value in figures.items()}
    settings = notes.told(notes.SETTINGS)
    own = notes.makes_the_page()
    page = None if own or settings is None else recorded.on_the_page(settings["lesson"])
    theirs = page["figures"] if page else {}
    lines = []
    for name, value in plain.items():
        mine = shown(value, form)
        sides = {"this page" if own else "yours": mine}
        if name in theirs:
            other = shown(theirs[name], form)
            sides = {"yours and this page": mine} if other == mine else sides | {"this page": other}
        lines.append((name.replace("_", " "), sides))
    text = "\n".join(_line(label, sides) for label, sides in lines)
    page_text = "".join(
        f"<div>{html.escape(label)}: "
        + " · ".join(f"{who} <strong>{html.escape(value)}</strong>" for who, value in sides.items())
        + "</div>"
        for label, sides in lines
    )
    notes.show_note(text, notes.FIGURES, plain, html_text=page_text.replace(" %", "&nbsp;%"))


def _line(label: str, sides: Mapping[str, str]) -> str:
    """Return a figure's line, or lines where one would be longer than `WIDTH`."""
    parts = [f"{who} {value}" for who, value in sides.items()]
    line = f"{label}: {' · '.join(parts)}"
    if len(line) <= WIDTH:
        return line
    wrapped = [textwrap.fill(part, WIDTH, initial_indent="  ", subsequent_indent="    ") for part in parts]
    return "\n".join([f"{label}:", *wrapped])


def load(lesson: str | int, profile: str, root: Path | None = None) -> dict[str, Any]:
    """Return the recorded run of `lesson` under `profile` from `results/`.

    Raises:
        RunError: when there is none, or the file is damaged.
    """
    path = result_path(lesson, profile, root)
    run = recorded.read(path)
    if run is None:
        raise RunError(
            f"results/{path.name} is missing or holds no recorded run; "
            f"`course build {lesson_number(lesson)} --profile {profile}` records one."
        )
    return run


def benchmark(name: str, root: Path | None = None) -> dict[str, Any] | None:
    """Return what a script of `benchmarks/` recorded in `results/benchmark_<name>.json`, and print when and where.

    Returns None, and says so, where there is none: a lesson goes on without it.

    Raises:
        RunError: when the record is damaged.
    """
    path = recorded.find(f"benchmark_{name}.json", root)
    if path is None:
        print(f"The recorded benchmark {name!r} is not here;\nit is in the course's folder, under results/.")
        return None
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        hardware = run["hardware"]
        machine = hardware.get("gpu") or f"{hardware['processor']}, {hardware['cores']} cores"
        said = f"Recorded by benchmarks/{name}.py on {run['date']}, not in this run: {machine}, on {run['data']}."
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(
            f"results/benchmark_{name}.json cannot be read ({error}); record the benchmark again."
        ) from error
    print(fitted(said))
    return run


def result_path(lesson: str | int, profile: str, root: Path | None = None) -> Path:
    """Return where the recorded run of `lesson` under `profile` is kept: `results/NN_<profile>.json`."""
    return (root or find_root()) / "results" / f"{lesson_number(lesson)}_{profile}.json"


def _plain(name: str, value: Any) -> float | int | str:
    """Return `value` as something JSON can hold exactly, or say why it cannot be recorded."""
    if not NAME.fullmatch(name):
        raise ValueError(f"A figure cannot be called {name!r}; use lower-case letters, digits and underscores.")
    if name in (*RUN_FIGURES, STUDY_MINUTES):
        raise ValueError(f"The name {name!r} is reserved for the run itself; choose another name.")
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, str):
        if not value.strip() or len(value) > LONGEST_TEXT:
            raise ValueError(f"The text of figure {name!r} must have 1 to {LONGEST_TEXT} characters.")
        return value
    if isinstance(value, int):  # bool included
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"Figure {name!r} is {value}, not a finite number; find out why before you record it.")
        return value
    raise TypeError(f"Figure {name!r} is a {type(value).__name__}; a figure is a number or a short text.")


def shown(value: float | int | str, form: str = "") -> str:
    """Return a figure for a reader: a float as `form` says, or with four significant digits; thousands separated.

    Shares have a space before the percent sign: 0.9214 is "92.1 %" in the form ".1%".
    """
    if isinstance(value, float) and form:
        return in_form(value, form)
    if isinstance(value, float):
        return in_form(value, ",.4g" if abs(value) < 9999.5 else ",.0f")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
