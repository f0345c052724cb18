"""`fit`, `evaluate`, history, early stopping, checkpoints and errors."""

import copy
import functools
import math
import subprocess
import sys
import textwrap
import warnings
import weakref

import matplotlib.pyplot as plt
import pretend
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from course_utils import learning_rate, models, training
from course_utils.base.words import percent
from course_utils.errors import DataError, DivergedError, TrainingError
from course_utils.training import guards


def task(count=90, classes=3, seed=0):
    """A small problem that a linear network can learn: which of three rows of a 3×4 picture is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    images = torch.randn(count, 1, 3, 4, generator=generator)
    images[torch.arange(count), 0, labels] += 2
    return images, labels


def pairs(images, labels, size=32):
    return list(zip(images.split(size), labels.split(size)))


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


def sgd(model, rate=0.1):
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


def test_fit_does_exactly_what_the_five_lines_do():
    batches = pairs(*task())
    by_hand, by_fit = linear(), linear()
    optimizer = sgd(by_hand)
    for _ in range(3):
        for images, labels in batches:
            loss = F.cross_entropy(by_hand(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    training.fit(by_fit, batches, epochs=3, optimizer=sgd(by_fit), progress=False)
    for a, b in zip(by_hand.parameters(), by_fit.parameters()):
        assert torch.equal(a, b)


def test_predictions_come_back_from_a_gpu_in_one_copy_each():
    batches = [(images.to(pretend.DEVICE), labels.to(pretend.DEVICE)) for images, labels in pairs(*task())]
    model = linear().to(pretend.DEVICE)
    with pretend.Waits() as waits:
        answers = training.predict(model, batches)
    assert waits.count == {"copies back": 2}  # logits and labels, after the last batch
    assert answers.logits.shape == (90, 3) and answers.labels.device.type == "cpu"


def test_metrics_weigh_samples_not_batches():
    images, labels = task(count=70)
    model = linear()
    result = training.evaluate(model, pairs(images, labels, size=32))  # 32, 32 and 6 pictures
    logits = model(images).detach()
    assert result.count == 70
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert result.accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert f"{percent(result.accuracy, 2)} of 70 pictures" in str(result)


def test_training_metrics_weigh_samples_too():
    images, labels = task(count=70)
    model = linear()
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    history = training.fit(model, pairs(images, labels), epochs=1, optimizer=frozen, progress=False)
    whole = training.evaluate(model, [(images, labels)])
    assert history.train_loss == pytest.approx([whole.loss])
    assert history.train_accuracy == pytest.approx([whole.accuracy])


WEIGHTS = torch.tensor([1.0, 5.0, 0.25])
LOSSES = {
    "weights": nn.CrossEntropyLoss(weight=WEIGHTS),
    "a label left out": nn.CrossEntropyLoss(ignore_index=1),
    "both": nn.CrossEntropyLoss(weight=WEIGHTS, ignore_index=1),
    "smoothed": nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2, ignore_index=1),
    "a function": functools.partial(F.cross_entropy, weight=WEIGHTS, ignore_index=2),
    "log-probabilities": lambda logits, labels: F.nll_loss(F.log_softmax(logits, 1), labels),
    "unlabelled": F.cross_entropy,
}


LEFT_OUT = {"a label left out": 1, "both": 1, "smoothed": 1, "a function": 2, "unlabelled": -100}


@pytest.mark.parametrize("name", LOSSES)
def test_training_metrics_are_those_of_the_whole_set_whatever_the_loss_counts(name):
    images, labels = task(count=70)  # batches of 32, 32 and 6
    loss, model = LOSSES[name], linear()
    if name == "unlabelled":
        labels[::7] = -100
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    history = training.fit(model, pairs(images, labels), epochs=2, optimizer=frozen, loss=loss, progress=False)
    logits, kept = model(images).detach(), labels != LEFT_OUT.get(name, -1)
    assert history.train_loss == pytest.approx([loss(logits, labels).item()] * 2, rel=2e-6)
    assert history.train_accuracy == pytest.approx([(logits.argmax(1) == labels)[kept].double().mean().item()] * 2)
    whole = training.evaluate(model, pairs(images, labels), loss)
    assert whole.count == kept.sum() and whole.loss == pytest.approx(history.train_loss[0], rel=2e-6)
    assert whole.accuracy == pytest.approx(history.train_accuracy[0])


def test_a_label_that_no_loss_leaves_out_is_refused_and_so_are_labels_that_are_all_left_out():
    images, labels = task()
    model = linear()
    with pytest.raises(ValueError, match="leaves out every one of these labels"):
        training.evaluate(model, [(images, torch.full_like(labels, -100))])
    for bad in (-1, 3):
        labels[5] = bad
        with pytest.raises(ValueError, match=f"Label {bad} is outside"):
            training.evaluate(model, [(images, labels)], nn.CrossEntropyLoss(ignore_index=0))


def test_rates_are_noted_as_numbers_also_where_the_optimizer_holds_a_tensor():
    model, batches = linear(), pairs(*task())
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.1))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    history = training.fit(model, batches, epochs=2, optimizer=optimizer, scheduler=schedule, progress=False)
    assert history.learning_rates == pytest.approx([0.1 * 0.5**step for step in range(6)])
    assert {type(rate) for rate in history.learning_rates} == {float}


def test_answers_that_are_no_numbers_are_an_error_and_not_the_first_class():
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def forward(self, x):
            answers = self.inner(x)
            return answers if self.training else answers.where(x.flatten(1)[:, :1] < 1, math.nan)

    model, batches = Breaks(), pairs(*task())
    some = (task()[0].flatten(1)[:, 0] >= 1).sum().item()
    words = f"answers to {some} of 90 pictures, .* are not numbers"
    for call in (training.predict, training.evaluate):
        with pytest.raises(TrainingError, match=words):
            call(model, batches)
    with pytest.raises(TrainingError, match=words):
        training.fit(model, batches, batches, epochs=3, optimizer=sgd(model), patience=1, progress=False)
    with pytest.raises(TrainingError, match="answers to 1 of 2 pictures, the first of them number 1, are not numbers"):
        training.Predictions(torch.tensor([[0.0, 1.0], [math.nan, 1.0]]), torch.tensor([0, 1]))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_float16_makes_a_gpu_wait_at_most_twice_a_step(device, monkeypatch):
    """Where there is no GPU, by what the CPU would make one wait for."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    if device == "cpu":
        monkeypatch.setattr(guards, "look_every", lambda device: guards.LOOK_EVERY)

    class Counts(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.waits = 0

        def __torch_dispatch__(self, operation, types, arguments=(), options=None):
            self.waits += operation is torch.ops.aten._local_scalar_dense.default
            return operation(*arguments, **(options or {}))

    def waits(batches, dtype, epochs):
        model = linear().to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        with Counts() as counts:
            training.fit(
                model, batches, epochs=epochs, optimizer=optimizer, scheduler=schedule, autocast=dtype, progress=False
            )
        return counts.waits

    batches = pairs(*task(), size=3)  # 30 of them
    for dtype, most in ((torch.float16, 2), (torch.bfloat16, 0), (None, 0)):
        # From the second epoch on; in the first all labels are looked at.
        a_step = (waits(batches, dtype, 5) - waits(batches, dtype, 2)) / (3 * len(batches))
        assert a_step <= most + 4 / len(batches), dtype  # and a few an epoch, for its figures


def test_evaluate_and_predict_keep_the_mode_and_touch_no_buffer():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(12, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = training.predict(model, pairs(*task()))
    assert model.training
    assert torch.equal(first.logits, training.predict(model, pairs(*task())).logits)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert first.probabilities.sum(1) == pytest.approx(1)


def test_a_per_batch_schedule_ends_where_it_should():
    model, batches = linear(), pairs(*task())
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=4 * len(batches))
    history = training.fit(model, batches, epochs=4, optimizer=optimizer, scheduler=schedule, progress=False)
    assert len(history.learning_rates) == 4 * len(batches)
    assert max(history.learning_rates) == pytest.approx(0.1, rel=0.05)
    assert history.learning_rates[-1] < 0.01


def test_a_per_epoch_schedule_steps_once_an_epoch():
    model, batches = linear(), pairs(*task())
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    history = training.fit(
        model, batches, epochs=3, optimizer=optimizer, scheduler=schedule, schedule_every="epoch", progress=False
    )
    assert history.learning_rates[:: len(batches)] == pytest.approx([0.1, 0.05, 0.025])


def test_a_plateau_schedule_gets_the_validation_loss():
    model, batches = linear(), pairs(*task())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    training.fit(model, batches, batches, epochs=3, optimizer=optimizer, scheduler=schedule, progress=False)
    assert schedule.num_bad_epochs + schedule.last_epoch >= 3
    assert schedule.best == pytest.approx(training.evaluate(model, batches).loss)


def test_an_epoch_that_is_only_as_good_as_the_best_is_not_better():
    model, batches = linear(), pairs(*task())
    idle = torch.optim.SGD(model.parameters(), lr=0.0)
    history = training.fit(model, batches, batches, epochs=9, optimizer=idle, patience=2, progress=False)
    assert len(set(history.validation_accuracy)) == 1
    assert (history.best_epoch, history.epochs, history.stopped_early) == (1, 3, True)


@pytest.mark.outcome
def test_early_stopping_puts_the_best_weights_back():
    model, batches = linear(), pairs(*task())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 9 else -40.0)  # then unlearn
    history = training.fit(
        model, batches, batches, epochs=20, optimizer=optimizer, scheduler=schedule, patience=2, progress=False
    )
    assert history.stopped_early and history.epochs == history.best_epoch + 2 < 20
    best = max(history.validation_accuracy)
    assert best > history.validation_accuracy[-1]
    assert training.evaluate(model, batches).accuracy == pytest.approx(best)


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    def run():
        training.seed_everything(7)
        model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Dropout(0.2), nn.Flatten(), nn.Linear(96, 3))
        loader = DataLoader(TensorDataset(*task()), batch_size=32, shuffle=True)
        history = training.fit(model, loader, epochs=2, optimizer=sgd(model), progress=False)
        return model, history

    (a, first), (b, second) = run(), run()
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))
    assert first.train_loss == second.train_loss


