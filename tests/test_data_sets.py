"""Splits, statistics and sets: each class alike in every part, nothing in two parts, and what is refused."""

import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from course_utils import data
from course_utils.data import sources, splits
from course_utils.data.sources import Found, Source
from course_utils.errors import DataError


def part(labels, classes=("a", "b", "c"), side=4, channels=3):
    labels = torch.as_tensor(labels)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(labels), channels, side, side), dtype=torch.uint8, generator=generator)
    return data.TensorPart(images, labels, classes, "train", (0.5,) * channels, (0.25,) * channels)


# --- split --------------------------------------------------------------------------------------------------

fractions = st.lists(st.integers(1, 9), min_size=2, max_size=4).map(lambda parts: [p / sum(parts) for p in parts])
labels = st.lists(st.integers(4, 40), min_size=1, max_size=6).flatmap(
    lambda counts: st.permutations([label for label, count in enumerate(counts) for _ in range(count)])
)


@settings(max_examples=60)
@given(labels, fractions, st.integers(0, 2**32))
def test_split_puts_every_picture_in_exactly_one_part_and_each_class_in_proportion(labels, fractions, seed):
    labels = torch.tensor(labels)
    parts = data.split(labels, fractions, seed)
    assert torch.cat(parts).sort().values.tolist() == list(range(len(labels)))
    for indices, fraction in zip(parts, fractions):
        assert torch.equal(indices, indices.sort().values)
        for label in labels.unique():
            n = int((labels == label).sum())
            got = int((labels[indices] == label).sum())
            assert got >= 1
            if n * min(fractions) >= 1:
                assert abs(got - n * fraction) < 1 + 1e-9
    assert all(torch.equal(a, b) for a, b in zip(parts, data.split(labels, fractions, seed)))


def test_split_depends_on_the_seed():
    labels = torch.arange(1000) % 10
    assert not torch.equal(data.split(labels, (0.9, 0.1), 0)[1], data.split(labels, (0.9, 0.1), 1)[1])


@pytest.mark.parametrize("counts", [[6000] * 10, [50, 100, 150], [13, 29, 31, 7], [101, 11]])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_split_has_the_class_counts_of_scikit_learn(counts, share):
    labels = np.repeat(np.arange(len(counts)), counts)
    ours = np.bincount(labels[data.split(labels, (1 - share, share))[1]])
    test_size = round(share * len(labels))
    _, theirs = next(StratifiedShuffleSplit(1, test_size=test_size, random_state=0).split(labels, labels))
    assert np.abs(ours - np.bincount(labels[theirs])).max() <= 1
    if all(count * share == int(count * share) for count in counts):
        assert ours.tolist() == np.bincount(labels[theirs]).tolist()


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.2, -0.2), (1.0, 0.0), (), 0.8, (math.nan, 0.5)])
def test_split_refuses_fractions_that_are_no_shares(fractions):
    with pytest.raises(ValueError, match="must be positive and add up to 1"):
        data.split(torch.zeros(10, dtype=torch.int64), fractions)


def test_split_refuses_no_labels_and_classes_too_small_to_be_in_every_part():
    for shape in ((0,), (4, 1)):
        with pytest.raises(DataError, match=f"labels .N,., a number for each picture, not {re.escape(str(shape))}"):
            data.split(torch.zeros(shape, dtype=torch.int64), (0.5, 0.5))
    with pytest.raises(DataError, match="Class 1 has 1 pictures, too few for 2 parts"):
        data.split([0, 0, 0, 1], (0.5, 0.5))


@given(st.integers(0, 1000), st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_apportion_adds_up_and_rounds_every_share_up_or_down(total, weights):
    counts = splits.apportion(total, weights)
    assert sum(counts) == total
    assert all(abs(count - total * weight / sum(weights)) < 1 + 1e-6 for count, weight in zip(counts, weights))


# --- statistics ---------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_statistics_are_those_of_numpy_in_double_precision(n, channels, side, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), np.uint8)
    mean, std = data.statistics(torch.from_numpy(pixels))
    exact = pixels.astype(np.float64) / 255
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-12)
    wanted = exact.std((0, 2, 3))
    np.testing.assert_allclose(std, np.where(wanted < 1e-12, 1, wanted), rtol=1e-9)


def test_statistics_do_not_depend_on_the_order_of_the_pictures():
    images = part([0] * 9000, side=8).images
    assert data.statistics(images) == data.statistics(images.flip(0))


def test_a_channel_that_never_changes_can_still_be_divided_by():
    assert data.statistics(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8)) == ((1.0,), (1.0,))


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 2, 2), torch.zeros(0, 1, 2, 2, dtype=torch.uint8)])
def test_statistics_refuse_what_they_cannot_count(images):
    with pytest.raises(TypeError, match="Expected some pictures"):
        data.statistics(images)


# --- load ---------------------------------------------------------------------------------------------------


@pytest.fixture
def source(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", tmp_path / "none")


def test_load_sets_aside_a_tenth_of_each_class_for_validation_and_leaves_the_test_part_alone(source):
    one, other = (data.load("fashion_mnist", seed=seed, quiet=True) for seed in (0, 1))
    assert set(one.train.counts().values()) == {900}
    assert set(one.validation.counts().values()) == {100}
    assert torch.equal(one.test.images, other.test.images)
    assert not torch.equal(one.validation.images, other.validation.images)
    assert data.statistics(one.train.images) == (one.train.mean, one.train.std)
    assert one.validation.mean == one.test.mean == one.train.mean
    whole = data.load("fashion_mnist", validation=0, quiet=True)
    assert whole.validation is None
    together = torch.cat([one.train.images, one.validation.images]).flatten(1).double().sum(1).sort().values
    assert torch.equal(together, whole.train.images.flatten(1).double().sum(1).sort().values)


def test_photo_crops_keep_their_own_validation_crops(source):
    one, other = (data.load("photo_crops", seed=seed, quiet=True) for seed in (0, 1))
    assert torch.equal(one.validation.images, other.validation.images)
    assert set(one.validation.counts().values()) == {40}


def test_load_prints_one_line_unless_quiet(source, capsys):
    made = data.load("photo_crops")
    assert " ".join(capsys.readouterr().out.split()) == made.describe()
    assert str(made) == made.describe()
    assert repr(made) == f"<{made}>"
    data.load("photo_crops", quiet=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("share", [-0.1, 1, 5])
def test_load_refuses_a_validation_share_that_is_none(share):
    with pytest.raises(ValueError, match="validation is a share"):
        data.load("photo_crops", validation=share)


def test_a_class_missing_from_a_part_is_refused(monkeypatch):
    images = np.zeros((10, 1, 4, 4), np.uint8)
    full, lacking = np.arange(10) % 3, np.zeros(10, np.int64)
    found = Found(Source("folder", "made up"), ("a", "b", "c"), (images, full), (images, lacking))
    monkeypatch.setattr(sources, "find", lambda *_, **__: found)
    with pytest.raises(DataError, match="The test part of Fashion-MNIST has no picture of the class 'b'"):
        data.load("fashion_mnist", quiet=True)


def test_a_set_of_one_part_describes_itself(source):
    made = data.load("photo_crops", validation=0, quiet=True)
    alone = data.ImageSet("x", "X", made.train, None, None, made.classes, made.source)
    assert alone.describe().startswith("X: 3,200 training pictures of 8 classes, 32×32 crops")


@pytest.mark.processes
def test_data_loads_no_torchvision():
    code = "import sys; from course_utils import data, pictures; data.load, pictures.grid; "
    code += "print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
