"""Pictures to learn from: where they come from, how they are split, and how they become batches (from lesson 3)."""

from course_utils.data.batches import Augment, Batches, batches, crop, cutout, hflip
from course_utils.data.folders import folder
from course_utils.data.parts import FilePart, ImageSet, Part, Source, TensorPart, statistics
from course_utils.data.sets import held_out, load, own_pictures
from course_utils.data.sources import fetch, verify
from course_utils.data.splits import split

__all__ = [
    "Augment",
    "Batches",
    "FilePart",
    "ImageSet",
    "Part",
    "Source",
    "TensorPart",
    "batches",
    "crop",
    "cutout",
    "fetch",
    "folder",
    "held_out",
    "hflip",
    "load",
    "loader",
    "own_pictures",
    "split",
    "statistics",
    "verify",
]


def __getattr__(name: str) -> object:
    """Load the loader of picture files when it is asked for: it needs torchvision, which takes seconds."""
    if name == "loader":
        from course_utils.data.loading import loader

        return loader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
