"""A folder as it comes from a telephone, made from Fashion-MNIST: pieces of clothing that lie on the floor.

For appendix B where no pictures of one's own are at hand. Pieces of clothing are laid on floors that are computed, at
any size, angle and light, and saved as JPEG files with EXIF data, some turned, under the names that telephones give;
among them the accidents that every such folder holds. All of it may be passed on (Fashion-MNIST: MIT licence).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from course_utils.base.files import whole_folder
from course_utils.data.sample_folder import NAMES, drawn, fashion_arrays
from course_utils.errors import DataError
from course_utils.pictures.files import ORIENTATION

SOMETHING_ELSE = "something else"
CLASSES = {  # what the folders hold, in Fashion-MNIST's own names
    "ankle boot": ("Ankle boot",),
    "sandal": ("Sandal",),
    "sneaker": ("Sneaker",),
    SOMETHING_ELSE: ("Bag", "Trouser", "T-shirt", "Dress", "Pullover"),
}
SIZES = ((320, 240), (240, 320), (400, 300), (300, 400), (288, 288))  # (width, height) when upright
GROUNDS = {  # the colours of a floor, dark and light
    "wood": ((110, 70, 38), (188, 136, 84)),
    "tiles": ((178, 176, 170), (226, 222, 212)),
    "carpet": ((92, 96, 108), (138, 140, 150)),
    "grass": ((38, 74, 26), (120, 158, 66)),
    "blanket": ((32, 56, 108), (84, 116, 176)),
}
DYES = ((235, 235, 230), (70, 72, 80), (170, 60, 50), (60, 100, 150), (190, 150, 90), (110, 130, 80), (150, 110, 150))
TURNED = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"  # how such a file begins; no picture follows

Stock = tuple[np.ndarray, np.ndarray]  # pictures uint8 (N, 28, 28) and labels int64 (N,) of Fashion-MNIST


@dataclass(frozen=True)
class Scene:
    """One thing on one floor, before it is photographed: pixels uint8 (28, 28), and what chance has chosen for it."""

    pixels: np.ndarray
    ground: str
    size: tuple[int, int]
    dye: tuple[int, int, int]
    share: float  # of the picture's shorter side
    angle: float  # degrees
    place: tuple[float, float]  # 0 to 1, across and down the room that is left
    gain: float  # of the light
    seed: int  # of the floor's pattern


def write_phone_pictures(
    path: str | Path,
    *,
    classes: Sequence[str] = tuple(CLASSES),
    per_class: int = 30,
    shots: int = 1,
    grounds: Mapping[str, Sequence[str]] | None = None,
    accidents: bool = True,
    part: str = "train",
    seed: int = 0,
) -> Path:
    """Write `<path>/<class>/IMG_NNNN.jpg`, whole or not at all, in place of a folder that is there; return its path.

    The same arguments give the same pictures.

    Args:
        path: the folder to make.
        classes: some of `CLASSES`.
        per_class: pictures of each class.
        shots: how many pictures of one thing in one place come after each other: 1, or more for bursts.
        grounds: for each class the floors, of `GROUNDS`, that its things may lie on; None for all of them.
        accidents: add five files that need a decision: one picture twice, a dark one, a blurred one, half a file,
            and one that ends in .heic.
        part: "train" or "test" pictures of Fashion-MNIST, which have none in common.
        seed: of everything that is drawn.

    Raises:
        DataError: when the folder cannot be written.
        ValueError: for a class or floor that there is not, or another wrong argument.
    """
    path = Path(path)
    unknown = set(classes) - set(CLASSES) or {each for floors in (grounds or {}).values() for each in floors} - set(
        GROUNDS
    )
    if unknown or not classes or per_class < 1 or shots < 1:
        raise ValueError(
            f"classes must be of {', '.join(CLASSES)}, floors of {', '.join(GROUNDS)}, numbers at least 1"
            + (f"; {sorted(unknown)[0]!r} is none of them." if unknown else ".")
        )
    number, stock = 1, fashion_arrays(part)
    try:
        with whole_folder(path) as unfinished:
            for name in classes:
                (unfinished / name).mkdir()
                scenes = _scenes(name, -(-per_class // shots), (grounds or {}).get(name, tuple(GROUNDS)), stock, seed)
                for i in range(per_class):
                    file = unfinished / name / f"IMG_{number:04d}.jpg"
                    file.write_bytes(_developed(scenes[i // shots], (seed, number), burst=shots > 1))
                    number += 1
            if accidents:
                _add_accidents(unfinished, list(classes), stock, seed)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror or error}); choose another folder.") from error
    return path


def _scenes(name: str, count: int, grounds: Sequence[str], stock: Stock, seed: int) -> list[Scene]:
    """Return `count` scenes of a class, with things of its kinds in turn."""
    images, labels = stock
    kinds = CLASSES[name]
    each = -(-count // len(kinds))
    things = np.stack([drawn(images, labels, kind, each, seed) for kind in kinds], axis=1).reshape(-1, 28, 28)
    chance = np.random.default_rng((seed, *name.encode()))
    floors = chance.permutation(np.resize(np.array(grounds), count))  # each as often, in no order
    return [
        Scene(
            pixels,
            str(floors[i]),
            SIZES[chance.integers(len(SIZES))],
            DYES[chance.integers(len(DYES))],
            chance.uniform(0.55, 0.95),
            chance.uniform(-25, 25),
            tuple(chance.random(2)),
            chance.uniform(0.6, 1.1),
            int(chance.integers(1 << 30)),
        )
        for i, pixels in enumerate(things[:count])
    ]


def laid_out(scene: Scene, jitter: Sequence[float] = (0.0, 0.0, 0.0, 1.0)) -> Image.Image:
    """Return the picture of a scene, upright; `jitter` moves it (pixels across, down), turns it and dims it."""
    width, height = scene.size
    floor = ground(scene.ground, width, height, scene.seed)
    side = round(scene.share * min(width, height))
    thing, mask = _cut_out(scene.pixels, scene.dye, side, scene.angle + jitter[2])
    left, top = (
        round(place * (length - side) + moved) for place, length, moved in zip(scene.place, (width, height), jitter)
    )
    shadow = Image.new("L", (width, height))
    shadow.paste(mask.filter(ImageFilter.GaussianBlur(side / 30)), (left + side // 40, top + side // 30))
    dark = np.asarray(shadow, np.float32)[..., None] / 255 * 0.55
    picture = Image.fromarray((floor * (1 - dark)).astype(np.uint8))
    picture.paste(thing, (left, top), mask)
    slope = np.linspace(0.9, 1.1, width, dtype=np.float32)[None, :, None]  # the window is on the right
    lit = np.asarray(picture) * (slope * np.float32(scene.gain * jitter[3]))
    noise = np.random.default_rng(scene.seed).standard_normal(lit.shape, np.float32) * 3
    return Image.fromarray((lit + noise).clip(0, 255).astype(np.uint8))


def ground(kind: str, width: int, height: int, seed: int) -> np.ndarray:
    """Return a floor, float (height, width, 3) from 0 to 255."""
    chance = np.random.default_rng(seed)
    dark, light = (np.array(colour, np.float32) for colour in GROUNDS[kind])
    if kind == "wood":  # long fibres, and gaps between boards
        pattern = _noise(chance, width, height, (4, 90)) * 0.7 + _noise(chance, width, height, (2, 30)) * 0.3
        pattern[np.arange(height) % 61 < 2] = -0.5
    elif kind == "tiles":
        pattern = 0.6 + 0.4 * _noise(chance, width, height, (40, 40))
        pattern[np.arange(height) % 97 < 4] = pattern[:, np.arange(width) % 97 < 4] = -0.6
    elif kind == "carpet":
        pattern = 0.5 * _noise(chance, width, height, (2, 2)) + 0.5 * _noise(chance, width, height, (30, 30))
    elif kind == "grass":
        pattern = 0.7 * _noise(chance, width, height, (14, 3)) + 0.3 * _noise(chance, width, height, (50, 50))
    else:  # a blanket with a check
        y, x = np.mgrid[:height, :width]
        pattern = 0.4 * ((x // 26) % 2) + 0.4 * ((y // 26) % 2) + 0.2 * _noise(chance, width, height, (2, 6))
    return (dark + pattern[..., None] * (light - dark)).clip(0, 255)


def _noise(chance: np.random.Generator, width: int, height: int, grain: tuple[int, int]) -> np.ndarray:
    """Return noise from 0 to 1 (height, width), smooth over `grain` (down, across) pixels."""
    small = (max(2, width // grain[1]), max(2, height // grain[0]))
    rough = Image.fromarray(chance.integers(0, 256, small[::-1], dtype=np.uint8))
    return np.asarray(rough.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255


def _cut_out(pixels: np.ndarray, dye: tuple[int, int, int], side: int, angle: float) -> tuple[Image.Image, Image.Image]:
    """Return a dyed thing of Fashion-MNIST, `side` pixels large and turned, and the mask that cuts it out."""
    grey = Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side), Image.Resampling.BICUBIC)
    outline = Image.fromarray(((pixels > 6) * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(3))
    outline = outline.filter(ImageFilter.MinFilter(3)).resize((side, side), Image.Resampling.BICUBIC)
    mask = outline.filter(ImageFilter.GaussianBlur(side / 90))
    colour = (0.2 + 0.8 * np.asarray(grey, np.float32)[..., None] / 255) * np.array(dye, np.float32)
    thing = Image.fromarray(colour.clip(0, 255).astype(np.uint8))
    return tuple(each.rotate(angle, Image.Resampling.BICUBIC) for each in (thing, mask))


def _developed(scene: Scene, seed: tuple[int, ...], *, burst: bool) -> bytes:
    """Return the JPEG file of one photograph of a scene; some are stored turned, as telephones do."""
    chance = np.random.default_rng(seed)
    jitter = (*chance.normal(0, 3, 2), chance.normal(0, 1.5), chance.uniform(0.96, 1.04)) if burst else (0, 0, 0, 1)
    orientation = int(chance.choice([1, 1, 6, 6, 8, 3], 1)[0])
    return _jpeg(laid_out(scene, jitter), orientation)


def _jpeg(picture: Image.Image, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = picture.transpose(TURNED[orientation]) if orientation in TURNED else picture
    file = io.BytesIO()
    stored.save(file, "jpeg", quality=88, exif=exif)
    return file.getvalue()


def _add_accidents(folder: Path, classes: list[str], stock: Stock, seed: int) -> None:
    """Write the five files that need a decision, into the classes in turn."""
    images, labels = stock

    def scene(name: str) -> Scene:
        kind = CLASSES[name][0]
        pixels = drawn(images, labels, kind, (labels == NAMES.index(kind)).sum(), seed)[-1]  # one that is not used yet
        return Scene(pixels, "carpet", SIZES[0], DYES[2], 0.8, 8.0, (0.5, 0.5), 0.9, seed)

    first, second, third, fourth = (classes[i % len(classes)] for i in range(4))
    again = sorted((folder / first).iterdir())[:3][-1]
    (folder / first / f"{again.stem} (1).jpg").write_bytes(again.read_bytes())
    dark = laid_out(scene(second), (0, 0, 0, 0.07))
    (folder / second / "IMG_0901.jpg").write_bytes(_jpeg(dark))
    blurred = laid_out(scene(third)).filter(ImageFilter.GaussianBlur(7))
    (folder / third / "IMG_0902.jpg").write_bytes(_jpeg(blurred))
    (folder / fourth / "IMG_0903.heic").write_bytes(HEIC)
    whole = _jpeg(laid_out(scene(fourth)))
    (folder / fourth / "IMG_0904.jpg").write_bytes(whole[: len(whole) // 2])
