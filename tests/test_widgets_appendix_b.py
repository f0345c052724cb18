"""Explorations of appendix B: limits for bad pictures, and answers looked at one by one; contact sheets."""

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from panels import figures_in_memory, operate_everything
from PIL import Image

from course_utils import pictures
from course_utils.widgets import appendix_b
from course_utils.widgets.panel import VIEW

pytestmark = pytest.mark.thorough

IMAGES = [Image.new("RGB", (40 + i, 30), (20 * i, 90, 200)) for i in range(8)]
BRIGHTNESS = torch.tensor([10.0, 90, 100, 110, 120, 130, 140, 150])
SHARPNESS = torch.tensor([500.0, 2, 300, 400, 500, 600, 700, 800])
CLASSES = ("mug", "key", "plant")
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])
SHARES = torch.tensor(
    [
        [0.9, 0.05, 0.05],
        [0.1, 0.8, 0.1],  # wrong and surest
        [0.3, 0.4, 0.3],
        [0.0, 1.0, 0.0],  # right and surest
        [0.5, 0.1, 0.4],  # wrong
        [0.1, 0.1, 0.8],
        [0.36, 0.34, 0.3],  # least sure
        [0.2, 0.7, 0.1],
    ]
)


@pytest.fixture(params=["sorting_out", "one_by_one"])
def panel(request):
    if request.param == "sorting_out":
        return appendix_b.sorting_out(IMAGES, BRIGHTNESS, SHARPNESS)
    return appendix_b.one_by_one(IMAGES, SHARES, LABELS, CLASSES)


def test_every_control_takes_its_values_and_no_figure_stays(panel):
    before = figures_in_memory()
    assert operate_everything(panel) > 4
    assert figures_in_memory() <= before and plt.get_fignums() == []
    data, metadata = panel._repr_mimebundle_()
    (kind,) = [kind for kind in metadata if kind.startswith("image/")]
    assert VIEW in data and len(metadata[kind]["alt"]) > 60


def test_the_limits_throw_out_what_is_darker_or_less_sharp():
    panel = appendix_b.sorting_out(IMAGES, BRIGHTNESS, SHARPNESS)
    assert panel.compute(40, 30).out == (0, 1)
    assert panel.sentence == "2 of 8 pictures are darker than 40 or less sharp than 30."
    panel.set(darkest=0)
    assert panel.sentence == "1 of 8 pictures is darker than 0 or less sharp than 30."
    assert panel.compute(0, 1).out == ()
    assert panel.compute(200, 1).out == tuple(range(8))


def test_answers_come_in_the_order_that_is_asked_for():
    panel = appendix_b.one_by_one(IMAGES, SHARES, LABELS, CLASSES)
    wrong, unsure, right = appendix_b.ORDERS
    assert panel.compute(wrong, 1).image is IMAGES[1] and not panel.compute(wrong, 1).right
    assert panel.compute(wrong, 2).image is IMAGES[4]
    assert panel.compute(wrong, 3).image is IMAGES[3]  # then the right ones, the surest first
    assert panel.compute(unsure, 1).image is IMAGES[6]
    assert panel.compute(right, 1).image is IMAGES[3] and panel.compute(right, 1).right
    found = panel.compute(wrong, 1)
    assert found.truth == "mug" and found.bars == (
        ("key", pytest.approx(0.8), False),
        ("mug", pytest.approx(0.1), True),
        ("plant", pytest.approx(0.1), False),
    )
    assert panel.sentence == "Wrong: a picture of mug is called key, 80 % sure."


def static_of(count, right):
    """The static picture's title and alternative text for `count` answers, of which the first `right` are right."""
    shares = torch.tensor([[0.9, 0.1]]).repeat(count, 1)
    labels = torch.tensor([int(i >= right) for i in range(count)])
    panel = appendix_b.one_by_one(IMAGES[:count], shares, labels, ("mug", "key"))
    panel._repr_mimebundle_()  # each setting can be drawn
    return panel._twin.title, panel._twin.alt


