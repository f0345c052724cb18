"""Explorations of lesson 1: a channel mixer, and a walk down a parabola one step at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from course_utils import figures, pictures
from course_utils.base.words import part, signed
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin

SMALL = 2  # a photograph of half the width and height is large enough for two side by side
GAINS = ("red", "green", "blue")
# What the lesson asks for, by what stands above each in the static picture.
MIXTURES: dict[str, dict[str, float]] = {
    "as it is": {},
    "grey saucer: 0.15, 0.85, 3, + 0.25": {"red": 0.15, "green": 0.85, "blue": 3.0, "brightness": 0.25},
    "colder": {"red": 0.7, "blue": 1.5},
    "no red, brightness + 0.25": {"red": 0.0, "brightness": 0.25},
    "brightness − 0.5": {"brightness": -0.5},
    "brightness − 0.5, gains of 3": {"red": 3.0, "green": 3.0, "blue": 3.0, "brightness": -0.5},
}


@dataclass(frozen=True)
class Mixture:
    """A photograph before and after mixing, float32 (3, H, W) in [0, 1]."""

    before: Tensor
    after: Tensor
    cut: float  # the share of all numbers that left [0, 1] and was clamped
    black: float  # the share of all pixels with nothing but zeros


def channel_mixer(photograph: str = "coffee") -> Exploration:
    """Return an exploration of gains and brightness on one of the course's photographs.

    Raises:
        ValueError: when there is no photograph of that name.
    """
    image = pictures.to_float(pictures.to_tensor(pictures.photograph(photograph).reduce(SMALL)))

    def compute(red: float, green: float, blue: float, brightness: float) -> Mixture:
        raw = image * torch.tensor([red, green, blue]).view(3, 1, 1) + brightness
        after = pictures.mix(image, red, green, blue, brightness)
        black = (after == 0).all(dim=0).float().mean().item()
        return Mixture(image, after, pictures.clipped_fraction(raw), black)

    gains = {name: controls.slider(f"{name} ×", 1.0, 0.0, 3.0, 0.05) for name in GAINS}
    brightness = controls.slider("brightness +", 0.0, -0.5, 0.5, 0.05)
    return Exploration(
        compute,
        draw_mixture,
        {**gains, "brightness": brightness},
        describe=lambda mixture: (
            f"{part(mixture.cut)} of the numbers left the range from 0 to 1 and were cut off; "
            f"{part(mixture.black)} of the pixels are black."
        ),
        twin=Twin(
            MIXTURES,
            draw=lambda mixture, figure: _show(figure.subplots(), mixture.after),
            size=(2.4, 1.85),
            columns=3,
            title="Gains change the colour, brightness shifts everything",
            alt="Six versions of the photograph: as it is; with a grey saucer, but a cyan cup and a bluish table; "
            "colder, with a bluish table; without red and a little brighter, which looks green; much too dark, with "
            "only the cup's rim and shine left; and with gains of 3 in that darkness, harsh, but with most of the "
            "picture back.",
        ),
        move=move_mixture,
        title="Channel mixer",
        size=(7.6, 2.85),
        photograph=True,
    )


def draw_mixture(mixture: Mixture, figure: Canvas) -> None:
    """Draw the photograph before and after mixing, side by side."""
    margins = {"left": 0.01, "right": 0.99, "top": 0.9, "bottom": 0.01, "wspace": 0.03}
    for axes, image, title in zip(
        figure.subplots(1, 2, gridspec_kw=margins), (mixture.before, mixture.after), ("before", "mixed")
    ):
        axes.imshow(pictures.to_picture(image))
        axes.axis("off")
        axes.set_title(title, fontsize=10)


def move_mixture(mixture: Mixture, figure: Figure) -> list[Artist]:
    """Show another mixture in a drawn figure."""
    (image,) = figure.axes[1].images
    image.set_data(pictures.to_picture(mixture.after))  # whole numbers are scaled in half the time of floats
    return [image]


def _show(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.permute(1, 2, 0).numpy())
    axes.axis("off")


@dataclass(frozen=True)
class Walk:
    """A walk down the parabola y = x² − x − 2: every place visited, float64 (steps + 1,)."""

    rate: float
    places: Tensor

    @property
    def x(self) -> float:
        """Where the walk stands."""
        return self.places[-1].item()

    @property
    def slope(self) -> float:
        """The slope there: 2x − 1."""
        return 2 * self.x - 1


def parabola(x: Tensor) -> Tensor:
    """Return y = x² − x − 2, lowest at x = ½."""
    return x**2 - x - 2


def walk(rate: float, start: float, steps: int) -> Walk:
    """Return the walk that takes `steps` steps against the slope."""
    places = [start]
    for _ in range(steps):
        places.append(places[-1] - rate * (2 * places[-1] - 1))
    return Walk(rate, torch.tensor(places, dtype=torch.float64))


def learning_rate() -> Exploration:
    """Return an exploration of gradient descent on a parabola: the rate, the start, and steps one at a time."""
    rate = controls.slider("learning rate", 0.1, 0.01, 1.2, 0.01)
    start = controls.slider("start at x", 3.0, -3.0, 4.0, 0.5, ".1f")
    steps = controls.whole_slider("steps taken", 0, 0, 30)

    def take(count: int) -> None:
        steps.value = min(steps.value + count, steps.max)

    def begin() -> None:
        steps.value = 0

    buttons = (
        controls.button("One step", lambda: take(1), "step-forward"),
        controls.button("Five steps", lambda: take(5), "fast-forward"),
        controls.button("Back to the start", begin, "undo"),
    )
    return Exploration(
        walk,
        draw_walk,
        {"rate": rate, "start": start, "steps": steps},
        describe=next_step,
        arrangement=controls.stack(controls.grid(rate, start, steps), controls.row(*buttons)),
        twin=Twin(
            {f"rate {each:g}": {"rate": each, "steps": 8} for each in (0.02, 0.1, 0.5, 0.9, 1.0, 1.05)},
            draw=lambda result, figure: _draw_valley(result, figure.subplots()).set(xlabel="x", ylabel="y"),
            size=(2.6, 2.4),
            columns=3,
            title="Too small a rate crawls, above 1 the walk climbs out",
            alt="Six parabolas with walks of 8 steps from x = 3. Rate 0.02 hardly moves, 0.1 comes near the bottom, "
            "0.5 jumps into it in one step, 0.9 jumps from side to side and comes down, 1.0 jumps between two places "
            "for ever, 1.05 climbs higher with each step.",
        ),
        move=move_walk,
        title="Gradient descent on a parabola",
        size=(7.6, 3.3),
    )


def next_step(result: Walk) -> str:
    """Return in words where the walk stands and what its next step will be."""
    done = len(result.places) - 1
    move = -result.rate * result.slope
    slope = f"({signed(result.slope)})" if result.slope < 0 else signed(result.slope)
    return (
        f"After {done} {'step' if done == 1 else 'steps'} x = {signed(result.x)}. The slope here is "
        f"{signed(result.slope)}, so the next step is −{result.rate:g} · {slope} = {signed(move)}."
    )


def draw_walk(result: Walk, figure: Canvas) -> None:
    """Draw the walk on its parabola, and x against the step beside it."""
    margins = {"left": 0.075, "right": 0.985, "top": 0.9, "bottom": 0.15, "wspace": 0.2}
    valley, course = figure.subplots(1, 2, gridspec_kw=margins)
    _draw_valley(result, valley).set(xlabel="x", ylabel="y = x² − x − 2")
    valley.set_title("on the parabola")
    course.axhline(0.5, color=figures.GREY, linewidth=1)
    course.plot(result.places, "o-", color=figures.BLUE, markersize=4, linewidth=1)
    course.set(xlim=(-1, 31), ylim=(-4, 5), xlabel="step", ylabel="x")
    course.set_title(_factor(result))


def move_walk(result: Walk, figure: Figure) -> list[Artist]:
    """Show another walk in a drawn figure."""
    valley, course = figure.axes
    (_, walked, start), (_, steps) = valley.lines, course.lines
    heights = parabola(result.places)
    walked.set_data(result.places, heights)
    start.set_data(result.places[:1], heights[:1])
    steps.set_data(range(len(result.places)), result.places)
    return [walked, start, steps, course.set_title(_factor(result))]


def _factor(result: Walk) -> str:
    return f"distance to ½ in each step: × {signed(1 - 2 * result.rate)}"


def _draw_valley(result: Walk, axes: Axes) -> Axes:
    line = torch.linspace(-4, 5, 100, dtype=torch.float64)
    axes.plot(line, parabola(line), color=figures.GREY, linewidth=1.5)
    axes.plot(result.places, parabola(result.places), "o-", color=figures.BLUE, markersize=5, linewidth=1)
    axes.plot(result.places[0], parabola(result.places[0]), "s", color=figures.RED, markersize=8)
    axes.set(xlim=(-4, 5), ylim=(-4, 18))
    return axes
