"""Made-up photographs as a phone saves them, and folders of pictures on Google Colab."""

import random
import sys
import types
import zipfile

import fuzz_pictures
import numpy as np
import pytest
from PIL import Image

from course_utils import data
from course_utils.data import colab
from course_utils.data.phone import CLASSES, GROUNDS, ORIENTATION, TURNED, ground, write_phone_pictures
from course_utils.errors import DataError, SettingError
from course_utils.pictures import open_picture

SHOES = ("ankle boot", "sandal", "sneaker")


def grey(file):
    return np.asarray(open_picture(file, "L").resize((64, 64)), float)


def full(file):
    return np.asarray(open_picture(file, "L"), float)


def edges(picture):
    """Return the variance of the second differences along rows, which blur makes small."""
    return np.diff(picture, n=2).var()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return write_phone_pictures(tmp_path_factory.mktemp("phone") / "home", per_class=6)


def test_every_accident_is_there_and_the_folder_can_be_read_all_the_same(home):
    found = data.folder(home, fractions=(1, 0, 0), unreadable="skip", quiet=True)
    assert found.classes == tuple(CLASSES) and found.copies == 1
    assert found.train.counts() == {"ankle boot": 7, "sandal": 7, "sneaker": 7, "something else": 6}
    assert sorted(found.skipped) == ["something else/IMG_0903.heic", "something else/IMG_0904.jpg"]
    dark, blurred = (full(home / name) for name in ("sandal/IMG_0901.jpg", "sneaker/IMG_0902.jpg"))
    good = [full(file) for file in sorted(home.rglob("IMG_00*.jpg"))]
    assert dark.mean() < 20 < min(picture.mean() for picture in good)
    assert edges(blurred) < min(edges(picture) for picture in good) / 4


@pytest.mark.parametrize("per_class", [1, 2])
def test_accidents_need_no_more_pictures_than_one(per_class, tmp_path):
    folder = write_phone_pictures(tmp_path / "x", classes=("sandal",), per_class=per_class)
    assert len(list(folder.rglob("IMG_00*.jpg"))) == per_class + 1  # one of them twice


def test_pictures_lie_on_their_side_as_phones_store_them_and_are_turned_upright(home):
    files = sorted(home.rglob("IMG_00*.jpg"))
    stored = [Image.open(file) for file in files]
    orientations = {picture.getexif()[ORIENTATION] for picture in stored}
    assert {1, 6} <= orientations <= {1, *TURNED}
    assert len({open_picture(file).size for file in files}) > 2
    for orientation, turn in TURNED.items():
        upright = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
        back = {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}
        assert upright.transpose(turn).transpose(back[orientation]).tobytes() == upright.tobytes()


def test_the_same_arguments_give_the_same_files_and_another_seed_others(home, tmp_path):
    def content(folder):
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")}

    again = write_phone_pictures(tmp_path / "again", per_class=6)
    assert content(again) == content(home)
    other = content(write_phone_pictures(tmp_path / "other", per_class=6, seed=1))
    same = [name for name, found in content(home).items() if other[name] == found]
    assert same == ["something else/IMG_0903.heic"]


def test_shots_of_one_scene_are_nearly_the_same_and_other_scenes_are_not(tmp_path):
    folder = write_phone_pictures(tmp_path / "b", classes=("sandal",), per_class=9, shots=3, accidents=False)
    seen = [grey(file) for file in sorted((folder / "sandal").iterdir())]
    apart = np.array([[np.sqrt(((a - b) ** 2).mean()) for b in seen] for a in seen])
    scene = np.arange(9) // 3
    same = scene[:, None] == scene
    assert apart[same & ~np.eye(9, dtype=bool)].min() > 0
    assert np.median(apart[same & ~np.eye(9, dtype=bool)]) < np.median(apart[~same]) / 2


def test_things_lie_on_the_floors_that_are_asked_for(tmp_path):
    folder = write_phone_pictures(
        tmp_path / "g", classes=SHOES, per_class=5, accidents=False, grounds={name: ["grass"] for name in SHOES}
    )
    for file in folder.rglob("*.jpg"):
        corners = np.asarray(open_picture(file), float)[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners[:, 1] > corners[:, 2]).sum() >= 3  # more green than blue
    for kind in GROUNDS:
        floor = ground(kind, 40, 30, seed=3)
        assert floor.shape == (30, 40, 3) and 0 <= floor.min() < floor.max() <= 255


@pytest.mark.parametrize(
    "given",
    [{"classes": ("boot",)}, {"classes": ()}, {"per_class": 0}, {"shots": 0}, {"grounds": {"sandal": ["snow"]}}],
)
def test_wrong_arguments_leave_nothing_behind(given, tmp_path):
    with pytest.raises(ValueError, match="classes must be of ankle boot"):
        write_phone_pictures(tmp_path / "x", **given)
    assert not list(tmp_path.iterdir())


# --- Colab


