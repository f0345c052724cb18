"""Files of weights and training states: whose they are, what is wrong with them, and which run may go on from them."""

import collections
import functools
import io
import random
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, Sampler, TensorDataset

from course_utils import data, learning_rate, training
from course_utils.errors import DataError
from course_utils.training import checkpoints
from course_utils.transfer import Features

IMAGES = torch.randn(60, 1, 3, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(60) % 3


def network(seed=0, drop=0.2, wide=12):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(wide, 4), nn.BatchNorm1d(4), nn.Dropout(drop), nn.Linear(4, 3))


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


# Weights, whoever saved them


def averaged(model):
    return torch.optim.swa_utils.AveragedModel(model)


AROUND = {"compiled": torch.compile, "for several GPUs": nn.DataParallel, "averaged": averaged}


@pytest.mark.parametrize("wrap", AROUND.values(), ids=AROUND)
def test_weights_go_into_and_out_of_what_is_around_a_network(tmp_path, wrap):
    ours, other = tmp_path / "ours.pt", tmp_path / "other.pt"
    training.save_weights(wrap(network(1)), ours)
    assert torch.load(ours).keys() == network().state_dict().keys()
    torch.save(wrap(network(1)).state_dict(), other)  # as people do it
    for file in (ours, other):
        plain = network(2)
        training.load_weights(plain, file)
        wrapped = wrap(network(3))
        training.load_weights(wrapped, file)
        assert same(plain, network(1)) and same(checkpoints.unwrapped(wrapped), network(1))


def test_weights_go_into_a_network_of_which_a_part_is_compiled(tmp_path):
    model = network(1)
    model[1] = torch.compile(model[1])
    training.save_weights(model, tmp_path / "part.pt")
    torch.save(model.state_dict(), tmp_path / "other.pt")
    for name in ("part.pt", "other.pt"):
        plain = network(2)
        training.load_weights(plain, tmp_path / name)
        assert same(plain, network(1))


FORMS = {
    "weights": lambda w: w,
    "ordered": collections.OrderedDict,
    "state_dict": lambda w: {"epoch": 3, "state_dict": w, "optimizer": {"state": {}, "param_groups": []}},
    "model_state_dict": lambda w: {"optimizer_state_dict": {}, "model_state_dict": w, "loss": 0.3},
    "model": lambda w: {"model": w, "args": {"lr": 0.1}},
    "another name": lambda w: {"step": 3, "net": w},
    "one more name in front": lambda w: {"state_dict": {f"model.{name}": value for name, value in w.items()}},
    "several": lambda w: {f"module._orig_mod.{name}": value for name, value in w.items()},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_weights_are_found_in_files_of_the_usual_forms(tmp_path, form):
    torch.save(form(network(1).state_dict()), tmp_path / "w.pt")
    model = network(2)
    training.load_weights(model, tmp_path / "w.pt")
    assert same(model, network(1))


def test_a_compiled_network_goes_on_from_the_checkpoint_of_a_plain_one(tmp_path):
    def run(wrap, epochs, file):
        model = network()
        wrapped = wrap(model)
        order = data.batches(PART, 16, shuffle=True)
        optimizer = torch.optim.SGD(wrapped.parameters(), 0.1)
        training.fit(wrapped, order, epochs=epochs, optimizer=optimizer, checkpoint=file, progress=False)
        return model

    eager = functools.partial(torch.compile, backend="eager")
    whole = run(eager, 3, tmp_path / "whole.pt")
    run(lambda model: model, 2, tmp_path / "cut.pt")
    assert same(run(eager, 3, tmp_path / "cut.pt"), whole)


# What is wrong with a file


class Explodes:
    def __reduce__(self):
        return (print, ("a file from outside ran code",))


def content(kind):
    stream = io.BytesIO()
    if kind == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch has another way now; the files are there
            torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), stream)
    elif kind in ("zip", "compressed"):
        torch.save(network().state_dict(), stream)
        with zipfile.ZipFile(io.BytesIO(stream.getvalue())) as parts, zipfile.ZipFile(stream, "w", 8) as archive:
            for name in parts.namelist() if kind == "compressed" else ["w/notes.txt"]:
                archive.writestr(name, parts.read(name) if kind == "compressed" else "notes")
    else:
        torch.save(
            {"network": nn.Linear(2, 2), "numpy": {"best": np.float64(1)}, "code": Explodes(), "list": [1],
             "numbers": {"a": 1, "b": 2}}.get(kind, network().state_dict()), stream,
        )  # fmt: skip
    whole = stream.getvalue()
    return {
        "empty": b"", "web page": b"\n<!DOCTYPE html><html>404</html>", "keras": b"\x89HDF\r\n\x1a\n" + bytes(99),
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "cut": whole[:-200], "text": b"weights: 1, 2, 3",
    }.get(kind, _flipped(whole) if kind == "flipped" else whole)  # fmt: skip


