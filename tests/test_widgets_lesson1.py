"""Lesson 1's questions about its live figures: each answer in the text, asserted with the figure's own function."""

import math

import pytest
import torch

from course_utils import pictures
from course_utils.widgets import lesson1


@pytest.fixture(scope="module")
def mixer():
    return lesson1.channel_mixer("coffee")


def mixed(mixer, **changes):
    return mixer.compute(**{**mixer.first_values, **changes})


def black(image):
    """Tell of each pixel whether it is black."""
    return (image == 0).all(dim=0)


def test_the_saucer_turns_grey_with_these_gains_nearly_black_and_brighter_when_lifted(mixer):
    column, row = 120 // lesson1.SMALL, 230 // lesson1.SMALL
    gains = {"red": 0.15, "green": 0.85, "blue": 3.0}
    patch = (slice(None), slice(row - 4, row + 5), slice(column - 4, column + 5))
    before = mixed(mixer).after[patch].mean(dim=(1, 2))
    assert before.max() - before.min() > 0.4  # red, not grey
    grey = mixed(mixer, **gains).after[patch].mean(dim=(1, 2))
    assert grey.max() - grey.min() < 0.03 and grey.max() < 0.12
    lifted = mixed(mixer, **gains, brightness=0.25).after[patch].mean(dim=(1, 2))
    assert lifted.max() - lifted.min() < 0.03 and lifted.min() > 0.3


def test_colder_means_less_red_and_more_blue(mixer):
    before, after = mixed(mixer).after, mixed(mixer, **lesson1.MIXTURES["colder"]).after
    assert after[0].mean() < before[0].mean() and after[2].mean() > before[2].mean()


def test_more_than_half_of_the_black_pixels_come_back_with_gains_of_3_within_these_limits(mixer):
    gains = {"red": 3.0, "green": 3.0, "blue": 3.0}
    dark, bright = mixed(mixer, brightness=-0.5), mixed(mixer, **gains, brightness=-0.5)
    was_black = black(dark.after)
    assert dark.black == pytest.approx(was_black.float().mean().item()) and dark.black > 0.2
    assert 0.5 < (~black(bright.after))[was_black].float().mean() < 0.6
    assert torch.equal(bright.after == 0, 3 * dark.before - 0.5 <= 0)
    assert (bright.after[dark.before < 1 / 6 - 1e-6] == 0).all() and (bright.after[dark.before > 0.5 + 1e-6] == 1).all()
    assert (bright.after[(dark.before > 1 / 6 + 1e-6) & (dark.before < 0.5 - 1e-6)] > 0).all()


def test_what_was_cut_off_stays_black_when_gains_come_in_a_second_step(mixer):
    dark = mixed(mixer, brightness=-0.5)
    assert torch.equal(black(pictures.mix(dark.after, 3, 3, 3)), black(dark.after))


def test_the_static_copy_shows_what_the_questions_ask_for(mixer):
    shown = list(lesson1.MIXTURES.values())
    assert {"red": 0.15, "green": 0.85, "blue": 3.0, "brightness": 0.25} in shown and {"brightness": -0.5} in shown
    assert {"red": 3.0, "green": 3.0, "blue": 3.0, "brightness": -0.5} in shown
    for settings in shown:
        for name, value in settings.items():
            control = mixer.controls[name]
            assert control.min <= value <= control.max
            assert math.isclose((value - control.min) / control.step, round((value - control.min) / control.step))
    rates = [settings["rate"] for settings in lesson1.learning_rate()._twin.settings.values()]
    assert {0.5, 1.0, 1.05} <= set(rates)


def test_rate_one_half_arrives_at_once_rate_1_jumps_for_ever_and_rate_1_05_climbs_out():
    assert lesson1.walk(0.5, 3.0, 1).x == 0.5
    assert lesson1.walk(1.0, 3.0, 7).places.tolist() == [3.0, -2.0] * 4
    away = (lesson1.walk(1.05, 3.0, 8).places - 0.5).abs()
    assert (away.diff() > 0).all()
