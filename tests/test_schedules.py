import functools
import itertools
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from course_utils import learning_rate, training
from course_utils.learning_rate import schedules

BATCHES = [(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))] * 7


def optimizer(rate=0.1, **options):
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    return torch.optim.SGD([weight], lr=rate, momentum=0.9, **options)


def rates_of(make, epochs=3, rate=0.1, **options):
    return learning_rate.preview(lambda o, b, e: make(o, b, e, **options), BATCHES, epochs, rate=rate).rates


@pytest.mark.parametrize(
    ("total", "max_lr", "pct_start"), [(21, 0.1, 0.3), (100, 2.5, 0.25), (7, 1e-3, 0.5), (1000, 1, 0.1)]
)
def test_the_formula_by_hand_is_pytorchs_one_cycle(total, max_lr, pct_start):
    moved = optimizer()
    theirs = lr_scheduler.OneCycleLR(moved, max_lr, total_steps=total, pct_start=pct_start)
    for step in range(total):
        rate, momentum = learning_rate.one_cycle_values(step, total, max_lr, pct_start)
        group = moved.param_groups[0]
        assert rate == pytest.approx(group["lr"], rel=1e-9) and momentum == pytest.approx(group["momentum"], rel=1e-9)
        moved.step()
        theirs.step()
    for outside in (-1, total):
        with pytest.raises(ValueError, match=f"steps 0 to {total - 1}, not {outside}"):
            learning_rate.one_cycle_values(outside, total, max_lr)


def test_one_cycle_takes_its_steps_from_the_batches_and_its_top_from_the_optimizer():
    schedule = learning_rate.one_cycle(optimizer(0.2), BATCHES, 3)
    assert schedule.total_steps == 21
    rates = rates_of(learning_rate.one_cycle, rate=0.2)
    assert rates[0] == pytest.approx(0.2 / 25) and max(rates) > 0.195 and rates[-1] < 1e-5
    assert max(rates_of(learning_rate.one_cycle, max_lr=0.05)) < 0.0501


def test_one_cycle_moves_adams_first_beta_and_leaves_an_optimizer_without_momentum_alone():
    adam = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], 0.01)
    learning_rate.one_cycle(adam, BATCHES, 3)
    assert adam.param_groups[0]["betas"] == (0.95, 0.999)
    plain = torch.optim.Adagrad([nn.Parameter(torch.zeros(1))], 0.01)
    assert not learning_rate.one_cycle(plain, BATCHES, 3).cycle_momentum


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.RMSprop])
def test_one_cycle_gives_no_momentum_to_an_optimizer_that_has_none(make):
    moved = make([nn.Parameter(torch.zeros(1))], 0.1)
    schedule = learning_rate.one_cycle(moved, BATCHES, 3)
    moved.step()
    schedule.step()
    assert moved.param_groups[0]["momentum"] == 0 and moved.param_groups[0]["lr"] > 0.1 / 25


FROM_POINTS = functools.partial(learning_rate.from_points, rates=[0.01, 0.2, 0.001])


RESTARTS = functools.partial(learning_rate.cosine_restarts, lowest=0.01)


@pytest.mark.parametrize("make", [learning_rate.one_cycle, RESTARTS, FROM_POINTS])
def test_a_schedule_that_is_made_again_over_the_same_optimizer_is_the_same(make):
    moved, rates = optimizer(), []
    for _ in range(2):  # as in a cell that is run again
        schedule = make(moved, BATCHES, 3)
        for _ in range(10):
            rates.append(moved.param_groups[0]["lr"])
            moved.step()
            schedule.step()
    assert rates[10:] == pytest.approx(rates[:10])


def test_one_cycle_keeps_the_rates_of_groups_apart():
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.01, 0.1)]
    moved = torch.optim.SGD(groups, momentum=0.9)
    learning_rate.one_cycle(moved, BATCHES, 3)
    assert [group["lr"] for group in moved.param_groups] == pytest.approx([0.01 / 25, 0.1 / 25])