RUN = """
    import os, sys, torch
    from torch import nn
    from course_utils import data, training
    torch.manual_seed(0)
    images, labels = torch.randint(256, (120, 1, 8, 8), dtype=torch.uint8), torch.arange(120) % 3
    part = data.TensorPart(images, labels, ("a", "b", "c"), "train", (0.5,), (0.25,))
    batches = data.batches(part, size=32, shuffle=True, augment=data.Augment(crop=1, flip=True), seed=5)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=5 * len(batches))
    kill_after = int(sys.argv[2])
    class Validation:
        seen = 0
        def __iter__(self):
            Validation.seen += 1
            if Validation.seen == kill_after:
                os._exit(9)  # as a power cut: no clean-up, in the middle of an epoch
            return iter(data.batches(part, size=64))
    history = training.fit(model, batches, Validation(), epochs=5, optimizer=optimizer, scheduler=schedule,
                           checkpoint=sys.argv[1], progress=False)
    torch.save([model.state_dict(), history.train_loss, history.learning_rates], sys.argv[1] + ".end")
"""


@pytest.mark.processes
def test_a_killed_and_resumed_run_ends_exactly_as_an_uninterrupted_one(tmp_path):
    def run(name, kill_after):
        command = [sys.executable, "-c", textwrap.dedent(RUN), str(tmp_path / name), str(kill_after)]
        return subprocess.run(command, timeout=600).returncode

    assert run("whole", 0) == 0
    assert run("cut", 3) == 9
    assert not (tmp_path / "cut.end").exists()
    assert run("cut", 0) == 0
    whole, cut = (torch.load(tmp_path / f"{name}.end", weights_only=True) for name in ("whole", "cut"))
    assert all(torch.equal(whole[0][key], cut[0][key]) for key in whole[0])
    assert whole[1:] == cut[1:]