def _flipped(whole):
    """Return a file with one bit of a weight another one."""
    place = whole.index(network().state_dict()["1.weight"].numpy().tobytes())
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


WRONG = {
    "empty": "is empty; copy or download it again",
    "web page": "is a web page",
    "pointer": "is a pointer of Git LFS",
    "keras": "is a file of Keras",
    "torchscript": r"is a program of TorchScript; save model\.state_dict\(\)",
    "zip": "is an archive that PyTorch did not write",
    "compressed": "is damaged or cut short",
    "text": "is not a file that PyTorch wrote",
    "cut": "is damaged or cut short; take another copy of it, or train again into a new file",
    "flipped": "is damaged or cut short",
    "network": r"holds more than weights \(torch\.nn\.modules\.linear\.Linear\)",
    "numpy": r"holds more than weights \(numpy\.[\w.]+\), .*; save model\.state_dict\(\) alone where it was made",
    "code": r"holds more than weights \([\w.]*print\)",
    "list": "holds a list, not saved weights",
    "numbers": r"holds no weights \(a, b\)",
}


@pytest.mark.parametrize(("kind", "words"), WRONG.items(), ids=WRONG)
def test_each_file_that_is_none_has_a_sentence_of_its_own_and_runs_nothing(tmp_path, capsys, kind, words):
    file, model = tmp_path / "w.pt", network()
    file.write_bytes(content(kind))
    with pytest.raises(DataError, match=rf"^w\.pt {words}") as caught:
        training.load_weights(model, file)
    assert "delete" not in str(caught.value) and "\n" not in str(caught.value)
    assert "ran code" not in capsys.readouterr().out and same(model, network())


def test_a_missing_file_a_folder_and_a_file_of_safetensors_are_named(tmp_path):
    save_file(network().state_dict(), tmp_path / "safe.pt")
    for name, words in [("gone.pt", "There is no file gone"), ("", "is a folder"), ("safe.pt", "file of safetensors")]:
        with pytest.raises(DataError, match=words):
            training.load_weights(network(), tmp_path / name)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b.pt", "safe.pt/x.pt"])
def test_a_path_that_no_file_can_have_is_told_in_one_sentence(tmp_path, name):
    save_file(network().state_dict(), tmp_path / "safe.pt")
    with pytest.raises(DataError, match=r"(cannot be opened|There is no file) .*check the path\.$") as caught:
        training.load_weights(network(), tmp_path / name)
    assert len(str(caught.value)) < 220 and "\n" not in str(caught.value)


# The run that may go on


PART = data.TensorPart(
    torch.randint(256, (60, 1, 3, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)), LABELS,
    ("a", "b", "c"), "train", (0.5,), (0.25,),
)  # fmt: skip
START = {
    "model": network,
    "batches": lambda: data.batches(PART, 16, shuffle=True, seed=3, augment=data.Augment(flip=True)),
    "optimizer": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=1e-3),
    "scheduler": lambda optimizer, batches: None,
    "loss": lambda: F.cross_entropy,
    "fit": {"epochs": 3, "validation": [(IMAGES, LABELS)], "schedule_every": "batch"},
}


def trained(file, **changes):
    parts = {**START, **changes}
    model, batches = parts["model"](), parts["batches"]()
    optimizer = parts["optimizer"](model.parameters())
    history = training.fit(
        model, batches, optimizer=optimizer, scheduler=parts["scheduler"](optimizer, batches), loss=parts["loss"](),
        checkpoint=file, progress=False, **parts["fit"],
    )  # fmt: skip
    return model, history


