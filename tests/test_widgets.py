import asyncio
import base64
import io
import re
import threading
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from panels import every_control, figures_in_memory, operate_everything, several_values
from PIL import Image

from course_utils import convolution, figures, pictures
from course_utils.errors import CourseError
from course_utils.widgets import controls, lesson1, lesson2, panel
from course_utils.widgets.exploration import REMEMBERED, Exploration, Twin
from course_utils.widgets.panel import VIEW, outside, sentence_of

NUMBERS = torch.tensor([[1.0, 3, 0, 2, 5], [4, 2, 1, 0, 3], [0, 6, 2, 1, 1], [2, 1, 3, 8, 0], [5, 0, 2, 4, 1]])
EXPLORATIONS = {
    "channel mixer": lambda: lesson1.channel_mixer("coffee"),
    "learning rate": lesson1.learning_rate,
    "kernel editor": lambda: lesson2.kernel_editor("cat"),
    "cell arithmetic": lambda: lesson2.cell_arithmetic(NUMBERS),
}
every_exploration = pytest.mark.parametrize("make", EXPLORATIONS.values(), ids=EXPLORATIONS)


def line(draws, **changes):
    """Return a small exploration that notes each drawing in `draws`, and fails for a slope of 3."""

    def compute(slope, shift):
        if slope == 3:
            raise changes.get("error", ValueError("A slope of 3 is too steep; choose another."))
        return [shift + slope * x for x in range(5)]

    def draw(values, figure):
        draws.append(values)
        changes.get("draw", lambda values, figure: figure.subplots().plot(values))(values, figure)

    sliders = {"slope": controls.slider("slope", 1, 0, 5, 1), "shift": controls.slider("shift", 0, -2, 2, 0.5)}
    return Exploration(
        compute,
        draw,
        sliders,
        describe=lambda values: f"It ends at {values[-1]:g}.",
        twin=Twin([{"slope": 0}, {"slope": 2, "shift": 1}], alt="Two lines, one level and one rising."),
        size=(2, 1),
    )


def image_of(panel):
    return Image.open(io.BytesIO(panel.picture.value))


@pytest.mark.thorough
@every_exploration
def test_every_control_takes_its_ends_and_values_between_and_no_figure_stays(make):
    panel = make()
    before = figures_in_memory()
    assert operate_everything(panel) > len(every_control(panel))
    assert figures_in_memory() <= before and plt.get_fignums() == []


@pytest.mark.thorough
@every_exploration
def test_one_output_holds_the_live_widget_and_a_picture_with_words(make):
    panel = make()
    data, metadata = panel._repr_mimebundle_()
    (kind,) = metadata
    assert data[VIEW]["model_id"] == panel.model_id and kind in ("image/png", "image/jpeg")
    assert data["text/plain"] == metadata[kind]["alt"] and len(data["text/plain"]) > 60
    assert metadata[kind]["width"] < 900  # a notebook's page is not wider
    assert panel._ipython_display_ is None
    assert figures_in_memory() == 0


@every_exploration
def test_the_sentence_under_the_picture_can_be_read_out(make):
    panel = make()
    assert panel.sentence and f'role="status" aria-live="polite">{panel.sentence}' in panel.caption.value


def test_a_move_draws_once_and_moves_together_draw_once():
    draws = []
    panel = line(draws)
    assert draws == [[0, 1, 2, 3, 4]] and panel.sentence == "It ends at 4."
    panel.controls["slope"].value = 2
    assert draws[1:] == [[0, 2, 4, 6, 8]]
    panel.set(slope=1, shift=1)
    assert draws[2:] == [[1, 2, 3, 4, 5]] and panel.values == {"slope": 1, "shift": 1}
    with pytest.raises(ValueError, match="no control 'slop'; the controls are slope, shift"):
        panel.set(slop=1)


def test_the_static_twin_is_drawn_from_the_first_values_by_the_same_functions():
    draws = []
    panel = line(draws)
    panel.set(slope=4, shift=2)
    draws.clear()
    twin = panel.twin()
    assert draws == [[0, 0, 0, 0, 0], [1, 3, 5, 7, 9]]
    lines = [axes.lines[0].get_ydata().tolist() for part in twin.subfigs for axes in part.axes]
    assert lines == draws


