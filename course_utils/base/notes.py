"""A note under a cell: text for the reader, with data for the runner."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

FIGURES, SETTINGS, SOURCE = (f"application/vnd.course.{name}+json" for name in ("figures", "settings", "source"))


def show_note(text: str, kind: str, payload: Mapping[str, Any], html_text: str | None = None) -> None:
    """Show `text` under a cell with `payload` attached as data of MIME type `kind`; outside a notebook, print it.

    `kind` is one of this module's `FIGURES`, `SETTINGS` (a mapping of a lesson's settings) and `SOURCE` (with "name",
    "kind" and "description" of a data set). The runner collects each.
    """
    # No IPython loaded means no notebook around us, and importing it only to print would cost half a second.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        print(text)
        return
    from IPython.display import display

    bundle: dict[str, Any] = {"text/plain": text, kind: dict(payload)}
    if html_text:
        bundle["text/html"] = html_text
    display(bundle, raw=True)
