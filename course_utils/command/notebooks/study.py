"""How long a lesson's main path takes to study, and what its visible code is for.

The rule: a minute for 160 words of text, 7 seconds a line of visible code, 30 seconds a picture. "Go deeper" sections
and what stands in `<details>` are not part of the main path.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.command.notebooks import folds
from course_utils.command.notebooks.normalise import NOT_SHARED

WORDS_A_MINUTE, SECONDS_A_LINE, SECONDS_A_PICTURE = 160, 7, 30
CODE_WIDTH, OUTPUT_WIDTH = 80, 72  # characters that fit on the site in a window of 1,200 pixels
DETAILS = re.compile(r"<details.*?</details>", re.DOTALL)
NO_WORDS = re.compile(r"^\[[^\]]+\]: \S+$|<!--.*?-->|<[^<>]+>|(?<=\])\([^()\s]+\)", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"<(?:img|svg|video)\b")
PICTURE_CALL = re.compile(r"\bfigures\.show\w*\(|\bwidgets\.(?:\w+\.)?[a-z]\w*\(")  # an exploration shows one, too
DRAWS = re.compile(r"(?:figures|plt|fig|figure|ax|axes)\d*")  # names of what draws
METHODS = ("plot", "imshow")  # methods that draw


@dataclass(frozen=True)
class Study:
    """What a lesson holds.

    words, code_lines, pictures: of the main path; lines are those of visible cells that are not empty.
    visible_lines: the same with "Go deeper" sections.
    aside: those of `visible_lines` that draw, prove or record.
    wide_code, wide_output: lines longer than CODE_WIDTH and OUTPUT_WIDTH, each with its cell's number from 1.
    """

    words: int
    code_lines: int
    pictures: int
    visible_lines: int
    aside: tuple[str, ...]
    wide_code: tuple[str, ...]
    wide_output: tuple[str, ...]

    @property
    def minutes(self) -> int:
        """The main path's study time."""
        seconds = SECONDS_A_LINE * self.code_lines + SECONDS_A_PICTURE * self.pictures
        return round(self.words / WORDS_A_MINUTE + seconds / 60)

    @property
    def share(self) -> float:
        """The share of visible code lines that draw, prove or record."""
        return len(self.aside) / max(self.visible_lines, 1)


def study(source: Mapping[str, Any], built: Mapping[str, Any] | None = None) -> Study:
    """Measure a lesson.

    Args:
        source: its source as a notebook without outputs, which all but pictures and outputs are taken from.
        built: the notebook with outputs. None counts the pictures that the source's calls will show.
    """
    words = code_lines = pictures = visible = 0
    aside: list[str] = []
    wide_code: list[str] = []
    wide_output: list[str] = []
    outputs = iter(
        [cell.get("outputs", ()) for cell in (built or {"cells": ()})["cells"] if cell["cell_type"] == "code"]
    )
    for number, (cell, deeper) in enumerate(folds.inside(source["cells"]), start=1):
        text = cell["source"]
        if cell["cell_type"] != "code":
            words += 0 if deeper or folds.is_deeper(cell) else len(words_of(text))
            pictures += 0 if deeper else len(re.findall(r"!\[|<img\b", DETAILS.sub("", text)))
            fenced = "\n".join(each[0] for each in folds.FENCED.finditer(text)).split("\n")
            wide_code += [f"cell {number}: {line.strip()}" for line in fenced if len(line) > CODE_WIDTH]
            continue
        shown = next(outputs, ())
        lines = [line for line in text.split("\n") if line.strip()]
        wide_code += [f"cell {number}: {line.strip()}" for line in lines if len(line) > CODE_WIDTH]
        wide_output += [f"cell {number}: {line}" for line in lines_shown(shown) if len(line) > OUTPUT_WIDTH]
        if not folds.is_hidden(cell):
            visible += len(lines)
            code_lines += 0 if deeper else len(lines)
            aside += [f"cell {number}: {line.strip()}" for line in lines_aside(text)]
        if not deeper:
            pictures += sum(map(_is_picture, shown)) if built else len(PICTURE_CALL.findall(text))
    return Study(words, code_lines, pictures, visible, tuple(aside), tuple(wide_code), tuple(wide_output))


def words_of(text: str) -> list[str]:
    """Return the words of a Markdown text that are read on the main path: no code, no folds, no addresses."""
    plain = NO_WORDS.sub(" ", DETAILS.sub(" ", folds.FENCED.sub(" ", text)))
    return [word for word in plain.split() if re.search(r"\w", word)]


def lines_shown(outputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Give each line of text that a reader sees among a cell's outputs; what stands in for a picture is not seen."""
    for output in outputs:
        data = output.get("data", {})
        hidden = any(kind.startswith("image/") or kind == "text/html" for kind in data)
        text = output.get("text", "") if "text" in output else "" if hidden else data.get("text/plain", "")
        yield from "".join(text).split("\n")


def lines_aside(code: str) -> list[str]:
    """Return the lines of `code` that draw, prove or record, rather than teach.

    A statement draws when it names `figures`, `plt`, `fig` or `ax` (or `figure`, `axes`), passes `ax=` or `alt=`, sets
    `alt`, or calls a method `plot` or `imshow`; proves when it is an `assert` or calls a name that begins with
    `assert`; and records when it calls `results.record`. All its lines count; of a block the lines of its head.
    `figures.percent` only writes a number.
    """
    lines = code.split("\n")
    found: set[int] = set()
    for statement in ast.parse(code).body:
        found |= _aside(statement)
    return [lines[number - 1] for number in sorted(found) if lines[number - 1].strip()]


def _aside(statement: ast.stmt) -> set[int]:
    blocks = [block for name in ("body", "orelse", "finalbody") for block in getattr(statement, name, ())]
    blocks += [line for handler in getattr(statement, "handlers", ()) for line in handler.body]
    if not blocks:
        return (
            set(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
            if _is_aside(statement)
            else set()
        )
    within = set().union(*map(_aside, blocks))
    inside = {id(node) for block in blocks for node in ast.walk(block)}
    head = [node for node in _nodes(statement) if id(node) not in inside and node is not statement]
    if any(map(_speaks_of_it, head)):
        within |= set(range(statement.lineno, blocks[0].lineno))
    return within


def _is_aside(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assert) or any(map(_speaks_of_it, _nodes(statement)))


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Give `node` and all below it, as `ast.walk` does, without calls of `figures.percent`'s name."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.Attribute) and ast.unparse(child) == "figures.percent"):
            yield from _nodes(child)


def _speaks_of_it(node: ast.AST) -> bool:
    """Tell whether a part of a statement says that it draws, proves or records."""
    if isinstance(node, ast.Name):
        return bool(DRAWS.fullmatch(node.id)) or node.id == "alt" or node.id.startswith("assert")
    if isinstance(node, ast.keyword):
        return node.arg in ("ax", "alt")
    if isinstance(node, ast.Attribute):
        return node.attr in METHODS or node.attr.startswith("assert") or ast.unparse(node) == "results.record"
    return False


def _is_picture(output: Mapping[str, Any]) -> bool:
    """Tell whether an output is a picture, or stands for one that may not be passed on."""
    data = output.get("data", {})
    words, page = "".join(data.get("text/plain", "")), "".join(data.get("text/html", ""))
    return any(kind.startswith("image/") for kind in data) or bool(PICTURE.search(page)) or words.startswith(NOT_SHARED)
