"""Explorations of lesson 7: the batch size, what limits a step on a GPU, and where the time goes on each rung."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.patches import Patch
from torch.nn import functional as F

from course_utils import acceleration, figures
from course_utils.acceleration import Memory, TorchDevice
from course_utils.acceleration.rungs import WHOLE
from course_utils.base.words import percent
from course_utils.models.sprint import SprintNet
from course_utils.widgets import controls
from course_utils.widgets.exploration import Canvas, Exploration, Twin

SIZES = {"cpu": (1, 2, 4, 8, 16, 32, 64), "cuda": (1, 4, 16, 64, 256, 1024, 4096)}
COLOURS = {
    "data": figures.SKY,
    "forward": figures.BLUE,
    "backward": figures.ORANGE,
    "update": figures.GREEN,
    WHOLE: figures.GREY,
}


@dataclass(frozen=True)
class Curve:
    """How fast a network trains with batches of each size, and what one of these sizes keeps in memory."""

    chosen: int
    speeds: dict[int, float]  # pictures a second by batch size
    memory: Memory
    available: float  # bytes
    device: str
    date: str


def batch_size(
    device: str | torch.device | TorchDevice = "cpu", sizes: tuple[int, ...] | None = None, repeats: int = 3
) -> Exploration:
    """Return an exploration of batch sizes, measured on this machine when a width is first chosen.

    Args:
        device: where to measure.
        sizes: batch sizes, from small to large; those of `SIZES` when None.
        repeats: timings of each, of which the median counts.
    """
    import time

    here, today = acceleration.pick_device(device), time.strftime("%Y-%m-%d")
    sizes = sizes or SIZES.get(here.kind, SIZES["cpu"])

    @functools.cache
    def measured(width: int) -> tuple[dict[int, float], Memory]:
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = SprintNet((width,) * 3).to(here.torch)
        speeds = {}
        for size in sizes:
            images = torch.randn(size, 3, 32, 32, generator=generator).to(here.torch)
            labels = torch.randint(0, 10, (size,), generator=generator).to(here.torch)

            def step(images: torch.Tensor = images, labels: torch.Tensor = labels) -> None:
                net.zero_grad()
                F.cross_entropy(net(images), labels).backward()

            speeds[size] = acceleration.measure(step, here, warmup=0, repeats=repeats).per_second(size)
        return speeds, acceleration.training_memory(net, images, labels)

    def compute(size: int, width: int, gigabytes: float) -> Curve:
        speeds, memory = measured(width)
        return Curve(size, speeds, memory, gigabytes * 1e9, here.name, today)

    return Exploration(
        compute,
        draw_curve,
        {
            "size": controls.choice("batch size", list(sizes), sizes[len(sizes) // 2]),
            "width": controls.choice("channels", [8, 16, 32]),
            "gigabytes": controls.log_slider("memory in GB", 8.0, -1, 2, ".3g"),
        },
        describe=curve_in_words,
        twin=Twin(
            {"8 channels": {}, "32 channels": {"width": 32, "size": sizes[-1]}},
            columns=1,
            title="Larger batches: faster up to a point, and every picture takes memory",
            alt=f"Two rows, for a narrow and a wider network, measured on {here.name} on {today}. Left: pictures a "
            "second against the batch size, with a dot at the chosen size. Right: a bar of the memory of a training "
            "step, most of it activations.",
        ),
        title="Batch size, speed and memory",
        size=(7.6, 3.0),
    )


def curve_in_words(curve: Curve) -> str:
    """Return speed and memory at the chosen batch size, and the largest batch that the memory holds."""
    best = max(curve.speeds, key=lambda size: curve.speeds[size])
    return (
        f"Batches of {curve.chosen}: {curve.speeds[curve.chosen]:,.0f} pictures a second and "
        f"{curve.memory.of(curve.chosen) / 1e6:,.1f} MB (fastest: batches of {best}). By this count "
        f"{curve.available / 1e9:.3g} GB hold batches of up to {curve.memory.largest_batch(curve.available):,}."
    )


def draw_curve(curve: Curve, figure: Canvas) -> None:
    """Draw speed against batch size on the left, and the memory of the chosen size on the right."""
    margins = {"left": 0.1, "right": 0.86, "top": 0.85, "bottom": 0.2, "wspace": 0.12, "width_ratios": (1.4, 1)}
    left, right = figure.subplots(1, 2, gridspec_kw=margins)
    left.plot(list(curve.speeds), list(curve.speeds.values()), "-", color=figures.BLUE)
    left.plot(list(curve.speeds), list(curve.speeds.values()), "o", color=figures.BLUE, ms=4)
    left.plot([curve.chosen], [curve.speeds[curve.chosen]], "o", color=figures.ORANGE, ms=10)
    left.set_xscale("log", base=2)
    left.set(ylim=(0, None), xlabel="batch size (large dot: the one on the right)", ylabel="pictures a second")
    left.set_xticks(list(curve.speeds), [str(size) for size in curve.speeds])
    left.set_title(f"{curve.device}, {curve.date}", fontsize=10)
    kinds = {
        "weights": curve.memory.weights,
        "gradients": curve.memory.gradients,
        "momentum": curve.memory.optimizer,
        "activations": curve.chosen * curve.memory.per_picture,
    }
    bars = right.barh(list(kinds), [value / 1e6 for value in kinds.values()], color=figures.GREEN)
    right.bar_label(bars, labels=[f"{value / 1e6:.2f}" for value in kinds.values()], padding=3, fontsize=9)
    right.margins(x=0.28)
    right.invert_yaxis()
    right.yaxis.tick_right()
    right.tick_params(axis="y", length=0)
    most = curve.memory.largest_batch(curve.available)
    right.set_xlabel(f"MB for a batch of {curve.chosen}")
    right.set_title(f"{curve.available / 1e9:.3g} GB hold batches of {most:,}", fontsize=10)
    right.grid(axis="y", visible=False)


LAUNCH, FETCHED, SUMS = 5e-6, 2e12, {16: 3e14, 32: 2e13}  # the GPU of the lesson: seconds, bytes and sums a second
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
BRAKES = {"launch": figures.GREY, "memory": figures.SKY, "compute": figures.ORANGE}


@dataclass(frozen=True)
class Braked:
    """What a block asks of the lesson's GPU: seconds that each brake alone would take, by batch size."""

    size: int
    channels: int
    bits: int
    seconds: dict[int, dict[str, float]]

    @property
    def limit(self) -> str:
        """The slowest of the three at the chosen size."""
        return max(self.seconds[self.size], key=self.seconds[self.size].__getitem__)