def test_a_resumed_run_goes_on_with_the_generator_of_its_loader_and_the_weights_of_its_loss(tmp_path):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, logits, labels):
            return F.cross_entropy(logits * self.scale, labels)

    def run(file, *lengths):
        for epochs in lengths:  # each as if in a new process
            model, loss = linear(), Scaled()
            order = torch.Generator().manual_seed(4)
            loader = DataLoader(TensorDataset(*task()), 32, shuffle=True, generator=order)
            optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], 0.1, momentum=0.9)
            torch.manual_seed(epochs)
            history = training.fit(
                model, loader, epochs=epochs, optimizer=optimizer, loss=loss, checkpoint=file, progress=False
            )
        return history.train_loss, [*model.state_dict().values(), loss.scale.item()]

    (whole, weights), (cut, again) = run(tmp_path / "whole.pt", 4), run(tmp_path / "cut.pt", 1, 3, 4)
    assert whole == cut and weights[-1] != 1.0
    torch.testing.assert_close(weights, again, rtol=0, atol=0)


def test_a_finished_run_is_not_trained_again(tmp_path):
    model, batches = linear(), pairs(*task())
    file = tmp_path / "run.pt"
    first = training.fit(model, batches, epochs=2, optimizer=sgd(model), checkpoint=file, progress=False)
    other = linear(seed=9)
    again = training.fit(other, batches, epochs=2, optimizer=sgd(other), checkpoint=file, progress=False)
    assert again == first
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))


