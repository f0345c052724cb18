"""Diagnosis against scikit-learn, and its pictures."""

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from sklearn.metrics import confusion_matrix, recall_score, top_k_accuracy_score
from torch import nn

from course_utils import diagnosis, figures, models
from course_utils.training import Predictions


def random_predictions(seed, count=200, classes=5):
    torch.manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (count - classes,))])
    return Predictions(torch.randn(count, classes) + nn.functional.one_hot(labels, classes), labels)


NAMES = tuple("abcde")


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_confusion_per_class_and_top_k_agree_with_scikit_learn(seed):
    p = random_predictions(seed)
    truth, guess = p.labels.numpy(), p.guesses.numpy()
    assert (diagnosis.confusion_matrix(p, NAMES).matrix.numpy() == confusion_matrix(truth, guess)).all()
    recall = recall_score(truth, guess, average=None)
    assert diagnosis.per_class(p, NAMES).accuracy.numpy() == pytest.approx(recall)
    for k in (1, 2, 3):
        assert diagnosis.top_k(p, k) == pytest.approx(top_k_accuracy_score(truth, p.logits.numpy(), k=k))


def test_the_best_one_is_the_guess_also_where_logits_are_equal():
    logits = torch.randint(0, 3, (500, 10), generator=torch.Generator().manual_seed(0)).float()
    p = Predictions(logits, torch.arange(500) % 10)
    assert diagnosis.top_k(p, 1) == p.accuracy and diagnosis.top_k(p, 10) == 1


def test_worst_pairs_are_the_largest_counts_off_the_diagonal():
    matrix = torch.tensor([[9, 1, 0], [4, 5, 0], [0, 2, 7]])
    result = diagnosis.ConfusionMatrix(("x", "y", "z"), matrix)
    assert result.worst_pairs(2) == [("y", "x", 4), ("z", "y", 2)]
    assert diagnosis.ConfusionMatrix(("x",), torch.tensor([[3]])).worst_pairs() == []


def test_a_class_without_pictures_is_not_called_perfect_or_worst():
    p = Predictions(torch.eye(3)[[0, 0, 1]], torch.tensor([0, 1, 1]))
    result = diagnosis.per_class(p, ("x", "y", "z"))
    assert result.accuracy[2].isnan() and result.worst == "y"


def test_classes_that_share_the_lowest_accuracy_are_all_named_or_counted():
    def worst(*accuracy):
        return diagnosis.PerClass(("x", "y", "z", "w"), torch.tensor(accuracy), torch.ones(4)).worst

    assert worst(0.9, 0.5, 0.8, 0.7) == "y" and worst(0.9, 0.5, 0.5, torch.nan) == "y and z"
    assert worst(0.5, 0.5, 0.5, 0.7) == "3 classes"


def test_each_class_is_drawn_with_two_standard_errors():
    result = diagnosis.PerClass(("x", "y", "z"), torch.tensor([0.9, 0.5, torch.nan]), torch.tensor([100, 25, 0]))
    assert result.standard_error[:2].tolist() == pytest.approx([0.03, 0.1]) and result.standard_error[2].isnan()
    (axes,) = result.plot().axes
    (lines,) = axes.containers[1][2]  # of an error bar: the line, its caps, its lines; from the lowest class up
    ends = [tuple(segment[:, 0]) for segment in lines.get_segments()]
    assert ends == [pytest.approx(each) for each in [(0, 0), (30, 70), (84, 96)]]
    assert [text.get_text() for text in axes.texts] == ["no pictures", "50", "90"]
    plt.close(axes.figure)


def test_mistakes_are_wrong_sorted_by_confidence_and_filtered():
    p, images = random_predictions(3), torch.randint(256, (200, 1, 4, 4), dtype=torch.uint8)
    found = diagnosis.mistakes(p, images, NAMES, n=1000)
    assert len(found) == int((p.guesses != p.labels).sum())
    assert (found.truth != found.guess).all()
    assert (found.confidence.diff() <= 0).all()
    assert torch.equal(found.images, images[found.index])
    assert torch.equal(found.confidence, p.probabilities[found.index, found.guess])
    assert torch.equal(diagnosis.mistakes(p, images, NAMES, n=7).index, found.index[:7])
    pair = diagnosis.mistakes(p, images, NAMES, truth="b", guess="d", n=1000)
    assert len(pair) == diagnosis.confusion_matrix(p, NAMES).matrix[1, 3]
    assert all(caption.startswith("b\n→ d\n") for caption in pair.captions())


