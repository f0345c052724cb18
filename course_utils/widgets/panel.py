"""What all live figures share: a picture with a sentence below it, errors in one sentence, and a static copy."""

from __future__ import annotations

import asyncio
import base64
import html
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from IPython import get_ipython
from matplotlib.figure import Figure
from matplotlib.text import Text

from course_utils import figures
from course_utils.errors import CourseError

VIEW = "application/vnd.jupyter.widget-view+json"
STRICT = "COURSE_STRICT"  # set in tests, in `course run` and `course build`: errors are raised, static copies are made
NO_SLIDERS = "A picture of what was here: the controls stand in its place where a kernel runs and widgets can be shown."
ERROR_CLASS = "course-error"  # of the widget that shows an error; the runner looks for it
# The card: a frame, controls in a grid, labels as wide as their words, drawings that turn dark with the page.
LOOK = """<style>
.course-panel{container-type:inline-size;position:relative;box-sizing:border-box;overflow:visible;border-radius:8px;
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
.course-panel .widget-dropdown{flex-wrap:wrap;height:auto}
.course-panel .widget-dropdown>:is(.widget-label,select){flex:1 0 100%;text-align:left}
.course-panel .widget-slider{flex-wrap:wrap;height:auto;padding-bottom:6px}
.course-panel .widget-slider>.widget-label{flex:1 0 auto;text-align:left}
.course-panel .widget-slider>.slider-container{order:3;flex:1 0 calc(100% - 4em)}}
.course-slice{display:block;overflow:auto hidden;width:100%}
.course-slice+.course-slice{display:none}
.course-window{display:block;overflow:hidden;position:relative;width:100%}
.course-picture.widget-image{display:block;width:var(--width,100%);margin:0 0 0 var(--left,0);height:auto;
  max-width:none;background:#fff}
.course-caption .widget-html-content,.course-caption{line-height:1.45}
.course-error .widget-html-content{line-height:1.45;white-space:normal}
:is([data-jp-theme-light=false],.vscode-dark,html[theme=dark]) .course-panel select{color-scheme:dark;
  background-image:url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 18 18'%3E%3Cpath \
fill='none' stroke='%23ddd' stroke-width='2' d='m5 7 4 4 4-4'/%3E%3C/svg%3E")}
:is([data-jp-theme-light=false],.vscode-dark,html[theme=dark]) .course-window::after{content:"";position:absolute;
  top:0;bottom:-1px;left:var(--left,0);width:var(--width,100%);pointer-events:none;mask:var(--drawn);
  backdrop-filter:invert(.93) hue-rotate(180deg)}
</style>"""
NARROW = 0.72  # of its width: where a card is narrower, the picture's columns stand below each other
LEAST = 0.68  # of its size: no picture gets smaller, so that its words can be read


Columns = tuple[float, float]
Box = tuple[float, float, float, float]
Framed = tuple[list[Columns], list[Box]]  # the columns of a drawn figure, and its photographs
TOGETHER = 0.55  # of the width: a part of two columns in a narrow card


class LivePanel(ipywidgets.VBox):
    """A card: title, controls above a picture, a sentence below it, and a place for an error.

    A subclass calls `redraw`, wraps what a control sets off in `attempt`, and gives the static copy.
    """

    run: Any = None  # the `live_run.LiveRun` of a panel that has something going on in the background; ends with it

    def __init__(
        self,
        controls: Sequence[ipywidgets.Widget],
        size: tuple[float, float],
        photograph: bool = False,
        title: str = "",
    ) -> None:
        self._width = round(size[0] * figures.SHOWN_DPI)  # CSS pixels
        layout = {"width": f"{self._width}px", "max_width": "100%"}
        self._size, self._photograph = size, photograph
        self.error: Exception | None = None  # what went wrong at the last move, if anything did
        self.picture = ipywidgets.Image(format="jpeg" if photograph else "png")
        self.picture.add_class("course-picture")
        self._frame = ipywidgets.VBox(layout={**layout, "align_self": "flex-start", "margin": "4px 0"})
        self._frame.add_class("course-frame")
        self._framed: Framed | None = None
        self.caption = ipywidgets.HTML(layout=layout)
        self.caption.add_class("course-caption")
        self.alert = ipywidgets.HTML(layout={"display": "none", "max_width": "100%"})
        self.alert.add_class(ERROR_CLASS)
        self.sentence = ""
        self._look = ipywidgets.HTML(LOOK, layout={"display": "none"})
        heading = ipywidgets.HTML(f"<b>{html.escape(title)}</b>").add_class("course-title")
        wide = f"min(100%, {self._width + 34}px)"  # with padding and frame
        members = [self._look, heading, *controls, self.alert, self._frame, self.caption]
        super().__init__(members, layout={"width": wide})
        self.add_class("course-panel")
        self.add_class(f"course-{self.model_id}")

    def redraw(self, draw: Callable[[Figure], None], sentence: str) -> None:
        """Show what `draw` draws into an empty figure of the panel's size, and what it shows in words."""
        with figures.style(live=True):
            figure = Figure(figsize=self._size, layout="none")
            draw(figure)
            image = figures.to_live_image(figure, self._photograph)
            self.frame(self.framed(figure))
        self.show(image, sentence)

    def framed(self, figure: Figure, kept: bool = False) -> Framed:
        """Return the columns of a drawn figure, and its photographs, which do not turn dark with the page.

        A figure that is `kept` keeps its columns too, as long as no text reaches from one into another.
        """
        same = kept and self._framed is not None and not crosses(figure, self._framed[0])
        return self._framed[0] if same and self._framed else slices(figure), photographs(figure)

    def frame(self, framed: Framed) -> None:
        """Make the picture's frame. In a narrow card each window shows a part of the picture, below the part before."""
        if framed == self._framed:
            return
        self._framed = framed
        parts, photos = framed
        name = f".course-panel.course-{self.model_id}"  # stronger than what other panels of the page repeat
        rules = [f"{name}{{--drawn:{outside(photos)}}}"]
        narrow = [f"{name} .course-slice{{display:block}}"]
        for number, (left, right) in enumerate(parts, 1):
            share = right - left
            narrow.append(
                f"{name} .course-slice:nth-child({number})>*{{min-width:{LEAST * share * self._width:.0f}px;"
                f"max-width:{share * self._width:.0f}px;--width:{100 / share:.2f}%;--left:{-100 * left / share:.2f}%}}"
            )
        rules.append(f"@container (max-width:{NARROW * self._width:.0f}px){{{''.join(narrow)}}}")
        self._look.value = f"{LOOK}<style>{''.join(rules)}</style>"
        if len(parts) != len(self._frame.children):
            windows = [ipywidgets.Box([self.picture]).add_class("course-window") for _ in parts]
            self._frame.children = [ipywidgets.Box([window]).add_class("course-slice") for window in windows]

    def show(self, image: bytes, sentence: str) -> None:
        """Show a new picture and what it shows in words, and take a shown error away."""
        self.error = None
        if self.alert.value:
            self.alert.value, self.alert.layout.display = "", "none"
        after_message(lambda: setattr(self.picture, "value", image))
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


