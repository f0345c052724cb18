"""The course's figures: one style, small files, alternative text."""

import base64
import io

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
