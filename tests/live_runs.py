"""Helpers for tests of panels that run in the background: small ones of both kinds, and what every run must keep."""

import copy
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from course_utils import data, models, training
from course_utils.widgets import lesson3, lesson6

LONG = 300  # seconds that nothing here should take; the machine may be busy


def sample_of_clothes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_OFFLINE", "1")
        patch.setenv("COURSE_DATA_DIR", str(Path(__file__).parent))  # where no set lies: the sample, everywhere alike
        return data.load("fashion_mnist", seed=0, quiet=True)


@contextmanager
def small_training(clothes):
    """A small live training that ends by itself."""
    training.seed_everything(1)
    panel = lesson3.LiveTraining(
        models.FashionNet(widths=(4, 8, 16)),
        data.batches(clothes.train.take(600, seed=0), 50, shuffle=True, seed=0),
        data.batches(clothes.validation.take(200, seed=0), 200),
        most_steps=60,
        compared_steps=30,
    )
    yield panel
    panel.run.stop()
    panel.run.wait(LONG)


@contextmanager
def small_race(clothes):
    """A small race that ends by itself."""
    training.seed_everything(1)
    panel = lesson6.ScheduleRace(
        models.FashionNet(widths=(2, 4, 8)),
        list(data.batches(clothes.train.take(600, seed=0), 50)),
        list(data.batches(clothes.validation.take(200, seed=0), 200)),
        steps=24,
    )
    yield panel
    panel.run.stop()
    panel.run.wait(LONG)


def wait_for(condition):
    """Wait until `condition()` holds, without using up the processor."""
    waiting = threading.Event()
    for _ in range(LONG * 100):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not happen")


def run_to_its_end(panel):
    """Start a run and wait for it; the given network, the random numbers and the main thread must not notice."""
    weights = copy.deepcopy(panel.model.state_dict())
    torch.manual_seed(7)
    expected = torch.rand(5)
    torch.manual_seed(7)
    panel.run.start()
    assert sum(range(1000)) == 499500  # the main thread works on meanwhile
    assert panel.run.wait(LONG) and torch.equal(torch.rand(5), expected)
    assert all(torch.equal(weights[name], value) for name, value in panel.model.state_dict().items())
    assert panel.error is None and not panel.run.start_button.disabled