@pytest.mark.parametrize(("pictures", "batches"), [(640, 10), (641, 11), (63, 1)])
def test_a_ragged_last_batch_is_a_step(pictures, batches):
    loader = DataLoader(torch.arange(pictures), 64)
    assert learning_rate.total_steps(loader, 3) == 3 * batches == 3 * sum(1 for _ in loader)


def test_constant_stays_where_it_is():
    assert set(rates_of(learning_rate.constant, rate=0.3)) == {0.3}


def test_step_decay_drops_after_their_shares_of_the_steps():
    rates = rates_of(learning_rate.step_decay, epochs=4)  # 28 steps: drops after 14 and 21
    assert rates == pytest.approx((0.1,) * 14 + (0.01,) * 7 + (0.001,) * 7)


def test_step_decay_never_drops_before_the_first_step():
    rates = rates_of_length(4, learning_rate.step_decay, at=(0.1, 0.5))
    assert rates == pytest.approx((0.1, 0.01, 0.001, 0.001))


def test_cosine_restarts_end_with_the_training_and_follow_the_cosine():
    rates = rates_of(learning_rate.cosine_restarts, epochs=3)  # 21 steps: cycles of 7 and 14
    expected = [0.1 * (1 + math.cos(math.pi * step / 7)) / 2 for step in range(7)]
    expected += [0.1 * (1 + math.cos(math.pi * step / 14)) / 2 for step in range(14)]
    assert rates == pytest.approx(expected)
    ragged = rates_of(learning_rate.cosine_restarts, epochs=1, cycles=2)  # 7 steps do not divide by 3
    assert sum(rate == 0.1 for rate in ragged) == 2 and ragged[-1] < 0.1


@pytest.mark.parametrize("lowest", [0.0, 0.01])
@pytest.mark.parametrize(
    ("total", "cycles", "growth"),
    [
        (10, 3, 2),
        (12, 3, 2),
        (25, 3, 2),
        (305, 3, 2),
        (100, 4, 2),
        (7, 3, 2),
        (8, 3, 2),
        (10, 7, 1),
        (40, 3, 3),
        (5, 1, 2),
    ],
)
def test_restarts_end_their_last_cycle_with_the_training_for_any_length(total, cycles, growth, lowest):
    make = learning_rate.cosine_restarts
    rates = rates_of_length(total, make, cycles=cycles, growth=growth, lowest=lowest)
    begins = [step for step in range(total) if rates[step] == pytest.approx(0.1)]
    assert len(begins) == cycles and begins[0] == 0
    lengths = [end - begin for begin, end in itertools.pairwise([*begins, total])]
    parts = [growth**cycle for cycle in range(cycles)]
    for length, part in zip(lengths, parts):
        assert abs(length - total * part / sum(parts)) <= 1
    last = math.cos(math.pi * (lengths[-1] - 1) / lengths[-1])  # the step after it would be at the lowest
    assert rates[-1] == pytest.approx(lowest + (0.1 - lowest) * (1 + last) / 2)
    if total % sum(parts) == 0:
        first = total // sum(parts)
        theirs = lambda o, b, e: lr_scheduler.CosineAnnealingWarmRestarts(o, first, growth, lowest)  # noqa: E731
        assert rates == pytest.approx(rates_of_length(total, theirs))


def rates_of_length(total, make, **options):
    return learning_rate.preview(lambda o, b, e: make(o, b, e, **options), range(total), 1, rate=0.1).rates


def test_restarts_keep_the_rates_of_groups_apart_and_a_schedule_knows_its_length():
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.01, 0.1)]
    moved = torch.optim.SGD(groups)
    schedule = learning_rate.cosine_restarts(moved, BATCHES, 3, lowest=0.001)
    for _ in range(6):
        moved.step()
        schedule.step()
    wave = (1 + math.cos(math.pi * 6 / 7)) / 2
    assert [group["lr"] for group in moved.param_groups] == pytest.approx(
        [0.001 + (rate - 0.001) * wave for rate in (0.01, 0.1)]
    )
    for make in (learning_rate.cosine_restarts, learning_rate.warmup_linear):
        with pytest.raises(ValueError, match="made for 21 steps, but 2 epochs"):
            learning_rate.require_fit(make(optimizer(), BATCHES, 3), BATCHES, 2)


