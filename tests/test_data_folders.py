"""Folders of pictures: every entry accounted for, each class split in proportion, copies together, bad files named."""

import math
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import time
import unicodedata
import warnings
from collections import OrderedDict

import fuzz_pictures
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from course_utils import data, errors, figures, pictures, transfer
from course_utils.command import ask
from course_utils.data import copies, decoding, samples, sources, splits
from course_utils.errors import DataError

CLASSES = ("cat", "coffee", "raccoon")
TENSOR = v2.Compose([v2.Resize((16, 16)), v2.PILToTensor()])


def little(number, size=(24, 18)):
    """A picture of its own for each number."""
    grid = np.random.default_rng(number).integers(0, 256, (3, 3, 3), np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def fill(root, counts, suffix="png", start=0):
    """Write so many pictures of each class; none is like another."""
    number = start
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            little(number).save(root / name / f"{i:02d}.{suffix}")
            number += 1
    return root


def counts(made):
    return [list(part.counts().values()) for part in made.parts.values()]


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("flat") / "things", dict(zip(CLASSES, (20, 12, 8))))


@pytest.fixture
def parted(tmp_path):
    """Three parts of two classes."""
    for i, (part, count) in enumerate({"train": 3, "val": 1, "test": 2}.items()):
        fill(tmp_path / "pets" / part, {"ants": count, "bees": count}, start=100 * i)
    return tmp_path / "pets"


# --- the split


def test_a_flat_folder_is_split_in_proportion_without_overlap(flat, capsys):
    made = data.folder(flat)
    assert counts(made) == [[10, 6, 4], [5, 3, 2], [5, 3, 2]]
    files = [file for part in made.parts.values() for file in part.files]
    assert len(files) == len(set(files)) == 40 and made.copies == 0
    assert all(
        file.parent.name == part.classes[label]
        for part in made.parts.values()
        for file, label in zip(part.files, part.labels)
    )
    assert " ".join(capsys.readouterr().out.split()) == (
        "things: 20 training, 10 validation and 10 test pictures of 3 classes, from a folder of pictures."
    )


def test_the_split_follows_its_seed(flat):
    first, again, other = (data.folder(flat, seed=seed, quiet=True) for seed in (1, 1, 2))
    assert first.train.files == again.train.files != other.train.files


def test_other_fractions_and_parts_that_are_not_wanted(flat):
    assert counts(data.folder(flat, fractions=(0.8, 0.1, 0.1), quiet=True))[0] == [16, 10, 6]
    made = data.folder(flat, fractions=(0.75, 0, 0.25), seed=np.int64(0), quiet=True)
    assert counts(made) == [[15, 9, 6], [5, 3, 2]] and made.validation is None
    alone = data.folder(flat, fractions=(1, 0, 0), quiet=True)
    assert len(alone.train) == 40 and (alone.validation, alone.test) == (None, None)
    for wrong in ((0.5, 0.5), (0.5, 0.5, 0.5), (0.0, 0.5, 0.5), (1.5, -0.5, 0), 0.8, "abc", ("1", 0, 0)):
        with pytest.raises(ValueError, match="three numbers that add up to 1, the first above 0"):
            data.folder(flat, fractions=wrong)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_hundreds_of_different_shoes_of_the_same_look_keep_their_shares(suffix, tmp_path):
    images, labels = samples.fashion_mnist("train")
    for number, name in {5: "sandal", 7: "sneaker", 9: "ankle boot"}.items():
        (tmp_path / name).mkdir()
        for i, index in enumerate(np.flatnonzero(labels == number)[:100]):
            Image.fromarray(images[index, 0]).save(tmp_path / name / f"{i:03d}.{suffix}")
    made = data.folder(tmp_path, quiet=True)
    assert counts(made) == [[50] * 3, [25] * 3, [25] * 3] and made.copies == 0
    assert not [line for line in made.remarks if "split" in line]


def product(number):
    """A small thing in the middle of a white picture."""
    draw = np.random.default_rng(number)
    thing = Image.fromarray(draw.integers(0, 200, (8, 8, 3), np.uint8)).resize((70, 70), Image.Resampling.BICUBIC)
    white = Image.new("RGB", (224, 224), "white")
    white.paste(thing, tuple(77 + draw.integers(-8, 9, 2)))
    return white


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_product_photographs_on_white_keep_their_shares(suffix, tmp_path):
    for k, name in enumerate(("mugs", "shoes")):
        (tmp_path / name).mkdir()
        for i in range(30):
            product(1000 * k + i).save(tmp_path / name / f"{i:02d}.{suffix}")
    made = data.folder(tmp_path, quiet=True)
    assert counts(made) == [[15, 15], [8, 8], [7, 7]] and made.remarks == ()


def test_one_file_copied_ten_times_lies_in_one_part(tmp_path):
    fill(tmp_path, {"a": 30, "b": 30})
    for i in range(9):
        shutil.copy(tmp_path / "a" / "03.png", tmp_path / "a" / f"copy {i}.png")
    Image.open(tmp_path / "a" / "03.png").save(tmp_path / "a" / "03.bmp")
    for seed in range(5):
        made = data.folder(tmp_path, seed=seed, quiet=True)
        copied = {name for name, part in made.parts.items() for file in part.files if file.name.startswith("copy")}
        assert made.copies == 10 and len(copied) == 1
        assert counts(made) == [[20, 15], [10, 8], [10, 7]]  # of 40 and 30
        assert made.remarks[0].startswith("10 repeated, kept in one part: a/03.png")


def test_a_picture_under_two_labels_tests_nothing_in_a_flat_folder(tmp_path):
    fill(tmp_path, {"a": 8, "b": 1})
    shutil.copy(tmp_path / "b" / "00.png", tmp_path / "a" / "again.png")
    for seed in range(5):
        made = data.folder(tmp_path, seed=seed, quiet=True)
        assert counts(made) == [[5, 1], [2, 0], [2, 0]]
        assert made.remarks[1] == "2 equal under two class names: a/again.png, b/00.png."
    for file in tmp_path.glob("a/0*.png"):
        file.unlink()
    made = data.folder(tmp_path, quiet=True)  # one picture, two names, and nothing else
    assert not any("different pictures" in line for line in made.remarks)
    assert counts(made) == [[1, 1]] and "Too few pictures for validation or test: a, b." in made.remarks


