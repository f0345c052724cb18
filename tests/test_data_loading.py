"""Batches of picture files are those of torchvision's ImageFolder, decoded with less work."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2

from course_utils import data, pictures
from course_utils.data import loading
from course_utils.errors import DataError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FLOATS = (v2.ToImage(), v2.ToDtype(torch.float32, scale=True))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two classes of parts of photographs, as JPEG and as PNG."""
    root = tmp_path_factory.mktemp("photographs")
    for kind in ("jpg", "png"):
        for k, name in enumerate(("cat", "coffee")):
            (root / kind / name).mkdir(parents=True)
            whole = pictures.photograph(name)
            for i in range(5):
                part = whole.crop((20 * i, 30 * i, 20 * i + 500, 30 * i + 375))
                part.save(root / kind / name / f"{k}{i}.{kind}", **({"quality": 90} if kind == "jpg" else {}))
    return root


def part_of(folder):
    return data.folder(folder, fractions=(1, 0, 0), quiet=True).train


def batch(loader, seed=5):
    torch.manual_seed(seed)
    return next(iter(loader))


TRANSFORMS = {
    "crop": v2.Compose([v2.RandomResizedCrop(96), v2.RandomHorizontalFlip(), *FLOATS, v2.Normalize(MEAN, STD)]),
    "oblong crop": v2.Compose([v2.RandomResizedCrop((48, 80)), *FLOATS]),
    "older crop": v1.Compose([
        v1.RandomResizedCrop(64), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD),
    ]),
    "resize": v2.Compose([v2.Resize(100), v2.CenterCrop(96), *FLOATS, v2.Normalize(MEAN, STD)]),
    "bicubic": v2.Compose([v2.Resize(100, InterpolationMode.BICUBIC), v2.CenterCrop(96), *FLOATS]),
    "older resize": v1.Compose([v1.Resize((50, 70)), v1.ToTensor(), v1.Normalize(MEAN, STD)]),
    "enlarged": v2.Compose([v2.Resize((600, 800)), v2.PILToTensor()]),
    "nested": nn.Sequential(v2.Compose([v2.RandomResizedCrop(64)]), v2.Compose([*FLOATS, v2.Normalize(MEAN, STD)])),
    "twice": v2.Compose([v2.Resize((64, 64)), *FLOATS, v2.Normalize(MEAN, STD), v1.Normalize([0.5], [2.0])]),
    "floats before": v2.Compose([v2.Resize((64, 64)), v1.ToTensor(), FLOATS[1], v2.Normalize(MEAN, STD)]),
    "bytes at the end": v2.Compose([v2.RandomResizedCrop(64), v2.RandomHorizontalFlip(), v2.PILToTensor()]),
    "not scaled": v2.Compose([v2.Resize((64, 64)), v2.ToImage(), v2.ToDtype(torch.float32)]),
    "jitter last": v2.Compose([v2.RandomResizedCrop(64), *FLOATS, v2.Normalize(MEAN, STD), v2.RandomErasing(1.0)]),
    "crop later": v2.Compose([v2.RandomHorizontalFlip(), v2.RandomResizedCrop(64), *FLOATS]),
    "longest side": v2.Compose([v2.Resize(None, max_size=90), v2.CenterCrop(64), v2.PILToTensor()]),
    "not torchvision's": lambda picture: v1.functional.to_tensor(picture.resize((40, 40))),
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_the_batch_is_that_of_image_folder(photographs, kind, name):
    transform = TRANSFORMS[name]
    own = torch.Generator()  # so that the global random numbers are for the transform alone, as in `data.loader`
    theirs, labels = batch(DataLoader(ImageFolder(photographs / kind, transform), 10, generator=own))
    ours, our_labels = batch(data.loader(part_of(photographs / kind), 10, transform=transform))
    assert torch.equal(labels, our_labels) and ours.dtype == theirs.dtype and ours.shape == theirs.shape
    apart = (ours.double() - theirs.double()).abs() * (1 if theirs.max() > 9 else 255)
    apart *= max(STD) if "Normalize" in str(transform) else 1  # levels of 0 to 255
    if kind == "jpg":
        assert apart.mean() < 3 and apart.quantile(0.99) < 16
    elif loading.planned(transform).tensors:
        assert apart.max() < 1.1 and apart.mean() < 0.1
    else:
        assert apart.max() < 1e-3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_cut_and_mirrored_as_it_is_seen(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "turned.png"
    pictures.photograph("cat").crop((0, 0, 300, 201)).save(file, exif=exif)
    part = data.FilePart((file,) * 6, torch.zeros(6, dtype=torch.int64), ("cat",), "train", ((300, 201),) * 6)
    images, _ = batch(data.loader(part, 6, transform=TRANSFORMS["crop"]))
    torch.manual_seed(5)
    wanted = torch.stack([TRANSFORMS["crop"](pictures.open_picture(file)) for _ in range(6)])
    apart = (images - wanted).abs() * 255 * max(STD)
    assert apart.max() < 3 and apart.mean() < 0.4  # Pillow rounds between across and down


def test_a_jpeg_file_is_decoded_as_small_as_the_crop_allows(photographs, monkeypatch):
    drafts = []
    draft = Image.Image.draft

    def watched(self, mode, size):
        drafts.append(size)
        return draft(self, mode, size)

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", watched, raising=False)
    file = part_of(photographs / "jpg").files[0]
    for side, wanted in ((300, []), (187, [(250, 187)]), (90, [(125, 93)]), (20, [(62, 46)])):
        drafts.clear()
        pictures.files.open_cut(file, lambda w, h, side=side: pictures.files.Cut((0, 0, w, h), (side, side)))
        assert drafts == wanted


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_part_of_a_turned_picture_is_the_part_seen_upright(kind, orientation, photographs, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"turned.{kind}"
    pictures.photograph("cat").crop((0, 0, 400, 301)).save(
        file, exif=exif, **({"quality": 95} if kind == "jpg" else {})
    )
    whole = pictures.open_picture(file)
    box = (31, 22, 275, 290)
    seen, size = pictures.files.open_cut(file, lambda w, h: pictures.files.Cut(box, (60, 70)))
    assert size == whole.size and seen.size == (60, 70)
    wanted = whole.crop(box).resize((60, 70), Image.Resampling.BILINEAR)
    apart = np.abs(np.asarray(seen, np.int64) - np.asarray(wanted, np.int64))
    assert apart.mean() < (2.5 if kind == "jpg" else 0.3)  # Pillow rounds between across and down


def test_a_damaged_file_is_named_by_the_loader(photographs, tmp_path):
    part = part_of(photographs / "jpg")
    (tmp_path / "cut.jpg").write_bytes(part.files[0].read_bytes()[:9000])
    broken = data.FilePart((tmp_path / "cut.jpg",), torch.tensor([0]), part.classes, "train", ((500, 375),))
    with pytest.raises(DataError, match=r"cut\.jpg is damaged"):
        next(iter(data.loader(broken, 1, transform=TRANSFORMS["crop"])))


def test_what_the_transform_was_given_stays_as_it_was():
    steps = TRANSFORMS["crop"].transforms
    before = repr(TRANSFORMS["crop"])
    plan = loading.planned(TRANSFORMS["crop"])
    assert plan.choose is not None and plan.tensors and plan.floats and len(plan.middle) == len(plan.normalise) == 1
    assert TRANSFORMS["crop"].transforms is steps and repr(TRANSFORMS["crop"]) == before and not steps[-1].inplace
    assert loading.planned(TRANSFORMS["crop later"]).choose is None
    last = loading.planned(TRANSFORMS["jitter last"])
    assert not last.floats and len(last.middle) == 4 and isinstance(last.middle[2], v2.Normalize)


def test_pictures_of_different_sizes_make_no_batch(photographs):
    part = part_of(photographs / "png")
    sizes = iter((64, 64, 1))
    steps = v2.Compose([lambda picture: picture.resize((64, next(sizes))), *FLOATS])
    with pytest.raises(ValueError, match=r"different sizes, \(3, 1, 64\) and \(3, 64, 64\); let it bring all to one"):
        batch(data.loader(part, 3, transform=steps))


def test_a_transform_that_gives_no_tensor_or_is_none_is_refused(photographs):
    part = part_of(photographs / "png")
    with pytest.raises(TypeError, match="gives a picture of Pillow; let it end with one that gives a tensor"):
        batch(data.loader(part, 3, transform=v2.Resize((8, 8))))
    with pytest.raises(TypeError, match="loader needs a transform that makes a tensor of a picture, not None"):
        data.loader(part, 3, transform=None)


@pytest.mark.processes
def test_workers_give_the_same_batches(photographs):
    part, steps = part_of(photographs / "jpg"), TRANSFORMS["resize"]
    alone = [images for images, _ in data.loader(part, 4, transform=steps)]
    shared = [images for images, _ in data.loader(part, 4, transform=steps, workers=2)]
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))
    again = pickle.loads(pickle.dumps(data.loader(part, 4, transform=steps).dataset))
    assert torch.equal(again[3][0], data.loader(part, 4, transform=steps).dataset[3][0])
