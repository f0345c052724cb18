import copy
import math
import random
import re
import warnings

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from course_utils import data, learning_rate, models, training
from course_utils.errors import TrainingError
from course_utils.learning_rate import RangeTest, geometric_rates, range_test, smooth, suggest, valley


@pytest.fixture(scope="module")
def part():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_OFFLINE", "1")
        return data.load("fashion_mnist", seed=0, quiet=True).train.take(640, seed=0)


@pytest.fixture
def batches(part):
    return data.batches(part, 64, shuffle=True, seed=0)


class Troubled(nn.Module):
    """Batch norm, dropout, a frozen layer, a layer in evaluation mode, and a buffer that each pass replaces."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(784, 12)
        self.normalise = nn.BatchNorm1d(12)
        self.still = nn.Sequential(nn.BatchNorm1d(12), nn.Dropout(0.2))
        self.last = nn.Linear(12, 10)
        self.register_buffer("passes", torch.zeros(()), persistent=False)
        self.first.bias.requires_grad_(False)
        self.still[0].eval()

    def forward(self, images):
        self.passes = self.passes + 1
        random.random()
        np.random.rand()
        return self.last(self.still(self.normalise(self.first(images.flatten(1))).relu()))


def everything(model, optimizer):
    """Return all that a range test could spoil, as values that can be compared."""
    parameters = list(model.named_parameters())
    names = {p: name for name, p in parameters}
    return copy.deepcopy(
        {
            "weights": {name: p.detach() for name, p in parameters},
            "gradients": {name: p.grad for name, p in parameters},
            "learns": {name: p.requires_grad for name, p in parameters},
            "buffers": dict(model.named_buffers()),
            "modes": {name: layer.training for name, layer in model.named_modules()},
            "state": {names[p]: state for p, state in optimizer.state.items()},
            "groups": [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
            "notes": {k: v for k, v in vars(optimizer).items() if isinstance(v, (bool, int, float, str))},
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state()[1:],
            "python": random.getstate(),
        }
    )


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def used(model, make, batches):
    """Return an optimizer that has taken two steps, so that it has state and the weights have gradients."""
    optimizer = make(model)
    for images, labels in list(batches)[:2]:

        def closure(images=images, labels=labels):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            return loss

        optimizer.step(closure)
    return optimizer


OPTIMIZERS = {
    "SGD": lambda m: torch.optim.SGD(m.parameters(), 0.01),
    "momentum": lambda m: torch.optim.SGD(m.parameters(), 0.01, momentum=0.9, nesterov=True),
    "AdamW": lambda m: torch.optim.AdamW(m.parameters(), 0.001, amsgrad=True),
    "rate as a tensor": lambda m: torch.optim.Adam(m.parameters(), torch.tensor(0.001)),
    "RMSprop": lambda m: torch.optim.RMSprop(m.parameters(), 0.001),
    "Adagrad": lambda m: torch.optim.Adagrad(m.parameters(), 0.01),
    "Adadelta": lambda m: torch.optim.Adadelta(m.parameters()),
    "Rprop": lambda m: torch.optim.Rprop(m.parameters(), 0.001),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "used"])
def test_everything_is_as_before_bit_for_bit(make, fresh, batches):
    training.seed_everything(0)
    model = Troubled()
    optimizer = make(model) if fresh else used(model, make, batches)
    batches.set_epoch(3)
    before = everything(model, optimizer)
    result = range_test(model, batches, optimizer, steps=25)
    assert len(result.losses) > 10 and same(everything(model, optimizer), before)
    assert batches.epoch == 3


class Failing:
    """A loss that fails at its n-th call."""

    def __init__(self, n, error):
        self.left, self.error = n, error

    def __call__(self, logits, labels):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return F.cross_entropy(logits, labels)


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), torch.OutOfMemoryError("full")], ids=repr)
@pytest.mark.parametrize("call", [1, 13])
def test_everything_is_as_before_also_after_an_error_or_an_interrupt(error, call, batches):
    training.seed_everything(1)
    model = Troubled()
    optimizer = used(model, OPTIMIZERS["AdamW"], batches)
    before = everything(model, optimizer)
    with pytest.raises(TrainingError if isinstance(error, torch.OutOfMemoryError) else type(error)):
        range_test(model, batches, optimizer, Failing(call, error), steps=25)
    assert same(everything(model, optimizer), before)


def test_training_goes_on_after_a_test_as_if_there_had_been_none(part):
    def trained(test):
        training.seed_everything(2)
        model = nn.Sequential(models.FashionNet(widths=(2, 4, 4)), nn.Dropout(0.1))
        loader = DataLoader(list(zip(*next(iter(data.batches(part, 640))))), 64, shuffle=True)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        schedule = learning_rate.one_cycle(optimizer, loader, 2)
        training.fit(model, loader, epochs=1, optimizer=optimizer, scheduler=schedule, progress=False)
        if test:
            range_test(model, loader, optimizer, steps=30)
        training.fit(model, loader, epochs=1, optimizer=optimizer, scheduler=schedule, progress=False)
        return model.state_dict(), optimizer.param_groups[0]["lr"], schedule.last_epoch

    assert same(trained(True), trained(False))


def test_a_schedulers_warning_still_comes_after_a_test(batches):
    model = Troubled()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = lr_scheduler.StepLR(optimizer, 1)
    range_test(model, batches, optimizer, steps=5)
    with pytest.warns(UserWarning, match=r"lr_scheduler.step\(\)` before `optimizer.step"):
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_generators_of_a_loader_are_put_back(part):
    images, labels = next(iter(data.batches(part, 640)))
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(images, labels), 64, shuffle=True, generator=generator)
    before = generator.get_state()
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    range_test(model, loader, torch.optim.SGD(model.parameters(), 0.1), steps=25)
    assert torch.equal(generator.get_state(), before)


def test_a_loss_with_weights_of_its_own_is_put_back(batches):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, logits, labels):
            self.calls += 1
            return F.cross_entropy(logits * self.scale, labels)

    model, loss = Troubled(), Scaled()
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], 0.1)
    range_test(model, batches, optimizer, loss, steps=10)
    assert loss.scale == 1 and loss.calls == 0 and loss.scale.grad is None


def by_hand(model, batches, optimizer, rates, beta=0.98, threshold=4.0):
    """The loop of the lesson, which spoils the network."""
    losses, average, best, stream = [], 0.0, math.inf, iter(batches)
    model.train()
    for step, rate in enumerate(rates, start=1):
        try:
            images, labels = next(stream)
        except StopIteration:
            stream = iter(batches)
            images, labels = next(stream)
        optimizer.param_groups[0]["lr"] = rate
        loss = F.cross_entropy(model(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average = beta * average + (1 - beta) * losses[-1]
        smoothed = average / (1 - beta**step)
        if smoothed > threshold * best:
            break
        best = min(best, smoothed)
    return losses


@pytest.mark.parametrize("steps", [8, 60])  # the loader has 10 batches: it is gone through again
def test_the_losses_are_those_of_the_loop_by_hand(steps, part):
    def made():
        torch.manual_seed(4)
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        return model, data.batches(part, 64, shuffle=True, seed=1), torch.optim.SGD(model.parameters(), 0.1)

    result = range_test(*made(), steps=steps)
    assert list(result.losses) == by_hand(*made(), geometric_rates(steps=steps))
    assert result.rates == tuple(geometric_rates(steps=steps)[: len(result.losses)])
    assert result.stopped == ("threshold" if steps == 60 else "end")


def test_a_test_says_how_often_it_went_through_its_pictures(batches):  # ten batches
    class Unsized:
        def __iter__(self):
            return iter(batches)

    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    few, many, unknown = (
        range_test(model, given, optimizer, start=1e-5, end=0.01, steps=steps)
        for given, steps in ((batches, 30), (batches, 44), (Unsized(), 44))
    )
    assert (few.passes, many.passes, unknown.passes) == (3.0, 4.4, 1.0)
    assert "went 4 times through its pictures" in str(many)
    assert "through its pictures" not in str(few) + str(unknown)


@pytest.mark.parametrize("stopped", ["end", "threshold", "not a number"])
def test_a_clear_answer_is_told_in_lines_that_fit_on_the_page(stopped):
    result = RangeTest(*map(tuple, curve()), beta=0.9, stopped=stopped, passes=7.5)
    assert result.suggestion.clear and max(map(len, str(result).splitlines())) <= 72


def test_the_ladder_grows_by_the_same_factor():
    rates = geometric_rates(1e-8, 10, 10)
    assert rates == pytest.approx([10.0**k for k in range(-8, 2)])


def test_the_smoothed_loss_is_the_weighted_mean_that_bias_correction_promises():
    losses, beta = [3.0, 1.0, 2.0, 5.0], 0.98
    weights = [beta ** (3 - i) for i in range(4)]
    expected = sum(w * loss for w, loss in zip(weights, losses)) / sum(weights)
    assert smooth(losses, beta)[-1] == pytest.approx(expected) and smooth(losses, beta)[0] == pytest.approx(3)
    assert smooth(losses, 0.0) == losses and smooth([], 0.9) == []


def test_parameter_groups_keep_their_ratio(batches):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10))
    groups = [{"params": model[1].parameters(), "lr": 0.01}, {"params": model[3].parameters(), "lr": 0.1}]
    optimizer, seen = torch.optim.SGD(groups), []
    optimizer.register_step_pre_hook(lambda o, *_: seen.append([group["lr"] for group in o.param_groups]))
    result = range_test(model, batches, optimizer, steps=12)
    for rate, (low, high) in zip(result.rates, seen):
        assert high == pytest.approx(rate) and low == pytest.approx(rate / 10)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]


def test_groups_whose_rates_are_all_zero_climb_together(batches):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    result = range_test(model, batches, torch.optim.SGD(model.parameters(), 0.0), steps=100)
    assert result.stopped == "threshold"


@pytest.mark.outcome
def test_half_precision_works_on_the_cpu_and_gives_nearly_the_same_curve(batches):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    whole = range_test(model, batches, optimizer, end=0.1, steps=40)
    half = range_test(model, batches, optimizer, end=0.1, steps=40, autocast=torch.bfloat16)
    assert half.losses != whole.losses and half.losses == pytest.approx(whole.losses, abs=0.03)


@pytest.mark.outcome
def test_float16_scales_its_gradients_and_keeps_no_scaler(batches):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = everything(model, optimizer)
    result = range_test(model, batches, optimizer, steps=60, autocast=torch.float16)
    assert min(result.losses) < result.losses[0] and same(everything(model, optimizer), before)


def test_a_loss_that_is_no_longer_a_number_ends_the_test_and_is_left_out(batches):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def explode(logits, labels):
        value = F.cross_entropy(logits, labels)
        return value * (math.nan if value > 5 else 1)

    result = range_test(model, batches, torch.optim.SGD(model.parameters(), 0.1), explode, steps=100, threshold=1e9)
    assert result.stopped == "not a number" and all(map(math.isfinite, result.losses)) and len(result.losses) < 100
    assert "the loss was no longer a number" in str(result)


def test_the_threshold_can_be_switched_off_and_holds_below_zero_too():
    weight = nn.Linear(1, 1)
    pairs = [(torch.ones(4, 1), torch.ones(4, 1))] * 3

    def negative(answer, target):
        return F.mse_loss(answer, target) - 2

    optimizer = torch.optim.SGD(weight.parameters(), 0.1)
    endless = range_test(weight, pairs, optimizer, negative, steps=60, beta=0.0, threshold=math.inf)
    assert endless.stopped == "end" and len(endless.losses) == 60 and max(endless.losses) > 10
    result = range_test(weight, pairs, optimizer, negative, steps=60, beta=0.0)
    lowest = min(result.losses)
    assert result.stopped == "threshold" and lowest < 0
    assert result.losses[-1] > lowest + 3 * abs(lowest) >= max(result.losses[:-1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"start": 0.0}, ValueError, "must grow from a positive start"),
        ({"start": 1.0, "end": 0.1}, ValueError, "must grow from a positive start"),
        ({"steps": 1}, ValueError, "at least 2 steps, not 1"),
        ({"beta": 1.0}, ValueError, "beta must be at least 0 and below 1"),
        ({"threshold": 1.0}, ValueError, "must be above 1, not 1.0"),
        ({"batches": []}, ValueError, "There are no batches"),
        ({"batches": iter([])}, TypeError, r"pass the loader itself, not iter\(loader\)"),
        ({"batches": 3}, TypeError, "needs batches, not a int"),
        ({"batches": [torch.zeros(3)]}, TypeError, "pair of inputs and targets, not a Tensor"),
        ({"batches": [(torch.zeros(1, 784), [3])]}, TypeError, "not a Tensor and a list: two tensors"),
        ({"start": "1e-8"}, ValueError, "positive start to a larger end, not from '1e-8' to 10.0"),
        ({"loss": nn.CrossEntropyLoss}, TypeError, "must be a function, .* not the class CrossEntropyLoss"),
        ({"optimizer": torch.optim.SGD}, TypeError, "an optimizer that was made"),
        ({"optimizer": torch.optim.LBFGS}, ValueError, "LBFGS measures the loss several times in a step, which is not"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], 1)}, ValueError, "no parameter of this network"),
        ({"model": nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), "optimizer": None}, ValueError, "send one batch"),
    ],
)
def test_what_does_not_fit_is_one_clear_sentence(change, error, message, batches):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    settings = {"model": model, "batches": batches, "optimizer": torch.optim.SGD(model.parameters(), 0.1), **change}
    if settings["optimizer"] is torch.optim.LBFGS:
        settings["optimizer"] = torch.optim.LBFGS(model.parameters())
    if settings["optimizer"] is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch says that lazy modules are new
            settings["optimizer"] = torch.optim.SGD(settings["model"].parameters(), 0.1)
    with pytest.raises(error, match=message) as caught:
        range_test(**settings)
    assert "\n" not in str(caught.value)


def test_too_few_steps_are_to_blame_and_not_the_first_rate(batches):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    short, long = (range_test(model, batches, optimizer, start=1e-3, end=1e4, steps=steps) for steps in (15, 150))
    assert short.stopped == long.stopped == "threshold"
    assert short.suggestion.problem.endswith("at least 20 are needed; take more steps.") and long.rate


# What a curve says


def curve(n=200, level=2.3, low=0.6, noise=0.02, fall_at=-3.0, explode_at=-0.3, seed=0, start=-8.0, end=1.0):
    """Return rates and losses as a range test gives them: flat, then falling, then exploding."""
    place = np.linspace(start, end, n)
    draws = np.random.default_rng(seed).normal(0, noise, n)
    losses = low + (level - low) / (1 + np.exp(4 * (place - fall_at))) + draws
    losses += np.where(place > explode_at, np.expm1(6 * (place - explode_at)), 0)
    keep = losses < 12 * level
    return (10**place)[keep].tolist(), losses[keep].tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.3])
def test_a_clear_curve_has_three_answers_where_a_person_would_look(noise, seed):
    rates, losses = curve(noise=noise, seed=seed)
    answer = suggest(rates, losses, 0.9, ended=True)
    low, high = answer.range
    assert answer.clear and low <= answer.rate <= high
    assert [each.rule for each in answer.answers] == ["steepest", "valley", "minimum / 10"]
    assert 10**-3.6 < answer.of("steepest").rate < 10**-2.2
    assert 10**-4 < answer.rate < 10**-1.2  # the loss falls around 1e-3 and explodes at 0.5
    assert str(answer).startswith(f"Begin with a rate near {answer.rate:.2g}; between {low:.2g} and {high:.2g}")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("losses", "ended", "message"),
    [
        (lambda r: 2.3 + r.normal(0, 0.02, 150), False, "stays near 2.3 at all rates"),
        (lambda r: np.full(150, 2.3), False, "stays near 2.3 at all rates"),
        (lambda r: 2.3 + r.normal(0, 0.02, 150) - np.linspace(0, 0.04, 150), False, "stays near"),
        (lambda r: 2.3 + r.normal(0, 1.0, 150), False, "too much to see a fall"),
        (lambda r: 2.3 + r.normal(0, 1.5, 150) - 0.2 * (np.arange(150) > 80), False, "too much to see a fall"),
        (lambda r: 2.3 * np.exp(np.linspace(0, 4, 150)) + r.normal(0, 0.02, 150), True, "never clearly below.*1e-06"),
        (lambda r: np.r_[np.full(100, 2.3), 2.3 * 1.1 ** np.arange(50)], True, "and then rises, near a rate of"),
        (lambda r: np.r_[2.4, 3, 6, 11, 7, 9, 13, 8, 6, 5, 7, 4, np.full(50, 3.0)], False, "never clearly below"),
        (lambda r: np.r_[2.4, 3 + r.exponential(3, 34)], True, "never clearly below its first value, 2.4"),
        (lambda r: 2.3 - np.linspace(0, 1.5, 150) + r.normal(0, 0.02, 150), False, "still falls at the largest rate"),
        (lambda r: np.linspace(2, 1, 19), False, "only 19 losses were measured and at least 20 are needed; take more"),
        (lambda r: np.linspace(2, 90, 5), True, "only 5 losses .* begin at a smaller rate"),
        (lambda r: np.array([]), True, "only 0 losses"),
        (lambda r: 2.3 + r.normal(0, 0.02, 3), True, "had not risen before, so look for NaN"),
        (lambda r: 2.3 + r.normal(0, 0.02, 90), True, "up to a rate of 0.0038, and the next one is not a number; look"),
        (lambda r: np.zeros(150), False, "stays near 0 at all rates"),
        (lambda r: 0.8 + 1.5 * np.exp(-np.arange(150.0)) + r.normal(0, 0.01, 150), False, r"fell from 2.3 to 0.\d+ wi"),
        (lambda r: 2.3 - 0.8 * (np.arange(30) > 27) + r.normal(0, 0.02, 30), False, "still falls"),
        (lambda r: 2.3 - np.linspace(0, 1, 30) ** 3 + r.normal(0, 0.01, 30), False, "still falls at the largest rate"),
        (lambda r: 2.3 + r.normal(0, 0.5, 150) + 20 * (np.arange(150) > 140), True, "differ by about .* by chance"),
    ],
    ids=["flat", "constant", "hardly falling", "noisy", "lost in noise", "diverging", "flat then diverging",
         "down from an explosion", "wild from the second", "at the edge", "too few", "exploded at once", "none",
         "NaN at once", "calm and then NaN", "nothing to learn", "down at once", "two odd batches", "falling late",
         "too noisy before it rises"],
)  # fmt: skip
def test_a_curve_that_says_nothing_is_called_so_with_the_reason(losses, ended, message, seed):
    made = np.asarray(losses(np.random.default_rng(seed)))
    answer = suggest(geometric_rates(1e-6, 1, 150)[: len(made)], made, 0.9, ended=ended)
    assert not answer.clear and answer.rate is None and answer.range is None and answer.answers == ()
    assert str(answer).startswith("No clear answer: ")
    assert re.search(message, answer.problem), answer.problem
    with pytest.raises(ValueError, match="none, for the curve gives no answer"):
        answer.of("valley")


def fallen(rise):
    """Return rates and losses that fall late, from 2.3 to 0.2, and then rise by `rise` in the last 20 of 200 steps."""
    losses = np.full(200, 2.3)
    losses[140:180] = np.linspace(2.3, 0.2, 40)
    losses[180:] = np.linspace(0.2, 0.2 + rise, 20)
    return np.asarray(geometric_rates(1e-8, 10, 200)), losses


def test_a_slow_average_that_falls_to_the_end_gives_way_to_a_quicker_one():
    rates, losses = fallen(0.6)
    slow, quick = smooth(losses, 0.98), smooth(losses, 0.9)
    assert int(np.argmin(slow)) == 199 and 180 < int(np.argmin(quick)) < 195
    answer = suggest(rates, losses, 0.98)
    assert answer.clear and answer == suggest(rates, losses, 0.9)
    assert answer.of("minimum / 10").rate == pytest.approx(rates[np.argmin(quick)] / 10)
    ended = suggest(rates, losses, 0.98, ended=True)  # a test that exploded keeps its own average
    assert ended.of("minimum / 10").rate == pytest.approx(1.0) != answer.of("minimum / 10").rate


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("beta", [0.9, 0.98])
def test_losses_that_have_come_down_are_not_said_to_fall_further(beta, seed):
    draws = np.random.default_rng(seed).standard_normal
    losses = np.r_[1.3 + 0.05 * draws(100), np.linspace(1.3, 0.02, 20), 0.02 + 0.001 * draws(80)]
    rates = geometric_rates(1e-8, 10, 200)
    assert int(np.argmin(smooth(losses, beta))) > 185  # the average creeps on
    answer = suggest(rates, losses, beta)
    assert answer.clear and rates[100] < answer.of("steepest").rate < rates[125]
    assert rates[120] < 10 * answer.of("minimum / 10").rate < rates[165]


@pytest.mark.parametrize("seed", range(5))
def test_the_steepest_place_is_on_the_way_down_and_not_where_few_losses_waver(seed):
    rates, losses = curve(noise=0.5, seed=seed)
    losses[0] = 4.5  # of one odd batch: the average comes down from it more steeply than anywhere else
    y = np.asarray(smooth(losses, 0.9))
    assert np.argmin(np.diff(y[:140])) < 30
    assert suggest(rates, losses, 0.9, ended=True).of("steepest").rate > 1e-5


def test_a_loss_that_is_no_number_before_any_step_is_not_blamed_on_a_rate(batches):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = everything(model, optimizer)
    with pytest.raises(TrainingError, match="is nan before any step, so no rate is to blame; look for NaN"):
        range_test(model, batches, optimizer, lambda logits, labels: F.cross_entropy(logits, labels) * math.nan)
    assert same(everything(model, optimizer), before)


def test_a_loader_that_does_not_know_its_length_can_be_tested(part):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([(torch.rand(1, 28, 28), 3)] * 64)

    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    loader = torch.utils.data.DataLoader(Endless(), batch_size=16)
    result = range_test(model, loader, torch.optim.SGD(model.parameters(), 0.1), steps=8)
    assert len(result.losses) == 8 and result.passes == 1.0


def test_losses_that_fall_to_the_end_themselves_are_still_called_so():
    answer = suggest(*fallen(-0.1), 0.98)
    assert answer.problem == "the loss still falls at the largest rate; test beyond 10."


def test_real_networks_that_cannot_learn_or_start_too_high_give_no_clear_answer(batches):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    assert "only" in range_test(model, batches, optimizer, start=5.0, end=100.0, steps=100).suggestion.problem
    assert "stays near" in range_test(model, batches, optimizer, end=1e-6, steps=60).suggestion.problem
    small = range_test(model, batches, optimizer, start=1e-5, end=0.01, steps=100).suggestion
    assert "test beyond 0.01" in small.problem

    def no_gradient(logits, labels):
        return F.cross_entropy(0 * logits, labels)

    assert "stays near 2.3" in range_test(model, batches, optimizer, no_gradient, steps=60).suggestion.problem


def test_the_valley_is_the_middle_of_the_longest_way_downhill():
    assert valley([5, 4, 3, 2, 1]) == 2
    assert valley([9, 8, 7, 1, 6, 5, 4, 3, 20]) == 4  # 9 8 7 6 5 4 3: the dip to 1 is stepped over
    assert valley([1]) == 0
    assert valley([1, 2, 3]) in (0, 1, 2)


def test_wrong_curves_are_refused():
    for rates, losses, message in [
        ([1, 2], [1], "Each rate needs one loss"),
        ([2, 1], [1, 1], "grow from step to step"),
        ([0, 1], [1, 1], "must be positive"),
        ([1, 2], [1, math.nan], "not a finite number"),
    ]:
        with pytest.raises(ValueError, match=message):
            suggest(rates, losses)
    with pytest.raises(ValueError, match="no rule 'fastest'; there are: steepest, valley, minimum / 10"):
        suggest(*curve(), ended=True).of("fastest")


def test_a_result_is_drawn_with_its_finding_and_its_answers():
    result = RangeTest(*map(tuple, curve()), beta=0.9, stopped="threshold")
    figure = result.plot()
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "learning rate" and axes.get_ylabel() == "training loss"
    assert axes.get_title(loc="left").startswith(f"Begin near {result.rate:.2g}")
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [f"{c.rule}: {c.rate:.2g}" for c in result.answers] == labels[2:]
    flat = RangeTest(tuple(geometric_rates(steps=50)), (2.3,) * 50)
    assert flat.plot(axes) is figure and axes.get_title(loc="left").startswith("No clear answer: the loss stays near")
    plt.close(figure)


def fastais_valley(losses):
    """Return the index that fastai's rule takes: a third of the way's length, and half of that, before its end."""
    length, end = [1] * len(losses), 0
    for i in range(1, len(losses)):
        for j in range(i):
            if losses[i] < losses[j]:
                length[i] = max(length[i], length[j] + 1)
        if length[i] > length[end]:
            end = i
    third = length[end] / 3
    return end - length[end] + int(third) + int(third / 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_valley_is_fastais_on_a_smooth_curve_and_further_left_on_a_bumpy_one(seed):
    draws = np.random.default_rng(seed)
    slopes = draws.uniform(0.01, 0.1, 120)
    smooth_curve = np.concatenate([[9.0] * 10, 9 - np.cumsum(slopes), np.linspace(4, 30, 20)])
    assert abs(valley(smooth_curve) - fastais_valley(smooth_curve)) <= 1
    bumpy = smooth_curve.copy()
    bumpy[10:130] += draws.normal(0, 0.1, 120)
    assert valley(bumpy) < fastais_valley(bumpy)
