"""One look for every figure of the course, and one way to show it: as a picture with alternative text."""

from __future__ import annotations

import base64
import io
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from course_utils.base.words import percent as percent  # what titles and sentences show shares with
from course_utils.errors import readable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

# Okabe and Ito's palette, chosen so that colour-blind readers can tell its colours apart (jfly.uni-koeln.de/color).
# Yellow is left out: it is too pale for lines on white.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#1B1F24", "#6B7280", "#E5E7EB"
SEQUENTIAL = "cividis"  # for amounts
DIVERGING = "RdBu_r"  # for values around zero
SHOWN_DPI = 96  # CSS pixels per inch: how large the picture is on the page
SAVED_DPI = 144  # pixels per inch in the file, so that it is sharp on a dense screen
PHOTOGRAPH_DPI = 2 * SHOWN_DPI  # of a figure with photographs: two stored pixels for each on the page
PHOTOGRAPH = {"quality": 58, "optimize": True, "progressive": True}  # at twice the size, what JPEG loses is not seen
LIVE_DPI = 120  # pixels per inch of a figure that is drawn again at every move of a slider
LIVE_FORM = {False: ("png", {"compress_level": 1}), True: ("jpeg", {"quality": 88})}  # by whether it shows photographs
SHAREABLE = "course_shareable"  # in an output's metadata: False where its pictures may not be passed on
LARGE = 100_000  # bytes of a PNG above which a figure is stored as JPEG, to keep notebooks quick to open

STYLE = {
    "figure.facecolor": "white",
    "figure.dpi": SHOWN_DPI,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "text.parse_math": False,  # a class may be called "$5": texts are drawn as they are
    "text.color": INK,
    "axes.facecolor": "white",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler('color', {[BLUE, ORANGE, GREEN, RED, PURPLE, SKY]})",
    "grid.color": PALE,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}
# Settings that change no figure; how windows open and where files go stays the reader's.
NO_LOOK = (
    "backend",
    "interactive",
    "toolbar",
    "keymap.",
    "tk.",
    "webagg.",
    "figure.raise",
    "savefig.directory",
    "date.",
)
# Fonts that come with systems, tried where matplotlib's own lacks a letter: Chinese, Japanese, Korean and others.
OTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR",
    "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "PingFang SC", "Hiragino Sans GB", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS",
    "Microsoft YaHei", "SimHei", "Yu Gothic", "Meiryo", "Malgun Gothic", "Nirmala UI", "Segoe UI Symbol",
    "Noto Sans", "Noto Sans Devanagari", "Noto Sans Arabic", "Noto Sans Thai", "Noto Sans Symbols 2", "Noto Emoji",
    "Symbola",
)  # fmt: skip
MISSING = re.compile(r"Glyph (\d+) .*missing from")
# Matplotlib's settings belong to the whole process, and a widget may draw in another thread than the cell that runs.
_DRAWING = threading.RLock()
_STYLED = ContextVar("_STYLED", default="")  # how the block around is styled: "", "page" or "live"


@contextmanager
def style(live: bool = False) -> Iterator[None]:
    """Draw in the course's style inside the `with` block, one thread at a time; matplotlib's settings are put back.

    The reader's own settings (a matplotlibrc, a style, another library's) hold neither while a figure is made nor
    while it becomes a picture. A `live` figure has no automatic layout, and its titles stand at a fixed height: to find
    these places takes longer than to draw all the rest. A block within another one changes nothing but that.
    """
    import matplotlib

    kind, around = "live" if live else "page", _STYLED.get()
    if around in (kind, "live"):
        yield
        return
    quick = {"figure.constrained_layout.use": False, "axes.titley": 1.0} if live else {}
    with _DRAWING, matplotlib.rc_context():
        has = dict(matplotlib.rcParams.copy())
        wanted = {**({} if around else _settings()), **quick}
        matplotlib.rcParams.update({name: value for name, value in wanted.items() if has[name] != value})
        styled = _STYLED.set(kind)
        try:
            yield
        finally:
            _STYLED.reset(styled)


@cache
def _settings() -> dict[str, Any]:
    """Return all of matplotlib's settings that decide how a figure looks: its own values, but for the course's."""
    import matplotlib

    own = {**STYLE, "font.family": _families()}
    wanted = dict(matplotlib.rcParamsDefault.copy()) | dict(matplotlib.RcParams(own).copy())
    return {name: value for name, value in wanted.items() if not name.startswith(NO_LOOK)}


@cache
def _families() -> list[str]:
    """Return the fonts to look for a letter in: matplotlib's own, then those of `OTHER_FONTS` that are here."""
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in OTHER_FONTS if name in there)]


