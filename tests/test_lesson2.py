"""What lesson 2 says beside its widgets, its drawings, and the pictures that move."""

import base64
import io

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from test_widgets import NUMBERS
from torch.nn import functional as F

from course_utils import convolution, exercises, figures
from course_utils.base.words import signed
from course_utils.command.notebooks.normalise import smaller_png
from course_utils.convolution import worked
from course_utils.exercises import given
from course_utils.widgets import lesson2

STEP = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]])


# --- each answer beside a widget, by the widget's own function


def asked(caption):
    editor = lesson2.kernel_editor("cat")
    return editor, lesson2.ASKED[caption], editor.compute(photograph="cat", **lesson2.ASKED[caption])


def test_a_two_in_the_middle_makes_everything_twice_as_bright_and_normalising_takes_it_back():
    editor, numbers, result = asked("2 in the middle")
    assert torch.equal(result.after, 2 * result.before[1:-1, 1:-1])
    back = editor.compute(photograph="cat", **{**numbers, "normalise": True})
    assert torch.equal(back.after, result.before[1:-1, 1:-1])


def test_a_one_in_a_corner_moves_the_picture_by_one_pixel():
    _, _, result = asked("1 in a corner")
    assert torch.equal(result.after, result.before[:-2, :-2])


def test_a_minus_one_beside_the_one_answers_nothing_on_flat_areas_and_something_on_edges():
    _, _, result = asked("−1 beside the 1")
    assert result.signed and result.kernel.sum() == 0
    assert torch.equal(result.after, result.before[1:-1, 1:-1] - result.before[1:-1, 2:])


def test_emboss_keeps_the_brightness_and_all_edges_has_no_direction():
    emboss, edges = convolution.kernel("emboss"), convolution.kernel("all edges")
    assert emboss.sum() == 1
    assert all(torch.equal(edges, edges.rot90(turns)) for turns in range(4))


def test_the_twin_of_the_editor_shows_what_the_lesson_asks_about():
    parts = lesson2.kernel_editor("cat").twin().subfigs
    captions = [part._suptitle.get_text() for part in parts]
    assert captions[:4] == list(lesson2.ASKED) and len(captions) == 12


def test_padding_1_and_stride_2_give_three_rows_and_three_columns():
    explorer = lesson2.cell_arithmetic(NUMBERS)
    assert explorer.compute(**{**explorer.values, "padding": 1, "stride": 2}).output.shape == (3, 3)


def test_padding_moves_each_window_up_and_left_and_the_picture_in_the_output_down_and_right():
    explorer = lesson2.cell_arithmetic(NUMBERS)
    without = explorer.compute(**{**explorer.values, "row": 1, "column": 2})
    padded = explorer.compute(**{**explorer.values, "row": 1, "column": 2, "padding": 1})
    assert [row - 1 for row in padded.rows] == [row - 1 for row in without.rows]  # rows of the padded picture
    assert torch.equal(padded.output[1:4, 1:4], without.output)


def test_a_kernel_that_keeps_flat_areas_is_not_said_to_make_them_one_time_as_bright():
    editor = lesson2.kernel_editor("cat")
    editor.set(**lesson2.ASKED["identity"])
    assert editor.sentence.startswith("identity: the numbers sum to 1; flat areas keep their brightness")


def test_the_editors_sentence_speaks_of_the_numbers_that_are_seen():
    editor = lesson2.kernel_editor("cat")
    editor.set(**{f"n{i}": 1.0 for i in range(9)}, normalise=True)
    assert editor.sentence.startswith("box blur: once normalised, the numbers sum to 1; flat areas keep")
    editor.set(normalise=False)
    assert editor.sentence.startswith("box blur: the numbers sum to 9; flat areas come out 9 times as bright")
    editor.set(n4=1e40)
    assert editor.sentence == "your own: the numbers are too large to be added up; take smaller ones."


