"""Each section can be run again after the whole: the sections of a notebook, and a run that tries them."""

import json

import pytest

from course_utils.command.notebooks.execution import execute
from course_utils.command.notebooks.sections import run_again, sections


def text(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source, "id": "t"}


def code(source, seconds=0.0):
    return {"cell_type": "code", "metadata": {"seconds": seconds}, "source": source, "outputs": [], "id": "c"}


CELLS = [
    text("# A lesson\n\n### Contents"),
    text("## First\n\n```\n## no section\n```"),
    code("numbers = [1, 2, 3]"),
    code("   "),
    text("#### Part of the first"),
    code("numbers[0]", 5),
    text("Words.\n\n## No code\n\n### Second"),
    code("for numbers in range(3): pass"),
]


def test_a_section_is_the_code_below_a_heading_of_level_two_or_three():
    assert sections(CELLS) == [("First", [2, 5]), ("Second", [7])]


def test_sections_are_run_one_after_another_and_leave_the_cells_as_they_were():
    cells, ran = [dict(cell) for cell in CELLS], []

    def run(cell, place):
        cell["outputs"].append("something")
        cells[place] = cell
        ran.append(place)
        if place == 2:
            raise ValueError("no more")

    done, failed = run_again(cells, 10, lambda cell: cell["metadata"]["seconds"], run)
    assert done == ["First", "Second"] and ran == [2, 7]  # after a failure the section ends
    assert failed == ["the section 'First' cannot be run again: ValueError: no more"]
    assert cells == CELLS
    done, failed = run_again(cells, 4, lambda cell: cell["metadata"]["seconds"], lambda cell, place: None)
    assert (done, failed) == (["Second"], [])  # the first took five seconds


@pytest.mark.processes
@pytest.mark.parametrize("name", ["numbers", "each"])
def test_a_name_used_for_two_things_is_found_by_running_sections_again(tmp_path, name):
    cells = [
        text("# A lesson"),
        code("numbers = [1, 2, 3]"),
        text("## First"),
        code("print(numbers[0])"),
        text("## Second"),
        code(f"for {name} in range(3): pass"),
        text("## Slow"),
        code("import time; time.sleep(1.2); numbers[0]"),
    ]
    cells = [{**cell, "id": f"cell-{place}"} for place, cell in enumerate(cells)]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["execution_count"] = None
    if name == "numbers":
        cells = cells[:-2]  # it would fail in the first run
    path = tmp_path / "two.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    result = execute(path, again=1.0)
    assert result.again == ["First", "Second"]
    if name == "each":
        assert result.passed, result.error
        assert [len(cell.get("outputs", ())) for cell in result.notebook["cells"]] == [0, 0, 0, 1, 0, 0, 0, 1]
    else:
        assert not result.passed
        assert result.error.startswith("the section 'First' cannot be run again: TypeError: 'int' object is not")
    assert execute(path).passed  # once is enough for those who do not ask