def test_the_static_picture_says_which_answers_there_are():
    assert static_of(8, 4) == (
        "Two wrong and sure, two unsure, two right and sure (green: the truth)",
        "Six pictures beside bars with the shares of the classes: the two surest wrong answers, the two least "
        "sure, the two surest right ones; the true class is green.",
    )
    title, alt = static_of(8, 8)
    assert title == "Two unsure, two right and sure (green: the truth)" and alt.startswith("Four pictures beside bars")
    title, alt = static_of(8, 1)
    assert title == "Two wrong and sure, two unsure, one right and sure (green: the truth)"
    assert alt.startswith("Five pictures beside") and "the surest right one;" in alt
    title, alt = static_of(1, 0)
    assert title == "One wrong and sure, one unsure (green: the truth)"
    assert alt.startswith("Two pictures, some of them twice, beside bars")


@pytest.mark.parametrize(
    ("count", "shares", "labels", "classes", "message"),
    [
        (2, [[1.0], [1.0]], [0, 0], ["mug"], r"two or more probabilities .* not 2 labels and probabilities \(2, 1\)"),
        (0, torch.zeros(0, 2), [], ["mug", "key"], "for 0 pictures, 2 names"),
        (3, [[0.5, 0.5]] * 2, [0, 1], ["mug", "key"], "for 3 pictures, 2 names"),
        (2, [[0.5, 0.3, 0.2]] * 2, [0, 1], ["mug", "key"], r"probabilities \(2, 3\) for 2 pictures, 2 names"),
        (2, [[3.0, -2.0]] * 2, [0, 1], ["mug", "key"], r"add up to 1 for each picture; give logits\.softmax\(dim=1\)"),
        (2, [[float("nan")] * 2] * 2, [0, 1], ["mug", "key"], "add up to 1 for each picture"),
    ],
)
def test_answers_that_do_not_fit_the_pictures_are_refused_in_a_sentence(count, shares, labels, classes, message):
    with pytest.raises(ValueError, match=message):
        appendix_b.one_by_one(IMAGES[:count], torch.as_tensor(shares), torch.tensor(labels), classes)


def test_classes_that_no_picture_was_kept_of_may_lack_a_probability():
    assert "mug" in appendix_b.one_by_one(IMAGES, SHARES, LABELS, (*CLASSES, "pen")).sentence


def test_limits_for_other_pictures_are_refused():
    with pytest.raises(ValueError, match="as many brightnesses and sharpnesses as pictures, not 8, 7 and 8"):
        appendix_b.sorting_out(IMAGES, BRIGHTNESS[:7], SHARPNESS)


def test_a_grey_picture_keeps_its_contrast():
    grey = Image.new("L", (8, 8), 100)
    figure = Figure()
    found = appendix_b.Answered(grey, "mug", (("mug", 0.999, True), ("key", 0.001, False)), "1 of 1")
    appendix_b.draw_answered(found, figure)
    assert figure.axes[0].images[0].get_clim() == (0, 255)
    panel = appendix_b.one_by_one([grey], torch.tensor([[0.999, 0.001]]), torch.tensor([0]), ("mug", "key"))
    assert panel.sentence == "Right: a picture of mug is called mug, over 99 % sure."


def test_a_contact_sheet_holds_every_picture_in_the_row_of_its_group():
    names = ["b", "a", "b", "a", "b"]
    images = [Image.new("RGB", (50, 50), (40 * i + 30, 0, 0)) for i in range(5)]
    figure = pictures.contact_sheet(images, names, columns=2, side=20, marked=[3], title="Five")
    (axes,) = figure.axes
    sheet = axes.images[0].get_array()
    assert sheet.shape[:2] == (60, 40)  # b takes two rows, a one
    reds = {(row, column): int(sheet[20 * row + 10, 20 * column + 4, 0]) for row in range(3) for column in range(2)}
    assert reds == {(0, 0): 30, (0, 1): 110, (1, 0): 190, (1, 1): 255, (2, 0): 70, (2, 1): 150}
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b", "a"]
    assert tuple(sheet[41, 30]) == (213, 94, 0)  # the frame of the one that is marked
    plt.close(figure)
    (axes,) = pictures.contact_sheet(images, [1, 0, 1, 0, 1], columns=2, side=20).axes  # groups may be numbers
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1", "0"]
    plt.close("all")
    with pytest.raises(ValueError, match="a group for each, not 5 and 4"):
        pictures.contact_sheet(images, names[:4])
