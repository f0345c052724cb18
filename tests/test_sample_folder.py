"""Fashion-MNIST written out as folders of picture files."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from course_utils.data import samples
from course_utils.data.sample_folder import NAMES, write_sample_folder


def sums(folder):
    return {
        file.relative_to(folder).as_posix(): hashlib.md5(file.read_bytes()).hexdigest()
        for file in folder.rglob("*.png")
    }


def test_a_sample_folder_holds_pictures_of_the_classes_named_in_it(tmp_path):
    folder = write_sample_folder(tmp_path / "clothes", per_class=2, side=28)
    images, labels = samples.fashion_mnist("train")
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(NAMES) and len(NAMES) == 10
    for label, name in enumerate(NAMES):
        assert [file.name for file in sorted((folder / name).iterdir())] == ["0000.png", "0001.png"]
        own = {picture.tobytes() for picture in images[labels == label]}
        for file in (folder / name).iterdir():
            assert np.asarray(Image.open(file)).tobytes() in own


def test_a_sample_folder_is_the_same_every_time_and_more_pictures_begin_with_the_fewer(tmp_path):
    few = write_sample_folder(tmp_path / "few", ["Sandal", "Bag"], {"Sandal": 3, "Bag": 5}, side=40)
    more = write_sample_folder(tmp_path / "more", ["Bag", "Sandal", "Coat"], 6, side=40)
    assert Image.open(few / "Bag" / "0004.png").size == (40, 40)
    assert sums(few).items() <= sums(more).items() and len(sums(few)) == 8
    again = write_sample_folder(tmp_path / "few", ["Bag"], 5, side=40)  # takes the place of the old one
    assert set(sums(again)) == {f"Bag/{i:04d}.png" for i in range(5)}
    assert sums(write_sample_folder(tmp_path / "other", ["Bag"], 5, side=40, seed=1)) != sums(again)
    assert sums(write_sample_folder(tmp_path / "test", ["Bag"], 5, side=40, part="test")) != sums(again)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"classes": ["Sandals"]}, "did you mean 'Sandal'"),
        ({"classes": ["xyz"]}, r"has no class 'xyz'\.$"),
        ({"per_class": 1001}, "1001 pictures of 'T-shirt' were asked for; there are 1,000"),
        ({"classes": []}, "one class or more"),
        ({"classes": ["Bag", "Bag"]}, "each once"),
        ({"part": "validation"}, "part must be one of train, test"),
    ],
)
def test_wrong_arguments_of_a_sample_folder_leave_nothing_behind(given, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        write_sample_folder(tmp_path / "clothes", **given)
    assert not list(tmp_path.iterdir())
