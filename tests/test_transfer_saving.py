"""A saved network comes back whole; a wrong or hostile file is refused with a reason, and runs and writes nothing."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from course_utils import pictures, transfer
from course_utils.errors import DataError
from course_utils.transfer.saving import EXPECTED


def trained(name="squeezenet1_0", head=None, classes=("ants", "bees", "wasps")):
    torch.manual_seed(0)
    return transfer.replace_head(transfer.backbone(name, weights=None), classes, head)


@pytest.fixture(scope="module")
def net():
    return trained()


@pytest.fixture
def saved(net, tmp_path):
    transfer.save_network(net, tmp_path / "insects.pt")
    return tmp_path / "insects.pt"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("squeezenet1_0", None),
        ("resnet18", None),
        ("efficientnet_lite0", None),
        ("resnet10t", None),
        ("resnet18", "published"),
        ("resnet18", "batch norm"),
        ("maxvit_t", None),
    ],
)
def test_a_network_comes_back_with_names_preprocessing_and_the_same_answers(name, head, tmp_path):
    made = {
        "published": lambda: transfer.published_head(512, 3),
        "batch norm": lambda: nn.Sequential(nn.BatchNorm1d(512), nn.Flatten(), nn.Linear(512, 3, bias=False)),
    }
    net = trained(name, made[head]() if head else None)
    transfer.save_network(net, tmp_path / "net.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]
    back = transfer.load_network(tmp_path / "net.pt")
    assert (back.name, back.head, back.classes, back.preprocess) == (net.name, net.head, net.classes, net.preprocess)
    assert back.source == net.source and not back.model.training
    picture = pictures.photograph("cat")
    assert back.predict(picture) == net.predict(picture)
    assert {guess.name for guess in back.predict(picture)} == {"ants", "bees", "wasps"}


def test_the_file_holds_plain_data_and_says_what_made_it(saved):
    state = torch.load(saved, weights_only=True)
    assert set(state) == EXPECTED and state["classes"] == ["ants", "bees", "wasps"]
    assert state["versions"]["torch"] == torch.__version__ and state["preprocess"]["crop"] == 224


def test_a_head_of_another_kind_is_refused_before_anything_is_written(tmp_path):
    net = trained("resnet18", nn.Sequential(nn.Linear(512, 8), nn.GELU(), nn.Linear(8, 3)))
    with pytest.raises(ValueError, match="a layer GELU cannot be saved whole; heads are made of Linear"):
        transfer.save_network(net, tmp_path / "net.pt")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_does_not_exist_or_cannot_be_written(net, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="was not saved"):
        transfer.save_network(net, tmp_path / "file" / "net.pt")
    with pytest.raises(DataError, match=r"There is no file nowhere\.pt"):
        transfer.load_network(tmp_path / "nowhere.pt")


class Bomb:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def write_pickle(path):
    path.write_bytes(pickle.dumps(Bomb(Path.write_text, Path("ran"), "it ran")))


def write_torch_bomb(path):
    torch.save({"format": "pixels-to-predictions network 1", "weights": Bomb(Path.write_text, Path("ran"), "x")}, path)


def write_tar_slip(path):
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("../../ran")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"slip"))


def write_zip_slip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../ran", "slip")
        archive.writestr("/tmp/ran", "slip")


def write_zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 200_000_000)


def write_text(path):
    path.write_text("ants, bees")


def write_nothing(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (write_pickle, "damaged or is no saved network"),
        (write_torch_bomb, "damaged or is not a file saved by this course"),
        (write_tar_slip, "damaged or is no saved network"),
        (write_zip_slip, "damaged or is not a file saved by this course"),
        (write_zip_bomb, "packed or overlapping parts, as torch.save never writes; it was not read"),
        (write_text, "damaged or is no saved network"),
        (write_nothing, "damaged or is no saved network"),
    ],
)
def test_hostile_files_run_nothing_and_write_nothing(write, words, tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    write(inner / "net.pt")
    with pytest.raises(DataError, match=words):
        transfer.load_network(inner / "net.pt")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["net.pt"]


def test_a_file_cut_short_or_with_a_broken_middle_is_refused(saved):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        transfer.load_network(saved)
    (saved.parent / "folder.pt").mkdir()
    with pytest.raises(DataError, match="damaged"):
        transfer.load_network(saved.parent / "folder.pt")


def rewritten(saved, change):
    state = torch.load(saved, weights_only=True)
    change(state)
    torch.save(state, saved)
    return saved


HUGE = torch.zeros(1).expand(100_000, 100_000)  # one number, 40 GB when it is filled


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update(format="other"), "was not written by save_network"),
        (lambda s: s.pop("classes"), "was not written by save_network"),
        (lambda s: s.update(extra=1), "was not written by save_network"),
        (lambda s: s.update(architecture="hf-hub:someone/else"), "There is no network 'hf-hub:someone/else'"),
        (lambda s: s.update(architecture="local-dir:/etc"), "There is no network 'local-dir:/etc'"),
        (lambda s: s.update(architecture=7), "its names are no texts"),
        (lambda s: s.update(architecture="resnet18"), "belongs to another network"),
        (lambda s: s.update(architecture="vit_giant_patch14_224"), "belongs to another network"),
        (lambda s: s.update(classes=["a"]), "its class names are no list of different texts"),
        (lambda s: s.update(classes=["a", "a", "b"]), "its class names are no list of different texts"),
        (lambda s: s.update(classes=[1, 2, 3]), "its class names are no list of different texts"),
        (lambda s: s.update(classes=["a", "b"]), "has 2 outputs"),
        (lambda s: s.update(weights={"x": 1}), "its weights are no tensors"),
        (lambda s: s["weights"].pop("classifier.1.bias"), "belongs to another network"),
        (lambda s: s["weights"].update({"classifier.1.bias": torch.zeros(9)}), "belongs to another network"),
        (lambda s: s.update(head=[["alone"], ["Conv2d", 512, 100_000, 1]]), "outputs"),
        (lambda s: s.update(head=[["alone"], ["Linear", 10**9, 3, True]]), "impossible sizes"),
        (lambda s: s.update(head=[["Linear", 100_000, 100_000, True], ["Linear", 100_000, 3]]), "belongs to another"),
        (lambda s: s.update(head=[["alone"], ["Upsample", 3]]), "its head holds a layer 'Upsample'"),
        (lambda s: s.update(head=[["alone"]]), "its head is no list of layers"),
        (lambda s: s.update(head=[["ReLU"]]), "its head has not one output for each class"),
        (lambda s: s.update(head="Linear"), "its head is no list of layers"),
        (lambda s: s.update(head=[["ReLU"]] * 30), "its head is no list of layers"),
        (lambda s: s["preprocess"].update(crop=10**9), "whole numbers from 1 to 2048"),
        (lambda s: s["preprocess"].pop("mean"), "does not hold a whole network"),
        (lambda s: s["preprocess"].update(std=[0, 0, 0]), "std above 0"),
        (lambda s: s.update(preprocess=None), "does not hold a whole network"),
    ],
)
def test_a_file_that_does_not_hold_what_it_should_is_refused_with_the_reason(saved, change, words):
    with pytest.raises(DataError, match=words) as refusal:
        transfer.load_network(rewritten(saved, change))
    assert len(str(refusal.value).splitlines()) == 1


def test_a_tensor_that_would_fill_the_memory_is_refused(saved):
    file = rewritten(saved, lambda s: s["weights"].update({"classifier.1.weight": HUGE}))
    assert file.stat().st_size < 20_000_000
    with pytest.raises(DataError, match="belongs to another network"):
        transfer.load_network(file)
