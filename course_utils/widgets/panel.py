"""What all live figures share: a picture with a sentence below it, errors in one sentence, and a static copy."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ipywidgets
from matplotlib.figure import Figure

from course_utils import figures
from course_utils.errors import CourseError

VIEW = "application/vnd.jupyter.widget-view+json"
STRICT = "COURSE_STRICT"  # set in tests, in `course run` and `course build`: errors are raised, static copies are made
NO_SLIDERS = "A picture of what was here: the controls stand in its place where a kernel runs and widgets can be shown."
ERROR_CLASS = "course-error"  # of the widget that shows an error; the runner looks for it
# The card: a frame, controls in a grid, labels as wide as their words, drawings that turn dark with the page.
LOOK = """<style>
.course-panel{container-type:inline-size;position:relative;box-sizing:border-box;overflow:hidden;border-radius:8px;
  border:1px solid var(--jp-border-color2,#bdbdbd);padding:8px 14px 12px}
.course-title{min-height:34px;height:auto}
.course-title b{font-size:1.1em;line-height:1.3;padding:7px 7em 5px 0;display:block}
.course-reset.jupyter-button{position:absolute;top:8px;right:12px}
.course-panel .widget-label{min-width:1.5em}
.course-panel :is(.widget-slider,.widget-dropdown)>.widget-label{min-width:7.5em}
.course-panel :is(.course-grid,.course-row)>*{min-width:0}
.course-square .widget-label{font-size:0;min-width:0;margin:0}
.course-square input{text-align:center}
.course-panel .widget-checkbox{height:auto}
.course-panel .widget-checkbox .widget-label-basic{white-space:normal;height:auto;line-height:1.4}
@container (max-width:440px){
.course-panel .widget-slider{flex-wrap:wrap;height:auto}
.course-panel .widget-slider>.widget-label{flex:1 0 auto;text-align:left}
.course-panel .widget-slider>.slider-container{order:3;flex:1 0 100%}}
.course-picture{border-radius:4px;background:#fff}
.course-caption .widget-html-content,.course-caption{line-height:1.45}
.course-error .widget-html-content{line-height:1.45;white-space:normal}
:is([data-jp-theme-light=false],.vscode-dark,html[theme=dark]) .course-picture{filter:brightness(.9)}
:is([data-jp-theme-light=false],.vscode-dark,html[theme=dark]) .course-drawing{filter:invert(.93) hue-rotate(180deg)}
:is([data-jp-theme-light=false],.vscode-dark,html[theme=dark]) .course-panel select{color-scheme:dark}
</style>"""


class Run(Protocol):
    """What goes on in the background, as far as a panel knows it: it can be ended (`live_run.LiveRun`)."""

    def close(self) -> None:
        """End it."""


class LivePanel(ipywidgets.VBox):
    """A card: title, controls above a picture, a sentence below it, and a place for an error.

    A subclass calls `redraw`, wraps what a control sets off in `attempt`, and gives the static copy.
    """

    run: Run | None = None  # in panels that have something going on in the background; ends with the panel

    def __init__(
        self,
        controls: Sequence[ipywidgets.Widget],
        size: tuple[float, float],
        photograph: bool = False,
        title: str = "",
    ) -> None:
        width = f"{round(size[0] * figures.SHOWN_DPI)}px"
        layout = {"width": width, "max_width": "100%", "height": "auto", "align_self": "flex-start", "margin": "4px 0"}
        self._size, self._photograph = size, photograph
        self.error: Exception | None = None  # what went wrong at the last move, if anything did
        self.picture = ipywidgets.Image(format="jpeg" if photograph else "png", layout=layout)
        self.picture.add_class("course-picture")
        if not photograph:
            self.picture.add_class("course-drawing")
        self.caption = ipywidgets.HTML(layout={"width": width, "max_width": "100%"})
        self.caption.add_class("course-caption")
        self.alert = ipywidgets.HTML(layout={"display": "none", "max_width": "100%"})
        self.alert.add_class(ERROR_CLASS)
        self.sentence = ""
        look = ipywidgets.HTML(LOOK, layout={"display": "none"})
        heading = [ipywidgets.HTML(f"<b>{html.escape(title)}</b>")] if title else []
        for each in heading:
            each.add_class("course-title")
        wide = f"min(100%, {round(size[0] * figures.SHOWN_DPI) + 34}px)"  # with padding and frame
        members = [look, *heading, *controls, self.alert, self.picture, self.caption]
        super().__init__(members, layout={"width": wide})
        self.add_class("course-panel")

    def redraw(self, draw: Callable[[Figure], None], sentence: str) -> None:
        """Show what `draw` draws into an empty figure of the panel's size, and what it shows in words."""
        with figures.style(live=True):
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

    def _snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the picture as it is, for a learner's own notebook; a static copy would take seconds to compute."""
        source = f"data:image/{self.picture.format};base64,{base64.b64encode(self.picture.value).decode()}"
        picture = f'<img alt="{html.escape(self.sentence)}" style="max-width:100%" src="{source}">'
        return {"text/html": f"{picture}<p><small>{NO_SLIDERS}</small></p>", "text/plain": self.sentence}, {}

    def _repr_mimebundle_(self, *_: object, **__: object) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = self._static() if strict() else self._snapshot()
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
