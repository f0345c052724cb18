"""Frozen means frozen: no parameter and no buffer moves in training mode; thawed layers learn, lower ones slower."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils import models, training, transfer

NAMES = ("resnet18", "squeezenet1_0", "efficientnet_lite0", "mobilenet_v3_small")


def small(name="resnet18", classes=3):
    net = transfer.backbone(name, weights=None)
    return transfer.replace_head(net, [str(i) for i in range(classes)])


def batches(count=3):
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(4, 3, 64, 64, generator=generator), torch.randint(3, (4,), generator=generator))
        for _ in range(count)
    ]


def one_epoch(model):
    """Train every parameter that may learn for an epoch, in training mode, as `training.fit` does."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1)
    training.fit(model, batches(), epochs=1, optimizer=optimizer, progress=False)


def changed(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def copy_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_in_training_mode_changes_nothing_but_the_head(name):
    net = small(name)
    transfer.freeze(net.model, keep=net.head)
    before = copy_of(net.model)
    one_epoch(net.model)
    assert changed(net.model, before) == {f"{net.head}.weight", f"{net.head}.bias"}


def test_a_network_frozen_whole_is_the_same_bit_for_bit_after_training_passes():
    net = small()
    transfer.freeze(net.model)
    before = copy_of(net.model)
    net.model.train()
    for images, _ in batches():
        net.model(images)
    assert changed(net.model, before) == set()
    assert not any(parameter.requires_grad for parameter in net.model.parameters())
    assert not any(layer.training for layer in net.model.modules())


def test_without_gradients_alone_batch_norm_still_moves():
    net = small()
    net.model.requires_grad_(False)
    before = copy_of(net.model)
    net.model.train()
    net.model(batches(1)[0][0])
    moved = changed(net.model, before)
    assert moved and all("running" in name or "num_batches" in name for name in moved)


def test_frozen_layers_stay_in_evaluation_mode_whatever_is_called():
    net = small("mobilenet_v3_small")
    transfer.freeze(net.model, keep=net.head)
    for call in (
        net.model.train,
        lambda: net.model.train(True),
        lambda: net.model.eval().train(),
        net.model.features.train,
    ):
        call()
        assert net.model.training and net.model.classifier[3].training
        assert not any(layer.training for layer in net.model.features.modules())
        assert not net.model.classifier[2].training  # dropout before the head


def test_what_is_frozen_can_be_copied_and_pickled_and_stays_frozen():
    net = small("squeezenet1_0")
    transfer.freeze(net.model, keep=net.head)
    for twin in (copy.deepcopy(net.model), pickle.loads(pickle.dumps(net.model))):
        twin.train()
        assert not twin.features.training and twin.classifier[1].training
        assert twin.features.__dict__["train"].args[0] is twin.features


@pytest.mark.parametrize("statistics", [False, True])
def test_unfreezing_from_a_layer_lets_it_and_all_above_learn(statistics):
    net = small()
    transfer.freeze(net.model, keep=net.head)
    transfer.unfreeze(net.model, "layer4", statistics=statistics)
    before = copy_of(net.model)
    one_epoch(net.model)
    moved = changed(net.model, before)
    expected = {name for name, _ in net.model.named_parameters() if name.startswith(("layer4", "fc"))}
    assert expected <= moved
    assert all(name.startswith(("layer4", "fc")) for name in moved)
    assert any("running_mean" in name for name in moved) == statistics


def test_thawed_layers_follow_train_and_eval_again():
    net = small()
    transfer.freeze(net.model)
    transfer.unfreeze(net.model, "layer4", statistics=True)
    for mode in (False, True, False):
        net.model.train(mode)
        assert {layer.training for part in (net.model.layer4, net.model.fc) for layer in part.modules()} == {mode}
        assert not any(layer.training for layer in net.model.layer3.modules())


def test_unfreezing_everything_and_freezing_again():
    net = small()
    transfer.freeze(net.model)
    transfer.unfreeze(net.model, "", statistics=True)
    assert models.count_parameters(net.model, trainable_only=True) == models.count_parameters(net.model)
    assert net.model.train().bn1.training
    transfer.freeze(net.model, keep=["fc", "layer4.1"])
    learn = {name.rsplit(".", 1)[0] for name, p in net.model.named_parameters() if p.requires_grad}
    assert learn and all(name.startswith(("fc", "layer4.1")) for name in learn)


def test_freezing_spares_attention_layers_and_class_tokens_no_more_than_others():
    net = transfer.backbone("vit_b_32", weights=None, device="meta")
    transfer.freeze(net.model, keep=net.head)
    net.model.train()
    attention = [layer for layer in net.model.modules() if isinstance(layer, nn.MultiheadAttention)]
    assert attention and not any(layer.training for layer in attention)
    assert not net.model.class_token.requires_grad
    transfer.unfreeze(net.model, "")
    assert net.model.class_token.requires_grad
    groups = transfer.param_groups(net.model, 1.0)
    assert groups[-1]["name"] == "others" and len(groups[-1]["params"]) == 2  # class token and positions


@pytest.mark.parametrize("call", [transfer.freeze, transfer.unfreeze])
def test_a_layer_that_is_not_there_is_refused_with_those_that_are(call):
    net = small()
    before = [p.requires_grad for p in net.model.parameters()]
    with pytest.raises(ValueError, match=r"no layer 'layer5'; did you mean 'layer\d'.* there are conv1, bn1, layer1"):
        call(net.model, "layer5")
    assert [p.requires_grad for p in net.model.parameters()] == before


@pytest.mark.parametrize("name", [*NAMES, "vgg16", "vit_b_16", "densenet121"])
def test_stages_hold_every_layers_parameters_once(name):
    net = transfer.backbone(name, weights=None, device="meta")
    stages = transfer.stages(net.model)
    loose = sum(
        p.numel() for n, p in net.model.named_parameters() if n.split(".")[-1] in ("class_token", "pos_embedding")
    )
    assert sum(stage.parameters for stage in stages) + loose == models.count_parameters(net.model)
    assert stages[-1].name.startswith(net.head.split(".")[0]) and len(stages) >= 8


@pytest.mark.parametrize(
    "take",
    [
        transfer.freeze,
        transfer.stages,
        transfer.summary,
        lambda net: transfer.unfreeze(net, "layer4"),
        lambda net: transfer.param_groups(net, 0.1),
    ],
)
def test_a_network_in_place_of_its_model_is_refused(take):
    with pytest.raises(TypeError, match=r"A model of PyTorch is needed, not a Network; of a backbone take its \.model"):
        take(small())


def test_the_overview_counts_what_learns():
    net = small()
    transfer.freeze(net.model, keep=net.head)
    *_, head, last = transfer.summary(net.model).splitlines()
    assert head.split() == ["fc", "Linear", "1,539", "1,539"]
    assert last.split() == ["all", f"{models.count_parameters(net.model):,}", "1,539"]


def test_rates_shrink_from_the_head_down_and_each_parameter_is_in_one_group():
    net = small()
    transfer.freeze(net.model)
    transfer.unfreeze(net.model, "layer3")
    groups = transfer.param_groups(net.model, rate=0.1, factor=0.5)
    assert [group["name"] for group in groups] == ["fc", "layer4.1", "layer4.0", "layer3.1", "layer3.0"]
    assert [group["lr"] for group in groups] == [0.1 * 0.5**i for i in range(5)]
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in net.model.parameters() if p.requires_grad}
    torch.optim.AdamW(groups)


