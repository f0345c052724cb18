"""Run a lesson's source or tests, and tell for each assert how far it was from failing: its margin.

The two sides of every comparison in an assert are noted (`assert accuracy > 0.8` with an accuracy of 0.87 has a margin
of 0.07), and for `assert_close` the share of the tolerance that was left. Figures are not drawn, and panels, checks and
questions, which claim nothing, are passed over.
"""

from __future__ import annotations

import ast
import contextlib
import math
import operator
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=="}
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
TOLERANCES = {"torch.float32": (1.3e-6, 1e-5)}  # rtol and atol of assert_close, where a lesson names none
EXACT = (1e-7, 1e-7)  # those of float64
SILENT = ("widgets", "exercises")  # a line that is a call of theirs is for a reader


class _Watched(ast.NodeTransformer):
    """Hand the sides of every comparison in an assert to `compared__`, and set parameters of the lesson."""

    def __init__(self, parameters: dict[str, Any], file: str = "") -> None:
        self.parameters, self.file, self.in_assert = parameters, file, False

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        name = node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
        if name in self.parameters and isinstance(node.value, ast.Constant) and node.col_offset == 0:
            node.value = ast.copy_location(ast.Constant(self.parameters[name]), node.value)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        root = node.value
        while isinstance(root, (ast.Call, ast.Attribute)):
            root = root.func if isinstance(root, ast.Call) else root.value
        silent = isinstance(root, ast.Name) and root.id in SILENT
        return ast.copy_location(ast.Pass(), node) if silent else self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.in_assert = True
        node.test = self.visit(node.test)
        self.in_assert = False
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        return node  # its conditions choose what is claimed, and claim nothing

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        signs = [SIGNS.get(type(each)) for each in node.ops]
        if not self.in_assert or None in signs or set(signs) == {"=="}:
            return node
        place = ast.Constant(f"{self.file}{node.lineno}: {ast.unparse(node)}")
        sides = ast.Tuple([node.left, *node.comparators], ast.Load())
        call = ast.Call(ast.Name("compared__", ast.Load()), [place, ast.Constant(tuple(signs)), sides], [])
        return ast.fix_missing_locations(ast.copy_location(call, node))


class Margins(dict[str, float]):
    """The smallest margin of each comparison, by its line and text."""

    def note(self, place: str, margin: float) -> None:
        """Keep `margin` if it is the smallest of its place so far."""
        self[place] = min(margin, self.get(place, math.inf))

    def compared(self, place: str, signs: tuple[str, ...], sides: tuple[Any, ...]) -> Any:
        """Return whether the chain of comparisons holds (of two tensors, for each element), and note how clearly."""
        held: Any = True
        for i, (left, sign, right) in enumerate(zip(sides, signs, sides[1:])):
            with contextlib.suppress(TypeError, ValueError, RuntimeError):  # only numbers have a distance
                distance = right - left if "<" in sign else left - right
                if sign != "==":
                    least = distance.min() if getattr(distance, "ndim", 0) else distance
                    self.note(place + f" ({i + 1})" * (len(signs) > 1), float(least))
            held = COMPARE[sign](left, right)
            if i + 1 < len(signs) and not held:
                break
        return held


def run_source(path: Path, parameters: dict[str, Any]) -> tuple[str, Margins, float]:
    """Run the source at `path` in this process, with these values for its parameters.

    Returns:
        Its error in one line, empty where it ran through; the margins of its asserts; its seconds.
    """
    source, margins = path.read_text(encoding="utf-8"), Margins()
    tree = _Watched(parameters).visit(ast.parse(source))
    start, error = time.perf_counter(), ""
    try:
        with _watching(path, margins):
            exec(compile(tree, str(path), "exec"), {"__name__": "__main__", "compared__": margins.compared})
    except (Exception, SystemExit) as caught:  # noqa: BLE001 - whatever ends a lesson is what we look for
        lines = [frame.lineno for frame in traceback.extract_tb(caught.__traceback__) if frame.filename == str(path)]
        place = f"line {lines[-1]}, {source.splitlines()[lines[-1] - 1].strip()}: " if lines and lines[-1] else ""
        error = f"{place}{type(caught).__name__} {str(caught).partition(chr(10))[0]}".strip()
    return error, margins, time.perf_counter() - start


def run_tests(folder: Path, seed: int) -> tuple[str, Margins, float]:
    """Run the tests in `folder` that are marked `outcome`, with all seeds that they set moved by 1,000 times `seed`.

    Only for a process that ends with it: what it changes in Python and in PyTorch stays changed.

    Returns:
        What failed, in one line, empty where nothing did; the margins of their asserts; its seconds.
    """
    import builtins

    import pytest
    import torch

    margins, failed = Margins(), []

    class Watch:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                failed.append(f"{report.nodeid}: {str(report.longrepr).splitlines()[-1]}")

    def compiled(self: SourceFileLoader, data: bytes, path: str, **options: Any) -> Any:
        if Path(path).parent == folder and Path(path).name.startswith("test_"):
            data = _Watched({}, f"{Path(path).name}, ").visit(ast.parse(data))
            return compile(data, path, "exec", dont_inherit=True)
        return usual(self, data, path, **options)

    usual, manual_seed = SourceFileLoader.source_to_code, torch.manual_seed
    SourceFileLoader.source_to_code = compiled  # type: ignore[assignment, method-assign]
    torch.manual_seed = lambda number: manual_seed(number + 1000 * seed)  # type: ignore[assignment]
    builtins.compared__ = margins.compared  # type: ignore[attr-defined]
    os.chdir(folder.parent)
    start = time.perf_counter()
    code = pytest.main(["-q", "-m", "outcome", "--assert=plain", "-p", "no:cacheprovider", str(folder)], [Watch()])
    seconds = time.perf_counter() - start
    return "; ".join(failed) or ("" if code == 0 else f"pytest ended with exit code {code}"), margins, seconds


@contextlib.contextmanager
def _watching(path: Path, margins: Margins) -> Iterator[None]:
    """Close figures instead of showing them, and note what `assert_close` has left of its tolerance, of 1."""
    import torch
    from matplotlib import pyplot as plt

    from course_utils import figures

    show, assert_close = figures.show, torch.testing.assert_close

    def close(actual: Any, expected: Any, **options: Any) -> None:
        assert_close(actual, expected, **options)
        caller = sys._getframe(1)
        ours, theirs = torch.as_tensor(actual), torch.as_tensor(expected)
        rtol, atol = (
            options.get(name, default)
            for name, default in zip(("rtol", "atol"), TOLERANCES.get(str(ours.dtype), EXACT))
        )
        if caller.f_code.co_filename == str(path) and ours.numel() and rtol + atol:
            ours, theirs = ours.double(), theirs.double()
            used = (ours - theirs).abs() / (atol + rtol * theirs.abs())
            margins.note(f"{caller.f_lineno}: assert_close", 1 - used.nan_to_num(0).max().item())

    replaced: Callable[..., None] = lambda figure, alt, **_: plt.close(figure)  # noqa: E731
    figures.show, torch.testing.assert_close = replaced, close  # type: ignore[assignment]
    try:
        yield
    finally:
        figures.show, torch.testing.assert_close = show, assert_close
