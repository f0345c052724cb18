"""Explorations of lesson 5: classify your own picture, weights for rare classes, and where a network looks."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from course_utils import diagnosis, figures, pictures, transfer
from course_utils.base.modules import device_of, evaluating
from course_utils.pictures.files import SUFFIXES
from course_utils.transfer import Network
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin

__all__ = ["Attention", "Classified", "Unequal", "attention", "class_weights", "own_picture", "where_it_looks"]

SHOWN = 5  # guesses
UPLOADED = "the uploaded one"


# --- classify your own picture


@dataclass(frozen=True)
class Classified:
    """A picture as the network sees it, uint8 (3, H, W), and its guesses, the likeliest first.

    `network` is its name where there are several, else "". `missing` tells that the uploaded picture was asked for and
    there is none, so another one is shown.
    """

    title: str
    image: Tensor
    guesses: Sequence[transfer.Guess]
    missing: bool = False
    network: str = ""


def own_picture(networks: Mapping[str, Network], photographs: Sequence[str] = ("cat", "coffee")) -> Exploration:
    """Return an exploration that classifies a picture which the reader uploads, or one of the course's photographs.

    A file that is not a picture, is damaged or is too large is refused in one sentence.

    Args:
        networks: by the names to choose them by.
        photographs: names of the course's photographs to choose from.
    """

    def compute(network: str, picture: str, file: Any) -> Classified:
        found = pictures.uploads(file)
        if picture == UPLOADED and found:
            image, title = pictures.open_upload(found[-1]), found[-1].name
        else:
            title = photographs[0] if picture == UPLOADED else picture
            image = pictures.photograph(title)
        net = networks[network]
        missing = picture == UPLOADED and not found
        said = network if len(networks) > 1 else ""
        return Classified(title, net.preprocess.cut(image), net.predict(image, SHOWN), missing, said)

    chooser = controls.upload("Your picture", SUFFIXES)
    choice = controls.choice("picture", [*photographs, UPLOADED])
    network = controls.choice("network", list(networks))

    def arrived(change: object = None) -> None:
        if pictures.uploads(chooser.value):
            choice.value = UPLOADED

    made = Exploration(
        compute,
        draw_classified,
        {"network": network, "picture": choice, "file": chooser},
        arrangement=controls.row(*([network] if len(networks) > 1 else []), choice, chooser),
        describe=described_guesses,
        twin=Twin(
            [{"network": name, "picture": each} for name in networks for each in photographs[:2]],
            columns=2,
            title="Each network answers with one of its own classes, whatever it is shown",
            alt=f"The photographs {' and '.join(photographs[:2])}, each beside bars with the likeliest classes of "
            f"{len(networks)} network{'s' if len(networks) > 1 else ''} ({', '.join(networks)}).",
            draw=lambda result, figure: draw_classified(result, figure, alone=False),
            size=(4.4, 1.9),
        ),
        size=(7.6, 2.9),
    )
    chooser.observe(arrived, "value")
    return made


def described_guesses(result: Classified) -> str:
    """Return the two likeliest guesses in a sentence."""
    first, second = result.guesses[:2]
    missing = "Nothing is uploaded yet; meanwhile " if result.missing else ""
    return (
        f"{missing}{result.title}: most likely {first.name} ({first.probability:.0%}), then {second.name} "
        f"({second.probability:.0%})."
    )


def draw_classified(result: Classified, figure: Canvas, alone: bool = True) -> None:
    """Draw the picture beside its guesses as bars; not `alone`, as one of several, without margins of its own."""
    margins = {"left": 0.01, "right": 0.97, "top": 0.88, "bottom": 0.2, "wspace": 0.75} if alone else {}
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 1.2), **margins})
    left.imshow(result.image.permute(1, 2, 0).numpy())
    said = f"{result.network}: " if result.network else ""
    left.set_title(short(f"{said}{result.title}", 28), fontsize=10)
    left.axis("off")
    names = [short(guess.name) for guess in result.guesses][::-1]
    shares = [100 * guess.probability for guess in result.guesses][::-1]
    places = range(len(names))  # two classes may be shortened to the same name
    colours = [figures.SKY] * (len(names) - 1) + [figures.BLUE]
    bars = right.barh(places, shares, color=colours)
    right.bar_label(bars, labels=[percent(share) for share in shares], padding=3, fontsize=9)
    right.set_yticks(places, names)
    right.set(xlim=(0, 118), xlabel="probability in %")
    right.set_xticks((0, 50, 100))
    right.grid(axis="y", visible=False)


def percent(share: float) -> str:
    """Return a share of 100 in words: "<1 %" for one that rounding would make nothing."""
    return "<1 %" if share > 0 and round(share) == 0 else f"{share:.0f} %"


def short(text: str, most: int = 22) -> str:
    """Return a text that fits beside a bar."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


