"""Pictures to learn from: where they come from, how they are split, and how they become batches (from lesson 3)."""

from course_utils.data.batches import Augment, Batches, batches, flipped, painted, shifted
from course_utils.data.choose import final_part, own_pictures
from course_utils.data.folders import FolderSet, folder, loader
from course_utils.data.lists import PictureList, PictureLists, picture_lists
from course_utils.data.sources import Source, catalogue, fetch, verify
from course_utils.data.splits import Part, PictureSet, load, split, statistics

__all__ = [
    "Augment",
    "Batches",
    "FolderSet",
    "Part",
    "PictureList",
    "PictureLists",
    "PictureSet",
    "Source",
    "batches",
    "catalogue",
    "fetch",
    "final_part",
    "flipped",
    "folder",
    "load",
    "loader",
    "own_pictures",
    "painted",
    "picture_lists",
    "shifted",
    "split",
    "statistics",
    "verify",
]