def test_large_numbers_that_nearly_cancel_are_not_said_to_answer_nothing_on_flat_areas():
    editor = lesson2.kernel_editor("cat")
    editor.set(**lesson2.changed(n4=25, n5=-24))
    assert editor.sentence.startswith("your own: the numbers sum to 1; flat areas keep their brightness; ")
    editor.set(**lesson2.changed(n4=-0.0004))
    assert editor.sentence == "your own: the numbers sum to 0; flat areas answer about 0, shown white."
    editor.set(**lesson2.changed(n4=1, n5=-0.98))
    assert editor.sentence == "your own: the numbers sum to 0.02; flat areas answer about 0, shown white."
    editor.set(**lesson2.changed())
    assert editor.sentence == "your own: the numbers sum to 0; flat areas come out 0 times as bright."


def test_another_photograph_is_shown_before_and_after_and_keeps_its_shape():
    editor = lesson2.kernel_editor("cat")
    seen = set()
    for name in ("cat", "retina", "hopper", "coffee"):
        editor.set(photograph=name)
        before, after = (axes.images[0] for axes in editor._canvas.figure.axes)
        wanted = lesson2.grey_photograph(name)
        assert np.array_equal(before.get_array(), wanted) and after.get_array().shape == (
            len(wanted) - 2,
            wanted.shape[1] - 2,
        )
        for image in (before, after):
            high, wide = image.get_array().shape
            shown = image.get_window_extent()
            assert shown.width / shown.height == pytest.approx(wide / high, rel=0.01)
            assert image.axes.get_window_extent().padded(1).fully_containsx(shown.x1)
        with Image.open(io.BytesIO(editor.picture.value)) as picture:
            seen.add(picture.crop((0, 0, picture.width // 2, picture.height)).tobytes())
    assert len(seen) == 4


def inside(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def test_the_list_of_kernels_names_what_the_numbers_are_after_reset_too():
    editor = lesson2.kernel_editor("cat")
    (preset,) = (each for each in inside(editor) if getattr(each, "description", "") == "kernel")
    for change in (lambda: setattr(preset, "value", "box blur"), lambda: setattr(editor.controls["n4"], "value", 3.0)):
        change()
        assert preset.value == lesson2.name_of(torch.tensor([editor.values[f"n{i}"] for i in range(9)]).view(3, 3))
        (reset,) = (each for each in inside(editor) if getattr(each, "description", "") == "Reset")
        reset.click()
        assert preset.value == "vertical edges" and editor.sentence.startswith("vertical edges")


# --- the drawings


def texts(figure):
    return " ".join(str(each.get_label()) for axes in figure.axes for each in axes.collections)


def test_the_window_visits_every_cell_once_and_the_last_drawing_is_the_whole_output():
    kernel = convolution.kernel("vertical edges")
    frames = list(convolution.sliding_window(STEP, kernel))
    sums = [frame._supxlabel.get_text() for frame in frames]
    output = F.conv2d(STEP[None, None], kernel[None, None])[0, 0].flatten().tolist()
    assert len(frames) == 5 and len({frame.get_size_inches().tolist().__str__() for frame in frames}) == 1
    for text, value in zip(sums, output):
        assert text.endswith(f" = {value:g}".replace("-", "−"))
        terms = text.split(" = ")[0].replace("−", "-").replace("·", "*")
        assert eval(terms) == value
    assert "·" not in sums[-1]
    plt.close("all")


def test_columns_hold_the_windows_and_products_are_those_of_conv2d():
    numbered = torch.arange(1.0, 17.0).view(4, 4)
    figure = convolution.draw_columns(numbered, convolution.kernel("vertical edges"))
    assert "_6 6 6 6" in texts(figure) and "_1 2 5 6 2 3 6 7" in texts(figure)
    plt.close(figure)
    with pytest.raises(ValueError, match="colours for 6 windows, not 9"):
        convolution.draw_columns(torch.zeros(5, 5), torch.zeros(3, 3))


@pytest.mark.parametrize(
    "kind",
    [torch.Tensor.double, torch.Tensor.long, lambda rows: rows.long().numpy(), torch.Tensor.tolist],
    ids=["float64", "int64", "array", "list"],
)
def test_drawings_take_numbers_of_any_kind(kind):
    picture, kernel = torch.arange(16.0).view(4, 4), convolution.kernel("Sobel x")
    *_, last = convolution.sliding_window(kind(picture), kernel)
    cell = convolution.worked_cell(kind(picture), kernel, row=1)
    drawn = texts(last), texts(convolution.draw_columns(kind(picture), kernel)), cell.arithmetic
    *_, last = convolution.sliding_window(picture, kernel)
    expected = convolution.worked_cell(picture, kernel, row=1).arithmetic
    assert drawn == (texts(last), texts(convolution.draw_columns(picture, kernel)), expected)
    assert convolution.worked_cell(kind(picture), pool="average").output[0, 0] == 2.5
    plt.close("all")


def test_the_sums_of_three_planes_make_one_cell():
    picture = torch.arange(48.0).view(3, 4, 4) % 5
    planes = torch.stack([torch.eye(3), -torch.eye(3), torch.ones(3, 3)])
    figure = convolution.draw_channels(picture, planes, 1, 0)
    output = F.conv2d(picture[None], planes[None])[0, 0].flatten().tolist()
    assert "_" + " ".join(f"{value:g}".replace("-", "−") for value in output) in texts(figure)
    plt.close(figure)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: list(convolution.sliding_window(torch.zeros(2, 2), torch.zeros(3, 3))), "does not fit into"),
        (lambda: list(convolution.sliding_window(torch.zeros(2, 2, 2), torch.zeros(3, 3))), "two axes"),
        (lambda: list(convolution.sliding_window(torch.zeros(2, 2), torch.zeros(0, 2))), "does not fit into"),
        (lambda: convolution.draw_channels(torch.zeros(1, 4, 4), torch.zeros(1, 3, 3)), r"a picture \(3, H, W\)"),
        (lambda: convolution.draw_channels(torch.zeros(3, 4, 4), torch.zeros(3, 3, 3), 2), r"no output cell \(2, 0\)"),
    ],
)
def test_drawings_refuse_what_they_cannot_draw(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


# --- a picture that moves


def moving(monkeypatch, **options):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **rest: shown.append((data, rest["metadata"])))
    frames = convolution.sliding_window(STEP, convolution.kernel("Sobel x"))
    figures.show_moving(frames, "A window slides over a small picture.", seconds=0.25, **options)
    ((data, metadata),) = shown
    return base64.b64decode(data["image/png"]), data, metadata


def test_a_moving_picture_is_one_png_with_words_that_stops_by_itself(monkeypatch):
    image, data, metadata = moving(monkeypatch, rest=2.0, plays=2)
    opened = Image.open(io.BytesIO(image))
    assert opened.is_animated and opened.n_frames == 5 and opened.info["loop"] == 2
    durations = []
    for frame in range(opened.n_frames):
        opened.seek(frame)
        durations.append(opened.info["duration"])
        assert opened.convert("RGB").getpixel((2, opened.height // 2)) == (255, 255, 255)
    assert durations == [250, 250, 250, 250, 2000]
    assert metadata["image/png"]["alt"] == data["text/plain"] == "A window slides over a small picture."
    assert len(image) < 60_000 and plt.get_fignums() == []


def test_the_committed_form_of_a_notebook_keeps_all_frames(monkeypatch):
    image, _, _ = moving(monkeypatch)
    assert smaller_png(image) == image


def test_a_moving_picture_needs_frames_of_one_size_and_words(monkeypatch):
    with pytest.raises(ValueError, match="at least one figure"):
        figures.show_moving([], "Nothing moves in this picture.", seconds=1)
    with pytest.raises(ValueError, match="says too little"):
        figures.show_moving([], "short", seconds=1)
    sizes = [plt.figure(figsize=size) for size in ((1, 1), (2, 1))]
    with pytest.raises(ValueError, match="must have one size"):
        figures.show_moving(sizes, "Two figures of two sizes.", seconds=1)


# --- the experiment and the quiz


def test_unknown_effects_fit_their_photograph():
    for number in range(4):
        before, after = exercises.lesson2.unknown_effect(number)
        assert after.shape == (before.shape[0] - 2, before.shape[1] - 2)
    with pytest.raises(ValueError, match="no effect 4; they are numbered from 0 to 3"):
        exercises.lesson2.unknown_effect(4)


def best_kernel(before, after):
    """The nine numbers that least squares finds, and the share of the effect they leave."""
    columns = F.unfold(before[None, None], 3)[0].T.double()
    solved = np.linalg.lstsq(columns.numpy(), after.flatten().double().numpy(), rcond=None)[0]
    kernel = torch.tensor(solved, dtype=torch.float32).view(3, 3)
    left = F.mse_loss(F.conv2d(before[None, None], kernel[None, None])[0, 0], after) / after.var()
    return kernel, left.item()


def test_no_nine_numbers_come_near_the_effects_that_are_called_impossible():
    lesson = exercises.lesson2
    before = given.small_photograph("cat", 8, 24, 64)
    left = [best_kernel(before, effect(before))[1] for effect in given.EFFECTS]
    assert max(left[:2]) < 1e-6 and min(left[2:]) > 5 * lesson.MOST_LEFT


def test_least_squares_is_another_right_way():
    def learn_effect(before, after):
        kernel, left = best_kernel(before, after)
        return kernel, left < 0.01

    outcome = exercises.lesson2.learn_effect.judge(learn_effect)
    assert outcome.outcome == "correct", outcome


def test_the_figures_in_the_quiz():
    assert 2 * convolution.conv_parameters(64, 64, 3, bias=False) == 73_728
    assert convolution.conv_parameters(64, 64, 5, bias=False) == 102_400
    assert torch.nn.Conv2d(16, 32, 3, stride=2, padding=1)(torch.zeros(8, 16, 20, 20)).shape == (8, 32, 10, 10)
    assert convolution.KERNELS["Sobel y"] == ((-1, -2, -1), (0, 0, 0), (1, 2, 1))
    right = [[option.right for option in question.options].index(True) for question in exercises.lesson2.quiz.questions]
    assert sorted(right) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (-1.48, ".3g", "−1.48"),
        (-0.0, ".4g", "0"),
        (-0.04, "+.1f", "0.0"),
        (0.04, "+.1f", "+0.0"),
        (-1e-7, "g", "−1e−07"),
    ],
)
def test_a_number_has_a_proper_minus_sign_and_zero_has_none(value, form, text):
    assert signed(value, form) == text


def test_long_sums_are_written_smaller_and_stay_in_the_picture():
    whole, parts = torch.arange(25.0).view(5, 5), torch.linspace(0.11, 0.99, 25).view(5, 5)
    for picture, name, size in ((whole, "all edges", 9), (parts, "Gaussian blur", None)):
        cell = convolution.worked_cell(picture, convolution.kernel(name))
        figure = Figure(figsize=worked.FIGSIZE, layout="none")
        lesson2.draw_cell(cell, figure)
        FigureCanvasAgg(figure).draw()
        (text,) = figure.axes[3].texts
        assert text.get_window_extent().x1 <= figure.bbox.x1
        assert text.get_fontsize() == size if size else 6 < text.get_fontsize() < 9


@pytest.mark.parametrize("operation", [{"kernel": torch.ones(3, 3)}, {"pool": "max"}])
def test_a_stride_of_zero_is_refused(operation):
    with pytest.raises(ValueError, match="stride is 0; give a whole number of at least 1"):
        convolution.worked_cell(torch.ones(5, 5), **operation, stride=0)
