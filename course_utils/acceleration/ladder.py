"""The ladder: one network, one set, the same first weights, and on every rung one thing that makes it faster."""

from __future__ import annotations

import copy
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from course_utils import data, figures, training
from course_utils.acceleration.devices import TorchDevice, choose
from course_utils.acceleration.graphs import GraphedStep
from course_utils.acceleration.memory import kept_for_backward
from course_utils.acceleration.timer import stopwatch
from course_utils.base import machine
from course_utils.base.lessons import find_root
from course_utils.data.batches import generators
from course_utils.errors import CourseError, DataError
from course_utils.models.sprint import SprintNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_YET = "not measured yet: run benchmarks/ladder.py on a GPU"
PARTS = ("data", "forward", "backward", "update")


@dataclass(frozen=True)
class Rung:
    """One rung: what changes on it, and how its loop is made.

    loading: "one by one", "workers" (two processes, pinned memory on a GPU) or "resident" (the set lies on the device).
    """

    name: str
    change: str
    kind: str = "cpu"  # or "cuda"
    loading: str = "one by one"
    channels_last: bool = False
    half: bool = False
    compiled: bool = False
    graph: bool = False


RUNGS = (
    Rung("CPU loop", "pictures one by one from a DataLoader, everything on the CPU"),
    Rung("CPU: workers", "two more processes prepare the pictures", loading="workers"),
    Rung("CPU: resident", "whole batches, cut from a tensor in memory", loading="resident"),
    Rung("CPU: channels_last", "the channels of a pixel side by side", loading="resident", channels_last=True),
    Rung("CPU: torch.compile", "operations fused into new code", "cpu", "resident", True, compiled=True),
    Rung("CPU: bf16", "16 bits instead of 32 (compare with channels_last)", "cpu", "resident", True, half=True),
    Rung("GPU loop", "network and batches on the GPU, pictures one by one from the CPU", "cuda"),
    Rung("GPU: workers, pinned", "two processes prepare pictures in memory that the GPU can fetch", "cuda", "workers"),
    Rung("GPU: resident", "the whole set lies on the GPU as bytes", "cuda", "resident"),
    Rung("GPU: channels_last", "the channels of a pixel side by side", "cuda", "resident", True),
    Rung("GPU: bf16", "16 bits instead of 32, for the GPU's matrix units", "cuda", "resident", True, True),
    Rung("GPU: torch.compile", "operations fused into new kernels", "cuda", "resident", True, True, True),
    Rung("GPU: CUDA graph", "a whole step with a single order", "cuda", "resident", True, True, True, True),
)


@dataclass(frozen=True)
class Measured:
    """What one rung gave.

    pictures_per_second: trained, in the median epoch after the first. cold_seconds: of the first epoch, with starting
    workers, compiling and recording. warm_seconds: of the median epoch after it. accuracy: from 0 to 1, after all
    epochs. memory_mb: on a GPU the most that was allocated, on the CPU what is kept for the backward pass. parts:
    milliseconds of a batch for each of `PARTS`, measured apart with waiting in between. missing: why it did not run.
    """

    rung: str
    device: str
    pictures_per_second: float = 0.0
    accuracy: float = 0.0
    cold_seconds: float = 0.0
    warm_seconds: float = 0.0
    memory_mb: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class Ladder:
    """Rungs measured in one run, on which machine, when, and on what data."""

    rows: tuple[Measured, ...]
    date: str
    hardware: dict[str, Any]
    versions: dict[str, Any]
    data: str
    settings: dict[str, Any]

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The rungs that ran."""
        return tuple(row for row in self.rows if not row.missing)

    def row(self, name: str) -> Measured | None:
        """Return what the rung `name` gave, or None when this run did not measure it."""
        return next((row for row in self.measured if row.rung == name), None)

    def __str__(self) -> str:
        head = f"{'rung':<22}{'pictures/s':>11}{'accuracy':>10}{'cold s':>8}{'warm s':>8}{'MB':>7}"
        lines = [head, *(_line(row) for row in self.rows)]
        devices = ", ".join(sorted({row.device for row in self.measured}))
        return "\n".join([*lines, f"measured on {devices}, {self.date}" + (f"; {self.data}" if self.data else "")])

    def save(self, path: Path) -> None:
        """Write the ladder as JSON, all of it or nothing."""
        scratch = path.with_name(f".{path.name}.new")
        scratch.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        scratch.replace(path)

    def plot(self) -> Figure:
        """Draw one bar a rung with its speed, and its accuracy beside it."""
        import matplotlib.pyplot as plt

        rows = self.measured[::-1]
        fastest = max(rows, key=lambda row: row.pictures_per_second)
        factor = fastest.pictures_per_second / self.measured[0].pictures_per_second
        with figures.style():
            figure, axes = plt.subplots(figsize=(8, 0.4 * len(rows) + 1.1))
            colours = [figures.ORANGE if row is fastest else figures.BLUE for row in rows]
            bars = axes.barh([row.rung for row in rows], [row.pictures_per_second for row in rows], color=colours)
            labels = [f"{row.pictures_per_second:,.0f}   ({row.accuracy:.1%} right)" for row in rows]
            axes.bar_label(bars, labels=labels, padding=4)
            title = f"{fastest.rung} is {factor:.1f} times as fast as {self.measured[0].rung}"
            axes.set(title=title, xlabel=f"pictures trained in a second, on {fastest.device}, {self.date}")
            axes.margins(x=0.32)
            axes.grid(axis="y", visible=False)
        return figure


def _line(row: Measured) -> str:
    if row.missing:
        return f"{row.rung:<22}{row.missing}"
    return (
        f"{row.rung:<22}{row.pictures_per_second:>11,.0f}{row.accuracy:>10.1%}{row.cold_seconds:>8.2f}"
        f"{row.warm_seconds:>8.2f}{row.memory_mb:>7.1f}"
    )


def load(path: Path) -> Ladder:
    """Return the ladder that `save` wrote.

    Raises:
        DataError: when the file is not there or not such a file.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Ladder(**{**stored, "rows": tuple(Measured(**row) for row in stored["rows"])})
    except FileNotFoundError:
        raise DataError(f"There is no {path.name}; benchmarks/ladder.py writes it.") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path.name} holds no ladder ({error}); run benchmarks/ladder.py again.") from error


