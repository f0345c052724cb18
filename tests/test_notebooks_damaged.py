"""Notebooks that are damaged in every way: each reader says so in a sentence, and none fails otherwise.

COURSE_MUTANTS says how many are tried: 150, or 2,000, which takes minutes.
"""

import copy
import json
import os
import random
from pathlib import Path

import pytest

from course_utils.base.lessons import notebooks
from course_utils.command import runner
from course_utils.command.grading import answers, submissions
from course_utils.command.notebooks import execution, normalise
from course_utils.errors import SettingError

ODD = (
    None,
    True,
    -1,
    3.5,
    10**30,
    "",
    "x" * 1000,
    "\ud800\0",
    [],
    {},
    [None],
    [[]],
    {"a": [1]},
    ["%a\n", "!b\n"],
    "def f(:",
)
LESSONS = {"01": ["from_hex"], "03": ["accuracy", "lenet"]}


def mutant(book, chance):
    """Return the bytes of a notebook with some damage."""
    book = copy.deepcopy(book)
    for _ in range(chance.randint(1, 4)):
        place, path = book, []
        while isinstance(place, (dict, list)) and place and (not path or chance.random() < 0.75):
            key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            path.append((place, key))
            place = place[key]
        if not path:
            continue
        inside, key = path[-1]
        way = chance.random()
        if way < 0.6:
            inside[key] = copy.deepcopy(chance.choice(ODD))
        elif way < 0.8:
            del inside[key]
        elif isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
        else:
            inside[str(key) + "2"] = inside.pop(key)
    content = bytearray(json.dumps(book).encode("utf-8"))
    for _ in range(chance.choice((0, 0, 1, 3))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content[: chance.randrange(len(content))] if chance.random() < 0.1 else content)


def try_all(path, content):
    """Let each reader read a notebook; return which found something to say."""
    path.write_bytes(content)
    said = []
    found = submissions.read(path, LESSONS)
    assert isinstance(found.problem, str) and "\n" not in found.problem
    if found.problem:
        said.append("check")
    statements, broken = answers.statements(found.cells)
    for name in (*LESSONS["01"], *LESSONS["03"]):
        answers.cut(name, statements, found.cells, broken)
    try:
        runner.plan([str(path)])
    except SettingError as error:
        said.append("run")
        assert "\n" not in str(error).strip() and "Error(" not in str(error)
    result = execution.Execution("passed", 1.0, notebook=execution._read(path))
    if "run" not in said:
        execution.collect(result)
        normalise.to_json(normalise.normalised(result.notebook, "03", {}, Path("/")))
    return said


@pytest.fixture(scope="module")
def books():
    paths = [*notebooks().values()][:3] + sorted((Path(__file__).parent / "planted").glob("*.ipynb"))
    found = [json.loads(path.read_text("utf-8")) for path in paths]
    for book in found:  # no pictures: damage there is `smaller_png`'s
        for cell in book["cells"]:
            cell["outputs"] = [o for o in cell.get("outputs", ()) if "image/png" not in o.get("data", {})][:2]
        book["cells"] = book["cells"][:12]
    return found


def test_no_reader_of_notebooks_fails_otherwise_than_in_a_sentence(books, tmp_path):
    chance, said = random.Random(int(os.environ.get("COURSE_SEED", "5"))), []
    for number in range(int(os.environ.get("COURSE_MUTANTS", "150"))):
        content = mutant(chance.choice(books), chance)
        try:
            said += try_all(tmp_path / "a.ipynb", content)
        except Exception as error:
            raise AssertionError(f"mutant {number}: {content[:300]!r}") from error
    assert said.count("check") > 10 and said.count("run") > 10