def test_an_error_is_one_sentence_keeps_the_last_picture_and_goes_with_the_next_good_value(monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "0")
    panel = line([])
    good = panel.picture.value
    panel.controls["slope"].value = 3
    assert isinstance(panel.error, ValueError) and panel.picture.value == good
    assert 'role="alert"' in panel.alert.value and "A slope of 3 is too steep; choose another." in panel.alert.value
    assert panel.alert.layout.display is None
    panel.controls["slope"].value = 2
    assert panel.error is None and panel.alert.value == "" and panel.alert.layout.display == "none"
    assert panel.picture.value != good


def test_an_error_is_raised_in_tests():
    panel = line([])
    with pytest.raises(ValueError, match="too steep"):
        panel.controls["slope"].value = 3


def test_an_unexpected_error_names_its_kind_and_is_no_html(monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "0")
    panel = line([], error=KeyError("<b>"))
    panel.controls["slope"].value = 3
    assert "This setting does not work: KeyError: &#x27;&lt;b&gt;&#x27;." in panel.alert.value


def test_errors_in_words():
    assert sentence_of(CourseError("The file is gone; fetch it.")) == "The file is gone; fetch it."
    assert sentence_of(RuntimeError("a\nb")) == "This setting does not work: RuntimeError: a."
    assert sentence_of(ValueError()) == "This setting does not work: ValueError."


def test_an_error_at_the_very_first_drawing_ends_the_cell(monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "0")
    with pytest.raises(ZeroDivisionError):
        Exploration(
            lambda a: 1 / a,
            print,
            {"a": controls.slider("a", 0, 0, 1, 1)},
            describe=str,
            twin=Twin([{}], alt="nothing at all"),
        )


def test_a_widget_that_draws_in_another_thread_leaves_matplotlibs_settings_alone():
    import matplotlib

    before, panel = dict(matplotlib.rcParams), line([])
    inside, drawn = threading.Event(), threading.Event()

    def draw():
        inside.wait(300)
        panel.set(slope=2)
        drawn.set()

    thread = threading.Thread(target=draw)
    thread.start()
    with figures.style():
        inside.set()
        assert not drawn.wait(0.2)  # it waits for this block to end
    assert drawn.wait(300)
    thread.join()
    assert dict(matplotlib.rcParams) == before


def test_the_mixer_mixes_as_the_lesson_does_and_counts_what_is_cut_off():
    panel = lesson1.channel_mixer("coffee")
    settings = {"red": 0.5, "green": 1.0, "blue": 2.0, "brightness": 0.1}
    mixture = panel.compute(**settings)
    torch.testing.assert_close(mixture.after, pictures.mix(mixture.before, **settings))
    assert mixture.cut == pytest.approx(
        ((mixture.before * torch.tensor([0.5, 1, 2]).view(3, 1, 1) + 0.1) > 1).float().mean()
    )
    panel.set(red=3.0)
    assert " % of the numbers left the range from 0 to 1 and were cut off; " in panel.sentence
    assert panel.sentence.endswith("% of the pixels are black.")
    (reset,) = [control for control in every_control(panel) if control.description == "Reset"]
    reset.click()
    assert panel.values == panel.first_values and panel.sentence.startswith("0 %")
    panel.set(blue=1.05)
    assert 0 < panel.compute(**panel.values).cut < 0.005 and panel.sentence.startswith("<1 % of the numbers left")


def test_the_walk_is_gradient_descent_and_its_buttons_take_single_steps():
    result = lesson1.walk(0.3, 3.0, 5)
    x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.3)
    for place in result.places:
        torch.testing.assert_close(place, x.detach())
        optimizer.zero_grad()
        lesson1.parabola(x).backward()
        optimizer.step()
    panel = lesson1.learning_rate()
    buttons = {control.description: control for control in every_control(panel) if hasattr(control, "click")}
    assert panel.sentence == "After 0 steps x = 3. The slope here is 5, so the next step is −0.1 · 5 = −0.5."
    buttons["One step"].click()
    assert panel.values["steps"] == 1 and panel.sentence.startswith("After 1 step x = 2.5. The slope here is 4,")
    for _ in range(10):
        buttons["Five steps"].click()
    assert panel.values["steps"] == 30
    buttons["Back to the start"].click()
    assert panel.values["steps"] == 0
    panel.set(start=-1.0)
    assert panel.sentence.endswith("The slope here is −3, so the next step is −0.1 · (−3) = 0.3.")
    assert lesson1.next_step(lesson1.walk(0.1, 0.5, 0)).endswith("so the next step is −0.1 · 0 = 0.")


