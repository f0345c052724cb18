"""No cell of a lesson lets an error pass unseen."""

import ast
from pathlib import Path

import pytest

from course_utils.base import lessons

SOURCES = list(lessons.sources(Path(__file__).resolve().parent.parent).values())


def says_nothing(statement):
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def swallowed(code):
    """Return the lines of `code` that let an error pass: any at all, or one of which nothing is made."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ExceptHandler):
            kinds = {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)} if node.type else set()
            if not kinds or kinds & {"Exception", "BaseException"} or all(map(says_nothing, node.body)):
                found.append(node.lineno)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "suppress":
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_lesson_swallows_an_error(path):
    assert swallowed(path.read_text(encoding="utf-8")) == []


HOW = [
    "except Exception:\n    print(1)",
    "except:\n    x = 1",
    "except ValueError:\n    pass",
    "except ValueError:\n    ...",
    "except (KeyError, BaseException) as e:\n    print(e)",
]


@pytest.mark.parametrize("how", HOW)
def test_a_swallowed_error_is_found(how):
    assert swallowed(f"try:\n    clothes.no_such_method()\n{how}") == [3]
    assert swallowed("with contextlib.suppress(ValueError):\n    pass") == [1]
    assert swallowed("try:\n    x\nexcept ValueError as error:\n    print(told(error))") == []