def braked(size: int, channels: int, bits: int, recorded: bool) -> Braked:
    """Return the model of the lesson: a 3×3 convolution, batch norm and ReLU on maps of 16×16, forwards.

    Args:
        size: pictures in the batch, one of `BATCHES`.
        channels: in and out.
        bits: of each number, 16 or 32.
        recorded: whether one launch stands for all three, as in a CUDA graph.
    """

    def each(count: int) -> dict[str, float]:
        fields = count * 16 * 16
        # the convolution reads and writes each number, batch norm reads twice and writes, ReLU reads and writes
        numbers = 7 * fields * channels + 9 * channels**2
        return {
            "launch": LAUNCH * (1 if recorded else 3),
            "memory": numbers * bits / 8 / FETCHED,
            "compute": 2 * 9 * channels**2 * fields / SUMS[bits],
        }

    return Braked(size, channels, bits, {count: each(count) for count in BATCHES})


def brakes() -> Exploration:
    """Return an exploration of the three brakes: which of them limits a block, by a model and not by a measurement."""
    shown = [(32, 64, 64), (16, 64, 64), (16, 64, 1024), (16, 512, 1024)]  # bits, channels, batch
    limits = [f"{bits} bits, {c} channels, {n} pictures: {braked(n, c, bits, False).limit}" for bits, c, n in shown]
    return Exploration(
        braked,
        draw_braked,
        {
            "size": controls.choice("batch size", list(BATCHES), 64),
            "channels": controls.choice("channels", [16, 32, 64, 128, 256, 512], 64),
            "bits": controls.choice("bits", [32, 16]),
            "recorded": controls.tick("one launch for all"),
        },
        describe=braked_in_words,
        twin=Twin(
            [{"bits": bits, "channels": c, "size": n} for bits, c, n in shown],
            columns=2,
            title="Each brake sets the pace somewhere (dotted: the time; dot: the batch in the title)",
            alt="Four charts of the time that launches, memory and computing take by batch size, both axes "
            f"logarithmic: launches are level, the other two rise. Slowest, with {'; '.join(limits)}.",
            size=(4.2, 2.7),
        ),
        title="Three brakes",
        size=(6.4, 3.2),
    )


