"""Looking inside a network: Grad-CAM against exact arithmetic, projections against scikit-learn."""

import functools

import matplotlib.pyplot as plt
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from course_utils import acceleration, diagnosis, models, training
from course_utils.acceleration.profiling import Row


def by_hand(net, picture, target):
    """Grad-CAM of ResidualNet's last stage in four lines."""
    maps = net.stages(net.stem(picture)).detach().requires_grad_()
    net.classifier(net.pool(maps))[0, target].backward()
    heat = (maps.grad[0].mean(dim=(1, 2)).view(-1, 1, 1) * maps.detach()[0]).sum(dim=0).relu()
    return heat / heat.max() if heat.max() > 0 else heat


@pytest.fixture
def net():
    torch.manual_seed(0)
    return models.ResidualNet((4, 8, 16), classes=5)


@pytest.mark.parametrize("target", range(5))
def test_grad_cam_is_what_four_lines_give_for_every_class(net, target):
    picture = torch.randn(1, 3, 32, 32)
    found = diagnosis.grad_cam(net, picture, "stages", target)
    net.eval()
    torch.testing.assert_close(found.heat, by_hand(net, picture, target))
    assert found.target == target and found.heat.shape == (4, 4)
    assert found.probability == pytest.approx(net(picture).softmax(dim=1)[0, target].item(), abs=1e-6)
    # behind the last stage come only a mean over 16 fields and one dense layer
    torch.testing.assert_close(found.weights, net.classifier.weight[target].detach() / 16)


@pytest.mark.parametrize("target", range(3))
def test_a_map_weighs_as_much_as_the_mean_of_its_gradients_also_where_they_differ(target):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 5 * 3, 3))  # each place has slopes of its own
    picture = torch.randn(1, 1, 7, 5)
    found = diagnosis.grad_cam(net, picture, "0", target)
    slopes = net[2].weight[target].detach().view(4, 5, 3)
    weights = torch.tensor([each.sum().item() / 15 for each in slopes])
    torch.testing.assert_close(found.weights, weights)
    heat = sum(weight * each for weight, each in zip(weights, net[0](picture)[0].detach())).clamp(min=0)
    torch.testing.assert_close(found.heat, heat / heat.max())


def test_the_heat_lies_where_the_pattern_is():
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[3].weight.copy_(torch.tensor([[2.0], [-3.0]]))
    picture = torch.zeros(1, 1, 6, 6)
    picture[0, 0, 1, 4] = 5.0
    for_it, against_it = (diagnosis.grad_cam(net, picture, "0", target) for target in (0, 1))
    assert for_it.heat.argmax() == 6 * 1 + 4 and for_it.heat.sum() == 1
    assert against_it.heat.abs().sum() == 0  # cut off, and no division by 0
    assert for_it.at_size(12, 12).shape == (12, 12) and for_it.at_size(12, 12).max() <= 1


def test_grad_cam_asks_about_the_networks_own_guess_and_leaves_everything_as_it_was(net):
    picture = torch.randn(1, 3, 32, 32)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    net.classifier.weight.grad = torch.ones_like(net.classifier.weight)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.inference_mode():
        found = diagnosis.grad_cam(net, picture, "stages.0")
        assert found.target == int(net.eval()(picture).argmax())
    net.train()
    diagnosis.grad_cam(net, picture, "stages.0")
    assert net.training and all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(net.classifier.weight.grad, torch.ones_like(net.classifier.weight))
    assert picture.grad is None and not any(module._forward_hooks for module in net.modules())


def test_an_in_place_relu_behind_the_layer_does_not_change_the_maps():
    torch.manual_seed(1)
    layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)]
    plain, picture = nn.Sequential(*layers), torch.randn(1, 1, 8, 8)
    expected = diagnosis.grad_cam(plain, picture, "0", 1)
    in_place = nn.Sequential(layers[0], nn.ReLU(inplace=True), *layers[2:])
    torch.testing.assert_close(diagnosis.grad_cam(in_place, picture, "0", 1).heat, expected.heat)