def stored(kind: str) -> Ladder | None:
    """Return the ladder that was measured on a "cpu" or "cuda" and is stored in `results/`, or None."""
    try:
        return load(find_root() / "results" / f"ladder_{kind}.json")
    except CourseError:
        return None


class OneByOne(Dataset):
    """A part's pictures one at a time: float32 (C, H, W), normalised, and the label; as most tutorials have it."""

    def __init__(self, part: data.TensorPart) -> None:
        self.images, self.labels = part.images, part.labels
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) for v in (part.mean, part.std))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return (self.images[i].float() / 255 - self.mean) / self.std, self.labels[i]


class Order(Sampler):
    """The order in which `data.batches` gives the pictures of an epoch, whole batches only, for a DataLoader."""

    def __init__(self, count: int, size: int, seed: int) -> None:
        self.count, self.size, self.seed, self.epoch = count, size, seed, 0

    def __iter__(self) -> Iterator[list[int]]:
        order, _ = generators(self.seed, self.epoch)
        self.epoch += 1
        whole = self.count // self.size * self.size
        yield from (chosen.tolist() for chosen in torch.randperm(self.count, generator=order)[:whole].split(self.size))

    def __len__(self) -> int:
        return self.count // self.size


def compiler_missing(kind: str = "cpu") -> str:
    """Return in a sentence why `torch.compile` cannot work here, or an empty text."""
    names = ("g++", "clang++", "c++") if kind == "cpu" else ("gcc", "clang", "cc")
    chosen = os.environ.get("CXX" if kind == "cpu" else "CC")
    if any(shutil.which(name) for name in ([chosen] if chosen else names)):
        return ""
    return f"torch.compile needs a compiler such as {names[0]}, and there is none; install one, or leave this rung out."


def climb(
    train: data.TensorPart,
    test: data.TensorPart,
    device: str | TorchDevice = "auto",
    *,
    rungs: Sequence[Rung] | None = None,
    source: str = "",
    epochs: int = 3,
    batch: int = 64,
    widths: tuple[int, int, int] = (16, 32, 32),
    rate: float = 0.5,
    seed: int = 0,
    on_rung: Callable[[Measured], None] = lambda row: None,
) -> Ladder:
    """Train the same network on every rung, from the same weights on the same batches, and measure.

    Args:
        train, test: pictures of 32×32 in colour; a last batch that is not full is left out.
        device: where the rungs of its kind run; rungs of the other kind are listed as not measured. With a GPU, rungs
            of the CPU run too.
        rungs: those to climb; all when None.
        source: in words, where the pictures come from.
        epochs: at least 2: the first is the cold one.
        batch, widths, rate, seed: of the training.
        on_rung: called with each rung as soon as it is measured.

    Raises:
        ValueError: for fewer than 2 epochs or fewer pictures than a batch.
    """
    if epochs < 2 or len(train) < batch:
        raise ValueError(f"A ladder needs epochs ≥ 2 and a full batch, not {epochs} epochs of {len(train)} pictures.")
    here = choose(device) if isinstance(device, str) else device
    training.seed_everything(seed)
    start = SprintNet(widths, len(train.classes))
    start.reset()
    start.whitening(next(iter(data.batches(train, min(len(train), 500))))[0])
    rows = []
    for rung in RUNGS if rungs is None else rungs:
        missing = NOT_YET if rung.kind == "cuda" and here.kind != "cuda" else ""
        if rung.compiled and not missing:
            missing = compiler_missing(rung.kind)
        where = here if rung.kind == here.kind else choose(rung.kind) if not missing else here
        if missing:
            rows.append(Measured(rung.name, "", missing=missing))
        else:
            rows.append(_climb_or_tell(rung, start, train, test, where, epochs, batch, rate, seed))
        on_rung(rows[-1])
    settings = {
        "epochs": epochs, "batch": batch, "widths": list(widths), "rate": rate, "seed": seed,
        "threads": torch.get_num_threads(), "pictures": len(train), "test pictures": len(test),
    }  # fmt: skip
    versions = machine.versions("torch", "torchvision", "numpy")
    return Ladder(tuple(rows), time.strftime("%Y-%m-%d"), machine.describe_machine(), versions, source, settings)


