import copy
import math

import pytest
import torch
from live_runs import LONG, run_to_its_end, sample_of_clothes, small_race, wait_for
from matplotlib.figure import Figure
from panels import figures_in_memory, operate_everything, several_values

from course_utils import learning_rate, training
from course_utils.widgets import lesson6, schedule_race
from course_utils.widgets.panel import VIEW

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def clothes():
    return sample_of_clothes()


@pytest.fixture(scope="module")
def settings(clothes):
    """The panel of a range test's settings, made once; to make it leaves random numbers alone."""
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    panel = lesson6.range_settings(clothes.train, seed=2)
    assert torch.equal(torch.rand(4), expected)
    return panel


@pytest.fixture
def panel(clothes):
    with small_race(clothes) as made:
        yield made


# The valley


def test_a_walk_is_drawn_with_every_step_also_where_it_leaves_the_view():
    walked, figure = lesson6.walk(8.0, -2.5, 60), Figure()
    lesson6.draw_walk(walked, figure)
    (ax,) = figure.axes
    assert walked.places.max() > ax.get_xlim()[1]
    assert ax.lines[1].get_xdata().tolist() == walked.places.tolist() and len(ax.collections[0].get_offsets()) == 61


def test_every_control_of_the_valley_takes_its_ends_and_values_between():
    panel = lesson6.valley_walk()
    before = figures_in_memory()
    assert operate_everything(panel) > 15
    assert figures_in_memory() <= before
    bundle, metadata = panel._repr_mimebundle_()
    (kind,) = metadata
    assert VIEW in bundle and metadata[kind]["width"] < 900


def test_the_walk_is_gradient_descent_on_the_landscape():
    for start in (-4.0, -1.5, -1.45, 0.0, 6.0):
        x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(lesson6.landscape(x), x)
        assert lesson6.slope(start) == pytest.approx(slope.item())
        places = lesson6.walk(0.1, start, 1).places
        assert places.tolist() == pytest.approx([start, start - 0.1 * slope.item()])


@pytest.mark.parametrize(
    ("rate", "end"),
    [
        (0.003, "is still on its way"),
        (0.03, "stays in the trap"),
        (0.06, "jumps back and forth in the trap"),
        (0.12, "jumps back and forth in the trap"),
        (0.125, "is still on its way"),
        (0.5, "reached the bottom"),
        (3.0, "reached the bottom"),
        (8.0, "jumps back and forth"),
        (9.5, "jumped out of the valley"),
    ],
)
def test_small_rates_crawl_or_are_trapped_and_large_ones_jump_out(rate, end):
    assert lesson6.walk(rate, -2.5, 60).end == end
    panel = lesson6.valley_walk()
    panel.set(rate=rate)
    assert panel.sentence.endswith(f"it {end}.")


@pytest.mark.parametrize(
    ("rate", "start", "steps", "end"),
    [
        (1.0, -4.0, 2, "is still on its way"),  # 0.03 from the trap's middle, after a jump of 1.1
        (0.5012, -2.0, 1, "is still on its way"),
        (0.1995, -1.5, 5, "jumps back and forth in the trap"),
        (10**0.9, 3.5, 20, "jumps back and forth"),  # at last 1.72, 2.26, 1.77, 2.21
        (0.5, 2.0, 3, "reached the bottom"),
        (0.01, -1.5, 20, "stays in the trap"),
    ],
)
def test_a_walk_that_only_passes_through_has_not_come_to_rest(rate, start, steps, end):
    assert lesson6.walk(rate, start, steps).end == end


@pytest.mark.parametrize("start", [-2.5, -1.5, 2.0])
def test_a_walk_of_no_step_or_one_jumps_nowhere_back_and_forth(start):
    assert lesson6.walk(10.0, start, 0).end == "stands where it starts"
    assert "forth" not in lesson6.walk(5.0, start, 1).end


# The settings of a range test


