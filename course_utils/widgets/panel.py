"""What all live figures share: a picture with a sentence below it, errors in one sentence, and a static copy."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets
from matplotlib.figure import Figure

from course_utils import figures
from course_utils.errors import CourseError

VIEW = "application/vnd.jupyter.widget-view+json"
STRICT = "COURSE_STRICT"  # set in tests: what a learner would read as a sentence is raised
ERROR_CLASS = "course-error"  # of the widget that shows an error; the runner looks for it
LOOK = (
    "<style>.course-picture{border-radius:4px;background:#fff}.course-panel{overflow:hidden}"
    ".course-panel .widget-label{min-width:1.5em}"
    ".course-panel :is(.widget-slider,.widget-dropdown)>.widget-label{min-width:7.5em}"
    ".course-caption .widget-html-content,.course-caption{line-height:1.45}"
    ".course-error .widget-html-content{line-height:1.45;white-space:normal}</style>"
)


class Run(Protocol):
    """What goes on in the background, as far as a panel knows it: it can be ended (`live_run.LiveRun`)."""

    def close(self) -> None:
        """End it."""


class LivePanel(ipywidgets.VBox):
    """Controls above a picture, a sentence below it, and a place for an error.

    A subclass calls `redraw`, wraps what a control sets off in `attempt`, and gives the static copy.
    """

    run: Run | None = None  # in panels that have something going on in the background; ends with the panel

    def __init__(self, controls: ipywidgets.Widget, size: tuple[float, float], photograph: bool = False) -> None:
        width = f"{round(size[0] * figures.SHOWN_DPI)}px"
        layout = {"width": width, "max_width": "100%", "height": "auto", "align_self": "flex-start", "margin": "4px 0"}
        self._size, self._photograph = size, photograph
        self.error: Exception | None = None  # what went wrong at the last move, if anything did
        self.picture = ipywidgets.Image(format="jpeg" if photograph else "png", layout=layout)
        self.picture.add_class("course-picture")
        self.caption = ipywidgets.HTML(layout={"width": width, "max_width": "100%"})
        self.caption.add_class("course-caption")
        self.alert = ipywidgets.HTML(layout={"display": "none", "max_width": "100%"})
        self.alert.add_class(ERROR_CLASS)
        self.sentence = ""
        look = ipywidgets.HTML(LOOK, layout={"display": "none"})
        super().__init__([look, controls, self.alert, self.picture, self.caption], layout={"width": "100%"})
        self.add_class("course-panel")

    def redraw(self, draw: Callable[[Figure], None], sentence: str) -> None:
        """Show what `draw` draws into an empty figure of the panel's size, and what it shows in words."""
        with figures.style():
            # No automatic layout: it takes longer than everything else together.
            figure = Figure(figsize=self._size, layout="none")
            draw(figure)
            image = figures.to_live_image(figure, self._photograph)
        self.show(image, sentence)

    def show(self, image: bytes, sentence: str) -> None:
        """Show a new picture and what it shows in words, and take a shown error away."""
        self.error = None
        if self.alert.value:
            self.alert.value, self.alert.layout.display = "", "none"
        self.picture.value = image
        if sentence != self.sentence:
            self.sentence = sentence
            self.caption.value = f'<span role="status" aria-live="polite">{html.escape(sentence)}</span>'

    def say(self, sentence: str) -> None:
        """Show `sentence` as an error, above the last good picture."""
        frame = f"border-left:4px solid {figures.RED};padding:0.2em 0.8em"
        self.alert.layout.display = None
        self.alert.value = f'<div role="alert" style="{frame}">{html.escape(sentence)}</div>'

    def attempt(self, action: Callable[[], None]) -> None:
        """Do what a control asks for; an exception becomes one sentence for the learner, and is raised in tests."""
        try:
            action()
        except Exception as error:  # nobody else would see it: Jupyter hides errors of callbacks
            self.report(error)
            if strict():
                raise

    def report(self, error: Exception) -> None:
        """Show an exception as one sentence for the learner, and keep it in `error`."""
        self.error = error
        self.say(sentence_of(error))

    def close(self) -> None:
        """End a run in the background, and take the panel away."""
        if self.run is not None:
            self.run.close()
        super().close()

    def _static(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the static copy: data and metadata by MIME type."""
        raise NotImplementedError

    _ipython_display_ = None  # ipywidgets 7 would pass the bundle below by

    def _repr_mimebundle_(self, *_: object, **__: object) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = self._static()
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {VIEW: view, **data}, metadata


def strict() -> bool:
    """Whether errors of callbacks are raised, as in tests, and not only shown to the learner."""
    return os.environ.get(STRICT) == "1"


def sentence_of(error: Exception) -> str:
    """Return an error as one sentence for a learner."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, (CourseError, ValueError)) and text:
        return text
    return f"This setting does not work: {type(error).__name__}{f': {text}' if text else ''}."