def _climb_or_tell(rung: Rung, *given: Any) -> Measured:
    """Climb a rung; a compiler or a graph that fails is told in its row, and loses no other rung."""
    try:
        return _climb_one(rung, *given)
    except Exception as error:
        if not (rung.compiled or rung.graph):
            raise
        return Measured(rung.name, "", missing=f"failed: {type(error).__name__}: {str(error).strip()[:80]}")


def _climb_one(
    rung: Rung, start: SprintNet, train: data.TensorPart, test: data.TensorPart, device: TorchDevice, epochs: int,
    batch: int, rate: float, seed: int,
) -> Measured:  # fmt: skip
    layout = torch.channels_last if rung.channels_last else torch.contiguous_format
    net = copy.deepcopy(start).to(device.torch, memory_format=layout)
    learned = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=rate, momentum=0.9, nesterov=True)
    forward = torch.compile(net) if rung.compiled else net
    half = torch.autocast(device.kind, torch.bfloat16, enabled=rung.half)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        with half:
            return F.cross_entropy(forward(images), labels)

    def step(images: Tensor, labels: Tensor) -> Tensor:
        loss = loss_of(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats(device.torch)
    loader = _loader(rung, train, device, batch, seed)
    seconds, replayed = [], None
    for _ in range(epochs):
        net.train()
        with stopwatch(device) as watch:
            for images, labels in loader:
                images = images.to(device.torch, non_blocking=True, memory_format=layout)
                labels = labels.to(device.torch, non_blocking=True)
                if rung.graph and replayed is None:
                    replayed = GraphedStep(step, net, optimizer, images, labels)
                (replayed or step)(images, labels)
        seconds.append(watch.seconds)
    count = len(train) // batch * batch
    warm = statistics.median(seconds[1:])
    memory = torch.cuda.max_memory_allocated(device.torch) if device.kind == "cuda" else 0
    answered = 1000 if device.kind == "cuda" else 200  # pictures at a time
    accuracy = training.evaluate(net, data.batches(test, answered, device=device.torch)).accuracy
    if device.kind != "cuda":
        memory = kept_for_backward(net, images, labels, torch.bfloat16 if rung.half else None)
    parts = _parts(loader, device, layout, loss_of, optimizer, replayed)
    return Measured(
        rung.name, device.name, count / warm, accuracy, seconds[0], warm, round(memory / 1e6, 2), parts
    )  # fmt: skip


def _loader(rung: Rung, part: data.TensorPart, device: TorchDevice, batch: int, seed: int) -> Any:
    if rung.loading == "resident":
        layout = {"channels_last": rung.channels_last}
        return data.batches(part, batch, shuffle=True, seed=seed, device=device.torch, drop_last=True, **layout)
    workers = {"num_workers": 2, "persistent_workers": True} if rung.loading == "workers" else {}
    pinned = rung.loading == "workers" and device.kind == "cuda"
    return DataLoader(OneByOne(part), batch_sampler=Order(len(part), batch, seed), pin_memory=pinned, **workers)


def _parts(
    loader: Any, device: TorchDevice, layout: torch.memory_format, loss_of: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer, replayed: GraphedStep | None, most: int = 12,
) -> dict[str, float]:  # fmt: skip
    """Return the milliseconds of a batch for each part of a step, waiting for the device between any two."""
    spent: dict[str, list[float]] = {part: [] for part in PARTS}
    batches = iter(loader)
    for _ in range(min(most, len(loader))):
        with stopwatch(device) as fetching:
            images, labels = next(batches)
            images, labels = images.to(device.torch, memory_format=layout), labels.to(device.torch)
        spent["data"].append(fetching.seconds)
        if replayed is not None:  # one order for all three: they cannot be told apart
            with stopwatch(device) as whole:
                replayed(images, labels)
            spent["forward"].append(whole.seconds)
            continue
        with stopwatch(device) as going_forward:
            loss = loss_of(images, labels)
        with stopwatch(device) as going_back:
            optimizer.zero_grad()
            loss.backward()
        with stopwatch(device) as updating:
            optimizer.step()
        for part, watch in zip(PARTS[1:], (going_forward, going_back, updating)):
            spent[part].append(watch.seconds)
    return {part: round(1e3 * statistics.median(taken), 4) for part, taken in spent.items() if taken}