def braked_in_words(block: Braked) -> str:
    """Return the time at the chosen size, and what limits it."""
    taken = block.seconds[block.size]
    return (
        f"Batches of {block.size}, {block.channels} channels, {block.bits} bits: {block.limit}-bound, "
        f"{1e6 * taken[block.limit]:,.3g} µs; " + ", ".join(f"{n} {1e6 * s:,.2g} µs" for n, s in taken.items()) + "."
    )


def draw_braked(block: Braked, figure: Canvas) -> None:
    """Draw the three times by batch size; the slowest at each size is the time of the block."""
    axes = figure.subplots(gridspec_kw={"left": 0.15, "right": 0.78, "top": 0.82, "bottom": 0.2})
    sizes = np.geomspace(BATCHES[0], BATCHES[-1], 200)
    slowest = np.zeros_like(sizes)
    for name, colour in BRAKES.items():
        # Each time is a constant and a multiple of the batch, so straight between two sizes.
        times = np.interp(sizes, BATCHES, [1e6 * each[name] for each in block.seconds.values()])
        axes.plot(sizes, times, color=colour, label=name)
        slowest = np.maximum(slowest, times)
    axes.plot(sizes, slowest, ":", color="black", lw=2.5)
    axes.plot([block.size], [1e6 * max(block.seconds[block.size].values())], "o", color=BRAKES[block.limit], ms=9)
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel="microseconds", ylim=(0.01, 1e6))
    axes.set_xticks(BATCHES, [str(size) for size in BATCHES], fontsize=8)
    axes.minorticks_off()
    ends = sorted((1e6 * block.seconds[BATCHES[-1]][name], name) for name in BRAKES)
    height = 0.0
    for value, name in ends:  # labels at the ends of the lines, a factor of 3 apart at least
        height = max(value, 3 * height)
        axes.text(1.25 * BATCHES[-1], height, name, color=BRAKES[name], va="center", fontsize=9)
    title = f"{block.bits} bits, {block.channels} channels, {block.size} pictures:\n{block.limit}-bound"
    axes.set_title(title, fontsize=9.5)


@dataclass(frozen=True)
class Compared:
    """Rungs of a ladder, one below the other; None for one that was not measured."""

    names: tuple[str, ...]
    rows: tuple[acceleration.Measured | None, ...]
    share: bool
    dates: tuple[str, ...]
    longest: float  # milliseconds of the slowest rung on the scale


def where_time_goes(*ladders: acceleration.Ladder) -> Exploration:
    """Return an exploration of stored ladders: what each rung spends its time on, two rungs side by side.

    Args:
        ladders: measured rungs, of a CPU and, where there is one, of a GPU. A rung that an earlier one has too is told
            from that by its batch size. Those of `RUNGS` that none of them has can be chosen too, and say that they
            are open.
    """
    climbed, known = ladders[0], {}
    tables: list[list[str]] = []  # the names of each ladder's rungs
    for ladder in ladders:
        batch = f", {ladder.settings['batch']:,}" if any(row.rung in known for row in ladder.measured) else ""
        tables.append([row.rung + batch for row in ladder.measured])
        known.update(zip(tables[-1], ((row, ladder.date) for row in ladder.measured)))
    names = [*known, *(rung.name for rung in acceleration.RUNGS if rung.name not in known)]

    def compared(chosen: Sequence[str], share: bool, longest: float) -> Compared:
        rows, dates = zip(*(known.get(name, (None, "")) for name in chosen))
        return Compared(tuple(chosen), rows, share, dates, longest)

    def compute(first: str, second: str, share: bool) -> Compared:
        return compared((first, second), share, max(totals.get(name, 0.0) for name in (first, second)) or 1.0)

    def draw_all(pair: Compared, figure: Canvas) -> None:
        """Draw all measured rungs of the first one's ladder."""
        chosen, ladder = next(each for each in zip(tables, ladders) if pair.names[0] in each[0])
        about = f"{ladder.measured[0].device}, batches of {ladder.settings['batch']:,}"
        draw_compared(compared(chosen, False, max(totals[name] for name in chosen)), figure, about)

    totals = {name: sum(row.parts.values()) for name, (row, _) in known.items()}
    device = climbed.measured[0].device
    passes = min(
        sum(row.parts.get(part, 0.0) for part in ("forward", "backward")) / sum(row.parts.values())
        for row in climbed.measured
        if row.device == device
    )
    measured = [name for table in tables for name in table]
    return Exploration(
        compute,
        draw_compared,
        {
            "first": controls.choice("first rung", names, measured[0]),
            "second": controls.choice("second rung", names, measured[-1]),
            "share": controls.tick("in per cent"),
        },
        describe=compared_in_words,
        twin=Twin(
            [{"first": table[0]} for table in tables],
            draw=draw_all,
            columns=1,
            title="Where a batch's time goes, each chart on its own scale",
            alt=f"Bars for {len(measured)} rungs, the first ones measured on {device} on {climbed.date}: the "
            "milliseconds of a batch for data, forward, backward and update. "
            f"In these, forward and backward take at least {percent(passes, 0)} of it.",
            size=(7.6, 1.25 + 0.32 * max(map(len, tables))),
        ),
        title="Where the time goes",
        size=(6.6, 2.3),
    )


