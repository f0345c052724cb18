"""A note under a cell: text for the reader, with data for the runner."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

FIGURES, SETTINGS, SOURCE = (f"application/vnd.course.{name}+json" for name in ("figures", "settings", "source"))
MARK = "COURSE_RUN"  # environment variable of a kernel that `course run` or `course build` has started: their page


def show_note(
    text: str,
    kind: str,
    payload: Mapping[str, Any],
    html_text: str | None = None,
    view: Mapping[str, Any] | None = None,
) -> None:
    """Show `text` under a cell with `payload` attached as data of MIME type `kind`; outside a notebook, print it.

    `kind` is one of this module's `FIGURES`, `SETTINGS` (a mapping of a lesson's settings) and `SOURCE` (with "name",
    "kind" and "description" of a data set). The runner collects each. `view` is a widget's data, for live front ends.
    """
    # No IPython loaded means no notebook around us, and importing it only to print would cost half a second.
    shell = notebook_shell()
    if shell is None:
        print(text)
        return
    from IPython.display import display

    shell.course_told = {**getattr(shell, "course_told", {}), kind: dict(payload)}  # lives as long as the kernel
    bundle: dict[str, Any] = {**(view or {}), "text/plain": text, kind: dict(payload)}
    if html_text:
        bundle["text/html"] = html_text
    display(bundle, raw=True)


def told(kind: str) -> dict[str, Any] | None:
    """Return the data of the last note of MIME type `kind` in this kernel, or None."""
    return getattr(notebook_shell(), "course_told", {}).get(kind)


def is_live() -> bool:
    """Tell whether somebody sits before this kernel: it is a notebook's, and makes no page of the course."""
    return notebook_shell() is not None and not makes_the_page()


def notebook_shell() -> Any:
    """Return the shell of a notebook's kernel, or None where this is none."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if hasattr(shell, "kernel") else None


def makes_the_page() -> bool:
    """Tell whether what this kernel shows becomes the page itself, so that no other run stands on it."""
    return bool(os.environ.get(MARK))
