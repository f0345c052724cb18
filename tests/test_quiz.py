import html
import re

import numpy as np
import pytest
import torch

from course_utils import exercises
from course_utils.base import progress
from course_utils.exercises.quiz import LETTERS, VIEW, Option, Question, Quiz, parse_quiz

LESSONS = {module.LESSON: module for module in (getattr(exercises, name) for name in exercises.__all__)}
ALL = [(lesson, i + 1) for lesson, module in LESSONS.items() for i in range(len(module.quiz.questions))]
every_question = pytest.mark.parametrize(("lesson", "number"), ALL, ids=[f"{lesson}-{n}" for lesson, n in ALL])

RIGHT = {  # a second time: which option of each question is right, by its first words
    "01": [
        "(3, 480, 640)",
        "`cat + np.uint8(80)`, numbers",
        "`images - mean.view(3, 1, 1)`",
        "0.8",
        "18",
    ],
    "02": [
        "Its upper row is −1, −2, −1, i",
        "Two 3 × 3, because they see as",
        "(8, 16, 20, 20) and (8, 32, 10",
        "It stays as it is.",
    ],
    "03": [
        "It gives every class the same",
        "Probably less.",
        "The gradients of all earlier b",
        "Not which one is better.",
    ],
    "04": [
        "`model.eval()`",
        "more pictures, or augmented on",
        "new pictures may face left or",
        "no: momentum, learning rate an",
        "dropout",
    ],
    "05": [
        "the running means and variance",
        "crop every picture anew at ran",
        "large early steps destroyed fe",
        "that ImageNet knows cats, dogs",
        "take either, and say that the",
    ],
    "06": [
        "about 10⁻², where the loss sti",
        "because its last steps were ta",
        "the training ends with an erro",
        "that these two runs cannot tel",
    ],
    "07": [
        "launching the product",
        "a little over five times",
        "the single picture counts as m",
        "the error's traceback still ho",
        "float16 with a scaled loss",
    ],
    "A": [
        "the two flatten their pictures",
        "0.9",
        "the loss expects probabilities",
    ],
    "B": [
        "hardly anything: every validat",
        "any class, perhaps with a larg",
        "the picture becomes 341 × 256,",
    ],
}


def right(text, why):
    return Option(text, why, right=True)


def wrong(text, why):
    return Option(text, why)


GOOD = """# Quiz of lesson 1

## 1

Is `a < b` *always*
<b>true</b>?

- [x] `x<y`
  > Yes & no.
- [ ] <i>no</i>
  > Because
  > 2*3*4.

## 2

Why?

- [ ] for nothing
  > Nothing is for nothing.
- [x] because
  > So it is.
"""
TRAP = Question("Is `a < b` *always* <b>true</b>?", [right("`x<y`", "Yes & no."), wrong("<i>no</i>", "Because 2*3*4.")])


def test_each_lesson_asks_at_least_three_questions():
    assert all(len(module.quiz.questions) >= 3 for module in LESSONS.values())


def test_the_right_option_of_every_question_is_the_one_of_the_key():
    for lesson, module in LESSONS.items():
        for question, words in zip(module.quiz.questions, RIGHT[lesson], strict=True):
            chosen = [" ".join(option.text.split()) for option in question.options if option.right]
            assert len(chosen) == 1 and chosen[0].startswith(words), (lesson, question.text)


@every_question
def test_every_option_is_explained_when_chosen_and_one_is_right(lesson, number):
    asked = LESSONS[lesson].quiz.ask(number)
    assert asked.choice.value is None and "Choose an answer." in asked.verdict.value
    signs = []
    for i, option in enumerate(asked.question.options):
        asked.choice.value = i
        shown = html.unescape(re.sub(r"<[^>]+>", "", asked.verdict.value))
        assert re.sub(r"[`*]", "", option.why) in re.sub(r"[`*]", "", shown)
        assert 'role="status" aria-live="polite"' in asked.verdict.value
        signs.append(shown[0])
        assert shown.startswith("✓ Yes:" if option.right else "✗ No:")
    assert signs.count("✓") == 1 and signs.count("✗") == len(signs) - 1
    asked.choice.value = None
    assert "Choose an answer." in asked.verdict.value


@every_question
def test_a_copy_without_a_kernel_holds_the_question_and_folded_answers(lesson, number):
    asked = LESSONS[lesson].quiz.ask(number)
    data = asked._repr_mimebundle_()
    assert data[VIEW]["model_id"] == asked.model_id
    asking, *folds = data["text/html"].split("<details>")
    assert asking.startswith(f"<p><strong>{number}.</strong>") and "Yes" not in asking
    assert data["text/html"].count("<strong>✓ Yes:</strong>") == 1 and "<script" not in data["text/html"]
    assert len(folds) == len(asked.question.options)
    for letter, option, fold in zip(LETTERS, asked.question.options, folds):
        summary, answer = fold.split("</summary>")
        assert summary.startswith(f"<summary>({letter}) ") and "Yes" not in summary
        assert ("✓ Yes:" if option.right else "✗ No:") in answer
        assert option.why.split("`")[0].split("*")[0] in html.unescape(answer)
    question, answers = data["text/plain"].split("\nAnswers\n")
    assert question.startswith(f"{number}. ") and answers.count("Yes: ") == 1 and "`" not in data["text/plain"]