def test_grad_cam_draws_and_leaves_nothing_open(net):
    found = diagnosis.grad_cam(net, torch.randn(1, 3, 32, 32), "stages")
    figure = found.plot(torch.randint(256, (3, 32, 32), dtype=torch.uint8), "cat")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["the picture", "what speaks for cat"]
    figure.canvas.draw()
    plt.close(figure)
    with pytest.raises(TypeError, match="before it is normalised"):
        found.plot(torch.rand(3, 32, 32), ax=plt.figure().subplots())
    plt.close("all")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net, p: diagnosis.grad_cam(net, p[0], "stages"), "One picture of shape"),
        (lambda net, p: diagnosis.grad_cam(net, p.byte(), "stages"), r"normalised floats, is needed, not uint8 \(1, 3"),
        (lambda net, p: diagnosis.feature_maps(net, p.numpy(), ["pool"]), "is needed, not ndarray"),
        (
            lambda net, p: diagnosis.pca(torch.eye(3)).plot([0, 1, 2], ("a", "b")),
            "0 to 2, but there are 2 classes",
        ),
        (lambda net, p: diagnosis.grad_cam(net, p, "stage"), "no layer 'stage'"),
        (lambda net, p: diagnosis.grad_cam(net, p, "stages", 5), "no class number 5; they go from 0 to 4"),
        (lambda net, p: diagnosis.grad_cam(net, p, "classifier"), "not a stack of maps"),
        (lambda net, p: diagnosis.pca(p), "flatten each picture"),
        (lambda net, p: diagnosis.pca(torch.randn(3, 8), 4), "have 1 to 3 directions, not 4"),
        (lambda net, p: diagnosis.pca(torch.full((3, 2), torch.nan)), "not a finite number"),
        (lambda net, p: diagnosis.layer_outputs(net, [(p, torch.tensor([0]))], "nope"), "no layer 'nope'"),
        (lambda net, p: diagnosis.layer_outputs(net, [], "pool"), "no batches to look at"),
        (
            lambda net, p: diagnosis.pca(torch.randn(9, 3)).plot(torch.zeros(8), ("a",)),
            "8 labels for 9 points",
        ),
    ],
)
def test_what_does_not_fit_is_named(net, call, words):
    with pytest.raises(ValueError, match=words):
        call(net, torch.zeros(1, 3, 32, 32))


def test_one_layer_may_be_named_alone_and_labels_may_be_a_list(net):
    (maps,) = diagnosis.feature_maps(net, torch.zeros(1, 3, 32, 32), "stages")
    assert maps.layer == "stages"
    figure = diagnosis.pca(torch.eye(4)).plot([0, 1, 1, 0], ("a", "b"))
    assert [len(points.get_offsets()) for points in figure.axes[0].collections] == [2, 2]
    plt.close(figure)


def test_a_layer_that_runs_without_a_say_is_named():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)

        def forward(self, x):
            self.idle(x)
            return self.used(x).mean(dim=(2, 3))

    with pytest.raises(ValueError, match="idle runs, but the answer does not depend on it"):
        diagnosis.grad_cam(Idle(), torch.ones(1, 1, 4, 4), "idle")


def test_a_layer_that_took_no_part_is_named(net):
    net.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(ValueError, match="spare took no part"):
        diagnosis.grad_cam(net, torch.zeros(1, 3, 32, 32), "spare")
    with pytest.raises(ValueError, match="spare took no part"):
        diagnosis.layer_outputs(net, [(torch.zeros(1, 3, 32, 32), torch.tensor([0]))], "spare")


