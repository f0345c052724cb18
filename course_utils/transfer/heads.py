"""New heads for old networks: found in every family, replaced by one for your own classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from course_utils.base.modules import device_of
from course_utils.base.words import short
from course_utils.transfer.backbones import Network, require_network

LONGEST_NAME = 200  # characters in the name of a class


def replace_head(net: Network, classes: Sequence[str], head: nn.Module | None = None, *, seed: int = 0) -> Network:
    """Return the network with a fresh head for `classes`; the model is changed, all below its head stays as it was.

    Args:
        net: any network of `backbone`; its model is shared with the result, and its old head is dropped.
        classes: a name for each class, at least two, no name twice, none longer than 200 characters.
        head: takes what the old head took, and returns a logit for each class; None makes one linear layer, or for
            SqueezeNet one 1×1 convolution.
        seed: of the new numbers.

    Raises:
        ValueError: for wrong names, or a head that does not take this network's features or has another number of
            outputs.
        TypeError: for a model without what `backbone` returns around it, or a head that is no layer.
    """
    require_network(net, "replace_head")
    if head is not None and not isinstance(head, nn.Module):
        raise TypeError(f"A head is a layer that was made, such as nn.Linear(512, 3), not {head!r}.")
    names = () if isinstance(classes, str) else tuple(str(name) for name in classes)
    if len(names) < 2 or len(set(names)) != len(names) or not all(names):
        raise ValueError(f"A head needs a list of at least two classes with different names, not {classes!r}.")
    longest = max(names, key=len)
    if len(longest) > LONGEST_NAME:
        raise ValueError(
            f"The class name {short(longest, 40)!r} has {len(longest):,} characters, more than the limit of "
            f"{LONGEST_NAME}; shorten it."
        )
    old = net.head_layer
    device = device_of(net.model)
    if head is None:
        with torch.random.fork_rng(devices=[]), device:
            torch.manual_seed(seed)
            if isinstance(old, nn.Conv2d):
                head = nn.Conv2d(old.in_channels, len(names), 1)
                nn.init.normal_(head.weight, std=0.01)  # as torchvision begins SqueezeNet's
                nn.init.zeros_(head.bias)
            else:
                head = nn.Linear(sizes_of(old)[0], len(names))
    (given, outputs), (wanted, _) = sizes_of(head), sizes_of(old)
    if given != wanted:
        raise ValueError(f"The head takes {given} features, but {net.name} has {wanted}; change its first layer.")
    if outputs != len(names):
        raise ValueError(
            f"The head gives {outputs} outputs, but there are {len(names)} classes; change its last layer."
        )
    return put_head(net, head.to(device), names)


def put_head(net: Network, head: nn.Module, classes: Sequence[str]) -> Network:
    """Return the network with `head`, unchecked, in place of its own; the model is changed."""
    parent, _, last = net.head.rpartition(".")
    setattr(net.model.get_submodule(parent), last, head)
    if hasattr(net.model, "num_classes"):  # SqueezeNet, and timm's networks
        net.model.num_classes = len(classes)
    return replace(net, classes=tuple(classes))


def published_head(inputs: int, classes: int, *, device: torch.device | str | None = None) -> nn.Sequential:
    """Return the head of a published lesson on VGG-16: 256 hidden units, dropout 0.4, log-probabilities.

    Use it with `nn.NLLLoss`, or leave its last layer out and use cross-entropy: the two are equal.
    """
    with torch.device(device or "cpu"):
        return nn.Sequential(
            nn.Linear(inputs, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, classes), nn.LogSoftmax(dim=1)
        )


def sizes_of(head: nn.Module) -> tuple[int, int]:
    """Return how many features (or channels) the first layer of a head takes, and how many outputs its last one has.

    Raises:
        ValueError: when it holds no linear layer and no convolution.
    """
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    if not layers:
        kind = type(head).__name__
        raise ValueError(f"A {kind} takes no features; a head needs a linear layer or a 1×1 convolution.")
    first, last = layers[0], layers[-1]
    return (
        first.in_features if isinstance(first, nn.Linear) else first.in_channels,
        last.out_features if isinstance(last, nn.Linear) else last.out_channels,
    )