def test_every_control_of_the_range_test_takes_its_ends_and_values_between(settings):
    panel = settings
    before = figures_in_memory()
    panel.set(steps=40)  # each picture is a test of its own
    pictures = {panel.picture.value}
    for control in panel.controls.values():
        first = control.value
        values = several_values(control)
        if len(values) == 7:
            values = values[::2]  # both ends and two between
        for value in values:
            control.value = value
            assert panel.error is None and panel.alert.value == ""
            pictures.add(panel.picture.value)
        control.value = first
    panel.set(**panel.first_values)
    assert len(pictures) > 15 and figures_in_memory() <= before


def test_the_panel_shows_the_true_range_test_and_leaves_random_numbers_alone(settings):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    panel = settings
    panel.set(steps=60, size=16, beta=0.9)
    assert torch.equal(torch.rand(4), expected)
    result = panel.compute(**panel.values)
    assert len(result.rates) <= 60 and result.beta == pytest.approx(0.9)
    assert list(result.rates) == learning_rate.geometric_rates(steps=60)[: len(result.rates)]
    assert panel.compute(**panel.values) == result  # the network is as it was, so the same test gives the same curve
    assert panel.sentence.startswith(f"{len(result.losses)} batches; begin near {result.rate:.2g} (steepest ")
    panel.set(end=0.01)
    assert panel.sentence.startswith("No clear answer: ")


def test_too_few_pictures_are_refused(clothes):
    with pytest.raises(ValueError, match="at least 2,000 pictures, not 100"):
        lesson6.range_settings(clothes.train.take(100, seed=0))


# The race


def test_the_sliders_draw_the_schedule_live_and_shapes_fill_them_in(panel):
    before = figures_in_memory()
    pictures = {panel.picture.value}
    for knot in panel.knots:
        for exponent in (-5, -0.8, 0):
            knot.value = 10**exponent
            pictures.add(panel.picture.value)
            assert panel.error is None
    assert len(pictures) > 15 and figures_in_memory() <= before
    for name in schedule_race.SHAPES:
        panel.shape.value = name
        assert panel.lanes[schedule_race.OWN].planned[0] == pytest.approx(panel.rates[0])
    told = {}
    for name in schedule_race.SHAPES:
        panel.shape.value = name
        told[name] = panel.sentence
        planned = panel.lanes[schedule_race.OWN].planned
        assert panel.sentence.startswith(f"Your schedule goes from {planned[0]:.2g} to {planned[-1]:.2g}")
    assert "from 0.1 to 0.0001; one-cycle goes up to 0." in told["falling"]
    assert len(set(told.values())) == len(told) and ", between " in told["up and down"]


def test_the_shapes_are_what_their_names_say():
    shares = {name: [10**power for power in powers] for name, powers in schedule_race.SHAPES.items()}
    line = [1 - knot / 5 for knot in range(6)]
    assert shares["falling"] == pytest.approx(line, abs=0.01)
    assert shares["rising"] == pytest.approx(line[::-1], abs=0.01)
    assert len(set(shares["level"])) == 1
    down = shares["two steps down"]
    assert down == sorted(down, reverse=True) and len(set(down)) == 3
    up = shares["up and down"]
    assert up[0] == pytest.approx(1 / 25, rel=0.01) and up.index(max(up)) == 2 and up[-1] == min(up)
    assert all(len(each) == 6 and max(each) <= 1 for each in shares.values())


def test_the_rates_are_drawn_with_powers_of_ten_and_no_ticks_between(panel):
    figure = Figure()
    schedule_race.draw_lanes(panel.lanes, figure)
    rates = figure.axes[0]
    assert rates.get_yscale() == "log" and len(rates.yaxis.get_minorticklocs()) == 0
    assert rates.get_yticks().tolist() == pytest.approx([1e-5, 1e-4, 1e-3, 0.01, 0.1, 1])


