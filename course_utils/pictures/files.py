"""Picture files: open any of them defensively, uploads of readers, and the photographs that come with the course.

This is the only decoder of the course: folders, data sets, uploads and features all read their pictures here.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from course_utils.errors import DataError, readable, reason

try:
    from PIL.AvifImagePlugin import SUPPORTED as _AVIF
except ImportError:  # before Pillow 11.3
    _AVIF = False

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its remarks on damaged files go to standard error
# Only formats that hold pixels: Pillow would hand some others (EPS) to an interpreter.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", *(("AVIF",) if _AVIF else ()))
HEIC = importlib.util.find_spec("pillow_heif") is not None  # the extra `heic`; loaded with the first such picture
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
# How the files of these formats are called, in folders and as uploads.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SUFFIXES += (".jpe", ".dib", ".pbm", ".pnm", ".apng")  # .dib as Windows writes it is a BMP file
SUFFIXES += ((".avif",) if _AVIF else ()) + (HEIC_SUFFIXES if HEIC else ())
NO_HEIC = "is in Apple's format HEIC: `pip install pillow-heif` lets the course read it, or save it as JPEG"
# Why files with other endings are no pictures to learn from.
OTHERS = {
    NO_HEIC: ".heic .heif .hif",
    "is a movie: save single frames of it as JPEG": ".mov .mp4 .m4v .avi .mkv .webm .3gp .mts .wmv",
    "is a camera's raw file: export it as JPEG": ".dng .raw .cr2 .cr3 .nef .arw .orf .raf .rw2 .pef .srw",
    "is in a format that is not read here: save it as JPEG or PNG": (
        ".avif .svg .psd .xcf .jxl .jp2 .eps .ai .ico .tga .exr .hdr .dcm"
    ),
    "is a document: save its pictures as JPEG": ".pdf .doc .docx .odt .ppt .pptx .pages .key",
    "is an archive: unpack it first": ".zip .tar .gz .tgz .7z .rar",
}
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
MIRRORED_ACROSS = [TURNS[orientation] for orientation in (2, 3, 7, 8)]  # what lies right comes from the left
MIRRORED_DOWN = [TURNS[orientation] for orientation in (3, 4, 6, 7)]
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


@dataclass(frozen=True)
class Cut:
    """A part of a picture, and the size that it is brought to.

    box: left, upper, right and lower edge in whole pixels of the picture when it is upright.
    size: (width, height) of the result.
    resample: how pixels are averaged; Pillow always averages over all of them when it makes a picture smaller.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    resample: Image.Resampling = Image.Resampling.BILINEAR


def open_cut(
    source: str | os.PathLike[str] | BinaryIO,
    choose: Callable[[int, int], Cut],
    mode: str = "RGB",
    *,
    detail: int = 1,
    max_pixels: int = MAX_PIXELS,
    resize: Callable[..., Any] = Image.Image.resize,
) -> tuple[Any, tuple[int, int]]:
    """Open a picture file like `open_picture`, but return only a part of it, resized; often much sooner.

    A JPEG file is decoded at a half, a quarter or an eighth of its size where that leaves `detail` pixels or more for
    each one of the result, along and across; the values then differ by a few levels from those of a full decoding.

    Args:
        source, mode, max_pixels: as for `open_picture`.
        choose: called with width and height of the upright picture; returns what is wanted of it.
        detail: see above.
        resize: called as Pillow's (picture, size, resample, box), for pictures that need not be turned.

    Returns:
        The part, or what `resize` made of it, and the (width, height) of the whole picture.

    Raises:
        DataError: as `open_picture`.
    """
    return _decoded(source, mode, max_pixels, choose, detail, resize)


