"""Folders of files as lists: taken as they are, or split without overlap, copies kept together, bad ones named."""

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import data, pictures
from course_utils.data import choose, lists
from course_utils.errors import DataError

CLASSES = ("cat", "coffee", "raccoon")


def crop(name, number):
    """A crop of one of the course's photographs, another one for each number."""
    picture = pictures.photograph(name)
    x, y = 7 * number % (picture.width - 120), 13 * number % (picture.height - 100)
    return picture.crop((x, y, x + 100 + number, y + 90))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A flat folder: 20, 12 and 8 pictures of three classes."""
    root = tmp_path_factory.mktemp("flat") / "things"
    for name, count in zip(CLASSES, (20, 12, 8)):
        (root / name).mkdir(parents=True)
        for i in range(count):
            crop(name, i).save(root / name / f"{i:02d}.png")
    return root


def parts_of(made):
    return [part for part in (made.train, made.validation, made.test) if part is not None]


def test_a_flat_folder_is_split_in_proportion_without_overlap(flat, capsys):
    made = data.picture_lists(flat)
    assert [list(part.counts().values()) for part in parts_of(made)] == [[10, 6, 4], [5, 3, 2], [5, 3, 2]]
    files = [file for part in parts_of(made) for file in part.files]
    assert len(files) == len(set(files)) == 40
    assert all(
        file.parent.name == part.classes[label]
        for part in parts_of(made)
        for file, label in zip(part.files, part.labels)
    )
    assert capsys.readouterr().out == (
        "things: 20 training, 10 validation, 10 test pictures of 3 classes, from a folder of pictures.\n"
    )


def test_the_split_follows_its_seed(flat):
    first, again, other = (data.picture_lists(flat, seed=seed, quiet=True) for seed in (1, 1, 2))
    assert [p.files for p in parts_of(first)] == [p.files for p in parts_of(again)]
    assert first.train.files != other.train.files


def test_other_fractions(flat):
    made = data.picture_lists(flat, fractions=(0.8, 0.1, 0.1), quiet=True)
    assert list(made.train.counts().values()) == [16, 10, 6]
    for wrong in ((0.5, 0.5), (0.5, 0.5, 0.5), (1.0, 0.0, 0.0)):
        with pytest.raises(ValueError, match="three positive numbers that add up to 1"):
            data.picture_lists(flat, fractions=wrong)


def test_copies_and_near_copies_are_never_divided(tmp_path):
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for i in range(8):
            picture = crop(name, 5 * i)
            picture.save(tmp_path / name / f"{i}.png")
            if i < 3:  # the same bytes, as JPEG, and smaller
                (tmp_path / name / f"{i}-copy.png").write_bytes((tmp_path / name / f"{i}.png").read_bytes())
                picture.save(tmp_path / name / f"{i}-jpeg.jpg", quality=70)
                picture.resize((picture.width // 2, picture.height // 2)).save(tmp_path / name / f"{i}-small.png")
    for seed in range(5):
        made = data.picture_lists(tmp_path, seed=seed, quiet=True)
        where = {file: part.name for part in parts_of(made) for file in part.files}
        assert len(where) == 3 * (8 + 9) and made.copies >= 27
        for name in CLASSES:
            for i in range(3):
                family = [part for file, part in where.items() if file.parent.name == name and file.name[0] == str(i)]
                assert len(family) == 4 and len(set(family)) == 1


def test_groups_fill_every_part_even_when_one_is_huge():
    groups = np.array([0] * 10 + [10, 11, 12])
    parts = lists.split_groups(torch.zeros(13, dtype=torch.int64), groups, (0.5, 0.25, 0.25), 0, ["a"])
    assert len(parts[0]) >= 10 and all(len(part) for part in parts)
    assert sorted(torch.cat(parts).tolist()) == list(range(13))


def test_different_pictures_are_no_copies(flat):
    made = data.picture_lists(flat, quiet=True)
    rough = lists.near_copies(np.stack([lists._look(file).bits for part in parts_of(made) for file in part.files]))
    assert len(rough) == 40 and made.copies == 40 - len(set(rough.tolist()))
    noise = np.random.default_rng(0).random((500, 128)) > 0.5
    assert len(set(lists.near_copies(noise).tolist())) == 500
    chain = np.zeros((4, 128), bool)
    for i in range(4):
        chain[i, : 12 * i] = True  # each differs from the next in 12 bits, the ends in 36
    assert len(set(lists.near_copies(chain).tolist())) == 1


def test_a_folder_with_parts_is_taken_as_it_is(flat, tmp_path):
    for part, first in (("train", 0), ("val", 4)):
        for name in CLASSES:
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(first, first + 3):
                crop(name, i).save(tmp_path / part / name / f"{i}.png")
    made = data.picture_lists(tmp_path, quiet=True)
    assert (len(made.train), len(made.validation), made.test, made.copies) == (9, 9, None, None)
    assert {file.parent.parent.name for file in made.validation.files} == {"val"}


def test_counts_sizes_and_a_share_of_a_list(flat):
    whole = data.picture_lists(flat, quiet=True).train
    few = whole.take(7, seed=3)
    assert len(few) == 7 and list(few.counts().values()) == [4, 2, 1]
    assert few.files == whole.take(7, seed=3).files != whole.take(7, seed=4).files
    assert whole.take(1000) is whole
    assert min(whole.take(3).counts().values()) == 1
    with pytest.raises(ValueError, match="at least one picture for each of the 3 classes"):
        whole.take(2)
    for file, size in zip(whole.files, whole.sizes):
        with Image.open(file) as picture:
            assert picture.size == size
    assert whole.pixels.startswith("from 10") and whole.pixels.endswith(" pixels")
    assert whole.select([0, 0]).pixels.endswith("pixels each")
    assert whole.picture(0).mode == "RGB" and "20 pictures, 3 classes" in repr(whole)


@pytest.fixture
def spoiled(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(4):
            crop("cat" if name == "a" else "coffee", 9 * i).save(tmp_path / "set" / name / f"{i}.jpg")
    whole = (tmp_path / "set" / "a" / "0.jpg").read_bytes()
    (tmp_path / "set" / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "set" / "b" / "text.png").write_text("<html>no picture</html>")
    return tmp_path / "set"


def test_pictures_that_cannot_be_read_are_refused_by_name(spoiled):
    with pytest.raises(DataError, match=r"2 of 10 pictures in set cannot be read: a/cut\.jpg, b/text\.png"):
        data.picture_lists(spoiled)


def test_pictures_that_cannot_be_read_are_left_out_on_demand_and_named(spoiled, capsys):
    made = data.picture_lists(spoiled, unreadable="skip")
    assert made.skipped == ("a/cut.jpg", "b/text.png") and sum(map(len, parts_of(made))) == 8
    assert "2 unreadable left out: a/cut.jpg, b/text.png" in capsys.readouterr().out
    with pytest.raises(ValueError, match="unreadable must be one of refuse, skip"):
        data.picture_lists(spoiled, unreadable="perhaps")


def test_a_class_without_a_readable_picture_or_with_too_few_is_named(spoiled):
    for file in (spoiled / "b").glob("*.jpg"):
        file.unlink()
    with pytest.raises(DataError, match="No picture of the class 'b' in set can be read"):
        data.picture_lists(spoiled, unreadable="skip")
    crop("coffee", 1).save(spoiled / "b" / "1.jpg")
    crop("coffee", 70).save(spoiled / "b" / "2.jpg")
    with pytest.raises(DataError, match="The class 'b' has 2 different pictures, too few for 3 parts"):
        data.picture_lists(spoiled, unreadable="skip")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        data.picture_lists(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no class folders"):
        data.picture_lists(tmp_path / "empty")


def odd_pictures(folder):
    """Pictures that are odd but good: one pixel, 16 bits, palette, CMYK, animated, turned, transparent."""
    noise = np.random.default_rng(0)
    Image.new("RGB", (1, 1), "red").save(folder / "pixel.png")
    Image.fromarray(noise.integers(0, 65536, (40, 50)).astype(np.uint16)).save(folder / "bits.png")
    Image.fromarray(noise.integers(0, 256, (40, 50, 3), np.uint8)).quantize(16).save(folder / "palette.gif")
    Image.fromarray(noise.integers(0, 256, (40, 50, 3), np.uint8)).convert("CMYK").save(folder / "print.jpg")
    frames = [Image.fromarray(noise.integers(0, 256, (40, 50, 3), np.uint8)) for _ in range(3)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    frames[1].save(folder / "turned.jpg", exif=exif)
    frames[2].convert("RGBA").save(folder / "clear.png")


def test_odd_pictures_are_read_and_monsters_are_refused(tmp_path):
    for name in ("odd", "plain"):
        (tmp_path / name).mkdir()
    odd_pictures(tmp_path / "odd")
    (tmp_path / "odd" / "palette.gif").rename(tmp_path / "odd" / "palette.png")
    for i in range(6):
        crop("cat", 11 * i).save(tmp_path / "plain" / f"{i}.png")
    made = data.picture_lists(tmp_path, quiet=True)
    sizes = {file.name: size for part in parts_of(made) for file, size in zip(part.files, part.sizes)}
    assert sizes["turned.jpg"] == (40, 50) and sizes["pixel.png"] == (1, 1) and len(sizes) == 13
    Image.new("1", (10_000, 10_000)).save(tmp_path / "plain" / "monster.png")  # a few kB, 100 megapixels
    with pytest.raises(
        DataError, match=r"plain/monster\.png \(.*100,?000,?000|plain/monster\.png .*more than the limit"
    ):
        data.picture_lists(tmp_path, quiet=True)


def test_the_lessons_pictures_are_a_stand_in_that_says_so_where_nothing_else_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "empty"))
    monkeypatch.setattr(choose, "cache_folder", lambda: tmp_path / "cache")
    made = data.own_pictures()
    assert "a stand-in: parts of the course's own photographs" in capsys.readouterr().out
    assert made.classes == pictures.photographs() and made.source.stand_in and made.source.shareable
    assert set(made.train.counts().values()) == {40} and set(data.final_part(made).counts().values()) == {20}
    assert made.train.pixels == "224×224 pixels each"
    again = data.own_pictures(quiet=True)
    assert again.train.files == made.train.files and len(list((tmp_path / "cache").iterdir())) == 1
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(choose.tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    assert choose.stand_in(tmp_path / "file").parent == tmp_path / "elsewhere"
    monkeypatch.setattr(choose.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written to"):
        choose.stand_in(tmp_path / "file")


def test_ants_and_bees_are_taken_where_they_are_and_may_not_be_passed_on(flat, tmp_path, monkeypatch):
    for part in ("train", "val"):
        for i, name in enumerate(("ants", "bees")):
            (tmp_path / "hymenoptera_data" / part / name).mkdir(parents=True)
            crop(CLASSES[i], 5).save(tmp_path / "hymenoptera_data" / part / name / "0.png")
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    made = data.own_pictures(quiet=True)
    assert made.classes == ("ants", "bees") and not made.source.shareable and not made.source.stand_in
    assert data.final_part(made) is made.validation
    own = data.own_pictures(str(flat), quiet=True)
    assert own.classes == CLASSES and data.final_part(own) is own.test and not own.source.shareable


def test_a_folder_with_only_training_pictures_cannot_be_reported_on(flat, tmp_path):
    (tmp_path / "train").symlink_to(flat)
    with pytest.raises(DataError, match="has only training pictures; add a folder val or test"):
        data.final_part(data.picture_lists(tmp_path, quiet=True))
