from dataclasses import replace

import pytest
import torch
from panels import figures_in_memory, operate_everything

from course_utils import data, diagnosis, models, pictures
from course_utils.base.words import percent
from course_utils.figures import SHAREABLE
from course_utils.widgets import lesson4
from course_utils.widgets.panel import VIEW

CLASSES = ("airplane", "bird", "cat", "dog")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@pytest.fixture(scope="module")
def cat():
    return pictures.to_tensor(pictures.photograph("cat").resize((32, 32)))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return models.ResidualNet((4, 8, 16), classes=4)


def make(kind, net, cat):
    if kind == "descent":
        return lesson4.descent()
    return lesson4.augmentation(cat) if kind == "augmentation" else lesson4.grad_cam(net, cat, CLASSES, MEAN, STD)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["augmentation", "descent", "grad_cam"])
def test_every_control_takes_all_its_values_and_no_figure_stays(kind, net, cat):
    panel = make(kind, net, cat)
    before = figures_in_memory()
    assert operate_everything(panel) >= 5
    assert figures_in_memory() <= before
    assert panel.sentence and f'aria-live="polite">{panel.sentence}' in panel.caption.value


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["augmentation", "descent", "grad_cam"])
def test_one_output_holds_the_live_widget_and_a_picture_with_words(kind, net, cat):
    bundle, metadata = make(kind, net, cat)._repr_mimebundle_()
    (image,) = metadata
    assert VIEW in bundle and len(bundle["text/plain"]) > 60 and bundle["text/plain"] == metadata[image]["alt"]
    assert metadata[image]["width"] < 900 and figures_in_memory() == 0


def test_without_a_kernel_the_heat_of_each_class_and_layer_stands_in_one_row(net, cat):
    shown = lesson4.grad_cam(net, cat, CLASSES, MEAN, STD).twin().axes
    assert [axes.get_title(loc="left").split(", ")[1] for axes in shown] == ["stages.0", "stages.1"] * 2
    assert len({round(axes.get_position().y0, 2) for axes in shown}) == 1


def test_the_copies_are_what_the_augmentation_of_the_package_makes(cat):
    panel = lesson4.augmentation(cat)
    shown = panel.compute(crop=3, flip=True, cutout=0, draw=7).images
    expected = data.Augment(crop=3, flip=True)(cat.repeat(12, 1, 1, 1), torch.Generator().manual_seed(7))
    assert torch.equal(shown, expected) and not torch.equal(shown[0], shown[1])
    assert torch.equal(panel.compute(crop=3, flip=True, cutout=0, draw=7).images, shown)
    assert not torch.equal(panel.compute(crop=3, flip=True, cutout=0, draw=8).images, shown)


def test_what_was_done_is_said_in_words(cat):
    panel = lesson4.augmentation(cat)
    panel.set(crop=0, flip=False, cutout=0)
    assert panel.sentence == "12 copies, all unchanged."
    assert (panel.compute(0, False, 0, 0).images == cat).all()
    panel.set(crop=2, flip=True, cutout=6)
    assert panel.sentence == (
        "12 copies: shifted by up to 2 pixels, mirrored in half of the cases, a square of 6 pixels painted over."
    )
    panel.set(crop=1, flip=False, cutout=1)
    assert panel.sentence == "12 copies: shifted by up to 1 pixel, a square of 1 pixel painted over."


def test_a_picture_of_floats_is_refused():
    with pytest.raises(TypeError, match=r"needs one image, uint8 \(C, H, W\), not float32 \(3, 4, 4\)"):
        lesson4.augmentation(torch.rand(3, 4, 4))
    with pytest.raises(TypeError, match=r"needs one image, uint8 \(C, H, W\), not uint8 \(8, 8, 3\)"):
        lesson4.augmentation(torch.zeros(8, 8, 3, dtype=torch.uint8))


def test_the_heat_is_the_chosen_classs_in_the_chosen_layer(net, cat):
    panel = lesson4.grad_cam(net, cat, CLASSES, MEAN, STD)
    picture = pictures.normalise(pictures.to_float(cat), MEAN, STD)[None]
    guess = diagnosis.grad_cam(net, picture, "stages.1")
    assert panel.values == {"kind": CLASSES[guess.target], "layer": "stages.1"}
    asked = panel.compute("bird", "stages.0")
    assert asked.name == "bird" and torch.equal(asked.image, cat)
    torch.testing.assert_close(asked.cam.heat, diagnosis.grad_cam(net, picture, "stages.0", 1).heat)
    panel.set(kind="bird", layer="stages.0")
    assert f"The network gives bird a probability of {percent(asked.cam.probability)}." in panel.sentence
    assert net.training


def test_a_class_for_which_nothing_speaks_is_said(net, cat):
    asked = lesson4.grad_cam(net, cat, CLASSES, MEAN, STD).compute("bird", "stages.0")
    assert lesson4.told(asked).endswith("fields; bright ones speak for bird.")
    nothing = replace(asked, cam=replace(asked.cam, heat=0 * asked.cam.heat))
    assert lesson4.told(nothing).endswith("fields; none of them speaks for bird.")


def test_pictures_that_may_not_be_passed_on_are_marked(net, cat):
    panel = lesson4.grad_cam(net, cat, CLASSES, MEAN, STD, shareable=False)
    assert panel._repr_mimebundle_()[1][SHAREABLE] is False


def test_a_walk_is_that_of_pytorchs_sgd_with_momentum():
    weight = torch.tensor(lesson4.START, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.01, momentum=0.8)
    points = [weight.detach().clone()]
    for _ in range(20):
        optimizer.zero_grad()
        (0.5 * (weight[0] ** 2 + lesson4.STEEP * weight[1] ** 2)).backward()
        optimizer.step()
        points.append(weight.detach().clone())
    torch.testing.assert_close(lesson4.walk(0.01, 0.8, steps=20), torch.stack(points))


def test_the_descent_says_where_each_walk_ends():
    panel = lesson4.descent()
    plain = panel.compute(0.02, 0.0)
    helped = panel.compute(0.02, 0.8)
    assert helped.height < 0.1 * plain.height
    panel.set(rate=0.02, momentum=0.8)
    assert panel.sentence == f"40 steps at a rate of 0.02 with momentum 0.8 end {helped.height:.2g} above the bottom."
    panel.set(rate=0.06, momentum=0.0)
    assert panel.sentence == "40 steps at a rate of 0.06 with momentum 0 leave the valley."
    far = panel.compute(0.02, 0.98).points[:, 0].min().item()
    assert far < -2  # what the title of the static picture says: it swings far past the middle
