"""Packages that load their modules when somebody asks for one (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType


def on_demand(package: str, names: Sequence[str]) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`: its modules are listed at once, and loaded when first used.

    Args:
        package: its `__name__`.
        names: the modules to offer.
    """

    def load(name: str) -> ModuleType:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(names)}.")
        return importlib.import_module(f"{package}.{name}")

    return load, lambda: list(names)
