"""Explorations of appendix B: where to draw the line for bad pictures, and answers looked at one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from course_utils import figures
from course_utils.base.words import part, sure
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin

__all__ = ["Answered", "Sorted", "one_by_one", "sorting_out"]

SHOWN = 6  # pictures of those that are thrown out
BARS = 5  # classes


# --- where to draw the line


@dataclass(frozen=True)
class Sorted:
    """Which pictures two limits throw out: brightness and sharpness of all, the limits, and the numbers thrown out."""

    brightness: Tensor
    sharpness: Tensor
    limits: tuple[float, float]
    out: tuple[int, ...]


def sorting_out(
    images: Sequence[Image.Image], brightness: Tensor, sharpness: Tensor, *, shareable: bool = True
) -> Exploration:
    """Return an exploration of two limits: pictures that are darker or more blurred are thrown out.

    Args:
        images: small pictures.
        brightness: the mean of each, from 0 to 255, float (N,).
        sharpness: of each, above 0, float (N,).
        shareable: see `figures.show`.

    Raises:
        ValueError: when there is not one brightness and one sharpness for each picture.
    """
    if not len(images) == len(brightness) == len(sharpness):
        counts = f"{len(images)}, {len(brightness)} and {len(sharpness)}"
        raise ValueError(f"sorting_out needs as many brightnesses and sharpnesses as pictures, not {counts}.")
    sharpness = sharpness.clamp(min=1e-3)

    def compute(darkest: float, softest: float) -> Sorted:
        out = ((brightness < darkest) | (sharpness < softest)).nonzero().flatten().tolist()
        return Sorted(brightness, sharpness, (darkest, softest), tuple(out))

    def draw(result: Sorted, figure: Canvas) -> None:
        draw_sorted(result, images, figure)

    return Exploration(
        compute,
        draw,
        {
            "darkest": controls.slider("min. brightness", 40, 0, 200, 5, ".0f"),
            "softest": controls.log_slider("min. sharpness", 30, 0, 4, ".0f"),
        },
        describe=lambda result: (
            f"{len(result.out)} of {len(brightness)} picture{'s' * (len(brightness) != 1)} "
            f"{'is' if len(result.out) == 1 else 'are'} darker than {result.limits[0]:.0f} or less sharp "
            f"than {result.limits[1]:.0f}."
        ),
        twin=Twin(
            {
                "brightness at least 40, sharpness at least 30": {},
                "brightness at least 100, sharpness at least 30": {"darkest": 100},
                "brightness at least 40, sharpness at least 300": {"softest": 10**2.5},
            },
            columns=1,
            title="Strict limits throw out good pictures",
            alt="Three times the same dots, one for each picture, sharpness against brightness, with two limits, and "
            "beside them some of the pictures beyond: with low limits the dark and the blurred one only, with high "
            "ones good pictures too.",
            size=(7.6, 2.4),
        ),
        title="Sorting out",
        size=(7.6, 3.0),
        photograph=True,
        shareable=shareable,
    )


def draw_sorted(result: Sorted, images: Sequence[Image.Image], figure: Canvas) -> None:
    """Draw a dot for each picture, the limits, and the first few pictures that are thrown out."""
    places = {"left": 0.1, "right": 0.98, "top": 0.86, "bottom": 0.2, "wspace": 0.08, "hspace": 0.08}
    places["width_ratios"] = [6.5, 0.3, 1, 1, 1]
    cells = figure.add_gridspec(2, 5, **places)
    axes = figure.add_subplot(cells[:, 0])
    out = torch.zeros(len(result.brightness), dtype=torch.bool)
    out[list(result.out)] = True
    for chosen, colour, label in ((~out, figures.BLUE, "kept"), (out, figures.RED, "thrown out")):
        marker = "o" if label == "kept" else "x"
        axes.scatter(result.brightness[chosen], result.sharpness[chosen], s=18, c=colour, marker=marker, label=label)
    axes.axvline(result.limits[0], color=figures.GREY, linestyle=":")
    axes.axhline(result.limits[1], color=figures.GREY, linestyle=":")
    axes.set(yscale="log", xlim=(0, 255), xlabel="brightness, 0 to 255", ylabel="sharpness")
    axes.set_title(f"{len(result.out)} of {len(out)} thrown out", fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    for k in range(SHOWN):
        place = figure.add_subplot(cells[k // 3, 2 + k % 3])
        place.axis("off")
        if k < len(result.out):
            place.imshow(images[result.out[k]], cmap="gray", vmin=0, vmax=255)


# --- answers, one by one


@dataclass(frozen=True)
class Answered:
    """One picture and what was said of it, the likeliest class first: (class, probability, whether it is the truth)."""

    image: Image.Image
    truth: str
    bars: tuple[tuple[str, float, bool], ...]
    place: str

    @property
    def right(self) -> bool:
        """Whether the likeliest class is the truth."""
        return self.bars[0][2]


NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six")
ORDERS = ("wrong and sure first", "least sure first", "right and sure first")


def one_by_one(
    images: Sequence[Image.Image],
    probabilities: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    *,
    shareable: bool = True,
) -> Exploration:
    """Return an exploration of a classifier's answers, a picture at a time, in an order to choose.

    Args:
        images: small pictures.
        probabilities: float (N, classes).
        labels: int64 (N,).
        classes: their names, two or more.
        shareable: see `figures.show`.

    Raises:
        ValueError: when the numbers of pictures, labels and classes do not fit, or rows do not add up to 1.
    """
    count, asked = probabilities.shape
    if not (0 < count == len(images) == len(labels) and 2 <= asked <= len(classes)):
        raise ValueError(
            f"one_by_one needs a label and two or more probabilities for each picture, and a name for each class, not "
            f"{len(labels)} labels and probabilities {(count, asked)} for {len(images)} pictures, {len(classes)} names."
        )
    if not (probabilities.min() >= 0 and bool(((probabilities.sum(dim=1) - 1).abs() < 0.01).all())):  # nor NaN
        raise ValueError("Probabilities are at least 0 and add up to 1 for each picture; give logits.softmax(dim=1).")
    best, guesses = probabilities.max(dim=1)
    right = guesses == labels
    two = probabilities.topk(2, dim=1).values
    orders = {  # a wrong one before a right one, and the surest of each first
        ORDERS[0]: (best - 2 * right).argsort(descending=True, stable=True),
        ORDERS[1]: (two[:, 0] - two[:, 1]).argsort(stable=True),
        ORDERS[2]: (best + 2 * right).argsort(descending=True, stable=True),
    }
    most = min(40, len(images))
    title, alt, seen = _two_of_each(int((~right).sum()), int(right.sum()))

    def compute(order: str, number: int) -> Answered:
        index = int(orders[order][number - 1])
        chances = probabilities[index]
        bars = [
            (classes[k], chances[k].item(), k == int(labels[index]))
            for k in chances.argsort(descending=True)[:BARS].tolist()
        ]
        return Answered(images[index], classes[int(labels[index])], tuple(bars), f"{number} of {len(images)}, {order}")

    return Exploration(
        compute,
        draw_answered,
        {
            "order": controls.choice("order", list(ORDERS)),
            "number": controls.whole_slider("picture", 1, 1, most),
        },
        describe=lambda found: (
            f"{'Right' if found.right else 'Wrong'}: a picture of {found.truth} is called {found.bars[0][0]}, "
            f"{sure(found.bars[0][1])} sure."
        ),
        twin=Twin(
            seen,
            columns=2,
            title=title,
            alt=alt,
            draw=lambda found, figure: draw_answered(found, figure, alone=False),
            size=(3.9, 1.75),
        ),
        title="Answers, one by one",
        size=(7.6, 2.8),
        photograph=True,
        shareable=shareable,
    )


def _two_of_each(wrong: int, right: int) -> tuple[str, str, list[dict[str, object]]]:
    """Return title, alternative text and settings of the static picture: two of each order, or what there is."""
    said = {  # for one and for two pictures
        ORDERS[0]: ("wrong and sure", "the surest wrong answer", "the two surest wrong answers", wrong),
        ORDERS[1]: ("unsure", "the least sure", "the two least sure", wrong + right),
        ORDERS[2]: ("right and sure", "the surest right one", "the two surest right ones", right),
    }
    titles, words, seen = [], [], []
    for order, (name, one, two, count) in said.items():
        if count:
            titles.append(f"{'one' if count == 1 else 'two'} {name}")
            words.append(one if count == 1 else two)
            seen += [{"order": order, "number": number} for number in range(1, min(2, count) + 1)]
    title = ", ".join(titles)
    twice = ", some of them twice," if len(seen) > wrong + right else ""
    alt = f"{NUMBERS[len(seen)]} pictures{twice} beside bars"
    alt += f" with the shares of the classes: {', '.join(words)}; the true class is green."
    return f"{title[:1].upper()}{title[1:]} (green: the truth)", alt, seen


def draw_answered(found: Answered, figure: Canvas, alone: bool = True) -> None:
    """Draw the picture beside its bars, the true class green; not `alone`, as one of several, without margins."""
    margins = {"left": 0.02, "right": 0.96, "top": 0.86, "bottom": 0.2, "wspace": 0.6} if alone else {}
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 1.3), **margins})
    left.imshow(found.image, cmap="gray", vmin=0, vmax=255)
    left.axis("off")
    left.set_anchor("N")  # its title stands above the names beside it, whatever the picture's shape
    left.set_title(f"{'right' if found.right else 'wrong'}, truth: {found.truth}"[:32], fontsize=9.5)
    bars = found.bars[::-1]
    places = range(len(bars))
    colours = [figures.GREEN if true else figures.SKY for _, _, true in bars]
    drawn = right.barh(places, [100 * share for _, share, _ in bars], color=colours)
    right.bar_label(drawn, labels=[part(share) for _, share, _ in bars], padding=3, fontsize=8.5)
    right.set_yticks(places, [name if len(name) < 20 else f"{name[:19]}…" for name, _, _ in bars])
    right.set(xlim=(0, 125), xticks=(0, 50, 100))
    right.set_xlabel("share in %; the true class is green" if alone else "share in %", fontsize=9 if alone else 8)
    right.grid(axis="y", visible=False)