def test_the_right_answers_stand_in_all_places_and_no_place_has_more_than_half_of_them():
    for lesson, module in LESSONS.items():
        places = [[o.right for o in question.options].index(True) for question in module.quiz.questions]
        assert max(map(places.count, places)) <= (len(places) + 1) // 2, (lesson, places)
    every = [[o.right for o in q.options].index(True) for m in LESSONS.values() for q in m.quiz.questions]
    assert all(every.count(place) >= len(every) // 8 for place in range(4)), every


def test_marks_become_html_and_html_stays_text():
    asked = Quiz([TRAP]).ask(1)
    asked.choice.value = 1
    shown = asked.as_html() + asked.verdict.value
    assert "<code>a &lt; b</code> <em>always</em> &lt;b&gt;true&lt;/b&gt;?" in shown
    assert "<b>" not in shown and "<i>" not in shown and "Because 2*3*4." in shown
    assert [label for label, _ in asked.choice.options] == ["(a) x<y", "(b) <i>no</i>"]  # a label is plain text


@pytest.mark.parametrize("number", [0, 3, -1, 1.0, True, "first", None])
def test_a_question_that_is_not_there_is_one_sentence(number):
    with pytest.raises(ValueError, match=r"There is no question .*; they are numbered from 1 to 2\."):
        Quiz([TRAP, TRAP]).ask(number)


@pytest.mark.parametrize("number", [np.int64(1), torch.tensor(1)])
def test_a_number_of_any_type_is_shown_as_one(number):
    assert Quiz([TRAP]).ask(number).as_text().startswith("1. ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([wrong("a", "b"), wrong("c", "d")], "exactly one right one, not 2 with 0 right"),
        ([right("a", "b"), right("c", "d")], "exactly one right one, not 2 with 2 right"),
        ([right("a", "b")], "needs 2 to 10 options"),
        ([right("a", "b"), wrong("c", " ")], "Every option needs a text and an explanation: 'Why"),
    ],
)
def test_a_bad_question_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Question("Why?", options)


def test_a_quiz_is_read_from_markdown_as_it_stands_there():
    assert parse_quiz(GOOD, "good.md") == Quiz(
        [TRAP, Question("Why?", [wrong("for nothing", "Nothing is for nothing."), right("because", "So it is.")])]
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# Quiz of lesson 1\n", "", r"^bad\.md must begin with a title"),
        (GOOD[GOOD.index("## 1") :], "", r"^bad\.md must begin with a title, .* and '## 1'"),
        ("## 2", "## 3", r"^bad\.md, question 2 begins with '## 3'; number the questions 1, 2, 3"),
        ("## 2", "## two", r"^bad\.md, question 2 begins with '## two'"),
        ("## 2", "##2", r"^bad\.md, question 1, below the option '<i>no</i>': .* is neither"),
        ("Why?\n", "", r"^bad\.md, question 2: A question needs a text above its options"),
        ("[x] because", "[ ] because", r"^bad\.md, question 2: .*exactly one right one, not 2 with 0 right"),
        ("[ ] for", "[x] for", r"^bad\.md, question 2: .*exactly one right one, not 2 with 2 right"),
        ("[x] because", "[X] because", r"^bad\.md, question 2, below the option 'for nothing': '- \[X\] because' is"),
        ("[ ] for", "[] for", r"^bad\.md, question 2: '- \[\] for nothing' is neither .* nor a line of the question"),
        ("  > So it is.\n", "", r"^bad\.md, question 2: Every option needs a text and an explanation"),
        (
            "  > So",
            "  So",
            r"^bad\.md, question 2, below the option 'because': '  So it is\.' is neither",
        ),
        ("  > So it is.", "  >", r"below the option 'because': '  >' is neither"),
        ("Why?\n", "Why?\n\n> So.\n", r"^bad\.md, question 2: '> So\.' is neither"),
    ],
)
def test_a_badly_written_quiz_is_refused_with_its_place(old, new, message):
    assert old in GOOD
    with pytest.raises(ValueError, match=message):
        parse_quiz(GOOD.replace(old, new), "bad.md")


def test_a_right_answer_is_kept_as_progress(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.WORK, str(tmp_path))
    asked = LESSONS["01"].quiz.ask(2)
    assert progress.read() == {}
    right = [option.right for option in asked.question.options].index(True)
    asked.choice.value = (right + 1) % len(asked.question.options)
    assert progress.read() == {"01": {"quiz 2": False}}
    asked.choice.value = right
    asked.choice.value = (right + 1) % len(asked.question.options)  # reads why the other one is wrong
    assert progress.read() == {"01": {"quiz 2": True}}