@given(
    st.integers(2, 40), st.integers(1, 8), st.floats(0.05, 0.95), st.floats(1e-4, 10), st.floats(0.5, 0.9),
    st.floats(0.01, 0.09),
)  # fmt: skip
def test_one_cycle_is_its_formula_for_any_settings(count, epochs, pct_start, rate, low, more):
    total, momentum = count * epochs, (low, low + more)
    assume(pct_start * total >= 2 and total - 1 > pct_start * total)
    options = {"pct_start": pct_start, "momentum_range": momentum}
    seen = learning_rate.preview(
        lambda o, b, e: learning_rate.one_cycle(o, b, e, **options), range(count), epochs, rate=rate
    )
    formula = [learning_rate.one_cycle_values(step, total, rate, pct_start, momentum) for step in range(total)]
    assert seen.rates == pytest.approx([each[0] for each in formula], rel=1e-6)
    assert seen.momentum == pytest.approx([each[1] for each in formula], rel=1e-6)


def test_one_cycle_is_its_formula_with_the_settings_that_nobody_names():
    seen = learning_rate.preview(learning_rate.one_cycle, range(50), 2, rate=0.4)
    formula = [learning_rate.one_cycle_values(step, 100, 0.4) for step in range(100)]
    assert seen.rates == pytest.approx([each[0] for each in formula])
    assert seen.momentum == pytest.approx([each[1] for each in formula])
    assert seen.rates.index(max(seen.rates)) == 29 and min(seen.momentum) == pytest.approx(0.85)  # 30 % of the steps


