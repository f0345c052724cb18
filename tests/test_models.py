"""The lessons' networks, shape traces and parameter counts."""

import pytest
import torch
from torch import nn

from course_utils import models


def test_the_mended_listing_gives_ten_logits():
    assert models.PublishedNet()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_published_listing_fails_and_the_trace_shows_why():
    trace = models.shape_trace(models.PublishedNet(flat=32 * 5 * 5), (1, 1, 28, 28))
    assert trace.rows[-1].shape == (1, 128)
    assert "classifier.1 (Linear) fails" in trace.problem
    assert "1x128 and 800x256" in trace.problem
    assert trace.problem in " ".join(str(trace).split())


def test_a_trace_holds_every_layer_in_order_with_its_parameters():
    net = models.FashionNet(widths=(8, 16, 32))
    trace = models.shape_trace(net, (2, 1, 28, 28))
    assert trace.problem is None
    assert [row.kind for row in trace.rows[:4]] == ["Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"]
    assert [row.shape for row in trace.rows if row.kind == "ReLU"] == [(2, 8, 14, 14), (2, 16, 7, 7), (2, 32, 3, 3)]
    assert sum(row.parameters for row in trace.rows) == models.count_parameters(net)
    assert "(2, 8, 14, 14)" in str(trace)


def test_a_trace_leaves_mode_buffers_and_hooks_as_they_were():
    net = models.FashionNet(widths=(4, 8, 16)).train()
    net.features[0].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    models.shape_trace(net, (3, 1, 28, 28))
    assert net.training and not net.features[0].training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_trace_of_a_failure_between_layers_says_so():
    class Crooked(nn.Module):
        def forward(self, x):
            return x.reshape(7, 7)

    assert "between its layers" in models.shape_trace(Crooked(), (1, 1, 28, 28)).problem


def test_parameters_are_counted_with_and_without_the_frozen_ones():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    assert models.count_parameters(net) == 3 * 4 + 4 + 4 * 2 + 2
    net[0].requires_grad_(False)
    assert models.count_parameters(net, trainable_only=True) == 4 * 2 + 2


def test_fashion_net_counts_as_the_lesson_says():
    conv = 9 * (1 * 16 + 16 * 48 + 48 * 96)
    norm = 2 * (16 + 48 + 96)
    assert models.count_parameters(models.FashionNet()) == conv + norm + 96 * 9 * 10 + 10


def test_a_network_without_width_is_refused():
    with pytest.raises(ValueError, match="three widths of 1 or more"):
        models.FashionNet(widths=(0, 1, 1))


def test_a_trace_passes_layers_that_answer_with_several_tensors():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    trace = models.shape_trace(Reads(), (1, 3, 4))
    assert trace.problem is None and [row.layer for row in trace.rows] == ["head"]
