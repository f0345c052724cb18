"""How the rate moves during training: eight schedules, made from the batches so that their counts are right, and drawn
before use. All are schedulers of `torch.optim.lr_scheduler`; `training.fit` takes the steps.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import lr_scheduler

from course_utils import figures
from course_utils.training import guards
from course_utils.training.guards import Scheduler, is_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Optimizer = torch.optim.Optimizer
MAKERS = {  # of this module, where PyTorch's own class tells
    lr_scheduler.OneCycleLR: "one_cycle", lr_scheduler.CosineAnnealingLR: "cosine",
    lr_scheduler.MultiStepLR: "step_decay",
}  # fmt: skip
LOWEST = 0.04  # in `preview`: the loss that a plateau is shown with falls to this share, and stays there


def total_steps(batches: Sized, epochs: int) -> int:
    """Return how many steps `epochs` passes through `batches` take: all batches, a ragged last one too.

    Raises:
        TypeError: when the batches cannot say how many they are.
        ValueError: when there are none, or `epochs` is not a whole number of at least 1.
    """
    guards.require_epochs(epochs)
    count = guards.count_of(batches)
    if count is None:
        raise TypeError(
            f"A schedule needs batches that know how many they are; a {type(batches).__name__} has no length, so pass "
            "the loader itself or a list."
        )
    if count == 0:
        raise ValueError("There are no batches to make a schedule for; give at least one.")
    return count * epochs


def _total(optimizer: Optimizer, batches: Sized, epochs: int) -> int:
    guards.require_made_optimizer(optimizer)
    return total_steps(batches, epochs)


def constant(optimizer: Optimizer, batches: Sized, epochs: int) -> Scheduler:
    """Return a schedule that leaves the rate where it is."""
    _total(optimizer, batches, epochs)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


def step_decay(
    optimizer: Optimizer, batches: Sized, epochs: int, *, at: Sequence[float] = (0.5, 0.75), factor: float = 0.1
) -> Scheduler:
    """Return a schedule that multiplies the rate by `factor` after each share `at` of all steps.

    Raises:
        ValueError: unless the shares grow between 0 and 1, and the factor is between them, too.
    """
    total = _total(optimizer, batches, epochs)
    if sorted(set(at)) != list(at) or not all(is_between(0, share, 1) for share in at):
        raise ValueError(f"The shares of all steps must grow between 0 and 1, such as (0.5, 0.75), not {tuple(at)}.")
    if not is_between(0, factor, 1):
        raise ValueError(f"factor must be between 0 and 1, such as 0.1 for a tenth of the rate, not {factor!r}.")
    return _counted(lr_scheduler.MultiStepLR(optimizer, [max(1, round(share * total)) for share in at], factor), total)


def plateau(
    optimizer: Optimizer, batches: Sized, epochs: int, *, factor: float = 0.5, patience: int = 10
) -> lr_scheduler.ReduceLROnPlateau:
    """Return a schedule that multiplies the rate by `factor` when the validation loss has not fallen for `patience`
    epochs and one more. It takes its steps per epoch, from that loss, and needs no counts.
    """
    _total(optimizer, batches, epochs)
    return lr_scheduler.ReduceLROnPlateau(optimizer, factor=factor, patience=patience)


def cosine(optimizer: Optimizer, batches: Sized, epochs: int, *, lowest: float = 0.0) -> Scheduler:
    """Return half a cosine wave from the optimizer's rate to `lowest` (Loshchilov, Hutter 2017, arXiv:1608.03983)."""
    total = _total(optimizer, batches, epochs)
    _require_lowest(lowest, optimizer)
    return _counted(lr_scheduler.CosineAnnealingLR(optimizer, total, lowest), total)


def warmup_linear(optimizer: Optimizer, batches: Sized, epochs: int, *, pct_start: float = 0.1) -> Scheduler:
    """Return a schedule that rises in a straight line to the optimizer's rate, and falls in one to 0.

    Args:
        optimizer: its rate is the highest.
        batches, epochs: how long the schedule is.
        pct_start: share of all steps until the top.

    Raises:
        ValueError: unless at least one step is left for the way up, and one for the way down.
    """
    total = _total(optimizer, batches, epochs)
    if not is_between(0, pct_start, 1) or not 1 <= pct_start * total <= total - 1:
        raise ValueError(
            f"pct_start must leave a step of the {total} for the way up and one for down, not {pct_start!r}."
        )
    top = round(pct_start * total)
    return _by_steps(optimizer, total, lambda step: min((step + 1) / top, (total - step) / (total - top + 1)))


