"""The pictures inside the package: complete, small, free to use, and equal to their originals."""

import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils.data import formats, samples

SAMPLES = Path(str(files("course_utils"))) / "samples"
# SHA-256 of pixels and labels, worked out from the original IDX files by the rule in `samples.fashion_mnist`.
ORIGINAL = {
    "train": "73194a0c06a93deab58b95e00e618cc5c80fb5c9a84df26bbc429eeb3507846a",
    "test": "8e8b02fc2db0ff9ed2d481ff30f8bd7cc5c88205cb131d7f4a0c19448f6957c9",
}


def digest(images, labels):
    return hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()


def original_folders():
    """The places where this machine may have the original files; none of them need exist."""
    places = [Path(__file__).parents[2] / "shared" / "data", Path(os.environ.get("COURSE_DATA_DIR") or "/nowhere")]
    return [place / "FashionMNIST" / "raw" for place in places if (place / "FashionMNIST" / "raw").is_dir()]


def test_all_samples_together_take_under_8_mb_and_the_photographs_under_1_2():
    size = {path: path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()}
    assert sum(size.values()) < 8e6
    assert sum(bytes_ for path, bytes_ in size.items() if path.parent.name == "photographs") < 1.2e6
    assert samples.size_bytes("") == sum(size.values())


@pytest.mark.parametrize(("part", "each"), [("train", 1000), ("test", 200)])
def test_fashion_mnist_sample_is_balanced_and_equals_the_original_byte_for_byte(part, each):
    images, labels = samples.fashion_mnist(part)
    assert images.shape == (10 * each, 1, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [each] * 10
    assert digest(images, labels) == ORIGINAL[part]
    prefix = {"train": "train", "test": "t10k"}[part]
    for raw in original_folders():
        pixels, targets = (next(raw.glob(f"{prefix}-{kind}-*")) for kind in ("images", "labels"))
        pixels, targets = formats.read_idx_pair(pixels, targets, 10)
        kept = np.sort(np.concatenate([np.flatnonzero(targets == k)[:each] for k in range(10)]))
        assert np.array_equal(images, pixels[kept])
        assert np.array_equal(labels, targets[kept])


def test_the_licence_of_fashion_mnist_lies_beside_it():
    text = (SAMPLES / "LICENSE-fashion-mnist").read_text(encoding="utf-8")
    assert "Copyright (c) 2017 Zalando SE" in text
    assert "Permission is hereby granted, free of charge" in text


def test_every_photograph_is_listed_with_author_source_and_a_free_licence():
    listed = json.loads((SAMPLES / "photographs.json").read_text(encoding="utf-8"))
    assert {entry["name"] for entry in listed} == {path.stem for path in (SAMPLES / "photographs").iterdir()}
    notice = (SAMPLES / "LICENSE-photographs").read_text(encoding="utf-8")
    for entry in listed:
        assert entry["licence"].startswith(("CC0", "Public domain"))
        assert entry["author"]
        assert entry["source"]
        assert entry["title"] in notice
        with Image.open(SAMPLES / "photographs" / f"{entry['name']}.jpg") as picture:
            assert picture.mode == "RGB"
            assert list(picture.size) == entry["size"]
            assert max(picture.size) <= 512


def test_photo_crops_have_the_same_number_of_each_class_and_are_the_same_every_time():
    names, parts = samples.photo_crops()
    assert len(names) == 8
    assert parts["train"][0].shape == (3200, 3, 32, 32)
    assert parts["test"][0].shape == (800, 3, 32, 32)
    assert np.bincount(parts["train"][1]).tolist() == [400] * 8
    _, again = samples.photo_crops()
    assert all(np.array_equal(a, b) for part in parts for a, b in zip(parts[part], again[part]))


@pytest.mark.parametrize(("share", "count"), [(0.0001, 1), (0.9999, samples.TRAIN_CROPS - 1)])
def test_photo_crops_leave_neither_training_nor_validation_empty(share, count):
    _, parts = samples.photo_crops(share)
    assert len(parts["validation"][1]) == 8 * count and len(parts["train"][1]) == 8 * (samples.TRAIN_CROPS - count)


@pytest.mark.parametrize("validation", [0, 0.1, 0.3])
def test_photo_crops_of_different_parts_share_no_pixel(monkeypatch, validation):
    cuts = []

    def recording(picture, region, count):
        cuts.append((picture.size, region))
        return crops(picture, region, count)

    crops = samples.crops
    monkeypatch.setattr(samples, "crops", recording)
    samples.photo_crops(validation)
    each = 3 if validation else 2
    assert len(cuts) == 8 * each
    for i in range(0, len(cuts), each):
        seen = np.zeros(cuts[i][0][::-1], int)
        for _, (left, top, right, bottom) in cuts[i : i + each]:
            assert min(right - left, bottom - top) >= samples.SQUARES[1]
            seen[top:bottom, left:right] += 1
        assert seen.max() == 1


def test_larger_parts_of_a_photograph_for_training_come_from_its_left_half_and_for_the_test_from_its_right(
    monkeypatch, tmp_path
):
    halves = Image.new("RGB", (300, 200), "red")
    halves.paste("blue", (150, 0, 300, 200))
    monkeypatch.setattr(samples.picture_files, "photographs", lambda: ("halves",))
    monkeypatch.setattr(samples.picture_files, "photograph", lambda name: halves)
    samples.write_parts(tmp_path)
    for part, channel in (("train", 0), ("test", 2)):
        found = [np.asarray(Image.open(path)) for path in (tmp_path / part / "halves").iterdir()]
        assert len(found) == samples.PARTS[part] and (np.argmax(found, axis=-1) == channel).all()


def test_crops_stay_inside_their_region():
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[10:90, 20:120] = 255  # any crop that reaches outside would be darker
    found = samples.crops(Image.fromarray(pixels), (20, 10, 120, 90), 300)
    assert found.shape == (300, 3, 32, 32)
    assert found.min() == 255


def test_the_labels_file_holds_nothing_but_digits():
    labels = json.loads((SAMPLES / "fashion_mnist_labels.json").read_text())
    assert {part: len(text) for part, text in labels.items()} == {"train": 10_000, "test": 2_000}
    assert set("".join(labels.values())) == set("0123456789")
