"""Explorations of lesson 4: augmentation on a photograph, momentum in a valley, where a picture speaks for a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from course_utils import data, diagnosis, figures, pictures
from course_utils.base.modules import device_of
from course_utils.base.words import percent
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin

__all__ = ["augmentation", "descent", "grad_cam", "walk"]

COPIES, COLUMNS = 12, 6  # changed copies shown at once
MOST_CROP, MOST_CUTOUT = 12, 24  # pixels, of 32


@dataclass(frozen=True)
class Copies:
    """Changed copies of one picture, uint8 (N, C, H, W), and what changed them."""

    images: Tensor
    augment: data.Augment


def augmentation(image: Tensor) -> Exploration:
    """Return an exploration of how far a picture may be changed before it is no longer what it was.

    Args:
        image: one picture, uint8 (C, H, W), of about 32 × 32 pixels.

    Raises:
        TypeError: when it is not one image of that dtype and shape.
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or len(image) not in (1, 3):
        raise TypeError(
            f"augmentation needs one image, uint8 (C, H, W), not {str(image.dtype)[6:]} {tuple(image.shape)}."
        )
    grey = image.float().mean(dim=(1, 2)).round().to(torch.uint8).view(-1, 1, 1)

    def compute(crop: int, flip: bool, cutout: int, draw: int) -> Copies:
        augment = data.Augment(crop=crop, flip=flip, cutout=cutout)
        generator = torch.Generator().manual_seed(draw)
        return Copies(augment(image.repeat(COPIES, 1, 1, 1), generator, fill=grey), augment)

    return Exploration(
        compute,
        draw_copies,
        {
            "crop": controls.whole_slider("crop", 4, 0, MOST_CROP),
            "flip": controls.tick("flip", value=True),
            "cutout": controls.whole_slider("cutout", 0, 0, MOST_CUTOUT),
            "draw": controls.whole_slider("draw number", 0, 0, 20),
        },
        describe=described,
        twin=Twin(
            {
                "crop 4": {"crop": 4, "flip": False},
                "flip": {"crop": 0, "flip": True},
                "cutout 8": {"crop": 0, "flip": False, "cutout": 8},
                "crop 4, flip, cutout 8": {"crop": 4, "flip": True, "cutout": 8},
                "crop 12, flip, cutout 24: too much": {"crop": 12, "flip": True, "cutout": 24},
            },
            draw=lambda copies, figure: draw_copies(copies, figure, rows=1),
            size=(7.6, 1.6),
            columns=1,
            title="Small changes keep the class; large ones hide it",
            alt="Five rows of six changed copies of one picture: shifted, mirrored, with a square painted over, all "
            "three together, and all three so strongly that hardly anything of it is left.",
        ),
        title="Augmentation",
        size=(7.6, 2.75),
        photograph=True,
    )


def described(copies: Copies) -> str:
    """Return in words what was done to the picture."""
    augment = copies.augment
    done = [f"shifted by up to {_pixels(augment.crop)}"] if augment.crop else []
    done += ["mirrored in half of the cases"] if augment.flip else []
    done += [f"a square of {_pixels(augment.cutout)} painted over"] if augment.cutout else []
    return f"{COPIES} copies: {', '.join(done)}." if done else f"{COPIES} copies, all unchanged."


def _pixels(count: int) -> str:
    return f"{count} pixel{'s' * (count != 1)}"


