"""Choose a backbone: the whole way of lesson 5 with networks of other families, whose names come from the network."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils import pictures, transfer
from course_utils.widgets import lesson5

CLASSES = ("coat", "dress", "shirt")
FAMILIES = ("resnet18", "vgg16", "squeezenet1_0", "mobilenet_v3_small", "resnet10t", "efficientnet_lite0")


@pytest.fixture(params=FAMILIES, scope="module")
def net(request):
    """A network with random numbers and a head for three classes; VGG-16 has 134 million, so each is made once."""
    torch.manual_seed(0)
    return transfer.replace_head(transfer.backbone(request.param, weights=None), CLASSES)


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.thorough
def test_the_head_answers_for_the_new_classes_and_the_parts_have_names(net, images):
    with torch.no_grad():
        assert net.model.eval()(images).shape == (2, 3)
    names = [stage.name for stage in transfer.stages(net.model)]
    assert len(names) > 3 and names[-1] == net.head
    assert sum(stage.parameters for stage in transfer.stages(net.model)) == sum(
        parameter.numel() for parameter in net.model.parameters()
    )


def test_with_a_frozen_body_the_head_is_all_that_learns(net):
    transfer.freeze(net.model, keep=net.head)
    (group,) = transfer.param_groups(net.model, 0.01)
    assert group["name"] == net.head and group["lr"] == 0.01
    assert {id(p) for p in group["params"]} == {id(p) for p in net.head_layer.parameters()}
    assert not any(layer.training for layer in net.model.train().modules() if isinstance(layer, nn.BatchNorm2d))


def test_cached_features_and_the_tail_are_the_network(net, images):
    with torch.no_grad():
        expected = net.model.eval()(images)
        torch.testing.assert_close(net.tail().eval()(net.features(images)), expected)


def test_only_squeezenet_has_a_relu_behind_its_head(net):
    behind = any(isinstance(layer, nn.ReLU) for layer in net.tail().modules())
    assert behind == (net.name == "squeezenet1_0")
    if behind:  # its logits are never negative, so a class that is never right cannot be pushed below another
        with torch.no_grad():
            assert net.model(torch.randn(1, 3, 96, 96)).min() >= 0


@pytest.mark.thorough
def test_from_any_stage_up_a_step_moves_those_stages_alone_with_smaller_rates_below(net, images):
    names = [stage.name for stage in transfer.stages(net.model)]
    start = names[len(names) // 2]
    transfer.unfreeze(net.model, start)
    groups = transfer.param_groups(net.model, 0.01, factor=0.5)
    assert groups[0]["name"] == net.head and names.index(groups[-1]["name"]) >= names.index(start)
    assert [group["lr"] for group in groups] == [0.01 * 0.5**i for i in range(len(groups))]
    learning = [p for p in net.model.parameters() if p.requires_grad]
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(id(p) for p in learning)
    lowest = next(net.model.get_submodule(names[0]).parameters())
    assert not lowest.requires_grad
    # Weights decay, so whatever learns moves, also where a ReLU lets no gradient through.
    before = [(p, p.detach().sum().item(), p.requires_grad) for p in net.model.parameters() if p.ndim > 1]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    net.model.train()
    F.cross_entropy(net.model(images), torch.tensor([0, 1])).backward()
    optimizer.step()
    for parameter, total, learns in before:
        assert (parameter.detach().sum().item() != total) == learns


@pytest.mark.thorough
def test_grad_cam_finds_the_last_maps_by_itself(net):
    found = lesson5.attention(net, pictures.photograph("cat"))
    assert found.heat.ndim == 2 and min(found.heat.shape) > 1 and found.name in CLASSES
    assert found.heat.min() >= 0 and found.heat.max() <= 1
