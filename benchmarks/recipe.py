"""The way of lesson 5 from a network trained on ImageNet to one's own classes, in two steps, as the scripts time it.

First the head alone, on features of the frozen body that are computed once. Then, from `START` on, the upper stages
with it: random crops and mirror images, one-cycle, and each stage's rate `FACTOR` times that of the stage above.
Everything here was chosen on validation pictures.
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import itertools
from pathlib import Path

import clothes
import torch
from torchvision.transforms import v2

from course_utils import data, learning_rate, training, transfer

HEAD_STEPS, HEAD_SIZE, HEAD_RATE = 320, 64, 3e-3
START, EPOCHS, SIZE, RATE, FACTOR = "blocks.3", 6, 32, 2e-3, 0.8
LEAST = 0.85  # of a picture, in a random crop
Points = list[tuple[float, float]]  # seconds of training so far, accuracy


def fresh(classes: tuple[str, ...], seed: int) -> transfer.Network:
    """Return EfficientNet-Lite0 with ImageNet weights and a new head."""
    net = transfer.replace_head(transfer.backbone("efficientnet_lite0"), classes, seed=seed)
    net.model.to(memory_format=torch.channels_last)  # how processors like their convolutions
    return net


def train_head(net: transfer.Network, part: data.FilePart, view: transfer.Preprocess, cache: Path, seed: int) -> None:
    """Train the head on cached features of the frozen body."""
    training.seed_everything(seed)
    features = transfer.cached_features(net, part, view, cache=cache, batch=32, progress=False)
    batches = features.batches(HEAD_SIZE, shuffle=True, seed=seed)
    epochs = max(1, round(HEAD_STEPS / len(batches)))
    optimizer = torch.optim.AdamW(net.head_layer.parameters(), lr=HEAD_RATE)
    schedule = learning_rate.one_cycle(optimizer, batches, epochs)
    training.fit(net.head_layer, batches, epochs=epochs, optimizer=optimizer, scheduler=schedule, progress=False)


def crops(net: transfer.Network, side: int) -> v2.Compose:
    """Return the training transform: a random part of the picture, half of them mirrored, as the network wants it."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(side, scale=(LEAST, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(net.preprocess.mean, net.preprocess.std),
        ]
    )


def train_upper_stages(
    net: transfer.Network,
    part: data.FilePart,
    seed: int,
    *,
    side: int = clothes.SIDE,
    epochs: int = EPOCHS,
    test: data.FilePart | None = None,
) -> Points:
    """Train from `START` up; with `test`, return seconds of training so far and accuracy after each epoch."""
    transfer.unfreeze(net.model, START, statistics=True)
    optimizer = torch.optim.AdamW(transfer.param_groups(net.model, RATE, FACTOR))
    batches = data.loader(part, SIZE, transform=crops(net, side), shuffle=True, seed=seed, workers=2)
    schedule = learning_rate.one_cycle(optimizer, batches, epochs)
    asked = None if test is None else data.loader(test, 100, transform=clothes.plain(net), workers=2)
    history = training.fit(
        net.model, batches, asked, epochs=epochs, optimizer=optimizer, scheduler=schedule, progress=False
    )
    return list(zip(itertools.accumulate(history.seconds), history.validation_accuracy))
