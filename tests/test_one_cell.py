import pytest
import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F

from course_utils.convolution import kernel, pool2d
from course_utils.convolution.worked import worked_cell

PICTURE = torch.tensor([[0, 3, 1, 0, 3], [3, 3, 3, 1, 3], [1, 2, 0, 3, 2], [0, 0, 0, 2, 1], [2, 3, 3, 2, 0]]).float()


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 0, 2), (3, 2, 2)])
def test_the_worked_output_is_that_of_conv2d(stride, padding, dilation):
    edges = kernel("Sobel x")
    worked = worked_cell(PICTURE, edges, stride=stride, padding=padding, dilation=dilation)
    expected = F.conv2d(PICTURE[None, None], edges[None, None], None, stride, padding, dilation)[0, 0]
    assert torch.equal(worked.output, expected)


@pytest.mark.parametrize("pool", ["max", "average", "sum"])
def test_the_worked_output_is_that_of_pooling(pool):
    worked = worked_cell(PICTURE, pool=pool)
    assert torch.equal(worked.output, pool2d(PICTURE[None, None], 2, kind=pool)[0, 0])
    assert worked.title == f"{pool} pooling, 2 × 2, stride 2"


def test_the_arithmetic_is_written_out_and_right():
    worked = worked_cell(PICTURE, kernel("vertical edges"), row=1, stride=2, padding=1)
    assert worked.arithmetic == "0·(−1) + 3·0 + 3·1\n+ 0·(−1) + 1·0 + 2·1\n+ 0·(−1) + 0·0 + 0·1\n= 5"
    assert worked.output[1, 0] == 5
    assert (worked.rows, worked.columns) == ((2, 3, 4), (0, 1, 2))
    assert worked_cell(PICTURE, pool="max", row=1, column=1).arithmetic == "max(0, 3, 0, 2)\n= 3"
    assert worked_cell(PICTURE, pool="sum").arithmetic == "0 + 3 + 3 + 3\n= 9"
    assert worked_cell(PICTURE, pool="average").arithmetic == "(0 + 3 + 3 + 3) / 4\n= 2.25"


def test_dilation_skips_pixels():
    assert worked_cell(PICTURE, kernel("sharpen"), dilation=2).rows == (0, 2, 4)


@pytest.mark.parametrize("call", [{"kernel": kernel("sharpen"), "padding": 1}, {"pool": "max"}])
def test_the_drawing_shows_every_number_of_the_output(call):
    worked = worked_cell(PICTURE, **call)
    figure = worked.plot()
    (written,) = [each for each in figure.axes[2].collections if len(each.get_offsets()) == worked.output.numel()]
    texts = written.get_label().removeprefix("_").split()
    shown = {(round(y - 0.5), round(x - 0.5)): text for text, (x, y) in zip(texts, written.get_offsets(), strict=True)}
    rows, columns = worked.output.shape
    assert shown == {
        (r, c): f"{worked.output[r, c].item():g}".replace("-", "−") for r in range(rows) for c in range(columns)
    }
    assert figure.axes[3].texts[0].get_text() == worked.arithmetic
    plt.close(figure)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "either a kernel or a kind of pooling"),
        ({"kernel": kernel("sharpen"), "pool": "max"}, "either a kernel or a kind of pooling"),
        ({"pool": "median"}, "choose 'max', 'average' or 'sum'"),
        ({"kernel": torch.ones(3)}, "two axes"),
        ({"pool": "max", "padding": 1}, "no padding and no dilation"),
        ({"kernel": kernel("sharpen"), "row": 3}, r"no output cell \(3, 0\); the output has 3 rows"),
        ({"kernel": kernel("sharpen"), "dilation": 3}, "reaches over 7 pixels"),
        ({"kernel": kernel("sharpen"), "stride": -1}, "stride is -1"),
    ],
)
def test_bad_calls_are_refused_with_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        worked_cell(PICTURE, **arguments)
