"""The ladder: one network, one set, the same first weights, and on every rung one thing that makes it faster."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from course_utils import data, training
from course_utils.acceleration.devices import TorchDevice, compiler_missing, half_type, pick_device
from course_utils.acceleration.graphs import GraphedStep
from course_utils.acceleration.memory import kept_for_backward
from course_utils.acceleration.rungs import NOT_YET, PARTS, RUNGS, WHOLE, Ladder, Measured, Rung
from course_utils.acceleration.timer import stopwatch
from course_utils.base import machine
from course_utils.data.batches import generators
from course_utils.models.sprint import SprintNet
from course_utils.training.amp import Amp
from course_utils.training.fit import train_step

FLOAT16_LOOKS = "needs bfloat16: float16's loss scaling looks at a value in every step, which a graph cannot record"


class PictureByPicture(Dataset):
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


def climb(
    train: data.TensorPart,
    test: data.TensorPart,
    device: str | torch.device | TorchDevice = "auto",
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
        ValueError: for fewer than 2 epochs, a batch of none, or fewer pictures than a batch.
    """
    if epochs < 2 or not 1 <= batch <= len(train):
        raise ValueError(
            f"A ladder needs epochs ≥ 2 and a full batch, not {epochs} epochs of {len(train)} pictures in batches of "
            f"{batch}."
        )
    here = pick_device(device)
    training.seed_everything(seed)
    start = SprintNet(widths, len(train.classes))
    start.reset()
    start.whitening(next(iter(data.batches(train, min(len(train), 500))))[0])
    rows = []
    for rung in RUNGS if rungs is None else rungs:
        missing = NOT_YET if rung.kind == "cuda" and here.kind != "cuda" else ""
        if rung.compiled and not missing:
            missing = compiler_missing(rung.kind)
        if rung.graph and rung.half and not missing and half_type(here) is torch.float16:
            missing = FLOAT16_LOOKS
        if missing:
            rows.append(Measured(rung.name, "", missing=missing))
        else:
            where = here if rung.kind == here.kind else pick_device(rung.kind)
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
    half = half_type(device) if rung.half else None
    amp = Amp(device.torch, half)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        with amp.autocast:
            return F.cross_entropy(forward(images), labels)

    def step(images: Tensor, labels: Tensor) -> Tensor:
        return train_step(forward, images, labels, F.cross_entropy, optimizer, amp)[0]

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
        memory = kept_for_backward(net, images, labels, half)
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
    return DataLoader(PictureByPicture(part), batch_sampler=Order(len(part), batch, seed), pin_memory=pinned, **workers)


def _parts(
    loader: Any, device: TorchDevice, layout: torch.memory_format, loss_of: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer, replayed: GraphedStep | None, most: int = 12,
) -> dict[str, float]:  # fmt: skip
    """Return the milliseconds of a batch for each part of a step, waiting for the device between any two."""
    spent: dict[str, list[float]] = {part: [] for part in (*PARTS, WHOLE)}
    batches = iter(loader)
    for _ in range(min(most, len(loader))):
        with stopwatch(device) as fetching:
            images, labels = next(batches)
            images, labels = images.to(device.torch, memory_format=layout), labels.to(device.torch)
        spent["data"].append(fetching.seconds)
        if replayed is not None:
            with stopwatch(device) as whole:
                replayed(images, labels)
            spent[WHOLE].append(whole.seconds)
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
