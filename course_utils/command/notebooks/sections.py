"""The sections of a notebook, and running each of them again after the whole, as learners do."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course_utils.base.words import short
from course_utils.command.notebooks import folds

LOWEST = 3  # the level of the headings that begin a section: ## and ###
LONGEST = 300  # letters of an error's text that are said; the notebook has all of it


def sections(cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[int]]]:
    """Return title and places of code cells of each section that has code; what stands above all belongs to none."""
    found: list[tuple[str, list[int]]] = [("", [])]
    for place, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            found += [(title, []) for level, title in folds.headings(cell["source"]) if 2 <= level <= LOWEST]
        elif cell["cell_type"] == "code" and cell["source"].strip():
            found[-1][1].append(place)
    return [(title, places) for title, places in found if title and places]


def one_line(text: str) -> str:
    """Return an error's text for a sentence: in one line, and shortened."""
    return short(" ".join(text.split()), LONGEST)


def run_again(
    cells: list[Any], seconds: float, took: Callable[[Any], float], execute: Callable[[Any, int], Any]
) -> tuple[list[str], list[str]]:
    """Run each section again, one after another, in the kernel that has run the whole.

    Args:
        cells: the notebook's cells, which stay as they are.
        seconds: sections that took longer are left out.
        took: tells the seconds that a cell took.
        execute: runs a cell; it may change the cell, and raises when the cell fails.

    Returns:
        The titles of the sections that were run again, and a sentence for each that failed.
    """
    kept, done, failed = list(cells), [], []
    for title, places in sections(cells):
        if sum(took(cells[place]) for place in places) > seconds:
            continue
        done.append(title)
        for place in places:
            try:
                execute(copy.deepcopy(kept[place]), place)
            except Exception as error:  # noqa: BLE001 - whatever it is, the section cannot be run again
                name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
                failed.append(f"the section {title!r} cannot be run again: {one_line(f'{name}: {value}')}")
                break
            finally:
                cells[:] = kept
    return done, failed
