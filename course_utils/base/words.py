"""Did you mean …? The closest of the known names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'epochs'?" when something in `known` is close to `name`, else an empty text."""
    match = difflib.get_close_matches(name, [str(item) for item in known], n=1)
    return f"; did you mean {match[0]!r}?" if match else ""