def compared_in_words(pair: Compared) -> str:
    """Return what each of the two rungs takes, or that it is not measured."""
    parts = []
    for name, row, date in zip(pair.names, pair.rows, pair.dates):
        if row is None:
            parts.append(f"{name}: {_not_yet(name)}.")
            continue
        longest = max(row.parts, key=lambda part: row.parts[part])
        total = sum(row.parts.values())
        parts.append(
            f"{name} takes {total:,.1f} ms a batch, {percent(row.parts[longest] / total, 0)} of it for {longest} "
            f"({row.device}, {date})."
        )
    return " ".join(parts)


def _not_yet(name: str) -> str:
    """Return that a rung is not measured, and what would measure it."""
    on_cpu = any(rung.name == name and rung.kind == "cpu" for rung in acceleration.RUNGS)
    return acceleration.NOT_YET.removesuffix(" on a GPU") if on_cpu else acceleration.NOT_YET


def draw_compared(pair: Compared, figure: Canvas, title: str = "") -> None:
    """Draw a bar in four colours for each of the rungs, below a title where there is one."""
    above = 0.6 if title else 0.35
    high = 0.65 + above + 0.32 * len(pair.rows)  # inches: legend and axis keep their size
    wide = figure.bbox.width / figure.dpi
    left = max(0.2, (0.1 + 0.084 * max(map(len, pair.names))) / wide)  # room for the longest name
    margins = {"left": left, "right": 0.97, "top": 1 - above / high, "bottom": 0.5 / high}
    axes = figure.subplots(gridspec_kw=margins)
    for place, (name, row) in enumerate(zip(pair.names, pair.rows)):
        if row is None:
            axes.text(0.0, place, f" {_not_yet(name)}", va="center", fontsize=9, color=figures.GREY)
            continue
        total, start = sum(row.parts.values()), 0.0
        for part, value in row.parts.items():
            length = 100 * value / total if pair.share else value
            axes.barh(place, length, left=start, color=COLOURS[part], height=0.6)
            start += length
    axes.set_yticks(range(len(pair.names)), pair.names)
    axes.set_ylim(len(pair.names) - 0.4, -0.6)
    axes.set_xlim(0, 100 if pair.share else 1.03 * pair.longest)
    axes.set_xlabel("% of a batch's time" if pair.share else "milliseconds a batch")
    shown = [part for part in COLOURS if any(row and part in row.parts for row in pair.rows)]
    handles = [Patch(color=COLOURS[part]) for part in shown]
    look = {"ncols": len(COLOURS), "handlelength": 1.2, "handletextpad": 0.5, "columnspacing": 1.0, "fontsize": 9}
    axes.legend(handles, shown, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0, **look)
    axes.grid(axis="y", visible=False)
    if title:
        axes.set_title(title, fontsize=10, pad=22)
