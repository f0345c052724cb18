"""Lesson 4's networks: their shapes, what a residual block does, and the recorded benchmark's bars."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from course_utils import models
from course_utils.errors import DataError
from course_utils.models import cifar, recorded

RECORD = Path(__file__).resolve().parent.parent / "results" / "benchmark_cifar10.json"


def test_the_classic_network_has_the_tutorials_layers_and_parameters():
    net = models.ClassicNet()
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    dense = (400 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10
    assert models.count_parameters(net) == (3 * 25 + 1) * 6 + (6 * 25 + 1) * 16 + dense == 62_006
    shapes = [row.shape for row in models.shape_trace(net, (1, 3, 32, 32)).rows if row.kind == "MaxPool2d"]
    assert shapes == [(1, 6, 14, 14), (1, 16, 5, 5)]


def test_a_block_adds_what_its_layers_make_to_what_comes_in():
    torch.manual_seed(0)
    block, maps = models.ResidualBlock(6).eval(), torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(block(maps), maps + block.layers(maps))
    with torch.no_grad():
        block.layers[1][1].weight.zero_()
    assert torch.equal(block(maps), maps)


def test_a_block_passes_slopes_on_where_its_layers_give_none():
    block = models.ResidualBlock(4).eval()
    with torch.no_grad():
        block.layers[1][1].weight.zero_()
    maps = torch.randn(1, 4, 3, 3, requires_grad=True)
    block(maps).sum().backward()
    assert torch.equal(maps.grad, torch.ones_like(maps))


@pytest.mark.parametrize(
    ("widths", "early_pool", "last"), [((8, 16, 32), True, (32, 4, 4)), ((8, 16, 24, 32), False, (32, 4, 4))]
)
def test_each_stage_halves_the_pictures(widths, early_pool, last):
    net = models.ResidualNet(widths, early_pool=early_pool, classes=7).eval()
    images = torch.randn(3, 3, 32, 32)
    assert net.stages(net.stem(images)).shape[1:] == last
    assert net.features(images).shape == (3, widths[-1])
    torch.testing.assert_close(net(images), net.classifier(net.features(images)))
    assert net(images).shape == (3, 7)


@pytest.mark.outcome
def test_the_network_is_plain_layers_in_a_row_and_learns():
    torch.manual_seed(0)
    net = models.ResidualNet((4, 8), classes=2)
    images, labels = torch.randn(16, 3, 16, 16), torch.arange(16) % 2
    images[labels == 1] += 1
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), []
    for _ in range(12):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_the_listing_of_the_residual_network_fits_on_two_pages():
    assert len(Path(cifar.__file__).read_text(encoding="utf-8").splitlines()) < 130


@pytest.mark.parametrize("settings", [{"widths": (8,)}, {"widths": (0, 8)}, {"classes": 1}])
def test_a_network_that_cannot_be_is_refused(settings):
    with pytest.raises(ValueError, match="two widths or more"):
        models.ResidualNet(**settings)


def test_ten_minutes_on_two_cores_hold_their_bar_and_say_on_what():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    ours, classic, clock = record["ours"], record["classic"], record.get("clock")
    assert ours["accuracy"] >= 0.86 and ours["processor_seconds"] <= 1200
    assert clock is None or (clock["seconds"] <= 600 and clock["threads"] == 2 and clock["epochs"] == ours["epochs"])
    assert record["hardware"]["cores"] == 2 and not record["hardware"]["gpu"]
    assert "JPEG" in record["data"] and record["test_pictures"] == 10_000 and ours["training_pictures"] == 45_000
    assert record["versions"]["torch"] and record["date"] and isinstance(record["seed"], int)
    assert classic["epochs"] == 2 and 0.4 < classic["accuracy"] < ours["accuracy"] - 0.15
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        assert len(ours[name]) == ours["epochs"]


def test_changed_pictures_pay_in_the_recorded_pair():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    plain, changed = record["as_they_are"], record["changed"]
    assert plain["epochs"] == changed["epochs"] == len(plain["validation_accuracy"])
    share, count = plain["validation_accuracy"][-1], plain["validation_pictures"]
    assert changed["validation_accuracy"][-1] - share > 2 * (2 * share * (1 - share) / count) ** 0.5
    assert changed["train_accuracy"][-1] < plain["train_accuracy"][-1]


def test_the_recorded_network_comes_along_in_sixteen_bits():
    net = models.recorded_network()
    assert models.RECORDED_WEIGHTS.stat().st_size < 1_000_000 and models.count_parameters(net) == 464_170
    assert not net.training and all(value.dtype == torch.float32 for value in net.parameters())
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(net(images), models.recorded_network()(images)) and net(images).shape == (4, 10)
    assert net.stages[0][1].layers[0][1].running_mean.abs().max() > 0.01  # it has seen pictures


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_a_recorded_network_that_cannot_be_read_is_said(content, tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(recorded, "RECORDED_WEIGHTS", path)
    with pytest.raises(DataError, match="install the course again"):
        models.recorded_network()