def slices(figure: Figure) -> list[Columns]:
    """Return where a drawn figure can be cut from top to bottom without cutting anything in it.

    Returns:
        The left and right end of each part, as shares of the figure's width; parts stay together up to half of it.
    """
    width = float(figure.bbox.width)
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [text.get_window_extent() for text in figure.texts]
    columns: list[list[float]] = []
    for left, right in sorted((float(box.x0) / width, float(box.x1) / width) for box in boxes if box is not None):
        if columns and left < columns[-1][1]:
            columns[-1][1] = max(columns[-1][1], right)
        else:
            columns.append([left, right])
    ends = [0.0, *((before[1] + after[0]) / 2 for before, after in itertools.pairwise(columns)), 1.0]
    parts: list[Columns] = []
    for left, right in itertools.pairwise(ends):
        if parts and right - parts[-1][0] <= TOGETHER:
            parts[-1] = (parts[-1][0], round(right, 4))
        else:
            parts.append((round(left, 4), round(right, 4)))
    return parts


def crosses(figure: Figure, parts: Sequence[Columns]) -> bool:
    """Return whether a text of a drawn figure reaches from one of its parts into another."""
    width = float(figure.bbox.width)
    cuts = [width * right for _, right in parts[:-1]]
    for axes in figure.axes:
        for text in axes.get_children():
            if cuts and isinstance(text, Text) and text.get_visible() and text.get_text():
                box = text.get_window_extent()
                if any(box.x0 < cut < box.x1 for cut in cuts):
                    return True
    return False


def after_message(action: Callable[[], None]) -> None:
    """Do something once the kernel has told the page that it is done with the page's message, else at once.

    A page sends the next move of a slider only then: it is computed here while the page still draws this one.
    """
    loop = _answering()
    if loop is None:
        action()
    else:
        loop.call_soon(action)


def at_rest(action: Callable[[], None], seconds: float = 0.2) -> Callable[[object], None]:
    """Return a callback for controls that does something once they have not moved for a while, else at once.

    For what is slow in the page and need not follow each move, such as new limits of a slider.
    """
    ahead: list[asyncio.TimerHandle] = []

    def moved(_: object = None) -> None:
        while ahead:
            ahead.pop().cancel()
        loop = _answering()
        if loop is None:
            action()
        else:
            ahead.append(loop.call_later(seconds, action))

    return moved


def _answering() -> asyncio.AbstractEventLoop | None:
    """Return the kernel's loop while it handles a message of the page, else None."""
    kernel = getattr(get_ipython(), "kernel", None)
    parent = getattr(kernel, "get_parent", dict)()
    try:
        return asyncio.get_running_loop() if parent.get("header", {}).get("msg_type") == "comm_msg" else None
    except RuntimeError:
        return None


def photographs(figure: Figure) -> list[Box]:
    """Return where pictures stand in a drawn figure: left, top, right and bottom, as shares of its size."""
    found = []
    for axes in figure.axes:
        if axes.images:
            box = axes.get_position()
            found.append(tuple(round(float(value), 4) for value in (box.x0, 1 - box.y1, box.x1, 1 - box.y0)))
    return found


def outside(boxes: Sequence[Box]) -> str:
    """Return all but the boxes as a mask of CSS; a clip-path would not hold within rounded corners in Chromium."""
    fill = "linear-gradient(#000 0 0)"
    layers = []
    for left, top, right, bottom in boxes:
        width, height = right - left, bottom - top
        x, y = left / max(1 - width, 1e-6), top / max(1 - height, 1e-6)  # what per cent mean in CSS
        layers.append(f"{fill} {100 * x:.2f}% {100 * y:.2f}%/{100 * width:.2f}% {100 * height:.2f}% no-repeat exclude")
    return ",".join([*layers, fill])


def strict() -> bool:
    """Whether errors of callbacks are raised, as in tests, and not only shown to the learner."""
    return os.environ.get(STRICT) == "1"


def sentence_of(error: Exception) -> str:
    """Return an error as one sentence for a learner."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, (CourseError, ValueError)) and text:
        return text
    return f"This setting does not work: {type(error).__name__}{f': {text}' if text else ''}."
