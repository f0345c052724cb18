"""Explorations of lesson 6: a valley with a trap, the settings of a range test, and a race of schedules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import data, figures, learning_rate
from course_utils.base.words import signed
from course_utils.learning_rate import RangeTest
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin
from course_utils.widgets.schedule_race import ScheduleRace

__all__ = ["ScheduleRace", "landscape", "range_settings", "slope", "valley_walk", "walk"]

TRAP, BOTTOM = -1.5, 2.0  # where the poor, narrow valley and the good, wide one are
LEFT, RIGHT = -4.5, 8.5  # what is drawn
HIDDEN = 32  # units of the small network of `range_settings`


def landscape(x: Tensor) -> Tensor:
    """Return the height at `x`: a wide valley around 2, with a narrow trap in its left side at −1.5."""
    return 0.12 * (x - BOTTOM) ** 2 - 0.8 * torch.exp(-(((x - TRAP) / 0.15) ** 2) / 2)


def slope(x: float) -> float:
    """Return the slope of `landscape` at `x`."""
    trap = 0.8 * (x - TRAP) / 0.15**2 * np.exp(-(((x - TRAP) / 0.15) ** 2) / 2)
    return 0.24 * (x - BOTTOM) + float(trap)


@dataclass(frozen=True)
class Walk:
    """A walk through the landscape: every place visited, float64 (steps + 1,), and how it ended."""

    rate: float
    places: Tensor

    @property
    def end(self) -> str:
        """In a few words, where the walk is."""
        if len(self.places) == 1:
            return "stands where it starts"
        x = self.places[-1].item()
        if abs(x - BOTTOM) > 12:
            return "jumped out of the valley"
        last = self.places[-6:]
        if self._rests(TRAP) and abs(slope(x)) < 0.4:
            return "stays in the trap"
        sides = {slope(place) > 0 for place in last.tolist()}
        if (last - TRAP).abs().max() < 0.5 and len(sides) == 2:
            return "jumps back and forth in the trap"
        if self._rests(BOTTOM):
            return "reached the bottom"
        return "jumps back and forth" if self.rate > 4 and len(last) > 3 else "is still on its way"

    def _rests(self, valley: float) -> bool:
        """Whether the last places are near a valley, and the last step was a small one: not only passing through."""
        last = self.places[-3:]
        return bool((last - valley).abs().max() < 0.3 and (last[-1] - last[-2]).abs() < 0.1)


def walk(rate: float, start: float, steps: int) -> Walk:
    """Return gradient descent from `start`; it ends early once it has left everything far behind."""
    places = [start]
    for _ in range(steps):
        places.append(places[-1] - rate * slope(places[-1]))
        if abs(places[-1]) > 1e3:
            break
    return Walk(rate, torch.tensor(places, dtype=torch.float64))


def valley_walk() -> Exploration:
    """Return an exploration of gradient descent in a valley with a trap: the rate, the start, the number of steps."""
    compared = (0.003, 0.03, 0.5, 3.0, 8.0, 9.5)
    return Exploration(
        walk,
        draw_walk,
        {
            "rate": controls.log_slider("learning rate", 0.03, -3, 1),
            "start": controls.slider("start at x", -2.5, -4.0, 8.0, 0.5, ".1f"),
            "steps": controls.whole_slider("steps", 60, 0, 100),
        },
        describe=_told,
        twin=Twin(
            [{"rate": rate} for rate in compared],
            draw=_draw_small_walk,
            size=(2.8, 2.2),
            columns=3,
            title="One valley, 60 steps, six learning rates (pale: early, dark: late, large dot: the end)",
            alt="Six pictures of a wide valley with a narrow trap in its left side, and walks of 60 steps from "
            "x = −2.5. " + " ".join(f"Rate {rate:g}: the walk {walk(rate, -2.5, 60).end}." for rate in compared),
        ),
        title="A valley with a trap",
        size=(6.9, 2.9),
    )


def draw_walk(result: Walk, figure: Canvas) -> None:
    """Draw the landscape with the places visited, pale at first and strong at the end."""
    margins = {"left": 0.13, "right": 0.97, "top": 0.86, "bottom": 0.2}
    axes = figure.subplots(gridspec_kw=margins)
    x = torch.linspace(LEFT, RIGHT, 500, dtype=torch.float64)
    axes.plot(x, landscape(x), color=figures.INK, linewidth=1.5)
    places, height = result.places, landscape(result.places)  # what lies outside the view is cut off, with its lines
    axes.plot(places, height, "-", color=figures.SKY, linewidth=0.8)
    axes.scatter(places, height, s=14, c=np.linspace(0.25, 1, len(places)), cmap="Blues", vmin=0, vmax=1, zorder=3)
    axes.plot(places[-1], height[-1], "o", color=figures.RED, markersize=8, zorder=4)
    axes.set(xlim=(LEFT, RIGHT), ylim=(-0.4, 5.2), xlabel="x", ylabel="height")
    axes.set_title(f"It {result.end}", fontsize=10)


def _draw_small_walk(result: Walk, figure: Canvas) -> None:
    draw_walk(result, figure)
    figure.axes[0].set_title(f"rate {result.rate:g}: {result.end.removeprefix('is ')}", fontsize=8.5)


def _told(result: Walk) -> str:
    steps = len(result.places) - 1
    taken = f"{steps} step{'s' * (steps != 1)} at rate {result.rate:.2g}"
    return f"After {taken} the walk is at x = {signed(result.places[-1].item(), '.3g')}: it {result.end}."


def range_settings(part: data.TensorPart, seed: int = 0) -> Exploration:
    """Return an exploration of a range test's settings, on a small dense network that is tested again at each move.

    Args:
        part: grey pictures of 28 × 28, at least 2,000; halved in height and width so that a test takes a moment.
        seed: of the network's first weights and the order of the pictures.

    Raises:
        ValueError: for fewer pictures.
    """
    if len(part) < 2000:
        raise ValueError(f"The exploration needs at least 2,000 pictures, not {len(part)}; pass a larger part.")
    images, labels = next(iter(data.batches(part.take(at_most=2000, seed=seed), 2000)))
    images = F.avg_pool2d(images, 2).flatten(1)  # (2000, 196)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(2000, generator=generator)
    images, labels = images[order], labels[order]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(images.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def compute(size: int, steps: int, start: float, end: float, beta: float, threshold: float) -> RangeTest:
        batches = list(zip(images.split(size), labels.split(size)))
        return learning_rate.range_test(
            model, batches, optimizer, start=start, end=end, steps=steps, beta=beta, threshold=threshold
        )

    compared = {
        "β = 0.98, 200 steps": {},
        "no smoothing": {"beta": 0.0},
        "4 pictures in a batch": {"size": 4},
        "30 steps": {"steps": 30},
        "only up to 0.01": {"end": 0.01},
        "β = 0.99": {"beta": 0.99},
    }
    chosen = {
        "beta": controls.slider("smoothing β", 0.98, 0.0, 0.99, 0.01),
        "size": controls.choice("batch size", [4, 16, 64, 256], 64),
        "steps": controls.whole_slider("steps", 200, 10, 300),
        "start": controls.log_slider("first rate", 1e-8, -8, -3, ".1e"),
        "end": controls.log_slider("last rate", 10.0, -2, 2, ".2g"),
        "threshold": controls.slider("stop at × best", 4.0, 1.5, 10.0, 0.5, ".1f"),
    }
    first = {name: control.value for name, control in chosen.items()}
    said = [f"{name}: {_answer(compute(**{**first, **changed}))}" for name, changed in compared.items()]
    return Exploration(
        compute,
        draw_test,
        chosen,
        describe=_answer,
        twin=Twin(
            compared,
            draw=_draw_small,
            size=(2.9, 2.1),
            columns=3,
            title="The same network: settings change what the test can tell",
            alt="Six curves of loss against learning rate. " + " ".join(said),
        ),
        title="The settings of a range test",
        size=(6.9, 3.4),
    )


def _answer(result: RangeTest) -> str:
    suggestion = result.suggestion
    if not suggestion.clear:
        return f"No clear answer: {suggestion.problem}"
    each = ", ".join(f"{answer.rule} {answer.rate:.2g}" for answer in result.answers)
    return f"{len(result.losses)} batches; begin near {suggestion.rate:.2g} ({each})."


def draw_test(result: RangeTest, figure: Canvas) -> None:
    """Draw a range test with its answers."""
    result.plot(figure.subplots(gridspec_kw={"left": 0.09, "right": 0.98, "top": 0.9, "bottom": 0.16}))


def _draw_small(result: RangeTest, figure: Canvas) -> None:
    axes = figure.subplots(gridspec_kw={"left": 0.17, "right": 0.97, "top": 0.86, "bottom": 0.22})
    result.plot(axes)
    axes.set_title("")
    axes.set(ylabel="loss")
    marks = axes.get_lines()[2:]  # after the two curves: one for each rule
    axes.get_legend().remove()
    if marks:
        axes.legend(handles=marks, loc="lower left", fontsize=6.5, markerscale=0.5, borderpad=0, handletextpad=0.2)
    if not result.suggestion.clear:
        axes.text(0.03, 0.04, "no clear answer", transform=axes.transAxes, color=figures.RED, fontsize=9)
