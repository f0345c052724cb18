"""Picture files: open any of them defensively, and the photographs that come with the course.

Everything here is also reached as `pictures.open_picture`, `pictures.photograph` and so on.
"""

from __future__ import annotations

import json
import os
import struct
import warnings
import zlib
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from course_utils.errors import DataError

# Only formats that hold pixels: Pillow would hand some others (EPS) to an interpreter.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 64_000_000  # 192 MB as RGB; a small file can claim to be far larger than memory
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


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
        DataError: when the file is missing, unreadable, no picture, damaged or too large; the file is named.
        TypeError, ValueError: when `source` is neither a path nor a file, or `mode` is another one.
    """
    if mode not in ("RGB", "L"):
        raise ValueError(f'mode must be "RGB" or "L", not {mode!r}.')
    if not isinstance(source, str | os.PathLike) and not hasattr(source, "read"):
        raise TypeError(f"open_picture wants a path or an open file, not {type(source).__name__}.")
    name = str(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "the given file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is stricter
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # odd EXIF, which no pixel depends on
        return _opened(source, mode, name, max_pixels)


def _opened(source: str | os.PathLike[str] | BinaryIO, mode: str, name: str, max_pixels: int) -> Image.Image:
    try:
        picture = Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a picture; expected one of {', '.join(FORMATS)}.") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name} claims far more than {max_pixels:,} pixels; make it smaller first.") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror or error}); check the path.") from error
    except DAMAGED as error:
        raise DataError(f"{name} is damaged ({error}); get a fresh copy of the file.") from error
    with picture:
        if picture.width * picture.height > max_pixels:
            size = f"{picture.width:,} × {picture.height:,} pixels"
            raise DataError(f"{name} has {size}, more than the limit of {max_pixels:,}; make it smaller first.")
        try:
            picture.load()  # opening read the header only
            upright = ImageOps.exif_transpose(picture)
        except DAMAGED as error:
            raise DataError(f"{name} is damaged or incomplete ({error}); get a fresh copy of it.") from error
        return _eight_bits(upright, mode, name)


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
