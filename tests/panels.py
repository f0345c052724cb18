"""Helpers for tests of widgets: find every control of a panel and move it to several values."""

import gc

import ipywidgets
from matplotlib.figure import Figure

from course_utils.figures import LiveCanvas


def every_control(panel):
    """Return all that a learner can operate in a panel: sliders, lists, boxes, fields, buttons, uploads."""
    found, waiting = [], [panel]
    while waiting:
        widget = waiting.pop(0)
        waiting.extend(getattr(widget, "children", ()))
        if isinstance(widget, ipywidgets.Button) or (
            isinstance(widget, ipywidgets.ValueWidget) and not isinstance(widget, (ipywidgets.HTML, ipywidgets.Image))
        ):
            found.append(widget)
    return found


def several_values(control):
    """Return values of a control: both ends and five between (of a field three), or every option there is."""
    if isinstance(control, ipywidgets.Checkbox):
        return [not control.value, control.value]
    if hasattr(control, "options"):
        return [*(value for _, value in control._options_full), control.value]
    if isinstance(control, ipywidgets.FileUpload):
        return [control.value]  # files come from a browser
    if isinstance(control, ipywidgets.FloatText):
        return [-1000.0, -1.0, 0.0, 1 / 3, 1000.0]
    low, high = control.min, control.max
    if isinstance(control, ipywidgets.FloatLogSlider):
        return [control.base ** (low + (high - low) * i / 6) for i in range(7)]
    values = [low + (high - low) * i / 6 for i in range(7)]
    return sorted({round(value) for value in values}) if isinstance(control, ipywidgets.IntSlider) else values


def figures_in_memory():
    """Count matplotlib's figures that are still alive, but for the one that a live panel may keep."""
    gc.collect()
    there = gc.get_objects()
    kept = [thing.figure for thing in there if type(thing) is LiveCanvas]
    return sum(issubclass(type(thing), Figure) for thing in there) - len(kept)


def operate_everything(panel):
    """Move every control to all its values, press every button; return how many different pictures that gave."""
    pictures = {panel.picture.value}
    for control in every_control(panel):
        assert control.description.strip(), f"{control} has no label"
        if isinstance(control, ipywidgets.Button):
            for _ in range(3):
                control.click()
                pictures.add(panel.picture.value)
            continue
        for value in several_values(control):
            control.value = value
            assert panel.error is None and panel.alert.value == ""
            pictures.add(panel.picture.value)
    return len(pictures)
