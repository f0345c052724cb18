import math
import subprocess
import sys

import pytest

from course_utils import models, training


def test_a_curve_keeps_each_loss_and_draws_it_with_the_average():
    curve = training.LossCurve("A network", guessing=math.log(10))
    for loss in (2.4, 1.2, 0.6):
        curve(loss)
    curve.finish()  # outside a notebook it draws nothing
    axes = curve.plot().axes[0]
    each, average, guessing = axes.lines
    assert list(each.get_ydata()) == [2.4, 1.2, 0.6]
    assert average.get_ydata()[0] == pytest.approx(2.4) and 0.6 < average.get_ydata()[-1] < 2.4
    assert set(guessing.get_ydata()) == {math.log(10)}
    assert axes.get_title(loc="left").startswith("A network, loss 2.40 → ") and "in 3 steps" in curve.sentence()


def test_a_curve_without_a_loss_says_so():
    with pytest.raises(ValueError, match="no loss to draw; call the curve with the loss of each batch"):
        training.LossCurve().finish()


@pytest.mark.processes
def test_in_a_notebook_there_is_one_picture_however_many_losses_come():
    code = (
        "import nbclient, nbformat\n"
        "cell = nbformat.v4.new_code_cell('''from course_utils import training\n"
        "from course_utils.training import watch\n"
        "watch.EVERY = 0\n"
        "curve = training.LossCurve()\n"
        "for loss in (3.0, 2.0, 1.0): curve(loss)\n"
        "curve.finish()''')\n"
        "book = nbformat.v4.new_notebook(cells=[cell])\n"
        "nbclient.NotebookClient(book, timeout=300, kernel_name='python3').execute()\n"
        "(output,) = book.cells[0].outputs\n"
        "assert 'in 3 steps' in output.metadata['image/png']['alt'], output.metadata\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_a_trace_is_drawn_with_a_box_for_each_layer_that_changes_a_shape_or_learns():
    trace = models.shape_trace(models.PublishedNet(), (1, 1, 28, 28))
    written = [text.get_text() for text in trace.plot().axes[0].texts]
    assert written[0] == "picture\n1 × 28 × 28" and written[-1] == "dense\n10" and len(written) == 1 + 6 + 3
    assert "pooling\n32 × 2 × 2" in written
