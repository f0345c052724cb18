"""Saving and loading: weights for later use, and whole training states that a run can go on from.

Files are written beside their place and renamed into it, so a killed run leaves the old file or the new one,
never half of one. They are read with `weights_only=True`: a file from elsewhere cannot run code.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.base.files import whole
from course_utils.base.modules import device_of
from course_utils.errors import DataError
from course_utils.training.amp import Amp
from course_utils.training.guards import Scheduler
from course_utils.training.history import History
from course_utils.training.snapshot import random_state, set_random_state


class Run:
    """A training on its way: everything that a checkpoint keeps, so that a resumed run ends as an uninterrupted one.

    Args:
        model, optimizer, scheduler: what is trained, and how.
        dtype: for `Amp`.
        others: the loss and the batches, which may hold weights or random generators of their own.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Scheduler | None = None,
        dtype: torch.dtype | None = None,
        others: tuple[object, ...] = (),
    ) -> None:
        self.model, self.optimizer, self.scheduler, self.others = model, optimizer, scheduler, others
        self.device = device_of(model)
        self.amp = Amp(self.device, dtype)
        self.history = History()
        self.best_weights: dict[str, Tensor] | None = None
        self.best_score = float("-inf")

    def kinds(self) -> dict[str, str | None]:
        """Return what must not change when a run is resumed: the kinds of optimizer and scheduler, and its length."""
        return {
            "optimizer": type(self.optimizer).__name__,
            "scheduler": type(self.scheduler).__name__ if self.scheduler else None,
            "steps of the scheduler": str(getattr(self.scheduler, "total_steps", None)),
        }

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data and tensors."""
        return {
            "kinds": self.kinds(),
            "model": self.model.state_dict(),
            "modules": [module.state_dict() for module in self._modules()],
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "scaler": self.amp.scaler.state_dict(),
            "history": asdict(self.history),
            "best_weights": self.best_weights,
            "best_score": self.best_score,
            "random": random_state(*self.others),
        }

    def restore(self, state: dict[str, Any], name: str) -> None:
        """Put back what `state` returned; `name` is the file it came from, for messages.

        Raises:
            DataError: when it belongs to another network or another run.
        """
        if not {"kinds", "model", "optimizer"} <= state.keys():
            raise DataError(f"{name} holds weights but no training state; load it with load_weights instead.")
        require_same_network(self.model, state["model"], name)
        for what, here in self.kinds().items():
            saved = state["kinds"].get(what)
            if saved != here:
                raise DataError(
                    f"{name} belongs to another run: its {what} was {saved or 'none'}, here it is {here or 'none'}; "
                    "resume the run as it was, or delete the file to start again."
                )
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except (ValueError, KeyError) as error:
            raise DataError(f"{name} was saved with another optimizer ({error}); use that one, or delete it.") from None
        self.model.load_state_dict(state["model"])
        for module, weights in zip(self._modules(), state["modules"]):
            module.load_state_dict(weights)
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        if state["scaler"]:
            self.amp.scaler.load_state_dict(state["scaler"])
        self.history = History(**state["history"])
        self.best_weights, self.best_score = state["best_weights"], state["best_score"]
        set_random_state(state["random"], *self.others)

    def _modules(self) -> list[nn.Module]:
        return [thing for thing in self.others if isinstance(thing, nn.Module)]


def save(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts) to `path`, all of it or nothing.

    Raises:
        DataError: when the disk is full or the folder cannot be written.
    """
    with written(path) as unfinished, unfinished.open("wb") as file:
        torch.save(state, file)


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `path` when all is well, as `whole` does.

    Raises:
        DataError: in place of what the system says when the file cannot be written.
    """
    try:
        with whole(Path(path)) as unfinished:
            yield unfinished
    except (OSError, RuntimeError) as error:  # PyTorch says it with a RuntimeError when the disk is full
        raise DataError(_why_not_written(Path(path), error)) from error


def _why_not_written(path: Path, error: Exception) -> str:
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        return f"The disk is full, so {path.name} was not saved; free some space or save to another folder."
    if isinstance(error, PermissionError):
        return f"{path.name} was not saved: you may not write in its folder; choose another folder."
    return f"{path.name} was not saved ({error}); check its folder or choose another."


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save` wrote, with its tensors on `device`.

    Raises:
        DataError: when the file is missing, damaged, or holds anything but plain data.
    """
    path = Path(path)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DataError(f"There is no file {path.name}; train and save first, or check the path.") from None
    except (RuntimeError, UnpicklingError, EOFError, ValueError, KeyError, OSError) as error:
        raise DataError(
            f"{path.name} is damaged or is not a file saved by this course; delete it and train again."
        ) from error
    if not isinstance(state, dict):
        raise DataError(f"{path.name} holds a {type(state).__name__}, not saved weights; choose another file.")
    return state


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Save the weights and buffers of `model`; `load_weights` puts them into the same kind of network.

    Raises:
        DataError: as `save`.
    """
    save(model.state_dict(), path)


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Put saved weights into `model`, which must be the same kind of network; on an error it stays as it was.

    The file may also be a checkpoint of `fit`; its last weights are taken.

    Raises:
        DataError: when the file cannot be read or belongs to another network.
    """
    state = load(path)
    if "optimizer" in state and isinstance(state.get("model"), dict):
        state = state["model"]  # a checkpoint of `fit`: the weights are in it
    require_same_network(model, state, Path(path).name)
    model.load_state_dict(state)


def require_same_network(model: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """Raise `DataError` with the first difference when the weights `state` do not fit `model`."""
    here = model.state_dict()
    advice = "build the network that was saved, or choose another file"
    for key in here:
        if key not in state:
            raise DataError(f"{name} belongs to another network: it has no {key!r}; {advice}.")
        if here[key].shape != state[key].shape:
            raise DataError(
                f"{name} belongs to another network: {key!r} is {tuple(state[key].shape)} in the file "
                f"and {tuple(here[key].shape)} here; {advice}."
            )
    for key in state:
        if key not in here:
            raise DataError(f"{name} belongs to another network: this one has no {key!r}; {advice}.")
