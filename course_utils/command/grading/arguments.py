"""The arguments of a call, and everything inside them that an answer may change or give back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

MODULE_PARTS = frozenset(vars(nn.Module()))  # "_parameters", hooks and so on: no settings
HELD = ("_parameters", "_buffers", "_modules")  # of these, the ones that hold what a network consists of
PLAIN = (bool, int, float, str, type(None))


def things_in(arguments: Any) -> list[Any]:
    """Return each thing that a call's arguments consist of once; a message names them by their places in this list."""
    things: list[Any] = []
    waiting, seen = [arguments], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, PLAIN):
            continue
        seen.add(id(thing))
        things.append(thing)
        waiting += _inside(thing)
    return things


def own_settings(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module that PyTorch does not give to every module, and "training"."""
    return {key: value for key, value in vars(module).items() if not is_modules_own(key)}


def is_modules_own(key: str) -> bool:
    """Tell whether an attribute says how PyTorch runs any module, such as what `net.compile()` leaves."""
    return key != "training" and (key in MODULE_PARTS or hasattr(nn.Module, key))


def _inside(thing: Any) -> list[Any]:
    if isinstance(thing, (list, tuple, set)):
        return list(thing)
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, nn.Module):
        return [each for part in HELD for each in vars(thing)[part].values()] + list(own_settings(thing).values())
    if isinstance(thing, torch.optim.Optimizer):
        return [thing.param_groups, thing.state]
    return []