def test_early_stopping_survives_a_resume(tmp_path):
    def run(file, stop_at=None):
        model, batches = linear(), pairs(*task())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 9 else -40.0)
        for epochs in [stop_at, 20] if stop_at else [20]:
            history = training.fit(
                model, batches, batches, epochs=epochs, optimizer=optimizer, scheduler=schedule, patience=2,
                checkpoint=file, progress=False,
            )  # fmt: skip
        return model, history

    (a, whole), (b, cut) = run(tmp_path / "a.pt"), run(tmp_path / "b.pt", stop_at=4)
    assert whole.validation_accuracy == cut.validation_accuracy and whole.best_epoch == cut.best_epoch
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))


@pytest.mark.outcome
def test_autocast_trains_in_bfloat16_and_keeps_float_weights():
    model, batches = linear(), pairs(*task())
    seen = []
    model[1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    training.fit(model, batches, epochs=4, optimizer=sgd(model), autocast=torch.bfloat16, progress=False)
    assert set(seen) == {torch.bfloat16}
    assert model[1].weight.dtype == torch.float32
    assert training.evaluate(model, batches).accuracy > 0.8


def test_a_step_that_float16_leaves_out_is_not_counted_by_the_schedule():
    model, batches = linear(), pairs(*task())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    weights, overflows = [], iter([True, False, False])
    model[1].weight.register_hook(lambda gradient: gradient * math.inf if next(overflows) else gradient)
    optimizer.register_step_post_hook(lambda *_: weights.append(model[1].weight.detach().clone()))
    first = model[1].weight.detach().clone()
    history = training.fit(
        model, batches, epochs=1, optimizer=optimizer, scheduler=schedule, autocast=torch.float16, progress=False
    )
    assert history.learning_rates == pytest.approx([0.1, 0.1, 0.05])  # the first of three steps was left out
    assert schedule.last_epoch == len(weights) == 2
    assert (weights[0] - first).abs().max() < 0.1  # the gradients came back to their size before the step


@pytest.mark.outcome
def test_any_loss_can_be_used():
    model, batches = linear(), pairs(*task())
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    history = training.fit(model, batches, epochs=5, optimizer=sgd(model), loss=smooth, progress=False)
    assert history.train_loss[-1] < history.train_loss[0]


def test_progress_prints_a_line_an_epoch_and_the_plot_marks_the_best(capsys):
    model, batches = linear(), pairs(*task())
    history = training.fit(model, batches, batches, epochs=2, optimizer=sgd(model))
    printed = capsys.readouterr().out
    assert history.row(1) in printed and history.row(2) in printed
    figure = history.plot()
    figure.canvas.draw()
    assert f"epoch {history.best_epoch}" in figure.axes[1].get_title(loc="left")
    below = plt.subplots(2, 2)[1][1]
    assert history.plot(below) is below[0].figure and below[1].get_ylabel() == "accuracy in %"
    assert [len(axes.lines) for axes in below] == [len(axes.lines) for axes in figure.axes]
    plt.close("all")
    with pytest.raises(ValueError, match="nothing to draw"):
        training.History().plot()


def test_weights_are_saved_and_loaded_with_the_network_first(tmp_path):
    for call in (training.save_weights, training.load_weights):
        with pytest.raises(TypeError, match=r"network comes first, .* not a str"):
            call(str(tmp_path / "w.pt"), linear())
    with pytest.raises(TypeError, match="not a OrderedDict"):
        training.save_weights(linear().state_dict(), tmp_path / "w.pt")


def test_weights_come_back_and_fit_only_their_own_network(tmp_path):
    model, other = linear(seed=1), linear(seed=2)
    training.save_weights(model, tmp_path / "w.pt")
    training.load_weights(other, tmp_path / "w.pt")
    assert torch.equal(model[1].weight, other[1].weight)
    kept = {key: value.clone() for key, value in other.state_dict().items()}
    for network, words in [
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), r"'1.weight' is \(3, 12\) in the file and \(4, 12\) here"),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Linear(3, 3)), "it has no '2.weight'"),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 3, bias=False)), "this one has no '1.bias'"),
    ]:
        with pytest.raises(DataError, match=words):
            training.load_weights(network, tmp_path / "w.pt")
    assert all(torch.equal(kept[key], value) for key, value in other.state_dict().items())


