"""Picture files that readers differ on, and thousands of damaged ones, through every way in which the course opens one.

python tools/fuzz_pictures.py [COUNT] [--seed N] [--keep FOLDER]

Each damaged file gives a picture or a DataError of one sentence: no other exception, no warning, not a word on
standard error, from C libraries either, and no wait. The exit code is 1 if one did otherwise; --keep writes such files.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.errors import DataError
from course_utils.pictures import files

SIZE = (64, 48)  # of every picture of the zoo, upright
MOST_PIXELS = 4_000_000  # a damaged header may claim more
MOST_SECONDS = 20.0  # for one file, on a busy machine
Damage = Callable[[bytearray, random.Random, list[bytes]], None]


def zoo(seed: int = 0) -> dict[str, bytes]:
    """Return files of pictures of `SIZE`, by name; other pixels for another seed, but those are the same in all.

    A file whose name begins with "turned" is stored turned or mirrored, and its tag says how.
    """
    chance = np.random.default_rng(seed)
    thing = Image.fromarray(chance.integers(0, 256, (3, 4, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    other = thing.transpose(Image.Transpose.ROTATE_180)
    grey = thing.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    clear = thing.copy()
    clear.putalpha(Image.fromarray(np.repeat(np.array([[0, 128, 255, 255]], np.uint8), 16, axis=1).repeat(48, axis=0)))
    few = thing.quantize(16)
    made: dict[str, bytes] = {}

    def add(name: str, picture: Image.Image, form: str, **options: object) -> None:
        file = io.BytesIO()
        picture.copy().save(file, form, **options)
        made[name] = file.getvalue()

    add("plain.jpg", thing, "JPEG", quality=95)
    add("progressive.jpg", thing, "JPEG", progressive=True)
    add("grey.jpg", grey, "JPEG")
    add("print.jpg", thing.convert("CMYK"), "JPEG")
    add("no profile.jpg", thing, "JPEG", icc_profile=b"no profile")
    add("xmp.jpg", thing, "JPEG", xmp=b"<x>\xff no UTF-8 </x>")
    add("two.mpo.jpg", thing, "MPO", save_all=True, append_images=[other.copy()])
    add("really a png.jpg", thing, "PNG")
    for name, picture in (("plain", thing), ("grey", grey), ("grey16", deep), ("clear", clear), ("few", few)):
        add(f"{name}.png", picture, "PNG")
    add("clear grey.png", clear.convert("LA"), "PNG")
    add("bits.png", thing.convert("1"), "PNG")
    add("clear few.png", few, "PNG", transparency=bytes(range(0, 256, 16)))
    add("clear colour.png", few.convert("RGB"), "PNG", transparency=few.convert("RGB").getpixel((0, 0)))
    add("clear shade.png", grey, "PNG", transparency=grey.getpixel((0, 0)))
    add("moving.png", thing, "PNG", save_all=True, append_images=[other.copy()])
    add("few.gif", few, "GIF")
    add("clear.gif", few, "GIF", transparency=3)
    add("moving.gif", thing, "GIF", save_all=True, append_images=[other.copy()])
    add("plain.bmp", thing, "BMP")
    add("bits.bmp", thing.convert("1"), "BMP")
    for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        add(f"{packing}.tif", thing, "TIFF", compression=packing)
    add("fax.tif", thing.convert("1"), "TIFF", compression="group4")
    add("print.tif", thing.convert("CMYK"), "TIFF")
    add("grey16.tif", deep, "TIFF")
    add("clear.tif", clear, "TIFF")
    add("two.tif", thing, "TIFF", save_all=True, append_images=[other.copy()])
    add("plain.webp", thing, "WEBP")
    add("clear.webp", clear, "WEBP", lossless=True)
    add("moving.webp", thing, "WEBP", save_all=True, append_images=[other.copy()])
    add("plain.ppm", thing, "PPM")
    add("bits.ppm", thing.convert("1"), "PPM")
    add("grey16.pgm", deep.convert("I"), "PPM")
    if "AVIF" in files.FORMATS:
        add("plain.avif", thing, "AVIF")
    for value in range(1, 9):
        back = files.TURNS.get({6: 8, 8: 6}.get(value, value))
        stored = thing if back is None else thing.transpose(back)
        add(f"turned {value}.jpg", stored, "JPEG", exif=exif(struct.pack(">HHIHH", 0x0112, 3, 1, value, 0)))
        for suffix in ("png", "webp", "tif"):
            tag = Image.Exif()
            tag[files.ORIENTATION] = value
            add(f"turned {value}.{suffix}", stored, {"tif": "TIFF"}.get(suffix, suffix.upper()), exif=tag)
    odd = {
        "value 0": struct.pack(">HHIHH", 0x0112, 3, 1, 0, 0),
        "value 99": struct.pack(">HHIHH", 0x0112, 3, 1, 99, 0),
        "a text": struct.pack(">HHI4s", 0x0112, 2, 4, b"six\0"),
        "two values": struct.pack(">HHIHH", 0x0112, 3, 2, 1, 6),
        "a float": struct.pack(">HHIf", 0x0112, 11, 1, 6.5),
        "elsewhere": struct.pack(">HHII", 0x0112, 5, 1, 0xFFFFFFF0),
        "no type": struct.pack(">HHII", 0x0112, 99, 1, 6),
        "no end": struct.pack(">HHII", 0x0112, 3, 0xFFFFFFFF, 6),
    }
    for name, entry in odd.items():
        add(f"tag is {name}.jpg", thing, "JPEG", quality=95, exif=exif(entry))
    add("tags cut.jpg", thing, "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    add("no tags.jpg", thing, "JPEG", quality=95, exif=b"Exif\0\0MM\0*no tags at all")
    return made


def exif(entry: bytes) -> bytes:
    """Return EXIF data with one tag of 12 bytes, as they are."""
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry + bytes(4)


def refused() -> dict[str, tuple[bytes, str]]:
    """Return files that are refused, by name, with a piece of the reason."""
    whole = zoo()
    odd = {}
    for name, (picture, why) in {
        "deep.tif": (Image.fromarray(np.full((4, 4), 70_000, np.int32)), "has pixels of 32 bits"),
        "fractions.tif": (Image.fromarray(np.full((4, 4), 0.5, np.float32)), "has pixels of the kind F"),
        "another colour space.tif": (Image.new("LAB", (4, 4)), "has pixels of the kind LAB"),
    }.items():
        file = io.BytesIO()
        picture.save(file, "TIFF")
        odd[name] = (file.getvalue(), why)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    odd |= {
        f"half of {name}": (content[: len(content) // 2], "") for name, content in whole.items() if name[:3] != "two"
    }
    return odd | {
        "nothing.jpg": (b"", "is empty"),
        "a page.jpg": (b"<!DOCTYPE html><html>404</html>", "is not a picture"),
        "a script.jpg": (script, "is not a picture"),
        "an icon.png": (b"\0\0\1\0\1\0\1\1", "is not a picture"),
        "huge.png": (claim(60_000, 60_000), "claims far more"),
        "large.png": (claim(9_000, 9_000), "has 9,000 × 9,000 pixels"),
        "much text.png": (claim(4, 4, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))), "is damaged"),
    }


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a part of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claim(width: int, height: int, more: bytes = b"") -> bytes:
    """Return a PNG file of a few bytes whose header promises a picture of this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def damaged(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """Return a file that is damaged in one way or several."""
    result = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 12))):
        if result:
            chance.choice(DAMAGES)(result, chance, others)
    return bytes(result)


