"""IDX and CIFAR-10 files: read right, and refused with a clear word when they are damaged or dangerous."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest

from course_utils.data import formats
from course_utils.errors import DataError


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def pictures():
    return np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_packed_and_unpacked(tmp_path, pictures, packed):
    path = tmp_path / ("x-ubyte.gz" if packed else "x-ubyte")
    path.write_bytes(gzip.compress(idx_bytes(pictures)) if packed else idx_bytes(pictures))
    assert np.array_equal(formats.read_idx(path), pictures)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("x.gz", lambda data: gzip.compress(data)[:-20], "cannot be read"),
        ("x.gz", lambda data: b"<!DOCTYPE html><html>", "cannot be read"),
        ("x.gz", lambda data: gzip.compress(data)[:30] + b"\xff" * 40, "cannot be read"),
        ("x", lambda data: data[:-1], "119 values where its header promises 120"),
        ("x", lambda data: data + b"!", "121 values where its header promises 120"),
        ("x", lambda data: b"\0\0\x0d" + data[3:], "does not start like an IDX file"),
        ("x", lambda data: data[:6], "does not start like an IDX file"),
        ("x", lambda data: b"", "does not start like an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_named_with_what_is_wrong(tmp_path, pictures, name, damage, words):
    path = tmp_path / name
    path.write_bytes(damage(idx_bytes(pictures)))
    with pytest.raises(DataError, match=words) as caught:
        formats.read_idx(path)
    assert str(caught.value).startswith(f"The data file {name} in ")
    assert "course data fetch" in str(caught.value)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        formats.read_idx(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        formats.read_bytes(tmp_path / "none")


def pair(folder, pictures, labels):
    (folder / "images").write_bytes(idx_bytes(pictures))
    (folder / "labels").write_bytes(idx_bytes(np.asarray(labels, np.uint8)))
    return formats.read_idx_pair(folder / "images", folder / "labels", 3)


def test_an_idx_pair_gives_pictures_with_a_channel_and_whole_numbers_as_labels(tmp_path, pictures):
    images, labels = pair(tmp_path, pictures, [0, 1, 2, 0, 1, 2])
    assert images.shape == (6, 1, 4, 5)
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, 2, 0, 1, 3], "label 3, but its 3 classes are numbered 0 to 2"),
        ([0, 1], "6 pictures but 2 labels"),
        ([[0, 1, 2, 0, 1, 2]], "labels one"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, pictures, labels, words):
    with pytest.raises(DataError, match=words):
        pair(tmp_path, pictures, labels)


def test_an_empty_set_and_negative_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        pair(tmp_path, np.zeros((0, 4, 5), np.uint8), [])
    with pytest.raises(DataError, match="label -1"):
        formats.check(np.zeros((2, 1, 4, 4), np.uint8), np.array([0, -1]), 3, "a set")


def cifar(seed):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (formats.CIFAR_ROWS, 3072), np.uint8)
    return pixels, generator.integers(0, 10, formats.CIFAR_ROWS, np.uint8)


def test_cifar_binary_files_are_read_in_order(tmp_path):
    made = [cifar(0), cifar(1)]
    for i, (pixels, labels) in enumerate(made):
        (tmp_path / f"{i}.bin").write_bytes(np.concatenate([labels[:, None], pixels], 1).tobytes())
    images, labels = formats.read_cifar_binary([tmp_path / "0.bin", tmp_path / "1.bin"])
    assert np.array_equal(images, np.concatenate([pixels for pixels, _ in made]).reshape(-1, 3, 32, 32))
    assert np.array_equal(labels, np.concatenate([labels for _, labels in made]))


def test_a_cifar_file_cut_short_or_with_a_wrong_label_is_refused(tmp_path):
    pixels, labels = cifar(0)
    content = np.concatenate([labels[:, None], pixels], 1)
    (tmp_path / "short.bin").write_bytes(content.tobytes()[:-1])
    with pytest.raises(DataError, match=r"short\.bin .* 30,729,999 bytes instead of 30,730,000"):
        formats.read_cifar_binary([tmp_path / "short.bin"])
    content[77, 0] = 10
    (tmp_path / "wrong.bin").write_bytes(content.tobytes())
    with pytest.raises(DataError, match=r"wrong.bin has the label 10"):
        formats.read_cifar_binary([tmp_path / "wrong.bin"])


def python_2_pickle(pixels: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2 wrote it for CIFAR-10: strings of bytes, and NumPy's old module name."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value  # BINSTRING

    def integers(values) -> bytes:
        return b"".join(b"J" + struct.pack("<i", value) for value in values)

    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + integers([0, 1]) + b"tR(" + integers([3]) + text(b"|")
    dtype += b"NNN" + integers([-1, -1, 0]) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + integers([0]) + b"t" + text(b"b") + b"tR"
    array += (
        b"(" + integers([1]) + b"(" + integers(pixels.shape) + b"t" + dtype + b"\x89" + text(pixels.tobytes()) + b"tb"
    )
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + b"](" + integers(labels) + b"eu."


@pytest.mark.parametrize("old", [True, False])
def test_cifar_python_files_are_read_when_their_sum_is_right(tmp_path, old):
    pixels, labels = cifar(0)
    pixels, labels = pixels[:50], labels[:50].tolist()
    batch = {"batch_label": "1 of 1", "data": pixels, "labels": labels}
    content = python_2_pickle(pixels, labels) if old else pickle.dumps(batch, protocol=4)
    (tmp_path / "batch").write_bytes(content)
    sums = {"batch": hashlib.md5(content).hexdigest()}
    images, targets = formats.read_cifar_pickled(tmp_path, sums)
    assert np.array_equal(images, pixels.reshape(-1, 3, 32, 32))
    assert targets.tolist() == labels


def test_a_python_file_with_another_sum_is_not_even_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "ArraysOnly", None)  # any use would be a TypeError
    (tmp_path / "batch").write_bytes(b"anything")
    with pytest.raises(DataError, match="MD5 sum is not the published one, so it was not opened"):
        formats.read_cifar_pickled(tmp_path, {"batch": "0" * 32})


class Evil:
    def __reduce__(self):
        return eval, ("1 + 1",)


def test_a_pickle_that_calls_anything_but_numpy_is_refused_even_with_the_right_sum(tmp_path):
    content = pickle.dumps({"data": Evil(), "labels": [0]})
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataError, match=r"asks for builtins\.eval"):
        formats.read_cifar_pickled(tmp_path, {"batch": hashlib.md5(content).hexdigest()})


def test_the_published_sums_are_those_of_torchvision():
    from torchvision.datasets import CIFAR10, FashionMNIST

    from course_utils.data.catalogue import FASHION_MNIST

    assert dict(CIFAR10.train_list) == formats.PICKLED_TRAIN
    assert dict(CIFAR10.test_list) == formats.PICKLED_TEST
    assert {name for name, _ in FashionMNIST.resources} == {remote.name for remote in FASHION_MNIST.remotes}
    assert set(FashionMNIST.mirrors) <= set(FASHION_MNIST.mirrors)