def test_copies_that_make_the_shares_uneven_are_told(tmp_path):
    fill(tmp_path, {"a": 4, "b": 8})
    for i in range(8):
        shutil.copy(tmp_path / "a" / "00.png", tmp_path / "a" / f"copy {i}.png")
    made = data.folder(tmp_path, quiet=True)
    assert "The class 'a' is split 9, 2, 1, because pictures that repeat stay in one part." in made.remarks


def test_a_class_of_copies_alone_has_too_few_different_pictures(tmp_path):
    fill(tmp_path, {"a": 1, "b": 8, "c": 1})
    for i in range(11):
        shutil.copy(tmp_path / "a" / "00.png", tmp_path / "a" / f"copy {i}.png")
    made = data.folder(tmp_path, quiet=True)
    assert "Too few different pictures for validation or test: a." in made.remarks
    assert "Too few pictures for validation or test: c." in made.remarks


def test_a_share_that_is_less_than_a_picture_is_no_matter_of_copies(tmp_path):
    fill(tmp_path, {"a": 4, "b": 40})
    made = data.folder(tmp_path, fractions=(0.8, 0.1, 0.1), quiet=True)
    assert made.copies == 0 and counts(made) == [[2, 32], [1, 4], [1, 4]]
    assert made.remarks == ("The class 'a' is split 2, 1, 1, because each part gets at least one.",)


def test_pictures_that_look_alike_are_named_and_left_where_they_are(tmp_path):
    for k, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for i in range(8):
            little(100 * k + i, (120, 90)).save(tmp_path / name / f"{i}.png")
    little(3, (120, 90)).save(tmp_path / "cat" / "3-again.jpg", quality=70)
    little(3, (120, 90)).resize((60, 45)).save(tmp_path / "cat" / "3-small.png")
    made = data.folder(tmp_path, quiet=True)
    assert made.remarks == ("3 look alike: cat/3-again.jpg, cat/3-small.png, cat/3.png.",)
    assert counts(made) == [[5, 4, 4], [3, 2, 2], [2, 2, 2]] and made.copies == 0


def test_a_class_with_too_few_pictures_for_all_parts_fills_training_then_test(tmp_path):
    fill(tmp_path, {"a": 8, "one": 1, "three": 3, "two": 2, "uno": 1})
    made = data.folder(tmp_path, quiet=True)
    assert counts(made) == [[4, 1, 1, 1, 1], [2, 0, 1, 0, 0], [2, 0, 1, 1, 0]]
    assert made.remarks == (
        "Too few pictures for validation: two.",
        "Too few pictures for validation or test: one, uno.",
    )


def test_with_one_picture_a_class_there_is_nothing_to_test_on(tmp_path):
    fill(tmp_path, {"a": 1, "b": 1})
    made = data.folder(tmp_path, quiet=True)
    assert len(made.train) == 2 and made.remarks == ("Too few pictures for validation or test: a, b.",)
    with pytest.raises(DataError, match="has only training pictures; add pictures, or a folder test"):
        data.held_out(made)


def test_a_thousand_unequal_classes_are_split_in_moments(tmp_path):
    labels = torch.arange(1000).repeat_interleave(torch.arange(1000) % 20 + 1)
    started = time.process_time()
    parts = splits.split_groups(labels, np.arange(len(labels)), (0.5, 0.25, 0.25), 0)
    assert time.process_time() - started < 20  # seconds; quadratic, it took minutes
    assert sorted(torch.cat(parts).tolist()) == list(range(len(labels)))
    of_each = torch.stack([torch.bincount(labels[part], minlength=1000) for part in parts], 1).double()
    many = of_each.sum(1) >= 4
    shares = of_each.sum(1, keepdim=True) * torch.tensor([0.5, 0.25, 0.25])
    assert ((of_each - shares).abs()[many] < 1).all() and (of_each[:, 0] >= 1).all()


ODD_NAMES = ("$5-$10", "A$$", "a b.c", "Äpfel", "猫", "🐶 dogs", "<b>&", "x" * 120)


