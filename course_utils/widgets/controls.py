"""Controls with a label, a width that fits, and full use by keyboard: ipywidgets' core controls and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

STYLE = {"description_width": "initial"}  # as wide as its words in whatever font; `panel.LOOK` sets the least width
LAYOUT = {"width": "23em", "max_width": "100%"}


def slider(label: str, value: float, low: float, high: float, step: float, form: str = ".2f") -> ipywidgets.FloatSlider:
    """Return a slider for a number from `low` to `high`; arrow keys move it by `step`, and its number can be typed."""
    return ipywidgets.FloatSlider(
        value=value, min=low, max=high, step=step, description=label, readout_format=form, style=STYLE, layout=LAYOUT
    )


def whole_slider(label: str, value: int, low: int, high: int) -> ipywidgets.IntSlider:
    """Return a slider for a whole number from `low` to `high`."""
    return ipywidgets.IntSlider(value=value, min=low, max=high, description=label, style=STYLE, layout=LAYOUT)


def log_slider(label: str, value: float, low: int, high: int, form: str = ".2g") -> ipywidgets.FloatLogSlider:
    """Return a slider for a positive number from 10**low to 10**high, ten steps to a factor of ten."""
    return ipywidgets.FloatLogSlider(
        value=value, base=10, min=low, max=high, step=0.1, description=label, readout_format=form, style=STYLE,
        layout=LAYOUT,
    )  # fmt: skip


def choice(label: str, options: Sequence[Any], value: Any = None) -> ipywidgets.Dropdown:
    """Return a list to choose from; `options` are texts, or pairs of a text and a value. The first one is chosen."""
    first = options[0][1] if isinstance(options[0], tuple) else options[0]
    return ipywidgets.Dropdown(
        options=options, value=first if value is None else value, description=label, style=STYLE, layout=LAYOUT
    )


def tick(label: str, value: bool = False) -> ipywidgets.Checkbox:
    """Return a box to tick."""
    return ipywidgets.Checkbox(value=value, description=label, indent=False, layout={"width": "auto"})


def number(label: str, value: float, step: float = 1.0) -> ipywidgets.FloatText:
    """Return a small field for one number, with a short label; each change of its text counts at once."""
    return ipywidgets.FloatText(
        value=value,
        step=step,
        description=label,
        continuous_update=True,
        style=STYLE,
        layout={"width": "7em"},
    )


def button(label: str, action: Callable[[], None], icon: str = "") -> ipywidgets.Button:
    """Return a button that calls `action`."""
    made = ipywidgets.Button(description=label, icon=icon, layout={"width": "auto"})
    made.on_click(lambda _: action())
    return made


def upload(label: str, endings: Sequence[str]) -> ipywidgets.FileUpload:
    """Return a button that lets the reader choose a file with one of `endings`, such as ".jpg"."""
    return ipywidgets.FileUpload(accept=",".join(endings), multiple=False, description=label, layout={"width": "auto"})


def row(*members: ipywidgets.Widget) -> ipywidgets.Box:
    """Return `members` in a row that wraps where the window is narrow."""
    return ipywidgets.Box(members, layout={"flex_flow": "row wrap", "align_items": "center", "width": "100%"})