@pytest.mark.parametrize(("count", "size", "dimensions"), [(60, 12, 2), (5, 30, 4), (40, 3, 3)])
def test_the_projection_is_scikit_learns_up_to_the_sign_of_a_direction(count, size, dimensions):
    torch.manual_seed(count)
    features = torch.randn(count, size) * torch.linspace(4, 0.5, size) + 3
    found, pca = diagnosis.pca(features, dimensions), PCA(dimensions, svd_solver="full")
    points = torch.from_numpy(pca.fit_transform(features.double().numpy())).float()
    torch.testing.assert_close(found.points.abs(), points.abs(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.share, torch.from_numpy(pca.explained_variance_ratio_).float())
    torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(dimensions), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.place(features), found.points)
    assert (found.axes.gather(1, found.axes.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_points_on_a_line_need_one_direction():
    line = torch.arange(5.0)[:, None] * torch.tensor([[3.0, 4.0]])
    found = diagnosis.pca(line)
    torch.testing.assert_close(found.axes[0], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(found.points[:, 0], torch.tensor([-10.0, -5, 0, 5, 10]), rtol=1e-5, atol=1e-5)
    assert found.share[0] == pytest.approx(1) and found.share[1] < 1e-6
    assert diagnosis.pca(torch.ones(4, 3)).share.tolist() == [0, 0]  # all the same: nothing differs


def test_principal_components_draw_each_class_once(net):
    figure = diagnosis.pca(torch.randn(30, 4)).plot(torch.arange(30) % 3, ("x", "y", "z"))
    (axes,) = figure.axes
    assert [len(group.get_offsets()) for group in axes.collections] == [10, 10, 10]
    assert axes.get_title(loc="left").startswith("Two of 4 directions hold ")
    figure.canvas.draw()
    plt.close(figure)


def test_no_name_of_a_class_covers_another_where_all_have_one_centre():
    names = ("automobile", "truck", "ship", "cat", "deer", "horse")
    torch.manual_seed(0)
    points = torch.randn(600, 3) * torch.tensor([3.0, 1.0, 0.1])
    figure = diagnosis.pca(points).plot(torch.arange(600) % len(names), names)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    plt.close(figure)


def test_results_that_draw_one_picture_draw_into_given_axes_and_open_no_figure():
    predictions = training.Predictions(torch.randn(30, 3), torch.arange(30) % 3)
    names, image = ("x", "y", "z"), torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    row = acceleration.Measured("CPU loop", "a CPU", 100.0, 0.5, 1.0, 0.5)
    profile = acceleration.Profile((Row("loss", 1, 2.0), Row("copying", 1, 1.0)), "a CPU")
    draws = [
        diagnosis.confusion_matrix(predictions, names).plot,
        diagnosis.per_class(predictions, names).plot,
        functools.partial(diagnosis.pca(torch.randn(30, 4)).plot, torch.arange(30) % 3, names),
        functools.partial(diagnosis.GradCam("0", 0, 0.5, torch.ones(2), torch.rand(4, 4)).plot, image, "x"),
        acceleration.Ladder((row,), "2030-01-01", {}, {}, "", {}).plot,
        profile.plot,
    ]
    figure, grid = plt.subplots(2, 3)
    for draw, ax in zip(draws, grid.flat):
        assert draw(ax=ax) is figure and ax.get_title(loc="left") and ax.has_data()
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_layer_outputs_are_the_features_in_order_over_ragged_batches(net):
    images, labels = torch.randn(7, 3, 32, 32), torch.arange(7) % 5
    net.train()
    features, found = diagnosis.layer_outputs(net, list(zip(images.split(3), labels.split(3))), "pool")
    assert net.training and torch.equal(found, labels) and not features.is_inference()
    torch.testing.assert_close(features, net.eval().features(images).detach())


class Twice(nn.Module):
    """Uses one layer twice in a forward pass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.layer(self.layer(images)).mean(dim=(2, 3))


def test_a_layer_that_is_used_twice_gives_its_last_answer_once_a_picture():
    net, images, labels = Twice(), torch.randn(5, 3, 8, 8), torch.arange(5)
    with torch.no_grad():
        last = net.layer(net.layer(images))
    features, found = diagnosis.layer_outputs(net, list(zip(images.split(2), labels.split(2))), "layer")
    assert len(features) == len(found) == 5
    torch.testing.assert_close(features, last.flatten(1))
    torch.testing.assert_close(diagnosis.feature_maps(net, images[:1], ["layer"])[0].maps, last[0])
