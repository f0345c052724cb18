"""Equal pixels are found whatever the file; different pictures are never called equal, however alike they look."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from course_utils import pictures
from course_utils.data import copies


def compared(files):
    groups, alike = copies.compare(files, copies.look(files))
    return groups.tolist(), alike.tolist()


@pytest.fixture(scope="module")
def photo():
    return pictures.photograph("cat").resize((300, 200))


def test_equal_pixels_are_equal_in_every_format_and_with_other_data_beside_them(photo, tmp_path):
    photo.save(tmp_path / "0.jpg", quality=90)
    decoded = Image.open(tmp_path / "0.jpg").convert("RGB")
    whole = (tmp_path / "0.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole)
    (tmp_path / "2.jpg").write_bytes(whole[:2] + b"\xff\xfe\x00\x09comment" + whole[2:])
    decoded.save(tmp_path / "3.png")
    decoded.save(tmp_path / "4.bmp")
    decoded.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "5.tif", exif=turned_by(6))
    assert compared(sorted(tmp_path.iterdir())) == ([0] * 6, [False] * 6)


def test_equal_pixels_are_equal_where_colours_are_so_strong_that_jpeg_cuts_them_off(tmp_path):
    red = np.zeros((512, 512, 3), np.uint8)
    red[..., 0] = np.random.default_rng(0).choice([0, 255], (512, 512))
    Image.fromarray(red).save(tmp_path / "0.jpg", quality=75)
    Image.open(tmp_path / "0.jpg").save(tmp_path / "1.png")
    files = sorted(tmp_path.iterdir())
    first, second = (seen.thumbnail.astype(float) for seen in copies.look(files))
    assert np.sqrt(((first - second) ** 2).mean()) > copies.ALIKE  # the grey of one is not that of the other
    assert compared(files)[0] == [0, 0]


def turned_by(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_single_pixel_makes_a_difference_and_saved_again_is_alike_only(photo, tmp_path):
    photo.save(tmp_path / "0.png")
    other = photo.copy()
    other.putpixel((7, 7), (255, 0, 255))
    other.save(tmp_path / "1.png")
    photo.save(tmp_path / "2.jpg", quality=60)
    photo.resize((150, 100)).save(tmp_path / "3.png")
    pictures.photograph("coffee").resize((300, 200)).save(tmp_path / "4.png")
    assert compared(sorted(tmp_path.iterdir())) == ([0, 1, 2, 3, 4], [True] * 4 + [False])


def test_equal_pixels_of_another_shape_are_no_copy(tmp_path):
    pixels = np.full((20, 40), 90, np.uint8)
    for name in ("0.png", "2.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    for name in ("1.png", "3.png"):
        Image.fromarray(pixels.T.copy()).save(tmp_path / name)
    files = sorted(tmp_path.iterdir())
    assert compared(files[:2])[0] == [0, 1]
    assert compared(files)[0] == [0, 1, 0, 1]  # also where each has a copy of its own


def test_colours_of_the_same_grey_are_no_copy(tmp_path):
    Image.new("RGB", (9, 9), (0, 130, 0)).save(tmp_path / "0.png")
    grey = Image.open(tmp_path / "0.png").convert("L")
    grey.save(tmp_path / "1.png")
    assert compared(sorted(tmp_path.iterdir())) == ([0, 1], [True, True])


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "x.png").write_text("no")
    (seen,) = copies.look([tmp_path / "x.png"])
    assert seen.why == "is not a picture" and seen.thumbnail is None


def test_dull_pictures_that_differ_do_not_look_alike(tmp_path):
    draw = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(draw.normal(20, 2, (16, 16)).round().astype(np.uint8)).save(tmp_path / f"{i}.png")
    assert not any(compared(sorted(tmp_path.iterdir()))[1])


def every_pair(a, b):
    return np.ones((len(a), len(b)), bool)


@pytest.mark.parametrize("chunk", [3, 64, 1000])
def test_near_is_what_comparing_every_pair_finds(chunk, monkeypatch):
    monkeypatch.setattr(copies, "CHUNK", chunk)
    draw = np.random.default_rng(0)
    thumbnails = draw.integers(0, 256, (100, 256)).astype(np.float32)
    thumbnails[50:60] = thumbnails[:10] + draw.normal(0, 3.0, (10, 256))  # near
    thumbnails[60:70] = thumbnails[10:20] + draw.normal(0, 6.0, (10, 256))  # not so
    apart = np.sqrt(((thumbnails[:, None] - thumbnails) ** 2).mean(axis=2))
    wanted = (apart <= 4.0) & ~np.eye(100, dtype=bool)
    assert wanted.sum() == 20
    assert np.array_equal(copies.near(thumbnails, 4.0, every_pair), wanted.any(axis=1))
    kind, limits = np.arange(100) % 2, np.where(np.arange(100) < 55, 4.0, 0.1)
    same = copies.near(thumbnails, 4.0, lambda a, b: kind[a, None] == kind[b])
    assert np.array_equal(same, (wanted & (kind[:, None] == kind)).any(axis=1))
    assert np.array_equal(copies.near(thumbnails, limits, every_pair).nonzero()[0], [*range(5), *range(50, 55)])


def test_thousands_of_pictures_that_all_look_alike_take_little_memory():
    thumbnails = np.full((6_000, 256), 128, np.float32)
    tracemalloc.start()
    assert copies.near(thumbnails, 4.0, every_pair).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000  # a float for each pair would be 144 MB