def _draw(figure: Figure, drawing: Callable[[], object]) -> set[str]:
    """Call `drawing`, which draws `figure`, and return the letters that no font here has.

    Matplotlib warns of each one, in red and with paths of packages. It draws a box instead.
    """
    from matplotlib.text import Text

    missing: set[str] = set()
    with style(live=True):  # or saving gives an automatic layout to a figure that was made without
        for axes in figure.axes:  # labels of logarithmic axes are powers, written as mathematics
            for axis in (axes.xaxis, axes.yaxis):
                if axis.get_scale() != "linear":
                    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                        tick.label1.set_parse_math(True)
                        tick.label2.set_parse_math(True)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                drawing()
            except (TypeError, UnicodeError):  # a name with bytes that are no text, which matplotlib cannot draw
                for text in figure.findobj(Text):
                    text.set_text("\n".join(map(readable, text.get_text().split("\n"))))
                drawing()
        for warning in seen:
            found = MISSING.match(str(warning.message))
            if found:
                missing.add(readable(chr(int(found[1]))))
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return missing


def _drawn(figure: Figure, **options: Any) -> tuple[bytes, set[str]]:
    """Return a figure as the bytes of a picture file, and the letters that no font here has."""
    buffer = io.BytesIO()

    def save() -> None:
        buffer.seek(0)
        buffer.truncate()
        figure.savefig(buffer, **options)

    missing = _draw(figure, save)
    return buffer.getvalue(), missing


@cache
def _tell_missing(letters: str) -> None:
    """Say once for these letters that they are drawn as boxes, and what would help."""
    print(f"No font here has {' '.join(letters)}: drawn as a box; a font such as Noto Sans CJK may have it.")


def write_all(
    axes: Axes,
    texts: Sequence[str],
    places: Sequence[tuple[float, float]],
    *,
    size: float,
    colours: Sequence[str],
    bold: Sequence[bool],
) -> None:
    """Write many short texts as one collection of outlines.

    A text of matplotlib's own takes half a millisecond to lay out and draw, and a live figure may hold a hundred.

    Args:
        axes: where to write; its limits stay as they are.
        texts: such as numbers.
        places: the middle of each text, (x, y) in the axes' coordinates.
        size: of the letters, in points.
        colours, bold: of each text.
    """
    from matplotlib.collections import PathCollection
    from matplotlib.transforms import Affine2D

    written = PathCollection(
        [_outline(text, size, heavy) for text, heavy in zip(texts, bold)],
        offsets=places,
        offset_transform=axes.transData,
        facecolor=colours,
        linewidth=0,
        label="_" + " ".join(texts),  # hidden from legends; for tests and curious readers
    )
    written.set_transform(Affine2D().scale(1 / 72) + axes.figure.dpi_scale_trans)  # outlines are in points
    axes.add_collection(written, autolim=False)


@lru_cache(maxsize=1024)
def _outline(text: str, size: float, bold: bool) -> Path:
    """Return a text's outline in points, centred on (0, 0); digits stand in the middle whatever their width."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(weight="bold" if bold else "normal")
    box = TextPath((0, 0), text, size=size, prop=font).get_extents()
    middle = TextPath((0, 0), "0", size=size, prop=font).get_extents()
    return TextPath((-(box.x0 + box.x1) / 2, -(middle.y0 + middle.y1) / 2), text, size=size, prop=font)


def to_png(figure: Figure, dpi: int = SAVED_DPI) -> bytes:
    """Return `figure` as the bytes of a PNG file, without a date or a version in it."""
    return _to_png(figure, dpi)[0]


def _to_png(figure: Figure, dpi: int) -> tuple[bytes, set[str]]:
    """Return the PNG file, and the letters that are boxes in it."""
    # Level 4 takes half the time of Pillow's default for photographs, for a few more bytes.
    return _drawn(figure, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"compress_level": 4})


def to_page_image(figure: Figure) -> tuple[str, bytes]:
    """Return `figure` as a picture file suitable for a notebook, and the file's MIME type.

    Lines and text are stored as PNG. A figure that would be larger than `LARGE` holds photographs: it is stored as
    JPEG. Both are sharp on a dense screen.
    """
    png, missing = _to_png(figure, SAVED_DPI)
    if missing:
        _tell_missing("".join(sorted(missing)))
    if len(png) <= LARGE:
        return "image/png", png
    return "image/jpeg", _drawn(figure, format="jpeg", dpi=PHOTOGRAPH_DPI, pil_kwargs=PHOTOGRAPH)[0]


def to_live_image(figure: Figure, photograph: bool = False) -> bytes:
    """Return `figure` quickly as the bytes of a PNG file, or of a JPEG file where it shows photographs."""
    kind, options = LIVE_FORM[photograph]
    return _drawn(figure, format=kind, dpi=LIVE_DPI, pil_kwargs=options)[0]


class LiveCanvas:
    """A figure that is kept: what stands still is drawn once, and what moves is drawn over it each time."""

    def __init__(self, figure: Figure) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure.set_dpi(LIVE_DPI)
        self.figure, self._canvas = figure, FigureCanvasAgg(figure)
        self._still: Any = None

    def image(self, move: Callable[[Figure], Sequence[Artist]], photograph: bool = False) -> bytes:
        """Return the picture after `move` has changed the figure.

        `move` returns the parts that it may change, always the same ones, or none where everything is drawn again.
        """
        import numpy as np
        from PIL import Image

        moving = move(self.figure)
        if self._still is None or not moving:
            for part in moving:
                part.set_animated(True)
            _draw(self.figure, self._canvas.draw)
            self._still = self._canvas.copy_from_bbox(self.figure.bbox)
        else:
            self._canvas.restore_region(self._still)
        for part in moving:
            part.axes.draw_artist(part)
        buffer = io.BytesIO()
        drawn = Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")
        kind, options = LIVE_FORM[photograph]
        drawn.save(buffer, kind, **options)
        return buffer.getvalue()


def show(figure: Figure, alt: str, *, shareable: bool = True) -> None:
    """Show `figure` under a cell, with alternative text for those who cannot see it, and close it.

    Args:
        figure: a matplotlib figure; closed afterwards, so that figures do not pile up in memory.
        alt: one or two sentences that say what the picture shows; required, and at least 15 characters.
        shareable: False where it shows pictures that may not be passed on, such as those of a set without a licence
            (`cifar.source.shareable`): `course build` then leaves it out of the notebook that is published.

    Raises:
        TypeError: when it is no figure.
        ValueError: when `alt` is missing or too short to help.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise TypeError(f"show takes a figure, not {type(figure).__name__}; of axes, give their .figure.")
    data, metadata = bundle(figure, alt, shareable)
    plt.close(figure)
    display(data, metadata=metadata, raw=True)


