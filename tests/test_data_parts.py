"""Labelled pictures behave alike as tensors and as files: counted, taken, chosen, refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import data
from course_utils.data import decoding
from course_utils.errors import DataError

CLASSES = ("a", "b", "c")


def tensor_part(labels):
    labels = torch.as_tensor(labels)
    images = torch.arange(len(labels)).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).to(torch.uint8).contiguous()
    return data.TensorPart(images, labels, CLASSES, "train", (0.5,) * 3, (0.25,) * 3)


def file_part(labels):
    labels = torch.as_tensor(labels)
    files = tuple(Path(f"{i}.png") for i in range(len(labels)))
    return data.FilePart(files, labels, CLASSES, "train", tuple((i + 1, 2) for i in range(len(labels))))


def numbers(part):
    """Which pictures a part holds, by their places in the part they were taken from."""
    if isinstance(part, data.TensorPart):
        return part.images[:, 0, 0, 0].tolist()
    assert [size[0] for size in part.sizes] == [int(file.stem) + 1 for file in part.files]
    return [int(file.stem) for file in part.files]


both = pytest.mark.parametrize("make", [tensor_part, file_part])


@both
def test_a_part_counts_its_classes_even_those_it_lacks(make):
    assert make([0, 2, 2]).counts() == {"a": 1, "b": 0, "c": 2} and len(make([0, 2, 2])) == 3


def test_a_part_says_what_it_holds():
    assert repr(tensor_part([0, 2, 2])) == "TensorPart('train': 3 pictures of 3×4×4, 3 classes)"
    assert repr(file_part([0, 2, 2])) == "FilePart('train': 3 pictures, 3 classes)"


@both
def test_take_keeps_proportions_and_order_and_follows_its_seed(make):
    whole = make([0] * 60 + [1] * 30 + [2] * 10)
    some = whole.take(10, seed=3)
    assert some.counts() == {"a": 6, "b": 3, "c": 1} and some.name == whole.name
    assert numbers(some) == sorted(numbers(some)) == numbers(whole.take(10, seed=3)) != numbers(whole.take(10, seed=4))


def test_the_same_seed_takes_the_same_tensors_and_files():
    labels = [0] * 7 + [1] * 5 + [2] * 9
    assert numbers(tensor_part(labels).take(8, seed=1)) == numbers(file_part(labels).take(8, seed=1))


@both
def test_take_leaves_no_class_empty_where_there_are_enough_for_all(make):
    rare = make([0] * 98 + [2] * 2)
    assert rare.take(5).counts() == {"a": 4, "b": 0, "c": 1}
    assert len(rare.take(1)) == 1


@both
def test_at_most_takes_all_where_there_are_fewer(make):
    whole = make([0, 1, 2, 2])
    assert whole.take(at_most=9) is whole and whole.take(4) is whole
    assert numbers(whole.take(at_most=3, seed=2)) == numbers(whole.take(3, seed=2))


@both
def test_at_most_takes_one_of_each_class_where_it_is_smaller_than_their_number(make):
    whole = make([0, 0, 0, 1, 2, 2])
    assert whole.take(at_most=1).counts() == whole.take(at_most=2).counts() == {"a": 1, "b": 1, "c": 1}


@both
@pytest.mark.parametrize("n", [0, 4, -1, 0.5, 1.5, "2"])
def test_take_refuses_numbers_it_cannot_give(make, n):
    with pytest.raises(ValueError, match="from 1 to 3"):
        make([0, 1, 2]).take(n)


@both
def test_take_refuses_to_be_asked_for_nothing_or_two_things(make):
    for call in ({}, {"n": 2, "at_most": 2}):
        with pytest.raises(ValueError, match="one of n, so many exactly, and at_most"):
            make([0, 1, 2]).take(**call)
    with pytest.raises(ValueError, match="from 1 to 3"):
        make([0, 1, 2]).take(at_most=0)


@both
def test_of_class_gives_that_class_alone_or_says_what_there_is(make):
    whole = make([0, 2, 2])
    assert numbers(whole.of_class("c")) == [1, 2] and whole.of_class("c").labels.tolist() == [2, 2]
    with pytest.raises(ValueError, match="no class 'z'; choose one of a, b, c"):
        whole.of_class("z")
    with pytest.raises(DataError, match="no picture of the class 'b'"):
        whole.of_class("b")


@both
def test_select_takes_tensors_and_lists_and_a_new_name(make):
    whole = make([0, 1, 2])
    assert numbers(whole.select([2, 0])) == numbers(whole.select(torch.tensor([2, 0]))) == [2, 0]
    assert whole.select([1], "validation").name == "validation" and whole.select([1]).name == "train"


@both
def test_select_takes_masks_and_refuses_what_is_neither(make):
    whole = make([0, 1, 2])
    for mask in (torch.tensor([True, False, True]), np.array([True, False, True]), [True, False, True]):
        assert numbers(whole.select(mask)) == [0, 2] and whole.select(mask).labels.tolist() == [0, 2]
    with pytest.raises(ValueError, match="a value for each of the 3 pictures, not 2 values"):
        whole.select([True, False])
    for wrong in ([0.0, 1.0], torch.ones(3), torch.ones(3, dtype=torch.uint8), 1, [[0, 1]], ["a"], None):
        with pytest.raises(TypeError, match=r"select takes .*whole numbers .*or a mask of bools"):
            whole.select(wrong)
    with pytest.raises(DataError, match="is empty"):
        whole.select([])
    assert numbers(whole.select([-1])) == [2]
    for wrong in (100, -4):
        with pytest.raises(ValueError, match=f"There is no picture {wrong} to select; their places go from 0 to 2"):
            whole.select([0, wrong])


def test_a_tensor_part_keeps_its_normalisation():
    whole = tensor_part([0, 1, 2])
    assert (whole.take(2).mean, whole.take(2).std) == (whole.mean, whole.std)


@both
@pytest.mark.parametrize(("labels", "wrong"), [([0, 3], 3), ([0, -1], -1)])
def test_a_part_refuses_labels_without_a_class(make, labels, wrong):
    with pytest.raises(DataError, match=f"Label {wrong} has no class; 3 classes have 0 to 2"):
        make(labels)


@both
def test_a_part_refuses_to_be_empty_and_labels_that_are_no_whole_numbers(make):
    with pytest.raises(DataError, match="'train' is empty"):
        make(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(TypeError, match="must be an int64 tensor"):
        make([0.0, 1.0])


def test_a_part_refuses_pictures_that_do_not_fit():
    images, labels = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])
    with pytest.raises(DataError, match="3 pictures but 2 labels"):
        data.TensorPart(images, labels, CLASSES, "train", (0.5,), (0.5,))
    with pytest.raises(DataError, match="1 files but 2 labels"):
        data.FilePart((Path("a"),), labels, CLASSES, "train", ((1, 1),))
    with pytest.raises(TypeError, match="must be a uint8 tensor"):
        data.TensorPart(images[:2].float(), labels, CLASSES, "train", (0.5,), (0.5,))
    with pytest.raises(TypeError, match="3 axes"):
        data.TensorPart(images[:2, 0], labels, CLASSES, "train", (0.5,), (0.5,))


@both
def test_a_part_can_be_pickled(make):
    whole = make([0, 1, 2])
    assert numbers(pickle.loads(pickle.dumps(whole))) == numbers(whole)


def test_the_sizes_of_files_in_words():
    whole = file_part([0, 1, 2])
    assert whole.pixels == "from 1 × 2 to 3 × 2 pixels" and whole.select([1, 1]).pixels == "2 × 2 pixels each"


# --- decode


@pytest.fixture
def files(tmp_path):
    """Three PNG files of different sizes, each with pixels of its own."""
    draw = np.random.default_rng(0)
    for i, (height, width) in enumerate([(8, 12), (8, 12), (20, 10)]):
        Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"{i}.png")
    return sorted(tmp_path.iterdir())


def test_decode_gives_the_files_pixels(files):
    images = decoding.decode(files[:2])
    assert images.shape == (2, 3, 8, 12) and images.is_contiguous()
    assert np.array_equal(images[1].permute(1, 2, 0), np.asarray(Image.open(files[1])))
    assert np.array_equal(decoding.decode(files[:1], "L")[0, 0], np.asarray(Image.open(files[0]).convert("L")))


def test_pictures_of_different_sizes_need_a_size(files):
    with pytest.raises(DataError, match=r"differ in size \(12×8, 10×20 …\); make all of one size"):
        decoding.decode(files)
    assert decoding.decode(files, size=(6, 9)).shape == (3, 3, 6, 9)


def test_a_size_scales_to_cover_and_cuts_the_middle_out(tmp_path):
    stripes = np.repeat(np.array([0, 100, 200], np.uint8), 10)  # (30,): three columns of ten pixels
    Image.fromarray(np.tile(stripes, (10, 1))).save(tmp_path / "stripes.png")
    assert (decoding.decode([tmp_path / "stripes.png"], "L", (10, 10)) == 100).all()