def test_a_checkpoint_of_another_network_or_run_is_refused(tmp_path):
    model, batches = linear(), pairs(*task())
    file = tmp_path / "run.pt"
    training.fit(model, batches, epochs=1, optimizer=sgd(model), checkpoint=file, progress=False)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    with pytest.raises(DataError, match="another network"):
        training.fit(wide, batches, epochs=2, optimizer=sgd(wide), checkpoint=file, progress=False)
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    with pytest.raises(DataError, match="its scheduler was none, here it is ConstantLR"):
        training.fit(model, batches, epochs=2, optimizer=optimizer, scheduler=schedule, checkpoint=file, progress=False)
    with pytest.raises(DataError, match="its optimizer was SGD, here it is AdamW"):
        adam = torch.optim.AdamW(model.parameters())
        training.fit(model, batches, epochs=2, optimizer=adam, checkpoint=file, progress=False)
    with pytest.raises(DataError, match="another number of parameter groups"):
        two = torch.optim.SGD([{"params": [p]} for p in model.parameters()], lr=0.1)
        training.fit(model, batches, epochs=2, optimizer=two, checkpoint=file, progress=False)
    training.save_weights(model, file)
    with pytest.raises(DataError, match="no training state"):
        training.fit(model, batches, epochs=2, optimizer=sgd(model), checkpoint=file, progress=False)


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    model = linear()
    file = tmp_path / "w.pt"
    training.save_weights(model, file)
    old = file.read_bytes()

    def full(state, stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DataError, match="The disk is full"):
        training.save_weights(linear(seed=5), file)
    assert file.read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


def test_an_interrupt_while_saving_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupted(state, stream):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.save_weights(linear(), tmp_path / "w.pt")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"w\.pt was not saved"):
        training.save_weights(linear(), tmp_path / "file" / "w.pt")


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_place():
    images, labels = task()
    images[40] = math.nan  # in the second batch of 32
    model = linear()
    with pytest.raises(TrainingError, match=r"nan at epoch 1, batch 2, learning rate 0\.1"):
        training.fit(model, pairs(images, labels), epochs=2, optimizer=sgd(model), progress=False)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_loss_that_is_no_number_before_any_step_is_not_blamed_on_the_rate():
    images, labels = task()
    model = linear()
    with pytest.raises(TrainingError, match="is nan before any step, so no learning rate is to blame; look for NaN"):
        training.fit(model, pairs(images * math.nan, labels), epochs=1, optimizer=sgd(model), progress=False)


def test_answers_of_which_all_are_no_numbers_come_from_a_network_that_diverged():
    logits = torch.full((3, 2), math.nan)
    with pytest.raises(DivergedError):
        training.Predictions(logits, torch.zeros(3, dtype=torch.int64))
    logits[1:] = 0.0
    with pytest.raises(TrainingError) as caught:
        training.Predictions(logits, torch.zeros(3, dtype=torch.int64))
    assert not isinstance(caught.value, DivergedError)


def test_labels_in_columns_are_refused_instead_of_compared_with_every_guess():
    images, labels = task()
    with pytest.raises(ValueError, match=r"logits \(N, classes\) with labels \(N,\), not \(90, 3\) with \(90, 1\)"):
        training.predict(linear(), [(images, labels[:, None])])


def test_a_layer_that_makes_its_weights_at_the_first_batch_can_still_be_trained():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch says that lazy modules are new
        first, second = (nn.Sequential(nn.Flatten(), nn.LazyLinear(3)) for _ in range(2))
    batches = pairs(*task())
    training.evaluate(first, batches)
    assert not models.shape_trace(second, (1, 1, 3, 4)).problem
    for model in (first, second):
        training.fit(model, batches, epochs=1, optimizer=sgd(model), progress=False)


def test_batches_that_can_be_gone_through_once_are_refused_before_the_first_epoch():
    batches, model = pairs(*task()), linear()
    before = copy.deepcopy(model.state_dict())
    for train, validation in ((iter(batches), None), (batches, iter(batches))):
        with pytest.raises(TypeError, match="only once, and the first epoch would use them up"):
            training.fit(model, train, validation, epochs=2, optimizer=sgd(model), progress=False)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    training.fit(model, iter(batches), epochs=1, optimizer=sgd(model), progress=False)


def test_fewer_epochs_than_a_checkpoint_holds_are_refused_and_nothing_is_restored(tmp_path):
    batches, model = pairs(*task()), linear()
    training.fit(model, batches, epochs=3, optimizer=sgd(model), progress=False, checkpoint=tmp_path / "a.pt")
    fresh, expected = linear(), linear()
    optimizer = sgd(fresh)
    with pytest.raises(ValueError, match="holds 3 epochs and 2 were asked for"):
        training.fit(fresh, batches, epochs=2, optimizer=optimizer, progress=False, checkpoint=tmp_path / "a.pt")
    history = training.fit(fresh, batches, epochs=2, optimizer=optimizer, progress=False)
    anew = training.fit(expected, batches, epochs=2, optimizer=sgd(expected), progress=False)
    assert history.train_loss == anew.train_loss