@pytest.mark.parametrize("name", convolution.KERNELS)
def test_a_preset_of_the_kernel_editor_is_the_named_kernel_and_keeps_its_name(name):
    panel = lesson2.kernel_editor("cat")
    (preset,) = [control for control in every_control(panel) if control.description == "kernel"]
    preset.value = name
    result = panel.compute(**panel.values)
    torch.testing.assert_close(result.kernel, convolution.kernel(name))
    assert result.name == name and panel.sentence.startswith(f"{name}: ")
    assert all(panel.values[f"n{i}"] == round(panel.values[f"n{i}"]) for i in range(9))
    panel.controls["n4"].value += 0.5
    assert preset.value == "your own" and panel.sentence.startswith("your own: ")
    panel.controls["n4"].value -= 0.5
    assert preset.value == name


def test_choosing_a_preset_draws_once(monkeypatch):
    panel = lesson2.kernel_editor("cat")
    (preset,) = [control for control in every_control(panel) if control.description == "kernel"]
    drawn = []
    monkeypatch.setattr(panel, "move", lambda result, figure: drawn.append(result.name) or [])
    preset.value = "emboss"
    assert drawn == ["emboss"]


def test_normalising_keeps_the_range_of_the_picture():
    generator = torch.Generator().manual_seed(0)
    white = torch.ones(1, 1, 5, 5)
    for kernel in (torch.rand(3, 3, generator=generator), torch.randn(3, 3, generator=generator)):
        torch.testing.assert_close(lesson2.normalised(kernel).sum(), torch.tensor(1.0))
        answer = convolution.corr2d_slices(white, lesson2.normalised(kernel)[None, None])
        torch.testing.assert_close(answer, torch.ones(1, 1, 3, 3))
    sobel = lesson2.normalised(convolution.kernel("Sobel x"))
    most = (sobel * (sobel > 0)).sum().item()  # the strongest edge there can be: white under the positive numbers
    assert most == pytest.approx(1.0)
    assert torch.equal(lesson2.normalised(torch.zeros(3, 3)), torch.zeros(3, 3))


def test_a_move_of_the_stride_draws_once(monkeypatch):
    panel = lesson2.cell_arithmetic(NUMBERS)
    panel.set(row=2, column=2)
    drawn = []
    monkeypatch.setattr(panel, "move", lambda cell, figure: drawn.append((cell.row, cell.column)) or [])
    panel.controls["stride"].value = 3
    assert drawn == [(0, 0)] and (panel.values["row"], panel.values["column"]) == (0, 0)


def test_an_arithmetic_stays_in_the_output_and_greys_out_what_an_operation_lacks():
    panel = lesson2.cell_arithmetic(NUMBERS)
    settings = panel.controls
    panel.set(row=2, column=2)
    settings["padding"].value = 2
    assert settings["row"].max == 6
    panel.set(row=6, column=6)
    settings["stride"].value = 3
    assert settings["row"].max == 2 and panel.values["row"] == 2
    settings["operation"].value = "max pooling"
    assert settings["padding"].disabled and settings["kernel"].disabled and not settings["size"].disabled
    assert panel.sentence.startswith("Row 1, column 1: max(")
    settings["operation"].value = "convolution"
    assert not settings["padding"].disabled and settings["size"].disabled
    with pytest.raises(ValueError, match="at least 5 × 5, not \\(3, 3\\)"):
        lesson2.cell_arithmetic(torch.zeros(3, 3))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("channel mixer", {"red": 0.3, "brightness": 0.2}),
        ("learning rate", {"rate": 0.9, "steps": 12, "start": -2.0}),
        ("kernel editor", {"n4": 1.0, "normalise": True}),
        ("cell arithmetic", {"padding": 2, "row": 1, "column": 2}),
        ("cell arithmetic", {"operation": "max pooling", "stride": 2}),
        ("kernel editor", {f"n{i}": 1.0 for i in range(9)} | {"normalise": True}),
    ],
)
def test_what_moves_in_a_kept_figure_looks_as_if_all_of_it_were_drawn_anew(name, settings):
    moved = EXPLORATIONS[name]()
    moved.set(**settings)
    fresh = EXPLORATIONS[name]()
    fresh.move = None
    fresh.set(**settings)
    apart = np.abs(np.asarray(image_of(moved), float) - np.asarray(image_of(fresh).convert("RGB"), float))
    assert moved.picture.value != EXPLORATIONS[name]().picture.value and apart.mean() < 0.5, apart.mean()


