"""A saved network comes back whole; a wrong or hostile file is refused with a reason, and runs and writes nothing."""

import io
import json
import math
import pickle
import struct
import tarfile
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn

from course_utils import pictures, transfer
from course_utils.errors import DataError
from course_utils.transfer import saving
from course_utils.transfer.saving import EXPECTED, LAYERS


def trained(name="squeezenet1_0", head=None, classes=("wasps", "ants", "bees")):
    torch.manual_seed(0)
    return transfer.replace_head(transfer.backbone(name, weights=None), classes, head)


@pytest.fixture(scope="module")
def net():
    return trained()


@pytest.fixture
def saved(net, tmp_path):
    transfer.save_network(net, tmp_path / "insects.pt")
    return tmp_path / "insects.pt"


@pytest.mark.thorough
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


@pytest.mark.parametrize("resize", [256, (224, 300)])
def test_every_setting_of_the_preprocessing_survives_a_file(resize):
    change = transfer.Preprocess(resize, 224, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
    assert transfer.Preprocess.from_dict(json.loads(json.dumps(asdict(change)))) == change


HEADS = (
    nn.Sequential(nn.BatchNorm1d(512, eps=1e-3, momentum=None), nn.Linear(512, 3)),
    nn.Sequential(nn.BatchNorm1d(512, affine=False, track_running_stats=False), nn.Dropout(0.3), nn.Linear(512, 3)),
    nn.Sequential(nn.Flatten(1, 1), nn.ReLU(inplace=True), nn.Linear(512, 3, bias=False), nn.LogSoftmax(dim=-1)),
)


@pytest.mark.parametrize("head", HEADS, ids=["momentum", "not affine", "flatten"])
def test_a_head_comes_back_with_all_its_settings_and_gives_the_same_logits(head, tmp_path):
    net = trained("resnet18", head)
    transfer.save_network(net, tmp_path / "net")
    back = transfer.load_network(tmp_path / "net")
    assert repr(back.head_layer) == repr(head)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(back.model(images), net.model.eval()(images))


def test_a_squeezenet_head_without_a_bias_comes_back(tmp_path):
    transfer.save_network(trained(head=nn.Conv2d(512, 3, 1, bias=False)), tmp_path / "net")
    assert transfer.load_network(tmp_path / "net").head_layer.bias is None


def softened():
    net = trained("resnet18")
    net.model.bn1.eps = 1e-3  # no number of the state, and yet the answers hang on it
    return net


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            lambda: trained(head=nn.Conv2d(512, 3, 1, stride=2)),
            r"its layer classifier\.1 would come back as Conv2d.* not Conv2d",
        ),
        (softened, r"its layer bn1 would come back as BatchNorm2d\(.*eps=1e-05, .*, not BatchNorm2d\(.*eps=0\.001, "),
        (lambda: replace(trained(), name="resnet18"), "could not be read back: it belongs to another network"),
        (lambda: replace(trained(), name="my own"), "could not be read back: There is no network 'my own'"),
        (lambda: replace(trained(), classes=("a", "b")), "could not be read back: .* not one output for each class"),
    ],
)
def test_a_network_that_would_come_back_as_another_is_not_saved(other, words, saved):
    before = saved.read_bytes()
    with pytest.raises(ValueError, match=words):
        transfer.save_network(other(), saved)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_saving_moves_no_random_number(net, tmp_path):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    transfer.save_network(net, tmp_path / "net")
    assert torch.equal(torch.rand(3), expected)


