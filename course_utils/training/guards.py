"""What stands beside the training loop: parts that fit each other, losses that are numbers, memory that suffices.

Each guard raises an error that says in a sentence what was wrong, and what to do.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from course_utils.base.modules import device_of
from course_utils.errors import TrainingError

Scheduler = torch.optim.lr_scheduler.LRScheduler | torch.optim.lr_scheduler.ReduceLROnPlateau
LOOK_EVERY = 50  # batches between two looks at the loss on a GPU, where each look makes the GPU wait


def require_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Raise unless `optimizer` can train `model` with one loss a step.

    Raises:
        TypeError: when it is not an optimizer object.
        ValueError: when it holds none of the parameters that may learn, or needs a closure, as L-BFGS does.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError("Training needs an optimizer that was made, such as torch.optim.Adam(model.parameters()).")
    learning = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if not any(id(parameter) in learning for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(
            "The optimizer holds no parameter of this network that may learn; make it from model.parameters(), and "
            "leave requires_grad on for at least one."
        )
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"{type(optimizer).__name__} measures the loss several times in a step, which is not done here; take an "
            "optimizer whose step() needs no closure, such as SGD or Adam."
        )


def require_batches(batches: object) -> None:
    """Raise `TypeError` unless `batches` can be gone through."""
    if not hasattr(batches, "__iter__"):
        raise TypeError(f"Training needs batches, not a {type(batches).__name__}; make them with data.batches(part).")


def require_settings(
    epochs: int,
    patience: int | None,
    schedule_every: str,
    validation: object,
    scheduler: Scheduler | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Raise `ValueError` unless the settings of `fit` make sense together."""
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs must be a whole number of at least 1, not {epochs}.")
    if schedule_every not in ("batch", "epoch"):
        raise ValueError(f'schedule_every must be "batch" or "epoch", not {schedule_every!r}.')
    if patience is not None and patience < 1:
        raise ValueError(f"patience must be at least 1 epoch, not {patience}; leave it out to train all epochs.")
    if patience is not None and validation is None:
        raise ValueError("patience needs validation batches to know which epoch is best; pass validation=….")
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise ValueError("The scheduler moves another optimizer; make it from the one that is passed to fit.")
    if validation is None and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ValueError("ReduceLROnPlateau watches the validation loss; pass validation=….")


def require_pictures(images: Tensor, model: nn.Module) -> None:
    """Raise `TypeError` or `ValueError` unless `images` are tensors as the weights are, and at least one."""
    weights = next(model.parameters())
    if not isinstance(images, Tensor) or images.dtype != weights.dtype:
        kind = str(images.dtype)[6:] if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(
            f"Pictures must be {str(weights.dtype)[6:]} tensors, as the network's weights are, not {kind}; "
            "data.batches makes such batches, and pictures.to_float such pictures."
        )
    if len(images) == 0:
        raise ValueError("A batch holds no picture; leave empty batches out.")


def require_answers(logits: Tensor, labels: Tensor) -> None:
    """Raise `ValueError` unless there are logits (B, classes) for labels (B,) among these classes."""
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels):
        raise ValueError(
            f"A batch needs logits (B, classes) and labels (B,), not {tuple(logits.shape)} and {tuple(labels.shape)}; "
            "look at the network's last layer and at the batches."
        )
    require_labels(labels, logits.shape[1])


def require_labels(labels: Tensor, classes: int) -> None:
    """Raise `ValueError` unless all `labels` are whole numbers from 0 to `classes` − 1."""
    if labels.dtype != torch.int64:
        raise ValueError(f"Labels must be int64, not {str(labels.dtype)[6:]}; convert them with labels.long().")
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(
            f"Label {wrong} is outside the network's {classes} classes, 0 to {classes - 1}; "
            "fix the labels, or give the network more outputs."
        )


class Watch:
    """Watches one epoch of `fit`: it checks the batches, measures the loss, and counts by samples, not by batches.

    Args:
        model: the network that is trained.
        loss: takes logits and labels, returns the mean loss of the batch.
        epoch: counted from 1, for messages.
        rates: the learning rates so far; the last one is that of the present batch.
        closely: look at every picture's type and every label; a GPU has to wait for that.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        epoch: int,
        rates: list[float],
        closely: bool,
    ) -> None:
        self.model, self.measure, self.epoch, self.rates, self.closely = model, loss, epoch, rates, closely
        self.device = device_of(model)
        self.losses: list[Tensor] = []  # one a batch, weighted by its samples; kept on the device
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.count = self.batch_size = self.looked_at = 0

    def batches(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches on the network's device."""
        for images, labels in batches:
            if self.closely:
                require_pictures(images, self.model)
            self.batch_size = len(images)
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, and count it."""
        if self.closely:
            require_answers(logits, labels)
        loss = self.measure(logits, labels)
        self.losses.append(loss.detach() * len(labels))
        self.correct += (logits.detach().argmax(dim=1) == labels).sum()
        self.count += len(labels)
        # On the CPU each loss is looked at before its step, so that the weights stay good.
        if len(self.losses) - self.looked_at == (1 if self.device.type == "cpu" else LOOK_EVERY):
            self._look_back()
        return loss

    def summary(self) -> tuple[float, float]:
        """Return the mean loss and the accuracy, from 0 to 1, over all samples.

        Raises:
            ValueError: when there were none.
            TrainingError: when a loss is not a finite number.
        """
        if self.count == 0:
            raise ValueError("There are no batches to train on; give at least one picture.")
        self._look_back()
        return torch.stack(self.losses).double().sum().item() / self.count, self.correct.item() / self.count

    def _look_back(self) -> None:
        """Raise `TrainingError` for the first loss since the last look that is not a finite number."""
        start, self.looked_at = self.looked_at, len(self.losses)
        if start == len(self.losses):
            return
        finite = torch.stack(self.losses[start:]).isfinite()
        if finite.all():
            return
        batch = start + int((~finite).nonzero()[0])
        rate = self.rates[len(self.rates) - len(self.losses) + batch]
        raise TrainingError(
            f"The loss is {self.losses[batch].item()} at epoch {self.epoch}, batch {batch + 1}, learning rate "
            f"{rate:.3g}: try a learning rate ten times smaller, and check that the pictures hold no NaN and are "
            "normalised."
        )

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Turn an error that means "out of memory" into one that says what to do, and let go of the batch's tensors.

        Raises:
            TrainingError: in its place.
        """
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they would keep every tensor of the batch alive
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            place = f" on {self.device} in epoch {self.epoch}"
            raise TrainingError(out_of_memory(self.batch_size, place)) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that a GPU's or the computer's memory ran out."""
    texts = ("out of memory", "can't allocate memory", "not enough memory")  # GPUs; the CPU on Linux; on Windows
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


def out_of_memory(batch_size: int, place: str = "") -> str:
    """Return in one sentence what to do when memory runs out with batches of `batch_size`."""
    smaller = "halve the batch size" if batch_size > 1 else "take smaller pictures"
    return (
        f"Memory ran out{place} with batches of {batch_size}: {smaller}, compute in bfloat16, free what other cells "
        "hold (lesson 7 shows how), or restart the kernel if another network is still in memory."
    )