def test_settings_seen_before_show_the_same_picture_and_sentence_without_drawing(monkeypatch):
    panel = lesson2.cell_arithmetic(NUMBERS)
    seen = {}
    for stride in (1, 2, 3):
        panel.set(stride=stride)
        seen[stride] = panel.picture.value, panel.sentence, panel._framed
    assert len({image for image, _, _ in seen.values()}) == 3
    monkeypatch.setattr(panel, "compute", None)  # a call would fail
    panel.set(stride=2)
    assert (panel.picture.value, panel.sentence, panel._framed) == seen[2]


def test_only_the_newest_pictures_are_kept():
    panel = lesson1.learning_rate()
    first, computed, compute = panel.values["rate"], [], panel.compute
    panel.compute = lambda **values: computed.append(values["rate"]) or compute(**values)
    rates = np.linspace(0.01, 1.0, REMEMBERED + 5).tolist()
    for rate in (*rates, first, rates[-1]):
        panel.set(rate=rate)
    assert panel._seen.cache_info().currsize == REMEMBERED and computed == [*rates, first]


def test_settings_that_failed_once_are_tried_again(monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "0")
    panel = lesson1.learning_rate()
    with monkeypatch.context() as failing:
        failing.setattr(panel, "compute", lambda **_: 1 / 0)
        panel.set(rate=0.77)
    before = panel.picture.value
    assert isinstance(panel.error, ZeroDivisionError)
    panel.set(rate=0.77)
    assert panel.error is None and panel.alert.value == "" and panel.picture.value != before


def test_what_stood_in_a_kept_figure_before_leaves_no_trace():
    moved = lesson2.cell_arithmetic(NUMBERS)
    moved.set(padding=2, dilation=2)
    for settings in ({"operation": "sum pooling", "size": 3}, {"operation": "convolution", "padding": 0}):
        moved.set(**settings)
        fresh = lesson2.cell_arithmetic(NUMBERS)
        fresh.move = None
        fresh.set(**moved.values)
        apart = np.abs(np.asarray(image_of(moved), float) - np.asarray(image_of(fresh).convert("RGB"), float))
        assert apart.mean() < 0.5, (settings, apart.mean())


def answering(monkeypatch, kind):
    """Let panels believe that their kernel handles a message of a kind."""
    kernel = SimpleNamespace(get_parent=lambda: {"header": {"msg_type": kind}})
    monkeypatch.setattr(panel, "get_ipython", lambda: SimpleNamespace(kernel=kernel))


@pytest.mark.parametrize(("kind", "waits"), [("comm_msg", True), ("execute_request", False)])
def test_the_picture_of_a_moved_slider_is_sent_after_the_kernel_has_answered(monkeypatch, kind, waits):
    answering(monkeypatch, kind)

    async def move():
        mixer = lesson1.channel_mixer("coffee")
        before = mixer.picture.value
        mixer.controls["red"].value = 2.0
        at_once = mixer.picture.value != before
        await asyncio.sleep(0)
        return at_once, mixer.picture.value != before

    assert asyncio.run(move()) == (not waits, True)


def test_limits_follow_once_the_sliders_are_at_rest(monkeypatch):
    explorer = lesson2.cell_arithmetic(NUMBERS)
    row, stride = explorer.controls["row"], explorer.controls["stride"]
    answering(monkeypatch, "comm_msg")

    async def drag():
        for value in (2, 3, 2):
            stride.value = value
            await asyncio.sleep(0.02)
        still = row.max
        await asyncio.sleep(0.4)
        return still, row.max

    assert asyncio.run(drag()) == (2, 1)
    done = []

    async def many():
        for _ in range(5):
            moved(None)
        await asyncio.sleep(0.3)

    moved = panel.at_rest(lambda: done.append("once"), seconds=0.05)
    asyncio.run(many())
    assert done == ["once"]
    monkeypatch.undo()
    stride.value = 1
    assert row.max == 2  # without a kernel, at once