def test_a_model_alone_is_not_saved(net, tmp_path):
    with pytest.raises(TypeError, match=r"save_network takes what transfer\.backbone returns, not a SqueezeNet"):
        transfer.save_network(net.model, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_network_in_channels_last_is_saved(tmp_path):
    net = trained()
    net.model.to(memory_format=torch.channels_last)
    transfer.save_network(net, tmp_path / "net")
    back = transfer.load_network(tmp_path / "net").model.state_dict()
    assert all(torch.equal(value, back[name]) for name, value in net.model.state_dict().items())


def test_the_file_is_safetensors_that_any_other_program_can_read(saved, net):
    with safe_open(saved, "pt") as file:
        about = file.metadata()
    description = json.loads(about["classifier"])
    assert set(description) == EXPECTED and description["classes"] == ["wasps", "ants", "bees"]
    assert description["versions"]["torch"] == torch.__version__ and description["preprocess"]["crop"] == 224
    weights = safetensors.torch.load_file(saved)
    assert all(torch.equal(value, weights[name]) for name, value in net.model.state_dict().items())


def test_a_head_of_another_kind_is_refused_before_anything_is_written(tmp_path):
    net = trained("resnet18", nn.Sequential(nn.Linear(512, 8), nn.GELU(), nn.Linear(8, 3)))
    with pytest.raises(ValueError, match="a layer GELU cannot be saved whole; heads are made of Linear"):
        transfer.save_network(net, tmp_path / "net.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_neither_saved_nor_loaded(value, saved, tmp_path):
    net = trained()
    with torch.no_grad():
        net.head_layer.bias[1] = value
    with pytest.raises(
        ValueError, match=r"out was not saved: its weights are not all finite numbers.* train the network"
    ):
        transfer.save_network(net, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [saved]
    with safe_open(saved, "pt") as file:
        about = file.metadata()
    weights = {name: each.contiguous() for name, each in net.model.state_dict().items()}
    safetensors.torch.save_file(weights, saved, about)
    with pytest.raises(DataError, match=r"The weights in insects\.pt are not all finite numbers"):
        transfer.load_network(saved)


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


def write_long_header(path):
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")


def write_foreign(path):
    safetensors.torch.save_file({"a": torch.zeros(3)}, path)


def write_overlap(path):
    """Two tensors that are said to lie in the same bytes."""
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({"a": entry, "b": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (write_pickle, "net.pt is a pickle, which may hold code; it was not read"),
        (write_torch_bomb, "net.pt is a file of torch.save, which may hold code; it was not read"),
        (write_tar_slip, "damaged, cut short or not a saved network"),
        (write_zip_slip, "it was not read"),
        (write_zip_bomb, "it was not read"),
        (write_text, "damaged, cut short or not a saved network"),
        (write_nothing, "damaged, cut short or not a saved network"),
        (write_long_header, "damaged, cut short or not a saved network"),
        (write_foreign, "net.pt was not written by save_network"),
        (write_overlap, "damaged, cut short or not a saved network"),
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


def test_a_file_cut_short_or_with_a_broken_header_is_refused(saved):
    whole = saved.read_bytes()
    broken = whole[:9] + whole[9:].replace(b":", b";", 9)
    for content in (whole[: len(whole) // 2], whole[:-1], whole[:30], broken):
        saved.write_bytes(content)
        with pytest.raises(DataError, match=r"insects\.pt is damaged") as refusal:
            transfer.load_network(saved)
        assert len(str(refusal.value).splitlines()) == 1
    (saved.parent / "folder.pt").mkdir()
    with pytest.raises(DataError, match=r"^folder\.pt cannot be read \(.+\); choose a file of save_network\.$"):
        transfer.load_network(saved.parent / "folder.pt")


def rewritten(saved, change):
    """Change what a file holds: its description, and in it under "weights" its tensors."""
    weights = safetensors.torch.load_file(saved)
    with safe_open(saved, "pt") as file:
        about = file.metadata()
    content = {**json.loads(about["classifier"]), "weights": weights}
    change(content)
    weights = content.pop("weights")
    safetensors.torch.save_file(weights, saved, {**about, "classifier": json.dumps(content)})
    return saved


def head(*rows, single=False):
    return {"layers": list(rows), "single": single}


def linear(inputs, outputs, bias=True, **more):
    return ["Linear", {"in_features": inputs, "out_features": outputs, "bias": bias, **more}]


CONV = ["Conv2d", {"in_channels": 512, "out_channels": 100_000, "kernel_size": [1, 1], "bias": True}]
RELU = ["ReLU", {"inplace": False}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("classes"), "was not written by save_network"),
        (lambda s: s.update(extra=1), "was not written by save_network"),
        (lambda s: s.update(architecture="hf-hub:someone/else"), "There is no network 'hf-hub:someone/else'"),
        (lambda s: s.update(architecture="local-dir:/etc"), "There is no network 'local-dir:/etc'"),
        (lambda s: s.update(architecture=7), "its names are not texts"),
        (lambda s: s.update(architecture="resnet18"), "belongs to another network"),
        (lambda s: s.update(architecture="vit_giant_patch14_224"), "belongs to another network"),
        (lambda s: s.update(classes=["a"]), "its class names are not a list of different texts"),
        (lambda s: s.update(classes=["a", "a", "b"]), "its class names are not a list of different texts"),
        (lambda s: s.update(classes=[1, 2, 3]), "its class names are not a list of different texts"),
        (lambda s: s.update(classes=[[], {}, "c"]), "its class names are not a list of different texts"),
        (lambda s: s.update(classes=["a", "b"]), "its head has not one output for each class"),
        (lambda s: s["weights"].pop("classifier.1.bias"), "belongs to another network"),
        (lambda s: s["weights"].update({"classifier.1.bias": torch.zeros(9)}), "belongs to another network"),
        (lambda s: s["weights"].update({"more": torch.zeros(9)}), "belongs to another network"),
        (lambda s: s.update(head=head(CONV, single=True)), "its head has more numbers than the file"),
        (lambda s: s.update(head=head(linear(10**9, 3), single=True)), "impossible sizes"),
        (lambda s: s.update(head=head(linear(10, 3, dtype="x"))), "other settings than a Linear"),
        (lambda s: s.update(head=head(linear(100_000, 100_000), linear(100_000, 3))), "more numbers than the file"),
        (lambda s: s.update(head=head(linear(8, 8), linear(8, 3))), "belongs to another"),
        (lambda s: s.update(head=head(["Upsample", {}])), "its head holds a layer 'Upsample'"),
        (lambda s: s.update(head=head()), "its head is not a list of layers"),
        (lambda s: s.update(head=head(RELU, RELU, single=True)), "its head is not a list of layers"),
        (lambda s: s.update(head=head(RELU)), "A Sequential takes no features"),
        (lambda s: s.update(head=head(linear(3, 3), linear(3, 5))), "its head has not one output for each class"),
        (lambda s: s.update(head="Linear"), "does not hold a whole network"),
        (lambda s: s.update(head=head(*[RELU] * 30)), "its head is not a list of layers"),
        (lambda s: s["preprocess"].update(crop=10**9), "whole numbers from 1 to 2048"),
        (lambda s: s["preprocess"].pop("mean"), "does not hold a whole network"),
        (lambda s: s["preprocess"].update(std=[0, 0, 0]), "std above 0"),
        (lambda s: s["preprocess"].update(std=[float("nan")] * 3), "is not JSON .*NaN is not a number"),
        (lambda s: s.update(preprocess=None), "does not hold a whole network"),
    ],
)
def test_a_file_that_does_not_hold_what_it_should_is_refused_with_the_reason(saved, change, words):
    with pytest.raises(DataError, match=words) as refusal:
        transfer.load_network(rewritten(saved, change))
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": ' + "9" * 10_000 + "}", "[1, 2]", "null"])
def test_a_description_that_is_not_json_is_refused(saved, text):
    metadata = {"format": saving.FORMAT, "classifier": text}
    safetensors.torch.save_file({"a": torch.zeros(3)}, saved, metadata)
    with pytest.raises(DataError, match=r"is not JSON|was not written by save_network") as refusal:
        transfer.load_network(saved)
    assert len(str(refusal.value)) < 400


def test_a_file_larger_than_any_network_or_with_an_endless_description_is_not_read(saved, monkeypatch):
    monkeypatch.setattr(saving, "LONGEST_TEXT", 10)
    with pytest.raises(DataError, match="was not written by save_network"):
        transfer.load_network(saved)
    monkeypatch.setattr(saving, "LARGEST", 1000)
    with pytest.raises(DataError, match="more than any network of this course"):
        transfer.load_network(saved)


def test_every_kind_of_layer_is_described_by_settings_that_it_has():
    made = [nn.Linear(2, 2), nn.Conv2d(2, 2, 1), nn.BatchNorm1d(2), nn.ReLU(), nn.Dropout(), nn.Flatten()]
    made.append(nn.LogSoftmax(1))
    assert {type(layer).__name__ for layer in made} == set(LAYERS)
    for layer in made:
        assert repr(saving._made(json.loads(json.dumps(saving._described(layer))))) == repr(layer)
