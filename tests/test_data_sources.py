"""Where a set comes from: the first source that has it, named truthfully; damage is told, never passed over."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mirror import serving
from PIL import Image

from course_utils import data, pictures
from course_utils.data import catalogue, decoding, downloads, formats, samples, sources
from course_utils.errors import DataError, SettingError

real_cache_folder = sources.cache_folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty data folder and an empty cache, no network, and no system package."""
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache" / "course")
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", tmp_path / "system")
    return tmp_path / "data"


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def small_fashion_mnist() -> dict[str, bytes]:
    """The four files, gzipped, with 100 training and 20 test pictures."""
    generator = np.random.default_rng(0)
    content = {}
    for prefix, n in (("train", 100), ("t10k", 20)):
        pixels = generator.integers(0, 256, (n, 28, 28), np.uint8)
        content[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(idx(pixels), mtime=0)
        content[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.arange(n, dtype=np.uint8) % 10), mtime=0)
    return content


def write(folder: Path, content: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, data_ in content.items():
        (folder / name).write_bytes(data_)


def point_to(monkeypatch, name: str, content: dict[str, bytes], *mirrors: str, **changes) -> None:
    """Let the set `name` be made of these files, from these mirrors."""
    remotes = tuple(catalogue.Remote(file, hashlib.sha256(c).hexdigest(), len(c)) for file, c in content.items())
    monkeypatch.delenv("COURSE_OFFLINE")
    monkeypatch.setitem(
        catalogue.KNOWN, name, replace(catalogue.KNOWN[name], remotes=remotes, mirrors=mirrors, **changes)
    )


def image_folder(root: Path, classes, per_class=2, side=32, suffix="png", parts=("train", "test")) -> None:
    generator = np.random.default_rng(0)
    for part in parts:
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for i in range(per_class):
                pixels = generator.integers(0, 256, (side, side, 3), np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.{suffix}")


# --- Finding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["FashionMNIST/raw", "fashion-mnist", "."])
@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_is_found_in_each_layout(place, where, packed):
    content = small_fashion_mnist()
    if not packed:
        content = {name.removesuffix(".gz"): gzip.decompress(c) for name, c in content.items()}
    write(place / where, content)
    found = sources.find("fashion_mnist")
    assert found.source.kind == "folder"
    assert found.train[0].shape == (100, 1, 28, 28)
    assert found.test[1].tolist() == [i % 10 for i in range(20)]
    assert not found.source.complete
    assert found.source.description == "a part of the set from COURSE_DATA_DIR"


def test_the_systems_package_is_found_and_named(place, tmp_path):
    write(tmp_path / "system", small_fashion_mnist())
    source = sources.find("fashion_mnist").source
    assert source.kind == "folder"
    assert "the system's package dataset-fashion-mnist" in source.description


def test_without_course_data_dir_the_cache_folder_is_searched(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA_DIR")
    write(tmp_path / "cache" / "course" / "FashionMNIST" / "raw", small_fashion_mnist())
    source = sources.find("fashion_mnist").source
    assert source.kind == "cache"
    assert source.description.endswith("from the cache folder")


def test_the_cache_folder_bears_the_courses_name():
    assert "pixels-to-predictions" in real_cache_folder().parts


def test_no_description_shows_a_path(place, tmp_path):
    write(place / "FashionMNIST" / "raw", small_fashion_mnist())
    for name in catalogue.KNOWN:
        assert str(tmp_path) not in sources.find(name).source.description
    for entry in sources.inventory():
        assert str(tmp_path) not in entry.description


def test_an_incomplete_set_of_files_is_not_taken_for_the_set(place):
    content = small_fashion_mnist()
    content.pop("t10k-labels-idx1-ubyte.gz")
    write(place / "FashionMNIST" / "raw", content)
    assert sources.find("fashion_mnist").source.kind == "sample"


def test_a_damaged_file_in_the_data_folder_is_told_and_not_replaced_by_the_sample(place):
    content = small_fashion_mnist()
    content["train-images-idx3-ubyte.gz"] = content["train-images-idx3-ubyte.gz"][:-50]
    write(place / "FashionMNIST" / "raw", content)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz .* damaged"):
        sources.find("fashion_mnist")
    assert sources.verify("fashion_mnist")


def cifar_files() -> dict[str, bytes]:
    labels = (np.arange(formats.CIFAR_ROWS) % 10).astype(np.uint8)
    content = np.zeros((formats.CIFAR_ROWS, formats.CIFAR_RECORD), np.uint8)
    content[:, 0] = labels
    return dict.fromkeys(sources.BINARY_SIZES, content.tobytes())


def test_cifar10_is_found_in_its_binary_layout_and_is_complete(place):
    write(place / "cifar-10-batches-bin", cifar_files())
    found = sources.find("cifar10")
    assert found.train[0].shape == (50_000, 3, 32, 32)
    assert found.source.complete
    assert found.source.description == "the full set from COURSE_DATA_DIR"
    assert sources.verify("cifar10") == []


def test_cifar10s_python_files_are_opened_only_with_the_published_sums(place):
    write(place / "cifar-10-batches-py", dict.fromkeys(formats.PICKLED_TRAIN | formats.PICKLED_TEST, b"not these"))
    with pytest.raises(DataError, match="MD5"):
        sources.find("cifar10")


def test_an_image_folder_of_a_known_set_is_read_in_the_order_of_its_classes(place):
    image_folder(place / "cifar10", catalogue.CIFAR10.classes)
    found = sources.find("cifar10")
    assert found.train[0].shape == (20, 3, 32, 32)
    assert found.train[1].tolist() == [i // 2 for i in range(20)]
    pixels = pictures.to_tensor(Image.open(place / "cifar10" / "test" / "bird" / "1.png"))
    assert np.array_equal(found.test[0][5], pixels)
    assert "JPEG" not in found.source.description


def test_jpeg_files_are_named_as_not_the_original_pixels(place):
    image_folder(place / "cifar10", catalogue.CIFAR10.classes, suffix="jpg")
    assert "as JPEG files, not the original pixels" in sources.find("cifar10").source.description


def test_grey_sets_are_read_grey_and_their_folder_names_may_be_plain(place):
    image_folder(
        place / "fashion_mnist", [name.lower().replace("/", "_") for name in catalogue.FASHION_MNIST.classes], side=28
    )
    found = sources.find("fashion_mnist")
    assert found.train[0].shape == (20, 1, 28, 28)
    assert found.classes == catalogue.FASHION_MNIST.classes


def test_an_image_folder_that_lacks_a_class_is_refused(place):
    image_folder(place / "cifar10", catalogue.CIFAR10.classes[:-1])
    with pytest.raises(DataError, match="lacks the class 'truck'"):
        sources.find("cifar10")


def test_an_image_folder_whose_parts_differ_in_size_is_refused(place):
    image_folder(place / "cifar10", catalogue.CIFAR10.classes, parts=["train"])
    image_folder(place / "cifar10", catalogue.CIFAR10.classes, parts=["test"], side=16)
    with pytest.raises(DataError, match="differ in size"):
        sources.find("cifar10")


def test_what_helps_where_an_image_folders_pictures_differ_in_size_is_there(place):
    image_folder(place / "cifar10", catalogue.CIFAR10.classes)
    Image.new("RGB", (48, 32)).save(place / "cifar10" / "train" / "ship" / "1.png")
    with pytest.raises(DataError, match="differ in size") as refused:
        data.load("cifar10")
    assert sources.verify("cifar10") == [str(refused.value)]
    assert "pass size" not in str(refused.value), "none of the two takes a size"
    assert "data.folder(path, size=(height, width))" in str(refused.value)
    made = data.folder(place / "cifar10", size=(32, 32), quiet=True)
    assert made.train.images.shape == (20, 3, 32, 32) and len(made.test) == 20


def test_an_image_folder_is_decoded_once_and_again_when_a_picture_changes(place, monkeypatch):
    image_folder(place / "cifar10", catalogue.CIFAR10.classes)
    first = sources.find("cifar10")
    decoded = []
    real = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda *args: decoded.append(args) or real(*args))
    again = sources.find("cifar10")
    assert np.array_equal(first.train[0], again.train[0])
    assert not decoded
    changed = place / "cifar10" / "train" / "bird" / "0.png"
    Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(changed)
    assert (sources.find("cifar10").train[0][4] == 7).all()
    assert len(decoded) == 1
    assert len(list((sources.cache_folder() / "decoded").iterdir())) == 2


# --- Samples and stand-ins ----------------------------------------------------------------------------------


def test_without_files_and_network_the_sample_says_what_it_is(capsys, place):
    place.mkdir()
    made = data.load("fashion_mnist")
    assert made.source.kind == "sample"
    assert not made.source.complete
    assert "COURSE_OFFLINE" in made.source.reason
    said = capsys.readouterr().out
    assert " ".join(said.split()) == (
        "Fashion-MNIST: 9,000 training, 1,000 validation and 2,000 test pictures of 10 classes, the embedded "
        "sample (10,000 + 2,000 of 70,000 pictures): results are not those of the full set."
    )
    assert max(map(len, said.splitlines())) <= 72  # the site shows it whole


def test_photo_crops_stand_in_for_cifar10_and_say_so(capsys):
    made = data.load("cifar10")
    assert made.source.stand_in
    assert made.classes == pictures.photographs()
    line = " ".join(capsys.readouterr().out.split())
    assert line.startswith("Stand-in for CIFAR-10: 2,880 training, 320 validation and 800 test pictures of 8 classes")
    assert "results say nothing about CIFAR-10" in line
    assert not data.load("photo_crops", quiet=True).source.stand_in


def test_the_sample_can_be_refused():
    with pytest.raises(DataError, match="The full set CIFAR-10 is not at hand: COURSE_OFFLINE"):
        data.load("cifar10", sample_ok=False)


@pytest.mark.parametrize("call", [data.load, data.fetch, data.verify])
def test_an_unknown_name_is_answered_with_the_known_ones(call):
    with pytest.raises(SettingError, match=r"no data set 'mnist'; choose one of fashion_mnist, cifar10, photo_crops"):
        call("mnist")


def test_with_no_network_the_sample_comes_and_says_why(monkeypatch):
    monkeypatch.delenv("COURSE_OFFLINE")

    def unresolved(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(downloads, "create_connection", unresolved)
    made = data.load("fashion_mnist", quiet=True)
    assert made.source.kind == "sample"
    assert "could be reached" in made.source.reason


# --- Downloads ----------------------------------------------------------------------------------------------


def test_a_set_is_downloaded_into_torchvisions_layout_once_and_then_found(place, monkeypatch):
    content = small_fashion_mnist()
    with serving(content) as mirror:
        point_to(monkeypatch, "fashion_mnist", content, mirror.url)
        first, second = sources.find("fashion_mnist").source, sources.find("fashion_mnist").source
    assert (first.kind, second.kind) == ("download", "folder")
    assert first.description == "a part of the set just downloaded"
    assert {path.name for path in (place / "FashionMNIST" / "raw").iterdir()} == set(content)
    assert len(mirror.asked) == 4


@pytest.mark.parametrize("behaviour", ["html", "wrong", "truncated", "gone"])
def test_a_failed_download_is_an_error_for_fetch_and_a_named_sample_for_load(place, monkeypatch, behaviour):
    content = small_fashion_mnist()
    with serving(content, behaviour) as mirror:
        point_to(monkeypatch, "fashion_mnist", content, mirror.url)
        with pytest.raises(DataError, match="could not be downloaded"):
            data.fetch("fashion_mnist")
        made = data.load("fashion_mnist", quiet=True)
    assert made.source.kind == "sample"
    assert "could not be downloaded" in made.source.reason
    assert not [path for path in place.rglob("*") if path.is_file()]


def test_a_data_folder_that_cannot_be_written_is_an_error_for_fetch_and_a_named_sample_for_load(place, monkeypatch):
    place.write_text("a file in the way")
    monkeypatch.setenv("COURSE_DATA_DIR", str(place / "inside"))
    content = small_fashion_mnist()
    with serving(content) as mirror:
        point_to(monkeypatch, "fashion_mnist", content, mirror.url)
        with pytest.raises(DataError, match="cannot be written to"):
            data.fetch("fashion_mnist")
        assert "cannot be written to" in data.load("fashion_mnist", quiet=True).source.reason


def test_cifar10_is_downloaded_unpacked_and_its_archive_removed(place, monkeypatch):
    monkeypatch.setattr(formats, "CIFAR_ROWS", 20)
    labels = (np.arange(20) % 10).astype(np.uint8)
    rows = np.zeros((20, formats.CIFAR_RECORD), np.uint8)
    rows[:, 0] = labels
    monkeypatch.setattr(sources, "BINARY_SIZES", dict.fromkeys(sources.BINARY_SIZES, rows.nbytes))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in sources.BINARY_SIZES:
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = rows.nbytes
            tar.addfile(entry, io.BytesIO(rows.tobytes()))
    content = {"cifar-10-binary.tar.gz": packed.getvalue()}
    with serving(content) as mirror:
        point_to(monkeypatch, "cifar10", content, mirror.url, counts=(100, 20))
        assert data.fetch("cifar10").description == "the full set just downloaded"
        assert data.fetch("cifar10").kind == "folder"
    assert [path.name for path in place.iterdir()] == ["cifar-10-batches-bin"]
    assert sources.verify("cifar10") == []


def test_fetch_with_force_mends_a_damaged_copy_and_takes_no_whole_file_twice(place, monkeypatch):
    content = small_fashion_mnist()
    broken = content | {"t10k-images-idx3-ubyte.gz": b"broken"}
    write(place / "FashionMNIST" / "raw", broken)
    (place / "FashionMNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"an old, broken, unpacked file")
    with serving(content) as mirror:
        point_to(monkeypatch, "fashion_mnist", content, mirror.url)
        assert data.fetch("fashion_mnist", force=True).kind == "download"
    assert mirror.asked == ["t10k-images-idx3-ubyte.gz"]
    assert sources.find("fashion_mnist").train[0].shape[0] == 100


def test_fetching_what_is_there_or_made_here_downloads_nothing(place):
    write(place / "FashionMNIST" / "raw", small_fashion_mnist())
    assert data.fetch("fashion_mnist").kind == "folder"
    assert data.fetch("photo_crops").kind == "sample"


# --- Catalogue and checks -----------------------------------------------------------------------------------


def test_the_catalogue_lists_every_set_with_what_is_at_hand(place):
    write(place / "FashionMNIST" / "raw", small_fashion_mnist())
    image_folder(place / "cifar10", catalogue.CIFAR10.classes)
    entries = {entry.name: entry for entry in sources.inventory()}
    assert list(entries) == ["fashion_mnist", "cifar10", "photo_crops"]
    assert entries["fashion_mnist"].found
    assert entries["fashion_mnist"].size_bytes == sum(len(c) for c in small_fashion_mnist().values())
    assert entries["cifar10"].description == "an image folder from COURSE_DATA_DIR"
    assert entries["cifar10"].path == place / "cifar10"


def test_the_catalogue_opens_no_picture_and_says_of_samples_what_loading_them_says(monkeypatch):
    said = {name: sources.sample(known).source.description for name, known in catalogue.KNOWN.items()}
    monkeypatch.setattr(samples.picture_files, "open_picture", lambda *_: pytest.fail("a picture was opened"))
    assert {entry.name: entry.description for entry in sources.inventory()} == said


def test_the_catalogue_without_files_names_the_samples():
    entries = {entry.name: entry for entry in sources.inventory()}
    assert {name: (entry.found, entry.kind) for name, entry in entries.items()} == {
        "fashion_mnist": (False, "sample"),
        "cifar10": (False, "sample"),
        "photo_crops": (True, "sample"),
    }
    assert all(entry.size_bytes > 100_000 for entry in entries.values())


def test_verify_finds_changed_files_missing_pictures_and_missing_sets(place):
    assert "is not at hand" in sources.verify("cifar10")[0]
    assert sources.verify("photo_crops") == []
    write(place / "FashionMNIST" / "raw", small_fashion_mnist())
    assert len(sources.verify("fashion_mnist")) == 4
    assert all("wrong SHA-256" in problem for problem in sources.verify("fashion_mnist"))
    image_folder(place / "cifar10", catalogue.CIFAR10.classes)
    problems = sources.verify("cifar10")
    assert len(problems) == 20
    assert problems[0] == "The train part of CIFAR-10 has 2 pictures of 'airplane' instead of 5,000."


def test_verify_names_a_picture_that_cannot_be_decoded(place):
    image_folder(place / "cifar10", catalogue.CIFAR10.classes)
    (place / "cifar10" / "test" / "ship" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    assert "ship/0.png is not a picture" in sources.verify("cifar10")[0].replace(str(place), "")


def test_a_damaged_archive_that_lies_in_the_data_folder_is_never_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz in the data folder is damaged"):
        sources.find("cifar10")