@pytest.mark.parametrize("lowest", [0.0, 0.01])
def test_cosine_is_half_a_wave_from_the_rate_to_the_lowest(lowest):
    rates = rates_of(learning_rate.cosine, lowest=lowest)  # 21 steps
    expected = [lowest + (0.1 - lowest) * (1 + math.cos(math.pi * step / 21)) / 2 for step in range(21)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(("pct_start", "top"), [(0.1, 2), (0.3, 6), (0.5, 10)])  # of 21 steps
def test_warm_up_rises_in_equal_steps_to_the_rate_and_falls_in_equal_steps_to_0(pct_start, top):
    rates = rates_of(learning_rate.warmup_linear, pct_start=pct_start)
    assert rates[:top] == pytest.approx([0.1 * (step + 1) / top for step in range(top)])
    down = 21 - top + 1  # from the top to 0, which would be the rate after the last step
    assert rates[top - 1 :] == pytest.approx([0.1 * left / down for left in range(down, 0, -1)])


def test_plateau_halves_after_ten_epochs_without_progress_and_one_more():
    losses = [1.0] * 30
    make = learning_rate.plateau
    rates = learning_rate.preview(make, BATCHES[:1], 30, losses=losses).rates
    # The first loss is the best; ten bad epochs are borne, and the eleventh halves.
    assert rates == pytest.approx((0.1,) * 12 + (0.05,) * 11 + (0.025,) * 7)
    falling = learning_rate.preview(make, BATCHES[:1], 30, losses=[1 / (i + 1) for i in range(30)]).rates
    assert set(falling) == {0.1}


def test_a_drawn_schedule_passes_its_knots_and_moves_in_even_factors():
    rates = rates_of(learning_rate.from_points, rates=[0.001, 0.1, 0.01])
    assert (rates[0], rates[10], rates[20]) == pytest.approx((0.001, 0.1, 0.01))
    ratios = [b / a for a, b in itertools.pairwise(rates[:11])]
    assert ratios == pytest.approx([10**0.2] * 10)


def test_a_preview_touches_nothing_and_is_what_training_does():
    made = torch.Generator().manual_seed(0)
    pairs = [(torch.randn(8, 3, generator=made), torch.randint(0, 2, (8,), generator=made)) for _ in range(7)]
    makers = (
        learning_rate.one_cycle,
        learning_rate.step_decay,
        learning_rate.cosine,
        learning_rate.warmup_linear,
        learning_rate.cosine_restarts,
    )
    for make in makers:
        seen = learning_rate.preview(make, pairs, 3, rate=0.05)
        training.seed_everything(0)
        model = nn.Linear(3, 2)
        moves = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        schedule = make(moves, pairs, 3)
        history = training.fit(model, pairs, epochs=3, optimizer=moves, scheduler=schedule, progress=False)
        assert history.learning_rates == pytest.approx(list(seen.rates))


def test_previews_are_drawn_with_labels_and_momentum_where_it_moves():
    shown = [learning_rate.preview(make, BATCHES, 3) for make in (learning_rate.constant, learning_rate.one_cycle)]
    figure = learning_rate.plot_previews(shown)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["constant", "one cycle"]
    assert len(figure.axes) == 4 and figure.axes[0].get_ylabel() == "learning rate"
    assert figure.axes[2].get_ylabel() == "momentum" and figure.axes[2].get_xlabel() == "epoch"
    assert len(shown[0].plot().axes) == 1
    above, below = plt.subplots(2)[1]
    assert shown[1].plot([above, below]) is above.figure and below.get_xlabel() == "epoch"
    assert tuple(above.lines[0].get_ydata()) == shown[1].rates
    assert tuple(below.lines[0].get_ydata()) == shown[1].momentum
    plt.close("all")


def used_up(steps):
    moved = optimizer()
    schedule = learning_rate.one_cycle(moved, BATCHES, 3)
    for _ in range(steps):
        moved.step()
        schedule.step()
    return schedule


def test_a_schedule_for_another_number_of_steps_is_refused_before_training():
    wrong = lr_scheduler.OneCycleLR(optimizer(), 0.1, total_steps=20)
    message = (
        r"made for 20 steps, but 3 epochs of 7 batches are 21; make it with .*one_cycle\(optimizer, batches, epochs=3\)"
    )
    with pytest.raises(ValueError, match=message):
        learning_rate.require_fit(wrong, BATCHES, 3)
    learning_rate.require_fit(used_up(0), BATCHES, 3)
    learning_rate.require_fit(lr_scheduler.ChainedScheduler([used_up(0)]), BATCHES, 3)
    for wrong, kind in ((lr_scheduler.StepLR, "the class StepLR"), (None, "None")):
        with pytest.raises(TypeError, match=f"a scheduler that was made .* not {kind}"):
            learning_rate.require_fit(wrong, BATCHES, 3)
    learning_rate.require_fit(learning_rate.plateau(optimizer(), BATCHES, 3), BATCHES, 3)
    with pytest.raises(ValueError, match="has taken 21 steps already, perhaps in a cell that was run before"):
        learning_rate.require_fit(used_up(21), BATCHES, 3)


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (learning_rate.cosine, r"with learning_rate\.cosine\(optimizer, batches, epochs=2\)"),
        (lambda o, b, e: lr_scheduler.CosineAnnealingLR(o, 21), r"with learning_rate\.cosine\(optimizer"),
        (learning_rate.step_decay, r"with learning_rate\.step_decay\(optimizer, batches, epochs=2\)"),
        (learning_rate.warmup_linear, "anew with epochs=2"),
        (learning_rate.from_points, "anew with epochs=2"),
    ],
)
def test_each_schedule_with_a_length_is_refused_for_another_and_the_advice_names_it(make, advice):
    make = FROM_POINTS if make is learning_rate.from_points else make
    learning_rate.require_fit(make(optimizer(), BATCHES, 3), BATCHES, 3)
    with pytest.raises(ValueError, match=f"made for 21 steps, but 2 epochs of 7 batches are 14; make it {advice}"):
        learning_rate.require_fit(make(optimizer(), BATCHES, 3), BATCHES, 2)


