"""The few statements of a notebook that an answer needs: its own, its imports, the helpers and constants it uses.

Nothing runs here. Names are followed through the whole notebook: a statement is needed when it gives a value to a name
that is needed, or changes what the name stands for (`table["a"] = 1`, `found.append(2)`), inside a loop too.
"""

from __future__ import annotations

import ast
import builtins
import codeop
import dis
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType

CELL_MAGIC = re.compile(r"\A\s*%%(\w*).*")
# Cell magics whose body is ordinary Python of the notebook's own; other bodies (%%bash, %%html) are not.
TIMED = ("time", "timeit", "capture", "prun")
# `%time x = f()` and `x = %time f()` do what they do without it.
TIMED_LINE = re.compile(r"\A((?:[\w\s,.\[\]*]+=)?\s*)%(?:time|prun)\s+(?=\S)")
# Lines for IPython: %magic, !shell, ?help and help? do nothing here, and what `files = !ls` gives is not to be had.
LINE = re.compile(r"\A(\s*)(?:[%!?]|[\w.]+\?)|\A([\w\s,.\[\]*]+=\s*)[%!]")
BY_RUNNING = ("exec", "globals", "locals", "vars", "setattr")  # they can bind a name that no statement shows
FILE = "<cell {}>"  # the name under which Python knows a cell's code
MOST_TRANSFORMED = 5_000  # characters of a cell that IPython itself is asked about
MOST_SECONDS = 10.0  # for reading all cells of a notebook: each line with a magic is another attempt at its cell


@dataclass(frozen=True)
class Statement:
    """One statement at the top level of a cell."""

    cell: int
    source: str  # the whole cell's, as `inspect.getsource` and TorchScript ask for it
    code: CodeType
    binds: frozenset[str]  # names that get a value
    uses: frozenset[str]  # names that it, or a function defined by it, looks up
    changes: frozenset[str]  # names whose value it may change
    function: bool  # a def, a class, or an assigned lambda
    imports: frozenset[str] = frozenset()  # top-level packages


@dataclass(frozen=True)
class Cut:
    """What an answer needs, in the notebook's order; no statements when the notebook does not define it."""

    name: str
    statements: tuple[Statement, ...] = ()
    problem: str = ""  # one sentence when a damaged cell seems to hold it


def statements(cells: Iterable[tuple[int, str]]) -> tuple[list[Statement], dict[int, str]]:
    """Return the top-level statements of all cells, and for each cell that is not Python, why.

    Lines with %magic and !shell do nothing, but `%time` and `%%time` run what they time, as in Jupyter.
    """
    found, broken = [], {}
    compiler = codeop.Compile()  # what a cell imports from __future__ holds for later ones too
    compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    last = time.monotonic() + MOST_SECONDS
    for number, source in cells:
        try:
            tree, text = _tree(source, last)
            for node in tree.body:
                found.append(_statement(number, text, node, compiler))
        except (RecursionError, MemoryError):
            broken[number] = "it is too deeply nested"
        except (SyntaxError, ValueError, RuntimeError) as error:  # a null byte; IPython gives up
            line = f"line {error.lineno}: " if getattr(error, "lineno", None) else ""
            broken[number] = f"{line}{getattr(error, 'msg', error)}"
    return found, broken


