"""Explorations of lesson 3: mistakes by class pair, and what the layers of a network answer to a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from course_utils import data, diagnosis, figures
from course_utils.base.modules import device_of
from course_utils.base.words import percent
from course_utils.training.evaluate import Predictions
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin
from course_utils.widgets.live_training import LiveTraining

__all__ = ["LiveTraining", "feature_maps", "mistakes_by_pair"]

ANY = "any other"
ROWS, COLUMNS = 2, 6  # of mistakes shown
ASKED = ("Sneaker", "Ankle boot")  # truth and guess: the lesson asks for this pair
MOST_MAPS, MAP_COLUMNS = 12, 6
STRIP = 10  # maps in a row of the static picture
LAYERS = ("features.0", "features.1", "features.2")


@dataclass(frozen=True)
class Pair:
    """The mistakes of one pair of classes: how many there are, and those of which the network was most sure."""

    truth: str
    guess: str
    count: int
    shown: diagnosis.Mistakes


def mistakes_by_pair(answers: Predictions, images: Tensor, classes: Sequence[str]) -> Exploration:
    """Return an exploration of a network's mistakes, pair by pair.

    Args:
        answers: predictions for `images`, in the same order.
        images: uint8 (N, C, H, W).
        classes: names, one for each logit.

    Raises:
        ValueError: when the lengths differ.
    """
    confusion = diagnosis.confusion_matrix(answers, classes)
    pairs = [(truth, guess) for truth, guess, _ in confusion.worst_pairs(3)]
    first = pairs[0] if pairs else (classes[0], ANY)
    if pairs and ASKED not in pairs and set(ASKED) <= set(classes):
        pairs.append(ASKED)

    def compute(truth: str, guess: str) -> Pair:
        row = confusion.matrix[list(classes).index(truth)].clone()
        row[list(classes).index(truth)] = 0
        count = int(row.sum() if guess == ANY else row[list(classes).index(guess)])
        only = None if guess == ANY else guess
        shown = diagnosis.mistakes(answers, images, classes, truth=truth, guess=only, n=ROWS * COLUMNS)
        return Pair(truth, guess, count, shown)

    names = ", ".join(f"{truth} taken for {guess}" for truth, guess in pairs) or "none"
    return Exploration(
        compute,
        draw_pair,
        {
            "truth": controls.choice("true class", list(classes), first[0]),
            "guess": controls.choice("taken for", [ANY, *classes], first[1]),
        },
        describe=counted,
        twin=Twin(
            [{"truth": truth, "guess": guess} for truth, guess in pairs] or [{}],
            draw=lambda pair, figure: draw_pair(pair, figure, rows=1),
            size=(7.6, 1.9),
            columns=1,
            title="The most confident mistakes, pair by pair",
            alt=f"A row of pictures for each of some pairs of classes ({names}), each with the network's probability "
            "for its wrong guess.",
        ),
        title="Mistakes, pair by pair",
        size=(7.6, 3.3),
    )


def counted(pair: Pair) -> str:
    """Return in words how many mistakes of this kind there are."""
    guess = "something else" if pair.guess == ANY else pair.guess
    times = "once" if pair.count == 1 else f"{pair.count} times"
    if pair.truth == pair.guess:
        return f"{pair.truth} taken for {guess} is not a mistake; choose another class."
    if not pair.count:
        return f"{pair.truth} was never taken for {guess}."
    few = pair.count <= len(pair.shown)
    return f"{pair.truth} was taken for {guess} {times}" + ("." if few else "; the most confident are shown.")


def draw_pair(pair: Pair, figure: Canvas, rows: int = ROWS) -> None:
    """Draw the pictures in a grid that keeps its shape, however few there are."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.8, "bottom": 0.01, "wspace": 0.12, "hspace": 0.3}
    axes = figure.subplots(rows, COLUMNS, squeeze=False, gridspec_kw=margins).flatten()
    for ax in axes:
        ax.axis("off")
    confidence, guesses = pair.shown.confidence.tolist(), pair.shown.guess.tolist()
    for ax, image, sure, guess in zip(axes, pair.shown.images, confidence, guesses):
        ax.imshow(image.permute(1, 2, 0).numpy(), vmin=0, vmax=255)
        name = f"{pair.shown.classes[guess]}\n" if pair.guess == ANY else ""
        ax.set_title(f"{name}{percent(sure, 0)} sure", fontsize=9, fontweight="normal", loc="center", pad=3)
    title = f"{pair.truth} taken for {pair.guess}: {pair.count}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


@dataclass(frozen=True)
class Seen:
    """A picture, uint8 (C, H, W), and what one layer answers to it."""

    image: Tensor
    name: str
    maps: diagnosis.FeatureMaps