@pytest.mark.parametrize("make", [learning_rate.one_cycle, learning_rate.cosine, learning_rate.warmup_linear])
def test_a_training_that_outlasts_its_schedule_is_refused_before_its_first_step(make):
    def fit(schedule, epochs, batches=BATCHES, **settings):
        settings |= {"epochs": epochs, "optimizer": moved, "scheduler": schedule, "progress": False}
        return training.fit(model, batches, **settings)

    model = nn.Linear(3, 2)
    moved = torch.optim.SGD(model.parameters(), 0.1)
    schedule = make(moved, BATCHES, 2)
    words = "has 14 of its 14 steps left, and this training takes 21; .* anew, the schedule for 3 epochs"
    with pytest.raises(ValueError, match=words):
        fit(schedule, 3)
    assert schedule.last_epoch == 0
    fit(schedule, 1)
    fit(schedule, 1)
    with pytest.raises(ValueError, match="has 0 of its 14 steps left, and this training takes 7"):
        fit(schedule, 1)
    with pytest.raises(ValueError, match="has 0 of its 14 steps left, and this training takes 1"):
        fit(schedule, 1, schedule_every="epoch")
    fit(make(moved, BATCHES, 2), 1, iter(BATCHES))  # how many there are is not known


def one_cycle(**settings):
    return lambda: learning_rate.one_cycle(optimizer(), BATCHES, 3, **settings)


MAKE = (
    learning_rate.constant, learning_rate.step_decay, learning_rate.plateau, learning_rate.cosine,
    learning_rate.warmup_linear, learning_rate.cosine_restarts, learning_rate.one_cycle, FROM_POINTS,
)  # fmt: skip


