"""The files that Fashion-MNIST and CIFAR-10 come in: IDX and CIFAR-10's batches, each checked while it is read.

Every reader returns pictures as uint8 (N, C, H, W) and labels as int64 (N,), and raises DataError with the file's
name when the file is damaged, incomplete or not what its name says.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from course_utils.errors import DataError

CIFAR_RECORD = 1 + 3 * 32 * 32  # one byte of label, then red, green and blue, row by row
CIFAR_ROWS = 10_000  # pictures in each of CIFAR-10's six files
BINARY_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
BINARY_TEST = ("test_batch.bin",)
# The pickled files with the MD5 sums that torchvision publishes (torchvision.datasets.CIFAR10): nothing else is opened.
PICKLED_TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
PICKLED_TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}


def read_idx(path: Path) -> np.ndarray:
    """Return the array of bytes in an IDX file, gzipped or plain, in the shape that its header names.

    Source: the format's description on http://yann.lecun.com/exdb/mnist/ (unsigned bytes only).
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise damaged(path, f"it cannot be read ({error})") from error
    if content[:3] != b"\x00\x00\x08" or len(content) < 4 or len(content) < 4 + 4 * content[3]:
        raise damaged(path, "it does not start like an IDX file of bytes")
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4).astype(np.int64)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    if values.size != shape.prod():
        raise damaged(path, f"it holds {values.size:,} values where its header promises {shape.prod():,}")
    return values.reshape(shape)


def read_idx_pair(images: Path, labels: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the grey pictures (N, 1, H, W) of one IDX file and their labels from the other."""
    pixels, targets = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or targets.ndim != 1:
        raise damaged(images, "pictures need three dimensions and labels one")
    return check(pixels[:, None], targets.astype(np.int64), classes, images.name)


def read_cifar_binary(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures and labels of CIFAR-10's binary files (`data_batch_1.bin` …), one after the other."""
    rows = []
    for path in files:
        content = read_bytes(path)
        if len(content) != CIFAR_ROWS * CIFAR_RECORD:
            raise damaged(path, f"it has {len(content):,} bytes instead of {CIFAR_ROWS * CIFAR_RECORD:,}")
        rows.append(np.frombuffer(content, np.uint8).reshape(CIFAR_ROWS, CIFAR_RECORD))
    records = np.concatenate(rows)
    images = records[:, 1:].reshape(-1, 3, 32, 32)
    return check(images, records[:, 0].astype(np.int64), 10, files[0].name)


def read_cifar_pickled(folder: Path, sums: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures and labels of CIFAR-10's Python files, opened only if their MD5 sums are the published ones.

    Args:
        folder: the folder `cifar-10-batches-py`.
        sums: file name to MD5 sum, such as `PICKLED_TRAIN`.
    """
    images, labels = [], []
    for name, md5 in sums.items():
        content = read_bytes(folder / name)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise damaged(folder / name, "its MD5 sum is not the published one, so it was not opened")
        batch = ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        images.append(batch["data"].reshape(-1, 3, 32, 32))
        labels.append(np.asarray(batch["labels"], np.int64))
    return check(np.concatenate(images), np.concatenate(labels), 10, next(iter(sums)))


class ArraysOnly(pickle.Unpickler):
    """An unpickler that makes NumPy arrays and plain containers, and refuses to call anything else."""

    def find_class(self, module: str, name: str) -> Callable:
        """Return the three NumPy names that arrays are pickled with; refuse every other."""
        rebuild = np.zeros(1).__reduce__()[0]  # NumPy's own _reconstruct, wherever this version keeps it
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): rebuild,
            ("numpy._core.multiarray", "_reconstruct"): rebuild,
        }
        if (module, name) not in allowed:
            raise DataError(f"A data file asks for {module}.{name}, which no picture needs; do not use that file.")
        return allowed[module, name]


def check(images: np.ndarray, labels: np.ndarray, classes: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return both arrays as they are, or raise DataError when they cannot be a set of `classes` classes.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), each from 0 to `classes` − 1.
        classes: the number of classes.
        what: the file or set that an error names.
    """
    if len(images) == 0:
        raise DataError(f"{what} holds no pictures; delete it and fetch it again.")
    if len(images) != len(labels):
        raise DataError(
            f"{what} has {len(images):,} pictures but {len(labels):,} labels; delete it and fetch it again."
        )
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels.max() if labels.max() >= classes else labels.min()
        raise DataError(
            f"{what} has the label {wrong}, but its {classes} classes are numbered 0 to {classes - 1}; "
            "delete it and fetch it again."
        )
    return images, labels


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, or raise DataError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})") from error


def damaged(path: Path, why: str) -> DataError:
    """Return the error that names a file and what is wrong with it."""
    return DataError(
        f"The data file {path.name} in {path.parent} is damaged: {why}; delete it, then fetch "
        "it anew (`course data list` names the sets, `course data fetch NAME` downloads one)."
    )
