"""What every panel that runs in the background must keep: live training and the race of schedules alike."""

import threading

import pytest
from background import LONG, sample_of_clothes, small_race, small_training, wait_for
from panels import every_control

from course_utils.widgets import controls, lesson3, lesson6
from course_utils.widgets.background import BackgroundRun


@pytest.fixture(scope="module")
def clothes():
    return sample_of_clothes()


@pytest.fixture(params=[small_training, small_race], ids=["training", "race"])
def panel(clothes, request):
    """A small panel of each kind."""
    with request.param(clothes) as made:
        yield made


def losses(panel):
    return (panel.lanes["yours"].record if hasattr(panel, "lanes") else panel.record).losses


def test_odd_orders_of_pressing_are_harmless(panel):
    start, stop = panel.start_button, panel.stop_button
    panel.most_steps = panel.steps = 3000  # the one counts for the training, the other for the race
    assert (start.disabled, stop.disabled) == (False, True)
    panel.stop()
    assert panel.wait() and not panel.running
    start.click()
    assert panel.running and (start.disabled, stop.disabled) == (True, False)
    wait_for(lambda: len(losses(panel)) > 3)
    thread = panel._thread
    panel.start()
    assert panel._thread is thread and (start.disabled, stop.disabled) == (True, False)
    stop.click()
    assert panel.wait(LONG) and not panel.running
    assert (start.disabled, stop.disabled) == (False, True)
    panel.start()
    panel.close()
    assert panel.wait(LONG)
    panel.start()
    assert not panel.running


def test_an_error_in_the_thread_is_one_sentence_and_raised_in_tests(panel, monkeypatch):
    images, labels = next(iter(panel.batches))
    panel.batches = [(images, labels + 20)]
    panel.start()
    with pytest.raises(IndexError):
        panel.wait(LONG)
    assert "This setting does not work: IndexError" in panel.alert.value and not panel.start_button.disabled
    monkeypatch.setenv("COURSE_STRICT", "0")
    assert panel.wait(LONG)
    panel.error = None


def test_every_control_has_a_label(panel):
    assert all(control.description for control in every_control(panel))


@pytest.mark.parametrize("kind", [lesson3.LiveTraining, lesson6.ScheduleRace])
def test_a_panel_that_was_refused_can_be_closed(kind):
    kind.__new__(kind).close()


class Short(BackgroundRun):
    """A run that would be over before `start` is."""

    def __init__(self):
        super().__init__(controls.row, (1, 1))

    def _prepare(self):
        return []

    def _steps(self, done):
        done.append("a step")
        yield

    def _paint(self, done, figure):
        figure.text(0, 0, self._words(done))

    def _words(self, done):
        return ", ".join(done)

    def _offer(self, running):
        threading.Event().wait(0.2 * running)
        super()._offer(running)


def test_start_is_offered_again_however_short_the_run():
    panel = Short()
    panel.start()
    assert panel.wait(LONG) and panel.sentence == "a step"
    assert (panel.start_button.disabled, panel.stop_button.disabled) == (False, True)
