"""Saving and loading: weights for later use, and whole training states that a run can go on from.

Files are written beside their place and renamed into it, so a killed run leaves the old file or the new one,
never half of one. They are read with `weights_only=True`: a file from elsewhere cannot run code.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.base.files import whole
from course_utils.errors import DataError


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
    own = model.state_dict()
    advice = "build the network that was saved, or choose another file"
    for key in own:
        if key not in state:
            raise DataError(f"{name} belongs to another network: it has no {key!r}; {advice}.")
        if own[key].shape != state[key].shape:
            raise DataError(
                f"{name} belongs to another network: {key!r} is {tuple(state[key].shape)} in the file "
                f"and {tuple(own[key].shape)} here; {advice}."
            )
    for key in state:
        if key not in own:
            raise DataError(f"{name} belongs to another network: this one has no {key!r}; {advice}.")
