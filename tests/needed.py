"""Which cells of a notebook must run so that others can: by the names that they give and take."""

import ast
import builtins
from collections.abc import Callable, Sequence

SURE = (ast.Assign, ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)  # statements that always give a name


def given(tree: ast.AST) -> set[str]:
    """Return the names that code assigns, defines or imports, wherever in it."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return names


def taken(tree: ast.AST) -> set[str]:
    """Return the names that code uses, functions' own variables among them, without Python's own."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return names - set(vars(builtins))


def needed(sources: Sequence[str], wanted: Callable[[str], bool]) -> list[int]:
    """Return the numbers of the cells for which `wanted` holds, and of those before them that give a name they take.

    What a cell changes in an object that another one made is not seen: a network that only its training fills with
    weights stays as it was made.
    """
    chosen, missing = [], set()
    for number in reversed(range(len(sources))):
        tree = ast.parse(sources[number])
        if wanted(sources[number]) or given(tree) & missing:
            chosen.append(number)
            for statement in tree.body:
                missing -= given(statement) if isinstance(statement, SURE) else set()
            missing |= taken(tree)
    return chosen[::-1]