def test_the_static_copy_is_computed_where_the_course_is_built_and_not_in_a_learners_kernel(monkeypatch):
    panel = lesson1.learning_rate()
    panel.set(steps=3)
    monkeypatch.setattr(panel, "_static", lambda: pytest.fail("computed"))
    monkeypatch.setenv("COURSE_STRICT", "0")
    data, _ = panel._repr_mimebundle_()
    shown = base64.b64decode(re.search(r"base64,([^\"]+)", data["text/html"])[1])
    assert shown == panel.picture.value and data["text/plain"] == panel.sentence and data[VIEW]
    assert "the controls stand in its place" in data["text/html"] and f'alt="{panel.sentence}"' in data["text/html"]


def test_a_card_has_a_title_and_a_reset():
    for make in EXPLORATIONS.values():
        panel = make()
        titles = [child.value for child in panel.children if "course-title" in getattr(child, "_dom_classes", ())]
        assert len(titles) == 1 and len(titles[0]) > len("<b></b>") + 8
        assert [c.description for c in every_control(panel)].count("Reset") == 1


def test_what_follows_the_mouse_is_computed_on_one_thread(monkeypatch):
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(pictures, "mix", lambda image, *gains: seen.append(torch.get_num_threads()) or image)
    torch.set_num_threads(2)
    try:
        lesson1.channel_mixer("coffee").set(red=2.0)
        assert seen == [1, 1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@every_exploration
def test_a_narrow_card_cuts_the_picture_where_nothing_stands_whatever_the_settings(make):
    panel = make()
    assert len(panel._framed[0]) == 2  # of two columns or, in the arithmetic, of four
    for control in every_control(panel):
        for value in [] if isinstance(control, ipywidgets.Button) else several_values(control):
            control.value = value
            figure = panel._canvas.figure
            boxes = [axes.get_tightbbox() for axes in figure.axes] + [t.get_window_extent() for t in figure.texts]
            wide = figure.bbox.width
            cuts = [right for _, right in panel._framed[0][:-1]]
            assert not [cut for cut in cuts for box in boxes if box.x0 < cut * wide < box.x1], (control, value)


def test_a_part_of_a_narrow_card_is_never_drawn_larger_than_in_a_wide_one():
    panel = lesson1.channel_mixer("coffee")
    narrow = panel._look.value.rpartition("@container")[2]
    widest = [int(width) for width in re.findall(r">\*\{min-width:\d+px;max-width:(\d+)px", narrow)]
    assert widest == [round((right - left) * panel._width) for left, right in panel._framed[0]] and len(widest) == 2


def test_only_photographs_stay_as_they_are_in_the_dark():
    photos = lesson1.channel_mixer("coffee")._framed[1]
    assert len(photos) == 2
    assert all(0 <= left < right <= 1 and 0 <= top < bottom <= 1 for left, top, right, bottom in photos)
    assert outside(photos).count("exclude") == 2
    assert lesson1.learning_rate()._framed[1] == [] and "exclude" not in outside([])
    shown = line([], draw=lambda values, figure: figure.subplots().imshow([values]))
    assert len(shown._framed[1]) == 1  # a picture in a drawing would be its negative


def test_a_photograph_travels_as_jpeg_and_a_drawing_as_png():
    assert image_of(lesson1.channel_mixer("coffee")).format == "JPEG"
    assert image_of(lesson1.learning_rate()).format == "PNG"


def test_controls_have_labels_and_a_place_that_fits_any_window():
    wide = [
        controls.log_slider("rate", 0.1, -4, 1),
        controls.slider("shift", 0, -1, 1, 0.5),
        controls.choice("of", "ab"),
    ]
    narrow = [
        controls.number("middle", 1.0),
        controls.tick("on"),
        controls.button("go", print),
        controls.upload("file", []),
    ]
    assert all(control.description for control in wide + narrow)
    assert {control.layout.max_width for control in wide} == {"100%"}  # never wider than the window
    assert {control.layout.width for control in wide + narrow} == {"auto"}  # as wide as the grid, or as the words
    assert controls.choice("kernel", [("one", 1), ("two", 2)]).value == 1
    assert controls.choice("kernel", ["a", "b"], "b").value == "b"


def test_a_choice_that_is_not_there_is_one_sentence():
    with pytest.raises(ValueError, match="There is no kernel 'blurr'; choose one of: identity, vertical edges"):
        lesson2.cell_arithmetic(NUMBERS, "blurr")
    with pytest.raises(ValueError, match="There is no photograph 'dog'; choose one of: astronaut, cat"):
        lesson2.kernel_editor("dog")
    with pytest.raises(ValueError, match="There is no network to choose; give one or more"):
        controls.choice("network", [])
