"""The pictures inside the package, for when there is no network: a part of Fashion-MNIST, and parts of photographs."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.base.files import whole_folder
from course_utils.data.downloads import cannot_write
from course_utils.pictures import files as picture_files

TILE, COLUMNS = 28, 100  # side of a Fashion-MNIST picture, and pictures in a row of a sprite sheet
CROP = 32  # side of a crop in `photo_crops`, the same as in CIFAR-10
TRAIN_CROPS, TEST_CROPS = 400, 100  # of each photograph
SQUARES = (32, 64)  # smallest and largest side of the square cut from a photograph before it is scaled to CROP
SIDE = 224  # side of a picture in `photo_parts`
LARGER_SQUARES = (48, 128)  # of the square cut from a photograph before it is scaled to SIDE
PARTS = {"train": 40, "test": 20}  # pictures of each photograph

Arrays = tuple[np.ndarray, np.ndarray]  # pictures uint8 (N, C, H, W), labels int64 (N,)


def content(name: str) -> bytes:
    """Return the bytes of one file in the package's folder of samples."""
    return files("course_utils").joinpath("samples", *name.split("/")).read_bytes()


def size_bytes(start: str) -> int:
    """Return the size of those embedded files, together, whose names begin with `start`."""
    top = files("course_utils").joinpath("samples")
    found = [entry for entry in top.iterdir() if entry.name.startswith(start)]
    return sum(len(file.read_bytes()) for entry in found for file in (entry.iterdir() if entry.is_dir() else [entry]))


def fashion_mnist(part: str) -> Arrays:
    """Return the embedded 10,000 "train" or 2,000 "test" pictures (N, 1, 28, 28) of Fashion-MNIST.

    They are the first 1,000 and 200 of each class in the original files, in their original order, unchanged.
    """
    sheet = np.asarray(
        picture_files.open_picture(io.BytesIO(content(f"fashion_mnist_{part}.png")), "L")
    )  # (rows·28, 100·28)
    tiles = sheet.reshape(-1, TILE, COLUMNS, TILE).swapaxes(1, 2).reshape(-1, 1, TILE, TILE)
    return tiles, np.frombuffer(fashion_mnist_digits(part).encode(), np.uint8).astype(np.int64) - ord("0")


def fashion_mnist_digits(part: str) -> str:
    """Return the labels of the embedded pictures, a digit for each."""
    return json.loads(content("fashion_mnist_labels.json"))[part]


def photo_crops(validation: float = 0) -> tuple[tuple[str, ...], dict[str, Arrays]]:
    """Return class names and crops (N, 3, 32, 32) of the photographs: the class is the photograph a crop comes from.

    Test crops come from the right half of each photograph, training crops from the left. With a share for
    `validation`, that many of them come from the lowest quarter of the left half, and training crops from above it:
    crops that overlap in two parts would make a network look better than it is. Places and sizes follow fixed
    sequences: every call on every machine gives the same crops.
    """
    names = picture_files.photographs()
    held_out = min(max(1, round(TRAIN_CROPS * validation)), TRAIN_CROPS - 1) if validation else 0
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for name in names:
        picture = picture_files.photograph(name)
        width, height = picture.size
        middle = width // 2
        line = height * 3 // 4 if held_out else height
        parts["train"].append(crops(picture, (0, 0, middle, line), TRAIN_CROPS - held_out))
        parts["test"].append(crops(picture, (middle, 0, width, height), TEST_CROPS))
        if held_out:
            parts["validation"].append(crops(picture, (0, line, middle, height), held_out))
    return names, {
        part: (np.concatenate(found), np.arange(len(names)).repeat(len(found[0])))
        for part, found in parts.items()
        if found
    }


def crops(picture: Image.Image, region: tuple[int, int, int, int], count: int) -> np.ndarray:
    """Return `count` square crops (count, 3, 32, 32) from a region (left, top, right, bottom) of a picture."""
    made = [square.resize((CROP, CROP), Image.Resampling.BOX) for square in squares(picture, region, count, SQUARES)]
    return np.stack([np.asarray(crop) for crop in made]).transpose(0, 3, 1, 2)


def squares(
    picture: Image.Image, region: tuple[int, int, int, int], count: int, sides: tuple[int, int]
) -> Iterator[Image.Image]:
    """Yield squares from a region (left, top, right, bottom) of a picture, of sides between the two given."""
    left, top, right, bottom = region
    # Multiples of these three numbers, modulo 1, fill a cube evenly: the R3 sequence, Roberts 2018
    # (extremelearning.com.au/unreasonable-effectiveness-of-quasirandom-sequences).
    steps = np.arange(1, count + 1)[:, None] * np.array([0.8191725134, 0.6710436067, 0.5497004779])
    for across, down, scale in steps % 1:
        side = min(round(sides[0] + scale * (sides[1] - sides[0])), right - left, bottom - top)
        x = left + int(across * (right - left - side + 1))
        y = top + int(down * (bottom - top - side + 1))
        yield picture.crop((x, y, x + side, y + side))


def photo_parts(cache: Path) -> Path:
    """Return a folder `train|test/<photograph>/NN.jpg` of parts of the course's photographs, made when it is missing.

    Training pictures come from the left half of each photograph, test pictures from the right half, so that no pixel
    is in both. Places and sizes follow a fixed sequence: they are the same on every machine.

    Args:
        cache: where it is kept; where that cannot be written, the system's folder for temporary files is taken.

    Raises:
        DataError: when neither can be written.
    """
    plan = f"{SIDE} {LARGER_SQUARES} {PARTS} {picture_files.photographs()}"
    name = f"photo_parts-{hashlib.sha256(plan.encode()).hexdigest()[:8]}"
    failure: OSError | None = None
    for place in (cache, Path(tempfile.gettempdir())):
        folder = place / name
        try:
            if not folder.is_dir():
                with whole_folder(folder, replace=False) as unfinished:
                    write_parts(unfinished)
            return folder
        except OSError as error:
            failure = error
    raise cannot_write(place, failure) from failure


def write_parts(folder: Path) -> None:
    """Write the pictures of `photo_parts`."""
    for name in picture_files.photographs():
        picture = picture_files.photograph(name)
        middle = picture.width // 2
        for part, (left, right) in {"train": (0, middle), "test": (middle, picture.width)}.items():
            (folder / part / name).mkdir(parents=True)
            cut = squares(picture, (left, 0, right, picture.height), PARTS[part], LARGER_SQUARES)
            for i, square in enumerate(cut):
                larger = square.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                larger.save(folder / part / name / f"{i:02d}.jpg", quality=92)
