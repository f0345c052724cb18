"""Your own pictures: an image folder of any size, read picture by picture or, when it is small, as tensors at once.

folder(path)                     → FolderSet: torchvision's ImageFolder for each part, with `loader(...)`
folder(path, size=(128, 128))    → PictureSet: all pictures scaled to one size, for `data.batches`
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder

from course_utils.data import image_files
from course_utils.data.sources import Source
from course_utils.data.splits import PictureSet, announce, assemble
from course_utils.errors import DataError

PART_NAMES = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}
MOST_BYTES = 2 * 1024**3  # what the tensors of one part may take


@dataclass(frozen=True, eq=False)
class FolderSet:
    """An image folder read picture by picture: for each part a torchvision dataset, None where it has none."""

    name: str
    train: ImageFolder
    validation: ImageFolder | None
    test: ImageFolder | None
    classes: tuple[str, ...]
    source: Source
    skipped: tuple[str, ...] = field(default=(), repr=False)

    def describe(self) -> str:
        """Return one line: how many pictures in each part, of how many classes."""
        parts = ((self.train, "training"), (self.validation, "validation"), (self.test, "test"))
        counts = ", ".join(f"{len(part):,} {word}" for part, word in parts if part is not None)
        return f"{self.name}: {counts} pictures of {len(self.classes)} classes, {self.source.description}."

    def __str__(self) -> str:
        return self.describe()


def folder(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    transform: Callable | None = None,
    evaluation_transform: Callable | None = None,
    unreadable: str = "refuse",
    quiet: bool = False,
) -> FolderSet | PictureSet:
    """Return the pictures in a folder as a set.

    Args:
        path: a folder holding `train/<class>/…` and, if wanted, `val/<class>/…` and `test/<class>/…`; or, without
            parts, `<class>/…`, all of which is then training.
        size: (height, width): read everything now, scaled and cut to this size, into a PictureSet. None: read each
            picture when it is asked for.
        transform: what to do with each training picture (Pillow, RGB) when `size` is None, such as one of
            torchvision.transforms.v2.
        evaluation_transform: the same for validation and test pictures.
        unreadable: "refuse" raises DataError with the name of a file that cannot be decoded, when it is read; "skip"
            tries all files now and leaves the bad ones out, named in the printed line.
        quiet: do not print the line that describes the set.

    Raises:
        DataError: when there is no such folder, a class holds no pictures, or parts differ in their classes.
        ValueError: for a wrong argument, such as a transform together with a size.
    """
    root = Path(path).expanduser()
    if unreadable not in image_files.UNREADABLE:
        raise ValueError(f"unreadable must be one of {', '.join(image_files.UNREADABLE)}, not {unreadable!r}.")
    if size is not None and (transform or evaluation_transform):
        raise ValueError("With a size the pictures become tensors at once: augment them with data.batches instead.")
    listings = list_parts(root)
    classes = listings["train"].classes
    skipped: list[str] = []
    if size is None:
        parts = {}
        for part, listing in listings.items():
            change = transform if part == "train" else evaluation_transform
            parts[part], left_out = dataset(listing, change, unreadable)
            skipped += left_out
        source = Source("folder", described(skipped), path=root, shareable=False)
        filled = {part: parts.get(part) for part in PART_NAMES}
        result = FolderSet(root.name, classes=classes, source=source, skipped=tuple(skipped), **filled)
    else:
        tensors = {}
        for part, listing in listings.items():
            needed = 3 * size[0] * size[1] * len(listing.files)
            if needed > MOST_BYTES:
                raise DataError(
                    f"{len(listing.files):,} pictures of {size[0]}×{size[1]} would take {needed / 1e9:.1f} GB; "
                    "take a smaller size, or none to read them one by one."
                )
            images, labels, left_out = image_files.decode(listing, "RGB", size, unreadable)
            tensors[part] = torch.from_numpy(images), torch.from_numpy(labels)
            skipped += left_out
        source = Source("folder", described(skipped), path=root, shareable=False)
        result = assemble(
            root.name,
            root.name,
            classes,
            source,
            tensors["train"],
            held_out=tensors.get("validation"),
            test=tensors.get("test"),
        )
    if not quiet:
        announce(result)
    return result


def loader(
    dataset: Dataset, size: int = 32, *, shuffle: bool = False, workers: int = 0, seed: int = 0, drop_last: bool = False
) -> DataLoader:
    """Return a DataLoader with a seeded order.

    Args:
        dataset: such as a part of a FolderSet; its transform must make tensors of one size.
        size: pictures in a batch.
        shuffle: a new order in every pass, the same for the same seed.
        workers: processes that read ahead. 0 reads in this process, which is the safe choice in notebooks.
        seed: of the order.
        drop_last: leave out a last batch that is smaller.
    """
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, size, shuffle=shuffle, num_workers=workers, drop_last=drop_last, generator=generator)


def list_parts(root: Path) -> dict[str, image_files.Listing]:
    """Return the pictures of each part that the folder has; all of a folder without parts is "train"."""
    if not root.is_dir():
        raise DataError(f"There is no folder {root}; check its name.")
    there = {part: root / name for part, names in PART_NAMES.items() for name in names if (root / name).is_dir()}
    if not there:
        return {"train": image_files.list_pictures(root)}
    if "train" not in there:
        raise DataError(f"{root} has no folder train; expected train, and val or test if wanted.")
    listings = {"train": image_files.list_pictures(there["train"])}
    for part in ("validation", "test"):
        if part in there:
            listings[part] = image_files.list_pictures(there[part], listings["train"].classes)
    return listings


def dataset(listing: image_files.Listing, transform: Callable | None, unreadable: str) -> tuple[ImageFolder, list[str]]:
    """Return torchvision's ImageFolder over a listing, and the names of the files that were skipped."""
    bad: set[Path] = set()
    if unreadable == "skip":
        with ThreadPoolExecutor(image_files.THREADS) as pool:
            bad = {path for path, good in zip(listing.files, pool.map(readable, listing.files)) if not good}
    made = ImageFolder(
        str(listing.folder),
        transform=transform,
        loader=open_rgb,
        is_valid_file=partial(is_listed, frozenset(str(path) for path in listing.files if path not in bad)),
        allow_empty=False,
    )
    return made, sorted(str(path.relative_to(listing.folder)) for path in bad)


def open_rgb(path: str) -> Image.Image:
    """Return a picture file as a Pillow picture in RGB; DataError names a file that cannot be decoded."""
    return Image.fromarray(image_files.read_picture(Path(path)).transpose(1, 2, 0))


def is_listed(listed: frozenset[str], path: str) -> bool:
    """Return whether a file is among those listed; a function of its own, so that datasets can be pickled."""
    return path in listed


def readable(path: Path) -> bool:
    """Return whether a picture file can be decoded."""
    try:
        image_files.read_picture(path)
    except DataError:
        return False
    return True


def described(skipped: list[str]) -> str:
    """Return the words for a folder as a source, with the files that were left out."""
    if not skipped:
        return "from a folder of pictures"
    names = ", ".join(skipped[:3]) + (f" and {len(skipped) - 3} more" if len(skipped) > 3 else "")
    return f"from a folder of pictures; {len(skipped)} unreadable left out: {names}"
