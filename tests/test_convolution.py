import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from course_utils import convolution

BY_HAND = [convolution.corr2d_loops, convolution.corr2d_slices, convolution.corr2d_unfold]
by_hand = pytest.mark.parametrize("version", BY_HAND, ids=lambda version: version.__name__)
quick = settings(max_examples=40)


@st.composite
def calls(draw):
    """Random pictures, filters and settings for which at least one window fits; sides may differ."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 3)))
    stride, dilation = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    sides = [max(1, r - 2 * p) + draw(st.integers(0, 4)) for r, p in zip(reach, padding)]
    batch, channels, filters = (draw(st.integers(1, 3)) for _ in range(3))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    images = torch.randn(batch, channels, *sides, generator=random)
    weight = torch.randn(filters, channels, *kernel, generator=random)
    bias = torch.randn(filters, generator=random) if draw(st.booleans()) else None
    return images, weight, bias, stride, padding, dilation


@by_hand
@quick
@given(call=calls())
def test_each_version_by_hand_equals_conv2d(version, call):
    torch.testing.assert_close(version(*call), F.conv2d(*call), rtol=1e-4, atol=1e-5)


@by_hand
def test_versions_equal_conv2d_exactly_on_small_whole_numbers(version):
    images = torch.arange(2 * 2 * 5 * 6).float().view(2, 2, 5, 6)
    weight = torch.arange(3 * 2 * 3 * 2).float().view(3, 2, 3, 2) - 9
    assert torch.equal(version(images, weight, stride=2, padding=1), F.conv2d(images, weight, None, 2, 1))


@by_hand
def test_gradients_flow_through_the_versions_by_hand(version):
    images = torch.randn(1, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mine, theirs = (torch.ones(3, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    version(images, mine).square().sum().backward()
    F.conv2d(images, theirs).square().sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


@by_hand
@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (([[1.0]], torch.ones(1, 1, 1, 1)), TypeError, "images is a list"),
        ((torch.ones(5, 5), torch.ones(1, 1, 3, 3)), ValueError, "images has 2 axes"),
        ((torch.ones(1, 1, 5, 5), torch.ones(3, 3)), ValueError, "weight has 2 axes"),
        ((torch.ones(1, 1, 5, 5).byte(), torch.ones(1, 1, 3, 3)), TypeError, r"use \.float\(\)"),
        ((torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3).double()), TypeError, "the same dtype"),
        (
            (torch.ones(1, 3, 5, 5), torch.ones(1, 1, 3, 3)),
            ValueError,
            "3 channels but each filter expects 1",
        ),
        (
            (torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), torch.ones(2)),
            ValueError,
            "one number per filter",
        ),
        *(
            ((torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), bias), TypeError, f"bias is {what}; give a tensor of")
            for bias, what in (
                ([0.5], "a list"),
                (0.5, "a float"),
                (torch.ones(1).double(), "torch.float64"),
                (np.ones(1, np.float32), "a ndarray"),
            )
        ),
        ((torch.ones(1, 1, 2, 5), torch.ones(1, 1, 3, 3)), ValueError, "reaches over 3 pixels but .* only 2"),
        ((torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), None, 0), ValueError, "stride is 0"),
        ((torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), None, 1, -1), ValueError, "padding is -1"),
        ((torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), None, 1, 0, 1.5), ValueError, r"dilation is 1\.5"),
        (
            (torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), None, (1, 2, 3)),
            ValueError,
            r"stride is \(1, 2, 3\)",
        ),
    ],
)
def test_bad_calls_are_refused_with_one_sentence(version, arguments, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        version(*arguments)
    assert "\n" not in str(caught.value)


@quick
@given(calls())
def test_output_size_is_the_side_that_pytorch_gives(call):
    images, weight, _, stride, padding, dilation = call
    sides = zip(images.shape[2:], weight.shape[2:], stride, padding, dilation)
    assert tuple(F.conv2d(*call).shape[2:]) == tuple(convolution.output_size(*side) for side in sides)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, 3), "n is 0"),
        ((5, 0), "kernel is 0"),
        ((5, 3, 0), "stride is 0"),
        ((5, 3, 1, -1), "padding is -1"),
        ((5, 3, 1, 0, 0), "dilation is 0"),
        ((5.0, 3), r"n is 5\.0"),
        ((5, True), "kernel is True"),
        ((5, 3, 1, 0, 3), "reaches over 7 pixels but the padded input has only 5"),
    ],
)
def test_output_size_refuses_what_cannot_be(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        convolution.output_size(*arguments)


@quick
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)),
    extra=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    seed=st.integers(0, 1000),
)
def test_pooling_equals_pytorch(size, stride, extra, seed):
    shape = (2, 3, size[0] + extra[0], size[1] + extra[1])
    images = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    average = F.avg_pool2d(images, size, stride)
    assert torch.equal(convolution.pool2d(images, size, stride), F.max_pool2d(images, size, stride))
    torch.testing.assert_close(convolution.pool2d(images, size, stride, "average"), average)
    summed = convolution.pool2d(images, size, stride, "sum")
    torch.testing.assert_close(summed, average * size[0] * size[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((torch.ones(1, 1, 4, 4), 2, None, "median"), ValueError, "choose 'max', 'average' or 'sum'"),
        ((torch.ones(1, 1, 4, 4).byte(), 2), TypeError, "float tensor"),
        (([1, 2], 2), TypeError, "images are list"),
        ((torch.ones(4, 4), 2), ValueError, "2 axes"),
        ((torch.ones(1, 1, 4, 4), 5), ValueError, "reaches over 5 pixels"),
        ((torch.ones(1, 1, 4, 4), 2, 0), ValueError, "stride is 0"),
        ((torch.ones(1, 1, 4, 4), 0), ValueError, "size is 0"),
    ],
)
def test_pooling_refuses_bad_calls_with_one_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        convolution.pool2d(*arguments)


def test_kernels_keep_brightness_or_answer_zero_on_a_flat_area():
    flat = torch.full((1, 1, 3, 3), 0.25)
    for name in convolution.KERNELS:
        answer = F.conv2d(flat, convolution.kernel(name)[None, None]).item()
        assert answer == pytest.approx(0.25) or answer == pytest.approx(0), name


def test_kernels_cannot_be_changed_and_unknown_names_are_refused():
    with pytest.raises(TypeError):
        convolution.KERNELS["blur"] = ((1,),)
    with pytest.raises(ValueError, match="no kernel named 'blurr'; choose one of: identity"):
        convolution.kernel("blurr")


@quick
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_parameter_counts_are_those_of_pytorch_layers(inputs, outputs, height, width, bias):
    conv = nn.Conv2d(inputs, outputs, (height, width), bias=bias)
    dense = nn.Linear(inputs, outputs, bias=bias)
    assert convolution.conv_parameters(inputs, outputs, (height, width), bias) == count(conv)
    assert convolution.dense_parameters(inputs, outputs, bias) == count(dense)


def test_parameter_counts_refuse_what_cannot_be():
    with pytest.raises(ValueError, match="in_channels is 0"):
        convolution.conv_parameters(0, 1, 3)
    with pytest.raises(ValueError, match="outputs is -1"):
        convolution.dense_parameters(1, -1)
    with pytest.raises(ValueError, match=r"in_channels is \(3, 3\); give a whole number"):
        convolution.conv_parameters((3, 3), 1, 3)


def test_whole_numbers_of_numpy_are_whole_numbers():
    five = np.int64(5)
    assert convolution.output_size(np.uint8(250), five, padding=np.uint8(100)) == 446  # no sum runs over
    assert convolution.conv_parameters(five, 1, five, False) == 125
    assert convolution.pool2d(torch.ones(1, 1, 10, 10), five).shape == (1, 1, 2, 2)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())
