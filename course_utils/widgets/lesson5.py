"""Explorations of lesson 5: classify your own picture, how many layers should learn, and where a network looks."""

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
from course_utils.pictures.files import SUFFIXES
from course_utils.transfer import Network
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin

__all__ = ["Attention", "Classified", "Trial", "attention", "layers_that_learn", "own_picture", "where_it_looks"]

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


# --- how many layers should learn


@dataclass(frozen=True)
class Trial:
    """What came of letting some layers learn: names, parameters that learn, accuracies of each seed, seconds each."""

    name: str
    learning: int
    training: tuple[float, ...]
    final: tuple[float, ...]
    seconds: float

    @property
    def mean(self) -> float:
        """The mean accuracy on pictures that took no part."""
        return sum(self.final) / len(self.final)


@dataclass(frozen=True)
class Chosen:
    """All trials, the number of the chosen one, and what is drawn of them."""

    trials: Sequence[Trial]
    number: int
    measure: str

    @property
    def trial(self) -> Trial:
        """The chosen one."""
        return self.trials[self.number]


MEASURES = ("accuracy", "parameters that learn", "seconds")


def layers_that_learn(trials: Sequence[Trial]) -> Exploration:
    """Return an exploration of trainings that were done before: from which layer on the network learned.

    Args:
        trials: at least two, from the head alone to all layers.

    Raises:
        ValueError: when there are fewer.
    """
    if len(trials) < 2:
        raise ValueError(f"There must be at least two trainings to compare, not {len(trials)}.")
    trials = list(trials)
    best = max(trials, key=lambda trial: trial.mean)
    return Exploration(
        lambda number, measure: Chosen(trials, number - 1, measure),
        draw_trials,
        {
            "number": controls.whole_slider("training", 1, 1, len(trials)),
            "measure": controls.choice("show", list(MEASURES)),
        },
        describe=described_trial,
        twin=Twin(
            [{"number": trials.index(best) + 1, "measure": measure} for measure in MEASURES],
            columns=1,
            size=(7.6, 2.3),
            title=leader(trials, best),
            alt="Three bar charts over the same trainings: "
            + ", ".join(f"{trial.name} ({trial.mean:.0%} right)" for trial in trials)
            + ": accuracy with a dot for each seed, parameters that learn, and seconds.",
        ),
        size=(7.6, 2.9),
    )


def leader(trials: Sequence[Trial], best: Trial) -> str:
    """Return in words which training came out highest, and by how little."""
    second = max((trial for trial in trials if trial is not best), key=lambda trial: trial.mean)
    lead = 100 * (best.mean - second.mean)
    ahead = f"by {lead:.1f} points" if lead >= 0.05 else f"as high as {second.name}"
    return f"Highest here: {best.name}, {best.mean:.1%}, {ahead}"


def described_trial(chosen: Chosen) -> str:
    """Return the chosen training in a sentence."""
    trial = chosen.trial
    seeds = f"{len(trial.final)} seeds" if len(trial.final) > 1 else "1 seed"
    fit = sum(trial.training) / len(trial.training)
    return (
        f"{trial.name}: {trial.learning:,} parameters learn; {fit:.1%} of the training pictures right, "
        f"{trial.mean:.1%} of the others ({seeds}), {trial.seconds:.1f} seconds each."
    )


def draw_trials(chosen: Chosen, figure: Canvas) -> None:
    """Draw one bar a training, the chosen one dark; accuracies with a dot for each seed."""
    axes = figure.subplots(gridspec_kw={"left": 0.26, "right": 0.97, "top": 0.88, "bottom": 0.2})
    trials, measure = chosen.trials, chosen.measure
    places = list(range(len(trials)))[::-1]
    values = {
        "accuracy": [100 * trial.mean for trial in trials],
        "parameters that learn": [trial.learning for trial in trials],
        "seconds": [trial.seconds for trial in trials],
    }[measure]
    colours = [figures.BLUE if i == chosen.number else figures.SKY for i in range(len(trials))]
    axes.barh(places, values, color=colours)
    form, unit = {
        "accuracy": ("{:.1f} %", "right"),
        "parameters that learn": ("{:,.0f}", "parameters learn"),
        "seconds": ("{:.1f}", "seconds for one training"),
    }[measure]
    for place, value, trial in zip(places, values, trials):
        end = max(value, 100 * max(trial.final)) if measure == "accuracy" else value  # behind the last dot
        shift = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
        axes.annotate(form.format(value), (end, place), **shift)
    if measure == "accuracy":
        for place, trial in zip(places, trials):
            axes.plot([100 * each for each in trial.final], [place] * len(trial.final), ".", color=figures.INK)
        axes.set(xlim=(0, 118), xlabel="right answers in %, pictures that took no part; a dot for each seed")
    elif measure == "seconds":
        axes.set(xlim=(0, 1.2 * max(values)), xlabel="seconds of one training")
    else:
        axes.set(xscale="log", xlim=(min(values) / 3, 30 * max(values)), xlabel="parameters that learn")
    axes.set_yticks(places, [short(trial.name, 26) for trial in trials])
    axes.grid(axis="y", visible=False)
    axes.set_title(f"{chosen.trial.name}: {form.format(values[chosen.number])} {unit}")


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
            f"Bright places speak for {result[0].name}, to which the network gives {result[0].probability:.1%}."
        ),
        twin=Twin(
            [{"picture": name, "rank": rank} for name in photographs for rank in (1, 2)],
            draw=lambda result, figure: draw_attention(*result, figure, alone=True),
            size=(2.6, 2.6),
            columns=2,
            title="Where the evidence for a guess lies",
            alt=f"The photographs {', '.join(photographs)}, each twice, dark but for the places that speak for the "
            "network's first guess and for its second; a line surrounds the strongest.",
        ),
        size=(7.6, 3.6),
        photograph=True,
    )


def draw_attention(found: Attention, strength: float, figure: Canvas, alone: bool = False) -> None:
    """Draw the picture, and the same, dark where nothing speaks for the answer."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.88, "bottom": 0.01, "wspace": 0.03}
    axes = figure.subplots(1, 1 if alone else 2, squeeze=False, gridspec_kw=margins)[0]
    image = found.image.permute(1, 2, 0).numpy()
    size = image.shape[:2]
    heat = torch.nn.functional.interpolate(found.heat[None, None], size=size, mode="bilinear")[0, 0]
    for ax in axes:
        ax.imshow(image)
        ax.axis("off")
    light = 1 - strength + strength * heat.clamp(0, 1)  # what does not speak for the answer becomes dark
    axes[-1].imshow((image * light[..., None].numpy()).astype("uint8"))
    if strength > 0 and heat.max() > 0:
        axes[-1].contour(heat.numpy(), levels=[0.5], colors=figures.ORANGE, linewidths=1.5)  # as in lesson 4
    axes[-1].set_title(f"{short(found.name, 26)}, {found.probability:.1%}", fontsize=10)
    if not alone:
        axes[0].set_title("what the network sees", fontsize=10)
