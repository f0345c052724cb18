"""Pictures that are the same, and pictures that look alike, among thousands of files.

Equal means equal pixels, whatever the format and the file's other contents. Only such pictures are kept in one part
of a set; pictures that look alike (the same photograph at half the size, or saved again) are reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_utils.data.decoding import THREADS
from course_utils.errors import DataError, readable
from course_utils.pictures import files as picture_files

SIDE = 16  # of a thumbnail, in pixels
# Thumbnails are alike when the root of their mean squared difference, in levels of 0 to 255, is at most ALIKE; and, as
# dull pictures differ little from each other, at most ROUNDED + DULL times the standard deviation of either. Copies at
# half the size differ in up to 0.4, JPEG copies of quality 30 in up to 0.8 (parts of the course's photographs).
ALIKE, ROUNDED, DULL = 4.0, 0.5, 0.2
CUT_OFF = 32.0  # instead of ALIKE for a JPEG file and another kind: colours at random in red and black made it 12
CHUNK = 1024  # thumbnails compared at a time


@dataclass(frozen=True)
class Look:
    """What a first look at a file showed: (width, height) and a grey thumbnail, uint8 (256,); or why it failed.

    jpeg: whether the thumbnail may be made of a JPEG file's brightness, which is not that of its pixels where colours
        are so strong that they are cut off.
    """

    size: tuple[int, int] = (0, 0)
    thumbnail: np.ndarray | None = None
    why: str = ""
    jpeg: bool = False


def look(files: Sequence[Path]) -> list[Look]:
    """Decode each file to its end, JPEG files at a smaller scale, and return what was seen."""

    def one(path: Path) -> Look:
        try:
            square, size = picture_files.thumbnail(path, SIDE)
        except DataError as error:
            return Look(why=str(error).removeprefix(f"{readable(str(path))} ").split(";")[0].rstrip("."))
        with path.open("rb") as file:
            return Look(size, np.asarray(square).reshape(-1), jpeg=file.read(2) == b"\xff\xd8")

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, files))


def compare(files: Sequence[Path], looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of each picture, int64 (N,), the same for equal ones, and whether another group looks like it.

    Only pictures of one size whose thumbnails are alike can be equal (less alike where one alone is a JPEG file): these
    are decoded in full. Memory grows with the number of files, not with the number of pairs.
    """
    thumbnails = np.stack([seen.thumbnail for seen in looks]).astype(np.float32)
    sizes = np.unique([seen.size for seen in looks], axis=0, return_inverse=True)[1].reshape(-1)
    jpeg = np.array([seen.jpeg for seen in looks])
    possible = near(thumbnails, ALIKE, lambda a, b: sizes[a, None] == sizes[b])
    possible |= near(thumbnails, CUT_OFF, lambda a, b: (sizes[a, None] == sizes[b]) & (jpeg[a, None] != jpeg[b]))
    candidates = possible.nonzero()[0].tolist()

    def digest(index: int) -> bytes:
        return hashlib.blake2b(picture_files.open_picture(files[index]).tobytes(), digest_size=32).digest()

    groups, first = np.arange(len(files)), {}
    with ThreadPoolExecutor(THREADS) as pool:
        for i, pixels in zip(candidates, pool.map(digest, candidates)):
            groups[i] = first.setdefault((sizes[i], pixels), i)
    limits = np.minimum(ALIKE, ROUNDED + DULL * thumbnails.std(axis=1))
    return groups, near(thumbnails, limits, lambda a, b: groups[a, None] != groups[b])


def near(
    thumbnails: np.ndarray, limits: np.ndarray | float, counts: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return for each thumbnail whether another one that counts is near: bool (N,).

    Args:
        thumbnails: float32 (N, pixels), from 0 to 255.
        limits: how far another may be at most, as the root of the mean squared difference; float (N,) or one for all.
            The smaller limit of a pair holds.
        counts: called with the indices of some thumbnails, (a,) and (b,); returns which pairs are asked for, bool
            (a, b).
    """
    means = thumbnails.mean(axis=1)
    order = np.argsort(means, kind="stable")  # only those of nearly the same mean can be alike
    means, sorted_ = means[order], thumbnails[order]
    limits = np.broadcast_to(limits, len(order))[order]
    squares = np.einsum("np,np->n", sorted_, sorted_)
    most = thumbnails.shape[1] * limits.astype(np.float32) ** 2
    found = np.zeros(len(order), bool)
    for start in range(0, len(order), CHUNK):
        end = min(start + CHUNK, len(order))
        last = np.searchsorted(means, means[end - 1] + limits.max(), "right")
        for other in range(start, last, CHUNK):  # those before were compared with these already
            stop = min(other + CHUNK, last)
            apart = squares[start:end, None] + squares[other:stop] - 2 * sorted_[start:end] @ sorted_[other:stop].T
            pairs = (apart <= np.minimum(most[start:end, None], most[other:stop])) & counts(
                order[start:end], order[other:stop]
            )
            if other == start:
                np.fill_diagonal(pairs, False)
            found[start:end] |= pairs.any(axis=1)
            found[other:stop] |= pairs.any(axis=0)
    result = np.zeros_like(found)
    result[order] = found
    return result