def step_lr(step=5, gamma=0.5):
    return lambda optimizer, batches: torch.optim.lr_scheduler.StepLR(optimizer, step, gamma)


def plateau(optimizer, batches):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=9.0)


def cycle(**settings):
    return lambda optimizer, batches: learning_rate.one_cycle(optimizer, batches, 4, **settings)


def adamw(**settings):
    return lambda parameters: torch.optim.AdamW(parameters, **{"lr": 0.01, **settings})


def loader(seed=0, size=16):
    return lambda: DataLoader(
        TensorDataset(IMAGES, LABELS), size, shuffle=True, generator=torch.Generator().manual_seed(seed)
    )


def frozen(model):
    model[1].requires_grad_(False)
    return model


SGD = torch.optim.SGD
WEIGHED = {"loss": lambda: nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 1.0]))}
CHANGES = {
    "rate": ({}, {"optimizer": lambda p: SGD(p, 1.0, 0.9, weight_decay=1e-3)}, "optimizer's lr was 0.1, here it is 1"),
    "decay": ({}, {"optimizer": lambda p: SGD(p, 0.1, 0.9)}, "optimizer's weight_decay was 0.001, here it is 0;"),
    "momentum": ({}, {"optimizer": lambda p: SGD(p, 0.1, 0.5, weight_decay=1e-3)}, "optimizer's momentum was 0.9"),
    "betas": ({"optimizer": adamw()}, {"optimizer": adamw(betas=(0.8, 0.999))}, "optimizer's betas was"),
    "kind": ({}, {"optimizer": adamw()}, "its optimizer was SGD, here it is AdamW"),
    "new schedule": ({}, {"scheduler": step_lr()}, "its scheduler was none, here it is StepLR"),
    "schedule": ({"scheduler": step_lr()}, {"scheduler": step_lr(gamma=0.1)}, "scheduler's gamma was 0.5"),
    "moving rate": (
        {"scheduler": step_lr(2)},
        {"scheduler": step_lr(2), "optimizer": lambda p: SGD(p, 0.2, 0.9, weight_decay=1e-3)},
        "optimizer's initial_lr was 0.1, here it is 0.2",
    ),
    "top": ({"scheduler": cycle()}, {"scheduler": cycle(max_lr=0.3)}, "max_lr was 0.1"),
    "rise": ({"scheduler": cycle()}, {"scheduler": cycle(pct_start=0.5)}, "scheduler's _schedule_phases"),
    "loss": ({}, {"loss": lambda: F.nll_loss}, "its loss was cross_entropy, here it is nll_loss"),
    "weights": (WEIGHED, {"loss": nn.CrossEntropyLoss}, r"loss's weight was \[1.0, 2.0, 1.0\], here it is none"),
    "other weights": (
        WEIGHED,
        {"loss": lambda: nn.CrossEntropyLoss(torch.tensor([1.0, 3.0, 1.0]))},
        r"loss's weight was \[1.0, 2.0, 1.0\], here it is \[1.0, 3.0, 1.0\]",
    ),
    "smoothing": (
        {"loss": lambda: functools.partial(F.cross_entropy, label_smoothing=0.1)},
        {"loss": lambda: functools.partial(F.cross_entropy, label_smoothing=0.2)},
        "loss's label_smoothing was 0.1, here it is 0.2",
    ),
    "dropout": ({}, {"model": lambda: network(drop=0.5)}, "layer 3's p was 0.2, here it is 0.5"),
    "seed": ({}, {"batches": lambda: data.batches(PART, 16, shuffle=True, seed=4, augment=data.Augment(flip=True))},
             "batches' seed was 3, here it is 4"),
    "augmentation": ({}, {"batches": lambda: data.batches(PART, 16, shuffle=True, seed=3)}, "batches' augment was"),
    "fewer batches": ({"batches": loader()}, {"batches": loader(size=20)}, "number of batches was 4, here it is 3"),
    "loader's seed": ({"batches": loader()}, {"batches": loader(seed=1)}, "generator seed was 0, here it is 1"),
    "patience": ({}, {"fit": START["fit"] | {"patience": 2}}, "its patience was none, here it is 2"),
    "in 16 bits": ({}, {"fit": START["fit"] | {"autocast": torch.bfloat16}}, "computed in was None, here it is t"),
    "validation": ({}, {"fit": {"epochs": 3}}, "its validation was True, here it is False"),
    "frozen": ({}, {"model": lambda: frozen(network())}, "layer 1's weight.requires_grad was True, here it is False"),
    "plateau's first rate": (
        {"scheduler": plateau},
        {"scheduler": plateau, "optimizer": lambda p: SGD(p, 0.2, 0.9, weight_decay=1e-3)},
        "optimizer's lr was 0.1, here it is 0.2",
    ),
    "shuffled": (
        {"batches": loader()},
        {"batches": lambda: DataLoader(SET, 16)},
        "batches' sampler was RandomSampler, here it is SequentialSampler",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "change", "words"), CHANGES.values(), ids=CHANGES)
