"""What decides a training run, as plain data: a run that goes on from a file must be the one that wrote it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.base.modules import COMPILED, unwrapped
from course_utils.training import snapshot
from course_utils.training.guards import count_of

Settings = dict[str, Any]  # what it is, in words, and its value: a number, a text, None or a list of such
HOW = {"params", "foreach", "fused", "capturable", "differentiable", "training", "inplace"}  # not what is computed
PLACES = {"last_epoch", "T_cur", "T_i", "_step_count", "_last_lr"}  # how far a schedule is
BATCHES = ("size", "batch_size", "shuffle", "seed", "drop_last", "augment")
MOST = 100  # numbers of a tensor that are kept one by one
NOT_PLAIN = object()


def settings_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, batches: object, loss: object
) -> Settings:
    """Return each setting of a run's parts that can be told in numbers and words, with its value."""
    settings = {
        "optimizer": type(optimizer).__name__,
        "scheduler": type(scheduler).__name__ if scheduler else None,
        "loss": _name(loss),
    }
    groups = optimizer.param_groups
    for place, group in enumerate(groups, 1):
        hidden = {"initial_lr"} if "max_lr" in group else set()  # follows from the other, which people set
        if scheduler:  # what it moves, and may have back where it began when an epoch ends
            hidden |= {"lr"} if "initial_lr" in group else set()
            hidden |= {"momentum", "betas"} if "max_momentum" in group else set()
        group = {key: value for key, value in group.items() if key not in hidden}
        settings |= _of(f"optimizer's %s{f' in group {place}' if len(groups) > 1 else ''}", group)
    if scheduler:
        settings |= _of("scheduler's %s", scheduler.state_dict())
    if (count := count_of(batches)) is not None:
        settings["number of batches"] = count
    if hasattr(batches, "sampler"):
        settings["batches' sampler"] = type(batches.sampler).__name__
    settings |= _of("batches' %s", {key: getattr(batches, key) for key in BATCHES if hasattr(batches, key)})
    settings |= {f"batches' {name} seed": seed for name, seed in snapshot.seeds(batches).items()}
    settings |= _of("loss's %s", _inside(loss))
    for name, layer in unwrapped(model).named_modules():
        own = f"layer {name.replace(COMPILED, '')}" if name else "network"
        settings[own] = type(unwrapped(layer)).__name__
        settings |= _of(f"{own}'s %s", _public(layer))
        weights = layer.named_parameters(recurse=False)
        settings |= {f"{own}'s {each}.requires_grad": weight.requires_grad for each, weight in weights}
    return settings


def difference(saved: Settings, later: Settings, here: Settings) -> str | None:
    """Return the first setting that is another one here than it was in a saved run, in words; None where there is none.

    What training itself changes, such as the loss's own weights, differs between `saved`, at the run's beginning, and
    `later`, when it was saved, and is not compared. A plateau moves rates too, but only before a run is saved: here
    they are as in one of these, in new objects or in the old ones.
    """
    for what, value in here.items():
        was, then = saved.get(what, NOT_PLAIN), later.get(what, NOT_PLAIN)
        held = repr(was) == repr(then) or (here["scheduler"] == "ReduceLROnPlateau" and what.startswith("optimizer's"))
        if was is NOT_PLAIN or not held or repr(value) in (repr(was), repr(then)):
            continue
        was, now = (str("none" if each is None else each)[:60] for each in (was, value))
        return f"its {what} was {was}, here it is {now}"
    return None


def _of(words: str, held: Mapping[str, Any]) -> Settings:
    flat = ((key, value) for key, each in held.items() if key not in HOW | PLACES for key, value in _flat(key, each))
    return {words % key: value for key, value in flat}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Give the plain values in `value`, with their names; what is none, such as a function, is left out."""
    plain = _plain(value)
    if plain is not NOT_PLAIN:
        yield name, plain
    elif isinstance(value, (dict, list, tuple)) and len(value) <= MOST:
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            if key not in PLACES:
                yield from _flat(f"{name} {key}", each)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().flatten()
        value = value if value.numel() <= MOST else torch.stack([value.sum(), value.norm()])
        return value.item() if value.numel() == 1 else value.tolist()
    if isinstance(value, torch.dtype) or is_dataclass(value):
        return repr(value)
    if isinstance(value, (list, tuple)) and len(value) <= MOST:
        inner = [_plain(each) for each in value]
        return NOT_PLAIN if any(each is NOT_PLAIN for each in inner) else inner
    return NOT_PLAIN


def _name(loss: object) -> str:
    loss = loss.func if isinstance(loss, functools.partial) else loss
    return getattr(loss, "__qualname__", type(loss).__name__)


def _inside(loss: object) -> Settings:
    """Return what a loss is set to: the attributes and tensors of a module, or the arguments of a partial function."""
    if isinstance(loss, functools.partial):
        return {**loss.keywords, **{str(place): each for place, each in enumerate(loss.args)}}
    if not isinstance(loss, nn.Module):
        return {}
    return _public(loss) | loss._buffers | loss.state_dict()  # a buffer may be None


def _public(module: nn.Module) -> Settings:
    return {key: value for key, value in vars(module).items() if not key.startswith("_")}
