"""A network of a learner's own class, brought to the judge as a list of steps: PyTorch's layers, functions, methods.

Where the answer runs, `torch.fx` follows its `forward` once in training and once in evaluation. In the judge the same
steps run again, so shapes, gradients, hooks and training are those of the network itself, and no code of the learner's
runs. A `forward` that decides by numbers, or uses more than is listed here, is not brought over.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ATTRIBUTES = ("shape", "ndim", "T")


def _attribute(value: Any, name: str) -> Any:
    if not isinstance(value, Tensor) or name not in ATTRIBUTES:
        raise TypeError(f"{name} cannot be judged")
    return getattr(value, name)


def _named(of: Any, start: str, names: str) -> dict[str, Callable[..., Any]]:
    return {f"{start}{name}": getattr(of, name) for name in names.split()}


METHODS = _named(
    Tensor,
    "",
    "relu relu_ tanh sigmoid view reshape flatten mean sum std var amax max size dim permute transpose squeeze "
    "unsqueeze softmax log_softmax clamp contiguous float add sub mul div matmul chunk split sqrt exp abs t square",
)
FUNCTIONS = {
    **_named(
        torch,
        "torch.",
        "relu relu_ tanh sigmoid flatten cat stack add sub mul div mean sum std var amax max matmul permute reshape "
        "squeeze unsqueeze softmax log_softmax clamp sqrt exp abs transpose chunk split conv2d dropout max_pool2d "
        "square",
    ),
    **_named(
        F,
        "F.",
        "relu relu6 leaky_relu elu gelu silu softplus sigmoid tanh hardswish mish max_pool2d avg_pool2d normalize pad "
        "adaptive_avg_pool2d adaptive_max_pool2d dropout dropout2d softmax log_softmax linear conv2d interpolate "
        "layer_norm group_norm",
    ),
    **_named(operator, "operator.", "add sub mul truediv floordiv pow neg matmul getitem"),
    "getattr": _attribute,
}
NAMES: dict[Any, str] = {**{function: name for name, function in FUNCTIONS.items()}, getattr: "getattr"}


class Own(nn.Module):
    """A network of a learner's own class in the judge; one inside another is only a place for layers."""

    steps: tuple[tuple[str, str, list[Any], dict[str, Any]], ...] = ()

    def forward(self, *inputs: Tensor) -> Any:
        """Run the steps."""
        values: list[Any] = []
        waiting = [each.clone() for each in inputs]  # a step may change them in place
        for kind, target, arguments, by_name in type(self).steps:  # an attribute may have the same name
            given = [_filled(each, values, self.training) for each in arguments]
            named = {key: _filled(each, values, self.training) for key, each in by_name.items() if key != "out"}
            if kind == "placeholder":
                values.append(waiting.pop(0))
            elif kind == "get_attr":
                values.append(_held(self, target))
            elif kind == "call_module":
                values.append(self.get_submodule(target)(*given, **named))
            elif kind == "call_function":
                values.append(FUNCTIONS[target](*given, **named))
            elif kind == "call_method" and target in METHODS and isinstance(given[0], Tensor):
                values.append(METHODS[target](*given, **named))
            elif kind == "output":
                return given[0]
            else:
                raise TypeError(f"{target} cannot be judged")
        raise NotImplementedError("a part of a network cannot be called alone")


def steps_of(network: nn.Module) -> list[Any] | None:
    """Return the steps of a network's `forward` as JSON can hold them; None where it cannot be followed."""
    from torch import fx

    class Tracer(fx.Tracer):
        def call_module(self, layer: nn.Module, forward: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
            try:
                return super().call_module(layer, forward, given, named)
            except NameError:  # a layer that `forward` has just made, such as nn.ReLU()(x)
                return forward(*given, **named)

    modes = [(module, module.training) for module in network.modules()]
    found = []
    try:
        for training in (True, False):
            network.train(training)
            nodes = list(Tracer().trace(network).nodes)
            places = {node: place for place, node in enumerate(nodes)}
            found.append([_step(node, places, network) for node in nodes])
        return _in_both(*found)
    except Exception:  # noqa: BLE001 - the learner's own code runs, on values that it may not expect
        return None
    finally:
        for module, training in modes:
            module.training = training


def _in_both(training: Any, evaluating: Any) -> Any:
    """Return what is the same in training and in evaluation; what is True and False there stands for `training`.

    Raises:
        ValueError: when something else differs.
    """
    if type(training) is type(evaluating) is list and len(training) == len(evaluating):
        return list(map(_in_both, training, evaluating))
    if type(training) is type(evaluating) is dict and training.keys() == evaluating.keys():
        return {key: _in_both(training[key], evaluating[key]) for key in training}
    if training is True and evaluating is False:
        return {"training": True}
    if training != evaluating:
        raise ValueError
    return training


def _step(node: Any, places: dict[Any, int], network: nn.Module) -> list[Any]:
    target = node.target
    if node.op == "call_function":
        target = NAMES[target]
    elif node.op == "get_attr":
        _held(network, target)
    elif node.op == "placeholder" and node.args:
        raise TypeError("a default")
    arguments = [_plain(each, places) for each in node.args]
    return [node.op, str(target), arguments, {key: _plain(each, places) for key, each in node.kwargs.items()}]


def _plain(value: Any, places: dict[Any, int]) -> Any:
    """Return an argument as JSON can hold it: a step's result by its number, a tuple or slice by its kind."""
    if value in (None, ...) or type(value) in (bool, int, float, str):
        return {"dots": True} if value is ... else value
    if isinstance(value, slice):
        return {"slice": [_plain(each, places) for each in (value.start, value.stop, value.step)]}
    if isinstance(value, (list, tuple)):
        return {"tuple" if isinstance(value, tuple) else "list": [_plain(each, places) for each in value]}
    return {"step": places[value]}


def _filled(node: Any, values: list[Any], training: bool) -> Any:
    """Return an argument from what `_plain` made of it."""
    if not isinstance(node, dict):
        return node
    ((kind, inside),) = node.items()
    if kind == "step":
        return values[inside]
    if kind == "dots":
        return ...
    if kind == "training":
        return training
    filled = [_filled(each, values, training) for each in inside]
    return {"slice": lambda: slice(*filled), "tuple": lambda: tuple(filled), "list": lambda: filled}[kind]()


def _held(network: nn.Module, path: str) -> Tensor:
    """Return a parameter or buffer of a network by its path."""
    above, _, name = path.rpartition(".")
    module = network.get_submodule(above)
    return {**module._parameters, **module._buffers}[name]