@pytest.fixture
def fake_colab(monkeypatch, tmp_path):
    """A module google.colab as Colab has it: `files.upload` gives what is put into `given`, Drive is a folder."""
    given = {}
    module = types.ModuleType("google.colab")
    module.files = types.SimpleNamespace(upload=lambda: given)
    module.drive = types.SimpleNamespace(mount=lambda place: None)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(colab, "DRIVE", tmp_path / "drive")
    monkeypatch.chdir(tmp_path)
    return given


def zipped(folder, file, prefix=""):
    with zipfile.ZipFile(file, "w") as packed:
        for path in sorted(folder.rglob("*.*")):
            packed.write(path, f"{prefix}{path.relative_to(folder).as_posix()}")
        packed.writestr("__MACOSX/._IMG_0001.jpg", b"x")
        packed.writestr(f"{prefix}.DS_Store", b"x")
    return file


@pytest.mark.parametrize("prefix", ["", "my photos/"])
def test_an_uploaded_archive_becomes_the_same_folder(fake_colab, home, tmp_path, prefix):
    archive = zipped(home, tmp_path / "up.zip", prefix)
    fake_colab[archive.name] = b""
    folder = colab.from_colab("zip")
    assert folder.is_relative_to("my pictures") and not list(folder.rglob(".*"))
    ours, theirs = (data.folder(place, unreadable="skip", quiet=True) for place in (folder, home))
    assert ours.classes == theirs.classes and ours.train.counts() == theirs.train.counts()


def test_a_folder_of_drive_is_taken_as_it_is(fake_colab, tmp_path):
    with pytest.raises(DataError, match="no folder 'my pictures'"):
        colab.from_colab("drive")
    (tmp_path / "drive" / "MyDrive" / "my pictures").mkdir(parents=True)
    assert colab.from_colab("drive") == tmp_path / "drive" / "MyDrive" / "my pictures"


def test_elsewhere_and_with_nothing_chosen_a_sentence_says_what_to_do(monkeypatch, fake_colab, tmp_path):
    with pytest.raises(DataError, match="No archive was chosen"):
        colab.from_colab("zip")
    (tmp_path / "no.zip").write_bytes(b"no archive")
    fake_colab["no.zip"] = b""
    with pytest.raises(DataError, match=r"no\.zip is no whole \.zip archive"):
        colab.from_colab("zip")
    assert not (tmp_path / "my pictures").exists()
    with pytest.raises(SettingError, match="must be one of zip, drive"):
        colab.from_colab("usb")
    monkeypatch.setitem(sys.modules, "google.colab", None)
    with pytest.raises(SettingError, match="not Google Colab"):
        colab.from_colab("zip")


def test_an_archive_writes_nothing_outside_its_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr("../outside.jpg", b"x")
        packed.writestr("a/in.jpg", b"x")
    colab.unpacked(tmp_path / "evil.zip", tmp_path / "into" / "here")
    assert not list((tmp_path / "into").glob("outside*")) and not (tmp_path / "outside.jpg").exists()
    assert (tmp_path / "into" / "here" / "a" / "in.jpg").read_bytes() == b"x"


def test_a_damaged_or_locked_archive_is_one_sentence_and_leaves_nothing(home, tmp_path):
    whole = zipped(home / "sandal", tmp_path / "up.zip").read_bytes()
    locked = bytearray(whole)
    for start in (whole.index(b"PK\x03\x04") + 6, whole.index(b"PK\x01\x02") + 8):
        locked[start] |= 1  # the flag that says so
    files = [bytes(locked), *(fuzz_pictures.damaged(whole, random.Random(seed), [whole]) for seed in range(60))]
    refused = 0
    for content in files:
        (tmp_path / "up.zip").write_bytes(content)
        try:
            colab.unpacked(tmp_path / "up.zip", tmp_path / "here")
        except DataError as error:
            refused += 1
            assert str(error).endswith(".") and "\n" not in str(error)
            assert refused > 1 or "is locked with a password" in str(error)
    assert refused > 20 and {path.name for path in tmp_path.iterdir()} <= {"up.zip", "here"}


def test_names_in_an_archive_from_a_mac_are_read_as_utf_8_and_others_stay(tmp_path):
    names = {b"A\xcc\x88pfel": "A\u0308pfel", b"caf\x82": "caf\xe9"}  # as macOS writes it, and as old Windows does
    for raw, name in names.items():
        with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
            archive.writestr(f"{'#' * len(raw)}/1.jpg", b"x")
        written = (tmp_path / "mac.zip").read_bytes().replace(b"#" * len(raw), raw)
        (tmp_path / "mac.zip").write_bytes(written)
        folder = colab.unpacked(tmp_path / "mac.zip", tmp_path / "here")
        assert [path.name for path in folder.iterdir()] == [name]
        assert (folder / name / "1.jpg").read_bytes() == b"x"


def test_an_archive_that_is_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(colab, "MOST_BYTES", 10)
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as packed:
        packed.writestr("a/in.jpg", b"x" * 11)
    with pytest.raises(DataError, match="more than the limit"):
        colab.unpacked(tmp_path / "big.zip", tmp_path / "here")
    assert not (tmp_path / "here").exists()