def test_feature_maps_are_what_the_layer_answers_even_before_an_in_place_relu():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten())
    picture = torch.randn(1, 1, 8, 8)
    (maps,) = diagnosis.feature_maps(net, picture, ["0"])
    torch.testing.assert_close(maps.maps, net[0](picture)[0].detach())
    assert maps.maps.min() < 0
    assert net.training and not net[0]._forward_hooks


def contrast(a, b):
    """Return the contrast ratio of two colours, as WCAG 2 defines it."""
    shades = []
    for colour in (a, b):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        shades.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(shades) / min(shades)


@pytest.mark.parametrize("most", [10, 30, 60])
def test_a_mistake_of_ten_percent_stands_out_from_none(most):
    matrix = torch.tensor([[100 - most, most, 0], [10, 90, 0], [0, 0, 100]])
    figure = diagnosis.ConfusionMatrix(("a", "b", "c"), matrix).plot()
    (image,) = figure.axes[0].images
    ten, none = image.to_rgba([10.0, 0.0])
    assert contrast(ten, none) > 2  # 1.29 when right and wrong shared one scale
    grey = [patch for patch in figure.axes[0].patches if patch.get_facecolor()[:3] == to_rgb(figures.PALE)]
    assert {(patch.get_x(), patch.get_y()) for patch in grey} == {(k - 0.5, k - 0.5) for k in range(3)}
    assert image.get_array().diagonal().tolist() == [0, 0, 0]  # what is right has no share in the scale
    for text in figure.axes[0].texts:
        x, y = map(round, text.get_position())
        paper = to_rgb(figures.PALE) if x == y else image.to_rgba([float(image.get_array()[y, x])])[0]
        assert contrast(to_rgb(text.get_color()), paper) > 4.5, (text.get_text(), most)
    plt.close(figure)


def test_mixed_up_classes_are_put_beside_each_other():
    names = ("shirt", "trouser", "sneaker", "coat", "boot", "pullover")
    matrix = torch.diag(torch.full((6,), 50))
    for truth, guess, count in (("shirt", "coat", 20), ("pullover", "coat", 15), ("boot", "sneaker", 9)):
        matrix[names.index(truth), names.index(guess)] = count
    mixed = diagnosis.ConfusionMatrix(names, matrix)
    done = mixed.ordered()
    order = "".join(name[0] + name[1] for name in done.classes)
    assert sorted(done.classes) == sorted(names) and done.worst_pairs() == mixed.worst_pairs()
    assert "shcopu" in order or "pucosh" in order
    assert "snbo" in order or "bosn" in order
    assert done.matrix.diagonal().tolist() == [50] * 6 and done.matrix.sum() == matrix.sum()


def test_every_result_draws_a_figure_and_leaves_no_style_behind():
    p, images = random_predictions(3), torch.randint(256, (200, 1, 28, 28), dtype=torch.uint8)
    before, open_before = plt.rcParams["axes.titlelocation"], plt.get_fignums()
    maps = diagnosis.feature_maps(
        models.FashionNet(widths=(4, 8, 16)), torch.zeros(1, 1, 28, 28), ["features.0.0", "features.2"]
    )
    results = [
        diagnosis.confusion_matrix(p, NAMES),
        diagnosis.per_class(p, NAMES),
        diagnosis.mistakes(p, images, NAMES),
        *maps,
    ]
    for result in results:
        figure = result.plot()
        figure.canvas.draw()
        plt.close(figure)
    assert plt.rcParams["axes.titlelocation"] == before
    assert plt.get_fignums() == open_before


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p, i: diagnosis.top_k(p, 6), "between 1 and the number of classes, 5"),
        (lambda p, i: diagnosis.confusion_matrix(p, ("a",)), "1 class names for 5 logits"),
        (lambda p, i: diagnosis.mistakes(p, i[:3], NAMES), "3 pictures for 200 predictions"),
        (lambda p, i: diagnosis.mistakes(p, i, NAMES, truth="q"), "no class 'q'"),
        (lambda p, i: diagnosis.mistakes(p, i, NAMES[:2]), "2 class names for"),
        (
            lambda p, i: diagnosis.mistakes(Predictions(torch.eye(5), torch.arange(5)), i[:5], NAMES).plot(),
            "no mistake",
        ),
        (lambda p, i: diagnosis.feature_maps(models.FashionNet(), i[:1].float(), ["nope"]), "no layer 'nope'"),
        (lambda p, i: diagnosis.feature_maps(models.FashionNet(), torch.zeros(2, 1, 28, 28), []), "One picture"),
        (
            lambda p, i: diagnosis.feature_maps(models.FashionNet(), torch.zeros(1, 1, 28, 28), ["classifier.1"]),
            "not a stack of maps",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(random_predictions(1), torch.zeros(200, 1, 28, 28, dtype=torch.uint8))


def test_a_layer_that_took_no_part_is_named():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="spare took no part"):
        diagnosis.feature_maps(Spare(), torch.zeros(1, 1, 4, 4), ["used", "spare"])


