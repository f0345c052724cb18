"""From a lesson's source to the committed notebook: converted, run, figures recorded, text filled, normalised."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils import results
from course_utils.base.files import replace_file
from course_utils.base.lessons import choose, find_root, notebooks, sources
from course_utils.base.machine import describe_machine, versions
from course_utils.command.notebooks import folds, prose
from course_utils.command.notebooks.execution import Execution, execute
from course_utils.command.notebooks.normalise import KERNEL, LANGUAGE, normalised, seal, to_json
from course_utils.command.notebooks.parameters import NO_NOTEBOOK, checked_parameters
from course_utils.command.notebooks.study import Study, study
from course_utils.errors import RunError, SettingError
from course_utils.profiles import PROFILES
from course_utils.results import STUDY_MINUTES


@dataclass
class Build:
    """The outcome of building one lesson."""

    lesson: str
    notebook: Path
    execution: Execution | None = None  # None when only the text was filled again
    problems: list[str] = field(default_factory=list)  # with these the notebook is written but not yet fit to commit


def build(
    lesson: str | int,
    profile: str = "auto",
    *,
    overrides: Mapping[str, Any] | None = None,
    timeout: float = 3600,
    record_only: bool = False,
    root: Path | None = None,
    on_cell: Callable[[int, int], None] = lambda index, of: None,
) -> Build:
    """Build one lesson: run its source, record the figures in `results/`, write the notebook.

    Args:
        lesson: its number.
        profile: "quick", "full", or "auto" as in `profiles.load`.
        overrides: settings that differ from the profile, for trying things out: such a run is not recorded and the
            notebook goes to `runs/build/`.
        timeout: seconds for the whole run.
        record_only: record the figures and leave the notebook as it is, so that a notebook which shows one profile
            can quote the other (`{{full.test_accuracy:.1%}}`).
        root: the course's folder; found when None.
        on_cell: called with the number of cells done and of all cells.

    Raises:
        SettingError: for an unknown lesson, profile or setting; nothing has run then.
        RunError: when the run fails; the committed files are untouched, and the notebook as far as it got is in
            `runs/build/`.
    """
    root = root or find_root()
    ((number, source),) = choose([lesson], sources(root), "source").items()
    target = root / "notebooks" / f"{source.stem}.ipynb"
    aside = root / "runs" / "build" / target.name
    notebook = to_notebook(source)
    _check_quotes(notebook)
    with tempfile.TemporaryDirectory(prefix="course-build-") as folder:
        draft = Path(folder) / target.name
        draft.write_text(json.dumps(notebook), encoding="utf-8")
        parameters = checked_parameters(draft, number, profile, overrides or {})
        execution = execute(draft, parameters, folder=target.parent, timeout=timeout, on_cell=on_cell)
    if not execution.passed:
        if execution.notebook is not None:
            replace_file(aside, to_json(normalised(execution.notebook, number, {}, root)))
        raise RunError(f"Lesson {number} {execution.status}: {execution.error}; see {aside.relative_to(root)}.")
    used = (execution.settings or {}).get("profile")
    if used is None:
        raise RunError(f'Lesson {number} never called profiles.load("{number}", profile), so its profile is unknown.')
    record = recorded(number, execution)
    about = {"lesson": number, "profile": used}
    done = normalised(execution.notebook or {}, number, about, root, published=True)
    if overrides:
        target = aside
    else:
        replace_file(results.result_path(number, used, root), json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    outcome = Build(number, target, execution)
    if not record_only:
        outcome.problems = fill(done, notebook, quotes(number, record, root))
        done["metadata"]["course"]["outputs"] = seal(done)
        replace_file(target, to_json(done))
    return outcome


def fill_again(lesson: str | int, root: Path | None = None) -> Build:
    """Fill the lesson's text again from its source and the recorded figures, without running anything.

    For changes of prose and tags alone.

    Raises:
        RunError: when there is no notebook yet, or its code or its outputs have changed since it was built.
    """
    root = root or find_root()
    ((number, source),) = choose([lesson], sources(root), "source").items()
    path = notebooks(root).get(number)
    if path is None:
        raise RunError(f"Lesson {number} has no notebook yet; `course build {number}` makes it.")
    built, wanted = read_notebook(path), to_notebook(source)
    if code_of(built) != code_of(wanted):
        raise RunError(f"The code of lesson {number} has changed since it was built; run `course build {number}`.")
    about = built["metadata"]["course"]
    if about.get("outputs", seal(built)) != seal(built):
        raise RunError(f"The outputs of lesson {number} are not those of its build; run `course build {number}`.")
    outputs = iter([cell for cell in built["cells"] if cell["cell_type"] == "code"])
    cells = [
        {**next(outputs), "metadata": cell["metadata"]} if cell["cell_type"] == "code" else cell
        for cell in wanted["cells"]
    ]
    done = normalised({"cells": cells}, number, about, root)
    done["metadata"]["course"]["outputs"] = seal(done)
    outcome = Build(number, path)
    outcome.problems = fill(done, wanted, quotes(number, results.load(number, about["profile"], root), root))
    replace_file(path, to_json(done))
    return outcome


def to_notebook(source: Path) -> dict[str, Any]:
    """Return the percent script `source` as a notebook without outputs.

    Raises:
        RunError: when jupytext cannot read it.
    """
    import jupytext

    try:
        converted = jupytext.read(source, fmt="py:percent")
    except (ValueError, OSError, SyntaxError) as error:
        raise RunError(f"{source.name} cannot be read as a percent script: {error}.") from error
    cells = []
    for cell in folds.apart(map(dict, converted.cells)):
        clean = {"cell_type": cell["cell_type"], "metadata": dict(cell["metadata"]), "source": cell["source"]}
        if cell["cell_type"] == "code":
            clean |= {"execution_count": None, "outputs": []}
        else:
            clean["source"] = folds.spaced(cell["source"])
        cells.append({**clean, "id": f"cell-{len(cells) + 1:02d}"})
    return {
        "cells": cells,
        "metadata": {"kernelspec": KERNEL, "language_info": LANGUAGE},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def read_notebook(path: Path) -> dict[str, Any]:
    """Return the notebook at `path` with each source as one text.

    Raises:
        RunError: when it is missing or is not a notebook.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
    except OSError as error:
        raise RunError(f"{path.name} cannot be read as a notebook: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path.name} {NO_NOTEBOOK}.") from error
    return notebook


