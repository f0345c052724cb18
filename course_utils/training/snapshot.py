"""Everything random and everything trained, taken at one moment and put back later, bit for bit.

`restored` undoes an experiment; the checkpoints of `fit` keep `random_state` in a file; a CUDA graph undoes its
warm-up without moving a tensor.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def seed_everything(seed: int) -> None:
    """Set the random state of Python, NumPy and PyTorch, so that a run can be repeated.

    Raises:
        TypeError: when the seed is not a whole number.
    """
    if not isinstance(seed, Integral):
        raise TypeError(f"A seed must be a whole number, such as 0, not {seed!r}.")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state(*things: object) -> dict[str, Any]:
    """Return the random state of Python, NumPy and PyTorch on the CPU and all GPUs, as plain data and tensors.

    Args:
        things: batches, losses and networks, whose own generators and epochs belong to it: those of a `DataLoader`'s
            samplers and data set, too.
    """
    return {
        "python": _of_python(random),
        "numpy": _of_numpy(np.random),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "own": {name: _state_of(part) for name, part in _random_parts(things)},
    }


def set_random_state(state: dict[str, Any], *things: object) -> None:
    """Put back what `random_state` returned for the same `things`. GPUs that are no longer there are left out."""
    _put_into(random, state["python"])
    _put_into(np.random, state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for gpu, gpu_state in enumerate(state["cuda"][:gpus]):
        torch.cuda.set_rng_state(gpu_state.cpu(), gpu)
    for name, part in _random_parts(things):
        if name in state["own"]:
            _put_into(part, state["own"][name])


def set_epoch(batches: object, epoch: int) -> None:
    """Tell `batches`, and the samplers and data sets they take from, which epoch comes next, counted from 0."""
    for _, part in _parts((batches,)):
        if callable(getattr(part, "set_epoch", None)):
            part.set_epoch(epoch)


def seeds(batches: object) -> dict[str, int]:
    """Return the seeds that the generators of `batches` were given last, each with where it is."""
    found = ((name, part) for name, part in _random_parts((batches,)) if isinstance(part, torch.Generator))
    return {name.partition(".")[2]: generator.initial_seed() for name, generator in found}


def _of_python(source: Any) -> list[Any]:
    version, words, gauss = source.getstate()
    return [version, list(words), gauss]


def _of_numpy(source: Any) -> list[Any]:
    kind, keys, *rest = source.get_state()
    return [kind, keys.tolist(), *rest]


def _state_of(part: Any) -> Any:
    """Return the state of a generator, or the epoch of what counts epochs, as plain data."""
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, np.random.Generator):
        return part.bit_generator.state
    if isinstance(part, np.random.RandomState):
        return _of_numpy(part)
    return _of_python(part) if isinstance(part, random.Random) else part.epoch


def _put_into(part: Any, state: Any) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(state.cpu())
    elif isinstance(part, np.random.Generator):
        part.bit_generator.state = state
    elif part is np.random or isinstance(part, np.random.RandomState):
        kind, keys, *rest = state
        part.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    elif part is random or isinstance(part, random.Random):
        version, words, gauss = state
        part.setstate((version, tuple(words), gauss))
    else:
        part.epoch = state


RANDOM = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
NO_HOLDERS = (Tensor, type, ModuleType, FunctionType)
MOST = 100  # entries of a list that is looked through: longer ones hold the data themselves
MOST_PARTS = 10_000  # a bound for what holds half the world


def _random_parts(things: tuple[object, ...]) -> Iterator[tuple[str, Any]]:
    """Give the generators in `things` and what counts epochs, each once and with where it is."""
    for name, part in _parts(things):
        if isinstance(part, RANDOM) or isinstance(getattr(part, "epoch", None), int):
            yield name, part


def _parts(things: tuple[object, ...]) -> Iterator[tuple[str, Any]]:
    """Give `things` and what they hold by public names, as a loader its samplers, each once and with where it is."""
    waiting = deque((str(place), thing) for place, thing in enumerate(things))
    seen: dict[int, Any] = {}
    while waiting and len(seen) < MOST_PARTS:
        name, part = waiting.popleft()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        yield name, part
        for key, value in _held(part):
            many = isinstance(value, (list, tuple, dict)) and len(value) <= MOST
            if many or isinstance(value, RANDOM) or (hasattr(value, "__dict__") and not isinstance(value, NO_HOLDERS)):
                waiting.append((f"{name}.{key}", value))


def _held(part: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(part, (list, tuple)):
        return enumerate(part)
    held = part if isinstance(part, dict) else getattr(part, "__dict__", {})
    children = part._modules if isinstance(part, nn.Module) else {}
    return [(key, each) for key, each in [*held.items(), *children.items()] if isinstance(key, str) and key[:1] != "_"]


@contextmanager
def restored(*things: object) -> Iterator[None]:
    """Put everything that training changes back at the end of the `with` block, also after an error or an interrupt.

    The random state of PyTorch (every GPU included), NumPy and Python is put back as well. In the block, parameters
    begin without gradients.

    Args:
        things: what the block changes. Of networks, and losses that are modules: weights, buffers, gradients,
            `requires_grad`, and the mode of every layer. Of optimizers: their state, their groups with the rates, and
            what a scheduler noted on them. Of batches: their epoch and their random generators.

    Raises:
        ValueError: when a weight has no shape yet.
    """
    snapshot = Snapshot(*things)
    try:
        for parameter, _, _ in snapshot.parameters:
            parameter.grad = None  # so that nobody adds to it
        yield
    finally:
        snapshot.put_back()


class Snapshot:
    """What training changes in some `things` (see `restored`), and everything random, as it is now."""

    def __init__(self, *things: object) -> None:
        modules = [thing for thing in things if isinstance(thing, nn.Module)]
        self.optimizers = [(o, dict(vars(o))) for o in things if isinstance(o, torch.optim.Optimizer)]
        self.things, self.random = things, random_state(*things)
        parameters = {id(p): p for module in modules for p in module.parameters()}
        parameters |= {id(p): p for o, _ in self.optimizers for group in o.param_groups for p in group["params"]}
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters.values()):
            raise ValueError("A lazy layer of this network has no weights yet; send one batch through it first.")
        self.parameters = [(p, p.grad, p.requires_grad) for p in parameters.values()]
        self.weights = [_copied(p) for p in parameters.values()]
        layers = [layer for module in modules for layer in module.modules()]
        self.modes = [(layer, layer.training) for layer in layers]
        # Dictionaries with tensors among their values. (`load_state_dict` and some layers replace tensors by new ones,
        # so it is not enough to keep the values.)
        self.contents = [_contents(layer._buffers) for layer in layers]
        self.states = []
        for optimizer, _ in self.optimizers:
            self.contents += [_contents(group) for group in optimizer.param_groups]
            self.states.append((optimizer.state, [(p, _contents(state)) for p, state in optimizer.state.items()]))

    @torch.no_grad()
    def put_back(self) -> None:
        """Make everything as it was, bit for bit, with the same tensors in the same places."""
        for parameter, gradient, learns in self.parameters:
            parameter.grad = gradient
            parameter.requires_grad_(learns)
        for original, value in self.weights:
            original.copy_(value)
        for layer, mode in self.modes:
            layer.training = mode
        for optimizer, notes in self.optimizers:
            vars(optimizer).clear()
            vars(optimizer).update(notes)
        for state, entries in self.states:
            state.clear()
            state.update((parameter, values) for parameter, (values, _) in entries)
        for content in [*self.contents, *(content for _, entries in self.states for _, content in entries)]:
            _refill(*content)
        set_random_state(self.random, *self.things)

    @torch.no_grad()
    def put_back_in_place(self) -> None:
        """Put the values back into the tensors that are there now; gradients stay.

        For a CUDA graph, which knows its tensors by their address. What an optimizer has made since, such as the first
        averages, stays too and becomes zero, as optimizers begin with it.
        """
        for original, value in self.weights:
            original.copy_(value)
        for layer, mode in self.modes:
            layer.training = mode
        for holder, values in self.contents:
            _overwrite(holder, values)
        for (optimizer, _), (_, entries) in zip(self.optimizers, self.states):
            before = {parameter: values for parameter, (_, values) in entries}
            for parameter, state in optimizer.state.items():
                _overwrite(state, before.get(parameter, {}))
        set_random_state(self.random, *self.things)


Content = tuple[dict[str, Any], dict[str, tuple[Any, Any]]]


def _contents(holder: dict[str, Any]) -> Content:
    """Return a dictionary, and for each of its keys the value itself and a copy; of a group's parameters, the list."""
    return holder, {key: (value, [*value]) if key == "params" else _copied(value) for key, value in holder.items()}


def _copied(value: Any) -> tuple[Any, Any]:
    return value, value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


def _refill(holder: dict[str, Any], before: dict[str, tuple[Any, Any]]) -> None:
    """Give a dictionary its old values again: the same tensors, with what they held."""
    holder.clear()
    for key, (original, value) in before.items():
        if isinstance(original, Tensor):
            original.copy_(value)
            value = original
        holder[key] = value


def _overwrite(holder: dict[str, Any], before: dict[str, tuple[Any, Any]]) -> None:
    """Write old values into the tensors of a dictionary, and zero into those that were not there."""
    for key, now in holder.items():
        _, value = before.get(key, (None, None))
        if not isinstance(now, Tensor):
            if key in before:
                holder[key] = value
        elif isinstance(value, Tensor):
            now.copy_(value)
        else:
            now.zero_()
