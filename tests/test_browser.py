"""The lessons as a learner meets them: JupyterLab in a real browser, and every live figure worked by keyboard."""

import io
import json
import re
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from lab import Lab, notebook_of
from needed import needed
from PIL import Image
from rounds import WEEKLY

from course_utils import exercises
from course_utils.base import lessons

NOTEBOOKS = lessons.notebooks(Path(__file__).resolve().parent.parent)
pytestmark = pytest.mark.browser
# Settings with which the figures of a lesson are there sooner.
SMALL = {
    "03": {"epochs": 1, "pictures_used": 4000, "test_used": 1000, "runs": 1},
    "04": {"epochs": 1, "pictures_used": 1000, "test_used": 200},
    "05": {"per_class": 4, "validated": 4, "tested": 4, "side": 64, "epochs": 1, "loop_pictures": 40},
    "06": {"epochs": 2, "test_steps": 50, "runs": 1},
    "07": {"ladder_pictures": 256, "ladder_epochs": 2},
}
PLAIN = 3  # times as long as a plain widget may a live figure take from a key to its picture
LIVELY = ["01", "02"]  # lessons whose figures answer at once; those of others compute for longer
WIDTHS = (1400, 900, 600, 400)

MODULES = {module.LESSON: module for module in (getattr(exercises, name) for name in exercises.__all__)}
# In each lesson one exercise, a wrong answer to it, and what the check says to that.
WRONG = {
    "01": ("perfect_rate", "def perfect_rate(a): return 0.5", "perfect_rate(2): got 0.5, expected 0.25"),
    "02": (
        "contrast_pool",
        "def contrast_pool(picture, size): return picture",
        "contrast_pool(<float32 tensor, shape (4, 6)>, 2): got a tensor of shape (4, 6), expected shape (2, 3)",
    ),
    "03": ("flat_size", "def flat_size(side): return 800", "flat_size(28): got 800, expected 128"),
    "04": (
        "best_epoch",
        "def best_epoch(accuracies, patience): return (1, 1)",
        "best_epoch([0.5, 0.6, 0.7, 0.69, 0.68, 0.9], 2): at [0], got 1, expected 3",
    ),
    "05": (
        "sampler_weights",
        "def sampler_weights(labels): return labels.float()",
        "sampler_weights(tensor([0, 0, 0, 1])): at [0], got 0, expected 0.1666667",
    ),
    "06": (
        "cycle_steps",
        "def cycle_steps(pictures, size, epochs, drop_last=False): return pictures // size * epochs",
        "cycle_steps(60000, 256, 5): got 1170, expected 1175",
    ),
    "07": ("amdahl", "def amdahl(fixed, factor): return factor", "amdahl(0.5, 2): got 2, expected 1.333333"),
    "A": (
        "kernel_to_pytorch",
        "def kernel_to_pytorch(kernel): return kernel.permute(3, 2, 1, 0)",
        "kernel_to_pytorch(<float32 tensor, shape (3, 3, 1, 4)>): at [0, 0, 0, 1], got 12, expected 4",
    ),
    "B": (
        "bits_apart",
        "def bits_apart(first, second): return int((first != second).sum())",
        "bits_apart(tensor([[1, 2, 3], [3, 2, 1]]), tensor([[11, 12, 13], [13, 12, 11]])): got 6, expected 0",
    ),
}

SETUP = """\
import ipywidgets
from course_utils.widgets import controls
from course_utils.widgets.exploration import Exploration, Twin

def compute(**settings):
    if settings.get("steps") == 3:
        raise ValueError("Three steps are one too many; take two or four.")
    return settings

def draw(settings, figure):
    figure.text(0.02, 0.5, " ".join(str(value) for name, value in settings.items() if name != "unused"))

def explore(members):
    return Exploration(
        compute, draw, members, describe=str, twin=Twin([{}], alt="All settings in one line."), size=(7, 1),
        title="A small live figure",
    )
"""
FAILING = """\
explore({"steps": controls.whole_slider("steps", 2, 0, 6)})
"""
ALL_KINDS = """\
members = {
    "rate": controls.log_slider("learning rate", 0.1, -4, 1),
    "shift": controls.slider("shift", 0.0, -1.0, 1.0, 0.25),
    "kernel": controls.choice("kernel", ["identity", "box blur", "emboss"], "box blur"),
    "on": controls.tick("normalise"),
    "number": controls.number("n", 1.0, 0.5),
    "file": controls.upload("file", [".png"]),
}
members["shift"].disabled = True
members["on"].observe(lambda change: setattr(members["shift"], "disabled", not change.new), "value")
panel = explore(members)
panel
"""
# What matplotlib and ipywidgets take by themselves on this machine, in this moment: two small pictures with axes.
PLAIN_WIDGET = """\
import io
import ipywidgets
import numpy as np
from matplotlib.figure import Figure

def redraw(change=None):
    figure = Figure(figsize=(7, 3))
    for axes in figure.subplots(1, 2):
        axes.imshow(np.arange(64).reshape(8, 8) % rows.value)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    picture.value = file.getvalue()

rows, picture = ipywidgets.IntSlider(4, 1, 9, description="rows"), ipywidgets.Image(layout={"max_width": "100%"})
picture.add_class("course-picture")
rows.observe(redraw, "value")
redraw()
plain = ipywidgets.VBox([rows, picture])
plain.add_class("course-panel")
plain
"""
POOR = """\
explore({
    "unused": controls.slider("unused", 0.0, 0.0, 1.0, 0.1),
    "long": ipywidgets.FloatSlider(1, description="a label of many words", style={"description_width": "7.5em"}),
    "name": controls.choice("name", ["an option that is far too long for any list, " * 4]),
})
"""
MIXER = """\
from course_utils import widgets

widgets.lesson1.channel_mixer("coffee")
"""


