"""Pictures: opening files of every kind, tensors and back, normalising, grids."""

import io
import itertools
import os
import re
import struct
import zlib
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch.testing import assert_close
from torchvision.transforms import v2

from course_utils import pictures
from course_utils.errors import DataError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def photo():
    return pictures.photograph("coffee")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def encoded(picture, form="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    buffer.seek(0)
    return buffer


# --- files


def test_every_photograph_opens_as_rgb():
    names = pictures.photographs()
    assert "coffee" in names and len(set(names)) == len(names) >= 4
    for name in names:
        picture = pictures.photograph(name)
        assert picture.mode == "RGB" and min(picture.size) >= 256


def test_an_unknown_photograph_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"no photograph 'coffe'.*coffee"):
        pictures.photograph("coffe")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photograph_comes_out_upright(orientation, tmp_path):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0], upright[0, -1], upright[-1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(upright)
    if orientation in turn:
        stored = stored.transpose(turn[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.array(pictures.open_picture(tmp_path / "turned.png")), upright)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_format_opens_from_a_file_object(form, mode, photo):
    picture = pictures.open_picture(encoded(photo.resize((32, 24)), form), mode)
    assert picture.mode == mode and picture.size == (32, 24)


def test_a_file_object_stays_open_and_belongs_to_the_caller(photo):
    stream = encoded(photo)
    pictures.open_picture(stream)
    assert not stream.closed


def test_transparent_parts_become_white():
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (0, 0, 255, 255))
    assert np.array(pictures.open_picture(encoded(clear))).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_transparency_in_a_palette_becomes_white():
    clear = Image.new("P", (2, 1))
    clear.putpalette([255, 0, 0, 0, 255, 0])
    clear.putpixel((1, 0), 1)
    picture = pictures.open_picture(encoded(clear, transparency=0))
    assert np.array(picture).tolist() == [[[255, 255, 255], [0, 255, 0]]]


def test_sixteen_bit_grey_is_scaled_and_not_cut_off():
    deep = Image.fromarray(np.array([[0, 257 * 128, 65535]], dtype=np.uint16))
    assert np.array(pictures.open_picture(encoded(deep), "L")).tolist() == [[0, 128, 255]]


def test_cmyk_and_black_and_white_become_rgb(photo):
    small = photo.resize((16, 16))
    for picture, form in ((small.convert("CMYK"), "JPEG"), (small.convert("1"), "PNG")):
        assert pictures.open_picture(encoded(picture, form)).mode == "RGB"


def test_a_moving_picture_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pictures.open_picture(moving).getpixel((0, 0)) == (255, 0, 0)


def one_sentence(error):
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text and len(text) < 400
    return text


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jpg") as error:
        pictures.open_picture(tmp_path / "nowhere.jpg")
    assert "check the path" in one_sentence(error)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError) as error:
        pictures.open_picture(tmp_path)
    one_sentence(error)


@pytest.mark.parametrize("content", [b"hello, I am no picture\n", b"<html><body>404</body></html>"])
def test_a_text_file_called_jpg_is_refused(content, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"cat\.jpg is not a picture; expected one of JPEG, PNG") as error:
        pictures.open_picture(tmp_path / "cat.jpg")
    one_sentence(error)


def test_postscript_never_reaches_an_interpreter():
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(DataError, match="not a picture"):
        pictures.open_picture(io.BytesIO(script))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_truncated_picture_is_refused(form, part, photo, tmp_path):
    whole = encoded(photo.resize((120, 90)), form).getvalue()
    (tmp_path / "half").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(DataError, match="half") as error:
        pictures.open_picture(tmp_path / "half")
    one_sentence(error)


def test_a_damaged_png_is_refused(photo):
    whole = bytearray(encoded(photo.resize((60, 60))).getvalue())
    whole[200:260] = bytes(60)
    with pytest.raises(DataError, match="the given file is damaged"):
        pictures.open_picture(io.BytesIO(bytes(whole)))


