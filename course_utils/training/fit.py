"""`fit`: the five lines of every training loop, and what a real run needs around them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.errors import TrainingError
from course_utils.training import checkpoints
from course_utils.training.evaluate import Loss, evaluate, require_labels
from course_utils.training.history import History
from course_utils.training.snapshot import Run, Scheduler

CHECK_EVERY = 50  # batches between two looks at the loss on a GPU, where each look makes the GPU wait


def fit(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    validation: Iterable[tuple[Tensor, Tensor]] | None = None,
    *,
    epochs: int,
    optimizer: torch.optim.Optimizer,
    loss: Loss = F.cross_entropy,
    scheduler: Scheduler | None = None,
    schedule_every: str = "batch",
    autocast: torch.dtype | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Train `model` in place and return what happened.

    Args:
        model: returns logits (B, classes); it is trained on the device where its weights are.
        batches: yields pairs of pictures, float32 (B, C, H, W), and labels, int64 (B,), each time it is gone
            through: `data.batches(...)`, a `DataLoader`, or a list of pairs.
        validation: the same, for pictures that are not trained on; needed for `patience` and for
            `ReduceLROnPlateau`.
        epochs: how often to go through all batches; a resumed run counts those of its checkpoint.
        optimizer: any optimizer over the parameters of `model`.
        loss: takes logits and labels, returns the mean loss of the batch.
        scheduler: any scheduler over `optimizer`.
        schedule_every: "batch" or "epoch", when the scheduler takes its steps; `ReduceLROnPlateau` always takes
            them per epoch, from the validation loss.
        autocast: `torch.bfloat16` or `torch.float16` to compute in half the bits where that is safe.
        patience: stop after this many epochs without a better validation accuracy, and put back the best weights.
        checkpoint: a file that is saved after each epoch; if it is there at the start, the run goes on from it and
            ends exactly as if it had never stopped.
        progress: show a bar while an epoch runs and print a line after it.

    Returns:
        A `History` with one entry an epoch.

    Raises:
        ValueError, TypeError: for settings, pictures or labels that do not fit.
        TrainingError: when the loss is no longer a number, or memory runs out; the message says where and what to try.
        DataError: when the checkpoint cannot be written, read, or belongs to another run.
    """
    _require_parts(model, batches, optimizer, scheduler)
    plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    _require_settings(epochs, patience, schedule_every, validation is not None, plateau)
    run = Run(model, optimizer, scheduler, half=autocast is torch.float16)
    checkpoint_file = Path(checkpoint) if checkpoint is not None else None
    if checkpoint_file is not None and checkpoint_file.exists():
        run.restore(checkpoints.load(checkpoint_file, run.device), checkpoint_file.name)
        if progress:
            print(f"going on from {checkpoint_file.name}, where {run.history.epochs} of {epochs} epochs are done")
    first = run.history.epochs + 1
    per_batch = schedule_every == "batch" and not plateau
    while run.history.epochs < epochs and not run.history.stopped_early:
        epoch = run.history.epochs + 1
        if hasattr(batches, "set_epoch"):
            batches.set_epoch(epoch - 1)
        _train_one_epoch(run, batches, loss, autocast, per_batch, epoch, progress, check_labels=epoch == first)
        if validation is not None:
            _validate(run, validation, loss, patience)
        if scheduler is not None and not per_batch:
            scheduler.step(*([run.history.validation_loss[-1]] if plateau else []))
        if checkpoint_file is not None:
            checkpoints.save(run.state(), checkpoint_file)
        if progress:
            print(run.history.row(epoch))
    if patience is not None and run.best_weights is not None:
        model.load_state_dict(run.best_weights)
        if progress and run.history.best_epoch != run.history.epochs:
            print(f"kept the weights of epoch {run.history.best_epoch}, the best on validation")
    return run.history


def _require_parts(
    model: nn.Module, batches: object, optimizer: torch.optim.Optimizer, scheduler: Scheduler | None
) -> None:
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError("fit needs an optimizer that was made, such as torch.optim.Adam(model.parameters()).")
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError("The optimizer holds no parameter of this network; make it from model.parameters().")
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise ValueError("The scheduler moves another optimizer; make it from the one that is passed to fit.")
    if not hasattr(batches, "__iter__"):
        raise TypeError(f"fit needs batches, not a {type(batches).__name__}; make them with data.batches(part).")


def _require_settings(epochs: int, patience: int | None, schedule_every: str, validation: bool, plateau: bool) -> None:
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs must be a whole number of at least 1, not {epochs}.")
    if schedule_every not in ("batch", "epoch"):
        raise ValueError(f'schedule_every must be "batch" or "epoch", not {schedule_every!r}.')
    if patience is not None and patience < 1:
        raise ValueError(f"patience must be at least 1 epoch, not {patience}; leave it out to train all epochs.")
    if patience is not None and not validation:
        raise ValueError("patience needs validation batches to know which epoch is best; pass validation=….")
    if plateau and not validation:
        raise ValueError("ReduceLROnPlateau watches the validation loss; pass validation=….")


