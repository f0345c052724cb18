"""Controls with a label, a width that fits, and full use by keyboard: ipywidgets' core controls and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

STYLE = {"description_width": "initial"}  # as wide as its words in whatever font; `panel.LOOK` sets the least width
LAYOUT = {"width": "auto", "max_width": "100%"}  # in a grid, as long as there is room
MANY = 4  # controls up to which each has a line of its own


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
    """Return a list to choose from; `options` are texts, or pairs of a text and a value. The first one is chosen.

    Raises:
        ValueError: when there are no options, or `value` is none of them.
    """
    values = [option[1] if isinstance(option, tuple) else option for option in options]
    if not values:
        raise ValueError(f"There is no {label} to choose; give one or more.")
    value = values[0] if value is None else value
    if value not in values:
        raise ValueError(f"There is no {label} {value!r}; choose one of: {', '.join(map(str, values))}.")
    return ipywidgets.Dropdown(options=options, value=value, description=label, style=STYLE, layout=LAYOUT)


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
        layout={"width": "auto"},
    )


def button(label: str, action: Callable[[], None], icon: str = "") -> ipywidgets.Button:
    """Return a button that calls `action`."""
    made = ipywidgets.Button(description=label, icon=icon, layout={"width": "auto"})
    made.on_click(lambda _: action())
    return made


def upload(label: str, endings: Sequence[str]) -> ipywidgets.FileUpload:
    """Return a button that lets the reader choose a file with one of `endings`, such as ".jpg"."""
    return ipywidgets.FileUpload(accept=",".join(endings), multiple=False, description=label, layout={"width": "auto"})


def grid(*members: ipywidgets.Widget) -> ipywidgets.GridBox:
    """Return `members` below each other, or in two columns where there are many and the window is wide."""
    columns = "minmax(0, 1fr)" if len(members) <= MANY else "repeat(auto-fit, minmax(min(100%, 20em), 1fr))"
    made = ipywidgets.GridBox(members, layout={"grid_template_columns": columns, "width": "100%"})
    made.add_class("course-grid")
    return made


def row(*members: ipywidgets.Widget) -> ipywidgets.Box:
    """Return `members`, such as buttons, in a row that wraps where the window is narrow."""
    made = ipywidgets.Box(members, layout={"flex_flow": "row wrap", "align_items": "center", "width": "100%"})
    made.add_class("course-row")
    return made


def stack(*members: ipywidgets.Widget) -> ipywidgets.VBox:
    """Return `members`, such as a grid and a row of buttons, below each other."""
    return ipywidgets.VBox(members, layout={"width": "100%"})