def feature_maps(
    model: nn.Module, part: data.TensorPart, layers: Sequence[str] = LAYERS, most: int = 20
) -> Exploration:
    """Return an exploration of what each layer answers to a picture of your choice.

    Args:
        model: a trained network, on any device; its mode is put back.
        part: pictures to choose from, normalised with its own mean and standard deviation.
        layers: names as `model.named_modules()` has them; each must give a stack of maps.
        most: pictures of each class to choose from.
    """
    device = device_of(model)
    clearest = "Ankle boot" if "Ankle boot" in part.classes else part.classes[0]

    def compute(kind: str, which: int, layer: str) -> Seen:
        candidates = part.of_class(kind)
        one = candidates.select(torch.tensor([min(which, len(candidates)) - 1]))
        picture, _ = next(iter(data.batches(one, 1, device=device)))
        return Seen(one.images[0], kind, diagnosis.feature_maps(model, picture, [layer])[0])

    return Exploration(
        compute,
        draw_maps,
        {
            "kind": controls.choice("class", list(part.classes), clearest),
            "which": controls.whole_slider("picture", 1, 1, most),
            "layer": controls.choice("layer", list(layers)),
        },
        describe=told,
        twin=Twin(
            [{"layer": layer} for layer in layers],
            draw=lambda seen, figure: draw_strip(seen, figure, beside=seen.maps.layer == layers[0]),
            columns=1,
            title="One picture: outlines, then patches, then a few numbers a map",
            alt=f"Three rows of maps for a picture of class {clearest}, from the first layer to the last: outlines and "
            "shadings at first, then coarse bright and dark patches, then a few fields a map.",
            size=(7.6, 1.15),
        ),
        title="What the layers answer",
        size=(7.6, 2.9),
    )


def told(seen: Seen) -> str:
    """Return in words what the layer gives, and which of its maps are shown."""
    count = len(seen.maps.maps)
    maps = "one map" if count == 1 else f"{count} maps"
    some = f", and the {MOST_MAPS} that vary most are shown" if count > MOST_MAPS else ""
    return f"{seen.maps.layer} gives {maps} of {_size(seen.maps)} numbers; bright is a strong answer{some}."


def draw_maps(seen: Seen, figure: Canvas) -> None:
    """Draw the picture beside the layer's maps, all on one scale; the brightest half per cent is cut off."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.88, "bottom": 0.02, "wspace": 0.04, "width_ratios": (1, 3)}
    left, right = figure.subplots(1, 2, gridspec_kw=margins)
    left.imshow(seen.image.permute(1, 2, 0).numpy(), vmin=0, vmax=255)
    left.set_title(seen.name)
    _draw_sheet(seen, right, MOST_MAPS, MAP_COLUMNS)
    right.set_title(f"{seen.maps.layer}: {_shown(seen, MOST_MAPS)}")
    left.axis("off")
    right.axis("off")


def draw_strip(seen: Seen, figure: Canvas, beside: bool = True) -> None:
    """Draw a row of the layer's maps, with the picture `beside` them or its place left free."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.8, "bottom": 0.02, "wspace": 0.02, "width_ratios": (1, STRIP)}
    left, right = figure.subplots(1, 2, gridspec_kw=margins)
    if beside:
        left.imshow(seen.image.permute(1, 2, 0).numpy(), vmin=0, vmax=255)
    _draw_sheet(seen, right, STRIP, STRIP)
    right.set_title(f"{seen.maps.layer}: {_shown(seen, STRIP)}", fontsize=9)
    left.axis("off")
    right.axis("off")


def _shown(seen: Seen, most: int) -> str:
    count = len(seen.maps.maps)
    return f"the {min(most, count)} liveliest of {count} maps, each {_size(seen.maps)}"


def _draw_sheet(seen: Seen, ax: Axes, most: int, columns: int) -> None:
    """Draw the maps that vary most over their places, all on one scale."""
    maps = seen.maps.maps
    liveliest = maps.flatten(1).std(dim=1).argsort(descending=True, stable=True)[:most]
    maps = maps[liveliest.sort().values]
    high = max(maps.flatten().quantile(0.995).item(), 1e-12)
    low = min(0.0, maps.min().item())
    ax.imshow(tiled(maps, columns).numpy(), cmap=figures.SEQUENTIAL, vmin=low, vmax=high, aspect="equal")


def tiled(maps: Tensor, columns: int) -> Tensor:
    """Return maps (N, H, W) as one sheet with `columns` of them in a row; the gaps between them are NaN."""
    count, height, width = maps.shape
    gap = max(1, height // 8)
    rows = -(-count // columns)
    sheet = maps.new_full((rows * (height + gap) - gap, columns * (width + gap) - gap), torch.nan)
    for i, each in enumerate(maps):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = each
    return sheet


def _size(maps: diagnosis.FeatureMaps) -> str:
    return " × ".join(str(n) for n in maps.maps.shape[1:])
