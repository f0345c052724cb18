"""The arguments of a call, and everything inside them that an answer may change or give back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

MODULE_PARTS = frozenset(vars(nn.Module()))  # "_parameters", hooks and so on: no settings
HELD = ("_parameters", "_buffers", "_modules")  # of these, the ones that hold what a network consists of
PLAIN = (bool, int, float, str, type(None))


class Table:
    """The things that a call's arguments consist of, numbered, the same on both sides.

    Args:
        things: those of the other side, in its order; see `Table.of`.
    """

    def __init__(self, things: Iterable[Any]) -> None:
        self.things = list(things)
        self.numbers = {id(thing): number for number, thing in enumerate(self.things)}

    @classmethod
    def of(cls, arguments: Any) -> Table:
        """Return the table of all things in `arguments`."""
        things: list[Any] = []
        waiting, seen = [arguments], set()
        while waiting:
            thing = waiting.pop()
            if id(thing) in seen or isinstance(thing, PLAIN):
                continue
            seen.add(id(thing))
            things.append(thing)
            waiting += _inside(thing)
        return cls(things)


def has_settings(thing: Any) -> bool:
    """Tell whether `thing` is of a kind whose attributes are followed and described."""
    return isinstance(thing, nn.Module)


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
