"""Saving and loading: weights for later use, and whole training states that a run can go on from.

Files are written beside their place and renamed into it, so a killed run leaves the old file or the new one,
never half of one. They are read with `weights_only=True`: a file from elsewhere cannot run code.
"""

from __future__ import annotations

import copy
import errno
import os
import re
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.base.files import whole
from course_utils.base.modules import COMPILED, device_of, unwrapped, weights_of
from course_utils.base.words import short
from course_utils.errors import DataError, SettingError, reason
from course_utils.training import identity
from course_utils.training.amp import Amp
from course_utils.training.guards import Scheduler, require_network
from course_utils.training.history import History
from course_utils.training.snapshot import Snapshot, random_state, set_random_state


class Run:
    """A training on its way: everything that a checkpoint keeps, so that a resumed run ends as an uninterrupted one.

    Args:
        model, optimizer, scheduler: what is trained, and how.
        dtype: for `Amp`.
        batches, loss: what it is trained with, which may hold weights or random generators of their own.
        settings: what else decides the run, in words, and its value.
        others: what else draws random numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Scheduler | None = None,
        dtype: torch.dtype | None = None,
        *,
        batches: object = None,
        loss: object = None,
        settings: identity.Settings | None = None,
        others: tuple[object, ...] = (),
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.batches, self.loss, self.random = batches, loss, (batches, loss, model, *others)
        self.device = device_of(model)
        self.amp = Amp(self.device, dtype)
        self.history = History()
        self.best_weights: dict[str, Tensor] | None = None
        self.best_score = float("-inf")
        self.others = {"computed in": str(dtype)} | (settings or {})
        self.begun = self.settings()

    def settings(self) -> identity.Settings:
        """Return what decides the run, as it is now."""
        now = identity.settings_of(self.model, self.optimizer, self.scheduler, self.batches, self.loss)
        return self.others | now

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data and tensors."""
        return {
            "settings": [self.begun, self.settings()],
            "model": weights_of(self.model),
            "loss": self.loss.state_dict() if isinstance(self.loss, nn.Module) else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "scaler": self.amp.scaler.state_dict(),
            "history": asdict(self.history),
            "best_weights": self.best_weights,
            "best_score": self.best_score,
            "random": random_state(*self.random),
        }

    def restore(self, state: dict[str, Any], name: str, most_epochs: int | None = None) -> None:
        """Put back what `state` returned; `name` is the file it came from, for messages.

        On an error everything stays as it is.

        Raises:
            SettingError: when it holds more than `most_epochs`.
            DataError: when it belongs to another network or another run, or is no whole state of one.
        """
        if "optimizer" not in state or "settings" not in state:
            raise DataError(f"{name} holds weights but no training state; load it with load_weights instead.")
        before = Snapshot(self.model, self.optimizer, self.batches, self.loss)
        moves = copy.copy(vars(self.scheduler)) if self.scheduler else {}
        inner = copy.deepcopy(self.scheduler.state_dict()) if self.scheduler else {}  # that of schedulers in it, too
        try:
            self._restore(state, name)
            if most_epochs is not None and self.history.epochs > most_epochs:
                raise SettingError(
                    f"{name} holds {self.history.epochs} epochs and {most_epochs} were asked for; ask for no fewer, or "
                    "save to another file to train anew."
                )
        except Exception as error:
            before.put_back()
            if self.scheduler:
                self.scheduler.load_state_dict(inner)
                vars(self.scheduler).update(moves)
            if isinstance(error, (DataError, SettingError)):
                raise
            raise DataError(
                f"{name} holds no whole state of this training ({reason(error)}); save to another file."
            ) from error

    def _restore(self, state: dict[str, Any], name: str) -> None:
        for part in ("model", "optimizer", "history", "random"):
            _require_alike(state[part], {})
        require_same_network(weights_of(self.model), state["model"], name)
        first, later = state["settings"]
        other = identity.difference(first, later, self.begun)
        if other is None and len(state["optimizer"]["param_groups"]) != len(self.optimizer.param_groups):
            other = "its optimizer had another number of parameter groups"
        if other:
            raise DataError(
                f"{name} belongs to another run: {other}; resume the run as it was, or save to another file to start "
                "a new one."
            )
        _require_alike(state["optimizer"]["param_groups"], self.optimizer.state_dict()["param_groups"])
        for moments in state["optimizer"]["state"].values():
            _require_alike(moments, {})
        self.optimizer.load_state_dict(state["optimizer"])
        _require_moments(self.optimizer)
        put_weights(self.model, state["model"], name)
        if isinstance(self.loss, nn.Module):
            self.loss.load_state_dict(state["loss"])
        if self.scheduler:
            _require_alike(state["scheduler"], self.scheduler.state_dict())
            self.scheduler.load_state_dict(state["scheduler"])
            _require_rates(self.scheduler, self.optimizer)
        if state["scaler"]:
            _require_alike(state["scaler"], self.amp.scaler.state_dict())
            self.amp.scaler.load_state_dict(state["scaler"])
        history = History(**state["history"])
        _require_alike(asdict(history), asdict(History([0.0], [0.0], [0.0], [0.0], [0.0], [0.0], history.best_epoch)))
        trained = {len(each) for each in (history.train_loss, history.train_accuracy, history.seconds)}
        validated = {len(history.validation_loss), len(history.validation_accuracy)}
        epochs = range(1, len(history.validation_accuracy) + 1)
        if len(trained) > 1 or len(validated) > 1 or state["history"].keys() != vars(history).keys():
            raise ValueError("its history has lists of different lengths")
        if history.best_epoch not in (epochs or [None]):
            raise ValueError(f"{str(history.best_epoch)[:40]!r} stands for one of its epochs")
        self.best_weights, self.best_score = state["best_weights"], float(state["best_score"])
        if self.best_weights is not None:
            require_same_network(weights_of(self.model), self.best_weights, name)
        here = random_state(*self.random)
        _require_alike([state["random"][of] for of in ("python", "numpy")], [here["python"], here["numpy"]])
        set_random_state(state["random"], *self.random)
        self.begun, self.history = first, history


