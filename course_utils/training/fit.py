"""`fit`: the five lines of every training loop (`train_step`), and what a real run needs around them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.base.modules import weights_of
from course_utils.training import checkpoints, guards, watch
from course_utils.training.amp import Amp
from course_utils.training.evaluate import evaluate
from course_utils.training.guards import Loss, Pairs, Scheduler
from course_utils.training.history import History
from course_utils.training.snapshot import set_epoch


def train_step(
    model: nn.Module, images: Tensor, labels: Tensor, loss: Loss, optimizer: torch.optim.Optimizer, amp: Amp
) -> tuple[Tensor, bool]:
    """Train `model` on one batch: predict, measure the loss, clear the gradients, compute new ones, take a step.

    Returns:
        The loss before the step, and whether the step was taken; see `Amp.step`.
    """
    with amp.autocast:
        logits = model(images)
        batch_loss = loss(logits, labels)
    optimizer.zero_grad()
    amp.scaled(batch_loss).backward()
    stepped = amp.step(optimizer)
    return batch_loss.detach(), stepped


def fit(
    model: nn.Module,
    batches: Pairs,
    validation: Pairs | None = None,
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
        progress: show how far it is: in a notebook a table that grows, a curve and the time left; elsewhere a bar while
            an epoch runs, and a line after it.

    Returns:
        A `History` with one entry an epoch.

    Raises:
        ValueError, TypeError: for settings, pictures or labels that do not fit.
        TrainingError: when the loss is no longer a number, or memory runs out; the message says where and what to try.
        DataError: when the checkpoint cannot be written, read, or belongs to another run.
    """
    guards.require_optimizer(optimizer, model)
    for given in (batches, validation) if validation is not None else (batches,):
        guards.require_reusable(given, "the first epoch") if epochs != 1 else guards.require_batches(given)
    guards.require_settings(epochs, patience, schedule_every, validation, scheduler, optimizer)
    plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    per_batch = schedule_every == "batch" and not plateau
    settings = {"schedule_every": schedule_every, "patience": patience, "validation": validation is not None}
    run = checkpoints.Run(
        model, optimizer, scheduler, autocast, batches=batches, loss=loss, settings=settings, others=(validation,)
    )
    checkpoint_file = Path(checkpoint) if checkpoint is not None else None
    if checkpoint_file is not None and checkpoint_file.exists():
        run.restore(checkpoints.load(checkpoint_file, run.device), checkpoint_file.name, most_epochs=epochs)
        if progress:
            print(f"going on from {checkpoint_file.name}, where {run.history.epochs} of {epochs} epochs are done")
    guards.require_steps(scheduler, batches, epochs - run.history.epochs, per_batch)
    first, shares = run.history.epochs + 1, guards.Shares(loss)
    table = watch.EpochTable(run.history, epochs) if progress and watch.EpochTable.wanted() else None
    while run.history.epochs < epochs and not run.history.stopped_early:
        epoch = run.history.epochs + 1
        shown = table.batches if table else partial(_bar, title=f"epoch {epoch}", progress=progress)
        _train_one_epoch(run, batches, shares, per_batch, closely=epoch == first, shown=shown)
        if validation is not None:
            _validate(run, validation, loss, patience)
        if scheduler is not None and not per_batch:
            scheduler.step(*([run.history.validation_loss[-1]] if plateau else []))
        if checkpoint_file is not None:
            checkpoints.save(run.state(), checkpoint_file)
        if table:
            table.show()
        elif progress:
            print(run.history.row(epoch))
    if patience is not None and run.best_weights is not None:
        checkpoints.put_weights(model, run.best_weights, "The best epoch")
        if progress and run.history.best_epoch != run.history.epochs:
            print(f"kept the weights of epoch {run.history.best_epoch}, the best on validation")
    return run.history


def _train_one_epoch(
    run: checkpoints.Run,
    batches: Pairs,
    shares: guards.Shares,
    per_batch: bool,
    closely: bool,
    shown: Callable[[Pairs], Pairs],
) -> None:
    epoch, history = run.history.epochs + 1, run.history
    guard = guards.Watch(run.model, run.optimizer, run.loss, shares, epoch, closely)
    set_epoch(batches, epoch - 1)
    start = time.perf_counter()
    with guards.explained(run.device, lambda: guard.batch_size, f" in epoch {epoch}"):
        _steps(run, guard.batches(shown(batches)), guard.loss, per_batch)
    mean_loss, accuracy = guard.summary()
    history.learning_rates += [float(rates[0]) for rates in guard.rates]  # only now: they may be tensors on a GPU
    history.train_loss.append(mean_loss)
    history.train_accuracy.append(accuracy)
    history.seconds.append(time.perf_counter() - start)


def _steps(run: checkpoints.Run, batches: Pairs, loss: Loss, per_batch: bool) -> None:
    """Go through all batches once. A function of its own: after an error nothing holds on to the last batch."""
    run.model.train()
    for images, labels in batches:
        _, stepped = train_step(run.model, images, labels, loss, run.optimizer, run.amp)
        if per_batch and stepped and run.scheduler is not None:
            run.scheduler.step()


def _bar(batches: Pairs, title: str, progress: bool) -> Pairs:
    """Wrap `batches` in a bar that goes away when the epoch ends; runs without a reader set COURSE_PROGRESS=0."""
    if not progress or os.environ.get("COURSE_PROGRESS") == "0":
        return batches
    return tqdm(batches, desc=title, unit="batch", leave=False, delay=1, mininterval=0.5, disable=None, file=sys.stdout)


def _validate(run: checkpoints.Run, validation: Pairs, loss: Loss, patience: int | None) -> None:
    metrics, history = evaluate(run.model, validation, loss), run.history
    history.validation_loss.append(metrics.loss)
    history.validation_accuracy.append(metrics.accuracy)
    if history.best_epoch is None or metrics.accuracy > run.best_score:
        run.best_score, history.best_epoch = metrics.accuracy, history.epochs
        if patience is not None:
            run.best_weights = {name: value.clone() for name, value in weights_of(run.model).items()}
    elif patience is not None and history.epochs - history.best_epoch >= patience:
        history.stopped_early = True
