"""The few statements of a notebook that an answer needs: its own, its imports, the helpers and constants it uses.

Nothing runs here. Names are followed as when all cells run up to the answer's check: a statement is needed when it
gives a value to a name that is needed, or changes what the name stands for (`table["a"] = 1`, `found.append(2)`),
inside a loop or one of the notebook's own functions too. What comes after the check counts only for names that have no
value before it.
"""

from __future__ import annotations

import ast
import builtins
import codeop
import dataclasses
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
# What runs or loads code from elsewhere, which may bind any name.
ELSEWHERE = re.compile(r"^[ \t]*%(?:run|load|loadpy|store)\b|\b(?:run_line_magic|exec)\b", re.MULTILINE)
BY_RUNNING = ("exec", "globals", "locals", "vars", "setattr")  # they can bind a name that no statement shows
FILE = "<cell {}>"  # the name under which Python knows a cell's code
# Methods that change what they belong to, wherever they stand; a call that is a whole statement counts anyway. So do
# those that end in _, as PyTorch's do, with their first argument too: nn.init.zeros_(x).
METHODS = ("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove",
           "reverse", "setdefault", "sort", "update")  # fmt: skip
FUNCTIONS = ("delattr", "heappush", "next", "setattr", "shuffle")  # that change their first argument
MOST_FOLLOWED = 1_000_000  # steps to follow such calls; no notebook written by hand comes near
DEEPEST = 10  # calls of functions by functions, through which changes are followed
MOST_TRANSFORMED = 5_000  # characters of a cell that IPython itself is asked about
MOST_SECONDS = 10.0  # for reading all cells of a notebook: each line with a magic is another attempt at its cell


Handed = tuple[int | str | None, str]  # the place or keyword, and the name at the root of what is handed over


@dataclass(frozen=True)
class Call:
    """One call of a function by its name."""

    function: str
    handed: tuple[Handed, ...]


@dataclass(frozen=True)
class Inside:
    """What a function does to what is not its own."""

    name: str
    parameters: tuple[str, ...]  # by place
    own: frozenset[str]  # all its variables
    changes: frozenset[str]  # names, parameters among them, whose value it may change
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Statement:
    """One statement at the top level of a cell."""

    cell: int
    source: str  # the whole cell's, as `inspect.getsource` and TorchScript ask for it
    code: CodeType
    binds: frozenset[str]  # names that get a value
    uses: frozenset[str]  # names that it, or a function defined by it, looks up
    changes: frozenset[str]  # names whose value it may change
    function: bool  # a def, a class, or an assigned lambda, that does something
    imports: frozenset[str] = frozenset()  # top-level packages
    loads: frozenset[str] = frozenset()  # top-level packages that it imports, inside functions too
    checks: tuple[tuple[str, str], ...] = ()  # the exercises that it checks, and the name that each is handed
    calls: tuple[Call, ...] = ()  # of functions, outside those that it defines
    inside: Inside | None = None  # of a function
    blank: bool = False  # a def that does nothing yet, or a name that is given None or `...`
    alias: str = ""  # the name whose value it gives to others: accuracy = mine


@dataclass(frozen=True)
class Cut:
    """What an answer needs, in the notebook's order; no statements when the notebook does not define it."""

    name: str
    statements: tuple[Statement, ...] = ()
    problem: str = ""  # one sentence when a damaged cell seems to hold it
    elsewhere: bool = False  # whether the notebook runs code from elsewhere, which may have given names a value


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
    return _with_changes_by_calls(found), broken