def cut(
    name: str, all_statements: Sequence[Statement], cells: Sequence[tuple[int, str]], broken: Mapping[int, str]
) -> Cut:
    """Return what the answer `name` needs. Of several definitions the last counts, as after running all cells.

    Args:
        name: of the exercise.
        all_statements: from `statements`, as is `broken`.
        cells: the notebook's code cells, to find an answer in one that is not Python.
    """
    bound = [index for index, each in enumerate(all_statements) if name in each.binds]
    functions = [index for index in bound if all_statements[index].function]
    if not bound:
        for number, source in cells:
            if number in broken and re.search(rf"^[ \t]*(?:def[ \t]+{name}\b|{name}[ \t]*=)", source, re.MULTILINE):
                return Cut(name, problem=f"Cell {number}, which holds it, is not Python: {broken[number]}.")
            if number not in broken and re.search(rf"\b(?:{'|'.join(BY_RUNNING)})\b.*\b{name}\b", source, re.DOTALL):
                return Cut(name, problem=f"Cell {number} seems to make it while it runs; write it with def or =.")
        return Cut(name)
    # A def counts before `accuracy = accuracy(...)`, with which a learner tries it out.
    chosen = {(functions or bound)[-1]}
    imported = {each for statement in all_statements if statement.imports for each in statement.binds}
    # `from x import *` may bind anything.
    stars = {index for index, each in enumerate(all_statements) if each.imports and not each.binds}
    binders, changers = defaultdict(set), defaultdict(set)
    for index, each in enumerate(all_statements):
        for given in each.binds:
            binders[given].add(index)
        for changed in each.changes:
            changers[changed].add(index)
    waiting, seen = [*all_statements[max(chosen)].uses], {name}
    while waiting:
        wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        binding = set(binders[wanted])
        if not binding and not hasattr(builtins, wanted):
            binding = stars
        elif wanted not in imported:  # nn.init.zeros_(x) does not change nn
            binding |= changers[wanted]
        for index in binding - chosen:
            waiting += all_statements[index].uses
        chosen |= binding
    return Cut(name, tuple(all_statements[index] for index in sorted(chosen)))


def _tree(source: str, last: float) -> tuple[ast.Module, str]:
    """Return a cell's statements and its text without magics, line for line as it was.

    A cell that is Python already stays; else the line that Python stops at is looked at, until Python takes the cell.
    Only what remains is IPython's: to transform a cell with some thousand magics takes it minutes.
    """
    magic = CELL_MAGIC.match(source)
    if magic:
        if magic[1] not in TIMED:
            return ast.Module([], []), ""
        source = "\n" * source.count("\n", 0, magic.end()) + source[magic.end() :]
    lines, given = source.split("\n"), False
    while True:
        text = "\n".join(lines)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as an invalid escape in a learner's text
                return ast.parse(text), text
        except SyntaxError as error:
            if not _replaced(lines, (error.lineno or 0) - 1):
                if given or len(text) > MOST_TRANSFORMED:
                    raise
                from IPython.core.inputtransformer2 import TransformerManager

                given, lines = True, TransformerManager().transform_cell(text).split("\n")
        if time.monotonic() > last:
            raise ValueError("it has more lines with magics than can be read in time")


def _replaced(lines: list[str], number: int) -> bool:
    """Replace the line, with those that continue it, where it is for IPython; tell whether it is."""
    found = LINE.match(lines[number]) if 0 <= number < len(lines) else None
    if not found:
        return False
    timed = TIMED_LINE.match(lines[number])
    if timed:
        lines[number] = timed[1] + lines[number][timed.end() :]
        return True
    continued = lines[number].endswith("\\")
    lines[number] = f"{found[1]}pass" if found[2] is None else f"{found[2]}get_ipython().shell"
    while continued and number + 1 < len(lines):
        number += 1
        continued = lines[number].endswith("\\")
        lines[number] = ""
    return True


def _statement(cell: int, source: str, node: ast.stmt, compiler: codeop.Compile) -> Statement:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compiler(ast.Module([node], []), FILE.format(cell), "exec")
    is_lambda = isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Lambda)
    imports = set()
    if isinstance(node, ast.Import):
        imports = {alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
        imports = {(node.module or "").partition(".")[0] or "."}
    return Statement(
        cell,
        source,
        code,
        binds=frozenset(step.argval for step in dis.get_instructions(code) if step.opname == "STORE_NAME"),
        uses=frozenset(_looked_up(code)),
        changes=frozenset(_changed(node)),
        function=is_lambda or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)),
        imports=frozenset(imports),
    )


def _looked_up(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname.startswith("LOAD_") and step.opname.endswith(("NAME", "GLOBAL", "GLOBALS")):
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _looked_up(inner)


def _changed(node: ast.AST) -> Iterator[str]:
    """Give the names at the root of targets such as `a[i]` and `a.b`, and of statements such as `a.append(1)`."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return
    place = None
    if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
        place = node
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        place = node.value.func if isinstance(node.value.func, ast.Attribute) else None
    while isinstance(place, (ast.Subscript, ast.Attribute, ast.Call)):
        place = place.func if isinstance(place, ast.Call) else place.value
    if isinstance(place, ast.Name):
        yield place.id
    for inner in ast.iter_child_nodes(node):
        yield from _changed(inner)
