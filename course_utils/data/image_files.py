"""Folders of picture files, one sub-folder a class: listing them, and decoding them with a few threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from course_utils.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
THREADS = min(4, os.cpu_count() or 1)  # Pillow decodes outside Python's lock
UNREADABLE = ("refuse", "skip")


@dataclass(frozen=True)
class Listing:
    """The pictures of one folder: class names, files, and for each file the number of its class."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: np.ndarray  # int64 (N,)


def list_pictures(folder: Path, classes: Sequence[str] | None = None) -> Listing:
    """Return the pictures in `folder/<class>/…`, classes and files in alphabetical order.

    Args:
        folder: a folder with one sub-folder a class.
        classes: the classes that must be there, in the order of their numbers; the sub-folders' names if None.

    Raises:
        DataError: when there are no sub-folders, one of them holds no picture, or a class is missing or too many.
    """
    try:
        there = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({error.strerror}); check its name.") from error
    names = tuple(there if classes is None else classes)
    if not there:
        raise DataError(f"{folder} holds no class folders; expected one folder of pictures for each class.")
    if set(names) != set(there):
        lost, extra = sorted(set(names) - set(there)), sorted(set(there) - set(names))
        what = f"lacks the class {lost[0]!r}" if lost else f"holds the class {extra[0]!r}, which training does not have"
        raise DataError(f"{folder} {what}; every part of a set must hold the same classes.")
    files: list[Path] = []
    counts = []
    for name in names:
        found = sorted(walk(folder / name))
        if not found:
            raise DataError(
                f"The class {name!r} in {folder} holds no pictures ({', '.join(SUFFIXES[:3])} …); add some."
            )
        files += found
        counts.append(len(found))
    return Listing(folder, names, tuple(files), np.arange(len(names)).repeat(counts))


def walk(folder: Path) -> Iterator[Path]:
    """Yield the picture files in `folder` and its sub-folders; hidden files are left out."""
    for path, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(path, name)


def read_picture(path: Path, mode: str = "RGB", size: tuple[int, int] | None = None) -> np.ndarray:
    """Return one picture file as uint8 (C, H, W).

    Args:
        path: the file.
        mode: "RGB" or "L" (grey).
        size: (height, width) to bring it to: scaled to cover them, then the middle is cut out. As it is if None.

    Raises:
        DataError: when the file is no picture, is cut short, or is too large to be decoded safely.
    """
    try:
        with Image.open(path) as opened:
            # A JPEG file without EXIF data says nothing of its orientation; asking takes longer than decoding it.
            turned = (
                opened if opened.format == "JPEG" and "exif" not in opened.info else ImageOps.exif_transpose(opened)
            )
            picture = turned.convert(mode)
            if size is not None:
                picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"The picture {path} cannot be decoded ({error}); mend or remove it, or skip such files with "
            'unreadable="skip".'
        ) from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode(
    listing: Listing, mode: str = "RGB", size: tuple[int, int] | None = None, unreadable: str = "refuse"
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return all pictures of a listing as one uint8 array (N, C, H, W), their labels (N,), and the files skipped.

    Args:
        listing: from `list_pictures`.
        mode: "RGB" or "L".
        size: (height, width), see `read_picture`; needed when the pictures differ in size.
        unreadable: "refuse" raises DataError at the first file that cannot be decoded; "skip" leaves such files out
            and returns their names.

    Raises:
        DataError: see `unreadable`; also when sizes differ and `size` is None, or no picture is left.
    """
    if unreadable not in UNREADABLE:
        raise ValueError(f"unreadable must be one of {', '.join(UNREADABLE)}, not {unreadable!r}.")

    def read(path: Path) -> np.ndarray | DataError:
        try:
            return read_picture(path, mode, size)
        except DataError as error:
            if unreadable == "refuse":
                raise
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        pictures = list(pool.map(read, listing.files))
    good = [i for i, picture in enumerate(pictures) if not isinstance(picture, DataError)]
    skipped = tuple(
        str(path.relative_to(listing.folder))
        for path, picture in zip(listing.files, pictures)
        if isinstance(picture, DataError)
    )
    shapes = {pictures[i].shape for i in good}
    if not good:
        raise DataError(f"No picture in {listing.folder} can be decoded; check the files.")
    if len(shapes) > 1:
        few = ", ".join(f"{w}×{h}" for _, h, w in sorted(shapes)[:3])
        raise DataError(f"The pictures in {listing.folder} differ in size ({few} …); pass size=(height, width).")
    return np.stack([pictures[i] for i in good]), listing.labels[good], skipped


def decode_once(listing: Listing, mode: str, cache: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures and labels like `decode`, from a file in the folder `cache` if they were decoded before.

    The file belongs to exactly these pictures: their names, sizes and times of change. Changed ones are decoded anew.
    """
    fingerprint = hashlib.sha256(mode.encode())
    for path in listing.files:
        seen = path.stat()
        fingerprint.update(f"{path}|{seen.st_size}|{seen.st_mtime_ns}\n".encode())
    kept = cache / f"{name}-{fingerprint.hexdigest()[:16]}.npy"
    try:
        images = np.load(kept, allow_pickle=False)
        if len(images) == len(listing.labels):
            return images, listing.labels
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or damaged: decode again
    images, labels, _ = decode(listing, mode)
    unfinished = kept.with_suffix(f".{os.getpid()}.part")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"{name}-*.npy"):
            old.unlink(missing_ok=True)
        with unfinished.open("wb") as file:
            np.save(file, images)
        unfinished.replace(kept)
    except OSError:  # no room or no permission: the pictures are here all the same
        with suppress(OSError):
            unfinished.unlink()
    return images, labels
