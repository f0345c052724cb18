"""Batches of whole tensors equal what torchvision does picture by picture, and depend on seed and epoch alone."""

import pickle

import pretend
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from course_utils import acceleration, data
from course_utils.data.batches import crop, cutout, fits, hflip
from course_utils.errors import DataError


def pictures(n=10, channels=3, height=8, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=generator)


def part(n=10, **shape):
    images = pictures(n, **shape)
    labels = torch.arange(n) % 3
    mean, std = data.statistics(images)
    return data.TensorPart(images, labels, ("a", "b", "c"), "train", mean, std)


@settings(max_examples=40)
@given(
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.integers(3, 9),
    st.integers(3, 9),
    st.integers(0, 4),
    st.integers(0, 99),
)
def test_crop_equals_torchvisions_pad_and_crop(n, channels, height, width, padding, seed):
    images = pictures(n, channels, height, width, seed)
    offsets = torch.randint(0, 2 * padding + 1, (n, 2), generator=torch.Generator().manual_seed(seed))
    wanted = [
        TF.crop(TF.pad(image, [padding] * 4), int(top), int(left), height, width)
        for image, (top, left) in zip(images, offsets)
    ]
    assert torch.equal(crop(images, offsets, padding), torch.stack(wanted))
    assert torch.equal(crop(images.float(), offsets, padding), torch.stack(wanted).float())


def test_crop_does_not_mind_the_memory_layout():
    images, offsets = pictures(), torch.randint(0, 5, (10, 2))
    for wrong, padding in ((offsets - 5, 2), (offsets + 5, 2), (offsets, -1)):
        with pytest.raises(ValueError, match="Offsets must lie between 0 and 2"):
            crop(images, wrong, padding)
    assert torch.equal(crop(images.to(memory_format=torch.channels_last), offsets, 2), crop(images, offsets, 2))


def test_hflip_equals_torchvisions_flip_where_chosen():
    images, chosen = pictures(), torch.arange(10) % 3 == 0
    wanted = [TF.horizontal_flip(image) if flip else image for image, flip in zip(images, chosen)]
    before = images.clone()
    assert torch.equal(hflip(images, chosen), torch.stack(wanted))
    assert torch.equal(images, before)


def test_cutout_covers_a_square_around_each_centre_and_nothing_else():
    images = pictures(2, height=10, width=10)
    done = cutout(images, torch.tensor([[5, 5], [0, 9]]), 4, fill=torch.tensor([1, 2, 3]).view(3, 1, 1))
    wanted = images.clone()
    wanted[0, :, 3:7, 3:7] = torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1)
    wanted[1, :, 0:2, 7:10] = torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1)
    assert torch.equal(done, wanted)


def test_augment_reaches_every_offset_and_flips_about_half():
    images = torch.zeros(4000, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2] = 1
    moved = data.Augment(crop=2)(images, torch.Generator().manual_seed(0))
    assert (moved.sum(0) > 0).all()
    images[:, :, 2, 2], images[:, :, 2, 1] = 0, 1
    mirrored = data.Augment(flip=True)(images, torch.Generator().manual_seed(0))
    assert 1850 < int(mirrored[:, 0, 2, 3].sum()) < 2150
    cut = data.Augment(cutout=3)(images + 1, torch.Generator().manual_seed(0))
    assert (cut == 0).any(0).all()
    assert ((cut == 0).sum((1, 2, 3)) <= 9).all()


def test_no_augmentation_changes_nothing():
    images = pictures()
    assert torch.equal(data.Augment()(images), images)


@pytest.mark.parametrize("wrong", [{"crop": -1}, {"cutout": -2}])
def test_augment_refuses_negative_sizes(wrong):
    with pytest.raises(ValueError, match="0 or more"):
        data.Augment(**wrong)


def test_batches_are_normalised_as_torchvision_does():
    whole = part()
    images, labels = next(iter(data.batches(whole, 10)))
    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(whole.mean, whole.std)])
    torch.testing.assert_close(images, normalise(whole.images))
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    plain, _ = next(iter(data.batches(whole, 10, normalise=False)))
    torch.testing.assert_close(plain, whole.images / 255)


def test_the_set_itself_is_never_changed():
    whole = part()
    before = whole.images.clone()
    for _ in data.batches(whole, 4, shuffle=True, augment=data.Augment(2, True, 3)):
        pass
    assert torch.equal(whole.images, before)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_the_last_batch_may_be_smaller_or_left_out(drop_last, sizes):
    made = data.batches(part(), 4, drop_last=drop_last)
    assert [len(labels) for _, labels in made] == sizes
    assert (len(made), made.count) == (len(sizes), sum(sizes))