def _train_one_epoch(
    run: Run,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Loss,
    autocast: torch.dtype | None,
    per_batch: bool,
    epoch: int,
    progress: bool,
    check_labels: bool,
) -> None:
    model, optimizer, scaler, device = run.model, run.optimizer, run.scaler, run.device
    half: AbstractContextManager = nullcontext() if autocast is None else torch.autocast(device.type, autocast)
    losses: list[Tensor] = []  # one a batch, weighted by its samples; kept on the device
    correct = torch.zeros((), dtype=torch.int64, device=device)
    count = checked = 0
    looks = 1 if device.type == "cpu" else CHECK_EVERY
    start = time.perf_counter()
    model.train()
    for images, labels in _bar(batches, f"epoch {epoch}", progress):
        if check_labels:  # once, in the first epoch
            _require_pictures(images, model)
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        run.history.learning_rates.append(optimizer.param_groups[0]["lr"])
        try:
            with half:
                logits = model(images)
                if check_labels:  # only in the first epoch: a GPU has to wait for it
                    _require_batch(logits, labels)
                batch_loss = loss(logits, labels)
            losses.append(batch_loss.detach() * len(labels))
            if len(losses) - checked == looks:  # on the CPU before each step, so that the weights stay good
                _require_numbers(losses, checked, epoch, run.history.learning_rates)
                checked = len(losses)
            optimizer.zero_grad()
            scaler.scale(batch_loss).backward()
            scale = scaler.get_scale() if scaler.is_enabled() else 1.0
            scaler.step(optimizer)
            scaler.update()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise _out_of_memory(len(images), epoch, device) from None
        stepped = not scaler.is_enabled() or scaler.get_scale() >= scale
        if per_batch and run.scheduler is not None and stepped:
            run.scheduler.step()
        correct += (logits.detach().argmax(dim=1) == labels).sum()
        count += len(labels)
    if count == 0:
        raise ValueError("There are no batches to train on; give at least one picture.")
    _require_numbers(losses, checked, epoch, run.history.learning_rates)
    run.history.train_loss.append(torch.stack(losses).double().sum().item() / count)
    run.history.train_accuracy.append(correct.item() / count)
    run.history.seconds.append(time.perf_counter() - start)


def _bar(batches: Iterable[tuple[Tensor, Tensor]], title: str, progress: bool) -> Iterable[tuple[Tensor, Tensor]]:
    """Wrap `batches` in a bar that goes away when the epoch ends; runs without a reader set COURSE_PROGRESS=0."""
    if not progress or os.environ.get("COURSE_PROGRESS") == "0":
        return batches
    return tqdm(batches, desc=title, unit="batch", leave=False, delay=1, mininterval=0.5, file=sys.stdout)


def _require_pictures(images: Tensor, model: nn.Module) -> None:
    weights = next(model.parameters())
    if not isinstance(images, Tensor) or images.dtype != weights.dtype:
        found = str(images.dtype)[6:] if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(
            f"Pictures must be {str(weights.dtype)[6:]} tensors, as the network's weights are, not {found}; "
            "data.batches makes such batches, and pictures.to_float such pictures."
        )
    if len(images) == 0:
        raise ValueError("A batch holds no picture; leave empty batches out.")


def _require_batch(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels):
        raise ValueError(
            f"A batch needs logits (B, classes) and labels (B,), not {tuple(logits.shape)} and {tuple(labels.shape)}; "
            "look at the network's last layer and at the batches."
        )
    require_labels(labels, logits.shape[1])


def _require_numbers(losses: list[Tensor], start: int, epoch: int, rates: list[float]) -> None:
    """Raise `TrainingError` for the first loss from `start` on that is not a finite number."""
    if start == len(losses):
        return
    fine = torch.stack(losses[start:]).isfinite()
    if fine.all():
        return
    batch = start + int((~fine).nonzero()[0])
    rate = rates[len(rates) - len(losses) + batch]
    raise TrainingError(
        f"The loss is {losses[batch].item()} at epoch {epoch}, batch {batch + 1}, learning rate {rate:.3g}: "
        "try a learning rate ten times smaller, and check that the pictures hold no NaN and are normalised."
    )


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _out_of_memory(size: int, epoch: int, device: torch.device) -> TrainingError:
    """Return the error to raise; without the old traceback, whose frames would keep the batch's tensors alive."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return TrainingError(
        f"Memory ran out on {device} in epoch {epoch} with batches of {size}: "
        "halve the batch size, or restart the kernel if another network is still in memory."
    )


def _validate(run: Run, validation: Iterable[tuple[Tensor, Tensor]], loss: Loss, patience: int | None) -> None:
    metrics, history = evaluate(run.model, validation, loss), run.history
    history.validation_loss.append(metrics.loss)
    history.validation_accuracy.append(metrics.accuracy)
    if metrics.accuracy > run.best_score:
        run.best_score, history.best_epoch = metrics.accuracy, history.epochs
        if patience is not None:
            run.best_weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    elif patience is not None and history.epochs - history.best_epoch >= patience:
        history.stopped_early = True
