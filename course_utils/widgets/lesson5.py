"""Explorations of lesson 5: classify your own picture, rare classes, and where a network looks."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from course_utils import diagnosis, figures, pictures, transfer
from course_utils.base.modules import device_of, evaluating
from course_utils.base.words import few, part, short, signed, sure
from course_utils.pictures.files import SUFFIXES
from course_utils.transfer import Network
from course_utils.transfer.backbones import require_network
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin

__all__ = ["Attention", "Classified", "Unequal", "attention", "own_picture", "unequal_classes", "where_it_looks"]

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
        photographs: names of the course's photographs to choose from, or one name.

    Raises:
        TypeError: when one of the networks is a model without what `transfer.backbone` returns around it.
    """
    for net in networks.values():
        require_network(net, "own_picture")
    photographs = (photographs,) if isinstance(photographs, str) else photographs

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
        arrangement=controls.stack(
            controls.grid(*([network] if len(networks) > 1 else []), choice), controls.row(chooser)
        ),
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
        title="A picture of your own",
        size=(7.6, 2.9),
    )
    chooser.observe(arrived, "value")
    return made


def described_guesses(result: Classified) -> str:
    """Return the two likeliest guesses in a sentence."""
    first, second = result.guesses[:2]
    missing = "Nothing is uploaded yet; meanwhile " if result.missing else ""
    return (
        f"{missing}{result.title}: most likely {first.name} ({sure(first.probability)}), "
        f"then {second.name} ({sure(second.probability)})."
    )


def draw_classified(result: Classified, figure: Canvas, alone: bool = True) -> None:
    """Draw the picture beside its guesses as bars; not `alone`, as one of several, without margins of its own."""
    margins = {"left": 0.01, "right": 0.97, "top": 0.88, "bottom": 0.2, "wspace": 0.75} if alone else {}
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 1.2), **margins})
    left.imshow(result.image.permute(1, 2, 0).numpy())
    said = f"{result.network}: " if result.network else ""
    left.set_title(short(f"{said}{result.title}", 28), fontsize=10)
    left.axis("off")
    names = [short(guess.name, 22) for guess in result.guesses][::-1]
    shares = [100 * guess.probability for guess in result.guesses][::-1]
    places = range(len(names))  # two classes may be shortened to the same name
    colours = [figures.SKY] * (len(names) - 1) + [figures.BLUE]
    bars = right.barh(places, shares, color=colours)
    right.bar_label(bars, labels=[part(share / 100) for share in shares], padding=3, fontsize=9)
    right.set_yticks(places, names)
    right.set(xlim=(0, 118), xlabel="probability in %")
    right.set_xticks((0, 50, 100))
    right.grid(axis="y", visible=False)


# --- unequal classes