def test_lower_layers_move_less():
    net = small()
    transfer.unfreeze(net.model, "")
    start = copy_of(net.model)
    optimizer = torch.optim.SGD(transfer.param_groups(net.model, 0.1, 0.01))
    images, labels = batches(1)[0]
    F.cross_entropy(net.model(images), labels).backward()
    grads = {name: p.grad.norm() for name, p in net.model.named_parameters()}
    optimizer.step()

    def share(name):
        return ((net.model.state_dict()[name] - start[name]).norm() / grads[name]).item()

    assert share("fc.weight") == pytest.approx(0.1, rel=1e-3)
    assert share("layer4.1.conv2.weight") == pytest.approx(0.001, rel=1e-2)


@pytest.mark.parametrize(("rate", "factor"), [(0, 0.5), (-1, 0.5), (0.1, 0), (0.1, 1.5), (float("nan"), 0.5)])
def test_impossible_rates_are_refused(rate, factor):
    with pytest.raises(ValueError, match="rate must be above 0 and the factor"):
        transfer.param_groups(nn.Linear(2, 2), rate, factor)


def test_a_network_in_which_nothing_learns_has_no_groups():
    with pytest.raises(ValueError, match="Nothing in this network learns"):
        transfer.param_groups(transfer.freeze(nn.Sequential(nn.Linear(2, 2))), 0.1)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "mobilenet_v3_small", "resnet10t"])
def test_thawed_layers_learn_and_their_statistics_stay_unless_they_are_asked_for(name):
    net = transfer.backbone(name, weights=None)
    start = [stage.name for stage in transfer.stages(net.model)][2]
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for statistics in (False, True):
        transfer.unfreeze(net.model, start, statistics=statistics)
        before = {key: value.clone() for key, value in net.model.named_buffers()}
        assert net.model.train()(images).requires_grad
        moved = [key for key, value in net.model.named_buffers() if not torch.equal(value, before[key])]
        assert bool(moved) == statistics, moved[:3]
        layers = [layer for layer in net.model.modules() if isinstance(layer, nn.BatchNorm2d) and layer.training]
        assert bool(layers) == statistics