def cut(
    name: str, all_statements: Sequence[Statement], cells: Sequence[tuple[int, str]], broken: Mapping[int, str]
) -> Cut:
    """Return what the answer to an exercise needs.

    Of several definitions the last counts, as after running all cells, but a blank one only where there is no other.
    It has the exercise's name; where the notebook gives that name no answer, it has the one that the check is handed:
    `exercises.lesson1.perfect_rate.check(my_rate)`.

    Args:
        name: of the exercise.
        all_statements: from `statements`, as is `broken`.
        cells: the notebook's code cells, to find an answer in one that is not Python.
    """
    checked = [(index, given) for index, each in enumerate(all_statements) for of, given in each.checks if of == name]
    if all(each.blank for each in all_statements if name in each.binds):
        name = next((given for _, given in reversed(checked) if given), name)
    bound = [index for index, each in enumerate(all_statements) if name in each.binds]
    written = {each for statement in all_statements if statement.function for each in statement.binds}
    functions = [index for index in bound if all_statements[index].function or all_statements[index].alias in written]
    blank = [index for index in bound if all_statements[index].blank]
    if not bound:
        for number, source in cells:
            if number in broken and re.search(rf"^[ \t]*(?:def[ \t]+{name}\b|{name}[ \t]*=)", source, re.MULTILINE):
                return Cut(name, problem=f"Cell {number}, which holds it, is not Python: {broken[number]}.")
            by_running = re.search(rf"\b(?:{'|'.join(BY_RUNNING)})\b.*\b{name}\b", source, re.DOTALL)
            if number not in broken and (by_running or (checked and ELSEWHERE.search(source))):
                return Cut(name, problem=f"Cell {number} seems to make it while it runs; write it with def or =.")
        return Cut(name)
    # A def counts before `accuracy = accuracy(...)`, with which a learner tries it out.
    answer = (functions or blank or bound)[-1]
    cell = all_statements[answer].cell
    end = max(index for index, each in enumerate(all_statements) if each.cell == cell)
    end = next((index for index, given in reversed(checked) if index > answer and given == name), end)
    chosen = {answer}
    imported = {each for statement in all_statements if statement.imports for each in statement.binds}
    # `from x import *` may bind anything.
    stars = {index for index, each in enumerate(all_statements) if each.imports and not each.binds}
    binders, changers = defaultdict(set), defaultdict(set)
    for index, each in enumerate(all_statements):
        for given in each.binds:
            binders[given].add(index)
        for changed in each.changes:
            changers[changed].add(index)
    waiting, seen = [*all_statements[answer].uses], {name}
    while waiting:
        wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        binding, changing = binders[wanted], changers[wanted]
        if min(binding, default=end + 1) <= end:
            binding, changing = ({index for index in found if index <= end} for found in (binding, changing))
        elif hasattr(builtins, wanted):
            continue
        elif not binding:
            binding = stars
        if wanted not in imported:  # nn.init.zeros_(x) does not change nn
            binding = binding | changing
        for index in binding - chosen:
            waiting += all_statements[index].uses
        chosen |= binding
    elsewhere = any(ELSEWHERE.search(source) for _, source in cells)
    return Cut(name, tuple(all_statements[index] for index in sorted(chosen)), elsewhere=elsewhere)


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
    blank = _is_blank(node)
    is_lambda = isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Lambda)
    loads = {package for inner in ast.walk(node) for package in _packages(inner)}
    return Statement(
        cell,
        source,
        code,
        binds=frozenset(step.argval for step in dis.get_instructions(code) if step.opname == "STORE_NAME"),
        uses=frozenset(_looked_up(code)),
        changes=frozenset(_changed(node)),
        function=is_lambda or (isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not blank),
        imports=frozenset(_packages(node)),
        loads=frozenset(loads),
        checks=tuple(_checks(node)),
        calls=tuple(_calls(node)),
        inside=_inside(node, code),
        blank=blank,
        alias=node.value.id if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) else "",
    )