def bundle(figure: Figure, alt: str, shareable: bool = True) -> tuple[dict[str, str], dict[str, Any]]:
    """Return `figure` as a notebook's output holds it: data and metadata by MIME type, with alternative text.

    Raises:
        ValueError: when `alt` is missing or too short to help.
    """
    _check_alt(alt)
    kind, image = to_page_image(figure)
    width = round(figure.get_size_inches()[0] * SHOWN_DPI)
    return _bundled(kind, image, width, alt, shareable)


def _check_alt(alt: str) -> None:
    if len(alt.strip()) < 15:
        raise ValueError(f"The alternative text {alt!r} says too little; describe the picture in a sentence or two.")


def _bundled(
    kind: str, image: bytes, width: int, alt: str, shareable: bool = True
) -> tuple[dict[str, str], dict[str, Any]]:
    data = {kind: base64.b64encode(image).decode(), "text/plain": alt.strip()}
    metadata: dict[str, Any] = {kind: {"alt": alt.strip(), "width": width}}
    return data, metadata if shareable else {**metadata, SHAREABLE: False}


def show_moving(frames: Iterable[Figure], alt: str, *, seconds: float, rest: float = 3.0, plays: int = 3) -> None:
    """Show figures one after another as one moving picture, which stops by itself; close each one.

    It is a PNG file with several pictures in it (APNG), which GitHub, JupyterLab and any page show without a script;
    where only still pictures are shown, it is the first one.

    Args:
        frames: figures of one size; few colours, as in diagrams, keep the file small.
        alt: what moves, and what is seen at the end; required as for `show`.
        seconds: how long each figure stays.
        rest: how long the last one stays.
        plays: how often the whole is played; then the last figure remains.

    Raises:
        ValueError: when there is no figure, their sizes differ, or `alt` is missing or too short to help.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    _check_alt(alt)
    pictures, width = [], 0
    for figure in frames:
        width = round(figure.get_size_inches()[0] * SHOWN_DPI)
        pictures.append(to_png(figure))
        plt.close(figure)
    data, metadata = _bundled("image/png", to_moving_image(pictures, seconds, rest, plays), width, alt)
    display(data, metadata=metadata, raw=True)


def to_moving_image(pictures: Sequence[bytes], seconds: float, rest: float, plays: int) -> bytes:
    """Return picture files of one size as the bytes of one moving PNG; see `show_moving`."""
    from PIL import Image

    if not pictures:
        raise ValueError("A moving picture needs at least one figure, and got none.")
    opened = [Image.open(io.BytesIO(each)).convert("RGB") for each in pictures]
    if len({each.size for each in opened}) > 1:
        raise ValueError("The figures of a moving picture must have one size; give each the same figsize.")
    palette = opened[len(opened) // 2].quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    white = Image.new("RGB", (1, 1), "white").quantize(palette=palette, dither=Image.Dither.NONE).getpixel((0, 0))
    colours = palette.getpalette() or []
    palette.putpalette([*colours[: 3 * white], 255, 255, 255, *colours[3 * white + 3 :]])  # the page's own white
    first, *others = (each.quantize(palette=palette, dither=Image.Dither.NONE) for each in opened)
    shown = [round(1000 * seconds)] * len(others) + [round(1000 * rest)]
    buffer = io.BytesIO()
    first.save(
        buffer,
        "png",
        save_all=True,
        append_images=others,
        duration=shown,
        loop=plays,
        optimize=True,
        disposal=0,
        blend=0,
    )
    return buffer.getvalue()