@dataclass(frozen=True)
class Unequal:
    """What became of classes with unequal numbers of training pictures, with several remedies.

    counts: training pictures of a class, the largest first.
    accuracy: for each remedy the share of right answers in classes with so many pictures, float (counts,); the first
        is that of nothing done.
    remedy: the chosen one.
    """

    counts: tuple[int, ...]
    accuracy: Mapping[str, Tensor]
    remedy: str

    @property
    def nothing(self) -> str:
        """The name of nothing done."""
        return next(iter(self.accuracy))

    @property
    def gains(self) -> tuple[float, float]:
        """What the remedy changes in the rarest third of the classes, and in the commonest, in points."""
        third = max(1, len(self.counts) // 3)
        change = 100 * (self.accuracy[self.remedy] - self.accuracy[self.nothing])
        return change[-third:].mean().item(), change[:third].mean().item()


def unequal_classes(counts: Sequence[int], accuracy: Mapping[str, Tensor]) -> Exploration:
    """Return an exploration of what remedies do to rare and to common classes.

    Args:
        counts, accuracy: see `Unequal`.

    Raises:
        ValueError: when there are fewer than two trainings, other than one accuracy for each count, or counts that do
            not come largest first.
    """
    if len(accuracy) < 2 or any(len(values) != len(counts) for values in accuracy.values()):
        raise ValueError(f"There must be two trainings or more, each with {len(counts)} accuracies.")
    if list(counts) != sorted(counts, reverse=True):
        raise ValueError(
            f"The counts must come largest first, not as {few(map(str, counts))}; sort the classes by them."
        )
    remedies = list(accuracy)
    every = [Unequal(tuple(counts), accuracy, remedy) for remedy in remedies]
    return Exploration(
        lambda remedy: every[remedies.index(remedy)],
        draw_unequal,
        {"remedy": controls.choice("remedy", remedies, remedies[-1])},
        describe=described_unequal,
        twin=Twin(
            [{"remedy": remedy} for remedy in remedies[1:]],
            columns=2,
            size=(4.4, 2.9),
            title="Accuracy of rare and of common classes, with nothing done and with a remedy",
            alt="Charts of accuracy against a class's number of training pictures, one for each remedy. "
            + " ".join(map(described_unequal, every)),
        ),
        title="Rare and common classes",
        size=(6.4, 3.1),
    )


def described_unequal(found: Unequal) -> str:
    """Return in a sentence what the chosen remedy does."""
    mean = 100 * found.accuracy[found.remedy].mean().item()
    if found.remedy == found.nothing:
        return f"{found.remedy.capitalize()}: {mean:.1f} % right, averaged over the classes."
    rare, common = found.gains
    rarest, commonest = signed(rare, "+.1f"), signed(common, "+.1f")
    return (
        f"{found.remedy.capitalize()}: {mean:.1f} % right, averaged over the classes; the rarest third {rarest} "
        f"points, the commonest third {commonest}."
    )


def draw_unequal(found: Unequal, figure: Canvas) -> None:
    """Draw accuracy against the number of training pictures, with nothing done and with the chosen remedy."""
    axes = figure.subplots(gridspec_kw={"left": 0.13, "right": 0.97, "top": 0.88, "bottom": 0.19})
    plain = 100 * found.accuracy[found.nothing]
    axes.plot(found.counts, plain, "o--", color=figures.GREY, label=found.nothing)
    if found.remedy != found.nothing:
        axes.plot(found.counts, 100 * found.accuracy[found.remedy], "s-", color=figures.BLUE, label=found.remedy)
    axes.set(xscale="log", ylim=(0, 102), xlabel="training pictures of the class", ylabel="right answers in %")
    ticks = sorted({found.counts[0], found.counts[len(found.counts) // 2], found.counts[-1]})
    axes.set_xticks(ticks, [str(count) for count in ticks])
    axes.set_xticks([], minor=True)
    rare, common = found.gains
    changed = found.remedy != found.nothing
    gained = f"Rarest third {signed(rare, '+.1f')} points, commonest {signed(common, '+.1f')}"
    axes.set_title(gained if changed else "", fontsize=10)
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


def last_maps(net: Network, images: Tensor, least: int = 5) -> str:
    """Return the name of the last layer below the head that gives maps of at least `least` × `least` places.

    Where no layer does, of the last one that gives maps larger than one place. Small pictures leave few places to the
    last layers, and a map of 3 × 3 shows hardly where anything is.
    """
    found: dict[str, int] = {}

    def note(name: str) -> Any:
        def hook(_: object, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
                found[name] = min(output.shape[2:])

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
    large = [name for name, side in found.items() if side >= least]
    return (large or list(found))[-1]


def where_it_looks(net: Network, photographs: Sequence[str] = ("cat", "coffee", "raccoon")) -> Exploration:
    """Return an exploration of where a network sees evidence for its guesses, on the course's photographs."""
    require_network(net, "where_it_looks")
    photographs = (photographs,) if isinstance(photographs, str) else photographs
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
        describe=lambda result: described_attention(*result),
        twin=Twin(
            [{"picture": name, "rank": rank} for name in photographs for rank in (1, 2)],
            draw=lambda result, figure: draw_attention(*result, figure, alone=True),
            size=(2.6, 2.6),
            columns=2,
            title="Where the evidence for a guess lies",
            alt=f"The photographs {', '.join(photographs)} in grey, each twice, with colour, dark red to yellow, over "
            "the places that speak for the network's first guess and for its second.",
        ),
        title="Where the network looks",
        size=(7.6, 3.6),
        photograph=True,
    )


def described_attention(found: Attention, strength: float) -> str:
    """Return in a sentence what the colours say."""
    given = f"to which the network gives {figures.percent(found.probability)}"
    if not found.heat.max() > 0:
        return f"No place speaks for {found.name}, {given}."
    if strength == 0:
        return f"At strength 0 no colour shows the places that speak for {found.name}, {given}."
    return f"Coloured places speak for {found.name}, {given}."


def draw_attention(found: Attention, strength: float, figure: Canvas, alone: bool = False) -> None:
    """Draw the picture, and in grey the same with the evidence over it in colour."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.88, "bottom": 0.01, "wspace": 0.03}
    axes = figure.subplots(1, 1 if alone else 2, squeeze=False, gridspec_kw=margins)[0]
    axes[0].imshow(found.image.permute(1, 2, 0).numpy())
    size = found.image.shape[1:]
    heat = torch.nn.functional.interpolate(found.heat[None, None], size=size, mode="bilinear")[0, 0].clamp(0, 1)
    axes[-1].imshow(diagnosis.overlay(found.image, heat, strength).permute(1, 2, 0).numpy())
    none = "" if heat.max() > 0 else ": no evidence"
    axes[-1].set_title(f"{short(found.name, 26)}, {figures.percent(found.probability)}{none}", fontsize=10)
    if not alone:
        axes[0].set_title("what the network sees", fontsize=10)
    for ax in axes:
        ax.axis("off")
