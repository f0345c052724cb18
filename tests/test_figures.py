"""The course's figures: one style, small files, alternative text."""

import base64
import io
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from course_utils import figures, pictures


def noisy(side=700):
    figure, axes = plt.subplots(figsize=(9, 6))
    axes.imshow(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    return figure


def test_show_gives_a_picture_with_its_alternative_text_and_closes_the_figure(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata, raw: shown.append((data, metadata, raw)))
    with figures.style():
        figure, axes = plt.subplots(figsize=(5, 3))
        axes.plot([0, 1])
    figures.show(figure, alt="A line that rises from zero to one.")
    ((data, metadata, raw),) = shown
    assert raw
    assert metadata["image/png"] == {"alt": "A line that rises from zero to one.", "width": 480}
    assert data["text/plain"] == "A line that rises from zero to one."
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size == (720, 432)
    assert not plt.get_fignums()


@pytest.mark.parametrize("alt", ["", "  ", "a plot"])
def test_a_picture_without_a_description_is_refused(alt):
    figure = plt.figure()
    with pytest.raises(ValueError, match="describe the picture"):
        figures.show(figure, alt=alt)
    plt.close(figure)


@pytest.mark.parametrize(
    ("kind", "make"), [("Axes", plt.gca), ("list", list), ("Image", lambda: Image.new("L", (2, 2)))]
)
def test_what_is_no_figure_is_refused(kind, make):
    with pytest.raises(TypeError, match=rf"show takes a figure, not {kind}; of axes, give their \.figure"):
        figures.show(make(), alt="Two pixels beside each other.")
    plt.close("all")


def test_photographs_are_stored_as_jpegs_with_two_pixels_for_each_on_the_page_and_lines_as_png():
    figure = noisy()
    data, metadata = figures.bundle(figure, "Coloured noise in a square.")
    image = base64.b64decode(data["image/jpeg"])
    assert len(image) < 0.5 * len(figures.to_png(figure))
    with Image.open(io.BytesIO(image)) as stored:
        assert stored.mode == "RGB" and stored.size == (1728, 1152)
        assert stored.width >= 2 * metadata["image/jpeg"]["width"]
    plt.close(figure)
    simple, axes = plt.subplots(figsize=(9, 6))
    axes.plot([1, 2, 3])
    assert figures.to_page_image(simple) == ("image/png", figures.to_png(simple))
    plt.close(simple)


def test_a_photograph_stays_as_it_was_but_for_what_nobody_sees():
    """At twice the size of display: what is left after the reader's screen has made two pixels into one."""
    astronaut = np.asarray(pictures.photograph("astronaut")).astype(int)
    figure = plt.figure(figsize=(512 / figures.SHOWN_DPI, 512 / figures.SHOWN_DPI))
    figure.add_axes((0, 0, 1, 1), frame_on=False, xticks=(), yticks=()).imshow(astronaut)
    kind, image = figures.to_page_image(figure)
    with Image.open(io.BytesIO(image)) as stored:
        seen = np.asarray(stored.resize((512, 512), Image.Resampling.BOX)).astype(int)
    error = np.abs(seen - astronaut).mean()
    assert kind == "image/jpeg" and len(image) < 150_000 and error < 4, (len(image), error)
    plt.close(figure)


def test_the_style_ends_with_its_block():
    before = dict(plt.rcParams)
    with figures.style():
        assert plt.rcParams["axes.titlelocation"] == "left"
    assert dict(plt.rcParams) == before


READERS = {  # settings that readers have in a matplotlibrc, or that another library leaves behind
    "image.origin": "lower",
    "image.interpolation": "bicubic",
    "savefig.facecolor": "black",
    "savefig.dpi": 30,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "figure.autolayout": True,
    "figure.dpi": 300,
    "figure.figsize": (1, 1),
    "figure.titlesize": 40,
    "figure.subplot.left": 0.4,
    "figure.hooks": ["no_such_module:hook"],
    "text.usetex": True,
    "text.antialiased": False,
    "mathtext.fontset": "cm",
    "font.size": 30,
    "font.family": "no such font",
    "axes.formatter.use_locale": True,
    "axes.formatter.limits": (0, 0),
    "axes.titlecolor": "white",
    "axes.xmargin": 0.4,
    "xtick.top": True,
    "xtick.major.size": 40,
    "ytick.direction": "in",
    "lines.marker": "o",
    "lines.antialiased": False,
    "patch.force_edgecolor": True,
    "hist.bins": 2,
    "path.sketch": (5, 100, 2),
    "path.simplify_threshold": 1.0,
    "legend.loc": "center",
}


def test_a_style_within_a_style_changes_only_what_makes_it_live():
    import matplotlib
    from matplotlib.figure import Figure

    def now():
        return matplotlib.rcParams["figure.constrained_layout.use"], matplotlib.rcParams["axes.titley"]

    before = now()
    with figures.style():
        with figures.style(live=True):
            with figures.style():
                assert now() == (False, 1.0)
            figure = Figure(figsize=(1, 1))
            figures.to_live_image(figure)
            assert now() == (False, 1.0)
        assert now() == (True, None)
        figures.to_live_image(Figure(figsize=(1, 1)))  # saves without an automatic layout
        assert now() == (True, None)
        with pytest.raises(ValueError, match="while drawing"), figures.style(live=True):
            raise ValueError("while drawing")
        assert now() == (True, None)
    assert now() == before


def drawn():
    """A photograph, lines on a logarithmic scale, bars and a legend, as the course draws them."""
    with figures.style():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 3))
        left.imshow(pictures.photograph("coffee").resize((60, 40)))
        middle.plot([1, 10, 1000], label="a line")
        middle.set(yscale="log", xlabel="a label", title="A title")
        middle.legend()
        right.bar(["a", "b"], [1e5, 2e5])
        right.hist([1, 2, 3, 3])
        right.text(0, 1e5, "$5 to $10")
        figure.suptitle("$5 and more")
    kind, image = figures.to_page_image(figure)
    assert (kind, figures.to_live_image(figure)[:4]) == ("image/png", b"\x89PNG")
    plt.close(figure)
    return image


