"""Pictures: open, turn into tensors and back, normalise and undo it, look at many at once.

Lesson 1 builds each of these by hand. Everywhere in the course a picture is a tensor (C, H, W) and a batch is
(N, C, H, W); channels are red, green, blue, or one channel of grey.
"""

from course_utils.pictures.drawing import contact_sheet, grid, pixels
from course_utils.pictures.files import (
    Upload,
    open_picture,
    open_upload,
    photograph,
    photograph_file,
    photographs,
    uploads,
)
from course_utils.pictures.tensors import (
    clipped_fraction,
    mix,
    normalise,
    to_float,
    to_grey,
    to_picture,
    to_tensor,
    unnormalise,
)

__all__ = [
    "Upload",
    "clipped_fraction",
    "contact_sheet",
    "grid",
    "mix",
    "normalise",
    "open_picture",
    "open_upload",
    "photograph",
    "photograph_file",
    "photographs",
    "pixels",
    "to_float",
    "to_grey",
    "to_picture",
    "to_tensor",
    "unnormalise",
    "uploads",
]
