"""Did you mean …? The closest of the known names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'epochs'?" when something in `known` is close to `name`, else an empty text."""
    match = nearest(name, known)
    return "" if match is None else f"; did you mean {match!r}?"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return what in `known` is closest to `name`; None where nothing is close."""
    match = difflib.get_close_matches(name, [str(item) for item in known], n=1)
    return match[0] if match else None
