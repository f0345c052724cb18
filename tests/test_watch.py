import math
import subprocess
import sys

import pytest
import torch

from course_utils import figures, models, training
from course_utils.base.words import duration
from course_utils.training import watch


def test_a_curve_keeps_each_loss_and_draws_it_with_the_average():
    curve = training.LossCurve("A network", guessing=math.log(10))
    for loss in (2.4, 1.2, 0.6):
        curve(loss)
    curve.finish()  # outside a notebook it draws nothing
    axes = curve.plot().axes[0]
    each, average, guessing = axes.lines
    assert list(each.get_ydata()) == [2.4, 1.2, 0.6]
    assert average.get_ydata()[0] == pytest.approx(2.4) and 0.6 < average.get_ydata()[-1] < 2.4
    assert set(guessing.get_ydata()) == {math.log(10)}
    assert axes.get_title(loc="left").startswith("A network, loss 2.40 → ") and "in 3 steps" in curve.sentence()


def test_a_curve_takes_a_loss_as_the_tensor_that_it_is_and_keeps_its_number():
    curve = training.LossCurve()
    for loss in (torch.tensor(2.5, requires_grad=True), 1):
        curve(loss)
    assert curve.losses == [2.5, 1.0] and {type(loss) for loss in curve.losses} == {float}
    curve.plot()


@pytest.mark.parametrize("look", [training.LossCurve.finish, training.LossCurve.plot, training.LossCurve.sentence])
def test_a_curve_without_a_loss_says_so(look):
    with pytest.raises(ValueError, match="no loss to draw; call the curve with the loss of each batch"):
        look(training.LossCurve())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (119.7, "2 min 0 s"), (3599.6, "1 h 0 min"), (3900, "1 h 5 min")],
)
def test_a_time_is_rounded_before_it_is_cut_into_minutes(seconds, words):
    assert duration(seconds) == words


@pytest.mark.processes
def test_in_a_notebook_there_is_one_picture_however_many_losses_come():
    code = (
        "import nbclient, nbformat\n"
        "cell = nbformat.v4.new_code_cell('''from course_utils import training\n"
        "from course_utils.training import watch\n"
        "watch.EVERY = 0\n"
        "curve = training.LossCurve()\n"
        "for loss in (3.0, 2.0, 1.0): curve(loss)\n"
        "curve.finish()''')\n"
        "book = nbformat.v4.new_notebook(cells=[cell])\n"
        "nbclient.NotebookClient(book, timeout=300, kernel_name='python3').execute()\n"
        "(output,) = book.cells[0].outputs\n"
        "assert 'in 3 steps' in output.metadata['image/png']['alt'], output.metadata\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_a_trace_is_drawn_with_a_box_for_each_layer_that_changes_a_shape_or_learns():
    trace = models.shape_trace(models.PublishedNet(), (1, 1, 28, 28))
    written = [text.get_text() for text in trace.plot().axes[0].texts]
    assert written[0] == "picture\n1 × 28 × 28" and written[-1] == "dense\n10" and len(written) == 1 + 6 + 3
    assert "pooling\n32 × 2 × 2" in written


def history_of(epochs, validation=True):
    numbers = {"train_loss": 0.5, "train_accuracy": 0.8}
    if validation:
        numbers |= {"validation_loss": 0.6, "validation_accuracy": 0.7}
    return training.History(**{name: [value] * epochs for name, value in numbers.items()}, seconds=[10.0] * epochs)


def test_the_table_says_how_long_the_whole_run_will_take(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watch.time, "perf_counter", lambda: now[0])
    history = training.History()
    table = watch.EpochTable(history, 5)
    assert table.status(0.0) == "epoch 1 of 5: 0 %"
    now[0] = 10.0  # half an epoch
    assert table.status(0.5) == "epoch 1 of 5: 50 %, about 1 min 30 s left"
    for values, more in zip((history.train_loss, history.seconds), ([0.5] * 2, [20.0] * 2)):
        values.extend(more)
    now[0] = 50.0  # two epochs and their validation
    assert table.status(0.0) == "epoch 3 of 5: 0 %, about 1 min 15 s left"
    history.train_loss += [0.4] * 3
    now[0] = 125.0
    assert table.status(0.0) == "5 epochs in 2 min 5 s"


def test_the_table_passes_batches_on_that_do_not_know_how_many_they_are():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(range(8))

    table = watch.EpochTable(training.History(), 1)
    assert len(list(table.batches(torch.utils.data.DataLoader(Stream(), batch_size=4)))) == 2


def test_the_table_holds_every_epoch_and_the_curves_grow_from_the_second_on():
    for validation in (True, False):
        text = watch.EpochTable(history_of(1, validation), 3).html("…")
        assert text.count("<tr>") == 2 and "<svg" not in text and ("validation" in text) == validation
        text = watch.EpochTable(history_of(3, validation), 3).html("…")
        assert text.count("<tr>") == 4 and text.count("<polyline") == 1 + validation
        assert figures.percent(0.8, 2) in text


@pytest.mark.processes
@pytest.mark.parametrize("strict", ["0", "1"])
def test_fit_shows_a_reader_one_table_and_a_run_without_a_reader_plain_lines(strict, monkeypatch):
    import nbclient
    import nbformat

    monkeypatch.setenv("COURSE_STRICT", strict)
    source = (
        "import torch\nfrom torch import nn\nfrom course_utils import training\n"
        "batches = [(torch.zeros(2, 3), torch.tensor([0, 1]))] * 4\nmodel = nn.Linear(3, 2)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "history = training.fit(model, batches, batches, epochs=3, optimizer=optimizer)"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute()
    shown = [each for each in book.cells[0].outputs if each.get("name") != "stderr"]  # there the kernel warns
    if strict == "1":
        assert "".join(each.text for each in shown).count("validation") == 3
        return
    (output,) = shown
    assert output.data["text/html"].count("<tr>") == 4 and "<svg" in output.data["text/html"]
    assert output.data["text/plain"].count("validation") == 3 and "3 epochs in " in output.data["text/plain"]
