"""Dividing labelled pictures into parts: each class in proportion, and what belongs together in one part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from course_utils.errors import DataError


def split(labels: Tensor | Sequence[int], fractions: Sequence[float], seed: int = 0) -> tuple[Tensor, ...]:
    """Divide pictures at random into parts, each class in the same proportions; no picture is in two parts.

    Args:
        labels: int64 (N,).
        fractions: the share of each part, such as (0.5, 0.25, 0.25); they add up to 1.
        seed: the same seed gives the same parts.

    Returns:
        For each fraction the indices of its pictures, int64, in increasing order. In every class, the number in a
        part differs by less than 1 from the exact share, where the class has enough pictures: no part goes empty.

    Raises:
        ValueError: when the fractions are not positive or do not add up to 1.
        DataError: when there are no labels, or a class has fewer pictures than there are parts.
    """
    labels = torch.as_tensor(labels)
    if not fractions or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"The fractions {tuple(fractions)} must be positive and add up to 1.")
    if labels.ndim != 1 or len(labels) == 0:
        raise DataError("There are no labels to split; expected one for each picture.")
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in fractions]
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        if len(members) < len(fractions):
            raise DataError(
                f"Class {label} has {len(members)} pictures, too few for {len(fractions)} parts; add some or drop it."
            )
        counts = apportion(len(members), fractions, at_least=1)
        shuffled = members[torch.randperm(len(members), generator=generator)]
        for part, piece in zip(parts, shuffled.split(counts)):
            part.append(piece)
    return tuple(torch.cat(part).sort().values for part in parts)


def apportion(total: int, weights: Sequence[float], at_least: int = 0) -> list[int]:
    """Divide `total` into whole numbers in proportion to `weights`: rounded down, the rest to the largest remainders.

    With `at_least`, a share that would be smaller takes what it lacks from the largest one.
    """
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [int(share + 1e-9) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    while min(counts) < at_least:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(min(counts))] += 1
    return counts


def split_groups(
    labels: Tensor, groups: np.ndarray, fractions: Sequence[float], seed: int, classes: Sequence[str]
) -> tuple[Tensor, ...]:
    """Divide pictures at random into parts, each class in proportion; a group is never divided.

    Args:
        labels: int64 (N,).
        groups: the number of each picture's group, int64 (N,); a group belongs to the class of its first picture.
        fractions: the share of each part; they add up to 1.
        seed: the same seed gives the same parts.
        classes: names, for messages.

    Returns:
        For each fraction the indices of its pictures, in increasing order. Without copies the number of a class in a
        part differs by less than 1 from the exact share, where the class has enough pictures.

    Raises:
        DataError: when a class has fewer groups than there are parts.
    """
    generator = torch.Generator().manual_seed(seed)
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(i)
    parts: list[list[int]] = [[] for _ in fractions]
    for label, name in enumerate(classes):
        inside = [group for group, pictures in members.items() if int(labels[pictures[0]]) == label]
        if len(inside) < len(fractions):
            count = f"{len(inside)} different pictures"
            raise DataError(f"The class {name!r} has {count}, too few for {len(fractions)} parts; add some.")
        shuffled = [inside[i] for i in torch.randperm(len(inside), generator=generator).tolist()]
        shuffled.sort(key=lambda group: -len(members[group]))  # stable: the order among equals stays random
        lacking = apportion(sum(len(members[group]) for group in inside), fractions, at_least=1)
        first = sorted(range(len(lacking)), key=lambda part: -lacking[part])  # no part goes without: a group for each
        for group, due in zip_longest(shuffled, first):
            part = lacking.index(max(lacking)) if due is None else due
            parts[part] += members[group]
            lacking[part] -= len(members[group])
    return tuple(torch.tensor(sorted(part), dtype=torch.int64) for part in parts)