def cosine_restarts(
    optimizer: Optimizer, batches: Sized, epochs: int, *, cycles: int = 2, growth: int = 2, lowest: float = 0.0
) -> Scheduler:
    """Return half cosine waves from the optimizer's rate to `lowest`, each `growth` times as long as the last.

    The final one ends with the training: where the steps do not divide, cycles begin at the nearest whole step
    (Loshchilov and Hutter 2017, arXiv:1608.03983).

    Raises:
        ValueError: when there are more cycles than fit, or `lowest` is not below the rate.
    """
    total = _total(optimizer, batches, epochs)
    if not isinstance(cycles, int) or cycles < 1 or not isinstance(growth, int) or growth < 1:
        raise ValueError(f"cycles and growth must be whole numbers of at least 1, not {cycles!r} and {growth!r}.")
    _require_lowest(lowest, optimizer)
    done = list(accumulate((growth**i for i in range(cycles)), initial=0))  # parts before each cycle, and in all
    parts = done[-1]
    if total < parts:
        raise ValueError(f"{cycles} cycles do not fit into {total} steps; take fewer cycles or more epochs.")
    begins = [(2 * total * before + parts) // (2 * parts) for before in done]  # to the nearest whole step

    def share(step: int) -> float:
        cycle = max(bisect.bisect_right(begins, min(step, total - 1)) - 1, 0)
        return half_wave(1.0, 0.0, (step - begins[cycle]) / (begins[cycle + 1] - begins[cycle]))

    bases = _own_rates(optimizer)
    return _by_steps(
        optimizer, total, [lambda step, base=base: 1 - (1 - share(step)) * (1 - lowest / (base or 1)) for base in bases]
    )


def _own_rates(optimizer: Optimizer) -> list[float]:
    """Return the rates that the optimizer was made with, whatever schedules have moved them since."""
    return [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]


def _require_lowest(lowest: float, optimizer: Optimizer) -> None:
    rate = max(_own_rates(optimizer))
    if lowest != 0 and not is_between(0, lowest, rate):
        raise ValueError(f"lowest must be at least 0 and below the optimizer's rate, {rate:.3g}, not {lowest!r}.")


def _by_steps(optimizer: Optimizer, total: int, factors: Any) -> Scheduler:
    """Return a schedule that multiplies the rates by `factors`, functions of the step."""
    return _counted(lr_scheduler.LambdaLR(optimizer, factors), total)


def _counted(schedule: Scheduler, total: int) -> Scheduler:
    schedule.total_steps = total  # for `require_fit`, and for `training.fit`
    return schedule


def one_cycle(
    optimizer: Optimizer,
    batches: Sized,
    epochs: int,
    *,
    max_lr: float | Sequence[float] | None = None,
    pct_start: float = 0.3,
    momentum_range: tuple[float, float] = (0.85, 0.95),
) -> lr_scheduler.OneCycleLR:
    """Return the one-cycle schedule: the rate rises from max_lr / 25, falls to nearly 0, and momentum mirrors it.

    Smith and Topin 2017 (arXiv:1708.07120), with half cosine waves. `one_cycle_values` is the formula.

    The optimizer's own momentum, or the first of Adam's betas, is replaced: it falls and rises within
    `momentum_range`. An optimizer without momentum gets none.

    Args:
        optimizer: any.
        batches, epochs: how long the cycle is.
        max_lr: the top rate, or one for each parameter group; when None, the rates that the optimizer was made with.
        pct_start: share of all steps until the top.
        momentum_range: the lowest momentum, at the top rate, and the highest, at the beginning and the end.

    Raises:
        ValueError: for a way up of less than two steps, a rate that is not positive, or no such momentum.
    """
    total = _total(optimizer, batches, epochs)
    _require_way_up(pct_start, total)
    tops = max_lr if isinstance(max_lr, (list, tuple)) else [max_lr]
    if max_lr is not None and not all(is_between(0, top, math.inf) for top in tops):
        raise ValueError(f"max_lr must be a positive rate, or one for each parameter group, not {max_lr!r}.")
    low, high = momentum_range
    if not 0 <= low <= high < 1:
        raise ValueError(
            f"momentum_range must be the lowest and the highest momentum, from 0 to below 1, not {momentum_range}."
        )
    groups = optimizer.param_groups
    own = [group.get("max_lr", rate) for group, rate in zip(groups, _own_rates(optimizer))]  # of an earlier cycle
    return lr_scheduler.OneCycleLR(
        optimizer,
        own if max_lr is None else max_lr,
        total_steps=total,
        pct_start=float(pct_start),
        cycle_momentum=all(group.get("momentum") or "betas" in group for group in groups),
        base_momentum=low,
        max_momentum=high,
    )


def _require_way_up(pct_start: float, total: int) -> None:
    if not is_between(0, pct_start, 1) or pct_start * total < 2:
        raise ValueError(
            f"pct_start must leave at least 2 of the {total} steps for the way up, and be below 1, not {pct_start!r}."
        )


def one_cycle_values(
    step: int, total: int, max_lr: float, pct_start: float = 0.3, momentum_range: tuple[float, float] = (0.85, 0.95)
) -> tuple[float, float]:
    """Return rate and momentum at `step`, from 0 to `total` − 1, of the one-cycle schedule: the formula, by hand.

    Raises:
        ValueError: for a step outside the schedule, or a way up of less than two steps.
    """
    _require_way_up(pct_start, total)
    if not 0 <= step < total:
        raise ValueError(f"A schedule of {total} steps has steps 0 to {total - 1}, not {step}.")
    start, end = max_lr / 25, max_lr / 25 / 1e4
    low, high = momentum_range
    top = pct_start * total - 1  # the step of the highest rate; it may lie between two steps
    if step <= top:
        share = step / top
        return half_wave(start, max_lr, share), half_wave(high, low, share)
    share = (step - top) / (total - 1 - top)
    return half_wave(max_lr, end, share), half_wave(low, high, share)


def half_wave(start: float, end: float, share: float) -> float:
    """Return the point at `share`, from 0 to 1, of half a cosine wave from `start` to `end`: slow, fast, slow."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def from_points(optimizer: Optimizer, batches: Sized, epochs: int, *, rates: Sequence[float]) -> Scheduler:
    """Return a schedule through `rates`, evenly spaced over all steps, in even factors between two of them.

    Raises:
        ValueError: for fewer than two rates, or one that is not positive.
    """
    total = _total(optimizer, batches, epochs)
    if len(rates) < 2 or not all(is_between(0, rate, math.inf) for rate in rates):
        raise ValueError(f"A schedule is drawn through at least two positive rates, not {list(rates)}.")
    bases = _own_rates(optimizer)
    if not all(bases):
        raise ValueError("A schedule multiplies the optimizer's own rate, which is 0; make it with a rate above 0.")
    return _by_steps(optimizer, total, [lambda step, base=base: through(rates, step, total) / base for base in bases])


def through(rates: Sequence[float], step: int, total: int) -> float:
    """Return the rate at `step` of a schedule drawn through evenly spaced `rates`; see `from_points`."""
    place = min(step / max(total - 1, 1), 1.0) * (len(rates) - 1)
    before = min(int(place), len(rates) - 2)
    share = place - before
    return rates[before] ** (1 - share) * rates[before + 1] ** share


def require_fit(scheduler: Scheduler, batches: Sized, epochs: int) -> None:
    """Raise when `scheduler` was made for another number of steps than `epochs` passes through `batches`, or was used.

    Raises:
        ValueError: with both numbers and the fix.
        TypeError: when it is no schedule that was made.
    """
    total = total_steps(batches, epochs)
    guards.require_scheduler(scheduler)
    made_for = getattr(scheduler, "total_steps", getattr(scheduler, "T_max", None))
    if made_for not in (None, total):
        by = MAKERS.get(type(scheduler))
        how = f"with learning_rate.{by}(optimizer, batches, epochs={epochs})" if by else f"anew with epochs={epochs}"
        raise ValueError(
            f"The schedule is made for {made_for:,} steps, but {epochs} epochs of {len(batches):,} batches are "
            f"{total:,}; make it {how}."
        )
    taken = getattr(scheduler, "last_epoch", 0)  # chained ones do not know
    if taken > 0:
        raise ValueError(
            f"The schedule has taken {taken:,} steps already, perhaps in a cell that was run before; make network, "
            "optimizer and schedule anew."
        )


@dataclass(frozen=True)
class Preview:
    """What a schedule will do: the rate of each step, and the momentum where it moves (Adam's first beta)."""

    name: str
    rates: tuple[float, ...]
    momentum: tuple[float, ...]
    steps_per_epoch: int

    @property
    def moves_momentum(self) -> bool:
        """Whether the momentum changes on the way."""
        return len(set(self.momentum)) > 1

    def plot(self, axes: Sequence[Axes] | None = None) -> Figure:
        """Draw the rate of each step, and the momentum where it moves.

        Args:
            axes: one for the rate, and if there is a second one, that for the momentum; a new figure when None.
        """
        if axes is None:
            return plot_previews([self])
        epochs = [step / self.steps_per_epoch for step in range(len(self.rates))]
        axes[0].plot(epochs, self.rates, color=figures.BLUE)
        axes[0].set_title(self.name, fontsize=10)
        axes[0].set_ylabel("learning rate")
        if len(axes) > 1:
            axes[1].plot(epochs, self.momentum, color=figures.ORANGE)
            axes[1].set_ylabel("momentum")
        axes[-1].set_xlabel("epoch")
        return axes[0].figure


Maker = Callable[[Optimizer, Sized, int], Scheduler]


def made(make: Maker, optimizer: Optimizer, batches: Sized, epochs: int) -> Scheduler:
    """Return the schedule that `make` makes, and raise `TypeError` unless it makes one."""
    if isinstance(make, type) or not callable(make):
        raise TypeError(
            "A function that makes the schedule is needed, such as learning_rate.one_cycle, not "
            f"{guards.kind_of(make)}."
        )
    schedule = make(optimizer, batches, epochs)
    guards.require_scheduler(schedule)
    return schedule


def preview(
    make: Maker, batches: Sized, epochs: int, *, rate: float = 0.1, name: str = "", losses: Sequence[float] = ()
) -> Preview:
    """Return what a schedule will do, by running it on a throw-away optimizer with one weight. Nothing is trained.

    Args:
        make: takes optimizer, batches and epochs and returns a scheduler, such as `one_cycle`, or a lambda around it.
        batches, epochs: how long; only the number of batches is asked for.
        rate: the rate of the throw-away optimizer, SGD with momentum 0.9.
        name: for the title; that of `make` when empty.
        losses: one validation loss an epoch, for a plateau; without them a loss that falls for a third of the epochs
            and then stays is assumed.

    Raises:
        TypeError: when `make` is no function that makes a schedule.
        ValueError: when there are too few losses, or batches, epochs or rate do not fit.
    """
    total, per_epoch = total_steps(batches, epochs), len(batches)
    weight = torch.zeros(1, requires_grad=True)
    weight.grad = torch.zeros(1)
    optimizer = torch.optim.SGD([weight], lr=rate, momentum=0.9)
    scheduler = made(make, optimizer, batches, epochs)
    watches = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
    if losses and len(losses) < epochs:
        raise ValueError(f"A plateau needs one loss for each of the {epochs} epochs, not {len(losses)}.")
    rates, momentum = [], []
    for step in range(total):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        momentum.append(float(optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        if not watches:
            scheduler.step()
        elif (step + 1) % per_epoch == 0:
            epoch = step // per_epoch
            scheduler.step(losses[epoch] if losses else max(LOWEST, 1 - 3 * (epoch + 1) / epochs))
    return Preview(
        name or getattr(make, "__name__", "schedule").replace("_", " "), tuple(rates), tuple(momentum), per_epoch
    )


def plot_previews(previews: Sequence[Preview], title: str = "") -> Figure:
    """Draw several schedules side by side: the rate above, and below it the momentum where any of them moves it."""
    import matplotlib.pyplot as plt

    previews = list(previews)
    rows = 1 + any(each.moves_momentum for each in previews)
    with figures.style():
        figure, axes = plt.subplots(
            rows, len(previews), squeeze=False, sharex="col", sharey="row",
            figsize=(max(4.2, 1.6 * len(previews)), 1.2 + 1.2 * rows), height_ratios=[2, 1][:rows],
        )  # fmt: skip
        for column, each in zip(axes.T, previews):
            each.plot(column)
        for inner in axes[:, 1:].flat:
            inner.set_ylabel("")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure
