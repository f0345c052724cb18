from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from torch import nn

from course_utils import convolution, models
from course_utils.convolution.geometry import receptive_field

layers = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(0, 1), st.integers(1, 2)).filter(
        lambda layer: layer[3] * (layer[0] - 1) + 1 > 2 * layer[2]  # no window lies in the padding alone
    ),
    min_size=1,
    max_size=4,
)


def seen_by(net, cell, side):
    """First and last row of a picture from which any gradient reaches output cell (cell, cell)."""
    images = torch.zeros(1, 1, side, side, requires_grad=True)
    net(images)[0, 0, cell, cell].backward()
    rows = images.grad[0, 0].sum(1).nonzero().flatten()
    return rows.min().item(), rows.max().item()


def all_ones(kernel, stride, padding, dilation):
    conv = nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False)
    nn.init.ones_(conv.weight)
    return conv


@settings(max_examples=40)
@given(layers)
def test_receptive_field_is_what_gradients_measure(described):
    field = receptive_field(described)
    net = nn.Sequential(*(all_ones(*layer) for layer in described))
    side = 2 * field.size + 8 * field.jumps[-1]  # large enough for a cell in the middle to see no border
    cell = net(torch.zeros(1, 1, side, side)).shape[2] // 2
    assert seen_by(net, cell, side) == field.span(cell)


def test_receptive_field_of_modules_is_measured_too():
    net = nn.Sequential(
        all_ones(3, 1, 1, 1), nn.BatchNorm2d(1).eval(), nn.AvgPool2d(2), all_ones(5, 1, 0, 1), nn.AvgPool2d(2)
    )
    field = receptive_field(net)
    assert field.sizes == (3, 3, 4, 12, 14)
    assert field.jumps == (1, 1, 2, 2, 4)
    assert seen_by(net, 4, 60) == field.span(4)


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (lambda: models.PublishedNet().features, 24),
        (lambda: models.FashionNet().features, 22),
        (lambda: models.ResidualNet().stem, None),
        (lambda: models.ClassicNet().features, 16),
    ],
)
def test_the_courses_own_networks_are_followed_into_their_blocks(network, side):
    layers = network()
    windows = [layer for layer in layers.modules() if isinstance(layer, (nn.Conv2d, nn.MaxPool2d))]
    assert receptive_field(layers).size == receptive_field(windows).size
    assert side is None or receptive_field(layers).size == side


@pytest.mark.parametrize(
    "layer",
    [
        nn.GELU(), nn.SiLU(), nn.LeakyReLU(), nn.Tanh(), nn.PReLU(), nn.Sigmoid(), nn.Dropout2d(), nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.SyncBatchNorm(4), nn.LayerNorm([4, 5, 5]), nn.Softmax2d(),
        nn.FeatureAlphaDropout(), nn.LocalResponseNorm(2),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_activations_and_normalisations_change_nothing(layer):
    assert receptive_field([nn.Conv2d(4, 4, 3), layer, nn.Conv2d(4, 4, 3)]).size == 5


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2), (4, 1), (2, 3)])
def test_same_padding_is_measured_too(kernel, dilation):
    conv = nn.Conv2d(1, 1, kernel, dilation=dilation, padding="same", bias=False)
    nn.init.ones_(conv.weight)
    field = receptive_field([conv, nn.AvgPool2d(2)])
    assert seen_by(nn.Sequential(conv, nn.AvgPool2d(2)), 6, 24) == field.span(6)
    assert receptive_field([nn.Conv2d(1, 1, 3, padding="valid")]).span(0) == (0, 2)


def test_padding_puts_the_first_cell_partly_outside_the_picture():
    assert receptive_field([(3, 1, 1)]).span(0) == (-1, 1)


def test_two_small_kernels_see_as_much_as_one_large():
    assert receptive_field([(3,), (3,)]).size == receptive_field([(5,)]).size == 5


@pytest.mark.parametrize(
    ("given_layers", "error", "sentence"),
    [
        ([], ValueError, "no layers"),
        ([nn.Conv2d(1, 1, 3), nn.Linear(3, 3)], TypeError, "stop before the first dense layer"),
        ([3], TypeError, "no layer with a window"),
        ([nn.Conv2d(1, 1, (3, 5))], ValueError, "not square"),
        ([(0,)], ValueError, "kernel is 0"),
        (nn.Sequential(models.cifar.ResidualBlock(4)), TypeError, r"^ResidualBlock\( is no layer with a window"),
        ([nn.Conv2d(1, 1, 3), nn.Softmax(dim=-1)], TypeError, r"Softmax\(dim=-1\) is no layer"),
    ],
)
def test_receptive_field_refuses_what_it_cannot_follow(given_layers, error, sentence):
    with pytest.raises(error, match=sentence):
        convolution.receptive_field(given_layers)


@settings(max_examples=30)
@given(layers)
def test_the_drawing_holds_each_square_inside_the_next(described):
    field = receptive_field(described)
    figure = field.plot()
    *squares, pixel = figure.axes[0].patches
    corners = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in (pixel, *squares)]
    plt.close(figure)
    for (inner_first, inner_last), (outer_first, outer_last) in pairwise(corners):
        assert outer_first <= inner_first + 0.51 and inner_last <= outer_last + 0.51
    assert figure.axes[0].get_title(loc="left") == f"One output cell sees {field.size} × {field.size} pixels"