def png_that_claims(width, height):
    """A few bytes whose header promises a huge picture."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("side", [9_000, 11_000, 60_000])
def test_a_picture_that_claims_too_many_pixels_is_refused_before_decoding(side):
    with pytest.raises(DataError, match="64,000,000") as error:
        pictures.open_picture(png_that_claims(side, side))
    assert "make it smaller" in one_sentence(error)


@pytest.mark.parametrize("error", [RuntimeError("odd"), KeyError("ExifTag"), OverflowError(), AssertionError()])
@pytest.mark.parametrize("method", ["load", "draft"])
def test_whatever_pillow_raises_becomes_one_sentence(error, method, photo, monkeypatch):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(f"PIL.JpegImagePlugin.JpegImageFile.{method}", fails)
    with pytest.raises(DataError, match="the given file is damaged or incomplete") as refusal:
        pictures.files.thumbnail(encoded(photo, "JPEG"), 16)
    one_sentence(refusal)


def test_a_picture_larger_than_memory_says_so(photo, monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", fails)
    with pytest.raises(DataError, match="needs more memory than there is; make the picture smaller") as refusal:
        pictures.open_picture(encoded(photo, "JPEG"))
    one_sentence(refusal)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match=r"pipe\.jpg is not a file") as refusal:
        pictures.open_picture(tmp_path / "pipe.jpg")
    one_sentence(refusal)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exif", [b"Exif\x00\x00" + bytes(range(40)), b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff"])
def test_damaged_exif_data_changes_no_pixel(exif, photo):
    plain = pictures.open_picture(encoded(photo, "JPEG"))
    assert pictures.open_picture(encoded(photo, "JPEG", exif=exif)).tobytes() == plain.tobytes()


def test_pillow_opens_strangers_files_in_one_module_only():
    """Without `formats`, Pillow hands PostScript to an interpreter, whatever a file is called."""
    package = Path(pictures.__file__).parents[1]
    calls = {path.relative_to(package).as_posix(): path.read_text("utf-8") for path in package.rglob("*.py")}
    calls = {name: re.findall(r"Image\.open\((.*)\)", text) for name, text in calls.items() if "Image.open(" in text}
    own = (
        "figures.py",
        "command/notebooks/normalise.py",
        "command/notebooks/pages.py",
    )  # pictures that the course has drawn, from memory
    assert set(calls) == {"pictures/files.py", *own}
    assert all("formats=" in call for name, found in calls.items() for call in found if name != "figures.py")


def test_every_suffix_is_one_of_a_format_that_opens():
    Image.init()
    registered = Image.registered_extensions()
    registered[".dib"] = "BMP"  # as Windows writes it; for Pillow it is a BMP file without its first bytes
    theirs = {registered.get(suffix, "HEIF") for suffix in pictures.files.SUFFIXES}  # the extra for HEIF may be missing
    assert theirs - {"HEIF"} == set(pictures.files.FORMATS)


def test_rare_endings_of_formats_that_open_are_taken():
    assert not any(map(pictures.files.why_not, ("a.jpe", "a.DIB", "a.pbm", "a.pnm", "a.apng")))


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("size", [(512, 341), (601, 67), (129, 800), (20, 30), (3, 1)])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_thumbnail_holds_the_means_of_the_picture_in_grey_and_its_full_size(form, size, orientation, photo):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(photo.resize(size), form, exif=exif)
    whole = pictures.open_picture(file, "L")
    square, full = pictures.files.thumbnail(file, 16)
    assert full == whole.size and (square.mode, square.size) == ("L", (16, 16))
    expected = whole.resize((16, 16), Image.Resampling.BILINEAR)
    apart = np.asarray(square, np.float64) - np.asarray(expected, np.float64)
    assert np.sqrt((apart**2).mean()) < 1


def test_a_thumbnail_of_a_truncated_file_is_refused(photo, tmp_path):
    (tmp_path / "half.jpg").write_bytes(encoded(photo, "JPEG").getvalue()[:-2000])
    with pytest.raises(DataError, match=r"half\.jpg is damaged or incomplete"):
        pictures.files.thumbnail(tmp_path / "half.jpg", 16)


def test_the_limit_of_pixels_can_be_set(photo):
    assert pictures.open_picture(encoded(photo), max_pixels=512 * 341).size == (512, 341)
    with pytest.raises(DataError, match="512 × 341 pixels, more than the limit of 1,000;"):
        pictures.open_picture(encoded(photo), max_pixels=1000)


def test_a_transparent_level_of_16_bit_grey_becomes_white():
    levels = np.array([[0, 128 * 257, 129 * 257]], np.uint16)
    file = encoded(Image.fromarray(levels), transparency=128 * 257)
    assert np.asarray(pictures.open_picture(file, "L")).tolist() == [[0, 255, 129]]


def test_dark_pictures_of_16_bits_stay_dark_whatever_pillow_calls_their_mode():
    levels = Image.fromarray(np.array([[0, 200]], np.int32))
    assert np.asarray(pictures.open_picture(encoded(levels, "PPM"), "L")).tolist() == [[0, 0]]
    assert np.asarray(pictures.open_picture(encoded(levels.convert("I;16")), "L")).tolist() == [[0, 0]]


def test_pictures_of_32_bits_or_fractions_are_refused():
    dark = np.array([[0, 255]], np.int32)  # 8 bits, or dark ones of 16?
    for array in (dark, np.full((2, 2), 70_000, np.int32), np.full((2, 2), 0.5, np.float32)):
        with pytest.raises(DataError, match="8 bits") as error:
            pictures.open_picture(encoded(Image.fromarray(array), "TIFF"))
        one_sentence(error)


def test_wrong_arguments_of_open_picture_are_refused():
    with pytest.raises(ValueError, match='"RGB" or "L", not \'RGBA\''):
        pictures.open_picture("any.jpg", mode="RGBA")
    with pytest.raises(TypeError, match="path or an open file, not bytes"):
        pictures.open_picture(b"bytes of a picture")


# --- tensors and back


def test_to_tensor_equals_torchvision(photo):
    for picture in (photo, photo.convert("L")):
        image = pictures.to_tensor(picture)
        assert_close(image, v2.functional.pil_to_tensor(picture), rtol=0, atol=0)
        assert image.is_contiguous() and image.dtype == torch.uint8
    assert pictures.to_tensor(photo).shape == (3, photo.height, photo.width)


def test_to_tensor_has_memory_of_its_own(photo):
    pictures.to_tensor(photo).zero_()
    assert np.array(photo).max() > 0


def test_to_tensor_refuses_other_modes_and_types(photo):
    with pytest.raises(ValueError, match=r"not 'CMYK'; use open_picture, or convert\(\"RGB\"\)"):
        pictures.to_tensor(photo.convert("CMYK"))
    with pytest.raises(TypeError, match="Pillow picture, not ndarray"):
        pictures.to_tensor(np.array(photo))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_picture_to_tensor_and_back_is_exact(mode, photo):
    picture = photo.convert(mode)
    image = pictures.to_tensor(picture)
    for back in (pictures.to_picture(image), pictures.to_picture(pictures.to_float(image))):
        assert back.mode == mode and back.tobytes() == picture.tobytes()


def test_all_256_values_survive_the_way_through_floats():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        back = pictures.to_tensor(pictures.to_picture(pictures.to_float(ramp).to(dtype)))
        assert_close(back, ramp, rtol=0, atol=1 if dtype == torch.bfloat16 else 0)


def test_to_picture_takes_height_by_width_and_tensors_that_need_gradients():
    assert pictures.to_picture(torch.zeros(5, 7)).size == (7, 5)
    assert pictures.to_picture(torch.ones(3, 5, 7, requires_grad=True)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(4, 6, 3), r"\(4, 6, 3\); the channels seem to come last, so use \.permute\(2, 0, 1\)"),
        (torch.zeros(2, 3, 4, 6), r"this is a batch, so take one picture of it, such as images\[0\]"),
        (torch.zeros(2, 4, 6), r"1 or 3 channels, not \(2, 4, 6\); choose channels, such as image\[:1\]\."),
        (torch.zeros(4, 4, 6), r"1 or 3 channels, not \(4, 4, 6\); choose channels, such as image\[:3\]\."),
        (torch.zeros(3, 0, 6), r"not \(3, 0, 6\)"),
        (torch.full((3, 4, 4), 1.5), r"they reach from 1\.5 to 1\.5; un-normalise"),
        (torch.full((1, 4, 4), -0.01), r"from -0\.01 to -0\.01"),
        (torch.full((1, 4, 4), float("nan")), "from nan to nan; find out where NaN came from"),
    ],
)
def test_to_picture_refuses_what_is_no_picture(image, message):
    with pytest.raises(ValueError, match=message):
        pictures.to_picture(image)


def test_to_picture_refuses_other_types():
    with pytest.raises(TypeError, match=r"uint8 or floats in \[0, 1\], not torch.int64"):
        pictures.to_picture(torch.zeros(3, 4, 4, dtype=torch.int64))


@pytest.mark.parametrize("given", [np.zeros((3, 4, 4)), Image.new("RGB", (4, 4)), [[0.0]]])
def test_what_is_no_tensor_is_refused_by_all_and_the_sentence_says_what_makes_one(given):
    takes = [pictures.to_picture, pictures.to_float, pictures.to_grey, pictures.mix, pictures.clipped_fraction]
    takes += [partial(turn, mean=0.5, std=0.5) for turn in (pictures.normalise, pictures.unnormalise)]
    for take in takes:
        with pytest.raises(TypeError, match=f"wants a tensor, not {type(given).__name__}; to_tensor makes one"):
            take(given)


def test_to_float_equals_torchvision_and_refuses_floats(photo):
    image = pictures.to_tensor(photo)
    assert_close(pictures.to_float(image), v2.functional.to_dtype(image, torch.float32, scale=True))
    with pytest.raises(TypeError, match=r"uint8, not torch\.float32"):
        pictures.to_float(pictures.to_float(image))


def test_to_grey_equals_pillow_exactly_for_every_kind_of_colour():
    colours = torch.randint(0, 256, (3, 200, 300), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey = np.array(pictures.to_picture(colours).convert("L"))
    assert np.array_equal(pictures.to_grey(colours)[0].numpy(), grey)
    assert_close(pictures.to_grey(colours[None]), pictures.to_grey(colours)[None])


def test_to_grey_of_floats_agrees_with_torchvision(photo):
    image = pictures.to_float(pictures.to_tensor(photo))
    assert_close(pictures.to_grey(image), v2.functional.rgb_to_grayscale(image), atol=2e-4, rtol=0)


def test_to_grey_refuses_other_shapes_and_types():
    with pytest.raises(ValueError, match=r"not \(1, 4, 4\)"):
        pictures.to_grey(torch.zeros(1, 4, 4))
    with pytest.raises(TypeError, match=r"torch\.int64"):
        pictures.to_grey(torch.zeros(3, 4, 4, dtype=torch.int64))


def test_mix_multiplies_adds_and_clamps(photo):
    image = pictures.to_float(pictures.to_tensor(photo))[None]
    expected = image.clone()
    for channel, gain in enumerate((0.5, 1.0, 2.0)):
        expected[:, channel] = (image[:, channel] * gain + 0.1).clamp(0, 1)
    assert_close(pictures.mix(image, 0.5, 1.0, 2.0, 0.1), expected)
    assert_close(pictures.mix(image), image)
    with pytest.raises(ValueError, match=r"float pictures .* not torch.uint8"):
        pictures.mix(pictures.to_tensor(photo))


# --- normalising


def test_normalise_equals_torchvision(photo):
    images = pictures.to_float(pictures.to_tensor(photo)).expand(2, -1, -1, -1)
    expected = v2.functional.normalize(images, list(MEAN), list(STD))
    for mean, std in ((MEAN, STD), (list(MEAN), list(STD)), (torch.tensor(MEAN), torch.tensor(STD))):
        assert_close(pictures.normalise(images, mean, std), expected)
    assert_close(pictures.normalise(images[0], MEAN, STD), expected[0])
    assert_close(pictures.normalise(images, 0.5, 0.25), (images - 0.5) / 0.25)
    assert_close(pictures.normalise(images, torch.tensor(MEAN).view(3, 1, 1), torch.tensor([STD])), expected)


@given(
    shape=st.tuples(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
@settings(max_examples=50)
def test_unnormalise_undoes_normalise(shape, seed, data):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    per_channel = st.lists(st.floats(0.01, 1), min_size=shape[1], max_size=shape[1])
    mean, std = data.draw(per_channel), data.draw(per_channel)
    before = images.clone()
    normalised = pictures.normalise(images, mean, std)
    assert_close(pictures.unnormalise(normalised, mean, std), images)
    assert_close(images, before, rtol=0, atol=0)  # nothing is changed in place
    assert_close(normalised[:, 0], (images[:, 0] - mean[0]) / std[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_normalise_keeps_the_type(dtype):
    assert pictures.normalise(torch.rand(3, 4, 4).to(dtype), MEAN, STD).dtype == dtype


def test_a_batch_normalised_by_its_own_statistics_has_mean_0_and_spread_1(photo):
    images = pictures.to_float(pictures.to_tensor(photo))[None]
    normalised = pictures.normalise(images, images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3)))
    assert_close(normalised.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    assert_close(normalised.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("images", "mean", "std", "error", "message"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.uint8), MEAN, STD, TypeError, "uint8; call pictures.to_float first"),
        (torch.rand(3, 4, 4) * 255, MEAN, STD, ValueError, "divide them by 255 first"),
        (torch.randn(3, 40, 40) * 2, MEAN, STD, ValueError, "perhaps this was done before"),
        (torch.rand(4, 4, 3), MEAN, STD, ValueError, r"\(4, 4, 3\) has 4 channels; the channels seem to come last"),
        (torch.rand(1, 4, 4), MEAN, STD, ValueError, r"mean has 3 numbers, but \(1, 4, 4\) has 1 channels\."),
        (torch.rand(3, 4, 4), MEAN, (0.2, 0.2), ValueError, "std has 2 numbers"),
        (torch.rand(3, 4, 4), MEAN, (0.2, 0.0, 0.2), ValueError, "std must be positive"),
        (torch.rand(3, 4, 4), float("nan"), 1.0, ValueError, "mean must be finite"),
        (torch.rand(4, 4), 0.5, 0.5, ValueError, r"channels, height, width\), got \(4, 4\)"),
        (torch.tensor([[[0.5, float("nan")]]]), 0.5, 0.5, ValueError, "from nan to nan; find out where NaN came from"),
    ],
)
def test_normalise_refuses_what_cannot_be_right(images, mean, std, error, message):
    with pytest.raises(error, match=message):
        pictures.normalise(images, mean, std)


def test_an_empty_batch_can_be_normalised():
    assert pictures.normalise(torch.zeros(0, 3, 4, 4), MEAN, STD).shape == (0, 3, 4, 4)


def test_clipped_fraction_counts_numbers_outside():
    assert pictures.clipped_fraction(torch.tensor([-1.0, 0.0, 0.5, 1.0, 1.5])) == pytest.approx(0.4)
    assert pictures.clipped_fraction(torch.tensor([float("nan"), 0.5, 0.5, 1e9])) == 0.5
    with pytest.raises(ValueError, match="not one pixel"):
        pictures.clipped_fraction(torch.zeros(0))
    with pytest.raises(TypeError, match=r"floats, not torch\.uint8; to_float makes them of bytes"):
        pictures.clipped_fraction(torch.full((3, 4, 4), 200, dtype=torch.uint8))


# --- figures


def shown(figure):
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def test_grid_draws_every_picture_in_order_with_its_title():
    images = torch.randint(0, 256, (7, 3, 5, 6), dtype=torch.uint8)
    figure = pictures.grid(images, np.arange(7), columns=np.int64(3), title="Seven")
    assert len(figure.axes) == 9 and figure.get_suptitle() == "Seven"
    assert [axis.get_title() for axis in figure.axes[:7]] == [str(i) for i in range(7)]
    for image, drawn in zip(images, shown(figure), strict=True):
        assert np.array_equal(np.asarray(drawn), image.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("count", [6, 8])  # one row, and two
def test_long_titles_of_a_grid_do_not_run_into_each_other(count):
    names = ["Short", "a very long title that says much, and then some more of it, to its end", "", "two\nlines"] * 2
    figure = pictures.grid(torch.rand(count, 3, 32, 48), names[:count], 6)
    figure.canvas.draw()
    row = [axes.title.get_window_extent() for axes in figure.axes[:6] if axes.get_title()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(row)) and row[0].x0 >= 0
    assert figure.axes[0].get_title() == "Short" and figure.axes[3].get_title() == "two\nlines"
    assert figure.axes[1].get_title().endswith("…")
    plt.close(figure)


@pytest.mark.parametrize(("count", "highest"), [(1, 10), (2, 10), (8, 8)])
def test_very_tall_pictures_make_no_very_tall_grid(count, highest):
    figure = pictures.grid([Image.new("L", (10, 2000))] * count)
    assert figure.get_size_inches()[1] < highest
    plt.close(figure)


@pytest.mark.parametrize("columns", [0, -2, 1.5, "3"])
def test_a_grid_or_a_contact_sheet_without_columns_is_refused(columns):
    with pytest.raises(ValueError, match=f"grid needs columns of at least 1, a whole number, not {columns!r}"):
        pictures.grid(torch.rand(3, 3, 4, 4), columns=columns)
    with pytest.raises(ValueError, match=f"contact_sheet needs columns of at least 1, a whole number, not {columns!r}"):
        pictures.contact_sheet(torch.rand(3, 3, 4, 4), "abc", columns=columns)


def test_grid_draws_grey_on_a_fixed_scale():
    figure = pictures.grid(torch.full((1, 1, 4, 4), 0.5))
    assert figure.axes[0].images[0].get_clim() == (0, 255)
    assert np.asarray(shown(figure)[0]).max() == 128


def test_grid_takes_pictures_of_different_sizes_and_kinds(photo):
    figure = pictures.grid([photo, ImageOps.mirror(photo).convert("L"), torch.rand(3, 8, 9)])
    assert [np.asarray(drawn).shape for drawn in shown(figure)] == [(341, 512, 3), (341, 512), (8, 9, 3)]


def test_grid_draws_pictures_as_pillow_opens_them_like_those_that_open_picture_gives(tmp_path):
    sixteen = Image.fromarray(np.full((4, 4), 25_700, np.uint16))  # 100 of 255
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))  # white, as everywhere in the course
    few = Image.new("P", (4, 4))
    few.putpalette([200, 10, 10])
    drawn = [np.asarray(each)[0, 0].tolist() for each in shown(pictures.grid([sixteen, clear, few]))]
    assert drawn == [[100, 100, 100], [255, 255, 255], [200, 10, 10]]
    with pytest.raises(TypeError, match="grid wants several pictures, not a single one; put it into a list"):
        pictures.grid(few)


@pytest.mark.parametrize(
    ("images", "titles", "message"),
    [
        (torch.zeros(3, 8, 8), None, r"batch \(N, C, H, W\), not \(3, 8, 8\); add an axis with \[None\]"),
        (torch.zeros(2, 3, 8, 8), ["one"], "1 titles for 2 pictures"),
        (torch.zeros(101, 1, 2, 2), None, r"1 to 100 pictures, not 101; take fewer, such as images\[:36\]"),
        ([], None, "not 0"),
        (torch.full((1, 3, 8, 8), -1.0), None, "un-normalise"),
    ],
)
def test_grid_refuses_what_it_cannot_draw(images, titles, message):
    with pytest.raises(ValueError, match=message):
        pictures.grid(images, titles)


def test_one_row_of_pictures_of_different_shapes_is_equally_high_and_frames_stand_where_crop_would_cut():
    shapes = [(512, 341), (341, 512), (100, 100)]
    figure = pictures.grid([Image.new("RGB", shape) for shape in shapes], frames={0: (240, 190, 390, 290)})
    figure.canvas.draw()
    boxes = [axes.get_position() for axes in figure.axes]
    assert max(box.height for box in boxes) - min(box.height for box in boxes) < 0.01
    assert {frame.get_bbox().bounds for frame in figure.axes[0].patches} == {(239.5, 189.5, 150, 100)}
    assert not figure.axes[1].patches
    plt.close(figure)


def test_pixels_writes_every_number():
    image = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)[:1]
    texts = [text.get_text() for text in pictures.pixels(image, title="Twelve").axes[0].texts]
    assert texts == [str(i) for i in range(12)]
    colour = pictures.pixels(Image.new("RGB", (1, 1), (102, 255, 102)))
    assert [text.get_text() for text in colour.axes[0].texts] == ["102\n255\n102"]
    assert pictures.pixels(torch.full((2, 2), 0.25)).axes[0].texts[0].get_text() == "0.25"


def test_pixels_refuses_pictures_too_large_to_read(photo):
    with pytest.raises(ValueError, match="at most 16 × 16 pixels, not 512 × 341; cut out a piece"):
        pictures.pixels(photo)


def test_drawing_leaves_the_style_of_matplotlib_alone():
    before = dict(plt.rcParams)
    pictures.grid(torch.zeros(2, 3, 4, 4))
    pictures.pixels(torch.zeros(1, 4, 4))
    assert dict(plt.rcParams) == before
