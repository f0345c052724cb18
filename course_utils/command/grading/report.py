"""The outcomes of `course check` for people (a table for each lesson) and for programs (CSV, JSON).

Names and messages come from learners: they are shown without markup or control characters, and no cell of the CSV can
start a formula (https://owasp.org/www-community/attacks/CSV_Injection).
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.base.files import replace_file
from course_utils.command.grading.referee import OUTCOMES, Result, Results
from course_utils.errors import CourseError, SettingError

if TYPE_CHECKING:
    from rich.console import Console

SIGNS = {"correct": ("✓", "green"), "wrong": ("✗", "red"), "not attempted": ("○", "dim"), "error": ("!", "yellow")}
COLUMNS = tuple(column.name for column in fields(Result))
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def to_csv(rows: list[Result]) -> str:
    """Return the outcomes as CSV: a line with the names of the columns, then one for each notebook and exercise."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([harmless(getattr(row, column)) for column in COLUMNS] for row in rows)
    return text.getvalue()


def to_json(results: Results) -> str:
    """Return JSON: "confined", "counts" (of each outcome), "results" (like the CSV's), "passed_over" and "remarks"."""
    counted = Counter(row.outcome for row in results.rows)
    counts = {outcome: counted[outcome] for outcome in OUTCOMES}
    whole = {"confined": results.confined, "counts": counts, "results": [asdict(row) for row in results.rows]}
    return json.dumps({**whole, "passed_over": results.passed_over, "remarks": results.remarks}, indent=2)


def save_csv(text: str, path: Path) -> None:
    """Write CSV in one step: an older file stays whole until the new one is. Excel takes it for UTF-8.

    Raises:
        CourseError: when it cannot be written.
    """
    text = f"\ufeff{text}"
    try:
        if path.exists() and not path.is_file():  # a device or a pipe
            path.write_text(text, encoding="utf-8")
        else:
            replace_file(path.resolve(), text)  # a link stays one
    except OSError as error:
        raise CourseError(f"{path} cannot be written: {error.strerror or error}.") from error


def check_csv(path: Path) -> None:
    """See before anything runs that the CSV can be written.

    Raises:
        SettingError: when it cannot.
    """
    if path.is_dir():
        raise SettingError(f"{path} is a folder; --csv needs the name of a file.")
    if ".ipynb" in path.name.lower():
        raise SettingError(f"--csv would overwrite the notebook {path}; choose another file name.")
    if path.exists() and not path.is_file():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial = path.with_name(f".{path.name}.trial")
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise SettingError(f"{path} cannot be written: {error.strerror or error}.") from error


def show(results: Results, console: Console, *, verbose: bool = False) -> None:
    """Print a table for each lesson, what could not be judged and why, and with `verbose` why answers are wrong."""
    lessons = sorted({row.lesson for row in results.rows if row.exercise})
    for lesson in lessons:
        names = list(dict.fromkeys(row.exercise for row in results.rows if row.exercise and row.lesson == lesson))
        legend = ", ".join(f"{number} {name}" for number, name in enumerate(names, start=1))
        console.print(f"Lesson {lesson.lstrip('0')}: {legend}", markup=False)
        console.print(_table(names, [row for row in results.rows if row.lesson == lesson and row.exercise]))
        console.print()
    told = {"error", "wrong"} if verbose else {"error"}
    for row in results.rows:
        if row.outcome in told:
            named = not row.exercise or row.message.startswith(row.exercise)
            place = row.notebook if named else f"{row.notebook}, {row.exercise}"
            console.print(f"{SIGNS[row.outcome][0]} {plain(place)}: {plain(row.message)}", markup=False)
    for remark in results.remarks:
        console.print(plain(remark), markup=False)
    counted = Counter(row.outcome for row in results.rows if row.exercise)
    judged = {row.notebook for row in results.rows if row.exercise}
    others = len({row.notebook for row in results.rows} - judged)
    words = ", ".join(f"{counted[outcome]} {SIGNS[outcome][0]} {outcome}" for outcome in OUTCOMES)
    words = f"{len(judged)} notebook{'' if len(judged) == 1 else 's'}: {words}"
    if others:
        words += f"; {others} file{'' if others == 1 else 's'} that could not be judged"
    console.print(words, markup=False)


def plain(text: str) -> str:
    """Return `text` on one line without control characters, which could steer a terminal or end a line of a file."""
    return "".join(sign if sign.isprintable() else " " if sign.isspace() else "�" for sign in text)


def _table(names: list[str], rows: list[Result]) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_footer=True)
    learners = dict.fromkeys(row.notebook for row in rows)
    table.add_column("notebook", Text("right"), overflow="fold")
    for number, name in enumerate(names, start=1):
        right = sum(row.exercise == name and row.outcome == "correct" for row in rows)
        table.add_column(str(number), Text(str(right)), justify="center")
    table.add_column("right", f"of {len(learners)}", justify="right", no_wrap=True)
    for learner in learners:
        outcomes = {row.exercise: row.outcome for row in rows if row.notebook == learner}
        signs = [Text(*SIGNS[outcomes[name]]) if name in outcomes else Text("") for name in names]
        right = sum(outcome == "correct" for outcome in outcomes.values())
        table.add_row(Text(plain(learner)), *signs, f"{right}/{len(names)}")
    return table


def harmless(text: str) -> str:
    """Return `text` on one line as a cell of a CSV that no spreadsheet takes for a formula."""
    text = plain(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