@pytest.mark.outcome
def test_both_networks_train_in_the_thread_under_their_schedules(panel):
    panel.shape.value = "falling"
    run_to_its_end(panel)
    for lane in panel.lanes.values():
        assert lane.record.rates == pytest.approx(list(lane.planned))
        assert len(lane.record.losses) == 24 and [step for step, _ in lane.record.checks] == list(range(3, 25, 3))
    own, cycle = (panel.lanes[name].record for name in (schedule_race.OWN, schedule_race.ONE_CYCLE))
    assert own.losses[0] == cycle.losses[0] and own.losses != cycle.losses
    assert own.smoothed()[-1] < own.smoothed()[0]
    assert panel.sentence.startswith("24 of 24 steps: your loss ")


def test_one_cycle_in_the_race_is_training_by_the_lessons_scheduler(panel):
    panel.run.start()
    assert panel.run.wait(LONG)
    model = copy.deepcopy(panel.model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    schedule = learning_rate.one_cycle(optimizer, panel.batches, 2)
    history = training.fit(model, panel.batches, epochs=2, optimizer=optimizer, scheduler=schedule, progress=False)
    cycle = panel.lanes[schedule_race.ONE_CYCLE].record
    assert cycle.rates == pytest.approx(history.learning_rates)
    assert cycle.checks[-1][1] == training.evaluate(model, panel.validation).accuracy


def test_a_race_keeps_its_schedule_while_it_goes_on(panel):
    panel.steps = 3000
    panel.run.start()
    wait_for(lambda: len(panel.lanes[schedule_race.OWN].record.losses) > 3)
    lanes = panel.lanes
    assert all(knot.disabled for knot in panel.knots) and panel.shape.disabled
    panel.knots[0].value = 0.5
    assert panel.lanes is lanes
    panel.run.stop()
    assert panel.run.wait(LONG) and not any(knot.disabled for knot in panel.knots) and not panel.shape.disabled


def test_a_loss_that_is_no_number_is_said_and_the_other_one_goes_on(panel):
    images, labels = panel.batches[0]
    panel.batches = [(images, labels), (images * float("nan"), labels)]
    panel.run.start()
    assert panel.run.wait(LONG) and panel.lanes[schedule_race.OWN].record.broken
    assert panel.sentence.startswith("The loss of yours is no longer a number") and panel.error is None


def test_the_static_copy_holds_three_true_races_and_no_figure_stays(panel):
    bundle, metadata = panel._repr_mimebundle_()
    (kind,) = metadata
    assert VIEW in bundle and metadata[kind]["width"] < 900
    assert bundle["text/plain"].count("24 of 24 steps") == 3
    panel.shape.value = "falling"
    panel.run.start()
    assert panel.run.wait(LONG)
    assert f"falling: {panel.sentence}" in metadata[kind]["alt"]
    assert figures_in_memory() == 0


def test_a_rate_that_does_not_fit_the_sliders_is_refused(panel):
    for rate in (0.0, 2.0):
        with pytest.raises(ValueError, match=f"at most 1 for this race, not {rate}"):
            lesson6.ScheduleRace(panel.model, panel.batches, panel.validation, max_lr=rate)


@pytest.mark.parametrize("steps", [1, 0, 9, 24.0])
def test_a_race_without_a_way_up_is_refused(panel, steps):
    with pytest.raises(ValueError, match=f"A race has a whole number of at least 10 steps, not {steps}"):
        lesson6.ScheduleRace(panel.model, panel.batches, panel.validation, steps=steps)
    assert lesson6.ScheduleRace(panel.model, panel.batches, panel.validation, steps=10).sentence


def test_losses_of_many_classes_are_drawn_whole(panel):
    for lane in panel.lanes.values():
        lane.record.losses += [math.log(100), 4.0]
    figure = Figure()
    schedule_race.draw_lanes(panel.lanes, figure)
    assert figure.axes[1].get_ylim() == (0, pytest.approx(1.1 * math.log(100)))