def test_a_damaged_checkpoint_leaves_the_schedulers_inside_another_one_as_they_were(tmp_path):
    def made():
        model = linear()
        optimizer = sgd(model)
        parts = [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=6),
            torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0, total_iters=1),
        ]
        return model, optimizer, torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [6])

    batches, file = pairs(*task()), tmp_path / "a.pt"
    model, optimizer, scheduler = made()
    rates = training.fit(
        model, batches, epochs=2, optimizer=optimizer, scheduler=scheduler, progress=False, checkpoint=file
    ).learning_rates
    state = torch.load(file, weights_only=True)
    state["history"]["train_loss"] = []
    torch.save(state, file)
    model, optimizer, scheduler = made()
    settings = {"epochs": 2, "optimizer": optimizer, "scheduler": scheduler, "progress": False}
    with pytest.raises(DataError):
        training.fit(model, batches, **settings, checkpoint=file)
    assert training.fit(model, batches, **settings).learning_rates == rates


def test_options_of_a_loss_of_ones_own_are_its_own_and_a_sum_is_refused():
    images, labels = task()
    weight = torch.tensor([1.0, 5.0, 0.2])

    def own(logits, targets, weight):
        return (F.cross_entropy(logits, targets, reduction="none") * weight[targets]).mean()

    loss, model = functools.partial(own, weight=weight), linear()
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    history = training.fit(model, pairs(images, labels, 90), epochs=1, optimizer=frozen, loss=loss, progress=False)
    assert history.train_loss[0] == pytest.approx(training.evaluate(model, pairs(images, labels), loss).loss, rel=1e-5)
    with pytest.raises(ValueError, match="must be the mean over the batch, not its sum"):
        training.evaluate(model, pairs(images, labels), nn.CrossEntropyLoss(reduction="sum"))
    with pytest.raises(TypeError, match=r"nn\.CrossEntropyLoss\(\), not the class CrossEntropyLoss"):
        training.evaluate(model, pairs(images, labels), nn.CrossEntropyLoss)


def test_in_a_later_epoch_the_place_is_named_with_the_rate_of_that_batch():
    model = linear()
    optimizer = sgd(model, rate=1.0)
    halving = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    losses = iter([1, 1, 1, 1, math.nan])  # three batches an epoch: in the second batch of the second epoch

    def loss(logits, labels):
        return F.cross_entropy(logits, labels) * next(losses)

    with pytest.raises(TrainingError, match=r"nan at epoch 2, batch 2, learning rate 0\.0625:"):
        training.fit(
            model, pairs(*task()), epochs=3, optimizer=optimizer, loss=loss, scheduler=halving, schedule_every="batch",
            progress=False,
        )  # fmt: skip


@pytest.mark.parametrize(("rates", "words"), [((0.001, 1e38), r"0\.001 to 1e\+38"), ((1e38, 1e38), r"1e\+38")])
def test_a_loss_that_is_no_number_is_reported_with_the_rates_of_all_groups(rates, words):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 3))
    groups = [{"params": layer.parameters(), "lr": rate} for layer, rate in zip(model[1:], rates)]
    with pytest.raises(DivergedError, match=rf"learning rate {words}: try"):
        training.fit(model, pairs(*task()), epochs=9, optimizer=torch.optim.SGD(groups), progress=False)


def test_a_rate_that_is_far_too_large_is_reported_with_the_rate():
    model = linear()
    with pytest.raises(TrainingError, match=r"learning rate 1e\+38: try a learning rate ten times smaller"):
        training.fit(model, pairs(*task()), epochs=9, optimizer=sgd(model, rate=1e38), progress=False)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 400 bytes."),
        MemoryError(),
    ],
    ids=repr,
)
def test_out_of_memory_says_what_to_do_and_holds_no_tensors(error):
    alive = []

    class Greedy(nn.Linear):
        def forward(self, x):
            answers = super().forward(x)
            alive.extend([weakref.ref(x), weakref.ref(answers)])
            raise error

    model = nn.Sequential(nn.Flatten(), Greedy(12, 3))
    words = r"^Memory ran out on cpu in epoch 1 with batches of 32: halve the batch size, compute in bfloat16"
    with pytest.raises(TrainingError, match=words) as caught:
        training.fit(model, iter(pairs(*task())), epochs=1, optimizer=sgd(model), progress=False)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert [reference() for reference in alive] == [None, None]