def readers_settings(settings):
    """Hold what a reader has set while the block runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that do not go together
        return matplotlib.rc_context(settings)


@pytest.mark.thorough
def test_nothing_that_a_reader_has_set_changes_a_figure():
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        undisturbed = drawn()
    with readers_settings(READERS):
        assert drawn() == undisturbed
    with plt.style.context("dark_background"):
        before = dict(plt.rcParams)
        assert drawn() == undisturbed
        assert dict(plt.rcParams) == before


def test_how_windows_open_stays_the_readers():
    theirs = {"toolbar": "None", "interactive": True, "savefig.directory": "here"}
    with matplotlib.rc_context(theirs), figures.style():
        assert {name: plt.rcParams[name] for name in theirs} == theirs


NAMES = (
    *("$5-$10", "A$$", "a$x_{$b", "a_b^c", "C:\\temp", "%s {0}", "<b>&"),
    *(
        "猫 cats",
        "🐶",
        "👨\u200d👩\u200d👧",
        "שלום",
        "مرحبا",
        "a\nb",
        "tab\there",
        "\u202eright",
        "caf\udce9",
        "\ud800",
        "x\0y",
    ),
)


@pytest.mark.thorough
@pytest.mark.filterwarnings("error")
def test_any_name_of_a_class_is_drawn_without_a_warning(capsys):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)  # so large that it becomes a JPEG file
    for kind, shown in (("image/jpeg", noise), ("image/png", noise[:8, :8])):
        figure = pictures.grid([Image.fromarray(shown)] * len(NAMES), NAMES, title=" ".join(NAMES))
        assert figures.to_page_image(figure)[0] == kind
        assert figures.to_live_image(figure)[:4] == b"\x89PNG"
        titles = [axes.get_title() for axes in figure.axes[: len(NAMES)]]
        assert titles[:11] == list(NAMES[:11]) and titles[-3:] == ["caf\\xe9", "\\ud800", "x\\x00y"]
        plt.close(figure)
    assert "drawn as a box" in capsys.readouterr().out.encode().decode()


@pytest.mark.filterwarnings("error")
def test_names_from_right_to_left_run_from_right_to_left():
    """As matplotlib 3.11 and later draw them; an older one draws the letters from left to right."""
    if not matplotlib.__version__.startswith(("3.8", "3.9", "3.10")):
        one, other = (pictures.grid([Image.new("RGB", (90, 9))], [word]) for word in ("שלום", "\u202dםולש"))
        assert figures.to_png(one) == figures.to_png(other)


def test_the_same_figure_gives_the_same_bytes():
    assert figures.to_png(noisy(40)) == figures.to_png(noisy(40))
    plt.close("all")


def test_many_short_texts_are_one_collection_each_in_the_middle_of_its_place():
    figure, axes = plt.subplots(figsize=(4, 4))
    axes.set(xlim=(0, 4), ylim=(0, 4))
    places = [(1.0, 3.0), (3.0, 3.0), (2.0, 1.0)]
    figures.write_all(
        axes, ["1", "−12", "8"], places, size=20, colours=["red", "blue", "red"], bold=[False, True, False]
    )
    (written,) = axes.collections
    assert axes.get_xlim() == axes.get_ylim() == (0, 4)
    figure.draw_without_rendering()
    image = np.asarray(Image.open(io.BytesIO(figures.to_png(figure))).convert("RGB")).astype(int)
    red = (image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 2] < 60)
    blue = (image[..., 2] > 200) & (image[..., 0] < 60) & (image[..., 1] < 60)
    height = image.shape[0]
    for ink, (x, y) in ((blue, places[1]), (red & (np.arange(height) > height / 2)[:, None], places[2])):
        rows, columns = np.nonzero(ink)
        middle = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
        left, down = axes.transData.transform((x, y)) * figures.SAVED_DPI / figure.dpi
        assert middle == pytest.approx((height - down, left), abs=3)
    assert written.get_label() == "_1 −12 8"
    plt.close(figure)
