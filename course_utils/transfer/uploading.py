"""Pictures that a reader uploads: of any name and content, so limited in size and decoded defensively."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from course_utils.errors import DataError
from course_utils.pictures import files as picture_files

MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
LONGEST_NAME = 60


@dataclass(frozen=True)
class Upload:
    """A file as the browser sent it: its name, fit to be shown, and its bytes."""

    name: str
    content: bytes = field(repr=False)


def uploads(value: Any) -> list[Upload]:
    """Return the files in the `value` of a FileUpload widget, in the form of ipywidgets 7 or 8.

    Args:
        value: version 8 gives a tuple of mappings with "name" and "content"; version 7 a mapping from each name to a
            mapping with "content".

    Raises:
        DataError: when it is neither.
    """
    try:
        if isinstance(value, Mapping):
            return [Upload(shown_name(name), bytes(entry["content"])) for name, entry in value.items()]
        return [Upload(shown_name(entry["name"]), bytes(entry["content"])) for entry in value]
    except (TypeError, KeyError, ValueError) as error:
        raise DataError("The upload did not arrive whole; choose the file again.") from error


def open_upload(upload: Upload, *, most_bytes: int = MOST_BYTES, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """Return an uploaded picture in RGB, the right way up; nothing is written to disk.

    Raises:
        DataError: when it is empty, too large, no picture whatever its name says, or damaged; one sentence each.
    """
    size = len(upload.content)
    if size == 0:
        raise DataError(f"{upload.name} is empty; choose another file.")
    if size > most_bytes:
        raise DataError(
            f"{upload.name} has {size / 1e6:.0f} MB, more than the limit of {most_bytes / 1e6:.0f} MB; "
            "make the picture smaller first."
        )
    if not upload.name.lower().endswith(ENDINGS):
        raise DataError(f"{upload.name} is no picture that can be read here; choose a {', '.join(ENDINGS[:4])} … file.")
    file = io.BytesIO(upload.content)
    file.name = upload.name  # for messages; nothing of that name is opened
    try:
        return picture_files.open_picture(file, max_pixels=most_pixels)
    except MemoryError:
        raise DataError(f"{upload.name} needs more memory than there is; make the picture smaller first.") from None


def shown_name(name: Any) -> str:
    """Return a file's name without folders and characters that cannot be seen, and not too long."""
    last = str(name).replace("\\", "/").rpartition("/")[2]
    clean = "".join(character for character in last if character.isprintable()).strip() or "the file"
    stem, dot, ending = clean.rpartition(".")
    if len(clean) <= LONGEST_NAME:
        return clean
    return f"{stem[: LONGEST_NAME - 8]}…{dot}{ending[:6]}" if dot else f"{clean[:LONGEST_NAME]}…"
