"""Counts and sizes of a set's pictures are drawn as they are."""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from course_utils import data, figures
from course_utils.data import drawing


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def part(counts, name="train", sizes=None):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    files = tuple(Path(f"{i}.png") for i in range(len(labels)))
    sizes = sizes or ((30, 20),) * len(labels)
    return data.FilePart(files, labels, tuple(f"class {i}" for i in range(len(counts))), name, tuple(sizes))


def widths(ax):
    return [bar.get_width() for bar in ax.patches]


def test_each_class_has_a_bar_the_longest_first():
    ax = part([3, 9, 5]).plot_counts()
    assert widths(ax) == [9, 5, 3]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["class 1", "class 2", "class 0"]
    assert ax.get_title(loc="left") == "17 pictures of 3 classes, from 3 to 9 a class"
    assert part([4, 4]).plot_counts().get_title(loc="left") == "8 pictures of 2 classes, 4 each"


def test_of_many_classes_only_the_ends_are_drawn_and_the_rest_is_counted():
    ax = drawing.draw_counts({"training": {f"c{i}": i + 1 for i in range(101)}})
    assert widths(ax) == [*range(101, 91, -1), *range(10, 0, -1)]
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"c{bar - 1:.0f}" for bar in widths(ax)]
    assert " … 81 classes between …" in [text.get_text() for text in ax.texts]
    assert ax.get_title(loc="left") == "5,151 pictures of 101 classes, from 1 to 101 a class"
    ax = drawing.draw_counts({"training": dict.fromkeys("abcdefghijklmnopqrst", 1)})
    assert len(ax.patches) == 20 and [text.get_text() for text in ax.texts] == [" 1"] * 20


def test_the_ends_are_those_of_all_parts_together():
    parts = {"training": {f"c{i}": 2 for i in range(30)}, "test": {f"c{i}": i for i in range(30)}}
    ax = drawing.draw_counts(parts)
    ends = [*range(29, 19, -1), *range(9, -1, -1)]
    assert widths(ax) == [2] * 20 + ends and [bar.get_x() for bar in ax.patches] == [0] * 20 + [2] * 20
    assert [text.get_text() for text in ax.texts][:20] == [f" {2 + i}" for i in ends]


def test_many_long_names_beside_another_figure_overlap_nothing():
    counts = {f"Ärger {i} $x_{{{i}}}$ and more": 3 + i for i in range(60)}
    with figures.style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
        drawing.draw_counts({"training": counts, "test": counts}, left)
        drawing.draw_sizes([(150, 120), (90, 100)] * 1000, 96, right)
        figure.canvas.draw()
    rows = [label.get_window_extent() for label in left.get_yticklabels()]
    assert all(upper.y0 >= lower.y0 + 0.8 * lower.height for upper, lower in pairwise(rows))
    assert left.title.get_text() == "" and "\nfrom 6 to" in left.get_title(loc="left")
    assert left._left_title.get_window_extent().x1 < right._left_title.get_window_extent().x0


def test_a_sets_parts_lie_end_to_end_in_one_bar():
    parts = {"train": part([4, 2]), "validation": None, "test": part([1, 0], "test")}
    made = data.ImageSet("s", "S", **parts, classes=parts["train"].classes, source=data.Source("folder", "x"))
    ax = made.plot_counts()
    assert widths(ax) == [4, 2, 1, 0] and [bar.get_x() for bar in ax.patches] == [0, 0, 4, 2]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "test"]
    assert ax.get_legend().get_window_extent().y1 < ax.xaxis.get_label().get_window_extent().y0, "over bars or label"


def test_sizes_are_dots_and_the_smaller_ones_are_counted():
    sizes = [(500, 375), (200, 300), (224, 224), (640, 100)]
    ax = part([2, 2], sizes=sizes).plot_sizes(224)
    assert ax.collections[0].get_offsets().tolist() == [list(size) for size in sizes]
    assert ax.get_title(loc="left") == "2 of 4 would be enlarged" and ax.get_xscale() == "linear"
    assert (224, 224) in [tuple(point) for point in ax.lines[0].get_xydata().tolist()]
    one_short_side = part([1, 1], sizes=[(10, 300), (300, 300)]).plot_sizes(224)
    assert one_short_side.get_title(loc="left") == "1 of 2 would be enlarged"
    assert one_short_side.collections[0].get_offsets().tolist() == [[10, 300], [300, 300]]


def test_very_different_sizes_get_logarithmic_axes_with_plain_numbers():
    ax = part([1, 1], sizes=[(32, 32), (4000, 3000)]).plot_sizes(96)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == ["32", "64", "128"]


def test_they_are_drawn_where_they_are_wanted_and_leave_the_style_alone():
    before = dict(plt.rcParams)
    figure, (left, right) = plt.subplots(1, 2)
    assert part([3, 1]).plot_counts(left) is left and part([3, 1]).plot_sizes(ax=right) is right
    assert dict(plt.rcParams) == before
    assert len(figures.to_png(figure)) > 1000


@pytest.mark.parametrize(("name", "shown"), [("a\nb  c", "a b c"), ("y" * 30, "y" * 23 + "…"), ("$5", "$5")])
def test_a_long_name_is_cut_to_one_line(name, shown):
    assert drawing.shortened(name) == shown