def test_a_run_that_was_changed_does_not_go_on_and_says_why(tmp_path, before, change, words):
    file, kept = tmp_path / "run.pt", {}
    trained(file, **before)
    model = change.get("model", network)()
    with pytest.raises(DataError, match=rf"^run\.pt belongs to another run: its .*{words.removeprefix('its ')}"):
        kept["after"] = trained(file, **{**before, **change, "model": lambda: model})
    assert same(model, change.get("model", network)()) and not kept  # as it was


def cyclic(optimizer, batches):
    return torch.optim.lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, step_size_up=2)


def restarts(optimizer, batches):
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, len(batches))


def two_restarts(optimizer, batches):
    parts = [restarts(optimizer, batches) for _ in range(2)]
    return torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [len(batches)])


SOME = [
    {}, {"scheduler": cycle()}, {"batches": loader()}, WEIGHED | {"scheduler": step_lr(2)}, {"scheduler": plateau},
    {"scheduler": cyclic}, {"scheduler": restarts}, {"scheduler": two_restarts},
]  # fmt: skip


@pytest.mark.parametrize("before", SOME)
def test_the_same_run_goes_on_with_new_objects_and_with_the_old_ones_after_an_interrupt(tmp_path, before):
    longer = {**before, "fit": START["fit"] | {"epochs": 4}}
    whole, history = trained(tmp_path / "whole.pt", **longer)
    trained(tmp_path / "cut.pt", **before)
    again, resumed = trained(tmp_path / "cut.pt", **longer)
    assert same(again, whole) and resumed.train_loss == history.train_loss

    parts = {**START, **longer}
    model, batches = parts["model"](), parts["batches"]()
    optimizer = parts["optimizer"](model.parameters())
    scheduler, loss, steps = parts["scheduler"](optimizer, batches), parts["loss"](), iter(range(100))

    def interrupted(logits, labels):
        if next(steps) == 12:  # in the third batch of the third epoch
            raise KeyboardInterrupt
        return loss(logits, labels)

    interrupted.__qualname__ = getattr(loss, "__qualname__", type(loss).__name__)
    call = {"optimizer": optimizer, "scheduler": scheduler, "progress": False, "checkpoint": tmp_path / "same.pt"}
    with pytest.raises(KeyboardInterrupt):
        training.fit(model, batches, loss=interrupted, **call, **parts["fit"])
    training.fit(model, batches, loss=interrupted, **call, **parts["fit"])
    assert same(model, whole)


