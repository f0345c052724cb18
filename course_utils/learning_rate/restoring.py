"""Leaving everything as it was: what a range test may spoil is set aside before and put back after, whatever happens.

Weights and buffers are copied and written back in place. The optimizer's own objects are set aside whole while copies
take their place, so not a bit of them can change.
"""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def put_back(model: nn.Module, optimizer: torch.optim.Optimizer, *others: object) -> Iterator[None]:
    """Put everything that training changes back at the end of the `with` block, also after an error or an interrupt.

    Args:
        model: weights, buffers, gradients, `requires_grad`, and the mode of every layer are put back.
        optimizer: its state, its groups with their rates, and what a scheduler noted on it are put back.
        others: a loss that is a module is treated as `model`; batches get back their epoch and their random generator.

    The random state of PyTorch (every GPU included), NumPy and Python is put back as well.

    Raises:
        ValueError: when a weight has no shape yet.
    """
    modules = [model, *(each for each in others if isinstance(each, nn.Module))]
    tensors = {id(p): p for module in modules for p in module.parameters()}
    tensors |= {id(p): p for group in optimizer.param_groups for p in group["params"]}
    undo = [_random_state()]
    try:
        for other in others:
            undo += _order(other)
        undo += [_layers(module) for module in modules]
        undo.append(_parameters(list(tensors.values())))
        undo.append(_optimizer(optimizer))
        yield
    finally:
        for step in undo:
            step()


def _layers(module: nn.Module) -> Callable[[], None]:
    """Set aside each layer's mode and buffers; the buffer objects are put back too, where a layer replaced its own."""
    modes = [(layer, layer.training) for layer in module.modules()]
    buffers = [(layer, dict(layer._buffers)) for layer in module.modules() if layer._buffers]
    values = {id(b): (b, b.detach().clone()) for _, own in buffers for b in own.values() if b is not None}

    def undo() -> None:
        with torch.no_grad():
            for buffer, value in values.values():
                buffer.copy_(value)
        for layer, own in buffers:
            layer._buffers.clear()
            layer._buffers.update(own)
        for layer, mode in modes:
            layer.training = mode

    return undo


def _parameters(parameters: list[Tensor]) -> Callable[[], None]:
    """Set aside values, gradients and `requires_grad`. The gradients are taken off, so that nobody adds to them."""
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise ValueError(
            "A lazy layer of this network has no weights yet; send one batch through it before the range test."
        )
    values = [(p, p.detach().clone(), p.grad, p.requires_grad) for p in parameters]
    for parameter in parameters:
        parameter.grad = None

    def undo() -> None:
        with torch.no_grad():
            for parameter, value, gradient, learns in values:
                parameter.copy_(value)
                parameter.grad = gradient
                parameter.requires_grad_(learns)

    return undo


def _optimizer(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Set aside the optimizer's state and groups whole; until `undo`, copies stand in their places."""
    own = dict(vars(optimizer))  # also notes such as "a step was taken", which schedulers read
    groups = [(group, dict(group)) for group in optimizer.param_groups]
    optimizer.state = defaultdict(dict, {p: copy.deepcopy(state) for p, state in own["state"].items()})
    for group, values in groups:
        group.update({name: copy.deepcopy(value) for name, value in values.items() if name != "params"})

    def undo() -> None:
        vars(optimizer).clear()
        vars(optimizer).update(own)
        for group, values in groups:
            group.clear()
            group.update(values)

    return undo


def _order(batches: object) -> list[Callable[[], None]]:
    """Set aside what decides the order of the next pass: an epoch (`data.batches`), or generators (`DataLoader`)."""
    undo: list[Callable[[], None]] = []
    epoch = getattr(batches, "epoch", None)
    if isinstance(epoch, int):
        undo.append(lambda: setattr(batches, "epoch", epoch))
    holders = (batches, getattr(batches, "sampler", None), getattr(batches, "dataset", None))
    found = [getattr(holder, "generator", None) for holder in holders]
    for generator in {id(g): g for g in found if isinstance(g, torch.Generator)}.values():
        state = generator.get_state()
        undo.append(lambda generator=generator, state=state: generator.set_state(state))
    return undo


def _random_state() -> Callable[[], None]:
    of_python, of_numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    of_gpus: list[Any] = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def undo() -> None:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        torch.set_rng_state(of_torch)
        if of_gpus:
            torch.cuda.set_rng_state_all(of_gpus)

    return undo