def thumbnail(source: str | os.PathLike[str] | BinaryIO, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Return a picture as a grey square of `side` pixels, and the (width, height) it has when it is upright.

    Raises:
        DataError: as `open_picture`.
    """
    return open_cut(source, lambda width, height: Cut((0, 0, width, height), (side, side)), "L", detail=4)


def _decoded(
    source: str | os.PathLike[str] | BinaryIO,
    mode: str,
    max_pixels: int,
    choose: Callable[[int, int], Cut] | None = None,
    detail: int = 1,
    resize: Callable[..., Any] = Image.Image.resize,
) -> tuple[Any, tuple[int, int]]:
    if mode not in ("RGB", "L"):
        raise ValueError(f'mode must be "RGB" or "L", not {mode!r}.')
    is_path = isinstance(source, PATHS)
    if not is_path and not hasattr(source, "read"):
        raise TypeError(f"open_picture wants a path or an open file, not {type(source).__name__}.")
    name = readable(str(source if is_path else getattr(source, "name", "the given file")))
    with _opened(source, is_path, name, max_pixels) as picture:
        width, height = picture.size
        if width * height > max_pixels:
            size = f"{width:,} × {height:,} pixels"
            raise DataError(f"{name} has {size}, more than the limit of {max_pixels:,}; make it smaller first.")
        try:
            if choose is None or picture.format != "JPEG":  # other formats may tell their orientation at the end
                with _silent() if picture.format == "TIFF" else nullcontext():
                    picture.load()  # opening read the header only
            turn = TURNS.get(_orientation(picture))
            upright = (height, width) if turn in QUARTER_TURNS else (width, height)
            if choose is None:
                image = eight_bits(picture, mode, name)
            else:
                resize = resize if turn is None else Image.Image.resize
                image = _part(picture, mode, name, choose(*upright), turn, detail, resize)
            return image if turn is None else image.transpose(turn), upright
        except DataError:
            raise
        except MemoryError:
            raise DataError(f"{name} needs more memory than there is; make the picture smaller first.") from None
        except Exception as error:  # Pillow's readers raise anything on a damaged file
            raise DataError(f"{name} is damaged or incomplete ({reason(error)}); get a fresh copy of it.") from error


def _part(
    picture: Image.Image,
    mode: str,
    name: str,
    cut: Cut,
    turn: Image.Transpose | None,
    detail: int,
    resize: Callable[..., Any],
) -> Any:
    """Return a part of a picture as it lies in the file, not turned yet; so is its size."""
    width, height = picture.size
    (left, upper, right, lower), size = cut.box, cut.size
    if turn in QUARTER_TURNS:
        left, upper, right, lower, size = upper, left, lower, right, size[::-1]
    if turn in MIRRORED_ACROSS:
        left, right = width - right, width - left
    if turn in MIRRORED_DOWN:
        upper, lower = height - lower, height - upper
    spare = min((right - left) / size[0], (lower - upper) / size[1]) / detail  # pixels of the file for one that counts
    smaller = next(times for times in (8, 4, 2, 1) if spare >= times or times == 1)
    if smaller > 1 and min(width, height) >= smaller:
        picture.draft(mode, (width // smaller, height // smaller))  # does nothing but for JPEG
    picture.load()
    scale = round(width / picture.width)  # the last row and column may stand for fewer pixels than the others
    whole = picture if picture.mode == mode and not picture.has_transparency_data else eight_bits(picture, mode, name)
    if scale == 1 and (left, upper, right, lower) != (0, 0, width, height):
        whole = whole.crop((left, upper, right, lower))  # no pixel beyond the box counts
        return resize(whole, size, cut.resample, (0, 0, *whole.size))
    return resize(whole, size, cut.resample, (left / scale, upper / scale, right / scale, lower / scale))


def _opened(source: Any, is_path: bool, name: str, max_pixels: int) -> Image.Image:
    """Read the header of a picture file: no pixel is decoded yet."""
    try:
        if is_path:
            seen = os.stat(source)  # noqa: PTH116 - much quicker
            if not stat.S_ISREG(seen.st_mode):  # a pipe might never come to its end
                raise DataError(f"{name} is not a file; expected a picture file.")
            if seen.st_size == 0:
                raise DataError(f"{name} is empty; get a fresh copy of it.")
        with ONE_AT_A_TIME, warnings.catch_warnings():  # warnings' filters belong to all threads
            warnings.simplefilter("ignore")  # of sizes, where the limit here is stricter, and of odd EXIF data
            return Image.open(source, formats=FORMATS)
    except DataError:
        raise
    except UnidentifiedImageError:
        if _looks_like_heic(source, is_path):
            return _opened_heic(source, name)
        raise DataError(f"{name} is not a picture; expected one of {', '.join(FORMATS)}.") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name} claims far more than {max_pixels:,} pixels; make it smaller first.") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's
            raise DataError(f"{name} cannot be read ({error.strerror}); check the path.") from error
        raise DataError(f"{name} is damaged ({reason(error)}); get a fresh copy of the file.") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep to itself what libtiff writes to standard error, past Python, and of what Pillow warns."""
    with ONE_AT_A_TIME, warnings.catch_warnings(), ExitStack() as opened:
        warnings.simplefilter("ignore")
        with suppress(OSError):  # none is open, as in a program without a terminal
            kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            opened.callback(os.close, kept)
            opened.callback(os.close, nowhere)
            os.dup2(nowhere, 2)
            opened.callback(os.dup2, kept, 2)
        yield


def _looks_like_heic(source: Any, is_path: bool) -> bool:
    """Return whether a file begins as HEIC does, whatever its name."""
    try:
        if is_path:
            with Path(source).open("rb") as file:
                head = file.read(12)
        else:
            source.seek(0)
            head = source.read(12)
            source.seek(0)
    except (OSError, ValueError):
        return False
    return head[4:8] == b"ftyp" and head[8:] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def _opened_heic(source: Any, name: str) -> Image.Image:
    """Read the header of a HEIC file with pillow-heif, which also turns it upright; or say what to do without it."""
    if not HEIC:
        raise DataError(f"{name} {NO_HEIC}.")
    try:
        with ONE_AT_A_TIME:
            _load_heif()
        return Image.open(source, formats=("HEIF",))
    except Exception as error:
        raise DataError(f"{name} is damaged ({reason(error)}); get a fresh copy of the file.") from error


@cache
def _load_heif() -> None:
    """Teach Pillow to read HEIC; the package takes a tenth of a second to load."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


def why_not(name: str) -> str:
    """Return why a file of this name is not taken for a picture, in words that go on after it; "" if it is."""
    stem, dot, _ = Path(name).name.rpartition(".")
    ending = Path(name).suffix.lower()
    if ending in SUFFIXES:
        return ""
    if not stem or not dot:
        return f"has no ending, such as {SUFFIXES[0]}"
    return next((why for why, endings in OTHERS.items() if ending in endings.split()), "is not a picture")


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


def eight_bits(picture: Image.Image, mode: str = "RGB", name: str = "the picture") -> Image.Image:
    """Return a copy of any decoded picture in "RGB" or "L", on white; Pillow alone would cut 16-bit values off at 255.

    Raises:
        DataError: when its pixels are of a kind that cannot be brought to 8 bits without a choice; `name` is named.
    """
    if picture.mode.startswith("I"):
        values, clear = np.asarray(picture), picture.info.get("transparency")
        # Of these formats, Pillow gives 16 bits as 32; elsewhere values up to 255 may well be meant as 8 bits.
        sixteen = picture.mode != "I" or picture.format in ("PNG", "PPM")
        if values.min() < 0 or values.max() > 65535 or (not sixteen and 0 < values.max() <= 255):
            raise DataError(f"{name} has pixels of 32 bits, where 8 or 16 were expected; save it with 8 bits.")
        white = np.where(values == clear, 255, values // 257) if isinstance(clear, int) else values // 257
        picture = Image.fromarray(white.astype(np.uint8))
    elif picture.mode in ("F", "LAB", "HSV"):
        raise DataError(f"{name} has pixels of the kind {picture.mode}, not colours or grey; save it with 8 bits each.")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert(mode)


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
    why = why_not(upload.name)
    if why:
        raise DataError(f"{upload.name} {why}; choose a {', '.join(SUFFIXES[:4])} … file.")
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
