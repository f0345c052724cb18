"""What a committed notebook must be: each function returns what is wrong, one sentence each, or an empty list.

python tools/lint_notebooks.py [LESSON...]

Prints what is wrong with the notebooks of these lessons, or of all; exit code 1 when something is.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from course_utils import results
from course_utils.base import notes
from course_utils.base.lessons import choose, find_root, notebooks, sources
from course_utils.command.builder import code_of, quotes, read_notebook, to_notebook, with_study_time
from course_utils.command.notebooks import folds, prose
from course_utils.command.notebooks.normalise import is_private, seal
from course_utils.command.notebooks.parameters import parameters_of
from course_utils.errors import CourseError
from course_utils.profiles import lesson_profile

COMPARED = "nbval-check-output"  # nbval's tag
LARGEST = 3_000_000  # bytes; larger ones are slow to open and GitHub does not show them well
SHORTEST_ALT = 15  # characters; as figures.show demands
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
MACHINE_PATH = re.compile(
    r"(?<![\w.~>])(?:/(?:home|Users|root|tmp|work|mnt|opt|usr/(?:local|lib))/|/var/folders/|[A-Za-z]:\\+Users\\)"
    r"|(?:site|dist)-packages|ipykernel_\d"
)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
LINK_INSIDE = re.compile(r"\]\(#([^)\s]+)\)|href=\"#([^\"]+)\"")
PICTURE_IN_TEXT = re.compile(r"!\[\s*\]\(|<img(?![^>]*\balt=)[^>]*>")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def check_all(path: Path, root: Path) -> list[str]:
    """Return everything that is wrong with the committed notebook at `path`."""
    try:
        notebook = read_notebook(path)
    except CourseError as error:
        return [str(error)]
    number = path.name[:2] if path.name[:2].isdigit() else path.name[:1]
    problems = [
        *check_form(notebook, path),
        *check_outputs(notebook),
        *check_pictures(notebook),
        *check_links(notebook),
        *check_parameters(path, notebook, number),
        *check_asserts(notebook),
        *check_fresh(notebook, number, root),
    ]
    if str(root) in path.read_text(encoding="utf-8"):
        problems.append("The file names the folder that it was built in.")
    return problems


def check_form(notebook: Mapping[str, Any], path: Path) -> list[str]:
    """Check schema, size, ids, and that no metadata of papermill, widgets or a clock are left."""
    import nbformat
    from nbformat.warnings import DuplicateCellId

    problems = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DuplicateCellId)  # an own sentence below
            nbformat.validate(json.loads(path.read_text(encoding="utf-8")))
    except nbformat.ValidationError as error:
        problems.append(f"It is not a valid notebook: {error.message[:200]}.")
    if path.stat().st_size > LARGEST:
        problems.append(f"The file has {path.stat().st_size / 1e6:.1f} MB; {LARGEST / 1e6:.0f} MB is the limit.")
    for key in set(notebook["metadata"]) - {
        "course",
        "kernelspec",
        "language_info",
        *folds.collapsed(notebook["cells"]),
    }:
        problems.append(f"metadata.{key} is left in the file; `course build` removes it.")
    if "version" in notebook["metadata"].get("language_info", {}):
        problems.append("metadata.language_info holds a version of Python; `course build` removes it.")
    ids = [cell.get("id") for cell in notebook["cells"]]
    if len(set(ids)) != len(ids):
        problems.append("Two cells have the same id.")
    for number, cell in enumerate(notebook["cells"], start=1):
        expected = folds.metadata(cell)
        for key in set(cell["metadata"]) - set(expected):
            problems.append(f"Cell {number} has metadata.{key}; `course build` removes it.")
        for key in [key for key in expected if cell["metadata"].get(key) != expected[key]]:
            problems.append(f"Cell {number} lacks metadata.{key}, which folds it; `course build` writes it.")
    return problems


def check_outputs(notebook: Mapping[str, Any]) -> list[str]:
    """Check that every code cell was run, in order, without an error, and that no output names a machine's folder."""
    problems, expected = [], 0
    if notebook["metadata"].get("course", {}).get("outputs", seal(notebook)) != seal(notebook):
        problems.append("Its outputs are not those of its build; rebuild the lesson.")
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["cell_type"] != "code":
            continue
        expected += 1
        if cell["execution_count"] != expected:
            problems.append(f"Cell {number} has execution count {cell['execution_count']} instead of {expected}.")
        compared = COMPARED in cell["metadata"].get("tags", ())
        for output in cell["outputs"]:
            if compared and notes.FIGURES in output.get("data", {}):
                problems.append(
                    f"Cell {number} is compared by nbval, but shows a learner another figure than the page."
                )
            if output["output_type"] == "error":
                problems.append(f"Cell {number} ends in an error: {output['ename']}: {output['evalue']}")
            for kind, text in _texts(output):
                found = MACHINE_PATH.search(text)
                if found:
                    around = text[max(0, found.start() - 20) : found.end() + 30].strip()
                    problems.append(
                        f"Cell {number}, output {kind}, names a folder of the machine that built it: {around!r}."
                    )
    return problems


def check_pictures(notebook: Mapping[str, Any]) -> list[str]:
    """Check that every picture has alternative text, in its metadata and as the plain text beside it."""
    problems = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["cell_type"] == "markdown" and PICTURE_IN_TEXT.search(FENCED.sub("", cell["source"])):
            problems.append(f"Cell {number}: a picture in the text has no alternative text.")
        for output in cell.get("outputs", ()):
            if is_private(output):
                problems.append(f"Cell {number} shows pictures that may not be passed on; rebuild the lesson.")
            for kind in PICTURES:
                if kind not in output.get("data", {}):
                    continue
                alt = output.get("metadata", {}).get(kind, {}).get("alt", "")
                plain = "".join(output["data"].get("text/plain", ""))
                if len(alt) < SHORTEST_ALT:
                    problems.append(f"Cell {number}: a picture has no alternative text; show it with figures.show().")
                elif len(plain) < SHORTEST_ALT or plain.startswith("<"):
                    problems.append(f"Cell {number}: a picture's plain text does not say what it shows.")
    return problems