@pytest.mark.skipif(os.name == "nt", reason="a system that forbids some of these names")
def test_names_of_any_letters_are_classes_and_can_be_printed_and_drawn(tmp_path, capsys):
    fill(tmp_path, dict.fromkeys(ODD_NAMES, 4))
    fill(tmp_path, {os.fsdecode(b"caf\xe9"): 4}, start=90)  # from another system's zip: no UTF-8
    fill(tmp_path, {unicodedata.normalize("NFD", "Öl"): 4}, start=95)  # as macOS writes it
    made = data.folder(tmp_path)
    assert set(made.classes) == {*ODD_NAMES, "caf\\xe9", "Öl"}
    print(made.classes, made.train.counts())
    capsys.readouterr().out.encode("utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.to_png(made.plot_counts().figure)
        shown = pictures.grid([made.train.picture(i) for i in range(10)], made.classes)
        titles = [axes.get_title().replace("\n", "") for axes in shown.axes[:10]]
        assert all(name.startswith(title.rstrip("…")) and title for name, title in zip(made.classes, titles))
        figures.to_png(shown)
    plt.close("all")


# --- parts that are there


def test_a_folder_with_parts_is_taken_as_it_is(parted, capsys):
    made = data.folder(parted)
    assert counts(made) == [[3, 3], [1, 1], [2, 2]]
    assert {file.parent.parent.name for file in made.validation.files} == {"val"}
    assert str(made) == "pets: 6 training, 2 validation and 4 test pictures of 2 classes, from a folder of pictures."
    assert " ".join(capsys.readouterr().out.split()) == str(made)


@pytest.mark.parametrize(
    "names",
    [
        *("Train/Valid/TEST", "training/validation/testing", "TRAIN/Dev/test", "training_set/Val Set/test-set"),
        *("seg_train/seg_val/seg_test", "Training Data/evaluation images/Holdout", "trainset/VALSET/tst"),
    ],
)
def test_parts_have_many_names_in_any_case(parted, names):
    for old, new in zip(("train", "val", "test"), names.split("/")):
        (parted / old).rename(parted / f"{new}-")
        (parted / f"{new}-").rename(parted / new)
    assert counts(data.folder(parted, quiet=True)) == [[3, 3], [1, 1], [2, 2]]


def test_a_class_may_be_called_like_a_part(tmp_path):
    fill(tmp_path, {"train": 4, "tram": 4, "test": 4})
    assert data.folder(tmp_path, quiet=True).classes == ("test", "train", "tram")


@pytest.mark.parametrize("test", ["test", "Testing", "test/unknown"])
def test_a_test_folder_without_classes_is_kept_aside_for_asking(parted, test, capsys):
    shutil.rmtree(parted / "test")
    fill(parted, {test: 3})
    (parted / test / "notes.txt").write_text("no picture")
    made = data.folder(parted)
    assert made.test is None and [path.name for path in made.unlabelled] == ["00.png", "01.png", "02.png"]
    said = f"3 without a label, kept aside: {test}/00.png, {test}/01.png, {test}/02.png."
    assert made.remarks == (said, f"1 not used: {test}/notes.txt (is not a picture).")
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("names", ["latest contest", "trains rain", "device valve", "images photos", "1 2"])
def test_other_names_are_no_parts_and_the_same_folders_in_every_class_are_told(tmp_path, names):
    for start, name in enumerate(names.split()):
        fill(tmp_path / name, {"cats": 4, "dogs": 4}, start=50 * start)
    made = data.folder(tmp_path, quiet=True)
    assert made.classes == tuple(sorted(names.split()))
    said = "Every class holds the folders cats, dogs; if these are the classes, name those above them train and test."
    assert made.remarks == (said,)
    shutil.rmtree(tmp_path / names.split()[0] / "dogs")
    assert data.folder(tmp_path, quiet=True).remarks == ()


def test_folders_that_may_be_the_classes_of_their_own_are_told(tmp_path):
    fill(tmp_path, {"animals/cats": 4, "animals/dogs": 4, "plants/roses": 4, "plants/tulips": 4})
    names = "cats, dogs, roses and 1 more"
    said = f"The classes hold folders, {names}; if these are the classes, put them all into one folder."
    assert data.folder(tmp_path, quiet=True).remarks == (said,)
    little(99).save(tmp_path / "animals" / "00.png")
    assert data.folder(tmp_path, quiet=True).remarks == ()


@pytest.mark.parametrize("folders", [(), ("train",), ("train", "test")])
@pytest.mark.parametrize(
    ("file", "words"), [("labels.csv", "labels in labels.csv are not read"), ("a.zip", "a.zip must be unpacked first")]
)
def test_labels_in_a_table_and_archives_are_named_where_folders_lack(folders, file, words, tmp_path):
    fill(tmp_path, dict.fromkeys(folders, 3))
    (tmp_path / file).write_text("00.png,cat")
    with pytest.raises(DataError, match=words):
        data.folder(tmp_path, quiet=True)


def test_a_test_folder_beside_classes_is_no_class(tmp_path):
    fill(tmp_path, {"cats": 4, "dogs": 4, "test": 3})
    made = data.folder(tmp_path, quiet=True)
    assert made.classes == ("cats", "dogs") and len(made.unlabelled) == 3


def test_parts_without_classes_are_refused(tmp_path):
    fill(tmp_path, {"train": 3, "test": 3})
    with pytest.raises(DataError, match=r"holds test and train, but no class folders in them; expected train/<class>"):
        data.folder(tmp_path, quiet=True)


def test_a_class_that_a_part_lacks_is_told_and_counts_nothing(parted):
    shutil.rmtree(parted / "test" / "bees")
    shutil.rmtree(parted / "val" / "ants")
    (parted / "val" / "ants").mkdir()
    made = data.folder(parted, quiet=True)
    assert counts(made) == [[3, 3], [0, 1], [2, 0]]
    assert made.remarks == ("No validation picture of ants.", "No test picture of bees.")


def test_parts_of_two_systems_mean_the_same_class_by_one_name(tmp_path):
    fill(tmp_path / "train", {"Öl": 3, "Cats": 3})
    fill(tmp_path / "test", {unicodedata.normalize("NFD", "Öl"): 2, "cats": 2}, start=50)
    made = data.folder(tmp_path, quiet=True)
    assert made.classes == ("Cats", "Öl") and counts(made) == [[3, 3], [2, 2]]


def test_one_part_alone_says_that_others_lie_beside_it(parted):
    made = data.folder(parted / "train", quiet=True)
    assert made.remarks == ("Not used: test and val beside it; give the folder above to use all parts.",)


def test_pictures_in_two_parts_or_under_two_names_are_told(parted):
    shutil.copy(parted / "train" / "ants" / "00.png", parted / "test" / "ants" / "again.png")
    shutil.copy(parted / "train" / "bees" / "01.png", parted / "train" / "ants" / "bee.png")
    made = data.folder(parted, quiet=True)
    assert made.copies == 2
    assert made.remarks == (
        "1 outside training are in training too: test/ants/again.png.",
        "2 equal under two class names: train/ants/bee.png, train/bees/01.png.",
    )


def test_copies_in_validation_and_test_are_told(parted):
    shutil.copy(parted / "val" / "ants" / "00.png", parted / "test" / "ants" / "again.png")
    assert data.folder(parted, quiet=True).remarks == ("1 in test are in validation too: test/ants/again.png.",)


@pytest.mark.skipif(os.name == "nt", reason="a system that forbids such names")
def test_order_and_split_are_the_same_however_a_system_writes_letters_with_marks(tmp_path):
    found = []
    for form in ("NFC", "NFD"):
        names = {unicodedata.normalize(form, name): 6 for name in ("Äpfel", "Birnen", "Zebras")}
        root = fill(tmp_path / form, names)
        for i, name in enumerate(("a", "ä", "b", "z")):
            little(100 + i).save(root / "Birnen" / f"{unicodedata.normalize(form, name)}.png")
        made = data.folder(root, quiet=True)
        split = [[errors.readable(file.name) for file in part.files] for part in made.parts.values()]
        found.append((made.classes, split))
    assert found[0] == found[1]


def test_the_order_is_that_of_torchvisions_image_folder(parted):
    made, theirs = data.folder(parted, quiet=True), ImageFolder(str(parted / "train"))
    assert [(str(file), int(label)) for file, label in zip(made.train.files, made.train.labels)] == theirs.samples
    assert list(made.classes) == theirs.classes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: [path.unlink() for path in (root / "train" / "bees").iterdir()], "'bees' .* holds no pictures"),
        (lambda root: (root / "test" / "bees").rename(root / "test" / "wasps"), "'wasps', which training lacks"),
        (lambda root: (root / "val" / "bees").rename(root / "val" / "wasps"), r"pets.val holds the class 'wasps'"),
        (
            lambda root: shutil.copytree(root / "test" / "ants", root / "test" / "wasps"),
            "'wasps', which training lacks",
        ),
        (lambda root: (root / "train").rename(root / "learning"), "no folder train beside test and val"),
        (lambda root: shutil.copytree(root / "val", root / "valid"), "two validation parts, val and valid; keep one"),
        (lambda root: root.rename(root.parent / "moved"), "There is no folder"),
        (
            lambda root: [shutil.rmtree(bees) for bees in root.glob("*/bees")],
            "one class only, 'ants', and a classifier chooses between two or more; add a folder",
        ),
    ],
)
def test_a_folder_that_is_no_set_is_refused_clearly(parted, change, words):
    change(parted)
    with pytest.raises(DataError, match=words):
        data.folder(parted, quiet=True)


