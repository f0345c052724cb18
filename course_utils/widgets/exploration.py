"""An exploration: controls over a picture that is computed and drawn again at every move.

`compute(settings)` gives a result and `draw(result, figure)` draws it. The same two functions make the live widget,
where a kernel answers, and its static twin, a picture over a few settings, where none does. One output holds both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ipywidgets
from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure

from course_utils import figures
from course_utils.base.threads import one_thread
from course_utils.widgets import controls as make
from course_utils.widgets.panel import Framed, LivePanel

Canvas = Figure | SubFigure
Settings = Mapping[str, Any]
REMEMBERED = 32  # settings whose pictures are kept: a slider that goes back and forth shows them at once


@dataclass(frozen=True)
class Twin:
    """The static picture of an exploration: several settings side by side, for places where no kernel answers.

    settings: for each part the controls that differ from their first values; by caption, or a list.
    alt: alternative text.
    title: the finding, above the picture.
    columns: parts side by side.
    draw: draws one part, where the exploration's own `draw` would show too much for many side by side.
    size: of one part in inches; that of the live figure when None.
    """

    settings: Mapping[str, Settings] | Sequence[Settings]
    alt: str
    title: str = ""
    columns: int = 2
    draw: Callable[[Any, Canvas], None] | None = None
    size: tuple[float, float] | None = None


class Exploration(LivePanel):
    """A live figure with controls, and its static twin in the same output.

    Args:
        compute: takes the controls' values by name and returns a result that depends on nothing else; knows nothing of
            pictures.
        draw: draws a result into an empty figure, or into a part of one.
        controls: widgets with a `value`, by the names that `compute` expects; `course_utils.widgets.controls` makes
            them labelled and usable by keyboard.
        describe: says in a sentence what a result shows; stands below the picture and is read out where it is not seen.
        twin: what the static picture shows.
        move: changes what a new result changes in the figure that `draw` has drawn, and returns those parts of it: far
            quicker than to draw all of it anew, which is what happens when None.
        title: the name of the exploration, above its controls.
        size: of the live figure, in inches.
        arrangement: how the controls stand above the picture; in a grid when None. "Reset" comes by itself.
        photograph: whether the picture shows photographs, which travel faster as JPEG.
        shareable: see `figures.show`.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        draw: Callable[[Any, Canvas], None],
        controls: Mapping[str, ipywidgets.ValueWidget],
        *,
        describe: Callable[[Any], str],
        twin: Twin,
        move: Callable[[Any, Figure], Sequence[Artist]] | None = None,
        title: str = "",
        size: tuple[float, float] = (7.0, 3.0),
        arrangement: ipywidgets.Widget | None = None,
        photograph: bool = False,
        shareable: bool = True,
    ) -> None:
        self.compute, self.draw, self.move, self.describe = compute, draw, move, describe
        self._canvas: figures.LiveCanvas | None = None
        self._seen = lru_cache(maxsize=REMEMBERED)(self._draw_moved)
        self.controls = dict(controls)
        self.first_values = self.values
        self._twin, self._shareable = twin, shareable
        self.waiting = 0  # above 0 while several controls move; nothing is drawn meanwhile
        self.settled: Callable[[], object] = lambda: None  # called when several controls have moved at once
        self._drawing = threading.RLock()  # a cell and a slider may set values at the same time
        kept = [name for name, control in controls.items() if not isinstance(control, ipywidgets.FileUpload)]
        reset = make.button("Reset", lambda: self.set(**{name: self.first_values[name] for name in kept}), "undo")
        reset.add_class("course-reset")
        super().__init__([arrangement or make.grid(*self.controls.values()), reset], size, photograph, title)
        for control in self.controls.values():
            control.observe(self._changed, "value")
        self._refresh()

    @property
    def values(self) -> dict[str, Any]:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values: Any) -> None:
        """Move several controls at once, and draw once.

        Raises:
            ValueError: when there is no control of a name.
        """
        for name in values:
            if name not in self.controls:
                raise ValueError(f"There is no control {name!r}; the controls are {', '.join(self.controls)}.")
        self.waiting += 1
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self.waiting -= 1
        self.settled()
        self._changed()

    def _changed(self, change: object = None) -> None:
        if not self.waiting:
            with self._drawing:
                self.attempt(self._refresh)

    def _refresh(self) -> None:
        if self.move is None:
            result = self.compute(**self.values)
            self.redraw(lambda figure: self.draw(result, figure), self.describe(result))
        else:
            with one_thread():
                image, framed, sentence = self._seen(tuple(self.values.values()))
                self.frame(framed)
                self.show(image, sentence)

    def _draw_moved(self, values: tuple[Any, ...]) -> tuple[bytes, Framed, str]:
        """Return the picture for the controls' values, how it is framed, and what it shows in words."""
        result = self.compute(**dict(zip(self.controls, values)))
        with figures.style(live=True):
            if self._canvas is None:
                figure = Figure(figsize=self._size)
                self.draw(result, figure)
                self._canvas = figures.LiveCanvas(figure)
            image = self._canvas.image(lambda figure: self.move(result, figure), self._photograph)
            framed = self.framed(self._canvas.figure, kept=True)
        return image, framed, self.describe(result)

    def twin(self) -> Figure:
        """Return the static picture: the same `compute` and `draw` over the chosen settings."""
        twin, settings = self._twin, self._twin.settings
        parts = list(settings.items()) if isinstance(settings, Mapping) else [("", each) for each in settings]
        width, height = twin.size or self._size
        columns = min(twin.columns, len(parts))
        rows = -(-len(parts) // columns)
        with figures.style():
            figure = Figure(figsize=(width * columns, height * rows + (0.35 if twin.title else 0)))
            places = figure.subfigures(rows, columns, squeeze=False).flat
            for place, (caption, changed) in zip(places, parts):
                (twin.draw or self.draw)(self.compute(**{**self.first_values, **changed}), place)
                if caption:
                    place.suptitle(caption, x=0.02, ha="left", fontsize=9.5)
            if twin.title:
                figure.suptitle(twin.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        return figure

    def _static(self) -> tuple[dict[str, Any], dict[str, Any]]:
        with figures.style():
            return figures.bundle(self.twin(), self._twin.alt, self._shareable)