def test_a_share_that_is_not_whole_is_not_shown_as_if_it_were():
    logits = torch.tensor([[9.0, 0], [0, 1.0], [200, 0]])
    found = diagnosis.mistakes(Predictions(logits, torch.tensor([1, 0, 1])), torch.zeros(3, 1, 2, 2).byte(), ("x", "y"))
    assert [caption.split("\n")[-1] for caption in found.captions()] == ["100 % sure", "over 99 % sure", "73 % sure"]
    shown = diagnosis.one_by_one(Predictions(logits, torch.tensor([0, 0, 0])), ("x", "y"), n=1, k=2)
    figure = shown.plot([torch.zeros(1, 2, 2, dtype=torch.uint8)] * len(shown))
    texts = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert {"x 100", "y 0", "y 73", "x 27"} <= texts
    plt.close(figure)


def test_pictures_one_by_one_are_the_surest_right_the_surest_wrong_and_the_least_sure():
    logits = torch.tensor([[8.0, 0, 0], [4, 0, 1], [0, 3, 1], [0, 1.0, 0.9], [2, 0, 0], [0, 0.1, 0]])
    found = diagnosis.one_by_one(Predictions(logits, torch.tensor([0, 0, 0, 1, 2, 1])), ("x", "y", "z"), n=2, k=5)
    assert found.kinds == ("right", "right", "wrong", "wrong", "least sure", "least sure")
    assert found.index.tolist() == [0, 1, 2, 4, 5, 3]
    assert found.guesses[2].tolist() == [1, 2, 0] and found.shares.sum(dim=1).allclose(torch.ones(6))
    assert found.describe().splitlines()[2].startswith("wrong       x: y 84 %, z 11 %, x ")
    images = [torch.randint(256, (channels, 9, 7), dtype=torch.uint8) for channels in (1, 3, 3, 1, 3, 3)]
    figure = found.plot(images, "a title")
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titles == [f"{kind}, truth: {name}" for kind, name in zip(found.kinds, "xxxzyy")]
    assert [text.get_text() for text in figure.axes[1].texts] == ["x over 99", "y <1", "z <1"]
    figure.canvas.draw()
    plt.close(figure)
    figure = found.plot(torch.full((6, 1, 9, 7), 0.5))
    assert figure.axes[0].images[0].get_array().max() == 128  # and not 0.5 of 255, which is black
    plt.close(figure)
    with pytest.raises(ValueError, match="un-normalise, scale or clamp them first"):
        found.plot(torch.full((6, 1, 9, 7), -2.0))


def test_pictures_one_by_one_where_none_is_wrong_and_there_are_few():
    found = diagnosis.one_by_one(Predictions(3 * torch.eye(2), torch.tensor([0, 1])), ("x", "y"), n=3)
    assert found.kinds == ("right", "right") and len(found) == 2 and found.guesses.shape == (2, 2)
    for call, words in (
        (lambda: found.plot([torch.zeros(1, 2, 2, dtype=torch.uint8)]), "1 images for 2 pictures"),
        (lambda: diagnosis.one_by_one(Predictions(torch.eye(2), torch.tensor([0, 1])), ("x",)), "1 class names for 2"),
        (lambda: diagnosis.one_by_one(Predictions(torch.eye(2), torch.tensor([0, 1])), ("x", "y"), n=0), "at least 1"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_an_overlay_is_grey_where_nothing_speaks_and_coloured_where_something_does():
    image = torch.tensor([[[200, 100]], [[100, 100]], [[0, 100]]], dtype=torch.uint8)
    covered = diagnosis.overlay(image, torch.tensor([[0.0, 1.0]]))
    assert covered.dtype == torch.uint8 and covered[:, 0, 0].tolist() == [100, 100, 100]
    assert int(covered[0, 0, 1]) > int(covered[2, 0, 1]) + 60  # yellow
    assert torch.equal(diagnosis.overlay(image, torch.ones(1, 2), strength=0), image)
    assert diagnosis.overlay(image[:1], torch.zeros(1, 2)).shape == (3, 1, 2)