def test_a_folder_too_high_asks_whether_the_next_one_is_meant(tmp_path, parted):
    with pytest.raises(DataError, match=rf"one folder only, 'pets'; did you mean {parted}\?"):
        data.folder(tmp_path)


def test_a_folder_many_floors_too_high_says_which_is_meant(tmp_path):
    fill(tmp_path / "download" / "archive" / "pets", {"cats": 3, "dogs": 3})
    with pytest.raises(DataError, match=rf"'download'; did you mean {tmp_path / 'download' / 'archive' / 'pets'}\?"):
        data.folder(tmp_path)


def test_a_folder_too_low_says_which_is_meant(parted):
    says = f"holds no class folders, but . loose pictures; put .* own, or name {parted / 'train'} if its folders are"
    with pytest.raises(DataError, match=says):
        data.folder(parted / "train" / "ants", quiet=True)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("pets", r"There is no folder pets in {here}; check its name, or give its full path"),
        ("rabits", r"There is no folder rabits in {here}; did you mean {here}/rabbits\?"),
        ("RABBIT/old", r"There is no folder RABBIT/old in {here}; did you mean {here}/rabbits\?"),
        ("pets.zip", r"pets.zip in {here} is a file, not a folder; if it is an archive, unpack it first"),
        ("~nobody-of-this-name/x", r"no usable folder \(nobody here has the home folder"),
        ("x" * 300, "no usable folder"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="other paths")