def _place(content: bytearray, chance: random.Random) -> int:
    """Return a place in a file; half of them near its beginning, where headers are."""
    return chance.randrange(min(len(content), chance.choice((64, 300, len(content), len(content)))))


def _bit(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    content[_place(content, chance)] ^= 1 << chance.randrange(8)


def _value(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    content[_place(content, chance)] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))


def _number(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    number = chance.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, chance.randrange(1 << 32)))
    width = chance.choice((2, 4))
    start = _place(content, chance)
    content[start : start + width] = (number & (256**width - 1)).to_bytes(width, chance.choice(("big", "little")))


def _cut(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    del content[_place(content, chance) :]


def _hole(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    start = _place(content, chance)
    del content[start : start + chance.randrange(1, 40)]


def _zeros(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    start = _place(content, chance)
    content[start : start + 32] = bytes(len(content[start : start + 32]))


def _noise(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    start = _place(content, chance)
    content[start:start] = chance.randbytes(chance.randrange(1, 40))


def _again(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    start, to = _place(content, chance), _place(content, chance)
    content[to:to] = content[start : start + chance.randrange(1, 200)]


def _graft(content: bytearray, chance: random.Random, others: list[bytes]) -> None:
    other = chance.choice(others)
    start = _place(content, chance)
    content[start:] = other[min(start, len(other) - 1) :]


DAMAGES: tuple[Damage, ...] = (_bit, _value, _value, _number, _number, _cut, _hole, _zeros, _noise, _again, _graft)


@contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Catch what C libraries and loggers write to standard error; gives a function that returns what is new."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def new() -> str:
            sys.stderr.flush()
            file.seek(0)
            text = file.read().decode("utf-8", "replace")
            file.seek(0)
            file.truncate()
            return text

        try:
            yield new
        finally:
            os.dup2(kept, 2)
            os.close(kept)


WAYS = {
    "open_picture": lambda file: files.open_picture(file, max_pixels=MOST_PIXELS),
    "grey": lambda file: files.open_picture(file, "L", max_pixels=MOST_PIXELS),
    "thumbnail": lambda file: files.thumbnail(file, 16)[0],
    "open_cut": lambda file: files.open_cut(
        file, lambda width, height: files.Cut((0, 0, width, height), (9, 7)), max_pixels=MOST_PIXELS
    )[0],
}


def problem_of(content: bytes, way: str, new: Callable[[], str]) -> tuple[str, str]:
    """Return how opening a file this way ended ("picture" or "DataError"), and what it did that it must not, or ""."""
    started = time.monotonic()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            picture = WAYS[way](io.BytesIO(content))
            outcome, problem = "picture", "" if picture.mode in ("RGB", "L") else f"gave a picture in {picture.mode}"
        except DataError as error:
            said = str(error)
            outcome = "DataError"
            problem = "" if said.endswith(".") and "\n" not in said and len(said) < 400 else f"said {said!r}"
        except Exception as error:  # noqa: BLE001 - what is looked for
            outcome, problem = type(error).__name__, f"raised {type(error).__name__}: {error}"
    if seen:
        problem = f"warned: {seen[0].category.__name__}: {seen[0].message}"
    if words := new():
        problem = f"wrote to standard error: {words.strip()[:200]}"
    if time.monotonic() - started > MOST_SECONDS:
        problem = f"took {time.monotonic() - started:.0f} s"
    return outcome, problem


def fuzz(count: int, seed: int = 0) -> tuple[Counter[str], list[tuple[str, bytes, str]]]:
    """Open `count` damaged files; return how they ended, and each problem: a name, the content, what happened."""
    whole = zoo()
    names, others = list(whole), list(whole.values())
    ends, problems = Counter(), []
    with quiet() as new:
        for number in range(count):
            chance = random.Random(f"{seed} {number}")
            name = names[number % len(names)]
            content = damaged(whole[name], chance, others)
            way = "open_picture" if number % 2 else chance.choice(list(WAYS))
            outcome, problem = problem_of(content, way, new)
            ends[outcome] += 1
            if problem:
                problems.append((f"{number} {way} {name}", content, problem))
    return ends, problems


def main(arguments: list[str] | None = None) -> int:
    """Print how the files ended, and the first problems of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=40_000, help="how many damaged files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files with which something went wrong")
    given = parser.parse_args(arguments)
    ends, problems = fuzz(given.count, given.seed)
    print(f"{given.count:,} files: {', '.join(f'{number:,} {end}' for end, number in ends.most_common())}")
    for name, content, problem in problems:
        print(f"{name}: {problem}")
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
            (given.keep / name.replace("/", "-")).write_bytes(content)
    print(f"{len(problems):,} problems")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
