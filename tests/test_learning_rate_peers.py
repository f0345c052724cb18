"""The range test beside torch-lr-finder 0.2.2 and fastai's rules, on five real tasks with the same seeds."""

import contextlib
import io
import math
import statistics
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from course_utils import data, learning_rate, models

pytestmark = pytest.mark.thorough

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tqdm says that its notebook bar is experimental
    from torch_lr_finder import LRFinder

STEPS, START, END = 200, 1e-7, 10.0


def fastai_valley(rates, losses):
    """fastai's `valley`: half the length of the longest decreasing selection, back from its end.

    From the description in fastai's docs and fastai/callback/schedule.py (lr_find); written anew.
    """
    longest, end = [1] * len(losses), 0
    for i in range(len(losses)):
        longest[i] = 1 + max((longest[j] for j in range(i) if losses[j] > losses[i]), default=0)
        if longest[i] > longest[end]:
            end = i
    third = longest[end] / 3
    return rates[end - longest[end] + int(third) + int(third / 2)]


def fastai_steep(rates, losses):
    """fastai's `steep`: where the loss falls fastest for a factor of the rate."""
    slopes = [(b - a) / math.log(s / r) for a, b, r, s in zip(losses, losses[1:], rates, rates[1:])]
    return rates[slopes.index(min(slopes))]


def fastai_minimum(rates, losses):
    """fastai's `minimum`: a tenth of the rate with the lowest loss."""
    return rates[losses.index(min(losses))] / 10


FASTAI = {"valley": fastai_valley, "steepest": fastai_steep, "minimum / 10": fastai_minimum}


@pytest.fixture(scope="module")
def clothes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_OFFLINE", "1")
        part = data.load("fashion_mnist", seed=0, quiet=True).train.take(2560, seed=0)
    return next(iter(data.batches(part, len(part))))


def waves(_):
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(2560, 2, generator=generator) * 4 - 2
    return x, torch.sin(2 * x[:, :1]) * x[:, 1:] + 0.1 * torch.randn(2560, 1, generator=generator)


def small_mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


# Data, loss, network, optimizer. torch-lr-finder sets all groups to one rate, so groups differ in momentum here.
TASKS = {
    "linear, SGD": (
        lambda c: c,
        F.cross_entropy,
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        lambda m: torch.optim.SGD(m.parameters(), 0.1),
    ),
    "convolutions, SGD": (
        lambda c: c,
        F.cross_entropy,
        lambda: models.FashionNet(widths=(4, 8, 16)),
        lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9),
    ),
    "convolutions, AdamW": (
        lambda c: c,
        F.cross_entropy,
        lambda: models.FashionNet(widths=(4, 8, 16)),
        lambda m: torch.optim.AdamW(m.parameters(), 0.1),
    ),
    "dense, two groups": (
        lambda c: c,
        F.cross_entropy,
        small_mlp,
        lambda m: torch.optim.SGD(
            [{"params": m[1].parameters(), "momentum": 0.9}, {"params": m[3].parameters(), "momentum": 0.5}], 0.1
        ),
    ),
    "regression, Adam": (
        waves,
        F.mse_loss,
        lambda: nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1)),
        lambda m: torch.optim.Adam(m.parameters(), 0.1),
    ),
}


@pytest.fixture(scope="module", params=TASKS, ids=TASKS)
def curves(request, clothes):
    """Our test and the peer's, each on a network, an order and random numbers from the same seed."""
    numbers, loss, network, optimizer = TASKS[request.param]

    def made():
        torch.manual_seed(11)
        model = network()
        order = torch.Generator().manual_seed(3)
        return model, DataLoader(TensorDataset(*numbers(clothes)), 64, shuffle=True, generator=order), optimizer(model)

    torch.manual_seed(5)
    model, loader, moves = made()
    ours = learning_rate.range_test(model, loader, moves, loss, start=START, end=END, steps=STEPS)
    torch.manual_seed(5)
    model, loader, moves = made()
    finder = LRFinder(model, moves, loss, device="cpu")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        # Its own smoothing has no bias correction, so losses are compared as they are; it must not stop before we do.
        finder.range_test(loader, start_lr=START, end_lr=END, num_iter=STEPS, smooth_f=0, diverge_th=1e9)
    return ours, finder.history


@pytest.mark.outcome
def test_rates_and_losses_are_those_of_torch_lr_finder(curves):
    ours, theirs = curves
    n = len(ours.losses)
    assert n >= 100
    assert theirs["lr"][:n] == pytest.approx(list(ours.rates), rel=1e-9)
    assert theirs["loss"][:n] == pytest.approx(list(ours.losses), rel=1e-4)


@pytest.mark.outcome
def test_each_suggestion_is_within_a_factor_of_three_of_fastais_rule(curves):
    ours, theirs = curves
    n = len(ours.losses)
    assert ours.suggestion.clear, ours.suggestion.problem
    # fastai looks at the losses smoothed with 0.98, without the first tenth and the last five.
    kept = slice(STEPS // 10, n - 5)
    rates, losses = theirs["lr"][kept], learning_rate.smooth(theirs["loss"][:n], 0.98)[kept]
    # Before the fall its average wavers, and with noisy losses fastai takes that for the steepest place.
    level = statistics.median(theirs["loss"][: STEPS // 10])
    half = next(i for i, loss in enumerate(losses) if loss < (level + min(losses)) / 2)
    falling = max((i for i in range(half) if losses[i] >= 0.95 * level), default=0)
    for rule, reference in FASTAI.items():
        since = falling if rule == "steepest" else 0
        ratio = ours.suggestion.of(rule).rate / reference(rates[since:], losses[since:])
        assert 1 / 3 < ratio < 3, f"{rule}: {ratio:.2f} times fastai's"
    middle = sorted(reference(rates, losses) for reference in FASTAI.values())[1]
    assert 1 / 3 < ours.rate / middle < 3
    print(f"{ours.rate:.3g}, fastai's {middle:.3g}")
