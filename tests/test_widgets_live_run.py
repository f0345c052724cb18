"""What every panel that runs in the background must keep: live training and the race of schedules alike."""

import threading

import pytest
from live_runs import LONG, sample_of_clothes, small_race, small_training, wait_for
from panels import every_control

from course_utils import data, models, training
from course_utils.widgets import controls, lesson3, lesson6
from course_utils.widgets.live_run import LiveRun
from course_utils.widgets.panel import LivePanel

pytestmark = pytest.mark.thorough


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
    start, stop = panel.run.start_button, panel.run.stop_button
    panel.most_steps = panel.steps = 3000  # the one counts for the training, the other for the race
    assert (start.disabled, stop.disabled) == (False, True)
    panel.run.stop()
    assert panel.run.wait() and not panel.run.running
    start.click()
    assert panel.run.running and (start.disabled, stop.disabled) == (True, False)
    wait_for(lambda: len(losses(panel)) > 3)
    thread = panel.run._thread
    panel.run.start()
    assert panel.run._thread is thread and (start.disabled, stop.disabled) == (True, False)
    stop.click()
    assert panel.run.wait(LONG) and not panel.run.running
    assert (start.disabled, stop.disabled) == (False, True)
    panel.run.start()
    panel.close()
    assert panel.run.wait(LONG)
    panel.run.start()
    assert not panel.run.running


def test_odd_orders_of_pausing_are_harmless(panel):
    panel.run.pause()
    assert panel.run.wait() and not panel.run.running and not panel.run.paused
    panel.most_steps = panel.steps = 3000
    panel.run.start()
    panel.run.pause()
    panel.run.stop()
    assert panel.run.wait(LONG) and not panel.run.paused
    panel.run.start()
    panel.run.stop()
    panel.run.pause()  # too late: it must not hold what is ending
    assert panel.run.wait(LONG) and not panel.run.paused
    panel.run.start()
    panel.run.pause()
    panel.close()
    assert panel.run.wait(LONG)


def test_a_run_that_is_held_is_drawn_stands_still_and_goes_on(panel):
    panel.most_steps = panel.steps = 3000
    panel.run.start_button.click()
    wait_for(lambda: len(losses(panel)) > 3)
    panel.run.pause_button.click()
    assert panel.run.paused and panel.run.pause_button.description == "Go on"
    held = len(losses(panel)) + 1  # the step that was going on may end
    assert not panel.run.wait(0.3) and len(losses(panel)) <= held
    wait_for(lambda: f"{len(losses(panel))} " in panel.sentence)
    panel.run.pause_button.click()
    assert not panel.run.paused and panel.run.pause_button.description == "Pause"
    wait_for(lambda: len(losses(panel)) > held)


def test_an_error_in_the_thread_is_one_sentence_and_raised_in_tests(panel, monkeypatch):
    images, labels = next(iter(panel.batches))
    panel.batches = [(images, labels + 20)]
    panel.run.start()
    with pytest.raises(IndexError):
        panel.run.wait(LONG)
    assert "This setting does not work: IndexError" in panel.alert.value and not panel.run.start_button.disabled
    monkeypatch.setenv("COURSE_STRICT", "0")
    assert panel.run.wait(LONG)
    panel.error = None


def test_every_control_has_a_label(panel):
    assert all(control.description for control in every_control(panel))


@pytest.mark.parametrize("kind", [lesson3.LiveTraining, lesson6.ScheduleRace])
def test_a_panel_that_was_refused_can_be_closed(kind):
    kind.__new__(kind).close()


def test_start_is_offered_again_however_short_the_run():
    slow = controls.slider("slow", 0, 0, 1, 1)
    slow.observe(lambda change: threading.Event().wait(0.2 * change.new), "disabled")  # while `start` locks it
    panel, done = LivePanel([slow], (1, 1)), []

    def begin():
        done.append("a step")
        yield

    run = LiveRun(panel, begin, lambda: panel.show(b"", ", ".join(done)), locked=[slow])
    run.start()
    assert run.wait(LONG) and panel.sentence == "a step"
    assert [button.disabled for button in run.buttons] == [False, True, True] and not slow.disabled


def test_batches_that_run_out_are_told_and_do_not_go_round_for_ever(clothes):
    training.seed_everything(1)
    net = models.FashionNet(widths=(2, 4, 8))
    batches = list(data.batches(clothes.train.take(100, seed=0), 50))
    for given in (iter(batches), []):
        panel = lesson3.LiveTraining(net, given, batches, most_steps=60)
        with pytest.raises(ValueError, match="There are no batches to train on: a pass through them gave none"):
            panel.trained_at(0.1, 10)