def _require_moments(optimizer: torch.optim.Optimizer) -> None:
    """Raise unless an optimizer holds of each parameter what its own step would leave, in sizes that fit."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            moments = optimizer.state.get(parameter)
            if moments:
                trial, weight = copy.copy(optimizer), nn.Parameter(parameter.new_zeros([2] * parameter.ndim))
                weight.grad = torch.zeros_like(weight)
                trial.state, trial.param_groups = defaultdict(dict), [{**group, "params": [weight]}]
                type(trial).step(trial)
                left = trial.state[weight]
                _require_alike(moments, left)
                for name, moment in moments.items():
                    if isinstance(moment, Tensor) and not _fits(moment, parameter, left.get(name)):
                        raise ValueError(f"a moment has the shape {tuple(moment.shape)}, its parameter another")
                weight = nn.Parameter(torch.zeros_like(parameter))
                weight.grad = torch.zeros_like(parameter)
                trial.state, trial.param_groups[0]["params"] = {weight: copy.deepcopy(moments)}, [weight]
                type(trial).step(trial)  # fails where the next step would


def _require_rates(scheduler: Scheduler, optimizer: torch.optim.Optimizer) -> None:
    """Raise unless a schedule can say its present rates; its settings come from the file."""
    if not isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler):
        return  # one of the learner's own
    trial, trial_optimizer = copy.copy(scheduler), copy.copy(optimizer)
    trial_optimizer.param_groups = [dict(group) for group in optimizer.param_groups]  # one-cycle sets momentum in them
    trial.optimizer = trial_optimizer
    with warnings.catch_warnings(), suppress(NotImplementedError):  # a plateau and a sequence have no such method
        warnings.simplefilter("ignore")
        trial.get_lr()


def _fits(moment: Tensor, parameter: Tensor, trial: Any) -> bool:
    """Tell whether an optimizer's tensor may belong to a parameter: of its shape, or a sum over some of its sides.

    Args:
        moment: the tensor.
        parameter: what it should belong to.
        trial: what a step leaves in its place for a parameter with as many sides.
    """
    shapes = moment.shape, parameter.shape
    same = moment.ndim == parameter.ndim and all(a in (1, b) for a, b in zip(*shapes))
    as_left = not isinstance(trial, Tensor) or moment.ndim == trial.ndim
    return as_left and (same or not moment.ndim) and moment.is_complex() <= parameter.is_complex()


def _require_alike(saved: Any, here: Any) -> None:
    """Raise `ValueError` where saved data is of another form than that which it shall replace."""
    numbers = isinstance(here, (int, float)) and isinstance(saved, (int, float))
    unset = here is None and not isinstance(saved, (dict, list, tuple, Tensor))
    if not (numbers or unset or isinstance(saved, type(here))):
        raise ValueError(f"{str(saved)[:40]!r} stands for a {type(here).__name__}")
    if numbers:
        float(saved)  # a whole number may be too large for any float
    if isinstance(here, dict):
        for key in here:
            _require_alike(saved[key], here[key])
    elif isinstance(here, (list, tuple)) and here:
        for place, each in enumerate(saved):
            _require_alike(each, here[min(place, len(here) - 1)])


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
    return f"{path.name} was not saved ({reason(error)}); check its folder or choose another."


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save` wrote, or another file of `torch.save`, with its tensors on `device`.

    Raises:
        DataError: when the file is missing, damaged, or holds anything but plain data; it says which.
    """
    path = Path(path)
    start = _beginning(path)
    try:
        if start.startswith(b"PK"):
            _require_whole(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how a spoiled file may have been written
            state = torch.load(path, map_location=device, weights_only=True)
    except DataError:
        raise
    except Exception as error:  # the bytes may be anybody's, and PyTorch's reader raises almost anything
        raise DataError(f"{path.name} {_why_not_read(start, error)}") from error
    if not isinstance(state, dict):
        raise DataError(f"{path.name} holds a {type(state).__name__}, not saved weights; choose another file.")
    return state


def _beginning(path: Path) -> bytes:
    """Return the first bytes of a file; raise `DataError` where it cannot be read."""
    name = short(path.name, 60)
    try:
        with path.open("rb") as file:
            return file.read(400)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"There is no file {name}; train and save first, or check the path.") from None
    except (IsADirectoryError, PermissionError) as error:
        if path.is_dir():  # Windows says of a folder that it may not be read
            raise DataError(f"{name} is a folder; choose a file in it.") from None
        raise DataError(f"{name} may not be read; ask its owner, or choose another file.") from error
    except (OSError, ValueError) as error:  # a name that is too long, or has a zero in it
        why = getattr(error, "strerror", None) or reason(error)
        raise DataError(f"{name} cannot be opened ({why}); check the path.") from error


