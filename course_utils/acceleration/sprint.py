"""The sprint: CIFAR-10 as fast as possible, each trick of the published records on its own and able to be left out.

The ideas are those of David Page (myrtle.ai, "How to train your ResNet", 2018), tysam-code/hlb-CIFAR10 (2023), Keller
Jordan's airbench and Muon (arXiv:2404.00498, 2024) and hiverge/cifar10-speedrun (2025). The settings are those of
airbench94_muon.py. The older airbench94.py also lets the rates rise at first and lets slow weights follow the fast ones
(lookahead); on validation pictures neither gained anything here, so both are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.acceleration.devices import TorchDevice, has_triton, pick_device
from course_utils.acceleration.graphs import GraphedStep, Step
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
    "falling rates": "the rates fall in a line to zero",
    "muon": "filters take orthogonalised steps (else Nesterov's)",
    "views": "the least certain test pictures are seen six times",
    "own pooling": "maxima by a kernel of our own, in Triton (on a GPU)",
    "channels_last": "the channels of a pixel lie side by side in memory",
    "half precision": "weights and pictures have 16 bits (on a GPU)",
    "CUDA graph": "a whole step with a single launch (on a GPU)",
}
SHIFT = 2  # the most pixels by which a training picture is moved
# How a test picture is seen: pixels to the lower right, mirrored or not, and what the view counts.
VIEWS = tuple(
    (shift, mirror, share / 2) for shift, share in ((0, 0.5), (-1, 0.25), (1, 0.25)) for mirror in (False, True)
)


@dataclass(frozen=True)
class SprintSettings:
    """What a sprint may change. Rates are for the *summed* loss of a batch, so they suit any batch size.

    epochs, batch_size, widths: of the training and its network.
    filter_rate, filter_momentum: of Muon.
    plain_rate: of the filters without Muon.
    bias_rate, head_rate, momentum: of SGD.
    decay: of what SGD trains, per picture of a batch: L2, added to the gradients and so through the momentum.
    smoothing: of the labels.
    bias_epochs: after which the whitening's biases are left alone.
    unsure: share of the test pictures that are seen six times: those with the least certain first answer.
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
    bias_epochs: float = 3.0
    unsure: float = 0.25
    compile: bool = False
    leave_out: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        named = {self.leave_out} if isinstance(self.leave_out, str) else self.leave_out
        object.__setattr__(self, "leave_out", frozenset(named))
        unknown = sorted(self.leave_out - TRICKS.keys())
        if unknown:
            raise SettingError(f"There is no trick {unknown[0]!r} to leave out; there are {', '.join(TRICKS)}.")
        for name in ("filter_rate", "plain_rate", "bias_rate", "head_rate", "bias_epochs"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"{name} must be a number above 0, not {getattr(self, name)}.")
        for name, below in (("smoothing", 1), ("filter_momentum", 1), ("decay", math.inf)):
            if not 0 <= getattr(self, name) < below:
                raise SettingError(f"{name} must be from 0 to below {below}, not {getattr(self, name)}.")
        if not 0 < self.momentum < 1:
            raise SettingError(f"momentum must be between 0 and 1, not {self.momentum}; give a share such as 0.85.")
        if not 0 < self.epochs < math.inf or self.batch_size < 2 or not 0 <= self.unsure <= 1:
            raise SettingError(
                f"A sprint needs epochs > 0, batch_size ≥ 2 and unsure from 0 to 1, not {self.epochs}, "
                f"{self.batch_size} and {self.unsure}."
            )

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
        device: as for `pick_device`.
    """

    def __init__(
        self,
        train: TensorPart,
        test: TensorPart,
        settings: SprintSettings | None = None,
        device: str | torch.device | TorchDevice = "auto",
    ) -> None:
        self.settings = settings or SprintSettings()
        if tuple(train.images.shape[1:]) != (3, 32, 32) or len(train) < self.settings.batch_size:
            raise SettingError(
                f"A sprint needs at least one batch ({self.settings.batch_size}) of pictures (3, 32, 32), not "
                f"{len(train)} of {tuple(train.images.shape[1:])}; take more pictures or smaller batches."
            )
        self.device = pick_device(device)
        on_gpu, uses = self.device.kind == "cuda", self.settings.uses
        self.dtype = torch.float16 if on_gpu and uses("half precision") else torch.float32
        self.layout = torch.channels_last if uses("channels_last") else torch.contiguous_format
        self.train, self.test, self.runs = train, test, 0
        parts = {"train": train, "test": test}  # not by their names: two parts of one may bear the same
        self.images = {role: part.images.to(self.device.torch) for role, part in parts.items()}
        self.labels = {role: part.labels.to(self.device.torch) for role, part in parts.items()}
        self.net = SprintNet(self.settings.widths, len(train.classes)).to(
            self.device.torch, self.dtype, memory_format=self.layout
        )
        self.net.whiten.weight.requires_grad = not uses("whitening")
        if on_gpu and uses("own pooling") and uses("channels_last") and has_triton():
            from course_utils.acceleration.pooling import Halved

            for group in self.net.groups:
                group.pool = Halved()
        for layer in self.net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.float()  # averages of many numbers need all their digits
        self.forward = torch.compile(self.net, dynamic=False) if self.settings.compile else self.net
        self.rates = torch.zeros(4, device=self.device.torch)  # of the present step, for each group of parameters
        self.optimizers = self._optimizers()
        self.graphs = on_gpu and uses("CUDA graph")
        self.recorded: dict[bool, GraphedStep] = {}

    def run(self, seed: int = 0) -> SprintResult:
        """Train from new first weights and answer the test pictures; the clock runs for both, as in the records."""
        seed_everything(seed)
        self.net.reset(self.settings.uses("identity start"))
        with stopwatch(self.device) as watch:
            with kernels_compared():
                losses = self._train(seed)
            right = self._right(self.settings.uses("views"))
        history = losses.tolist()  # looked at only now: every look makes a GPU wait
        if not math.isfinite(history[-1]):
            raise TrainingError("The loss of the sprint is no longer a number; try smaller rates or more pictures.")
        plain = self._right(views=False) / len(self.test)
        self.runs += 1
        cold = self.runs == 1
        return SprintResult(watch.seconds, right / len(self.test), plain, tuple(history), self.device.name, cold)

    def _train(self, seed: int) -> Tensor:
        """Train from the present weights and return the losses (steps,), still on the device."""
        settings, images = self.settings, self._normalised("train")
        if settings.uses("whitening"):
            self.net.whitening(images[:500])  # half a million patches
        for optimizer in self.optimizers:
            for momentum in (value for state in optimizer.state.values() for value in state.values()):
                momentum.zero_()
        per_epoch = len(images) // settings.batch_size
        steps, bias_steps = math.ceil(settings.epochs * per_epoch), math.ceil(settings.bias_epochs * per_epoch)
        rates = self._rates(steps, bias_steps)
        losses = torch.empty(steps, device=self.device.torch)
        self.net.train()
        for step, batch in zip(range(steps), self._batches(images, seed)):
            self.rates.copy_(rates[step])
            losses[step] = self._step(step < bias_steps, batch)(*batch)
        return losses

    def _step(self, early: bool, batch: tuple[Tensor, Tensor]) -> Step:
        """Return the training step, in which whitening's biases learn while it is `early`; a GPU records both once."""
        self.net.whiten.bias.requires_grad_(early)  # later the gradients need not go back so far
        if not self.graphs:
            return self._train_step
        if early not in self.recorded:
            self.recorded[early] = GraphedStep(self._train_step, self.net, self.optimizers, *batch)
        return self.recorded[early]

    def _train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on a batch and return its mean loss. The rates lie on the device, and no value is looked at."""
        smoothing = self.settings.smoothing if self.settings.uses("label smoothing") else 0.0
        logits = self.forward(images).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
        self.net.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach() / len(labels)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        settings, net = self.settings, self.net
        filters = [p for p in net.parameters() if p.ndim == 4 and p.requires_grad]
        biases = [p for name, p in net.groups.named_parameters() if name.endswith("bias")]
        groups = []
        for parameters, rate, first in zip(
            ([net.whiten.bias], biases, [net.head.weight], filters), self.rates, self._first_rates()
        ):
            # SGD adds decay · weights to the gradients and multiplies by the rate: divided by the first rate, all
            # groups shrink alike, and less as the rates fall. (Decoupled decay would not go through the momentum:
            # Loshchilov and Hutter 2019, arXiv:1711.05101.) Muon needs none: it sets the filters' length itself.
            decay = settings.decay * settings.batch_size / first
            groups.append({"params": parameters, "lr": rate, "weight_decay": decay})
        last = groups.pop() if settings.uses("muon") else None
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.SGD(groups, momentum=settings.momentum, nesterov=True, fused=True)
        ]
        if last is not None:
            optimizers.append(Muon(filters, last["lr"], settings.filter_momentum))
        return optimizers

    def _first_rates(self) -> tuple[float, float, float, float]:
        """Return the highest rates: of the whitening's biases, the other biases, the head, the filters."""
        settings = self.settings
        filters = settings.filter_rate if settings.uses("muon") else settings.plain_rate
        return settings.bias_rate, settings.bias_rate, settings.head_rate, filters

    def _rates(self, steps: int, bias_steps: int) -> Tensor:
        """Return the rates of all steps, (steps, 4), as `_first_rates` names them."""
        falling = self.settings.uses("falling rates")
        shares = [1 - step / steps if falling else 1.0 for step in range(steps)]
        table = [[max(0.0, 1 - step / bias_steps), share, share, share] for step, share in enumerate(shares)]
        return (torch.tensor(table) * torch.tensor(self._first_rates())).to(self.device.torch)

    def _batches(self, images: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches of all epochs, each epoch in a new order, shifted and mirrored."""
        settings, n, device = self.settings, len(images), self.device.torch
        generator = torch.Generator(device).manual_seed(seed)
        first = torch.rand(n, generator=generator, device=device) < 0.5
        for epoch in range(math.ceil(settings.epochs)):
            order = torch.randperm(n, generator=generator, device=device)
            shifts = torch.randint(0, 2 * SHIFT + 1, (2, n), generator=generator, device=device) - SHIFT
            if not settings.uses("shifts"):
                shifts = torch.zeros_like(shifts)
            by_chance = torch.rand(n, generator=generator, device=device) < 0.5
            mirrored = alternating_flip(first, epoch) if settings.uses("alternating flip") else by_chance
            for chosen in order[: n // settings.batch_size * settings.batch_size].split(settings.batch_size):
                cut = windows(images, chosen, shifts[:, chosen], mirrored[chosen])
                yield cut, self.labels["train"][chosen]

    def _normalised(self, role: str) -> Tensor:
        """Return a part's pictures, normalised: from bytes to the type and layout of the network in a single pass."""
        images, part = self.images[role], self.train if role == "train" else self.test
        mean, std = (torch.tensor(v, device=images.device).view(-1, 1, 1) for v in (part.mean, part.std))
        made = torch.empty_like(images, dtype=self.dtype, memory_format=self.layout)
        return torch.addcmul(-mean / std, images, 1 / (255 * std), out=made)

    @torch.no_grad()
    def _right(self, views: bool) -> int:
        """Return how many test pictures are answered right."""
        self.net.eval()
        together = 2500 if self.device.kind == "cuda" else 200  # pictures: a processor gains nothing by more
        logits = answers(self.forward, self._normalised("test"), self.settings.unsure if views else 0.0, together)
        return int((logits.argmax(dim=1) == self.labels["test"]).sum())


@contextmanager
def kernels_compared() -> Iterator[None]:
    """Let cuDNN try its ways to convolve and keep the fastest for each shape: all batches here have the same."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def alternating_flip(first: Tensor, epoch: int) -> Tensor:
    """Return which pictures are mirrored in `epoch`: those of `first`, bool (N,), in even epochs, the others in odd."""
    return first if epoch % 2 == 0 else ~first


def windows(images: Tensor, chosen: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """Return chosen pictures (B, C, H, W), shifted and mirrored, all in a single gather, laid out as `images` are.

    Where a shift looks over the edge, it sees the pixels on this side of it, mirrored.

    Args:
        images: (N, C, H, W).
        chosen: int64 (B,).
        shifts: int64 (2, B), pixels down and to the right, smaller than the pictures.
        mirrored: bool (B,).
    """
    height, width = images.shape[2:]
    down, right = shifts[..., None]  # (B, 1) each
    rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
    rows = _inside(rows + down, height)  # (B, H)
    columns = _inside(torch.where(mirrored[:, None], columns.flip(0), columns) + right, width)  # (B, W)
    layout = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    pixels = images.permute(0, 2, 3, 1)[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return pixels.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _inside(places: Tensor, side: int) -> Tensor:
    """Return places on a line of `side` pixels, those beyond an end mirrored at it."""
    last = side - 1
    return last - (last - places.abs()).abs()


def answers(model: nn.Module, images: Tensor, unsure: float = 0.25, together: int = 200) -> Tensor:
    """Return logits (N, classes): of each picture, and for the least certain ones the weighted mean over six views.

    Of the views, the picture itself counts half, shifted by a pixel up left and down right a quarter each, all of them
    as they are and mirrored. That only pictures in doubt get them is an idea of hiverge/cifar10-speedrun (2025).

    Args:
        model: takes float pictures (B, 3, 32, 32).
        images: (N, 3, 32, 32).
        unsure: share of the pictures that get six views, those whose first answer is the least probable.
        together: pictures that are answered at a time.
    """
    logits = torch.cat([model(some) for some in images.split(together)])
    count = round(unsure * len(images))
    if not count:
        return logits
    certainty = logits.float().softmax(dim=1).amax(dim=1)
    doubtful = certainty.topk(count, largest=False, sorted=False).indices
    others = VIEWS[1:]  # the first one is what was answered
    shifts = torch.tensor([shift for shift, _, _ in others], device=images.device).repeat_interleave(count)
    mirrored = torch.tensor([mirror for _, mirror, _ in others], device=images.device).repeat_interleave(count)
    seen = windows(images, doubtful.repeat(len(others)), shifts.expand(2, -1), mirrored)
    again = torch.cat([model(some) for some in seen.split(together)]).view(len(others), count, -1)
    weights = torch.tensor([weight for _, _, weight in others], device=images.device).view(-1, 1, 1)
    logits[doubtful] = VIEWS[0][2] * logits[doubtful] + (weights * again).sum(dim=0).to(logits.dtype)
    return logits