def test_another_error_in_the_network_is_let_through():
    model = nn.Sequential(nn.Flatten(), nn.Linear(13, 3))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        training.fit(model, pairs(*task()), epochs=1, optimizer=sgd(model), progress=False)


def test_what_is_no_network_and_what_does_not_answer_with_logits_is_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def forward(self, x):
            return self.inner(x), x

    model, batches = Two(), pairs(*task())
    fit = functools.partial(training.fit, epochs=1, optimizer=sgd(model), progress=False)
    for call in (fit, training.evaluate, training.predict):
        with pytest.raises(TypeError, match=r"return one tensor, .* not a tuple; .* model\.aux_logits = False"):
            call(model, batches)
        for wrong, kind in ((linear, "a function"), (nn.Flatten, "the class Flatten"), (batches, "a list")):
            with pytest.raises(TypeError, match=f"network comes first, and must be one that was made, .* not {kind}"):
                call(wrong, model)


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([(task()[0], task()[1].tolist())], "not a Tensor and a list: two tensors"),
        ([(*task(), 1)], "not 3 things"),
        (task(), "a single batch goes into a list"),
        (pairs(task()[0].byte(), task()[1]), "float32 tensors.*not uint8"),
        (TensorDataset(*task()), "needs batches, not a TensorDataset"),
    ],
)
def test_batches_that_do_not_fit_are_named_by_predict_too(batches, words):
    for call in (training.predict, training.evaluate):
        with pytest.raises(TypeError, match=words):
            call(linear(), batches)


def test_a_loss_that_is_not_one_number_is_named_by_evaluate_too():
    for loss, words in ((nn.CrossEntropyLoss(reduction="none"), r"\(90,\)"), (lambda a, b: 1.0, "a float")):
        with pytest.raises(ValueError, match=f"must be one number, .* not {words}"):
            training.evaluate(linear(), pairs(*task()), loss)


def test_a_seed_that_is_no_whole_number_is_refused():
    for seed in ("0", None, 0.5):
        with pytest.raises(TypeError, match="A seed must be a whole number, such as 0, not"):
            training.seed_everything(seed)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.tensor([0, 1, 3]), "Label 3 is outside the network's 3 classes, 0 to 2"),
        (torch.tensor([0, -1, 2]), "Label -1 is outside"),
        (torch.tensor([0.0, 1.0, 2.0]), "int64, not float32"),
        (torch.tensor([[0], [1], [2]]), r"not \(3, 3\) with \(3, 1\)"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels, words):
    model = linear()
    with pytest.raises(ValueError, match=words):
        training.fit(model, [(torch.zeros(3, 1, 3, 4), labels)], epochs=1, optimizer=sgd(model), progress=False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, not 1.5"),
        ({"epochs": "3"}, "epochs must be a whole number of at least 1, not '3'"),
        ({"patience": "3", "validation": []}, "whole number of at least 1 epoch, not '3'"),
        ({"schedule_every": "week"}, '"batch" or "epoch"'),
        ({"patience": 0, "validation": []}, "at least 1 epoch"),
        ({"patience": 2}, "needs validation"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, words):
    model = linear()
    with pytest.raises(ValueError, match=words):
        training.fit(model, pairs(*task()), **{"epochs": 1, "optimizer": sgd(model), "progress": False} | settings)


def test_a_plateau_schedule_without_validation_is_refused():
    model = linear()
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="watches the validation loss"):
        training.fit(model, pairs(*task()), epochs=1, optimizer=optimizer, scheduler=schedule, progress=False)


