"""The sets of the lessons: known ones as plain tensors, and a folder of pictures for lesson 5."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from course_utils.data import folders, samples, sources
from course_utils.data.catalogue import KNOWN
from course_utils.data.parts import ImageSet, Part, Source, TensorPart, announce, statistics
from course_utils.data.splits import split
from course_utils.errors import DataError

ANTS_AND_BEES = "hymenoptera_data"


def load(name: str, *, seed: int = 0, validation: float = 0.1, sample_ok: bool = True, quiet: bool = False) -> ImageSet:
    """Return a data set, from the first source that has it (see `course_utils.data.sources`), and say which in a line.

    Args:
        name: "fashion_mnist", "cifar10" or "photo_crops".
        seed: which pictures of the training part are set aside for validation.
        validation: the share of the training part to set aside, each class alike; 0 for none. The test part is never
            touched.
        sample_ok: False raises DataError instead of falling back to the sample in the package.
        quiet: do not print the line.

    Raises:
        SettingError: for an unknown name.
        DataError: for damaged files, and see `sample_ok`.
        ValueError: when `validation` is not a share.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"validation is a share of the training pictures, from 0 to below 1, not {validation}.")
    found = sources.find(name, sample_ok=sample_ok, validation=validation)
    pairs = {"train": found.train, "validation": found.validation, "test": found.test}
    # Arrays that must not be written to, as files give them, are copied.
    tensors = {
        part: tuple(torch.from_numpy(np.require(array, requirements="W")) for array in pair)
        for part, pair in pairs.items()
        if pair is not None
    }
    if "validation" not in tensors and validation:
        chosen = split(tensors["train"][1], (1 - validation, validation), seed)
        tensors["train"], tensors["validation"] = (
            tuple(values.index_select(0, indices) for values in tensors["train"]) for indices in chosen
        )
    mean, std = statistics(tensors["train"][0])
    title = KNOWN[name].title
    parts: dict[str, TensorPart | None] = dict.fromkeys(pairs)
    for part, pair in tensors.items():
        parts[part] = TensorPart(*pair, found.classes, part, mean, std)
        missing = [label for label, count in parts[part].counts().items() if not count]
        if missing:
            raise DataError(
                f"The {part} part of {title} has no picture of the class {missing[0]!r}; every part needs all."
            )
    title = f"Stand-in for {title}" if found.source.stand_in else title
    made = ImageSet(name, title, classes=found.classes, source=found.source, **parts)
    if not quiet:
        announce(made)
    return made


def own_pictures(folder: str | os.PathLike[str] = "", *, seed: int = 0, quiet: bool = False) -> ImageSet:
    """Return pictures to learn from, as files, and say in a line which they are.

    Args:
        folder: yours, with one sub-folder a class, or with `train/<class>/…` and so on; "" takes the first that there
            is: ants and bees (`hymenoptera_data`, the set of PyTorch's own transfer learning tutorial) in the data
            folder, else a stand-in, cut from the photographs that come with the course.
        seed: of the split, where a folder has no parts.
        quiet: do not print the lines that say what they are.

    Raises:
        DataError: when the folder cannot be used; a sentence says why.
    """
    if os.fspath(folder):
        made = folders.folder(folder, seed=seed, unreadable="skip", quiet=True)
    else:
        place, source = _lessons_pictures()
        made = folders.folder(place, seed=seed, source=source, quiet=True)
    if not quiet:
        announce(made)
    return made


def _lessons_pictures() -> tuple[Path, Source]:
    """Return the folder of ants and bees, or of the stand-in, and what is said of it."""
    top, kind = sources.data_folder()
    if (top / ANTS_AND_BEES / "train").is_dir():
        # Collected from the web, and no licence is stated: its pictures are not passed on.
        words = f"ants and bees from {'your data folder' if kind == 'folder' else 'the cache folder'}"
        return top / ANTS_AND_BEES, Source(kind, words, path=top / ANTS_AND_BEES, shareable=False)
    words = "a stand-in: parts of the course's own photographs, test parts from the other half of each"
    source = Source("sample", words, complete=False, stand_in=True, reason="no folder of pictures is at hand")
    return samples.photo_parts(sources.cache_folder()), source


def held_out(pictures: ImageSet) -> Part:
    """Return the part on which a result is reported: test, or validation where a set has no test part.

    Raises:
        DataError: when it has neither.
    """
    part = pictures.test or pictures.validation
    if part is None:
        raise DataError(f"{pictures.name} has only training pictures; add pictures, or a folder test, to test on.")
    return part