@pytest.fixture(scope="module")
def lab(browser):
    """One JupyterLab for all notebooks that a worker opens."""
    with Lab(browser=browser) as running:
        yield running


@pytest.fixture(scope="module", params=list(NOTEBOOKS))
def lesson(lab, request):
    """A committed notebook with its number and all that is alive in it; one window for all tests of a lesson.

    Lesson 1 is whole. Of the others there are the cells that lead to a live figure, a check or a question, with smaller
    settings: `course run` runs all of them in test_notebooks.py. Once a week all are whole.
    """
    path = NOTEBOOKS[request.param]
    with lab.open(path if WEEKLY or request.param == "01" else alive(path, SMALL.get(request.param, {}))) as notebook:
        notebook.number = request.param
        notebook.run_all()
        yield notebook


def alive(path, settings):
    """Return a notebook of those cells of another one that lead to what is alive in it, with some settings given."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in whole["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    for name, value in settings.items():
        (place,) = (number for number, source in enumerate(sources) if f"\n{name} = None" in source)
        sources[place] = sources[place].replace(f"\n{name} = None", f"\n{name} = {value}")
    return notebook_of([sources[number] for number in needed(sources, is_alive)])


def is_alive(source):
    """Tell whether a cell shows a live figure, a check or a question."""
    return re.search(r"^ *(widgets|exercises)\.", source, re.MULTILINE) is not None


@pytest.fixture(scope="module")
def planted(lab):
    """A small notebook with controls of all kinds, and with live figures that are not as they should be."""
    with lab.open(notebook_of([SETUP, FAILING, ALL_KINDS, POOR, PLAIN_WIDGET, MIXER, "1 + 1"])) as notebook:
        notebook.run_all()
        yield notebook


class Tour:
    """Moves every control of a panel by keyboard; `without_effect` are those that never changed the picture.

    worked: kinds of which one has had all its keys; for others of a kind a few do.
    """

    def __init__(self, panel, worked=None):
        self.panel, self.without_effect = panel, []
        self.worked = set() if worked is None else worked
        controls = panel.controls()
        self.left_out = [control for control in controls if not control.enabled]
        for control in controls:
            if control not in self.left_out and control.enabled:
                self.move(control)

    def move(self, control):
        if not self.changes(control):
            # There was nothing to put back, say: try again from other settings.
            for other in self.panel.controls():
                if other.kind in ("slider", "field") and other.enabled and other != control:
                    other.press("ArrowUp")
                elif other.kind == "list" and other.enabled:
                    other.choose("End" if other.value == other.options[0] else "Home")
            if not self.changes(control):
                self.without_effect.append(control.label)

    def changes(self, control):
        pictures = {self.panel.picture()}
        moves = (FEWER if control.kind in self.worked else MOVES).get(control.kind, MOVES[control.kind])
        self.worked.add(control.kind)
        for picture in moves(control):
            pictures.add(picture)
            assert self.panel.error == "", f"{control.label} at {control.value}: {self.panel.error}"
            for other in [other for other in self.left_out if other.enabled]:  # what this setting alone lets move
                self.left_out.remove(other)
                self.move(other)
        return len(pictures) > 1


def slide(control, keys=("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End")):
    before = control.value
    for key in keys:
        yield control.press(key)
    yield set_to(control, before, control.type(before))


def choose_from_list(control, most=None):
    """Take every option in turn from the opened list, or `most` of them."""
    before, options = control.value, control.options
    for place, option in enumerate(options[:most]):
        yield set_to(control, option, control.choose("Home", *["ArrowDown"] * place))
    yield set_to(control, before, control.choose("Home", *["ArrowDown"] * options.index(before)))


def tick(control):
    before = control.value
    for expected in ("false" if before == "true" else "true", before):
        yield set_to(control, expected, control.press("Space"))


def type_numbers(control, keys=("ArrowUp", "ArrowDown"), numbers=("2.5", "-1000")):
    before = control.value
    for key in keys:
        yield control.press(key)
    for number in (*numbers, before):
        yield set_to(control, number, control.type(number))


def push(control):
    for key in ("Enter", "Space"):
        yield control.press(key)


def send_files(control):
    """Choose two pictures, one after the other."""
    for shade in ("red", "blue"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), shade).save(buffer, "png")
        yield control.send(f"{shade}.png", buffer.getvalue())


def set_to(control, value, picture):
    """Pass a picture on once the control shows a value."""
    assert control.value == value, f"{control.label} is {control.value}, not {value}"
    return picture


MOVES = {
    "slider": slide,
    "list": choose_from_list,
    "field": type_numbers,
    "box": tick,
    "button": push,
    "upload": send_files,
}
FEWER = {
    "slider": partial(slide, keys=("Home", "End")),
    "list": partial(choose_from_list, most=2),
    "field": partial(type_numbers, keys=("ArrowUp",), numbers=()),
}


def texts_cut_off(notebook):
    """Return what of the live figures cannot be read in wide and in narrow windows."""
    found = []
    for width in WIDTHS:
        notebook.resize(width)
        found += [f"{width} px, {panel.title}: {text}" for panel in notebook.panels() for text in panel.cut_off()]
    return found


def test_a_lesson_draws_all_its_live_figures(lesson):
    panels = lesson.panels()
    assert panels or lesson.number == "A", "the lesson has no live figure"
    assert [panel.error for panel in panels] == [""] * len(panels)
    assert all(panel.sentence and panel.place.locator(".course-title").text_content().strip() for panel in panels)
    assert lesson.problems == []


@pytest.mark.parametrize("lesson", LIVELY, indirect=True)
def test_a_picture_follows_its_key_nearly_as_soon_as_that_of_a_plain_widget(lesson, planted):
    for panel in lesson.panels():
        plain, ours = planted.panels()[3].delays(9), panel.delays(9)
        print(f"{panel.title}: median {median(ours):.0f} ms, a plain widget's {median(plain):.0f} ms")
        assert min(len(plain), len(ours)) >= 5 and median(ours) < PLAIN * median(plain)


def test_every_control_has_a_label_and_a_name_for_screen_readers(lesson):
    for panel in lesson.panels():
        for control in panel.controls():
            assert control.label, panel.title
            # ipywidgets draws a slider's label beside it, but ties it to nothing: no setting gives the handle a name.
            if control.kind != "slider":
                assert control.name == control.label, (panel.title, control.label, control.name)


def test_the_tab_key_reaches_every_control(lesson):
    for panel in lesson.panels():
        movable = [control for control in panel.controls() if control.enabled]
        movable[0].place.focus()
        assert panel.labels_by_tab(2 * len(movable)) >= {control.label for control in movable}


def test_every_control_works_by_keyboard_and_changes_the_picture(lesson):
    worked = set()
    for panel in lesson.panels():
        if panel.offers("Start"):
            continue  # its picture changes by itself; it has a test of its own
        tour = Tour(panel, worked)
        assert not tour.left_out and tour.without_effect == [], panel.title
    assert lesson.problems == []


def test_everything_can_be_read_in_wide_and_narrow_windows(lesson):
    assert texts_cut_off(lesson) == []


def test_an_exercise_says_what_is_wrong_and_then_that_it_is_right(lesson):
    name, wrong, difference = WRONG[lesson.number]
    module = MODULES[lesson.number]
    stub, check = lesson.cell(f"def {name}("), lesson.cell(f".{name}.check({name})")
    assert f"○ not attempted: {name} is still blank." in lesson.output(check)
    lesson.write(stub, wrong, key_by_key=True)
    lesson.run(stub)
    assert f"✗ wrong: {difference}." in lesson.run(check)
    lesson.write(stub, getattr(module, name).source())
    lesson.run(stub)
    assert f"✓ correct: {name} passed all" in lesson.run(check)
    assert lesson.problems == []


def test_a_check_has_buttons_and_each_circle_stands_before_its_answer(lab):
    cells = ["from course_utils import exercises", "def from_hex(text): ...", CHECKED, "exercises.lesson1.quiz.ask(1)"]
    with lab.open(notebook_of(cells)) as notebook:
        notebook.run_all()
        panel = notebook.page.locator(".course-check")
        edited = panel.get_by_text("You have changed the cell above since it was last run.")
        assert not edited.is_visible()
        notebook.write(1, "def from_hex(text): return tuple(bytes.fromhex(text[1:]))")
        edited.wait_for()
        press(notebook, panel, "Check")
        assert "○ not attempted" in panel.text_content() and "run that cell first" in panel.text_content()
        notebook.run(1)
        assert not edited.is_visible()
        press(notebook, panel, "Check")
        assert "✓ correct: from_hex passed all 4 checks." in panel.text_content()
        assert "1 of 6 exercises done" in panel.text_content()
        press(notebook, panel, "Hint")
        assert "Hint 1 of 3: After the #" in panel.text_content()
        press(notebook, panel, "Solution")
        assert "def from_hex(text: str)" in panel.text_content()
        for before, middle, half in notebook.page.evaluate(CIRCLES):
            assert before and abs(middle - half) <= 2
        assert notebook.problems == []


def press(notebook, panel, label):
    panel.get_by_role("button", name=label).click()
    notebook.settle()


CHECKED = "exercises.lesson1.from_hex.check(from_hex)"
# For each answer of the quiz: whether its circle stands before the text, and both their middles in pixels.
CIRCLES = """[...document.querySelectorAll('.course-choice label')].filter(label => label.querySelector('input'))
.map(label => {
  const circle = label.querySelector('input').getBoundingClientRect(), range = document.createRange();
  range.selectNode([...label.childNodes].find(node => node.textContent.trim()));
  const text = range.getBoundingClientRect();
  return [circle.right <= text.left, circle.top + circle.height / 2, text.top + text.height / 2];
})"""


def test_a_quiz_explains_each_answer_that_the_keys_choose(lesson):
    asked = MODULES[lesson.number].quiz.questions
    places = lesson.questions()
    assert len(places) == len(asked) > 0
    for place, question in zip(places, asked):
        place.locator("input").first.focus()
        for option in question.options:
            lesson.page.keyboard.press("Space")
            lesson.settle()
            explained = f"{'✓ Yes' if option.right else '✗ No'}: {option.why}"
            assert words(place.locator(".course-verdict").text_content()) == words(explained)
            lesson.page.keyboard.press("Tab")
    assert lesson.problems == []


@pytest.mark.parametrize("lesson", ["03"], indirect=True)
def test_a_network_trains_live_while_other_cells_run(lesson):
    (panel,) = [panel for panel in lesson.panels() if panel.offers("Start")]
    start, pause, stop = (panel.control(label) for label in ("Start", "Pause", "Stop"))
    assert [button.enabled for button in (start, pause, stop)] == [True, False, False]

    assert panel.sentence == "Not started yet."
    first = panel.wait_for_change(start.press("Enter"))
    assert [button.enabled for button in (start, pause, stop)] == [False, True, True]
    panel.control("learning rate").type("0.02")
    panel.wait_for(lambda: "learning rate 0.02" in panel.sentence)
    name, _, _ = WRONG[lesson.number]
    assert name in lesson.run(lesson.cell(f".{name}.check({name})"))
    panel.wait_for_change(panel.wait_for_change(first))

    pause.press("Space")
    panel.wait_for(lambda: panel.offers("Go on") and panel.at_rest())
    panel.wait_for_change(panel.control("Go on").press("Space"))
    stop.press("Enter")
    panel.wait_for(lambda: start.enabled and panel.at_rest())
    assert [button.enabled for button in (start, pause, stop)] == [True, False, False]
    assert panel.error == "" and lesson.problems == []


@pytest.mark.parametrize("lesson", ["06"], indirect=True)
def test_a_schedule_is_drawn_by_keyboard_and_races_while_other_cells_run(lesson):
    (panel,) = [panel for panel in lesson.panels() if panel.offers("Start")]
    before = panel.picture()
    for control in panel.controls():
        if control.kind == "slider":
            after = control.press("ArrowLeft", "ArrowLeft")
            assert after != before, control.label
            before = after
    panel.control("begin with").press("ArrowDown")
    start, stop = panel.control("Start"), panel.control("Stop")
    assert panel.sentence.startswith("Your schedule goes from") and start.enabled and not stop.enabled
    panel.wait_for_change(start.press("Enter"))
    name, _, _ = WRONG[lesson.number]
    assert name in lesson.run(lesson.cell(f".{name}.check({name})"))
    panel.wait_for(lambda: " steps: your loss " in panel.sentence)
    if stop.enabled:
        stop.press("Enter")
    panel.wait_for(lambda: start.enabled and panel.at_rest())
    assert panel.error == "" and lesson.problems == []


def words(text):
    """Return the words of a text with and without marks for code and stress."""
    return re.sub(r"[`*]", "", text).split()


def test_an_error_is_one_sentence_and_goes_with_the_next_good_setting(planted):
    panel = planted.panels()[0]
    steps = panel.control("steps")
    good = steps.press("ArrowLeft")
    steps.type("3")
    assert panel.error == "Three steps are one too many; take two or four."
    assert panel.alert.is_visible() and panel.picture() == good and steps.value == "3"
    assert steps.press("ArrowRight") != good
    assert panel.error == "" and not panel.alert.is_visible()
    steps.type("2")
    assert planted.problems == []


def test_controls_of_all_kinds_are_worked_those_too_that_another_one_enables(planted):
    panel = planted.panels()[1]
    assert {control.kind for control in panel.controls()} == set(MOVES)
    assert not panel.control("shift").enabled
    tour = Tour(panel)
    assert not tour.left_out and tour.without_effect == []


def test_labels_take_the_width_of_their_words_in_whatever_font(planted):
    # Letters a fifth wider stand for the fonts of other machines.
    wider = planted.page.add_style_tag(content=".course-panel label { letter-spacing: 0.15em }")
    try:
        found = [text for text in texts_cut_off(planted) if "learning rate" in text or "normalise" in text]
    finally:
        wider.evaluate("style => style.remove()")
    assert found == []


def test_a_narrow_card_shows_the_columns_below_each_other_and_a_dark_one_only_the_photograph_as_it_is(planted):
    (panel,) = [panel for panel in planted.panels() if panel.title == 'widgets.lesson1.channel_mixer("coffee")']

    def seen(x, y):
        """Return the mean grey of 4 × 4 pixels in the picture's frame, at shares of its size."""
        frame = panel.place.locator(".course-frame")
        frame.scroll_into_view_if_needed()
        planted.page.evaluate("course.frames(20)")  # JupyterLab draws the cells around it and moves it once more
        picture = Image.open(io.BytesIO(frame.screenshot())).convert("L")
        left, top = round(x * picture.width) - 2, round(y * picture.height) - 2
        return np.asarray(picture.crop((left, top, left + 4, top + 4))).mean()

    def windows():
        return [each.bounding_box() for each in panel.place.locator(".course-slice").all() if each.is_visible()]

    cup, strip = (0.25, 0.3), (0.5, 0.5)  # inside the cup, and between the two photographs
    try:
        planted.resize(1400)
        light = seen(*cup), seen(*strip)
        assert len(windows()) == 1 and light[1] > 240
        planted.theme(dark=True)
        dark = seen(*cup), seen(*strip)
        assert abs(dark[0] - light[0]) < 20 and dark[1] < 30  # a negative is 60 away
        planted.resize(400)
        first, second = windows()
        assert first["x"] == second["x"] and first["y"] + first["height"] <= second["y"] + 1
    finally:
        planted.theme(dark=False)
        planted.resize(1400)


