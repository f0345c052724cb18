"""Fashion-MNIST written out as a folder of picture files, so that what works on folders can be shown with no download.

Fashion-MNIST is under the MIT licence, so its pictures may be published and passed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.base.files import whole_folder
from course_utils.base.words import closest
from course_utils.data import samples, sources
from course_utils.data.catalogue import KNOWN
from course_utils.errors import DataError

PARTS = ("train", "test")
SOURCES = ("sample", "load")
NAMES = tuple(name.partition("/")[0] for name in KNOWN["fashion_mnist"].classes)  # "T-shirt/top" is no folder's name


def write_sample_folder(
    path: str | Path,
    classes: Sequence[str] | None = None,
    per_class: int | Mapping[str, int] = 20,
    side: int = 96,
    seed: int = 0,
    *,
    part: str = "train",
    source: str = "sample",
) -> Path:
    """Write a flat folder `<path>/<class>/NNNN.png` of grey pictures of Fashion-MNIST, scaled up; return its path.

    The folder appears whole or not at all, in place of one that is there. The same arguments give the same files; a
    class's pictures are the same whatever the other classes are, and fewer of them are the first of more.

    Args:
        path: the folder to make.
        classes: names of Fashion-MNIST's classes ("T-shirt/top" is called "T-shirt"); None for all ten.
        per_class: how many pictures of each class, or of each class by name.
        side: height and width in pixels; the originals are 28 × 28, scaled with Pillow's bicubic filter.
        seed: which pictures are drawn.
        part: "train" or "test" pictures of the set, which have none in common.
        source: "sample" takes those in the package (1,000 train and 200 test pictures a class), the same on every
            machine; "load" takes the full set where it is at hand, as `data.load` does.

    Raises:
        DataError: when the folder cannot be written.
        ValueError: for a class that there is not, too many pictures of one, or another wrong argument.
    """
    path = Path(path)
    chosen = NAMES if classes is None else tuple(classes)
    for name in chosen:
        if name not in NAMES:
            raise ValueError(f"Fashion-MNIST has no class {name!r}{closest(name, NAMES) or '.'}")
    if not chosen or len(set(chosen)) < len(chosen) or side < 1:
        raise ValueError("classes must name one class or more, each once, and side must be positive.")
    images, labels = fashion_arrays(part, source)
    counts = {name: per_class if isinstance(per_class, int) else per_class[name] for name in chosen}
    pictures = {name: drawn(images, labels, name, count, seed) for name, count in counts.items()}
    try:
        with whole_folder(path) as unfinished:
            for name, found in pictures.items():
                (unfinished / name).mkdir()
                for i, pixels in enumerate(found):
                    enlarged(pixels, side).save(unfinished / name / f"{i:04d}.png")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror or error}); choose another folder.") from error
    return path


def fashion_arrays(part: str = "train", source: str = "sample") -> tuple[np.ndarray, np.ndarray]:
    """Return pictures uint8 (N, 28, 28) and labels int64 (N,) of a part of Fashion-MNIST; see `write_sample_folder`."""
    if part not in PARTS or source not in SOURCES:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, and source one of {', '.join(SOURCES)}.")
    if source == "sample":
        images, labels = samples.fashion_mnist(part)
    else:
        images, labels = getattr(sources.find("fashion_mnist"), part)
    return images[:, 0], labels


def drawn(images: np.ndarray, labels: np.ndarray, name: str, count: int, seed: int) -> np.ndarray:
    """Return `count` pictures (count, 28, 28) of the class `name`, drawn with a seed of its own."""
    label = NAMES.index(name)
    there = np.flatnonzero(labels == label)
    if not 0 < count <= len(there):
        raise ValueError(f"{count} pictures of {name!r} were asked for; there are {len(there):,}.")
    return images[np.random.default_rng((seed, label)).permutation(there)[:count]]


def enlarged(pixels: np.ndarray, side: int) -> Image.Image:
    """Return a grey picture of `side` × `side` pixels from uint8 (28, 28)."""
    return Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side), Image.Resampling.BICUBIC)
