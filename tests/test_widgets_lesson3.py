import math
from dataclasses import replace

import pytest
import torch
from live_runs import LONG, run_to_its_end, sample_of_clothes, small_training, wait_for
from matplotlib.figure import Figure
from panels import figures_in_memory, operate_everything

from course_utils import data, diagnosis, models, training
from course_utils.widgets import lesson3, live_training
from course_utils.widgets.panel import VIEW

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def clothes():
    return sample_of_clothes()


@pytest.fixture(scope="module")
def trained(clothes):
    training.seed_everything(0)
    model = models.FashionNet(widths=(8, 16, 32))
    batches = data.batches(clothes.train.take(2000, seed=0), 100, shuffle=True, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    training.fit(model, batches, epochs=2, optimizer=optimizer, progress=False)
    return model


@pytest.fixture(scope="module")
def part(clothes):
    return clothes.test.take(600, seed=0)


@pytest.fixture(scope="module")
def answers(trained, part):
    return training.predict(trained, data.batches(part, 300))


@pytest.fixture
def panel(clothes):
    with small_training(clothes) as made:
        yield made


def test_every_control_of_the_mistakes_takes_all_its_values(answers, part, clothes):
    panel = lesson3.mistakes_by_pair(answers, part.images, clothes.classes)
    before = figures_in_memory()
    assert operate_everything(panel) > 10
    assert figures_in_memory() <= before


def test_the_mistakes_shown_and_counted_are_those_of_the_confusion_matrix(answers, part, clothes):
    panel = lesson3.mistakes_by_pair(answers, part.images, clothes.classes)
    matrix = diagnosis.confusion_matrix(answers, clothes.classes).matrix
    for i, truth in enumerate(clothes.classes):
        for j, guess in enumerate(clothes.classes):
            pair = panel.compute(truth, guess)
            assert pair.count == (int(matrix[i, j]) if i != j else 0) and len(pair.shown) == min(pair.count, 12)
        anything = panel.compute(truth, lesson3.ANY)
        assert anything.count == int(matrix[i].sum() - matrix[i, i])
    truth, guess, count = diagnosis.confusion_matrix(answers, clothes.classes).worst_pairs(1)[0]
    assert panel.values == {"truth": truth, "guess": guess}
    assert panel.sentence.startswith(f"{truth} was taken for {guess} {count} times")


def test_without_a_kernel_the_pair_that_the_lesson_asks_for_is_shown_too(answers, part, clothes):
    panel = lesson3.mistakes_by_pair(answers, part.images, clothes.classes)
    assert "Sneaker taken for Ankle boot" in panel._repr_mimebundle_()[0]["text/plain"]
    assert any("Sneaker taken for Ankle boot" in part.get_suptitle() for part in panel.twin().subfigs)


def test_pairs_without_mistakes_are_said_in_words(answers, part, clothes):
    panel = lesson3.mistakes_by_pair(answers, part.images, clothes.classes)
    panel.set(truth="Bag", guess="Bag")
    assert panel.sentence == "Bag taken for Bag is not a mistake; choose another class."
    panel.set(truth="Sneaker", guess="Dress")
    assert panel.sentence == "Sneaker was never taken for Dress."


def test_a_network_without_mistakes_has_a_panel_too(part, clothes):
    logits = torch.nn.functional.one_hot(part.labels, 10).float()
    panel = lesson3.mistakes_by_pair(training.Predictions(logits, part.labels), part.images, clothes.classes)
    assert "(none)" in panel._repr_mimebundle_()[0]["text/plain"]


def test_every_control_of_the_feature_maps_takes_all_its_values(trained, part):
    panel = lesson3.feature_maps(trained, part)
    before = figures_in_memory()
    assert operate_everything(panel) > 15
    assert figures_in_memory() <= before
    data_, metadata = panel._repr_mimebundle_()
    assert VIEW in data_ and "Three rows of maps" in data_["text/plain"] and metadata


def test_without_a_kernel_the_picture_stands_beside_the_first_layers_maps_alone(trained, part):
    shown = lesson3.feature_maps(trained, part).twin().axes
    assert [len(axes.images) for axes in shown] == [1, 1, 0, 1, 0, 1]


def test_the_sentence_about_the_maps_fits_their_number(trained, part):
    seen = lesson3.feature_maps(trained, part).compute("Trouser", 1, "features.1")
    several = "bright is a strong answer, and the 12 that vary most are shown."
    for count, begin, end in (
        (16, "16 maps", several),
        (2, "2 maps", "strong answer."),
        (1, "one map", "strong answer."),
    ):
        maps = replace(seen.maps, maps=torch.rand(count, 7, 7))
        said = lesson3.told(replace(seen, maps=maps))
        assert said.startswith(f"features.1 gives {begin} of 7 × 7 numbers; ") and said.endswith(end)


def test_the_feature_maps_are_the_layers_answers_to_the_chosen_picture(trained, part):
    panel = lesson3.feature_maps(trained, part)
    seen = panel.compute("Trouser", 2, "features.1")
    trouser = part.of_class("Trouser").select(torch.tensor([1]))
    assert torch.equal(seen.image, trouser.images[0])
    picture, _ = next(iter(data.batches(trouser, 1)))
    expected = trained.eval().features[1](trained.features[0](picture))[0]
    torch.testing.assert_close(seen.maps.maps, expected.detach())


def test_maps_are_laid_out_row_by_row_with_gaps():
    maps = torch.arange(3.0).view(3, 1, 1).expand(3, 2, 2)
    sheet = lesson3.tiled(maps, columns=2)
    assert sheet.shape == (5, 5) and sheet[0, 0] == 0 and sheet[0, 3] == 1 and sheet[3, 0] == 2
    assert sheet.isnan().sum() == 5 * 5 - 3 * 4


@pytest.mark.outcome
def test_training_learns_in_its_thread_and_leaves_the_given_network_and_random_numbers_alone(panel):
    run_to_its_end(panel)
    assert len(panel.record.losses) == 60 and [step for step, _ in panel.record.checks] == [25, 50]
    smooth = panel.record.smoothed()
    assert smooth[-1] < 0.7 * smooth[0] and panel.record.checks[-1][1] > 0.4
    assert panel.sentence.startswith("After 60 steps: loss ")


def test_the_same_start_gives_the_same_run_as_without_a_thread(panel):
    panel.most_steps = 30
    panel.run.start()
    panel.run.wait(LONG)
    first = panel.record
    panel.run.start()
    panel.run.wait(LONG)
    assert panel.record.losses == first.losses and panel.record is not first
    alone = panel.trained_at(panel.rate.value, 30)
    assert alone.losses == first.losses and alone.checks == first.checks
    assert len(alone.losses) == 30 and len(alone.checks) == 1


def test_the_slider_counts_from_the_next_step_and_the_buttons_say_what_they_do(panel):
    panel.most_steps = 100_000
    start, pause, stop = panel.run.start_button, panel.run.pause_button, panel.run.stop_button
    assert (start.disabled, pause.disabled, stop.disabled) == (False, True, True)
    start.click()
    wait_for(lambda: len(panel.record.losses) > 3)
    assert (start.disabled, pause.disabled, stop.disabled) == (True, False, False)
    panel.rate.value = 0.01
    wait_for(lambda: panel.record.rates[-1] == 0.01)
    pause.click()
    panel.rate.value = 0.001  # moved while the run is held
    pause.click()
    wait_for(lambda: panel.record.rates[-1] == 0.001)
    stop.click()
    assert panel.run.wait(LONG) and not panel.run.running
    assert (start.disabled, pause.disabled, stop.disabled) == (False, True, True)
    assert set(panel.record.rates) == {0.1, 0.01, 0.001} and panel.record.rates[-1] == 0.001


def test_a_loss_that_is_no_number_ends_the_run_with_advice(panel):
    images, labels = next(iter(panel.batches))
    panel.batches = [(images, labels), (images * float("nan"), labels)]
    panel.run.start()
    assert panel.run.wait(LONG) and panel.record.broken and len(panel.record.losses) == 1
    assert panel.sentence == (
        "After 1 step the loss is no longer a number: the last rate, 0.1, was too large. "
        "Choose a smaller one and press Start."
    )
    panel._show()


def test_a_loss_out_of_hand_is_told_in_powers_of_ten():
    record = live_training.Record(losses=[140_565_567_406.03], rates=[10.0])
    assert live_training.sentence(record) == "After 1 step: loss 1.4e+11, learning rate 10."
    assert "loss 2.30," in live_training.sentence(live_training.Record(losses=[2.3], rates=[10.0]))


def test_the_static_copy_compares_three_true_runs_and_no_figure_stays(panel):
    bundle, metadata = panel._repr_mimebundle_()
    (kind,) = metadata
    assert VIEW in bundle and bundle["text/plain"].startswith(
        "The training loss at 3 rates. rate 0.001: After 30 steps"
    )
    alone = panel.trained_at(0.1, 30)
    assert f"rate 0.1: {live_training.sentence(alone).rstrip('.')};" in metadata[kind]["alt"]
    assert figures_in_memory() == 0 and not panel.run.running


def test_the_rate_of_the_training_takes_its_values(panel):
    for exponent in (-4, -3, -2, -1, 0, 0.5, 1):
        panel.rate.value = 10**exponent
        assert panel.error is None


def test_a_rate_that_the_slider_cannot_take_is_refused(panel):
    for rate in (100, 0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"from 0\\.0001 to 10 here, not {rate}"):
            lesson3.LiveTraining(panel.model, panel.batches, panel.validation, rate=rate)


def test_the_loss_of_a_hundred_classes_is_drawn_from_its_first_step_on(panel):
    few, many = live_training.Record(losses=[2.3]), live_training.Record(losses=[math.log(100), 4.1])
    for record, top in ((live_training.Record(), 4), (few, 4), (many, pytest.approx(1.1 * math.log(100)))):
        figure = Figure()
        live_training.draw_record(record, figure)
        assert figure.axes[0].get_ylim() == (0, top)


def test_the_three_rates_do_what_the_lesson_says_of_them(clothes):
    training.seed_everything(0)
    panel = lesson3.LiveTraining(
        models.FashionNet(),
        data.batches(clothes.train.take(4000), 48, shuffle=True),  # ten seeds and sizes: 0.16 to 0.34 apart
        data.batches(clothes.validation.take(500), 500),
    )
    slow, quick, wild = (panel.trained_at(rate, 60) for rate in (0.001, 0.1, 3.0))
    assert quick.smoothed()[-1] < slow.smoothed()[-1] < slow.losses[0] - 0.7  # it crawls, but it learns
    assert wild.broken or min(wild.losses[-10:]) > 1.9