def test_a_number_counts_while_it_is_typed(planted):
    panel = planted.panels()[1]
    number, before = panel.control("n"), panel.picture()
    number.place.focus()
    planted.page.keyboard.press("Control+A")
    planted.page.keyboard.type("7")
    panel.wait_for_change(before)
    panel.control("Reset").press("Enter")


def test_these_tests_notice_an_error_a_dead_control_and_a_text_that_is_cut_off(planted):
    with pytest.raises(AssertionError, match="steps at 3: Three steps are one too many"):
        Tour(planted.panels()[0])
    poor = planted.panels()[2]
    assert Tour(poor).without_effect == ["unused", "name"]
    found = texts_cut_off(planted)
    # In the narrowest window the label has a line of its own, but its slider and the plain one are too wide.
    texts = {"a label of many words: needs": 3, "far too long for any list,: needs": 4, "beyond the panel's edge": 2}
    assert {text: sum(text in each for each in found) for text in texts} == texts, found
    assert len(found) == 9, found


def test_these_tests_notice_errors_of_the_page_and_of_cells(planted):
    planted.page.evaluate("console.error('planted'); setTimeout(() => { throw Error('thrown'); }); course.frames(2)")
    assert [problem.split(" (")[0] for problem in planted.problems] == ["console: planted", "page error: thrown"]
    planted.problems.clear()
    planted.write(planted.cell("1 + 1"), "1 / 0")
    with pytest.raises(AssertionError, match="1 / 0\nZeroDivisionError: division by zero"):
        planted.run_all()