def test_a_batch_of_one_picture_under_batch_normalisation_is_explained():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.BatchNorm1d(3))
    words = r"^A batch holds one picture alone, .*drop_last=True"
    batches = pairs(*task(count=33))
    with pytest.raises(ValueError, match=words):
        training.fit(model, batches, epochs=1, optimizer=sgd(model), progress=False)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=words):
        learning_rate.range_test(model, batches, sgd(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    other = ValueError("Expected more than 1 value per channel, of something else")
    with pytest.raises(ValueError, match="of something else"), guards.explained(torch.device("cpu"), lambda: 32):
        raise other


def test_no_batches_are_refused():
    model = linear()
    with pytest.raises(ValueError, match="no batches to train on"):
        training.fit(model, [], epochs=1, optimizer=sgd(model), progress=False)
    with pytest.raises(ValueError, match="no batches to predict"):
        training.predict(model, [])


def test_a_resumed_one_cycle_of_another_length_is_refused(tmp_path):
    def run(epochs, steps):
        model, batches = linear(), pairs(*task())
        optimizer = sgd(model)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
        training.fit(
            model, batches, epochs=epochs, optimizer=optimizer, scheduler=schedule, checkpoint=tmp_path / "run.pt"
        )

    run(epochs=1, steps=6)
    with pytest.raises(DataError, match="its scheduler's total_steps was 6, here it is 9"):
        run(epochs=3, steps=9)


def test_going_on_from_a_checkpoint_is_announced(tmp_path, capsys):
    model, batches = linear(), pairs(*task())
    for epochs in (1, 1):
        training.fit(model, batches, epochs=epochs, optimizer=sgd(model), checkpoint=tmp_path / "run.pt")
    assert "going on from run.pt, where 1 of 1 epochs are done" in capsys.readouterr().out


def test_the_weights_of_a_checkpoint_can_be_loaded(tmp_path):
    model, other = linear(seed=1), linear(seed=2)
    training.fit(model, pairs(*task()), epochs=1, optimizer=sgd(model), checkpoint=tmp_path / "run.pt", progress=False)
    training.load_weights(other, tmp_path / "run.pt")
    assert torch.equal(model[1].weight, other[1].weight)


def test_a_layer_kept_in_evaluation_mode_stays_there():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(12, 3)).train()
    model[0].eval()
    training.evaluate(model, pairs(*task()))
    assert model.training and not model[0].training and model[2].training


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda m: {"optimizer": sgd(linear())}, ValueError, "no parameter of this network"),
        (
            lambda m: {"optimizer": sgd(m.requires_grad_(False))},
            ValueError,
            "that may learn; .* leave requires_grad on",
        ),
        (lambda m: {"optimizer": torch.optim.Adam}, TypeError, "an optimizer that was made"),
        (
            lambda m: {"optimizer": torch.optim.LBFGS(m.parameters())},
            ValueError,
            "LBFGS measures .* such as SGD or Adam",
        ),
        (lambda m: {"scheduler": torch.optim.lr_scheduler.ConstantLR(sgd(m))}, ValueError, "another optimizer"),
        (lambda m: {"batches": 3}, TypeError, "needs batches, not a int"),
        (lambda m: {"batches": [{"x": task()[0]}]}, TypeError, "must be a pair of inputs and targets, not a dict"),
        (lambda m: {"batches": [(*task(), 1)]}, TypeError, "must be a pair of inputs and targets, not 3 things"),
        (lambda m: {"loss": nn.CrossEntropyLoss(reduction="none")}, ValueError, r"must be one number, .* not \(32,\)"),
        (lambda m: {"batches": pairs(task()[0].byte(), task()[1])}, TypeError, "float32 tensors.*not uint8"),
        (lambda m: {"batches": pairs(task()[0].double(), task()[1])}, TypeError, "not float64"),
        (lambda m: {"batches": [(task()[0].numpy(), task()[1])]}, TypeError, "not a ndarray and a Tensor: two"),
        (lambda m: {"batches": [(task()[0], task()[1].tolist())]}, TypeError, "not a Tensor and a list: two tensors"),
        (lambda m: {"batches": task()}, TypeError, "not a Tensor: .* a single batch goes into a list"),
        (lambda m: {"batches": None}, TypeError, "needs batches, not None"),
        (lambda m: {"loss": None}, TypeError, "must be a function, .* not None"),
        (lambda m: {"loss": lambda a, b: F.cross_entropy(a, b).item()}, ValueError, "one number, .* not a float"),
        (lambda m: {"loss": lambda a, b: F.cross_entropy(a.detach(), b)}, ValueError, "No way leads back .* detach"),
        (lambda m: {"scheduler": torch.optim.lr_scheduler.StepLR}, TypeError, "that was made .* not the class StepLR"),
        (lambda m: {"scheduler": learning_rate.cosine}, TypeError, "that was made .* not a function"),
        (lambda m: {"autocast": "bfloat16"}, ValueError, r"torch\.bfloat16 or torch\.float16, not 'bfloat16'; leave"),
        (lambda m: {"batches": [(torch.zeros(0, 1, 3, 4), torch.zeros(0).long())]}, ValueError, "no picture"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(change, kind, words):
    model = linear()
    call = {"batches": pairs(*task()), "epochs": 1, "optimizer": sgd(model), "progress": False} | change(model)
    with pytest.raises(kind, match=words):
        training.fit(model, **call)
