"""Freeze a network so that nothing in it moves, and thaw it from a layer up with smaller rates below.

`requires_grad = False` alone is not enough: batch normalisation has running statistics, which are not parameters and
move with every batch in training mode (pytorch/pytorch#86590). What is frozen here stays in evaluation mode, whatever
`.train()` is called around it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from course_utils.base.words import closest
from course_utils.models.shapes import count_parameters


def freeze(model: nn.Module, keep: str | Sequence[str] = ()) -> nn.Module:
    """Freeze all of `model` but the layers in `keep`, and return it.

    Frozen parameters get no gradients, and frozen layers stay in evaluation mode through every later `.train()`, so
    that neither the statistics of batch normalisation nor dropout move anything.

    Args:
        model: any network; changed in place.
        keep: names of layers that go on learning, such as a network's head; all in them learns too.

    Raises:
        ValueError: for a name that is not a layer of the network.
    """
    _require_model(model)
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    for name in kept:
        _require_layer(model, name)
    _apply(model, [layer for name in kept for layer in model.get_submodule(name).modules()], statistics=True)
    return model


def unfreeze(model: nn.Module, start: str, *, statistics: bool = False) -> nn.Module:
    """Let `model` learn from the layer `start` up to its end, freeze everything before it, and return it.

    Args:
        model: any network; changed in place.
        start: the name of a layer, such as "layer4" or "blocks.5"; see `stages`. Layers count in the order in which
            the network lists them, which is that of a picture's way in the networks that this course names.
        statistics: whether the running statistics of batch normalisation move too. With a few hundred pictures they
            are better left as ImageNet has made them; weights and biases of these layers learn in any case.

    Raises:
        ValueError: when there is no such layer.
    """
    _require_model(model)
    _require_layer(model, start)
    names = [name for name, _ in model.named_modules()]
    first = names.index(start)
    _apply(model, [model.get_submodule(name) for name in names[first:]], statistics)
    return model


def _apply(model: nn.Module, learning: Sequence[nn.Module], statistics: bool) -> None:
    """Let the layers in `learning` learn, and freeze all others."""
    chosen = {id(layer) for layer in learning}
    moving = set(chosen)
    if not statistics:  # timm's normalisations hold their activation, which must not keep them in training mode
        moving -= {id(part) for layer in learning if isinstance(layer, _BatchNorm) for part in layer.modules()}
    for layer in model.modules():
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad_(id(layer) in chosen)
        if any(id(part) in moving for part in layer.modules()):
            layer.__dict__.pop("train", None)
            layer.training = True
        else:
            # An attribute of this one layer, which hides the method of its class. A subclass would change the layer's
            # type, by which layers are saved and recognised; a wrapper would change the names of its weights; and a
            # method of the whole network alone would miss `.train()` on a part of it.
            layer.__dict__["train"] = functools.partial(_stay, layer)
            layer.training = False


def _stay(layer: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of `layer.train`: evaluation mode, whatever is asked for."""
    layer.training = False
    return layer


def _children(layer: nn.Module) -> bool:
    return next(layer.children(), None) is not None


def _require_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"A model of PyTorch is needed, not a {type(model).__name__}; of a backbone take its .model.")


def _require_layer(model: nn.Module, name: str) -> None:
    names = [other for other, _ in model.named_modules()]
    if name not in names:
        short = [stage.name for stage in stages(model)]
        raise ValueError(
            f"There is no layer {name!r}{closest(name, [n for n in names if n])}; from the input to the head there are "
            f"{', '.join(short)}."
        )


@dataclass(frozen=True)
class Stage:
    """A part of a network on a picture's way.

    name: as the network has it.
    kind: its class.
    parameters, trainable: how many numbers it has, and how many of them learn.
    """

    name: str
    kind: str
    parameters: int
    trainable: int


def stages(model: nn.Module) -> list[Stage]:
    """Return the parts of a network with parameters, from the input to the head; large containers are opened."""
    return [
        Stage(name, type(layer).__name__, count_parameters(layer), count_parameters(layer, trainable_only=True))
        for name, layer in _stages(model)
    ]


def _stages(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    _require_model(model)
    total = count_parameters(model)

    def walk(layer: nn.Module, prefix: str, depth: int) -> Iterator[tuple[str, nn.Module]]:
        for name, child in layer.named_children():
            size = count_parameters(child)
            opens = isinstance(child, (nn.Sequential, nn.ModuleList)) and depth < 1
            if size and _children(child) and (opens or size > total / 2):
                yield from walk(child, f"{prefix}{name}.", depth + 1)
            elif size:
                yield f"{prefix}{name}", child

    yield from walk(model, "", 0)


def summary(model: nn.Module) -> str:
    """Return a table of a network's stages: kind, parameters, and how many of them learn."""
    rows = [(stage.name, stage.kind, f"{stage.parameters:,}", f"{stage.trainable:,}") for stage in stages(model)]
    total, learn = count_parameters(model), count_parameters(model, trainable_only=True)
    rows = [("stage", "kind", "parameters", "learning"), *rows, ("all", "", f"{total:,}", f"{learn:,}")]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in rows
    )


def param_groups(model: nn.Module, rate: float, factor: float = 0.8) -> list[dict[str, Any]]:
    """Return groups for an optimizer: `rate` for the last stage that learns, times `factor` for each stage below.

    The lower a layer, the more general what it sees (Yosinski and others 2014, arXiv:1411.1792), and the less it should
    move; smaller rates below are from Howard and Ruder 2018, arXiv:1801.06146.

    Args:
        model: a network of which some parameters learn.
        rate: learning rate of the last stage, above 0.
        factor: from above 0 to 1. Networks have many stages here: 0.3 for each of ten would leave the lowest nothing.

    Returns:
        From the head down, a dict for each stage: "name", "lr" and "params"; each learning parameter is in one of them.

    Raises:
        ValueError: when nothing learns, or for a rate or factor outside its limits.
    """
    if not rate > 0 or not 0 < factor <= 1:
        raise ValueError(f"The rate must be above 0 and the factor above 0 and at most 1, not {rate} and {factor}.")
    groups, seen = [], set()
    for name, layer in reversed(list(_stages(model))):
        learning = [p for p in layer.parameters() if p.requires_grad and id(p) not in seen]
        seen |= {id(parameter) for parameter in learning}
        if learning:
            groups.append({"name": name, "lr": rate * factor ** len(groups), "params": learning})
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in seen]
    if rest:  # parameters of no stage, such as a class token: with the lowest
        groups.append({"name": "others", "lr": rate * factor ** len(groups), "params": rest})
    if not groups:
        raise ValueError("Nothing in this network learns; keep its head out of freeze(), or unfreeze some layers.")
    return groups