def draw_copies(copies: Copies, figure: Canvas, rows: int = COPIES // COLUMNS) -> None:
    """Draw the first rows of copies."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.98 if rows > 1 else 0.86, "bottom": 0.02}
    axes = figure.subplots(rows, COLUMNS, squeeze=False, gridspec_kw={**margins, "wspace": 0.06, "hspace": 0.06})
    for ax, image in zip(axes.flatten(), copies.images):
        ax.imshow(image.permute(1, 2, 0).numpy(), vmin=0, vmax=255, cmap="gray")
        ax.axis("off")


@dataclass(frozen=True)
class Asked:
    """One picture, uint8 (C, H, W), and where it speaks for a class."""

    image: Tensor
    name: str
    cam: diagnosis.GradCam


def grad_cam(
    model: nn.Module,
    image: Tensor,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    layers: Sequence[str] = ("stages.0", "stages.1"),
    *,
    shareable: bool = True,
) -> Exploration:
    """Return an exploration of where a picture speaks for each class, as a layer sees it.

    Args:
        model: a trained network, on any device; its mode is put back.
        image: one picture, uint8 (C, H, W).
        classes: names, one for each logit.
        mean, std: of each channel, as the network's training pictures were normalised.
        layers: names of layers that give maps.
        shareable: see `figures.show`.
    """
    picture = pictures.normalise(pictures.to_float(image), mean, std)[None].to(device_of(model))

    def compute(kind: str, layer: str) -> Asked:
        return Asked(image, kind, diagnosis.grad_cam(model, picture, layer, list(classes).index(kind)))

    first = diagnosis.grad_cam(model, picture, layers[-1])
    guess = classes[first.target]
    other = next(name for name in classes if name != guess)
    return Exploration(
        compute,
        draw_asked,
        {
            "kind": controls.choice("class", list(classes), guess),
            "layer": controls.choice("layer", list(layers), layers[-1]),
        },
        describe=told,
        twin=Twin(
            [{"kind": kind, "layer": layer} for kind in (guess, other) for layer in layers],
            title="Each class and each layer look elsewhere",
            alt=f"A photograph in grey under the heat of Grad-CAM, for the classes {guess} and {other} and for "
            f"{len(layers)} layers: from dark red to yellow where it speaks for the class, grey where nothing does.",
            draw=draw_heat,
            columns=2 * len(layers),
            size=(7.6 / (2 * len(layers)), 0.25 + 7.6 / (2 * len(layers))),
        ),
        title="Where the network looks: Grad-CAM",
        size=(6.0, 3.0),
        photograph=True,
        shareable=shareable,
    )


def told(asked: Asked) -> str:
    """Return in words how probable the class is, and what the layer's fields say of it."""
    rows, columns = asked.cam.heat.shape
    speaking = "bright ones speak" if asked.cam.heat.max() > 0 else "none of them speaks"
    return (
        f"The network gives {asked.name} a probability of {percent(asked.cam.probability)}. {asked.cam.layer} has "
        f"{rows} × {columns} fields; {speaking} for {asked.name}."
    )


def draw_asked(asked: Asked, figure: Canvas) -> None:
    """Draw the picture, and beside it what speaks for the class."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.88, "bottom": 0.02, "wspace": 0.05}
    left, right = figure.subplots(1, 2, gridspec_kw=margins)
    left.imshow(asked.image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=255)
    left.axis("off")
    left.set_title("the picture", fontsize=9)
    _draw_heat(asked, right)


def draw_heat(asked: Asked, figure: Canvas) -> None:
    """Draw what speaks for the class, without the picture beside it."""
    _draw_heat(asked, figure.subplots(gridspec_kw={"left": 0.02, "right": 0.98, "top": 0.88, "bottom": 0.02}))


def _draw_heat(asked: Asked, ax: Axes) -> None:
    asked.cam.plot(asked.image, ax=ax)
    ax.set_title(f"{asked.name}, {asked.cam.layer}", fontsize=9)


START, STEEP, WALKED = (4.0, 1.0), 40.0, 40  # of the valley ½ (x² + 40 y²): where walks begin, how long they are


@dataclass(frozen=True)
class Walk:
    """Forty steps in a valley at one rate and momentum; float32 (41, 2), the start first."""

    rate: float
    momentum: float
    points: Tensor

    @property
    def height(self) -> float:
        """How high above the bottom the last point is."""
        x, y = self.points[-1].tolist()
        return 0.5 * (x * x + STEEP * y * y)


def walk(rate: float, momentum: float, steps: int = WALKED) -> Tensor:
    """Return the points of SGD with momentum in the valley ½ (x² + 40 y²), the start first, float32 (steps + 1, 2)."""
    point = torch.tensor(START)
    velocity, points = torch.zeros(2), [point]
    for _ in range(steps):
        velocity = momentum * velocity + point * torch.tensor([1.0, STEEP])
        point = point - rate * velocity
        points.append(point)
    return torch.stack(points)


def descent() -> Exploration:
    """Return an exploration of how rate and momentum move a point down a long valley."""

    def compute(rate: float, momentum: float) -> Walk:
        return Walk(rate, momentum, walk(rate, momentum))

    return Exploration(
        compute,
        draw_walk,
        {
            "rate": controls.log_slider("learning rate", 0.02, -3, -1),
            "momentum": controls.slider("momentum", 0.0, 0.0, 0.98, 0.02),
        },
        describe=lambda walked: (
            f"{WALKED} steps at a rate of {walked.rate:.2g} with momentum {walked.momentum:.2g} "
            + ("leave the valley." if outside(walked) else f"end {walked.height:.2g} above the bottom.")
        ),
        twin=Twin(
            {
                "rate 0.02, no momentum": {"momentum": 0.0},
                "rate 0.02, momentum 0.8": {"momentum": 0.8},
                "rate 0.02, momentum 0.98": {"momentum": 0.98},
                "rate 0.06, no momentum": {"rate": 0.06, "momentum": 0.0},
            },
            title="Momentum goes along the valley; too much of it overshoots (×: the bottom)",
            alt="Four walks down a long valley, drawn over its contour lines. Without momentum small steps creep along "
            "the floor; with 0.8 the walk reaches the middle; with 0.98 it swings far past it; at a rate of 0.06 it "
            "jumps from side to side and leaves the valley.",
            size=(4.2, 2.1),
        ),
        title="Down a long valley",
        size=(6.9, 3.0),
    )


def outside(walked: Walk) -> bool:
    """Tell whether a walk ended higher than it began."""
    x, y = START
    return not walked.height <= 0.5 * (x * x + STEEP * y * y)


def draw_walk(walked: Walk, figure: Canvas) -> None:
    """Draw the contour lines of the valley and the walk over them."""
    ax = figure.subplots(1, 1, gridspec_kw={"left": 0.1, "right": 0.98, "top": 0.86, "bottom": 0.2})
    x, y = torch.linspace(-5, 5, 121), torch.linspace(-1.6, 1.6, 81)
    height = 0.5 * (x[None] ** 2 + STEEP * y[:, None] ** 2)  # (81, 121)
    ax.contour(x.numpy(), y.numpy(), height.sqrt().numpy(), levels=9, colors=figures.PALE, linewidths=0.8)
    ax.plot(*walked.points.T.numpy(), "-o", color=figures.BLUE, markersize=2.5, linewidth=1)
    ax.plot(0, 0, "x", color=figures.RED, markersize=7)
    ax.set(xlim=(-5, 5), ylim=(-1.6, 1.6), yticks=(-1, 0, 1), xlabel="along the valley", ylabel="across")
    ax.grid(visible=False)