def _packages(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield (node.module or "").partition(".")[0] or "."


def _checks(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Give for each `exercises.lesson1.perfect_rate.check(rate)` the exercise, and the name or an empty text."""
    for call in ast.walk(node):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr=exercise), attr="check"), args=[given, *_]):
                yield exercise, given.id if isinstance(given, ast.Name) else ""


def _is_blank(node: ast.stmt) -> bool:
    """Tell whether a statement leaves an answer blank, as the lessons' own cells do."""
    if isinstance(node, ast.Assign):
        return _is_nothing(node.value)
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and all(
        isinstance(each, ast.Pass)
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        or (isinstance(each, ast.Return) and (each.value is None or _is_nothing(each.value)))
        for each in node.body
    )


def _is_nothing(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value in (None, ...)


def _looked_up(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname.startswith("LOAD_") and step.opname.endswith(("NAME", "GLOBAL", "GLOBALS")):
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _looked_up(inner)


def _changed(node: ast.AST) -> Iterator[str]:
    """Give the names at the root of what a statement changes: `a[i] = 1`, `a.b = 1`, `a.append(1)`, `zeros_(a)`."""
    for each in _running(node):
        if isinstance(each, (ast.Subscript, ast.Attribute)) and not isinstance(each.ctx, ast.Load):
            yield from _root(each)
        elif isinstance(each, ast.Expr) and isinstance(each.value, ast.Call):
            yield from _root(each.value.func) if isinstance(each.value.func, ast.Attribute) else ()
        elif isinstance(each, ast.Call):
            method = isinstance(each.func, ast.Attribute)
            called = each.func.attr if method else getattr(each.func, "id", "")
            in_place = called.endswith("_") and not called.endswith("__")
            if method and (called in METHODS or in_place):
                yield from _root(each.func)
            if (called in FUNCTIONS or in_place) and each.args and not isinstance(each.args[0], ast.Call):
                yield from _root(each.args[0])


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Give a statement's nodes that run with it, so none inside a function that it defines."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        yield node
        for inner in ast.iter_child_nodes(node):
            yield from _running(inner)


def _root(place: ast.AST) -> Iterator[str]:
    """Give the `a` of `a.b[0].c().d`; nothing for what has no name."""
    while isinstance(place, (ast.Subscript, ast.Attribute, ast.Call)):
        place = place.func if isinstance(place, ast.Call) else place.value
    if isinstance(place, ast.Name):
        yield place.id


def _calls(node: ast.AST) -> Iterator[Call]:
    """Give the calls of functions by their names that run with a statement, and what names they are handed."""
    for each in _running(node):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name):
            handed = [*enumerate(each.args), *((word.arg, word.value) for word in each.keywords)]
            handed = [(place, value) for place, value in handed if not isinstance(value, ast.Call)]
            yield Call(each.func.id, tuple((place, name) for place, value in handed for name in _root(value)))


def _inside(node: ast.stmt, code: CodeType) -> Inside | None:
    """Return what a function does to what is not its own; None for any other statement."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    own = next((each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == node.name), None)
    if own is None:  # a generic function is further inside
        return None
    sets = {step.argval for step in dis.get_instructions(own) if step.opname == "STORE_GLOBAL"}
    return Inside(
        node.name,
        tuple(each.arg for each in (*node.args.posonlyargs, *node.args.args)),
        frozenset(own.co_varnames + own.co_cellvars),
        frozenset(sets.union(*map(_changed, node.body))),
        tuple(call for each in node.body for call in _calls(each)),
    )


def _with_changes_by_calls(found: list[Statement]) -> list[Statement]:
    """Return the statements with what they change by calling the notebook's own functions, such as `fill(table)`."""
    every = [(each.inside, set(each.inside.changes)) for each in found if each.inside]
    functions = defaultdict(list)  # by name: what is inside, and what that changes
    for inside, names in every:
        functions[inside.name].append((inside, names))
    calls = [call for each in (*found, *(inside for inside, _ in every)) for call in each.calls]
    names = {name for inside, _ in every for name in inside.changes}
    if len(names) * sum(len(functions.get(call.function, ())) for call in calls) > MOST_FOLLOWED:
        return found

    def changed(call: Call) -> Iterator[str]:
        for inside, names in functions.get(call.function, ()):
            yield from names - inside.own
            for place, name in call.handed:
                if isinstance(place, int):
                    place = inside.parameters[place] if place < len(inside.parameters) else ""
                if place in names:
                    yield name

    for _ in range(DEEPEST):
        before = sum(len(names) for _, names in every)
        for inside, names in every:
            names.update(*map(changed, inside.calls))
        if before == sum(len(names) for _, names in every):
            break
    return [
        dataclasses.replace(each, changes=each.changes.union(*map(changed, each.calls))) if each.calls else each
        for each in found
    ]