@pytest.mark.parametrize("make", MAKE)
def test_every_schedule_wants_an_optimizer_that_was_made_and_says_so(make):
    for wrong, kind in ((torch.optim.SGD, "the class SGD"), (nn.Linear(1, 1), "a Linear"), (None, "None")):
        with pytest.raises(TypeError, match=f"needs an optimizer that was made, .* not {kind}"):
            make(wrong, BATCHES, 3)
    with pytest.raises(TypeError, match=r"needs an optimizer that was made, .* not a list"):
        make(BATCHES, optimizer(), 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (one_cycle(max_lr=-0.1), ValueError, "max_lr must be a positive rate, .* not -0.1"),
        (one_cycle(max_lr="0.1"), ValueError, "not '0.1'"),
        (one_cycle(pct_start="0.3"), ValueError, "way up, and be below 1, not '0.3'"),
        (one_cycle(momentum_range=(0.95, 0.85)), ValueError, r"the lowest and the highest .* not \(0.95, 0.85\)"),
        (one_cycle(momentum_range=(0.9, 1.5)), ValueError, r"from 0 to below 1, not \(0.9, 1.5\)"),
        (lambda: learning_rate.one_cycle_values(0, 10, 0.1, pct_start=0.1), ValueError, "at least 2 of the 10 steps"),
        (lambda: learning_rate.step_decay(optimizer(), BATCHES, 3, factor=10), ValueError, "factor .* tenth .* not 10"),
        (lambda: learning_rate.cosine(optimizer(), BATCHES, 3, lowest=1), ValueError, "below .* rate, 0.1, not 1"),
        (lambda: learning_rate.cosine_restarts(optimizer(), BATCHES, 3, lowest=-1), ValueError, "at least 0 .* not -1"),
        (lambda: learning_rate.from_points(optimizer(), BATCHES, 3, rates=["1", "2"]), ValueError, "two positive"),
        (
            lambda: learning_rate.preview(learning_rate.cosine(optimizer(), BATCHES, 3), BATCHES, 3),
            TypeError,
            "A function that makes the schedule .* not a CosineAnnealingLR",
        ),
        (lambda: learning_rate.preview(lr_scheduler.StepLR, BATCHES, 3), TypeError, "not the class StepLR"),
        (lambda: learning_rate.preview(lambda o, b, e: None, BATCHES, 3), TypeError, "a scheduler .* not None"),
        (lambda: learning_rate.total_steps(BATCHES, [torch.zeros(9, 9)]), ValueError, "whole number .* not "),
        (lambda: learning_rate.total_steps(BATCHES, 0), ValueError, "whole number of at least 1, not 0"),
        (lambda: learning_rate.total_steps(BATCHES, 1.5), ValueError, "whole number of at least 1, not 1.5"),
        (lambda: learning_rate.total_steps([], 1), ValueError, "There are no batches"),
        (lambda: learning_rate.total_steps(iter(BATCHES), 1), TypeError, "list_iterator has no length"),
        (lambda: learning_rate.one_cycle(optimizer(), BATCHES, 3, pct_start=1.0), ValueError, "be below 1, not 1.0"),
        (lambda: learning_rate.one_cycle(optimizer(), BATCHES[:1], 3), ValueError, "at least 2 of the 3 steps"),
        (lambda: learning_rate.step_decay(optimizer(), BATCHES, 3, at=(0.7, 0.5)), ValueError, "grow between 0 and 1"),
        (
            lambda: learning_rate.warmup_linear(optimizer(), BATCHES, 1),
            ValueError,
            "leave a step of the 7 for the way up and one for down, not 0.1",
        ),
        (lambda: learning_rate.warmup_linear(optimizer(), BATCHES, 1, pct_start=0.9), ValueError, "not 0.9"),
        (
            lambda: learning_rate.cosine_restarts(optimizer(), BATCHES, 1, cycles=0),
            ValueError,
            "cycles and growth must be",
        ),
        (
            lambda: learning_rate.cosine_restarts(optimizer(), BATCHES, 1, cycles=4),
            ValueError,
            "do not fit into 7 steps",
        ),
        (
            lambda: learning_rate.from_points(optimizer(), BATCHES, 1, rates=[0.1]),
            ValueError,
            "at least two positive rates",
        ),
        (
            lambda: learning_rate.from_points(optimizer(), BATCHES, 1, rates=[0.1, 0]),
            ValueError,
            "at least two positive",
        ),
        (
            lambda: learning_rate.from_points(optimizer(0.0), BATCHES, 1, rates=[0.1, 0.01]),
            ValueError,
            "own rate, which is 0",
        ),
        (
            lambda: learning_rate.preview(learning_rate.plateau, BATCHES, 3, losses=[1.0]),
            ValueError,
            "one loss for each of the 3 epochs, not 1",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_sentence(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# The comparison


def clouds(seed, count=600):
    """Return batches of points from three clouds, in an order that the seed decides."""
    generator = torch.Generator().manual_seed(99)
    labels = torch.randint(0, 3, (count,), generator=generator)
    points = torch.randn(count, 2, generator=generator) * 0.6 + torch.tensor([[0.0, 2], [2, 0], [-2, -1]])[labels]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return list(zip(points[order].split(50), labels[order].split(50)))


CANDIDATES = [
    learning_rate.Candidate("constant", 0.05, learning_rate.constant),
    learning_rate.Candidate("one-cycle", 0.05, learning_rate.one_cycle),
    learning_rate.Candidate("plateau", 0.05, learning_rate.plateau),
    learning_rate.Candidate("far too large", 1e30, learning_rate.constant),
]


@pytest.fixture(scope="module")
def result():
    def network():
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))

    return learning_rate.compare(CANDIDATES, network, clouds, clouds(0), epochs=2, seeds=[3, 4, 5])


@pytest.mark.outcome
def test_each_candidate_has_the_accuracy_that_training_alone_gives(result):
    training.seed_everything(4)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    moves = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    schedule = learning_rate.one_cycle(moves, clouds(4), 2)
    for _ in range(2):
        for points, labels in clouds(4):
            loss = F.cross_entropy(model(points), labels)
            moves.zero_grad()
            loss.backward()
            moves.step()
            schedule.step()
    expected = training.evaluate(model, clouds(0)).accuracy
    assert result.accuracies["one-cycle"][1] == expected > 0.8
    assert len(result.histories["one-cycle"][1].learning_rates) == 24


@pytest.mark.outcome
def test_a_run_whose_loss_is_no_number_counts_as_nothing_and_stops_nobody(result):
    assert result.accuracies["far too large"] == [0.0] * 3 and result.ranking()[-1] == "far too large"
    assert result.mean("constant") > 0.8


def test_means_spreads_and_gains_are_seed_by_seed():
    comparison = learning_rate.Comparison(
        (0, 1, 2), {"a": [0.90, 0.92, 0.91], "b": [0.89, 0.90, 0.90], "c": [0.92, 0.90, 0.91]}
    )
    assert comparison.mean("a") == pytest.approx(0.91) and comparison.spread("a") == pytest.approx(0.02)
    assert comparison.gains("a", "b") == pytest.approx([0.01, 0.02, 0.01])
    assert comparison.finding("a", "b") == "a beats b with every seed, by 1.33 points (+1.00 to +2.00)"
    assert comparison.finding("b", "a") == "a beats b with every seed, by 1.33 points (+1.00 to +2.00)"
    assert comparison.finding("a", "c").endswith("not with every seed")
    alone = learning_rate.Comparison((0,), {"a": [0.9], "b": [0.8], "c": [0.9]})
    assert alone.finding("b", "a") == "a is ahead of b by 10.00 points with the only seed"
    assert alone.finding("a", "c") == "a and c are equal with the only seed"
    equal = learning_rate.Comparison((0, 1), {"a": [0.9, 0.8], "b": [0.9, 0.8]})
    assert equal.finding("a", "b") == "a and b are equal with every seed"
    assert str(comparison).splitlines()[-1] == "b   89.67 %  from 89.00 % to 90.00 %"
    with pytest.raises(ValueError, match="'d' did not take part; the candidates are a, b, c"):
        comparison.mean("d")


def test_a_comparison_is_drawn_with_every_seed(result):
    figure = result.plot("What it found")
    (axes,) = figure.axes
    assert figure.get_suptitle() == "What it found" and "accuracy in %" in axes.get_xlabel()
    drawn = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert sorted(len(xs) for xs in drawn) == [3] * 4
    beside = plt.subplots(1, 2)[1][1]
    assert result.plot("Beside", ax=beside) is beside.figure and beside.get_title() + beside.get_title("left")
    assert len(beside.lines) == len(axes.lines) and not beside.figure.get_suptitle()
    plt.close("all")


def test_a_comparison_of_nobody_is_refused():
    for candidates, seeds in ([], [0]), (CANDIDATES, []), (CANDIDATES[:1] * 2, [0]):
        with pytest.raises(
            ValueError, match="at least one seed, and at least one candidate, each with a name of its own"
        ):
            learning_rate.compare(candidates, nn.Identity, clouds, clouds(0), epochs=1, seeds=seeds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": nn.Linear(2, 3)}, "needs functions, .* not a Linear and a function"),
        ({"batches": clouds(0)}, "needs functions, .* not a function and a list"),
        ({"validation": None}, "needs batches, not None"),
        ({"validation": iter(clouds(0))}, "only once, and the first run would use them up"),
        ({"judge": iter(clouds(0))}, "only once, and the first run would use them up"),
        ({"candidates": [learning_rate.Candidate("none", 0.1, lambda o, b, e: None)]}, "a scheduler .* not None"),
    ],
)
def test_a_comparison_that_cannot_go_on_is_refused_before_any_training(change, words, monkeypatch):
    monkeypatch.setitem(learning_rate.compare.__globals__, "fit", None)
    call = {
        "candidates": CANDIDATES, "model": lambda: nn.Linear(2, 3), "batches": clouds, "validation": clouds(0),
        "epochs": 1, "seeds": [0],
    }  # fmt: skip
    with pytest.raises(TypeError, match=words):
        learning_rate.compare(**call | change)


def test_the_best_rate_is_the_smaller_of_equals():
    assert learning_rate.best_rate({0.1: 0.9, 0.01: 0.9, 1.0: 0.2}) == 0.01
    with pytest.raises(ValueError, match="no rate to choose from"):
        learning_rate.best_rate({})


def test_the_best_rate_is_none_whose_score_is_no_number():
    assert learning_rate.best_rate({0.1: math.nan, 0.01: 0.2, 1.0: math.nan}) == 0.01
    with pytest.raises(ValueError, match="no rate to choose from"):
        learning_rate.best_rate({0.1: math.nan})


def test_every_schedule_of_the_module_can_be_previewed():
    for make in (
        schedules.constant,
        schedules.step_decay,
        schedules.plateau,
        schedules.cosine,
        schedules.warmup_linear,
        schedules.cosine_restarts,
        schedules.one_cycle,
    ):
        assert len(learning_rate.preview(make, BATCHES, 4).rates) == 28