# --- unequal classes


@dataclass(frozen=True)
class Unequal:
    """What became of classes with unequal numbers of training pictures, under weights of several powers.

    counts: training pictures of a class, the largest first.
    accuracy: for each power, the share of right answers in classes with so many pictures, float (counts,).
    power: the chosen one; 0 is a loss without weights, 1 makes a class count the same however few its pictures are.
    """

    counts: tuple[int, ...]
    accuracy: Mapping[float, Tensor]
    power: float = 0.0

    @property
    def gains(self) -> tuple[float, float]:
        """What the chosen power changes in the rarest third of the classes, and in the commonest, in points."""
        third = max(1, len(self.counts) // 3)
        change = 100 * (self.accuracy[self.power] - self.accuracy[0.0])
        return change[-third:].mean().item(), change[:third].mean().item()


def class_weights(found: Unequal) -> Exploration:
    """Return an exploration of what class weights of several powers do to rare and to common classes.

    Args:
        found: trainings that were done before, one of them with the power 0.

    Raises:
        ValueError: when there is no training without weights, or no other one.
    """
    powers = sorted(found.accuracy)
    if len(powers) < 2 or powers[0] != 0:
        raise ValueError(f"There must be trainings with the power 0 and with others, not {powers}.")
    return Exploration(
        lambda power: replace(found, power=power),
        draw_unequal,
        {"power": controls.choice("power", [(f"{power:g}", power) for power in powers], powers[-1])},
        describe=described_unequal,
        twin=Twin(
            [{"power": power} for power in (powers[len(powers) // 2], powers[-1])],
            columns=2,
            size=(4.4, 2.9),
            title="Accuracy of rare and of common classes, without class weights and with them",
            alt="Two charts of accuracy against a class's number of training pictures, without weights and with them. "
            + " ".join(described_unequal(replace(found, power=power)) for power in powers[1:]),
        ),
        size=(6.4, 3.1),
    )


def described_unequal(found: Unequal) -> str:
    """Return in a sentence what the chosen power does."""
    mean = 100 * found.accuracy[found.power].mean().item()
    if found.power == 0:
        return f"Without weights: {mean:.1f} % right, averaged over the classes."
    rare, common = found.gains
    return (
        f"Power {found.power:g}: {mean:.1f} % right, averaged over the classes; the rarest third {rare:+.1f} points, "
        f"the commonest third {common:+.1f}."
    )


def draw_unequal(found: Unequal, figure: Canvas) -> None:
    """Draw accuracy against the number of training pictures, without weights and with those of the chosen power."""
    axes = figure.subplots(gridspec_kw={"left": 0.13, "right": 0.97, "top": 0.88, "bottom": 0.19})
    axes.plot(found.counts, 100 * found.accuracy[0.0], "o--", color=figures.GREY, label="without weights")
    if found.power:
        values = 100 * found.accuracy[found.power]
        axes.plot(found.counts, values, "s-", color=figures.BLUE, label=f"weights, power {found.power:g}")
    axes.set(xscale="log", ylim=(0, 102), xlabel="training pictures of the class", ylabel="right answers in %")
    ticks = sorted({found.counts[0], found.counts[len(found.counts) // 2], found.counts[-1]})
    axes.set_xticks(ticks, [str(count) for count in ticks])
    axes.set_xticks([], minor=True)
    rare, common = found.gains
    title = f"Rarest third {rare:+.1f} points, commonest {common:+.1f}" if found.power else "Without weights"
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower right", fontsize=9)


# --- where a network looks


@dataclass(frozen=True)
class Attention:
    """Which places of a picture speak for a class: uint8 picture (3, H, W), map float32 (h, w) from 0 to 1."""

    image: Tensor
    heat: Tensor
    name: str
    probability: float


def attention(net: Network, picture: Image.Image | Tensor, rank: int = 1, layer: str | None = None) -> Attention:
    """Return where a network sees evidence for its guess number `rank`: Grad-CAM (Selvaraju and others 2017).

    `diagnosis.grad_cam` on the network's own form of the picture (arXiv:1610.02391).

    Args:
        net: a network whose features before the head are maps at some layer.
        picture: Pillow, or uint8 (3, H, W).
        rank: 1 for the likeliest class, 2 for the next.
        layer: the name of a layer that gives maps (1, C, h, w); the last one that does when None.

    Raises:
        ValueError: when no layer gives maps, or there are fewer classes.
    """
    if not 1 <= rank <= len(net.classes):
        raise ValueError(f"The rank must be from 1 to {len(net.classes)}, not {rank}.")
    images = net.preprocess(picture)[None].to(device_of(net.model))
    with evaluating(net.model), torch.inference_mode():
        best = int(net.model(images)[0].argsort(descending=True)[rank - 1])
    found = diagnosis.grad_cam(net.model, images, layer or last_maps(net, images), best)
    return Attention(net.preprocess.cut(picture), found.heat, net.classes[best], found.probability)


def last_maps(net: Network, images: Tensor) -> str:
    """Return the name of the last layer below the head that gives maps larger than one pixel."""
    found: list[str] = []

    def note(name: str) -> Any:
        def hook(_: object, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
                found.append(name)

        return hook

    modules = [(n, m) for n, m in net.model.named_modules() if n and not n.startswith(net.head)]
    hooks = [module.register_forward_hook(note(name)) for name, module in modules if not list(module.children())]
    try:
        with evaluating(net.model), torch.inference_mode():
            net.model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError(f"No layer of {net.name} gives maps; choose a network of convolutions.")
    return found[-1]


def where_it_looks(net: Network, photographs: Sequence[str] = ("cat", "coffee", "raccoon")) -> Exploration:
    """Return an exploration of where a network sees evidence for its guesses, on the course's photographs."""
    images = {name: pictures.photograph(name) for name in photographs}
    most = min(SHOWN, len(net.classes))

    @functools.cache  # the strength changes the drawing only, and should follow the slider at once
    def looked(picture: str, rank: int) -> Attention:
        return attention(net, images[picture], rank)

    def compute(picture: str, rank: int, strength: float) -> tuple[Attention, float]:
        return looked(picture, rank), strength

    return Exploration(
        compute,
        lambda result, figure: draw_attention(*result, figure),
        {
            "picture": controls.choice("picture", list(photographs)),
            "rank": controls.whole_slider("guess number", 1, 1, most),
            "strength": controls.slider("strength", 0.8, 0.0, 1.0, 0.1, ".1f"),
        },
        describe=lambda result: (
            f"Coloured places speak for {result[0].name}, to which the network gives {result[0].probability:.1%}."
        ),
        twin=Twin(
            [{"picture": name, "rank": rank} for name in photographs for rank in (1, 2)],
            draw=lambda result, figure: draw_attention(*result, figure, alone=True),
            size=(2.6, 2.6),
            columns=2,
            title="Where the evidence for a guess lies",
            alt=f"The photographs {', '.join(photographs)} in grey, each twice, with colour, dark red to yellow, over "
            "the places that speak for the network's first guess and for its second.",
        ),
        size=(7.6, 3.6),
        photograph=True,
    )


def draw_attention(found: Attention, strength: float, figure: Canvas, alone: bool = False) -> None:
    """Draw the picture, and in grey the same with the evidence over it in colour."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.88, "bottom": 0.01, "wspace": 0.03}
    axes = figure.subplots(1, 1 if alone else 2, squeeze=False, gridspec_kw=margins)[0]
    axes[0].imshow(found.image.permute(1, 2, 0).numpy())
    size = found.image.shape[1:]
    heat = torch.nn.functional.interpolate(found.heat[None, None], size=size, mode="bilinear")[0, 0].clamp(0, 1)
    axes[-1].imshow(diagnosis.overlay(found.image, heat, strength).permute(1, 2, 0).numpy())
    none = "" if heat.max() > 0 else ": no evidence"
    axes[-1].set_title(f"{short(found.name, 26)}, {found.probability:.1%}{none}", fontsize=10)
    if not alone:
        axes[0].set_title("what the network sees", fontsize=10)
    for ax in axes:
        ax.axis("off")