DAMAGED = "is damaged or cut short; take another copy of it, or train again into a new file."
OTHERS = {  # how files begin that people take for files of `torch.save`
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch that with git lfs pull.",
    b"<": "is a web page, not the file behind it; download that.",
    b"\x89HDF": "is a file of Keras; load it with Keras.",
    b"PK": DAMAGED,
    b"\x80": DAMAGED,
}


def _require_whole(path: Path) -> None:
    """Raise unless all parts of a file of `torch.save` are as they were written; its sums tell (PyTorch asks none)."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.filename.endswith("/constants.pkl") for part in parts):
            raise DataError(
                f"{path.name} is a program of TorchScript; save model.state_dict() with torch.save where it was made."
            )
        if not any(part.filename.endswith("data.pkl") for part in parts):
            raise DataError(
                f"{path.name} is an archive that PyTorch did not write; unpack it, and choose a file in it."
            )
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or archive.testzip() is not None:
            raise zipfile.BadZipFile


def _why_not_read(start: bytes, error: Exception) -> str:
    """Return what is wrong with a file that begins with `start`, and what helps."""
    foreign = re.search(r"GLOBAL `?([\w.]+)", str(error))
    if foreign:
        return (
            f"holds more than weights ({foreign[1]}), and reading that could run code; save model.state_dict() alone "
            "where it was made."
        )
    if not start.strip():
        return "is empty; copy or download it again."
    if start[8:9] == b"{":
        return "is a file of safetensors; transfer.load_network reads those of this course."
    known = (words for begin, words in OTHERS.items() if start.lstrip().startswith(begin))
    return next(known, "is not a file that PyTorch wrote, or its beginning is damaged; choose another file.")


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Save the weights and buffers of `model`; `load_weights` puts them into the same kind of network.

    Of a network that is compiled or wrapped, for several GPUs or for averages, those of the network itself are saved.

    Raises:
        DataError: as `save`.
    """
    require_network(model)
    save(weights_of(model), path)


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Put saved weights into `model`, which must be the same kind of network; on an error it stays as it was.

    The file may hold more than weights, as a checkpoint of `fit` does: they are found under the usual names. Their
    names may have a part in front that the network's own have not, such as "module.".

    Raises:
        DataError: when the file cannot be read or belongs to another network.
    """
    require_network(model)
    name = Path(path).name
    put_weights(model, _found_weights(load(path), name), name)


USUAL = ("model", "state_dict", "model_state_dict")  # what weights are called in a file with more


def _found_weights(state: dict[str, Any], name: str) -> dict[str, Any]:
    inner = [*(state.get(key) for key in USUAL), *state.values()]
    found = next((weights for weights in (state, *inner) if _are_weights(weights)), None)
    if found is None:
        entries = ", ".join(str(key)[:40] for key in list(state)[:5]) or "nothing"
        raise DataError(f"{name} holds no weights ({entries}); choose a file with a network's state_dict().")
    return found


def _are_weights(held: object) -> bool:
    return (
        isinstance(held, dict)
        and all(isinstance(key, str) for key in held)
        and any(isinstance(value, Tensor) for value in held.values())
        and not any(isinstance(value, dict) for value in held.values())
    )


def put_weights(model: nn.Module, weights: dict[str, Any], name: str) -> None:
    """Put `weights` into `model` by the names that the network gives them; `name` is their file, for messages.

    Raises:
        DataError: when they belong to another network.
    """
    inner = unwrapped(model)
    names = {own.replace(COMPILED, ""): own for own in inner.state_dict()}
    weights = {key.replace(COMPILED, ""): value for key, value in weights.items()}
    if "n_averaged" not in names:  # what torch.optim.swa_utils counts
        weights.pop("n_averaged", None)
    shorter = weights
    while shorter.keys() != names.keys() and len({key.split(".")[0] for key in shorter}) == 1 and "" not in shorter:
        shorter = {key.partition(".")[2]: value for key, value in shorter.items()}
    if shorter.keys() == names.keys():
        weights = shorter
    require_same_network(weights_of(model), weights, name)
    try:
        inner.load_state_dict({names[key]: value for key, value in weights.items()})
    except (RuntimeError, TypeError) as error:
        raise DataError(f"The weights in {name} cannot be put into this network ({reason(error)}).") from error


def require_same_network(here: dict[str, Tensor], saved: dict[str, Any], name: str) -> None:
    """Raise `DataError` with the first difference when the weights `saved` are not of the form of those `here`."""
    advice = "build the network that was saved, or choose another file"
    for key, value in here.items():
        if key not in saved:
            raise DataError(f"{name} belongs to another network: it has no {key!r}; {advice}.")
        if not isinstance(value, Tensor):  # what a layer of one's own keeps beside weights
            continue
        if not isinstance(saved[key], Tensor) or saved[key].is_complex() > value.is_complex():
            raise DataError(f"{name} belongs to another network: its {key!r} holds no such numbers; {advice}.")
        if value.shape != saved[key].shape:
            raise DataError(
                f"{name} belongs to another network: {key!r} is {tuple(saved[key].shape)} in the file "
                f"and {tuple(value.shape)} here; {advice}."
            )
    for key in saved:
        if key not in here:
            raise DataError(f"{name} belongs to another network: this one has no {key!r}; {advice}.")
