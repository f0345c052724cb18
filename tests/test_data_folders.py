"""Image folders: read picture by picture or at once; bad pictures are named, skipped or refused."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from course_utils import data
from course_utils.data import folders, image_files
from course_utils.errors import DataError

TENSOR = v2.Compose([v2.Resize((16, 16)), v2.PILToTensor()])


@pytest.fixture
def root(tmp_path):
    """Three parts of two classes, pictures of different sizes and formats."""
    generator = np.random.default_rng(0)
    sizes = {"train": [(40, 30), (20, 60), (33, 33)], "val": [(24, 18)], "test": [(16, 50), (30, 30)]}
    for part, shapes in sizes.items():
        for name in ("ants", "bees"):
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            for i, (height, width) in enumerate(shapes):
                pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
                suffix = ("jpg", "png", "bmp")[i]
                Image.fromarray(pixels).save(tmp_path / "pets" / part / name / f"{i}.{suffix}")
    (tmp_path / "pets" / "train" / "ants" / "notes.txt").write_text("not a picture")
    (tmp_path / "pets" / "train" / "ants" / ".hidden.png").write_text("not a picture either")
    return tmp_path / "pets"


def test_a_folder_becomes_torchvision_datasets(root, capsys):
    made = data.folder(root, transform=TENSOR, evaluation_transform=TENSOR)
    assert [len(part) for part in (made.train, made.validation, made.test)] == [6, 2, 4]
    assert made.classes == ("ants", "bees")
    images, labels = next(iter(data.loader(made.train, 6)))
    assert images.shape == (6, 3, 16, 16)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert capsys.readouterr().out == f"{made}\n"
    assert str(made) == "pets: 6 training, 2 validation, 4 test pictures of 2 classes, from a folder of pictures."


def test_with_a_size_a_folder_becomes_tensors(root):
    made = data.folder(root, size=(16, 24), quiet=True)
    assert made.train.images.shape == (6, 3, 16, 24)
    assert [len(part) for part in (made.train, made.validation, made.test)] == [6, 2, 4]
    images, _ = next(iter(data.batches(made.train, 6)))
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


def test_a_folder_without_parts_is_all_training(root):
    made = data.folder(root / "train", size=(8, 8), quiet=True)
    assert len(made.train) == 6
    assert made.validation is None
    assert made.test is None


def test_the_loader_shuffles_by_its_seed(root):
    made = data.folder(root, transform=TENSOR, quiet=True)

    def order(seed):
        return torch.cat([images for images, _ in data.loader(made.train, 2, shuffle=True, seed=seed)])

    assert torch.equal(order(0), order(0))
    assert not torch.equal(order(0), order(1))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_datasets_work_in_workers_however_they_are_started(root, method):
    if method not in multiprocessing.get_all_start_methods():
        return
    made = data.folder(root, transform=TENSOR, quiet=True)
    loader = torch.utils.data.DataLoader(made.train, 3, num_workers=1, multiprocessing_context=method)
    assert sum(len(labels) for _, labels in loader) == 6


def test_a_folder_set_can_be_pickled(root):
    made = pickle.loads(pickle.dumps(data.folder(root, transform=TENSOR, quiet=True)))
    assert len(made.train) == 6


@pytest.fixture
def spoiled(root):
    whole = (root / "train" / "ants" / "0.jpg").read_bytes()
    (root / "train" / "ants" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "test" / "bees" / "text.png").write_text("<html>not a picture</html>")
    return root


def test_an_unreadable_picture_is_refused_by_name(spoiled):
    with pytest.raises(DataError, match=r"cut\.jpg cannot be decoded"):
        data.folder(spoiled, size=(8, 8), quiet=True)
    made = data.folder(spoiled, transform=TENSOR, quiet=True)
    with pytest.raises(DataError, match=r"cut\.jpg cannot be decoded"):
        list(data.loader(made.train, 7))


@pytest.mark.parametrize("size", [None, (8, 8)])
def test_unreadable_pictures_are_skipped_on_demand_and_named(spoiled, size, capsys):
    made = data.folder(spoiled, size=size, unreadable="skip")
    assert (len(made.train), len(made.test)) == (6, 4)
    line = capsys.readouterr().out
    assert "2 unreadable left out: ants/cut.jpg, bees/text.png" in line


def test_many_skipped_pictures_are_counted():
    assert folders.described(list("abcde")).endswith("5 unreadable left out: a, b, c and 2 more")


def test_a_photograph_held_upright_is_turned_as_its_camera_says(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    for name in ("turned.png", "turned.jpg"):
        image = image_files.read_picture(tmp_path / name)
        assert image.shape == (3, 40, 20)
        assert image[:, :15].max() < 50
        assert image[:, 25:].min() > 200


def test_a_picture_larger_than_is_safe_is_refused(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="cannot be decoded"):
        image_files.read_picture(root / "train" / "ants" / "0.jpg")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: [path.unlink() for path in (root / "test" / "bees").iterdir()], "'bees' .* holds no pictures"),
        (lambda root: (root / "test" / "bees").rename(root / "test" / "wasps"), "lacks the class 'bees'"),
        (lambda root: (root / "test" / "ants").rename(root / "train" / "wasps"), "lacks the class 'wasps'"),
        (lambda root: (root / "train").rename(root / "training"), "no folder train"),
        (lambda root: root.rename(root.parent / "moved"), "There is no folder"),
    ],
)
def test_a_folder_that_is_no_set_is_refused_clearly(root, change, words):
    change(root)
    with pytest.raises(DataError, match=words):
        data.folder(root, quiet=True)


def test_an_extra_class_outside_training_is_refused(root):
    (root / "test" / "wasps").mkdir()
    with pytest.raises(DataError, match="holds the class 'wasps', which training does not have"):
        data.folder(root, quiet=True)


def test_a_folder_of_loose_pictures_is_refused(root):
    with pytest.raises(DataError, match="holds no class folders"):
        data.folder(root / "train" / "ants", quiet=True)
    with pytest.raises(DataError, match="cannot be read"):
        image_files.list_pictures(root / "nowhere")


def test_wrong_arguments_are_refused(root):
    with pytest.raises(ValueError, match="unreadable must be one of refuse, skip"):
        data.folder(root, unreadable="ignore")
    with pytest.raises(ValueError, match=r"augment them with data\.batches"):
        data.folder(root, size=(8, 8), transform=TENSOR)
    with pytest.raises(ValueError, match="unreadable must be one of"):
        image_files.decode(image_files.list_pictures(root / "train"), unreadable="perhaps")


def test_pictures_that_would_not_fit_in_memory_are_refused_before_they_are_read(root):
    with pytest.raises(DataError, match=r"would take 7\.2 GB"):
        data.folder(root, size=(20_000, 20_000), quiet=True)


def test_pictures_of_different_sizes_need_a_size(root):
    with pytest.raises(DataError, match=r"differ in size .* pass size=\(height, width\)"):
        image_files.decode(image_files.list_pictures(root / "train"))


def test_when_no_picture_can_be_decoded_it_is_an_error_even_when_skipping(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_text("no")
    with pytest.raises(DataError, match=r"No picture in .* can be decoded"):
        image_files.decode(image_files.list_pictures(tmp_path), unreadable="skip")


def test_decoding_works_without_a_cache_that_can_be_written(root, tmp_path):
    same = tmp_path / "same" / "a"
    same.mkdir(parents=True)
    Image.fromarray(np.ones((4, 4, 3), np.uint8)).save(same / "0.png")
    (tmp_path / "blocked").write_text("in the way")
    listing = image_files.list_pictures(tmp_path / "same")
    images, labels = image_files.decode_once(listing, "RGB", tmp_path / "blocked", "x")
    assert (images == 1).all()
    cache = tmp_path / "cache"
    image_files.decode_once(listing, "RGB", cache, "x")
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])  # a damaged cache is made anew
    again, _ = image_files.decode_once(listing, "RGB", cache, "x")
    assert np.array_equal(images, again)
    assert labels.tolist() == [0]
