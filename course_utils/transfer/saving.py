"""Save a trained network with all it takes to use it, and load it again; a file from a stranger runs nothing.

One file holds weights, class names, preprocessing and versions. It is read with `weights_only=True`, and only after a
look at its table of contents: no packed parts that grow while they are read. Of a network, only names that this course
can build itself are accepted, and of a head only the few kinds of layers that heads are made of.
"""

from __future__ import annotations

import contextlib
import os
import platform
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import course_utils
from course_utils.errors import CourseError, DataError
from course_utils.training import checkpoints
from course_utils.transfer.backbones import Network, build, find_head
from course_utils.transfer.preprocess import Preprocess

FORMAT = "pixels-to-predictions network 1"
LARGEST = 2 * 1024**3  # bytes of a file
MOST_CLASSES, LONGEST_NAME = 100_000, 200
EXPECTED = {"format", "architecture", "head", "classes", "preprocess", "weights", "versions", "source"}
# Layers a head may be made of: what to write down of one, and how to make it again.
LAYERS: dict[str, tuple[type[nn.Module], Callable[[Any], list]]] = {
    "Linear": (nn.Linear, lambda layer: [layer.in_features, layer.out_features, layer.bias is not None]),
    "Conv2d": (nn.Conv2d, lambda layer: [layer.in_channels, layer.out_channels, 1]),
    "BatchNorm1d": (nn.BatchNorm1d, lambda layer: [layer.num_features]),
    "ReLU": (nn.ReLU, lambda layer: []),
    "Dropout": (nn.Dropout, lambda layer: [layer.p]),
    "Flatten": (nn.Flatten, lambda layer: []),
    "LogSoftmax": (nn.LogSoftmax, lambda layer: [1]),
}


def save_network(net: Network, path: str | os.PathLike[str]) -> None:
    """Save a network with class names, preprocessing and versions into one file, all of it or nothing.

    Raises:
        ValueError: when its head holds layers of other kinds than `LAYERS`; write down the weights alone then.
        DataError: when the disk is full or the folder cannot be written.
    """
    state = {
        "format": FORMAT,
        "architecture": net.name,
        "head": _described(net.head_layer),
        "classes": list(net.classes),
        "preprocess": net.preprocess.as_dict(),
        "weights": {name: value.detach().cpu().contiguous() for name, value in net.model.state_dict().items()},
        "versions": {
            "course_utils": course_utils.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "source": net.source,
    }
    checkpoints.save(state, path)


def load_network(path: str | os.PathLike[str]) -> Network:
    """Return a network that `save_network` wrote, in evaluation mode.

    Raises:
        DataError: when the file is missing, damaged, of another kind, or holds anything but what it should; the
            sentence says what is wrong. Nothing of it is executed or written anywhere.
    """
    path = Path(path)
    _look_inside(path)
    state = checkpoints.load(path)
    if state.get("format") != FORMAT or set(state) != EXPECTED:
        raise DataError(f"{path.name} was not written by save_network; choose another file.")
    try:
        return _built(state, path.name)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise DataError(f"{path.name} does not hold a whole network ({_short(error)}); save it anew.") from error


def _look_inside(path: Path) -> None:
    """Refuse what is no file of torch.save, too large, or would grow while it is read."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(
                f"{path.name} has {size / 1e9:.1f} GB, more than any network of this course; choose another."
            )
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except FileNotFoundError:
        raise DataError(f"There is no file {path.name}; save a network first, or check the path.") from None
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"{path.name} is damaged or is no saved network; choose another file.") from error
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or sum(entry.file_size for entry in entries) > size:
        raise DataError(f"{path.name} holds packed or overlapping parts, as torch.save never writes; it was not read.")


def _built(state: dict[str, Any], name: str) -> Network:
    classes, weights = state["classes"], state["weights"]
    _require(isinstance(state["architecture"], str) and isinstance(state["source"], str), "its names are no texts")
    _require(
        isinstance(classes, list)
        and 2 <= len(classes) <= MOST_CLASSES
        and len(set(classes)) == len(classes)
        and all(isinstance(each, str) and 0 < len(each) <= LONGEST_NAME for each in classes),
        "its class names are no list of different texts",
    )
    _require(
        isinstance(weights, dict) and all(isinstance(value, Tensor) for value in weights.values()),
        "its weights are no tensors",
    )
    preprocess = Preprocess.from_dict(state["preprocess"])
    try:
        # Shapes only, at first: they cost nothing, and weights that do not fit are refused before memory is taken.
        with contextlib.suppress(NotImplementedError), torch.device("meta"):  # a few networks compute while being built
            checkpoints.require_same_network(_network(state, classes, preprocess).model, weights, name)
        net = _network(state, classes, preprocess)
        checkpoints.require_same_network(net.model, weights, name)
    except CourseError as error:
        raise DataError(str(error)) from None
    net.model.load_state_dict(weights)
    net.model.eval()
    return net


def _network(state: dict[str, Any], classes: Sequence[str], preprocess: Preprocess) -> Network:
    net = build(state["architecture"], pretrained=False)
    parent, _, last = net.head.rpartition(".")
    head = _made(state["head"])
    outputs = [layer for layer in head.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    _require(bool(outputs) and find_head(head, len(classes)) is not None, "its head has not one output for each class")
    setattr(net.model.get_submodule(parent), last, head)
    if hasattr(net.model, "num_classes"):
        net.model.num_classes = len(classes)
    return Network(net.name, net.model, net.head, tuple(classes), preprocess, state["source"])


def _described(head: nn.Module) -> list[list]:
    """Return a head as a list of layers: kind and numbers; a single layer is marked by the kind "alone"."""
    alone = not isinstance(head, nn.Sequential)
    rows: list[list] = [["alone"]] if alone else []
    for layer in [head] if alone else head:
        kind = type(layer).__name__
        if kind not in LAYERS or type(layer) is not LAYERS[kind][0]:
            raise ValueError(
                f"A head with a layer {kind} cannot be saved whole; heads are made of {', '.join(LAYERS)}."
            )
        rows.append([kind, *LAYERS[kind][1](layer)])
    return rows


def _made(rows: Any) -> nn.Module:
    """Return the head that `_described` wrote down."""
    _require(isinstance(rows, list) and 1 <= len(rows) <= 20, "its head is no list of layers")
    alone = rows[0] == ["alone"]
    layers = []
    for row in rows[1:] if alone else rows:
        kind, *numbers = row
        _require(kind in LAYERS, f"its head holds a layer {str(kind)[:40]!r}")
        sane = all(isinstance(n, (int, float)) and 0 <= n <= MOST_CLASSES for n in numbers)
        _require(sane, "its head has impossible sizes")
        layers.append(LAYERS[kind][0](*numbers))
    _require(len(layers) == 1 or not alone, "its head is no list of layers")
    return layers[0] if alone else nn.Sequential(*layers)


def _require(condition: bool, why: str) -> None:
    if not condition:
        raise ValueError(why)


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".")
