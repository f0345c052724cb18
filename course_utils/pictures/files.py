"""Picture files: open any of them defensively, uploads of readers, and the photographs that come with the course.

This is the only decoder of the course: folders, data sets, uploads and features all read their pictures here.
"""

from __future__ import annotations

import io
import json
import os
import stat
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from course_utils.errors import DataError

try:
    from PIL.AvifImagePlugin import SUPPORTED as _AVIF
except ImportError:  # before Pillow 11.3
    _AVIF = False

# Only formats that hold pixels: Pillow would hand some others (EPS) to an interpreter.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", *(("AVIF",) if _AVIF else ()))
# How the files of these formats are called, in folders and as uploads.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SUFFIXES += (".avif",) if _AVIF else ()
MAX_PIXELS = 64_000_000  # 192 MB as RGB; a small file can claim to be far larger than memory
ORIENTATION = 0x0112  # EXIF's tag; how each of its values is undone:
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS = [TURNS[orientation] for orientation in (5, 6, 7, 8)]
UPLOAD_BYTES, UPLOAD_PIXELS = 20_000_000, 50_000_000
LONGEST_NAME = 60
ONE_AT_A_TIME = threading.Lock()
PATHS = (str, os.PathLike)


def open_picture(
    source: str | os.PathLike[str] | BinaryIO, mode: str = "RGB", *, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Open a picture file defensively: the right way up, decoded to the end, with 8 bits per channel.

    Transparent becomes white, 16-bit grey is scaled to 8 bits, a moving picture gives its first frame.

    Args:
        source: a path, or a file object open for reading bytes.
        mode: "RGB" for three channels or "L" for grey.
        max_pixels: the largest width × height to decode.

    Returns:
        The picture in `mode`, turned as its EXIF orientation says, independent of the file.

    Raises:
        DataError: when the file is missing, unreadable, not a picture, damaged or too large; the file is named.
        TypeError, ValueError: when `source` is neither a path nor a file, or `mode` is another one.
    """
    return _decoded(source, mode, max_pixels)[0]


def thumbnail(source: str | os.PathLike[str] | BinaryIO, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Return a picture as a grey square of `side` pixels, and the (width, height) it has when it is upright.

    Sooner than `open_picture`, and like it to the end of the file: a JPEG file is decoded at a half, a quarter or an
    eighth of its size, as long as that leaves four pixels for each of the square's, along and across.

    Raises:
        DataError: as `open_picture`.
    """
    return _decoded(source, "L", MAX_PIXELS, side)


def _decoded(
    source: str | os.PathLike[str] | BinaryIO, mode: str, max_pixels: int, side: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    if mode not in ("RGB", "L"):
        raise ValueError(f'mode must be "RGB" or "L", not {mode!r}.')
    is_path = isinstance(source, PATHS)
    if not is_path and not hasattr(source, "read"):
        raise TypeError(f"open_picture wants a path or an open file, not {type(source).__name__}.")
    name = str(source) if is_path else getattr(source, "name", "the given file")
    with _opened(source, is_path, name, max_pixels) as picture:
        width, height = picture.size
        if width * height > max_pixels:
            size = f"{width:,} × {height:,} pixels"
            raise DataError(f"{name} has {size}, more than the limit of {max_pixels:,}; make it smaller first.")
        try:
            if side is not None:
                picture.draft("L", (4 * side, 4 * side))
            picture.load()  # opening read the header only
            image = _eight_bits(picture, mode, name)
            if side is not None:
                scale = round(width / image.width)  # the last row and column may stand for fewer pixels than the others
                image = image.resize((side, side), Image.Resampling.BILINEAR, (0, 0, width / scale, height / scale))
            turn = TURNS.get(_orientation(picture))
            if turn is None:
                return image, (width, height)
            return image.transpose(turn), (height, width) if turn in QUARTER_TURNS else (width, height)
        except DataError:
            raise
        except MemoryError:
            raise DataError(f"{name} needs more memory than there is; make the picture smaller first.") from None
        except Exception as error:  # Pillow's readers raise anything on a damaged file
            raise DataError(f"{name} is damaged or incomplete ({_why(error)}); get a fresh copy of it.") from error


def _opened(source: Any, is_path: bool, name: str, max_pixels: int) -> Image.Image:
    """Read the header of a picture file: no pixel is decoded yet."""
    try:
        if is_path and not stat.S_ISREG(os.stat(source).st_mode):  # noqa: PTH116 - much quicker
            raise DataError(f"{name} is not a file; expected a picture file.")  # a pipe might never come to its end
        with ONE_AT_A_TIME, warnings.catch_warnings():  # warnings' filters belong to all threads
            warnings.simplefilter("ignore")  # of sizes, where the limit here is stricter, and of odd EXIF data
            return Image.open(source, formats=FORMATS)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a picture; expected one of {', '.join(FORMATS)}.") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name} claims far more than {max_pixels:,} pixels; make it smaller first.") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's
            raise DataError(f"{name} cannot be read ({error.strerror}); check the path.") from error
        raise DataError(f"{name} is damaged ({_why(error)}); get a fresh copy of the file.") from error


def _orientation(picture: Image.Image) -> object:
    """Return the orientation that a decoded picture's EXIF data names, from 1 to 8; 1 where nothing can be read."""
    if picture.format == "JPEG" and "exif" not in picture.info and "xmp" not in picture.info:
        return 1
    try:
        with ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            orientation = picture.getexif().get(ORIENTATION, 1)
        return orientation if isinstance(orientation, int) else 1
    except Exception:  # noqa: BLE001 - damaged EXIF data says nothing, and no pixel depends on it
        return 1


def _eight_bits(picture: Image.Image, mode: str, name: str) -> Image.Image:
    """Convert any decoded picture to "RGB" or "L"; Pillow alone would cut 16-bit values off at 255."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{name} has pixels of 32 bits, where 8 or 16 were expected; save it with 8 bits.")
        picture = Image.fromarray((values // 257).astype(np.uint8))
    elif picture.mode == "F":
        raise DataError(f"{name} has decimal fractions as pixels, where 8 bits were expected; save it with 8 bits.")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert(mode)


def _why(error: Exception) -> str:
    """Return an exception's message as a part of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


# --- uploads


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


def open_upload(upload: Upload, *, max_bytes: int = UPLOAD_BYTES, max_pixels: int = UPLOAD_PIXELS) -> Image.Image:
    """Return an uploaded picture in RGB, the right way up; nothing is written to disk.

    Raises:
        DataError: when it is empty, too large, not a picture whatever its name says, or damaged; one sentence each.
    """
    size = len(upload.content)
    if size == 0:
        raise DataError(f"{upload.name} is empty; choose another file.")
    if size > max_bytes:
        raise DataError(
            f"{upload.name} has {size / 1e6:.0f} MB, more than the limit of {max_bytes / 1e6:.0f} MB; "
            "make the picture smaller first."
        )
    if not upload.name.lower().endswith(SUFFIXES):
        raise DataError(
            f"{upload.name} is not a picture that can be read here; choose a {', '.join(SUFFIXES[:4])} … file."
        )
    file = io.BytesIO(upload.content)
    file.name = upload.name  # for messages; nothing of that name is opened
    return open_picture(file, max_pixels=max_pixels)


def shown_name(name: Any) -> str:
    """Return a file's name without folders and characters that cannot be seen, and not too long."""
    last = str(name).replace("\\", "/").rpartition("/")[2]
    clean = "".join(character for character in last if character.isprintable()).strip() or "the file"
    stem, dot, ending = clean.rpartition(".")
    if len(clean) <= LONGEST_NAME:
        return clean
    return f"{stem[: LONGEST_NAME - 8]}…{dot}{ending[:6]}" if dot else f"{clean[:LONGEST_NAME]}…"


# --- the course's own photographs


def photographs() -> tuple[str, ...]:
    """Return the names of the course's own photographs; `samples/photographs.json` credits them."""
    listing = resources.files("course_utils").joinpath("samples/photographs.json")
    return tuple(entry["name"] for entry in json.loads(listing.read_text(encoding="utf-8")))


def photograph_file(name: str = "coffee") -> Path:
    """Return the file of one of the course's photographs.

    Raises:
        ValueError: when there is no photograph of that name; the message lists those there are.
    """
    if name not in photographs():
        raise ValueError(f"There is no photograph {name!r}; choose one of {', '.join(photographs())}.")
    return Path(str(resources.files("course_utils").joinpath(f"samples/photographs/{name}.jpg")))


def photograph(name: str = "coffee") -> Image.Image:
    """Open one of the photographs that come with the course as an RGB picture (see `photographs`)."""
    return open_picture(photograph_file(name))
