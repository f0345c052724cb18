"""Dividing labelled pictures into parts: each class in proportion, and what belongs together in one part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        For each fraction the indices of its pictures, int64, in increasing order. Each part gets at least one picture
        of every class; where that takes nothing from another part, the number of a class in a part differs by less
        than 1 from the exact share.

    Raises:
        ValueError: when the fractions are not positive or do not add up to 1.
        DataError: when there are no labels, or a class has fewer pictures than there are parts.
    """
    labels = torch.as_tensor(labels)
    shares = tuple(fractions) if isinstance(fractions, Iterable) else ()
    if not (shares and min(shares) > 0 and abs(sum(shares) - 1) <= 1e-6):  # written so that NaN is refused too
        raise ValueError(f"The fractions {shares or fractions} must be positive and add up to 1.")
    if labels.ndim != 1 or len(labels) == 0:
        raise DataError(f"split takes some labels (N,), a number for each picture, not {tuple(labels.shape)}.")
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


def split_groups(labels: Tensor, groups: np.ndarray, fractions: Sequence[float], seed: int) -> tuple[Tensor, ...]:
    """Divide pictures at random into parts, each class in proportion; a group is never divided.

    Args:
        labels: int64 (N,).
        groups: the number of each picture's group, int64 (N,); one with two labels goes to the first part.
        fractions: the share of each part; they add up to 1.
        seed: the same seed gives the same parts.

    Returns:
        For each fraction the indices of its pictures, in increasing order. Each part gets at least one group of every
        class; where that takes nothing from another part, and without copies, the number of a class in a part differs
        by less than 1 from the exact share. A class with fewer groups than there are parts fills the first part, then
        the last one, then those between.
    """
    generator = torch.Generator().manual_seed(seed)
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(i)
    known = labels.tolist()
    of_class: dict[int, list[list[int]]] = {label: [] for label in sorted(set(known))}
    parts: list[list[int]] = [[] for _ in fractions]
    for pictures in members.values():
        if len({known[i] for i in pictures}) > 1:
            parts[0] += pictures
        else:
            of_class[known[pictures[0]]].append(pictures)
    needed_first = [0, len(fractions) - 1, *range(1, len(fractions) - 1)]
    for inside in filter(None, of_class.values()):
        wanted = sorted(set(needed_first[: len(inside)]))
        shuffled = [inside[i] for i in torch.randperm(len(inside), generator=generator).tolist()]
        shuffled.sort(key=len, reverse=True)  # stable: the order among equals stays random
        shares = apportion(sum(map(len, inside)), [fractions[part] for part in wanted], at_least=1)
        lacking = dict(zip(wanted, shares))
        first = sorted(wanted, key=lambda part: -lacking[part])  # no part goes without: a group for each
        for group, due in zip_longest(shuffled, first):
            part = max(wanted, key=lacking.__getitem__) if due is None else due
            parts[part] += group
            lacking[part] -= len(group)
    return tuple(torch.tensor(sorted(part), dtype=torch.int64) for part in parts)