def test_a_folder_that_is_not_there_is_missed_with_a_suggestion(tmp_path, monkeypatch, named, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rabbits").mkdir()
    (tmp_path / "pets.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=words.format(here=tmp_path)):
        data.folder(named)


def test_a_folder_may_be_named_from_home(flat, monkeypatch):
    monkeypatch.setenv("HOME", str(flat.parent))
    monkeypatch.setenv("USERPROFILE", str(flat.parent))
    assert data.folder(f"~/{flat.name}", quiet=True).source.path == flat


# --- what is not used


def test_unused_folders_come_in_alphabetical_order(parted):
    fill(parted, dict.fromkeys("febdca", 1))
    assert list(data.folder(parted, quiet=True).skipped) == ["a/", "b/", "c/", "d/", "e/", "f/"]


def test_unused_folders_are_counted_as_folders(parted):
    fill(parted, {"extra": 5})
    remark = data.folder(parted, quiet=True).remarks[-1]
    assert remark == "1 folder not used: extra/ (is neither train, val nor test)."
    (parted / "notes.txt").write_text("no picture")
    fill(parted, {"more": 5})
    assert data.folder(parted, quiet=True).remarks[-1].startswith("1 and 2 folders not used: notes.txt (")


@pytest.mark.skipif(os.name == "nt", reason="a system that forbids such names")
def test_two_files_whose_names_look_the_same_are_two(tmp_path):
    fill(tmp_path, {"cats": 4, "dogs": 4})
    names = [unicodedata.normalize(form, "ä") for form in ("NFC", "NFD")]
    for name in names:
        (tmp_path / "cats" / f"{name}.txt").write_text("no picture")
        (tmp_path / "dogs" / f"{name}.png").write_text("no picture")
    if len(list((tmp_path / "cats").glob("*.txt"))) < 2:
        pytest.skip("a disk where the two are one")
    with pytest.raises(DataError, match=r"2 of 10 pictures in .* cannot be read: dogs/ä\.png, dogs/ä\.png \("):
        data.folder(tmp_path, quiet=True)
    made = data.folder(tmp_path, unreadable="skip", quiet=True)
    assert made.remarks[-1] == "4 not used: cats/ä.txt, cats/ä.txt, dogs/ä.png and 1 more (is not a picture)."
    twice = {
        rf"{place}/{name}.{end}" for place, end in (("cats", "txt"), ("dogs", "png")) for name in (r"\xe4", r"a\u0308")
    }
    assert set(made.skipped) == twice


def test_pictures_that_cannot_be_read_are_counted_in_all_parts(parted):
    for part in ("train", "val", "test"):
        (parted / part / "ants" / "00.png").write_text("no picture")
    with pytest.raises(DataError, match=r"3 of 12 pictures in pets cannot be read: train/ants/00\.png, val/ants/00"):
        data.folder(parted, quiet=True)


def test_debris_is_passed_over_and_everything_else_is_named_with_its_reason(tmp_path):
    fill(tmp_path, {"cats": 4, "dogs": 4})
    for name in (".DS_Store", "Thumbs.db", "cats/._00.png", "cats/desktop.ini", "__MACOSX/cats/._00.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    fill(tmp_path / "cats", {".ipynb_checkpoints": 1})
    for name in ("clip.MOV", "shot.cr2", "scan.pdf", "notes.txt", "logo.svg", "more.zip", "plain"):
        (tmp_path / "dogs" / name).write_text("no picture")
    little(1).save(tmp_path / "loose.png")
    made = data.folder(tmp_path, quiet=True)
    assert counts(made) == [[2, 2], [1, 1], [1, 1]] and made.classes == ("cats", "dogs")
    assert made.skipped == {
        "loose.png": "lies in no class folder",
        "dogs/clip.MOV": "is a movie: save single frames of it as JPEG",
        "dogs/logo.svg": "is in a format that is not read here: save it as JPEG or PNG",
        "dogs/more.zip": "is an archive: unpack it first",
        "dogs/notes.txt": "is not a picture",
        "dogs/plain": "has no ending, such as .jpg",
        "dogs/scan.pdf": "is a document: save its pictures as JPEG",
        "dogs/shot.cr2": "is a camera's raw file: export it as JPEG",
    }
    assert made.remarks[-1].startswith("8 not used: loose.png (lies in no class folder); dogs/clip.MOV (is a movie")


@pytest.fixture
def no_heic(monkeypatch):
    """As where pillow-heif is not installed."""
    monkeypatch.setattr(pictures.files, "HEIC", False)
    without = tuple(suffix for suffix in pictures.files.SUFFIXES if suffix not in pictures.files.HEIC_SUFFIXES)
    monkeypatch.setattr(pictures.files, "SUFFIXES", without)


def test_without_the_library_heic_is_named_with_what_to_do(tmp_path, no_heic):
    fill(tmp_path, {"cats": 4, "dogs": 4})
    for i in range(5):
        (tmp_path / "cats" / f"IMG_{i}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "dogs" / "renamed.jpg").write_bytes(b"\0\0\0\x18ftypheic")
    made = data.own_pictures(tmp_path, quiet=True)
    assert counts(made) == [[2, 2], [1, 1], [1, 1]]
    assert made.remarks[-1] == (
        "6 not used: cats/IMG_0.HEIC, cats/IMG_1.HEIC, cats/IMG_2.HEIC and 3 more (is in Apple's format HEIC: `pip "
        "install pillow-heif` lets the course read it, or save it as JPEG)."
    )
    for file in (tmp_path / "dogs").glob("0*.png"):
        file.unlink()
    (tmp_path / "dogs" / "renamed.jpg").rename(tmp_path / "dogs" / "IMG.heic")
    with pytest.raises(
        DataError, match=r"'dogs' .* holds no pictures that can be read \(dogs/IMG.heic \(.*pip install"
    ):
        data.folder(tmp_path, unreadable="skip")


def test_with_the_library_heic_is_read_upright_whatever_its_name(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    fill(tmp_path, {"cats": 3, "dogs": 4})
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    marked = little(7, (64, 48))
    marked.paste("red", (0, 0, 16, 12))
    for name in ("cats/IMG_1.HEIC", "cats/renamed.jpg"):
        marked.save(tmp_path / name, "HEIF", quality=95, exif=exif.tobytes())
        marked = marked.transpose(Image.Transpose.ROTATE_180) if "1" in name else marked
    made = data.folder(tmp_path, quiet=True)
    parts = made.parts.values()
    sizes = {file.name: size for part in parts for file, size in zip(part.files, part.sizes)}
    assert sizes["IMG_1.HEIC"] == sizes["renamed.jpg"] == (48, 64) and not made.skipped
    red = np.asarray(pictures.open_picture(tmp_path / "cats" / "IMG_1.HEIC").crop((38, 2, 46, 14))).mean((0, 1))
    assert red[0] > 200 and red[1] < 60  # top left has come to lie top right
    whole = (tmp_path / "cats" / "IMG_1.HEIC").read_bytes()
    assert pictures.open_upload(pictures.Upload("x.heic", whole)).size == (48, 64)
    (tmp_path / "dogs" / "cut.heic").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"dogs/cut.heic \(is damaged"):
        data.folder(tmp_path, quiet=True)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_round_in_circles_and_into_nothing_are_named_wherever_they_lie(tmp_path):
    fill(tmp_path, {"cats": 4, "dogs": 4})
    for name, target in {"up": "..", "here": ".", "self": "self", "cats/a.jpg": "a.jpg", "gone": "nowhere"}.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "linked").symlink_to(fill(tmp_path.with_name("elsewhere"), {"birds": 4}, start=90) / "birds")
    made = data.folder(tmp_path, quiet=True)
    assert made.classes == ("cats", "dogs", "linked")
    circles, nothing = "is a link that leads round in circles", "is a link that leads nowhere"
    wanted = {"up": circles, "here": circles, "self": nothing, "cats/a.jpg": nothing, "gone": nothing}
    assert made.skipped == wanted
    shutil.rmtree(tmp_path / "dogs")
    for name in ("cats", "linked"):
        (tmp_path / name).rename(tmp_path.with_name(name))
    with pytest.raises(DataError, match="holds no class folders"):  # nothing but circles
        data.folder(tmp_path, quiet=True)
    found, others = ask.find([tmp_path.with_name("cats")])
    assert len(found) == 5 and others == []


@pytest.mark.skipif(os.name == "nt", reason="a system with shorter paths")
def test_folders_far_too_deep_are_named_and_end_nothing(tmp_path):
    fill(tmp_path, {"cats": 4, "dogs": 4})
    place = os.open(tmp_path / "cats", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=place)
        place, above = os.open("d", os.O_RDONLY, dir_fd=place), place
        os.close(above)
    os.close(place)
    made = data.folder(tmp_path, quiet=True)
    assert list(made.skipped.values()) == ["has folders more than 40 deep"] and len(made.train) == 4
    found, others = ask.find([tmp_path])
    assert len(found) == 8 and len(others) == 1
    subprocess.run(["rm", "-rf", str(tmp_path / "cats")], check=True)  # deeper than shutil.rmtree goes


def test_folders_called_like_pictures_are_folders(tmp_path):
    fill(tmp_path, {"a.jpg": 4, "b.png": 4, "b.png/c.jpg": 2})
    made = data.folder(tmp_path, quiet=True)
    assert made.classes == ("a.jpg", "b.png") and sum(map(len, made.parts.values())) == 10 and not made.skipped


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not hold here")
def test_what_may_not_be_read_is_named(tmp_path):
    fill(tmp_path, {"cats": 5, "dogs": 5})
    (tmp_path / "cats" / "00.png").chmod(0)
    made = data.folder(tmp_path, unreadable="skip", quiet=True)
    assert made.skipped == {"cats/00.png": "cannot be read (Permission denied)"}


@pytest.mark.parametrize("locked", ["dogs/old", "dogs"])
def test_a_folder_that_may_not_be_opened_is_named(locked, tmp_path, monkeypatch):
    def scandir(folder, opened=os.scandir):
        if str(folder).endswith(locked):
            raise PermissionError(13, "Permission denied")
        return opened(folder)

    fill(tmp_path, {"cats": 5, "dogs": 5, "dogs/old": 2})
    monkeypatch.setattr("os.scandir", scandir)
    if locked == "dogs":
        with pytest.raises(DataError, match=r"'dogs' .* holds no pictures .*dogs/ \(cannot be read\)"):
            data.folder(tmp_path, unreadable="skip", quiet=True)
        return
    with pytest.raises(DataError, match=r"dogs/old/ \(cannot be read\); check its permissions, or skip it"):
        data.folder(tmp_path, quiet=True)
    made = data.folder(tmp_path, unreadable="skip", quiet=True)
    assert made.skipped == {"dogs/old/": "cannot be read (Permission denied)"}
    assert sum(map(len, made.parts.values())) == 10 and "dogs/old/ (cannot be read)" in made.describe()


@pytest.mark.skipif(os.name == "nt", reason="a system that forbids such names")
def test_names_that_are_no_text_or_end_a_line_are_shown_on_one_line(tmp_path, capsys):
    root = tmp_path / os.fsdecode(b"\xe9t\xe9")
    fill(root, {"cats": 4, "do\ngs": 4})
    (root / "cats" / "no\nte.txt").write_text("no picture")
    (root / "cats" / os.fsdecode(b"\xff.jpg")).write_bytes(b"no picture")
    made = data.folder(root, unreadable="skip")
    assert made.classes == ("cats", "do\\ngs")
    assert made.skipped == {"cats/no\\nte.txt": "is not a picture", "cats/\\xff.jpg": made.skipped["cats/\\xff.jpg"]}
    assert "\\xe9t\\xe9: 4 training" in capsys.readouterr().out.encode().decode()
    for wrong in (root / "cats", root / "cats" / "00.png", root / "\udcff", tmp_path):
        with pytest.raises(DataError) as error:
            data.folder(wrong)
        assert "\n" not in str(error.value) and str(error.value).encode()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_pipes_and_links_to_folders_are_named_and_never_opened(tmp_path):
    fill(tmp_path, {"cats": 4, "dogs": 4})
    os.mkfifo(tmp_path / "cats" / "pipe.jpg")
    (tmp_path / "dogs" / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dogs" / "aside").symlink_to(tmp_path / "cats", target_is_directory=True)
    (tmp_path / "dogs" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    made = data.folder(tmp_path, quiet=True)
    assert sorted(made.skipped) == ["cats/pipe.jpg", "dogs/aside/", "dogs/gone.png", "dogs/round"]


def test_every_suffix_that_is_listed_is_read(tmp_path):
    if pictures.files.HEIC:
        pictures.files._load_heif()
    forms = dict.fromkeys((".heic", ".heif", ".hif"), "HEIF")
    forms |= {".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".pgm": "PPM"}
    forms |= {".jpe": "JPEG", ".dib": "BMP", ".pbm": "PPM", ".pnm": "PPM", ".apng": "PNG"}
    for k, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i, suffix in enumerate(pictures.files.SUFFIXES):
            little(50 * k + i).save(tmp_path / name / f"x{suffix.upper()}", forms.get(suffix, suffix[1:].upper()))
    made = data.folder(tmp_path, quiet=True)
    assert sum(map(len, made.parts.values())) == 2 * len(pictures.files.SUFFIXES) and not made.skipped


@pytest.fixture
def spoiled(tmp_path):
    fill(tmp_path / "set", {"a": 4, "b": 4}, "jpg")
    whole = (tmp_path / "set" / "a" / "00.jpg").read_bytes()
    (tmp_path / "set" / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "set" / "b" / "text.png").write_text("<html>no picture</html>")
    return tmp_path / "set"


@pytest.mark.parametrize("size", [None, (8, 8)])
def test_pictures_that_cannot_be_read_are_refused_by_name_or_left_out_and_named(spoiled, size, capsys):
    with pytest.raises(DataError, match=r"1 of 10 pictures|2 of 10 pictures in set cannot be read: a/cut\.jpg"):
        data.folder(spoiled, size=size)
    made = data.folder(spoiled, size=size, unreadable="skip")
    assert sum(map(len, made.parts.values())) == 8
    assert "2 not used: a/cut.jpg (is damaged); b/text.png (is not a picture)" in capsys.readouterr().out
    assert made.skipped["a/cut.jpg"].startswith("is damaged (")


def test_a_class_without_a_readable_picture_is_named(spoiled):
    for file in (spoiled / "b").glob("*.jpg"):
        file.unlink()
    with pytest.raises(DataError, match=r"No picture of the class 'b' in set can be read: b/text.png"):
        data.folder(spoiled, unreadable="skip")


def test_odd_pictures_are_read_and_monsters_are_refused(tmp_path):
    fill(tmp_path, {"odd": 1, "plain": 6})
    noise = np.random.default_rng(0)
    frames = [Image.fromarray(noise.integers(0, 256, (40, 50, 3), np.uint8)) for _ in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1, 1), "red").save(tmp_path / "odd" / "pixel.png")
    frames[1].save(tmp_path / "odd" / "turned.jpg", exif=exif)
    frames[0].save(tmp_path / "odd" / "moving.webp", save_all=True, append_images=frames[1:])
    made = data.folder(tmp_path, quiet=True)
    sizes = {file.name: size for part in made.parts.values() for file, size in zip(part.files, part.sizes)}
    assert sizes["turned.jpg"] == (40, 50) and sizes["pixel.png"] == (1, 1) and sizes["moving.webp"] == (50, 40)
    Image.new("1", (10_000, 10_000)).save(tmp_path / "plain" / "monster.png")  # a few kB, 100 megapixels
    with pytest.raises(DataError, match=r"cannot be read: plain/monster\.png \(has 10,000 × 10,000 pixels, more than"):
        data.folder(tmp_path, quiet=True)


# --- one decoder for all doors


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Pictures that readers differ on, of two classes: the same sorts of file with other pixels."""
    root = tmp_path_factory.mktemp("zoo") / "own"
    for seed, name in enumerate(("a", "b")):
        (root / name).mkdir(parents=True)
        for file, content in fuzz_pictures.zoo(seed).items():
            (root / name / file).write_bytes(content)
    return root


@pytest.mark.filterwarnings("error")
def test_a_picture_has_the_same_pixels_through_every_door(zoo, tmp_path, capfd):
    as_files = data.folder(zoo, fractions=(1, 0, 0)).train
    as_tensors = data.folder(zoo, size=(48, 48), fractions=(1, 0, 0), quiet=True).train
    assert len(as_files) == 2 * len(fuzz_pictures.zoo())
    middle = v2.Compose([v2.CenterCrop(48), v2.PILToTensor()])
    count = len(as_files)
    in_order = data.loader(as_files, count, transform=middle)
    ((batch, _),) = in_order
    ((resized, _),) = data.loader(as_files, count, transform=v2.Compose([v2.Resize(48), *middle.transforms]))
    layers = OrderedDict(small=nn.AdaptiveAvgPool2d(12), flat=nn.Flatten(), fc=nn.Linear(3 * 144, 2))
    view = transfer.Preprocess(resize=48, crop=48, mean=(0.5,) * 3, std=(0.5,) * 3)
    net = transfer.Network("small", nn.Sequential(layers).eval(), "fc", ("a", "b"), view, "made here")
    features = transfer.cached_features(net, as_files, cache=tmp_path, progress=False).values
    found, _ = ask.find([zoo])
    answers = {answer.asked.path: answer for answer in ask.answers(net, found, 2)}
    for i, (file, size) in enumerate(zip(as_files.files, as_files.sizes)):
        alone = pictures.open_picture(file)
        upload = pictures.open_upload(pictures.Upload(file.name, file.read_bytes()))
        assert alone.tobytes() == upload.tobytes() == as_files.picture(i).tobytes(), file.name
        assert alone.size == size == fuzz_pictures.SIZE, file.name
        expected = middle(alone)
        for images in (as_tensors.images, batch, resized, [pair[0] for pair in [in_order.dataset[i]] * (i + 1)]):
            assert torch.equal(images[i], expected), file.name
        assert torch.equal(features[i], net.features(view(alone)[None])[0]), file.name
        assert answers[file].guesses == tuple(net.predict(alone, 2)) == tuple(net.predict(file, 2)), file.name
    assert "Warning" not in capfd.readouterr().err


def test_the_pixels_are_those_that_were_stored_the_right_way_up(zoo):
    seen = {file.name: np.asarray(pictures.open_picture(file)).astype(int) for file in (zoo / "a").iterdir()}
    plain, white = seen["plain.png"], seen["clear.png"][:, 0]
    for name, pixels in seen.items():
        if name.startswith("turned"):
            exact = name.endswith(("png", "tif"))
            assert np.abs(pixels - plain).mean() < (1e-9 if exact else 12), name
        if name.startswith(("tag", "no tags")):
            assert np.array_equal(pixels, seen["plain.jpg"]), name
        if name.startswith("grey16"):  # not cut off at 255
            assert np.array_equal(pixels, seen["grey.png"]), name
        if name.startswith("moving") or name in ("two.tif", "raw.tif", "plain.ppm", "plain.bmp", "really a png.jpg"):
            assert np.abs(pixels - plain).mean() < (25 if name.endswith("gif") else 6), name  # the first frame
    assert (white == 255).all()  # where it is transparent
    assert np.array_equal(seen["clear.png"], seen["clear.webp"]) and np.array_equal(
        seen["clear.png"], seen["clear.tif"]
    )


@pytest.mark.filterwarnings("error")
def test_what_is_no_whole_picture_is_named_with_a_reason_by_every_door(tmp_path, capfd):
    for name, (content, why) in fuzz_pictures.refused().items():
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(f"{file} {why}")) as error:
            pictures.open_picture(file)
        said = str(error.value)
        assert said.endswith(".") and "\n" not in said and len(said) < 400
        (look,) = copies.look([file])
        assert look.why and why in look.why, name
        (answer,) = ask.answers(None, [ask.Asked(name, file, True)], 1)
        assert answer.error == said.replace(str(file), name)
        with pytest.raises(DataError, match=re.escape(name)):
            pictures.open_upload(pictures.Upload(name, content))
    assert capfd.readouterr() == ("", "")


def test_damaged_files_give_a_picture_or_one_sentence_and_nothing_else():
    ends, problems = fuzz_pictures.fuzz(800, seed=2)
    assert not problems and set(ends) == {"picture", "DataError"}


# --- as tensors, and one after another


def test_with_a_size_a_folder_becomes_tensors(parted):
    made = data.folder(parted, size=(16, 24), quiet=True)
    assert made.train.images.shape == (6, 3, 16, 24) and counts(made) == [[3, 3], [1, 1], [2, 2]]
    assert (made.test.mean, made.test.std) == data.statistics(made.train.images)
    images, _ = next(iter(data.batches(made.train, 6)))
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


def test_pictures_that_would_not_fit_in_memory_are_refused_before_they_are_read(parted):
    with pytest.raises(DataError, match=r"12 pictures of 20000×20000 would take 14\.4 GB"):
        data.folder(parted, size=(20_000, 20_000), quiet=True)


def test_wrong_arguments_are_refused(parted):
    with pytest.raises(ValueError, match="unreadable must be one of refuse, skip"):
        data.folder(parted, unreadable="ignore")
    for size in (32, (0, 5), (5,), "ab", (32, None)):
        with pytest.raises(ValueError, match=r"size must be \(height, width\) in pixels"):
            data.folder(parted, size=size)
    for seed in (None, "0", 0.5, 2**70):
        with pytest.raises(ValueError, match="seed must be a whole number, such as 0, not "):
            data.folder(parted, seed=seed)
    for fractions in (None, (math.nan, 0.5, 0.5), (0.5, math.nan, 0.5)):
        with pytest.raises(ValueError, match="three numbers that add up to 1"):
            data.folder(parted, fractions=fractions)
    part = data.folder(parted, quiet=True).train
    with pytest.raises(TypeError, match=r"batches takes pictures in memory, .* use data.loader"):
        data.batches(part)
    whole = data.folder(parted, quiet=True)
    for make in (data.batches, lambda given: data.loader(given, transform=str)):
        with pytest.raises(TypeError, match=r"takes one part of a set, not the whole set 'pets'; give it \.train, say"):
            make(whole)
    with pytest.raises(TypeError, match=r"loader takes picture files, .* use data.batches"):
        data.loader(data.folder(parted, size=(8, 8), quiet=True).train, transform=str)


def test_the_loader_gives_batches_of_transformed_pictures_and_shuffles_by_its_seed(parted):
    train = data.folder(parted, quiet=True).train
    images, labels = next(iter(data.loader(train, 6, transform=TENSOR)))
    assert images.shape == (6, 3, 16, 16) and labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(images[2], TENSOR(train.picture(2)))

    def order(seed):
        return torch.cat([images for images, _ in data.loader(train, 2, transform=TENSOR, shuffle=True, seed=seed)])

    assert torch.equal(order(0), order(0)) and not torch.equal(order(0), order(1))


def brightness(picture):
    return torch.tensor(float(np.asarray(picture).mean()))


def test_the_loaders_pictures_can_be_sent_to_workers(parted):
    train = data.folder(parted, quiet=True).train
    here, there = (data.loader(train, 6, transform=brightness, workers=workers) for workers in (0, 1))
    dataset = pickle.loads(pickle.dumps(here.dataset))  # as workers that are spawned get it
    assert len(dataset) == 6 and dataset[5] == here.dataset[5]
    for method in multiprocessing.get_all_start_methods():
        there.multiprocessing_context = method
        assert torch.equal(next(iter(here))[0], next(iter(there))[0])


# --- the lesson's pictures


def test_the_lessons_pictures_are_a_stand_in_that_says_so_where_nothing_else_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "empty"))
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    made = data.own_pictures()
    assert "a stand-in: parts of the course's own photographs" in " ".join(capsys.readouterr().out.split())
    assert made.classes == pictures.photographs() and made.source.stand_in and made.source.shareable
    assert set(made.train.counts().values()) == {40} and set(data.held_out(made).counts().values()) == {20}
    assert made.train.pixels == "224 × 224 pixels each" and (made.remarks, made.copies) == ((), 0)
    again = data.own_pictures(quiet=True)
    assert again.train.files == made.train.files and len(list((tmp_path / "cache").iterdir())) == 1


def test_the_stand_in_finds_another_place_where_the_cache_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "PARTS", {"train": 1, "test": 1})
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(samples.tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    assert samples.photo_parts(tmp_path / "file").parent == tmp_path / "elsewhere"
    monkeypatch.setattr(samples.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written to"):
        samples.photo_parts(tmp_path / "file")


def test_ants_and_bees_are_taken_where_they_are_and_may_not_be_passed_on(flat, tmp_path, monkeypatch):
    for i, part in enumerate(("train", "val")):
        fill(tmp_path / "hymenoptera_data" / part, {"ants": 1, "bees": 1}, start=10 * i)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    made = data.own_pictures(quiet=True)
    assert made.classes == ("ants", "bees") and not made.source.shareable and not made.source.stand_in
    assert data.held_out(made) is made.validation
    own = data.own_pictures(str(flat), quiet=True)
    assert own.classes == tuple(CLASSES) and data.held_out(own) is own.test and not own.source.shareable


def test_all_of_a_readers_own_pictures_are_used(flat, capsys):
    made = data.own_pictures(flat)
    assert counts(made) == [[10, 6, 4], [5, 3, 2], [5, 3, 2]] and capsys.readouterr().out.split() == str(made).split()


def test_a_folder_with_only_training_pictures_cannot_be_reported_on(flat, tmp_path):
    (tmp_path / "train").symlink_to(flat)
    with pytest.raises(DataError, match="has only training pictures; add pictures, or a folder test"):
        data.held_out(data.folder(tmp_path, quiet=True))


# --- decoded once


def test_decoding_works_without_a_cache_that_can_be_written(tmp_path):
    Image.fromarray(np.ones((4, 4, 3), np.uint8)).save(tmp_path / "0.png")
    (tmp_path / "blocked").write_text("in the way")
    images = decoding.decode_once([tmp_path / "0.png"], "RGB", tmp_path / "blocked", "x")
    assert (images == 1).all()
    cache = tmp_path / "cache"
    decoding.decode_once([tmp_path / "0.png"], "RGB", cache, "x")
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])  # a damaged cache is made again
    assert np.array_equal(images, decoding.decode_once([tmp_path / "0.png"], "RGB", cache, "x"))
