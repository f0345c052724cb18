"""Text that quotes recorded figures: `{{test_accuracy:.1%}}` and `{{full.seconds:.0f}}` are filled by a build."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from course_utils.base.words import NO_BREAK, closest, in_form
from course_utils.errors import SettingError

PLACEHOLDER = re.compile(r"\{\{\s*((?:[a-z]+\.)?[a-z][a-z0-9_]*)\s*(?::([^{}]*))?\}\}")


def quotable(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything of a recorded run that prose may quote: its figures and `RUN_FIGURES`."""
    hardware, versions = recorded.get("hardware", {}), recorded.get("versions", {})
    own = {
        "seconds": recorded["seconds"],
        "minutes": recorded["seconds"] / 60,
        "peak_memory_mb": recorded.get("peak_memory_mb"),
        "cores": hardware.get("cores"),
        "processor": hardware.get("processor"),
        "gpu": hardware.get("gpu") or "none",
        "torch": versions.get("torch"),
        "date": recorded.get("date"),
    }
    return {**recorded["figures"], **own}


def placeholders(text: str) -> list[str]:
    """Return the names that `text` quotes, such as `["test_accuracy", "full.seconds"]`."""
    return [match.group(1) for match in PLACEHOLDER.finditer(text)]


def render(text: str, figures: Mapping[str, Any], missing: str | None = None) -> str:
    """Fill each `{{name:format}}` in `text` from `figures`; the format is Python's, such as `.1%` or `,`.

    Shares get a space before the percent sign that no line breaks at.

    A figure of another profile's run is called `quick.name` or `full.name` and must be in `figures` under that name.
    One of this run that is not there becomes `missing`, where that is given.

    Raises:
        SettingError: for a figure that is not there, or a format that does not suit it.
    """

    def fill(match: re.Match[str]) -> str:
        name, specification = match.group(1), match.group(2) or ""
        if name not in figures and missing is not None and "." not in name:
            return missing
        if name not in figures:
            hint = closest(name, figures)
            known = ", ".join(sorted(other for other in figures if "." not in other)) or "none"
            raise SettingError(
                f"The text quotes {{{{{name}}}}}, which is not recorded{hint}; the recorded ones are {known}."
            )
        try:
            return in_form(figures[name], specification, NO_BREAK)
        except (ValueError, TypeError) as error:
            raise SettingError(
                f"The text quotes {match.group(0)}, but {figures[name]!r} cannot be shown that way: {error}."
            ) from error

    return PLACEHOLDER.sub(fill, text)
