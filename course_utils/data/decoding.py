"""Picture files as tensors, many at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from course_utils.base.files import whole
from course_utils.base.machine import cores
from course_utils.errors import DataError
from course_utils.pictures import files as picture_files
from course_utils.pictures.tensors import to_tensor

THREADS = min(4, cores())  # Pillow decodes outside Python's lock


def decode(files: Sequence[Path], mode: str = "RGB", size: tuple[int, int] | None = None) -> Tensor:
    """Return picture files as one tensor, uint8 (N, C, H, W), decoded by a few threads.

    Args:
        files: at least one.
        mode: "RGB" or "L" (grey).
        size: (height, width) to bring them to: scaled to cover them, then the middle is cut out. As they are if None.

    Raises:
        DataError: when a file cannot be decoded, or sizes differ and `size` is None.
    """

    def read(path: Path) -> Tensor:
        picture = picture_files.open_picture(path, mode)
        if size is not None:
            picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.BILINEAR)
        return to_tensor(picture)

    first = read(files[0])
    decoded = torch.empty((len(files), *first.shape), dtype=torch.uint8)

    def keep(number: int) -> tuple[int, ...]:
        picture = read(files[number])
        if picture.shape == first.shape:
            decoded[number] = picture
        return tuple(picture.shape[1:])

    with ThreadPoolExecutor(THREADS) as pool:
        shapes = sorted(set(pool.map(keep, range(len(files)))))
    if len(shapes) > 1:
        few = ", ".join(f"{width}×{height}" for height, width in shapes[:3])
        raise DataError(
            f"The pictures beside {files[0]} differ in size ({few} …); make all of one size, or let "
            "data.folder(path, size=(height, width)) do so."
        )
    return decoded


def decode_once(files: Sequence[Path], mode: str, cache: Path, name: str) -> np.ndarray:
    """Return pictures like `decode`, from a file in the folder `cache` if they were decoded before.

    The file belongs to exactly these pictures: their names, sizes and times of change. Changed ones are decoded again.
    """
    fingerprint = hashlib.sha256(mode.encode())
    for path in files:
        seen = path.stat()
        fingerprint.update(f"{path}|{seen.st_size}|{seen.st_mtime_ns}\n".encode())
    kept = cache / f"{name}-{fingerprint.hexdigest()[:16]}.npy"
    try:
        images = np.load(kept, allow_pickle=False)
        if len(images) == len(files):
            return images
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or damaged: decode again
    images = decode(files, mode).numpy()
    with suppress(OSError):  # no room or no permission: the pictures are here all the same
        for old in cache.glob(f"{name}-*.npy"):
            old.unlink(missing_ok=True)
        with whole(kept) as unfinished:
            np.save(unfinished, images)
    return images
