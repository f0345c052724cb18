"""What stands beside the training loop: parts that fit each other, losses that are numbers, memory that suffices.

Each guard raises an error that says in a sentence what was wrong, and what to do.
"""

from __future__ import annotations

import functools
import inspect
import math
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.base.modules import device_of
from course_utils.errors import DivergedError, TrainingError

Scheduler = torch.optim.lr_scheduler.LRScheduler | torch.optim.lr_scheduler.ReduceLROnPlateau
Pairs = Iterable[tuple[Tensor, Tensor]]  # of pictures and labels, a batch each
Loss = Callable[[Tensor, Tensor], Tensor]  # of logits and labels
LOOK_EVERY = 50  # batches between two looks at the loss on a GPU, where each look makes the GPU wait


def kind_of(thing: object) -> str:
    """Return in words what was given in place of something else: "a list", "the class SGD"."""
    if thing is None:
        return "None"
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"


def is_between(low: float, number: object, high: float) -> bool:
    """Tell whether something is a number, and above `low` and below `high`."""
    return isinstance(number, (Real, Tensor)) and bool(low < number < high)


def count_of(batches: object) -> int | None:
    """Return how many batches there are; None where they do not know, though they may have a length."""
    try:
        return len(batches)
    except TypeError:
        return None


def require_network(model: object) -> None:
    """Raise `TypeError` unless `model` is a network that was made."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            "The network comes first, and must be one that was made, such as models.FashionNet(), not "
            f"{kind_of(model)}."
        )


def require_made_optimizer(optimizer: object) -> None:
    """Raise `TypeError` unless `optimizer` is one that was made."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            "Training needs an optimizer that was made, such as torch.optim.Adam(model.parameters()), not "
            f"{kind_of(optimizer)}."
        )


def require_scheduler(scheduler: object) -> None:
    """Raise `TypeError` unless `scheduler` is one that was made."""
    if not hasattr(scheduler, "optimizer"):
        raise TypeError(
            "Training needs a scheduler that was made over the optimizer, such as learning_rate.cosine(optimizer, "
            f"batches, epochs), not {kind_of(scheduler)}."
        )


def require_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Raise unless `optimizer` can train `model` with one loss a step.

    Raises:
        TypeError: when one of them is no object of its kind.
        ValueError: when it holds none of the parameters that may learn, or needs a closure, as L-BFGS does.
    """
    require_network(model)
    require_made_optimizer(optimizer)
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
        raise TypeError(f"Training needs batches, not {kind_of(batches)}; make them with data.batches(part).")


def require_reusable(batches: object, what: str = "the test") -> None:
    """Raise `TypeError` unless `batches` can be gone through again and again."""
    require_batches(batches)
    if isinstance(batches, Iterator):
        raise TypeError(
            f"These batches can be gone through only once, and {what} would use them up; pass the loader itself, "
            "not iter(loader)."
        )


def require_settings(
    epochs: int,
    patience: int | None,
    schedule_every: str,
    validation: object,
    scheduler: Scheduler | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Raise `ValueError` or `TypeError` unless the settings of `fit` make sense together."""
    require_epochs(epochs)
    if schedule_every not in ("batch", "epoch"):
        raise ValueError(f'schedule_every must be "batch" or "epoch", not {schedule_every!r}.')
    if patience is not None and (not isinstance(patience, int) or patience < 1):
        raise ValueError(
            f"patience must be a whole number of at least 1 epoch, not {patience!r}; leave it out to train all epochs."
        )
    if patience is not None and validation is None:
        raise ValueError("patience needs validation batches to know which epoch is best; pass validation=….")
    if scheduler is not None:
        require_scheduler(scheduler)
        if scheduler.optimizer is not optimizer:
            raise ValueError("The scheduler moves another optimizer; make it from the one that is passed to fit.")
    if validation is None and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ValueError("ReduceLROnPlateau watches the validation loss; pass validation=….")


