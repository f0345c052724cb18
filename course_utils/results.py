"""Recorded figures: shown under a cell, collected by the runner, quoted in prose.

A lesson calls `record(test_accuracy=0.912)`. The figure appears as a small table, and the same output carries it as
data, so that `course run` and `course build` can collect it. `course build` stores the figures of a run in
`results/NN_<profile>.json` and fills `{{test_accuracy:.1%}}` in the lesson's text from them.
"""

from __future__ import annotations

import html
import json
import math
import re
from pathlib import Path
from typing import Any

from course_utils.base.lessons import find_root, lesson_number
from course_utils.base.notes import FIGURES, show_note
from course_utils.errors import RunError, SettingError

NAME = re.compile(r"[a-z][a-z0-9_]*")
# What every recorded run holds beside the lesson's own figures; a lesson cannot use these names itself.
RUN_FIGURES = ("seconds", "minutes", "peak_memory_mb", "cores", "processor", "gpu", "torch", "date")
LONGEST_TEXT = 120


def record(form: str = "", /, **figures: float | int | str) -> None:
    """Show `figures` as a small table and hand them to the runner.

    Args:
        form: how the table shows numbers that are not whole, such as ".1%" for shares; four significant digits when
            empty. The runner gets every figure unrounded.
        figures: numbers (also 0-d tensors and numpy scalars) or short texts; names in lower_case.

    Raises:
        ValueError: for a name in another style or reserved for the run itself, a number that is not finite, a
            long text, an invalid format, or nothing at all.
        TypeError: for a value that is neither a number nor a text.
    """
    if not figures:
        raise ValueError("record() got no figures; call it with names and values, such as record(test_accuracy=0.91).")
    plain = {name: _plain(name, value) for name, value in figures.items()}
    rows = {name: (name.replace("_", " "), shown(value, form)) for name, value in plain.items()}
    width = max(len(label) for label, _ in rows.values())
    text = "\n".join(f"{label:<{width}}  {value}" for label, value in rows.values())
    cells = "".join(
        f'<tr><th scope="row" style="text-align:left">{html.escape(label)}</th>'
        f'<td style="text-align:right">{html.escape(value)}</td></tr>'
        for label, value in rows.values()
    )
    show_note(text, FIGURES, plain, html_text=f"<table>{cells}</table>")


def load(lesson: str | int, profile: str, root: Path | None = None) -> dict[str, Any]:
    """Return the recorded run of `lesson` under `profile` from `results/`.

    Raises:
        RunError: when there is none, or the file is damaged.
    """
    path = result_path(lesson, profile, root)
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"No run of lesson {lesson_number(lesson)} with profile {profile!r} is recorded ({path.name} is not in "
            f"results/); `course build {lesson_number(lesson)} --profile {profile}` records one."
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"results/{path.name} cannot be read ({error}); rebuild the lesson.") from error
    if not isinstance(recorded, dict) or not isinstance(recorded.get("figures"), dict):
        raise RunError(f"results/{path.name} holds no figures; rebuild the lesson.")
    return recorded


def benchmark(name: str, root: Path | None = None) -> dict[str, Any] | None:
    """Return what a script of `benchmarks/` recorded in `results/benchmark_<name>.json`, and print when and where.

    Returns None, and says so, where the course's folder is not available: a lesson goes on without it.

    Raises:
        RunError: when the record is damaged.
    """
    try:
        path = (root or find_root()) / "results" / f"benchmark_{name}.json"
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (SettingError, FileNotFoundError):
        print(f"The recorded benchmark {name!r} is not here; it is in the course's folder, under results/.")
        return None
    except (OSError, ValueError) as error:
        raise RunError(
            f"results/benchmark_{name}.json cannot be read ({error}); record the benchmark again."
        ) from error
    hardware = recorded["hardware"]
    print(
        f"Recorded by benchmarks/{name}.py on {recorded['date']}, not in this run: {hardware['processor']}, "
        f"{hardware['cores']} cores, on {recorded['data']}."
    )
    return recorded


def result_path(lesson: str | int, profile: str, root: Path | None = None) -> Path:
    """Return where the recorded run of `lesson` under `profile` is kept: `results/NN_<profile>.json`."""
    return (root or find_root()) / "results" / f"{lesson_number(lesson)}_{profile}.json"


def _plain(name: str, value: Any) -> float | int | str:
    """Return `value` as something JSON can hold exactly, or say why it cannot be recorded."""
    if not NAME.fullmatch(name):
        raise ValueError(f"A figure cannot be called {name!r}; use lower-case letters, digits and underscores.")
    if name in RUN_FIGURES:
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
    """Return a figure for a reader: a float as `form` says, or with four significant digits; thousands separated."""
    if isinstance(value, float) and form:
        return format(value, form)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
