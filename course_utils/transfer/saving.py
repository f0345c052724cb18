"""Save a trained network with all it takes to use it, and load it again; a file from a stranger runs nothing.

One file in the format safetensors holds weights and, as JSON, class names, preprocessing and versions. It has no code
and no packed parts, by design. Of a network, only names that this course can build itself are accepted, and of a head
only the few kinds of layers that heads are made of.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

import course_utils
from course_utils.errors import CourseError, DataError, reason
from course_utils.training import checkpoints
from course_utils.transfer.backbones import Network, build, require_network
from course_utils.transfer.heads import LONGEST_NAME, put_head, sizes_of
from course_utils.transfer.preprocess import Preprocess

FORMAT, ENTRY = "pixels-to-predictions network 2", "classifier"
LARGEST, LONGEST_TEXT = 2 * 1024**3, 32 * 1024**2  # bytes of a file, characters of its description
MOST_CLASSES = 100_000
EXPECTED = {"architecture", "head", "classes", "preprocess", "versions", "source"}
# Layers a head may be made of, and the settings that make one; of a bias, whether there is one.
LAYERS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "Linear": (nn.Linear, ("in_features", "out_features", "bias")),
    "Conv2d": (nn.Conv2d, ("in_channels", "out_channels", "kernel_size", "bias")),
    "BatchNorm1d": (nn.BatchNorm1d, ("num_features", "eps", "momentum", "affine", "track_running_stats")),
    "ReLU": (nn.ReLU, ("inplace",)),
    "Dropout": (nn.Dropout, ("p", "inplace")),
    "Flatten": (nn.Flatten, ("start_dim", "end_dim")),
    "LogSoftmax": (nn.LogSoftmax, ("dim",)),
}
NOT_FINITE = "not all finite numbers, as after a training that went out of hand"
OTHERS = {  # how files begin that people take for such a file
    b"PK\x03\x04": "a file of torch.save, which may hold code",
    b"\x80": "a pickle, which may hold code",
    b"\x89HDF": "a file of Keras",
}


def save_network(net: Network, path: str | os.PathLike[str]) -> None:
    """Save a network with class names, preprocessing and versions into one file, all of it or nothing.

    The file counts only after it has been read back and gives the same network.

    Raises:
        ValueError: when its head holds layers or settings of other kinds than `LAYERS`, or its model cannot be built
            by its name; write down the weights alone then. Also when weights are not finite.
        DataError: when the disk is full or the folder cannot be written.
        TypeError: for a model without what `backbone` returns around it.
    """
    require_network(net, "save_network")
    head = net.head_layer
    description = {
        "architecture": net.name,
        "head": _described(head),
        "classes": list(net.classes),
        "preprocess": asdict(net.preprocess),
        "versions": {
            "course_utils": course_utils.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "source": net.source,
    }
    # Copies: parts of one tensor may not be saved as two, and the order in memory (channels_last) is not kept.
    layout = {"copy": True, "memory_format": torch.contiguous_format}
    weights = {name: value.detach().to("cpu", **layout) for name, value in net.model.state_dict().items()}
    if not _finite(weights):
        raise ValueError(f"{Path(path).name} was not saved: its weights are {NOT_FINITE}; train the network again.")
    content = safetensors.torch.save(weights, {"format": FORMAT, ENTRY: json.dumps(description)})
    with checkpoints.written(path) as unfinished:
        unfinished.write_bytes(content)
        try:
            with torch.random.fork_rng(devices=[]):  # a network is built first with random numbers
                back = load_network(unfinished)
        except DataError as error:
            why = str(error).replace(unfinished.name, "it")
            raise ValueError(f"{Path(path).name} was not saved, as it could not be read back: {why}") from error
        for (place, ours), theirs in zip(net.model.named_modules(), back.model.modules()):
            if not list(ours.children()) and repr(ours) != repr(theirs):
                came = f"its layer {place} would come back as {_line(theirs)}, not {_line(ours)}"
                raise ValueError(f"{Path(path).name} was not saved: {came}.")


def load_network(path: str | os.PathLike[str]) -> Network:
    """Return a network that `save_network` wrote, in evaluation mode.

    Raises:
        DataError: when the file is missing, damaged, of another kind, or holds anything but what it should; the
            sentence says what is wrong. Nothing of it is executed or written anywhere.
    """
    path = Path(path)
    description, weights = _read(path)
    try:
        return _built(description, weights, path.name)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise DataError(f"{path.name} does not hold a whole network ({reason(error)}); save it again.") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a file's description and tensors, unchecked but for their kinds."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(
                f"{path.name} has {size / 1e9:.1f} GB, more than any network of this course; choose another."
            )
        with path.open("rb") as file:
            start = file.read(4)
        with safe_open(path, "pt") as file:  # it refuses parts that overlap, and a header that promises too much
            about = file.metadata() or {}
            text = about.get(ENTRY, "")
            if about.get("format") != FORMAT or len(text) > LONGEST_TEXT:
                raise DataError(f"{path.name} was not written by save_network; choose another file.")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it cannot be iterated
        description = json.loads(text, parse_constant=_no_number)
    except FileNotFoundError:
        raise DataError(f"There is no file {path.name}; save a network first, or check the path.") from None
    except SafetensorError as error:
        other = next((what for mark, what in OTHERS.items() if start.startswith(mark)), "")
        if other:
            raise DataError(f"{path.name} is {other}; it was not read: choose one of save_network.") from error
        raise DataError(
            f"{path.name} is damaged, cut short or not a saved network ({reason(error)}); choose another file."
        ) from error
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror}); choose a file of save_network.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"The description in {path.name} is not JSON ({reason(error)}); save it again.") from error
    if not isinstance(description, dict) or set(description) != EXPECTED:
        raise DataError(f"{path.name} was not written by save_network; choose another file.")
    return description, weights


def _finite(weights: dict[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in weights.values())


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _built(description: dict[str, Any], weights: dict[str, Tensor], name: str) -> Network:
    classes = description["classes"]
    names = (description["architecture"], description["source"])
    _require(all(isinstance(each, str) for each in names), "its names are not texts")
    _require(
        isinstance(classes, list)
        and 2 <= len(classes) <= MOST_CLASSES
        and all(isinstance(each, str) and 0 < len(each) <= LONGEST_NAME for each in classes)
        and len(set(classes)) == len(classes),
        f"its class names are not a list of different texts of at most {LONGEST_NAME} characters",
    )
    preprocess = Preprocess.from_dict(description["preprocess"])
    try:
        # Shapes only, at first: they cost nothing, and weights that do not fit are refused before memory is taken.
        with torch.device("meta"):
            head = _made(description["head"])
            numbers = sum(parameter.numel() for parameter in head.parameters())
            _require(numbers <= sum(map(Tensor.numel, weights.values())), "its head has more numbers than the file")
            with contextlib.suppress(NotImplementedError):  # a few networks compute while they are built
                meta = _network(description, classes, preprocess).model.state_dict()
                checkpoints.require_same_network(meta, weights, name)
        net = _network(description, classes, preprocess)
        checkpoints.require_same_network(net.model.state_dict(), weights, name)
    except CourseError as error:
        raise DataError(str(error)) from None
    if not _finite(weights):
        raise DataError(f"The weights in {name} are {NOT_FINITE}; train the network again and save that.")
    net.model.load_state_dict(weights)
    net.model.eval()
    return net


def _network(description: dict[str, Any], classes: Sequence[str], preprocess: Preprocess) -> Network:
    head = _made(description["head"])
    _require(sizes_of(head)[1] == len(classes), "its head has not one output for each class")
    net = put_head(build(description["architecture"], pretrained=False), head, classes)
    return replace(net, preprocess=preprocess, source=description["source"])


def _described(head: nn.Module) -> dict[str, Any]:
    """Return a head as plain data: its layers, kind and settings each, and whether it is a single one."""
    rows = []
    for layer in head if isinstance(head, nn.Sequential) else [head]:
        kind = type(layer).__name__
        if kind not in LAYERS or type(layer) is not LAYERS[kind][0]:
            raise ValueError(
                f"A head with a layer {kind} cannot be saved whole; heads are made of {', '.join(LAYERS)}."
            )
        settings = {name: getattr(layer, name) for name in LAYERS[kind][1]}
        if "bias" in settings:
            settings["bias"] = settings["bias"] is not None
        rows.append([kind, settings])
    return {"single": not isinstance(head, nn.Sequential), "layers": rows}


def _made(head: Any) -> nn.Module:
    """Return the head that `_described` wrote down."""
    rows, single = head["layers"], head["single"]
    _require(
        isinstance(rows, list) and 1 <= len(rows) <= 20 and (len(rows) == 1 or not single),
        "its head is not a list of layers",
    )
    layers = []
    for kind, settings in rows:
        _require(kind in LAYERS, f"its head holds a layer {str(kind)[:40]!r}")
        make, names = LAYERS[kind]
        _require(set(settings) == set(names), f"its head has other settings than a {kind}")
        _require(all(map(_sane, settings.values())), "its head has impossible sizes")
        layers.append(make(**settings))
    return layers[0] if single else nn.Sequential(*layers)


def _sane(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) == 2 and all(type(each) is int and 1 <= each <= 16 for each in value)
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value) and -8 <= value <= MOST_CLASSES)


def _require(condition: bool, why: str) -> None:
    if not condition:
        raise ValueError(why)


def _line(module: nn.Module) -> str:
    return " ".join(repr(module).split())