def require_steps(scheduler: Scheduler | None, batches: object, epochs: int, per_batch: bool) -> None:
    """Raise `ValueError` when a schedule that knows its length ends before a training of so many epochs."""
    total, taken = getattr(scheduler, "total_steps", None), getattr(scheduler, "last_epoch", 0)
    steps = epochs * (count_of(batches) or 0) if per_batch else epochs
    if total is not None and taken + steps > total:
        raise ValueError(
            f"The schedule has {total - taken:,} of its {total:,} steps left, and this training takes {steps:,}; make "
            f"network, optimizer and schedule anew, the schedule for {epochs} epochs of these batches."
        )


def require_epochs(epochs: int) -> None:
    """Raise `ValueError` unless `epochs` is a whole number of at least 1."""
    if not isinstance(epochs, Integral) or epochs < 1:
        raise ValueError(f"epochs must be a whole number of at least 1, not {epochs!r:.40}.")


def endless(batches: Pairs) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Give the batches again and again, from the first; raise `ValueError` when a pass through them gives none."""
    while True:
        empty = True
        for batch in batches:
            empty = False
            require_pair(batch)
            yield batch
        if empty:
            raise ValueError(
                "There are no batches to train on: a pass through them gave none; give at least one, in a list or a "
                "loader that can be gone through again."
            )


def require_batch(batch: object, model: nn.Module) -> None:
    """Raise `TypeError` or `ValueError` unless `batch` is a pair of tensors, the first of them pictures for `model`.

    Pictures are of the type that the weights have, and at least one.
    """
    require_pair(batch)
    images = batch[0]
    weights = next(model.parameters(), images)
    if images.dtype != weights.dtype:
        raise TypeError(
            f"Pictures must be {str(weights.dtype)[6:]} tensors, as the network's weights are, not "
            f"{str(images.dtype)[6:]}; data.batches makes such batches, and pictures.to_float such pictures."
        )
    if len(images) == 0:
        raise ValueError("A batch holds no picture; leave empty batches out.")


def require_pair(batch: object) -> None:
    """Raise `TypeError` unless `batch` is a pair of tensors."""
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    if not pair or not all(isinstance(each, Tensor) for each in batch):
        many = f"{len(batch)} things" if isinstance(batch, (tuple, list)) else kind_of(batch)
        raise TypeError(
            f"A batch must be a pair of inputs and targets, not {' and '.join(map(kind_of, batch)) if pair else many}: "
            "two tensors, as data.batches and a DataLoader make them; a single batch goes into a list."
        )


def require_tensor(answer: object) -> None:
    """Raise `TypeError` unless what a network returned is one tensor."""
    if not isinstance(answer, Tensor):
        raise TypeError(
            f"The network must return one tensor, logits (B, classes), not {kind_of(answer)}; let its forward return "
            "the logits alone, as torchvision's Inception and GoogLeNet do with model.aux_logits = False."
        )


def require_loss(loss: object) -> None:
    """Raise `TypeError` unless `loss` is a function, or a module that was made."""
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(
            "The loss must be a function, or be made before it is passed, such as nn.CrossEntropyLoss(), not "
            f"{kind_of(loss)}."
        )


def require_mean(loss: object) -> None:
    """Raise `ValueError` unless what a loss returned is one number in a tensor."""
    if not isinstance(loss, Tensor) or loss.ndim:
        raise ValueError(
            "The loss must be one number, the mean over the batch in a tensor, not "
            f"{tuple(loss.shape) if isinstance(loss, Tensor) else kind_of(loss)}; leave out .item() and reduction."
        )


def require_answers(logits: object, labels: Tensor) -> None:
    """Raise `TypeError` or `ValueError` unless there are logits (N, classes), a row for each of the labels (N,)."""
    require_tensor(logits)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"Answers are logits (N, classes) with labels (N,), not {tuple(logits.shape)} with {tuple(labels.shape)}; "
            "look at the network's last layer and at the batches."
        )


def require_labels(labels: Tensor, classes: int, ignored: int | None = None) -> int:
    """Raise `ValueError` unless all `labels` are whole numbers from 0 to `classes` − 1, or `ignored` by the loss.

    Returns:
        The smallest label.
    """
    if labels.dtype != torch.int64:
        raise ValueError(f"Labels must be int64, not {str(labels.dtype)[6:]}; convert them with labels.long().")
    low, high = (end.item() for end in labels.aminmax())
    if low < 0 or high >= classes:
        outside = [each for each in labels[(labels < 0) | (labels >= classes)].tolist() if each != ignored]
        if outside:
            raise ValueError(
                f"Label {outside[0]} is outside the network's {classes} classes, 0 to {classes - 1}; "
                "fix the labels, or give the network more outputs."
            )
    return low


class Shares:
    """Which samples a loss counts, and how much: cross entropy may weigh classes, and leave out a label.

    Without that each sample counts 1, so the mean over an epoch is the mean of the batches' losses by their sizes.
    """

    def __init__(self, loss: object) -> None:
        require_loss(loss)
        measure = loss.func if isinstance(loss, functools.partial) else loss
        known, options = measure in (F.cross_entropy, F.nll_loss), {}
        if isinstance(measure, (nn.CrossEntropyLoss, nn.NLLLoss)):
            known, options = True, {name: getattr(measure, name) for name in ("weight", "ignore_index", "reduction")}
        elif known and isinstance(loss, functools.partial):
            options = loss.keywords
        if options.get("reduction", "mean") == "sum":
            raise ValueError("The loss must be the mean over the batch, not its sum; leave reduction out.")
        self.weight: Tensor | None = options.get("weight")
        self.ignored: int | None = options.get("ignore_index", -100) if known else None
        self.equal = self.weight is None and (self.ignored is None or self.ignored < 0)  # until a label says otherwise

    def kept(self, labels: Tensor) -> Tensor:
        """Return which labels count, bool (B,)."""
        return labels != self.ignored if self.ignored is not None else torch.ones_like(labels, dtype=torch.bool)

    def of(self, labels: Tensor) -> Tensor:
        """Return how much each label counts, float (B,)."""
        kept = self.kept(labels)
        return kept.float() if self.weight is None else self.weight[labels.where(kept, 0)] * kept


class Watch:
    """Watches one epoch of `fit`: it checks the batches, measures the loss, and counts by samples, not by batches.

    Args:
        model: the network that is trained.
        optimizer: whose rates are noted, those of all groups for each batch.
        loss: takes logits and labels, returns the mean loss of the batch.
        shares: how much each sample counts in it.
        epoch: counted from 1, for messages.
        closely: look at every picture's type and every label; a GPU has to wait for that.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        shares: Shares,
        epoch: int,
        closely: bool,
    ) -> None:
        self.model, self.optimizer, self.measure, self.shares = model, optimizer, loss, shares
        self.epoch, self.closely = epoch, closely
        self.device = device_of(model)
        self.every = look_every(self.device)
        # One a batch, and on the device, so that nobody waits: what is done with them is done once an epoch.
        self.losses: list[Tensor] = []
        self.rates: list[list[float | Tensor]] = []
        self.right: list[Tensor] = []
        self.counts: list[Tensor | int] = []
        self.weights: list[Tensor | int] = []
        self.batch_size = self.looked_at = 0

    def batches(self, batches: Pairs) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches on the network's device."""
        for batch in batches:
            if self.closely:
                require_batch(batch, self.model)
            images, labels = batch
            self.batch_size = len(images)
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, and count it."""
        if self.closely:
            require_answers(logits, labels)
            if require_labels(labels, logits.shape[1], self.shares.ignored) < 0:
                self.shares.equal = False
        loss = self.measure(logits, labels)
        if self.closely:
            require_mean(loss)
            if not loss.requires_grad:
                raise ValueError(
                    "No way leads back from the loss to the weights; compute it from the logits by PyTorch's "
                    "functions, without argmax and detach, and train outside torch.no_grad()."
                )
        right = logits.detach().argmax(dim=1) == labels
        if self.shares.equal:
            count = weight = len(labels)
        else:
            kept = self.shares.kept(labels)
            right, count, weight = right & kept, kept.sum(), self.shares.of(labels).sum()
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.rates.append([rate.clone() if isinstance(rate, Tensor) else rate for rate in rates])
        self.losses.append(loss.detach())
        self.right.append(right)
        self.counts.append(count)
        self.weights.append(weight)
        if len(self.losses) - self.looked_at >= self.every:
            self._look_back()
        return loss

    def summary(self) -> tuple[float, float]:
        """Return the mean loss and the accuracy, from 0 to 1, over all samples that count.

        Raises:
            ValueError: when there were none.
            TrainingError: when a loss is not a finite number.
        """
        if not self.losses:
            raise ValueError("There are no batches to train on; give at least one picture.")
        self._look_back()
        counts, weights = (_together(each, self.device) for each in (self.counts, self.weights))
        mean = (torch.stack(self.losses).to(weights) @ weights / weights.sum()).item()
        return mean, (torch.cat(self.right).sum() / counts.sum()).item()

    def _look_back(self) -> None:
        """Raise `TrainingError` for the first loss since the last look that is not a finite number."""
        start, self.looked_at = self.looked_at, len(self.losses)
        new = self.losses[start:]
        if len(new) == 1 and math.isfinite(new[0].item()):  # as on the CPU, where this is the quicker way
            return
        if not new or torch.stack(new).isfinite().all():
            return
        batch = start + next(place for place, loss in enumerate(new) if not loss.isfinite())
        if self.epoch == 1 and batch == 0:
            raise TrainingError(
                f"The loss is {self.losses[0].item()} before any step, so no learning rate is to blame; look for NaN "
                "and huge values in the pictures and in the weights."
            )
        rates = sorted(map(float, self.rates[batch]))
        span = f"{rates[0]:.3g}" + (f" to {rates[-1]:.3g}" if rates[0] < rates[-1] else "")
        raise DivergedError(
            f"The loss is {self.losses[batch].item()} at epoch {self.epoch}, batch {batch + 1}, learning rate "
            f"{span}: try a learning rate ten times smaller, and check that the pictures hold no NaN and are "
            "normalised."
        )


def look_every(device: torch.device) -> int:
    """Return how many batches lie between two looks at the loss: on the CPU none, so that the weights stay good."""
    return 1 if device.type == "cpu" else LOOK_EVERY


def _together(numbers: list[Tensor | int], device: torch.device) -> Tensor:
    """Return one number a batch as a tensor, in double precision where the device has it."""
    kind = torch.float32 if device.type == "mps" else torch.float64
    if isinstance(numbers[-1], Tensor):
        return torch.stack([torch.as_tensor(each, device=device) for each in numbers]).to(kind)
    return torch.tensor(numbers, dtype=kind, device=device)


@contextmanager
def explained(device: torch.device, batch_size: Callable[[], int], place: str = "") -> Iterator[None]:
    """Turn PyTorch's errors that a batch's size causes into a sentence that says what to do.

    Where memory ran out, what the batch held is let go of.

    Raises:
        TrainingError, ValueError: in their place.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they would keep every tensor of the batch alive
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise TrainingError(out_of_memory(batch_size(), f" on {device}{place}")) from None
    except ValueError as error:
        if batch_size() != 1 or not str(error).startswith("Expected more than 1 value per channel"):
            raise
        raise ValueError(
            "A batch holds one picture alone, of which batch normalisation can take no spread: leave out a last batch "
            "that is smaller (drop_last=True), or take another batch size."
        ) from None


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