def test_fewer_epochs_than_are_saved_are_refused(tmp_path):
    trained(tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run\.pt holds 3 epochs and 2 were asked for; ask for no fewer"):
        trained(tmp_path / "run.pt", fit=START["fit"] | {"epochs": 2})


# What decides the order, wherever it is


class Picks(Sampler):
    """Some indices, drawn with a generator of NumPy or of Python."""

    def __init__(self, draws):
        self.draws = draws

    def __len__(self):
        return 60

    def __iter__(self):
        draw = self.draws.randrange if isinstance(self.draws, random.Random) else getattr(
            self.draws, "integers", getattr(self.draws, "randint", None)
        )  # fmt: skip
        return iter([int(draw(60)) for _ in range(60)])


class Noisy(Dataset):
    """Pictures to which noise is added, with a generator of the set's own."""

    def __init__(self):
        self.noise = torch.Generator().manual_seed(8)

    def __len__(self):
        return 60

    def __getitem__(self, i):
        return IMAGES[i] + torch.randn(1, 3, 4, generator=self.noise), LABELS[i]


class Epochs(Sampler):
    """An order for each epoch, as that of torch's DistributedSampler: it has to be told."""

    def __init__(self):
        self.epoch = 0

    def __len__(self):
        return 60

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(torch.randperm(60, generator=torch.Generator().manual_seed(self.epoch)).tolist())


class Around:
    """Batches that a class of one's own hands on."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return iter(self.loader)

    def __len__(self):
        return len(self.loader)


def made(seed=5):
    return torch.Generator().manual_seed(seed)


SET = TensorDataset(IMAGES, LABELS)
ORDERS = {
    "global": lambda: DataLoader(SET, 16, shuffle=True),
    "loader": lambda: DataLoader(SET, 16, shuffle=True, generator=made()),
    "sampler": lambda: DataLoader(SET, 16, sampler=RandomSampler(SET, generator=made())),
    "batch sampler": lambda: DataLoader(
        SET, batch_sampler=BatchSampler(RandomSampler(SET, generator=made()), 16, False)
    ),
    "numpy": lambda: DataLoader(SET, 16, sampler=Picks(np.random.default_rng(3))),
    "old numpy": lambda: DataLoader(SET, 16, sampler=Picks(np.random.RandomState(3))),
    "python": lambda: DataLoader(SET, 16, sampler=Picks(random.Random(3))),
    "data set": lambda: DataLoader(torch.utils.data.Subset(Noisy(), range(50)), 16),
    "epochs": lambda: DataLoader(SET, 16, sampler=Epochs()),
    "around": lambda: Around(DataLoader(SET, 16, shuffle=True, generator=made())),
    "ours": lambda: data.batches(PART, 16, shuffle=True, augment=data.Augment(crop=1)),
    "features": lambda: Features(IMAGES.flatten(1).numpy(), LABELS, ("a", "b", "c"), 0).batches(16, shuffle=True),
}


@pytest.mark.parametrize("make", ORDERS.values(), ids=ORDERS)
def test_a_resumed_run_is_the_whole_one_whatever_decides_the_order(tmp_path, make):
    def run(epochs, file):
        history = trained(file, batches=make, fit={"epochs": epochs})
        torch.manual_seed(99)  # what comes next begins as in a new process
        np.random.seed(99)
        return history

    whole, history = run(4, tmp_path / "whole.pt")
    for epochs in (1, 3, 4):
        resumed, again = run(epochs, tmp_path / "cut.pt")
    assert same(whole, resumed) and again.train_loss == history.train_loss
    assert len(set(history.train_loss)) == 4


@pytest.mark.parametrize("make", ORDERS.values(), ids=ORDERS)
def test_a_range_test_leaves_the_order_as_it_was(make):
    def order(tested):
        torch.manual_seed(0)
        model, batches = network(), make()
        if tested:
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            learning_rate.range_test(model, batches, optimizer, steps=10)
        return torch.cat([images.flatten() for images, _ in batches])

    assert torch.equal(order(True), order(False))


def test_training_tells_a_loaders_sampler_the_epoch():
    histories = [trained(None, batches=ORDERS["epochs"], fit={"epochs": 2})[1] for _ in range(2)]
    assert histories[0].train_loss == histories[1].train_loss
    sampler = Epochs()
    trained(None, batches=lambda: DataLoader(SET, 16, sampler=sampler), fit={"epochs": 3})
    assert sampler.epoch == 2


OPTIMIZERS = [
    "Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD",
]  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("tensor", [False, True], ids=["", "rate as a tensor"])
def test_a_run_goes_on_with_any_optimizer(tmp_path, name, tensor):
    kind = getattr(torch.optim, name)
    if tensor and name not in ("Adam", "AdamW", "Adadelta"):
        pytest.skip("takes none, or not without more")
    rate = torch.tensor(0.01) if tensor else 0.01
    parts = {"optimizer": lambda p: kind(p, lr=rate.clone() if tensor else rate)}
    whole, _ = trained(tmp_path / "whole.pt", **parts)
    trained(tmp_path / "cut.pt", **parts, fit=START["fit"] | {"epochs": 1})
    assert same(trained(tmp_path / "cut.pt", **parts)[0], whole)


@pytest.mark.parametrize("name", [each for each in OPTIMIZERS if each != "SGD"])
def test_moments_of_another_form_than_the_optimizer_leaves_are_refused(tmp_path, name):
    parts = {"optimizer": lambda p: getattr(torch.optim, name)(p, lr=0.01)}
    trained(tmp_path / "run.pt", **parts, fit=START["fit"] | {"epochs": 1})
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    of_a_matrix = next(each for each in state["optimizer"]["state"].values() if any(v.ndim == 2 for v in each.values()))
    key = next(key for key, value in of_a_matrix.items() if value.ndim == 2)
    of_a_matrix[key] = torch.zeros(())
    torch.save(state, tmp_path / "run.pt")
    with pytest.raises(DataError, match="a moment has the shape"):
        trained(tmp_path / "run.pt", **parts)


def damaged(state, where):
    """Put something impossible in one place of a checkpoint."""
    moments = state["optimizer"]["state"]
    if where == "a rate too large for a float":
        state["history"]["learning_rates"][0] = 10**400
    elif where == "moments that are no table":
        moments[0] = []
    elif where == "a count of steps before the first":
        moments[0]["step"] = -1
    elif where == "a random state that is no table":
        state["random"] = torch.zeros(2)
    return state


@pytest.mark.parametrize(
    "where",
    [
        "a rate too large for a float", "moments that are no table", "a count of steps before the first",
        "a random state that is no table",
    ],
)  # fmt: skip
def test_a_checkpoint_with_something_impossible_in_one_place_is_refused(tmp_path, where):
    file, parts = tmp_path / "run.pt", {"optimizer": lambda p: torch.optim.AdamW(p, lr=0.01)}
    trained(file, **parts, fit=START["fit"] | {"epochs": 1})
    torch.save(damaged(torch.load(file, weights_only=True), where), file)
    with pytest.raises(DataError, match="holds no whole state of this training"):
        trained(file, **parts)


def chain(kind):
    def make(optimizer, batches):
        first, second = S.ConstantLR(optimizer, 0.5, 3), S.ExponentialLR(optimizer, 0.9)
        if kind == "at once":
            return S.ChainedScheduler([first, second])
        return S.SequentialLR(optimizer, [first, second], [4])

    return make


S = torch.optim.lr_scheduler
SCHEDULES = {
    "StepLR": lambda o, b: S.StepLR(o, 3),
    "MultiStepLR": lambda o, b: S.MultiStepLR(o, [2, 5]),
    "ExponentialLR": lambda o, b: S.ExponentialLR(o, 0.9),
    "LinearLR": lambda o, b: S.LinearLR(o, 0.1, total_iters=7),
    "PolynomialLR": lambda o, b: S.PolynomialLR(o, 9),
    "CosineAnnealingLR": lambda o, b: S.CosineAnnealingLR(o, 12),
    "CosineAnnealingWarmRestarts": lambda o, b: S.CosineAnnealingWarmRestarts(o, 3, 2),
    "CyclicLR": lambda o, b: S.CyclicLR(o, 0.01, 0.1, 3),
    "LambdaLR": lambda o, b: S.LambdaLR(o, lambda step: 1 / (1 + step)),
    "ReduceLROnPlateau": lambda o, b: S.ReduceLROnPlateau(o, patience=0, threshold=10.0),
    "one after another": chain("one by one"),
    "at once": chain("at once"),
    **{
        make.__name__: functools.partial(make, epochs=3)
        for make in (
            learning_rate.constant, learning_rate.step_decay, learning_rate.cosine, learning_rate.warmup_linear,
            learning_rate.cosine_restarts, learning_rate.one_cycle, learning_rate.plateau,
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_a_run_goes_on_with_any_schedule(tmp_path, make):
    whole, history = trained(tmp_path / "whole.pt", scheduler=make)
    for epochs in (1, 2, 3):
        resumed, again = trained(tmp_path / "cut.pt", scheduler=make, fit=START["fit"] | {"epochs": epochs})
    assert same(resumed, whole) and again.learning_rates == history.learning_rates