def check_links(notebook: Mapping[str, Any]) -> list[str]:
    """Check that each link inside the notebook leads to a heading, as Jupyter names them (spaces become dashes)."""
    texts = [FENCED.sub("", cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    anchors = {anchor(heading) for text in texts for heading in HEADING.findall(text)}
    links = [unquote(a or b) for text in texts for a, b in LINK_INSIDE.findall(text)]
    problems = [f"The link to #{link} leads to no heading." for link in links if link not in anchors]
    if not links:
        problems.append("There is no table of contents: no link leads to a heading of the notebook.")
    return problems


def anchor(heading: str) -> str:
    """Return the name by which Jupyter links to a heading."""
    return heading.replace(" ", "-")


def check_parameters(path: Path, notebook: Mapping[str, Any], number: str) -> list[str]:
    """Check the parameters cell: the second code cell, with the profile first and exactly the lesson's settings."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    tagged = [i for i, cell in enumerate(code, start=1) if "parameters" in cell["metadata"].get("tags", ())]
    if tagged != [2]:
        return [f"The cell tagged 'parameters' must be the second code cell, but it is {tagged or 'missing'}."]
    try:
        parameters, block = parameters_of(path) or {}, lesson_profile(number)
    except CourseError as error:
        return [str(error)]
    problems = []
    if not code[1]["source"].startswith('profile = "auto"'):
        problems.append('The parameters cell must start with profile = "auto".')
    for name in set(parameters) - {"profile"} - set(block.settings):
        problems.append(f"The parameter {name!r} is not among the lesson's settings in profiles.yaml.")
    for name in set(block.settings) - set(parameters):
        problems.append(f"The setting {name!r} of profiles.yaml is not in the parameters cell.")
    return problems


def check_asserts(notebook: Mapping[str, Any]) -> list[str]:
    """Check that each assert has a message: a learner whose cell stops there reads what was expected."""
    problems = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["cell_type"] != "code":
            continue
        try:
            nodes = list(ast.walk(ast.parse(cell["source"])))
        except SyntaxError as error:
            problems.append(f"Cell {number} is not Python: {error}.")
            continue
        for node in nodes:
            if isinstance(node, ast.Assert) and node.msg is None:
                problems.append(f"Cell {number}: the assert in line {node.lineno} has no message.")
    return problems


def check_fresh(notebook: Mapping[str, Any], number: str, root: Path) -> list[str]:
    """Check that code equals the source's, and the text the source's filled with the figures of the run shown."""
    source = sources(root).get(number)
    if source is None:
        return [f"Lesson {number} has no source in notebooks/source."]
    wanted, problems = to_notebook(source), []
    if [cell["cell_type"] for cell in notebook["cells"]] != [cell["cell_type"] for cell in wanted["cells"]]:
        return [f"Its cells are not those of {source.name}; run `course build {number}`."]
    for position, (mine, theirs) in enumerate(zip(code_of(notebook), code_of(wanted)), start=1):
        if mine != theirs:
            problems.append(f"Code cell {position} differs from {source.name}; run `course build {number}`.")
    for position, (cell, theirs) in enumerate(zip(notebook["cells"], wanted["cells"]), start=1):
        if cell["metadata"].get("tags", []) != theirs["metadata"].get("tags", []):
            problems.append(f"Cell {position} has other tags than {source.name}; run `course build {number} --prose`.")
    try:
        recorded = results.load(number, notebook["metadata"].get("course", {}).get("profile", "quick"), root)
    except CourseError as error:
        return [*problems, str(error)]
    if recorded["figures"] != _figures(notebook):
        problems.append("The figures in its outputs are not the recorded ones; rebuild the lesson.")
    figures = with_study_time(quotes(number, recorded, root), wanted, notebook)
    for position, (cell, theirs) in enumerate(zip(notebook["cells"], wanted["cells"]), start=1):
        if cell["cell_type"] == "code":
            continue
        try:
            expected = prose.render(theirs["source"], figures)
        except CourseError as error:
            problems.append(f"Cell {position}: {error}")
            continue
        if cell["source"] != expected:
            problems.append(
                f"Cell {position}: the text is not the source's with the recorded figures: "
                f"{_first_difference(cell['source'], expected)}; run `course build {number} --prose`."
            )
    return problems


def _first_difference(mine: str, expected: str) -> str:
    for a, b in zip(mine.split("\n"), expected.split("\n")):
        if a != b:
            return f"{a[:80]!r} instead of {b[:80]!r}"
    return "lines were added or are missing"


def _figures(notebook: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            found |= output.get("data", {}).get(notes.FIGURES, {})
    return found


def _texts(output: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give each text of an output with its kind; pictures are left out."""
    if "text" in output:
        yield output["name"], "".join(output["text"])
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/"):
            yield kind, "".join(value)


def main(arguments: list[str] | None = None) -> int:
    """Print what is wrong with the committed notebooks, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="numbers such as 1 3; all if omitted")
    try:
        root = find_root()
        chosen = choose(parser.parse_args(arguments).lessons, notebooks(root))
    except CourseError as error:
        print(f"lint_notebooks: {error}", file=sys.stderr)
        return 2
    found = [f"{path.name}: {problem}" for path in chosen.values() for problem in check_all(path, root)]
    print("\n".join(found) or f"{len(chosen)} notebook{'s' if len(chosen) != 1 else ''} in order")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
