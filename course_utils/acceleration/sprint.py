"""The sprint: CIFAR-10 as fast as possible, each trick of the published records on its own and able to be left out.

The ideas are those of David Page (myrtle.ai, "How to train your ResNet", 2018), tysam-code/hlb-CIFAR10 (2023) and
Keller Jordan's airbench and Muon (arXiv:2404.00498, 2024); the settings start from airbench94's published ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.acceleration.devices import TorchDevice, pick_device
from course_utils.acceleration.muon import Muon
from course_utils.acceleration.timer import stopwatch
from course_utils.data import TensorPart
from course_utils.errors import SettingError, TrainingError
from course_utils.models.sprint import SprintNet
from course_utils.training import seed_everything

TRICKS = {
    "whitening": "the first filters are computed, not learned",
    "identity start": "convolutions begin by passing their inputs on",
    "alternating flip": "each picture is mirrored in every second epoch",
    "shifts": "each picture is moved by up to two pixels",
    "label smoothing": "the true class gets 80 %, all share the rest",
    "triangular schedule": "the rates rise for a moment, then fall to zero",
    "muon": "filters take orthogonalised steps (else Nesterov's)",
    "lookahead": "slow weights follow the fast ones and replace them",
    "views": "test pictures are looked at six times",
    "channels_last": "the channels of a pixel lie side by side in memory",
    "half precision": "weights and pictures have 16 bits (on a GPU)",
}


@dataclass(frozen=True)
class SprintSettings:
    """What a sprint may change. Rates are for the *summed* loss of a batch, so they suit any batch size.

    epochs, batch_size, widths: of the training and its network.
    filter_rate, filter_momentum: of Muon.
    plain_rate: of the filters without Muon.
    bias_rate, head_rate, momentum: of SGD.
    decay: of what SGD trains, per picture of a batch: L2, added to the gradients and so through the momentum.
    smoothing: of the labels.
    pct_start: share of the steps in which the rates rise.
    bias_epochs: after which the whitening's biases are left alone.
    compile: whether the network is compiled.
    leave_out: names of `TRICKS`.
    """

    epochs: float = 8.0
    batch_size: int = 2000
    widths: tuple[int, int, int] = (64, 256, 256)
    filter_rate: float = 0.24
    filter_momentum: float = 0.6
    plain_rate: float = 1.5e-3
    bias_rate: float = 0.053
    head_rate: float = 0.67
    momentum: float = 0.85
    decay: float = 2e-6
    smoothing: float = 0.2
    pct_start: float = 0.1
    bias_epochs: float = 3.0
    compile: bool = False
    leave_out: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "leave_out", frozenset(self.leave_out))
        unknown = sorted(self.leave_out - TRICKS.keys())
        if unknown:
            raise SettingError(f"There is no trick {unknown[0]!r} to leave out; there are {', '.join(TRICKS)}.")
        if self.epochs <= 0 or self.batch_size < 2:
            raise SettingError(f"A sprint needs epochs > 0 and batch_size ≥ 2, not {self.epochs}, {self.batch_size}.")

    def uses(self, trick: str) -> bool:
        """Return whether a trick of `TRICKS` is used."""
        return trick not in self.leave_out


@dataclass(frozen=True)
class SprintResult:
    """One sprint.

    seconds: of training and of the final answer.
    accuracy: from 0 to 1.
    plain_accuracy: the same with each test picture looked at once.
    losses: of each step.
    device: its name.
    cold: the first run of its Sprint; really cold only in a fresh process, with no kernels or memory there yet.
    """

    seconds: float
    accuracy: float
    plain_accuracy: float
    losses: tuple[float, ...]
    device: str
    cold: bool


class Sprint:
    """Everything that lies on the device before the gun: the pictures as bytes, and the network. `run` is the race.

    Args:
        train, test: pictures of 32×32 in colour.
        settings: see `SprintSettings`.
        device: a name for `pick_device`, or what it returns.
    """

    def __init__(
        self,
        train: TensorPart,
        test: TensorPart,
        settings: SprintSettings | None = None,
        device: str | TorchDevice = "auto",
    ) -> None:
        self.settings = settings or SprintSettings()
        if tuple(train.images.shape[1:]) != (3, 32, 32) or len(train) < self.settings.batch_size:
            raise SettingError(
                f"A sprint needs at least one batch ({self.settings.batch_size}) of pictures (3, 32, 32), not "
                f"{len(train)} of {tuple(train.images.shape[1:])}; take more pictures or smaller batches."
            )
        self.device = pick_device(device) if isinstance(device, str) else device
        half = self.device.kind == "cuda" and self.settings.uses("half precision")
        self.dtype = torch.float16 if half else torch.float32
        self.train, self.test, self.runs = train, test, 0
        self.images = {part.name: part.images.to(self.device.torch) for part in (train, test)}
        self.labels = {part.name: part.labels.to(self.device.torch) for part in (train, test)}
        layout = torch.channels_last if self.settings.uses("channels_last") else torch.contiguous_format
        self.net = SprintNet(self.settings.widths, len(train.classes)).to(
            self.device.torch, self.dtype, memory_format=layout
        )
        for layer in self.net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.float()  # averages of many numbers need all their digits
        self.forward = torch.compile(self.net) if self.settings.compile else self.net

    def run(self, seed: int = 0) -> SprintResult:
        """Train from new first weights and answer the test pictures; the clock runs for both, as in the records."""
        seed_everything(seed)
        self.net.reset(self.settings.uses("identity start"))
        with kernels_compared(), stopwatch(self.device) as watch:
            losses = self._train(seed)
            right = self._right(self.settings.uses("views"))
        history = torch.stack(losses).tolist()  # looked at only now: every look makes a GPU wait
        if not math.isfinite(history[-1]):
            raise TrainingError("The loss of the sprint is no longer a number; try smaller rates or more pictures.")
        plain = self._right(views=False) / len(self.test)
        self.runs += 1
        cold = self.runs == 1
        return SprintResult(watch.seconds, right / len(self.test), plain, tuple(history), self.device.name, cold)

    def _train(self, seed: int) -> list[Tensor]:
        settings, images = self.settings, self._normalised(self.train)
        if settings.uses("whitening"):
            self.net.whitening(images[:500])  # half a million patches
        per_epoch = len(images) // settings.batch_size
        steps, bias_steps = math.ceil(settings.epochs * per_epoch), math.ceil(settings.bias_epochs * per_epoch)
        optimizers, slow, losses = self._optimizers(), None, []
        self.net.train()
        for step, (pictures, labels) in zip(range(steps), self._batches(images, seed)):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["first"] * (
                        rate(step, steps, settings.pct_start) if settings.uses("triangular schedule") else 1
                    )
                    if group["early"]:
                        group["lr"] = group["first"] * max(0.0, 1 - step / bias_steps)
            self.net.whiten.bias.requires_grad_(step < bias_steps)  # later the gradients need not go back so far
            smoothing = settings.smoothing if settings.uses("label smoothing") else 0.0
            logits = self.forward(pictures).float()
            loss = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
            self.net.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.detach() / len(labels))
            if settings.uses("lookahead") and (step % 5 == 4 or step == steps - 1):
                slow = self._look_ahead(slow, done=(step + 1) / steps)
        return losses

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        settings, net = self.settings, self.net
        filters = [p for p in net.parameters() if p.ndim == 4 and p.requires_grad]
        biases = [p for name, p in net.groups.named_parameters() if name.endswith("bias")]
        whole_decay = settings.decay * settings.batch_size

        def group(parameters: list[nn.Parameter], first: float, early: bool = False) -> dict[str, object]:
            # SGD adds decay · weights to the gradients and multiplies by the rate: divided by the first rate, all
            # groups shrink alike, and less as the rates fall. (Decoupled decay would not go through the momentum:
            # Loshchilov and Hutter 2019, arXiv:1711.05101.) Muon needs none: it sets the filters' length itself.
            decay = {"weight_decay": whole_decay / first}
            return {"params": parameters, "lr": first, "first": first, "early": early, **decay}

        groups = [
            group([net.whiten.bias], settings.bias_rate, early=True),
            group(biases, settings.bias_rate),
            group([net.head.weight], settings.head_rate),
        ]
        if not settings.uses("muon"):
            groups.append(group(filters, settings.plain_rate))
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.SGD(groups, momentum=settings.momentum, nesterov=True, fused=self.device.kind == "cuda")
        ]
        if settings.uses("muon"):
            optimizers.append(Muon(filters, settings.filter_rate, settings.filter_momentum))
            optimizers[-1].param_groups[0].update(first=settings.filter_rate, early=False)
        return optimizers

    def _batches(self, images: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Give batches for ever, each epoch in a new order, shifted and mirrored."""
        settings, n, device = self.settings, len(images), self.device.torch
        generator = torch.Generator(device).manual_seed(seed)
        padded = F.pad(images, (2,) * 4, "reflect")  # (N, 3, 36, 36)
        windows = padded.unfold(2, 32, 1).unfold(3, 32, 1)  # (N, 3, 5, 5, 32, 32): every cut there is, no copy
        layout = torch.channels_last if settings.uses("channels_last") else torch.contiguous_format
        first = torch.rand(n, generator=generator, device=device) < 0.5
        for epoch in range(math.ceil(settings.epochs)):
            order = torch.randperm(n, generator=generator, device=device)
            top, left = torch.randint(0, 5, (2, n), generator=generator, device=device)
            if not settings.uses("shifts"):
                top, left = torch.full_like(top, 2), torch.full_like(left, 2)
            by_chance = torch.rand(n, generator=generator, device=device) < 0.5
            mirror = alternating_flip(first, epoch) if settings.uses("alternating flip") else by_chance
            for chosen in order[: n // settings.batch_size * settings.batch_size].split(settings.batch_size):
                cut = windows[chosen, :, top[chosen], left[chosen]]  # (B, 3, 32, 32)
                cut = torch.where(mirror[chosen].view(-1, 1, 1, 1), cut.flip(3), cut)
                yield cut.contiguous(memory_format=layout), self.labels[self.train.name][chosen]

    @torch.no_grad()
    def _look_ahead(self, slow: list[Tensor] | None, done: float) -> list[Tensor]:
        """Move slow weights towards the fast ones, and the fast ones there (Zhang et al. 2019, arXiv:1907.08610).

        The share that stays behind grows with the share of steps that are `done`: early weights are soon forgotten.
        """
        fast = [v for v in self.net.state_dict().values() if v.is_floating_point()]
        if slow is None:
            return [value.float().clone() for value in fast]
        stays = 0.95**5 * done**3 if done < 1 else 1.0
        for mine, theirs in zip(slow, fast):
            if done < 1:
                mine.lerp_(theirs.float(), 1 - stays)
            theirs.copy_(mine)
        return slow

    def _normalised(self, part: TensorPart) -> Tensor:
        mean, std = (torch.tensor(v, device=self.device.torch).view(-1, 1, 1) for v in (part.mean, part.std))
        return ((self.images[part.name].float() / 255 - mean) / std).to(self.dtype)

    @torch.no_grad()
    def _right(self, views: bool) -> int:
        """Return how many test pictures are answered right."""
        self.net.eval()
        images, labels = self._normalised(self.test), self.labels[self.test.name]
        together = 2000 if self.device.kind == "cuda" else 200  # pictures: a processor gains nothing by more
        guesses = [scores(self.forward, some, views).argmax(dim=1) for some in images.split(together)]
        return int((torch.cat(guesses) == labels).sum())


@contextmanager
def kernels_compared() -> Iterator[None]:
    """Let cuDNN try its ways to convolve and keep the fastest for each shape: all batches here have the same."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def rate(step: int, steps: int, pct_start: float) -> float:
    """Return the share of the highest rate at a step: from 0.2 up to 1 within the share `pct_start`, then down to 0."""
    peak = pct_start * steps
    return 0.2 + 0.8 * step / peak if step < peak else (steps - step) / (steps - peak)


def alternating_flip(first: Tensor, epoch: int) -> Tensor:
    """Return which pictures are mirrored in `epoch`: those of `first`, bool (N,), in even epochs, the others in odd."""
    return first if epoch % 2 == 0 else ~first


def scores(model: nn.Module, images: Tensor, views: bool) -> Tensor:
    """Return logits (N, classes) for float pictures (N, 3, 32, 32), with `views` the weighted mean over six views.

    The picture itself counts half, shifted by a pixel up left and down right a quarter each, all of them as they are
    and mirrored.
    """
    if not views:
        return model(images)
    padded = F.pad(images, (1,) * 4, "reflect")
    total = torch.zeros((), device=images.device)
    for offset, weight in ((1, 0.5), (0, 0.25), (2, 0.25)):
        view = padded[:, :, offset : offset + 32, offset : offset + 32]
        total = total + weight / 2 * (model(view) + model(view.flip(3)))
    return total