def code_of(notebook: Mapping[str, Any]) -> list[str]:
    """Return the sources of the notebook's code cells."""
    return [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]


def recorded(number: str, execution: Execution) -> dict[str, Any]:
    """Return what `results/` keeps of a run: settings, seed, figures, time, memory, machine, versions, date."""
    values = execution.settings["values"] if execution.settings else {}
    return {
        "lesson": number,
        "profile": (execution.settings or {}).get("profile"),
        "settings": values,
        "seed": values.get("seed"),
        "figures": execution.figures,
        "seconds": round(execution.seconds, 1),
        "peak_memory_mb": execution.peak_memory_mb,
        "data": [source.get("description") for source in execution.sources],
        "hardware": describe_machine(),
        "versions": versions("torch", "torchvision", "numpy"),
        "date": datetime.date.today().isoformat(),
    }


def quotes(number: str, record: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return everything that the text may quote: this run's figures, and `quick.…` and `full.…` of recorded runs."""
    figures = prose.quotable(record)
    for profile in PROFILES:
        other = record if profile == record.get("profile") else None
        if other is None and results.result_path(number, profile, root).exists():
            other = results.load(number, profile, root)
        if other is not None:
            figures |= {f"{profile}.{name}": value for name, value in prose.quotable(other).items()}
    return figures


def fill(
    notebook: dict[str, Any], source: Mapping[str, Any], figures: Mapping[str, Any], missing: str | None = None
) -> list[str]:
    """Put the text cells of `source`, filled with `figures`, into `notebook`; return what could not be filled.

    Both must have the same text cells in the same order. One that cannot be filled stays as it is; a figure that is not
    there becomes `missing`, where that is given.
    """
    problems = []
    figures = with_study_time(figures, source, notebook)
    for cell, wanted in zip(_texts(notebook), _texts(source), strict=True):
        try:
            cell["source"] = prose.render(wanted["source"], figures, missing)
        except SettingError as error:
            problems.append(str(error))
    return problems


def with_study_time(
    figures: Mapping[str, Any], source: Mapping[str, Any], notebook: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the text may quote with `study_minutes`, which hangs on text, code and pictures, not on a run."""
    return {**figures, STUDY_MINUTES: study(source, notebook).minutes}


def studied(number: str, root: Path) -> tuple[Study, bool]:
    """Return what a lesson holds, and whether its notebook has the source's code, so that its outputs counted."""
    source, path = to_notebook(sources(root)[number]), notebooks(root).get(number)
    built = read_notebook(path) if path else None
    fresh = built is not None and code_of(built) == code_of(source)
    return study(source, built if fresh else None), fresh


def fill_from_source(notebook: dict[str, Any], number: str, execution: Execution, root: Path) -> None:
    """Fill the text of an executed lesson with its own figures, where its source is available and unchanged."""
    if number not in sources(root):
        return
    source = to_notebook(sources(root)[number])
    if len(_texts(source)) == len(_texts(notebook)):
        # A figure that this run did not find, as it lacked the pictures for it, must not be another run's.
        fill(notebook, source, quotes(number, recorded(number, execution), root), missing="—")


def _texts(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]


def _check_quotes(notebook: Mapping[str, Any]) -> None:
    """Refuse a text that quotes the run of an unknown profile, before time is spent on running."""
    text = "\n".join(cell["source"] for cell in _texts(notebook))
    for name in prose.placeholders(text):
        profile, dot, _ = name.partition(".")
        if dot and profile not in PROFILES:
            raise SettingError(f"The text quotes {{{{{name}}}}}, but {profile!r} is not a profile; use quick or full.")
