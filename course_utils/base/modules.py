"""Any network: its device, evaluation mode for a while, and its weights by their own names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

AROUND = (DataParallel, DistributedDataParallel, AveragedModel)
COMPILED = "_orig_mod."  # what torch.compile puts before the names of what it has compiled


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put `model` into evaluation mode for the `with` block, and then each of its layers back into its own mode."""
    modes = {layer: layer.training for layer in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for layer, mode in modes.items():
            layer.training = mode


def without_gradients(model: nn.Module) -> AbstractContextManager[object]:
    """Return what computes without gradients: `torch.inference_mode`, where no layer makes its weights only now.

    Weights that are made inside `inference_mode` could never be trained.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    return torch.no_grad() if any(map(is_lazy, tensors)) else torch.inference_mode()


def named_device(device: object, taker: str) -> torch.device:
    """Return the device of PyTorch of this name; raise `ValueError` for another one, for the function `taker`."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f'{taker} knows no device {device!r}; give "cpu", "cuda" or pick_device().torch.') from None


def device_of(model: nn.Module) -> torch.device:
    """Return the device that holds the weights of `model` (the CPU when it has none)."""
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network itself, where `model` is what `torch.compile` or one of `AROUND` has put around it."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        elif isinstance(model, AROUND):
            model = model.module
        else:
            return model


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return weights and buffers by the names that the network gives them, whatever is around it or its parts."""
    return {name.replace(COMPILED, ""): value for name, value in unwrapped(model).state_dict().items()}
