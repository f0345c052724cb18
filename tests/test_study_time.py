"""Study time, what visible code is for, and widths: the rule, and the limits of the lessons that are held to it."""

from pathlib import Path

import pytest
import study_time
from held import HELD

from course_utils.base import lessons
from course_utils.command.builder import studied, with_study_time
from course_utils.command.notebooks.study import Study, lines_aside, study, words_of

ROOT = Path(__file__).resolve().parent.parent
MINUTES = {"A": 25}  # at most; 75 for the others
MOST_ASIDE = 0.1  # of the visible lines of code


def text(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def code(source, *tags, outputs=()):
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": source, "outputs": list(outputs)}


def output(**data):
    return {"output_type": "display_data", "data": {key.replace("_", "/"): value for key, value in data.items()}}


PICTURE = output(
    image_png="…", text_plain="A line that rises, described in far more than seventy-two characters of text."
)
LESSON = [
    text("# A title of five words\n\n<details><summary>Answer</summary>\n\nNot counted here.\n\n</details>"),
    code("import torch\n\nx = torch.ones(3)\nassert x.sum() == 3\nprint(x)", outputs=[output(text_plain="x" * 73)]),
    code("figures.show(fig, alt='…')", "hide-input", outputs=[PICTURE]),
    text("### Go deeper: A proof"),
    text("Its words."),
    code("y = 2", outputs=[PICTURE]),
    text("## The end\n\nTwo words"),
]


def test_the_main_path_is_what_stands_outside_folds():
    held = study({"cells": LESSON}, {"cells": LESSON})
    assert (held.words, held.code_lines, held.pictures) == (5 + 4, 4, 1)
    assert held.visible_lines == 5 and held.aside == ("cell 2: assert x.sum() == 3",)
    assert held.wide_output == (f"cell 2: {'x' * 73}",)  # what a picture's text says is not seen
    assert study({"cells": LESSON}).pictures == 1  # without outputs: the source's calls
    assert with_study_time({"a": 1}, {"cells": LESSON}, {"cells": LESSON}) == {"a": 1, "study_minutes": held.minutes}


def test_code_that_stands_in_the_text_may_not_be_wide_either():
    wide = "x = 1  # " + "y" * 80
    held = study({"cells": [text(f"A long line of words{' and words' * 9}:\n\n```python\n{wide}\n```\n\nIts end.")]})
    assert held.wide_code == (f"cell 1: {wide}",)


def test_an_hour_is_an_hour():
    assert Study(1600, 60, 10, 60, ("x",) * 6, (), ()).minutes == 10 + 7 + 5
    assert Study(0, 60, 0, 60, ("x",) * 6, (), ()).share == 0.1


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("**Bold** and `code`, [a link](https://example.org/long/path)", 5),
        ("[colab]: https://example.org\n\nText", 1),
        ("```\nno words here\n```\nwords", 1),
        ("| a | b |\n|---|---|\n| c | d |", 4),
        ("28 × 28 pixels, {{test_accuracy:.1%}} of them", 6),
        ("a <b>tag</b> <!-- a remark --> b", 3),
    ],
)
def test_words_are_what_is_read(written, words):
    assert len(words_of(written)) == words


@pytest.mark.parametrize(
    ("written", "aside"),
    [
        ("x = conv(image)\nloss = F.cross_entropy(scores, truth)", 0),
        ("fig, ax = plt.subplots()\nax.plot(x)", 2),
        ("figures.show(\n    grid(x),\n    alt='…',\n)", 4),
        ("results.record(\n    a=1,\n)\nresults.load(3, 'full')", 3),
        ("assert a == b\nassert_close(a, b)\ntorch.testing.assert_close(a, b)", 3),
        ("alt = 'words'\nhistory.plot()", 2),
        ("for x in xs:\n    total += x\n    ax1.axvline(x)", 1),
        ("with figures.style():\n    y = f(x)", 1),
        ("if a:\n    b = 1\nelse:\n    assert c", 1),
        ("def f(ax):\n    return 1", 0),
        ("print(figures.percent(x))", 0),
        ("try:\n    f()\nexcept ValueError as error:\n    print(error)", 0),
    ],
)
def test_lines_that_draw_prove_or_record_are_told_from_those_that_teach(written, aside):
    assert len(lines_aside(written)) == aside


def test_the_tool_prints_a_line_for_each_lesson(capsys):
    assert study_time.main(["3", "--lines"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("lesson  minutes") and "\n03 " in said and "\n  wide_code:" in said
    assert study_time.main(["99"]) == 2 and "no lesson '99'" in capsys.readouterr().err


@pytest.mark.parametrize("number", lessons.sources(ROOT))
def test_every_lesson_can_be_measured(number):
    held, _ = studied(number, ROOT)
    assert held.words > 500 and held.visible_lines > 50


@pytest.mark.parametrize("number", HELD)
def test_a_lesson_keeps_its_limits(number):
    held, _ = studied(number, ROOT)
    assert held.minutes <= MINUTES.get(number, 75)
    assert held.share < MOST_ASIDE, "\n".join(held.aside)
    assert held.wide_code == () and held.wide_output == ()
