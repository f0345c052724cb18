"""Uploads: files of any name and content become pictures, or one sentence; nothing of them runs or is written."""

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils import pictures
from course_utils.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


PHOTO = encoded(Image.fromarray(NOISE), "jpeg")


def png_that_claims(width, height):
    """A PNG of a few bytes whose header promises a huge picture."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_uploads_of_both_versions_of_ipywidgets_are_read():
    seven = {"cat.jpg": {"metadata": {"name": "cat.jpg", "size": 3}, "content": b"abc"}}
    eight = ({"name": "cat.jpg", "type": "image/jpeg", "size": 3, "content": memoryview(b"abc")},)
    assert pictures.uploads(seven) == pictures.uploads(eight) == [pictures.Upload("cat.jpg", b"abc")]
    assert pictures.uploads(()) == pictures.uploads({}) == []
    for wrong in (None, [{"name": "x"}], {"x": {}}, 5):
        with pytest.raises(DataError, match="did not arrive whole"):
            pictures.uploads(wrong)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("C:\\secret\\me.jpg", "me.jpg"),
        ("a\nb\u202e.png", "ab.png"),
        ("", "the file"),
        ("x" * 300 + ".jpeg", "x" * 52 + "….jpeg"),
        ("y" * 100, "y" * 60 + "…"),
    ],
)
def test_a_name_is_shown_without_folders_and_hidden_characters(name, shown):
    (upload,) = pictures.uploads([{"name": name, "content": b""}])
    assert upload.name == shown


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jpg", b"", "empty.jpg is empty"),
        ("notes.txt", b"hello", r"notes.txt is not a picture; choose a \.jpg"),
        ("clip.MOV", b"hello", r"clip.MOV is a movie: save single frames of it as JPEG; choose a \.jpg"),
        ("notes.jpg", b"hello, this is text", "notes.jpg is not a picture"),
        ("cut.jpg", PHOTO[: len(PHOTO) // 2], "cut.jpg is damaged or incomplete"),
        ("page.png", b"<html><script>alert(1)</script></html>", "page.png is not a picture"),
        ("bomb.png", png_that_claims(60_000, 60_000), "bomb.png"),
        (
            "hundred.png",
            png_that_claims(10_000, 10_000),
            r"hundred.png has 10,000 × 10,000 pixels, more than the limit",
        ),
        ("bomb.jpg", pickle.dumps(Path), "bomb.jpg is not a picture"),
        ("drawing.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "drawing.png is not a picture"),
        ("large.jpg", b"\xff\xd8" + b"\0" * 20_000_001, "large.jpg has 20 MB, more than the limit of 20 MB"),
    ],
)
def test_each_bad_upload_is_refused_with_one_sentence_and_nothing_runs(name, content, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=words) as refusal:
        pictures.open_upload(pictures.Upload(name, content))
    assert len(str(refusal.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(NOISE), "jpeg", exif=exif)


@pytest.mark.parametrize(
    ("name", "content", "size"),
    [
        ("photo.JPG", PHOTO, (80, 60)),
        ("turned.jpeg", turned(), (60, 80)),
        ("pixel.png", encoded(Image.new("RGB", (1, 1)), "png"), (1, 1)),
        ("deep.png", encoded(Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257), "png"), (80, 60)),
        ("palette.gif", encoded(Image.fromarray(NOISE).quantize(8), "gif"), (80, 60)),
        ("print.jpg", encoded(Image.fromarray(NOISE).convert("CMYK"), "jpeg"), (80, 60)),
        (
            "moving.gif",
            encoded(Image.fromarray(NOISE), "gif", save_all=True, append_images=[Image.fromarray(255 - NOISE)]),
            (80, 60),
        ),
        ("clear.png", encoded(Image.fromarray(NOISE).convert("RGBA"), "png"), (80, 60)),
        ("wrong-ending.png", PHOTO, (80, 60)),
    ],
)
def test_odd_but_good_uploads_are_read(name, content, size):
    picture = pictures.open_upload(pictures.Upload(name, content))
    assert picture.mode == "RGB" and picture.size == size