def test_shuffling_shows_every_picture_once_and_keeps_labels_with_pictures():
    whole = part(50)
    made = data.batches(whole, 8, shuffle=True, normalise=False)
    images, labels = (torch.cat(parts) for parts in zip(*made))
    found = [(whole.images / 255 - image).abs().flatten(1).sum(1).argmin().item() for image in images]
    assert sorted(found) == list(range(50))
    assert found != list(range(50))
    assert torch.equal(whole.labels[found], labels)
    in_order = torch.cat([labels for _, labels in data.batches(whole, 8)])
    assert torch.equal(in_order, whole.labels)


def passes(made, n):
    return [torch.cat([images for images, _ in made]) for _ in range(n)]


OPTIONS = {"shuffle": True, "augment": data.Augment(crop=2, flip=True, cutout=2)}


def test_each_epoch_differs_and_the_same_seed_repeats_them():
    first, second, third = passes(data.batches(part(50), 8, seed=1, **OPTIONS), 3)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    again = passes(data.batches(part(50), 8, seed=1, **OPTIONS), 3)
    assert all(torch.equal(a, b) for a, b in zip((first, second, third), again))
    assert not torch.equal(first, passes(data.batches(part(50), 8, seed=2, **OPTIONS), 1)[0])


def test_set_epoch_resumes_where_an_uninterrupted_run_would_be():
    uninterrupted = passes(data.batches(part(50), 8, **OPTIONS), 4)
    resumed = data.batches(part(50), 8, **OPTIONS)
    resumed.set_epoch(2)
    assert all(torch.equal(a, b) for a, b in zip(uninterrupted[2:], passes(resumed, 2)))
    assert resumed.epoch == 4


def test_a_pass_that_is_broken_off_is_repeated():
    made = data.batches(part(50), 8, **OPTIONS)
    first = next(iter(made))[0]
    assert made.epoch == 0
    assert torch.equal(first, next(iter(made))[0])


def test_the_order_does_not_depend_on_the_augmentation():
    plain = torch.cat([labels for _, labels in data.batches(part(50), 8, shuffle=True)])
    changed = torch.cat([labels for _, labels in data.batches(part(50), 8, **OPTIONS)])
    assert torch.equal(plain, changed)


def test_batches_leave_the_global_random_state_alone():
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    passes(data.batches(part(), 4, **OPTIONS), 2)
    assert torch.equal(torch.rand(1), wanted)


def test_channels_last_changes_the_layout_and_not_the_values():
    last, _ = next(iter(data.batches(part(), 10, channels_last=True)))
    plain, _ = next(iter(data.batches(part(), 10)))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, plain)


def test_batches_can_be_pickled():
    made = pickle.loads(pickle.dumps(data.batches(part(), 4, **OPTIONS)))
    assert torch.equal(passes(made, 1)[0], passes(data.batches(part(), 4, **OPTIONS), 1)[0])


def test_cutout_paints_the_mean_colour_which_is_nearly_zero_after_normalising():
    whole = part(40, height=12, width=12)
    images, _ = next(iter(data.batches(whole, 40, augment=data.Augment(cutout=30))))
    covered = images.abs().amax(1) < 0.5 / 255 / min(whole.std) + 1e-6
    assert covered.float().mean() > 0.9


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_holds_at_least_one_picture(size):
    with pytest.raises(ValueError, match="at least 1, not"):
        data.batches(part(), size)


def test_dropping_the_only_batch_is_refused():
    with pytest.raises(DataError, match="10 pictures fill no batch of 11"):
        data.batches(part(), 11, drop_last=True)


def test_a_set_stays_in_main_memory_when_it_would_fill_the_device(monkeypatch):
    images = pictures()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * images.numel(), 0))
    assert fits(images, torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * images.numel() - 1, 0))
    assert not fits(images, torch.device("cuda"))
    assert fits(images, torch.device("cpu"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 1.5}, "whole number of pictures, at least 1, not 1.5"),
        ({"size": "8"}, "not '8'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"device": "gpu"}, r"batches knows no device 'gpu'; give .* or pick_device\(\)\.torch\.$"),
        ({"device": acceleration.pick_device("cpu")}, "batches knows no device TorchDevice"),
        *([] if torch.cuda.is_available() else [({"device": "cuda"}, "no GPU that this PyTorch can use")]),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        data.batches(part(), **settings)


def test_a_batch_on_a_gpu_waits_for_nothing_but_its_random_numbers():
    options = {"shuffle": True, "augment": data.Augment(crop=2, cutout=3), "device": pretend.DEVICE}
    batches = data.batches(part(40), 8, **options)
    with pretend.Waits() as waits:
        assert len(list(batches)) == 5
    # The order once; then the places of the cuts and of the squares. The colour of the squares lies there already.
    assert waits.count == {"copies there": 1 + 2 * 5}
