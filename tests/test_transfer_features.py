"""Cached features: the same numbers as the network gives, computed once, never stale, never half-written."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from course_utils import data, pictures, training, transfer
from course_utils.base.files import ABANDONED
from course_utils.errors import DataError
from course_utils.transfer import features as module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("features") / "two"
    for name in ("cat", "coffee"):
        (root / name).mkdir(parents=True)
        picture = pictures.photograph(name)
        for i in range(12):
            x, y = 17 * i % (picture.width - 96), 29 * i % (picture.height - 96)
            picture.crop((x, y, x + 96, y + 96)).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = transfer.backbone("resnet18", weights=None)
    small = replace(made.preprocess, resize=72, crop=64)
    return transfer.replace_head(replace(made, preprocess=small), ["cat", "coffee"])


@pytest.fixture
def listed(folder):
    return data.folder(folder, quiet=True)


class Counting:
    """Counts the pictures that go through a network."""

    def __init__(self, net):
        self.pictures = 0
        net.model.register_forward_pre_hook(self.count)

    def count(self, _, inputs):
        self.pictures += len(inputs[0])


def direct(net, pictures_, preprocess=None):
    change = preprocess or net.preprocess
    return net.features(torch.stack([change(pictures_.picture(i)) for i in range(len(pictures_))]))


def test_cached_features_are_what_the_network_gives(net, listed, tmp_path):
    first = transfer.cached_features(net, listed.train, cache=tmp_path, batch=5)
    torch.testing.assert_close(first.values, direct(net, listed.train))
    assert first.values.shape == (12, 512) and torch.equal(first.labels, listed.train.labels)
    assert first.classes == ("cat", "coffee") and first.computed == 12
    again = transfer.cached_features(net, listed.train, cache=tmp_path)
    assert again.computed == 0 and torch.equal(again.values, first.values)


def test_the_second_time_no_picture_goes_through_the_network(net, listed, tmp_path):
    transfer.cached_features(net, listed.train, cache=tmp_path)
    counting = Counting(net)
    transfer.cached_features(net, listed.train, cache=tmp_path)
    assert counting.pictures == 0


def test_other_weights_and_other_preprocessing_have_features_of_their_own(net, listed, tmp_path):
    first = transfer.cached_features(net, listed.test, cache=tmp_path)
    smaller = replace(net.preprocess, resize=net.preprocess.crop)
    other = transfer.cached_features(net, listed.test, smaller, cache=tmp_path)
    assert other.computed == len(listed.test) and not torch.equal(other.values, first.values)
    with torch.no_grad():
        net.model.conv1.weight[0, 0, 0, 0] += 0.5
    try:
        changed = transfer.cached_features(net, listed.test, cache=tmp_path)
    finally:
        with torch.no_grad():
            net.model.conv1.weight[0, 0, 0, 0] -= 0.5
    assert changed.computed == len(listed.test) and not torch.equal(changed.values, first.values)


def test_another_head_uses_the_same_features(net, listed, tmp_path):
    transfer.cached_features(net, listed.test, cache=tmp_path)
    with torch.no_grad():
        net.model.fc.weight += 1
    assert transfer.cached_features(net, listed.test, cache=tmp_path).computed == 0


def test_only_files_that_changed_are_computed_anew(net, folder, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    listed = data.folder(own, quiet=True).train
    before = transfer.cached_features(net, listed, cache=tmp_path / "cache").values
    pictures.photograph("raccoon").crop((0, 0, 90, 90)).save(listed.files[3])
    after = transfer.cached_features(net, listed, cache=tmp_path / "cache")
    assert after.computed == 1
    assert not torch.equal(after.values[3], before[3])
    assert torch.equal(torch.cat([after.values[:3], after.values[4:]]), torch.cat([before[:3], before[4:]]))
    torch.testing.assert_close(after.values, direct(net, listed))
    assert transfer.cached_features(net, listed.select([5, 3, 1]), cache=tmp_path / "cache").computed == 0


def test_writing_to_values_changes_no_file(net, listed, tmp_path):
    found = transfer.cached_features(net, listed.train, cache=tmp_path)
    kept = found.values
    found.values[0] = 7
    found.rows(torch.tensor([0]))[0] = 7
    assert torch.equal(found.values, kept)
    with pytest.raises(ValueError, match="read-only"):
        found.stored[0] = 7


def test_features_larger_than_memory_are_read_row_by_row(tmp_path):
    count, width = 200_000, 1_000_000  # 800 GB as floats: a file with holes, which no memory would hold
    rows = np.zeros((count, 32), np.uint8)
    np.save(tmp_path / module.ROWS, rows)
    with (tmp_path / module.VALUES).open("wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count, width)})
        file.truncate(file.tell() + 4 * count * width)
    found = transfer.Features(module._read(tmp_path, rows), torch.zeros(count, dtype=torch.int64), ("a",), 0)
    last = found.rows(torch.tensor([count - 1, 5]))
    assert last.shape == (2, width) and not last.any()
    batch, _ = next(iter(found.batches(3, shuffle=True)))
    assert batch.shape == (3, width)


def test_damaged_files_are_computed_anew(net, listed, tmp_path):
    first = transfer.cached_features(net, listed.test, cache=tmp_path).values
    for name in (module.VALUES, module.ROWS):
        (file,) = tmp_path.rglob(name)
        file.write_bytes(file.read_bytes()[:-100])
        again = transfer.cached_features(net, listed.test, cache=tmp_path)
        assert again.computed == len(listed.test) and torch.equal(again.values, first)
    (file,) = tmp_path.rglob(module.ROWS)
    np.save(file, np.array([{"code": "here"}], dtype=object), allow_pickle=True)
    assert transfer.cached_features(net, listed.test, cache=tmp_path).computed == len(listed.test)


KILLED = """\
import pathlib, sys, time, torch
from course_utils import data, transfer
from dataclasses import replace
torch.manual_seed(0)
net = transfer.backbone("resnet18", weights=None)
net = replace(net, preprocess=replace(net.preprocess, resize=72, crop=64))
calls = 0
def watched(*_):
    global calls
    calls += 1
    print("working", flush=True)
    if calls == int(sys.argv[3]):
        time.sleep(600)  # until it is killed
net.model.register_forward_pre_hook(watched)
listed = data.folder(sys.argv[1], quiet=True).train
features = transfer.cached_features(net, listed, cache=pathlib.Path(sys.argv[2]), batch=2)
print(features.computed, flush=True)
"""


@pytest.mark.processes
def test_a_process_killed_midway_leaves_nothing_that_is_taken_for_features(folder, tmp_path):
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "cache")]
    process = subprocess.Popen([*command, "4"], stdout=subprocess.PIPE, text=True)
    for _ in range(4):  # the first is a trial of one empty picture
        assert process.stdout.readline() == "working\n"
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait(600)
    process.stdout.close()
    (left,) = (tmp_path / "cache").glob("*/*")
    assert left.name.startswith(".part-") and not list(left.rglob(module.ROWS))
    os.utime(left, (time.time() - 2 * ABANDONED,) * 2)
    again = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=600)
    assert again.stdout.splitlines()[-1] == "12", again.stderr
    (kept,) = (tmp_path / "cache").glob("*/*")  # what was left is tidied away
    assert sorted(path.name for path in kept.iterdir()) == sorted([module.ROWS, module.VALUES])


def test_an_interrupt_leaves_nothing_at_all(net, listed, tmp_path, monkeypatch):
    def interrupted(images):
        if len(images) > 1:
            raise KeyboardInterrupt
        return torch.zeros(1, 4)

    monkeypatch.setattr(net, "features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        transfer.cached_features(net, listed.train, cache=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_picture_that_cannot_be_read_is_named(net, listed, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    with_bad = replace(listed.test, files=(*listed.test.files[:-1], bad))
    with pytest.raises(DataError, match=r"bad\.png is not a picture"):
        transfer.cached_features(net, with_bad, cache=tmp_path / "cache")
    gone = replace(listed.test, files=(*listed.test.files[:-1], tmp_path / "gone.png"))
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        transfer.cached_features(net, gone, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_sentence(net, listed, tmp_path):
    (tmp_path / "blocked").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written to .*choose another folder with cache="):
        transfer.cached_features(net, listed.test, cache=str(tmp_path / "blocked"))  # as learners type it


def test_a_set_that_another_process_removes_meanwhile_is_no_error(net, listed, tmp_path, monkeypatch):
    transfer.cached_features(net, listed.train, cache=tmp_path)
    monkeypatch.setattr(module, "KEPT", 1)
    seen = type(tmp_path).stat
    gone = next(tmp_path.glob("*/*"))

    def stat(path, **options):
        if path == gone:
            raise FileNotFoundError(2, "No such file or directory")
        return seen(path, **options)

    monkeypatch.setattr(type(tmp_path), "stat", stat)
    assert len(transfer.cached_features(net, listed.test, cache=tmp_path)) == len(listed.test)


def test_features_are_selected_by_lists_and_masks():
    features = module.Features(np.arange(6, dtype=np.float32).reshape(3, 2), torch.tensor([0, 1, 0]), ("a", "b"), 0)
    for chosen in ([0, 2], torch.tensor([0, 2]), [True, False, True], np.array([True, False, True])):
        some = features.select(chosen)
        assert some.values.tolist() == [[0, 1], [4, 5]] and some.labels.tolist() == [0, 0]
    with pytest.raises(TypeError, match="select takes whole numbers"):
        features.select([0.5])


def test_what_cached_features_cannot_take_is_one_sentence(net, folder, listed):
    with pytest.raises(TypeError, match=r"takes one part of a set, not the whole set 'two'; give it \.train, say"):
        transfer.cached_features(net, listed)
    with pytest.raises(TypeError, match=r"takes picture files, not TensorPart.* call data\.folder without a size"):
        transfer.cached_features(net, data.folder(folder, size=(8, 8), quiet=True).train)
    with pytest.raises(TypeError, match=r"cached_features takes what transfer\.backbone returns, not a .*give it"):
        transfer.cached_features(net.model, listed.train)
    for batch in (0, -1, 2.5):
        with pytest.raises(
            ValueError, match="batch is the number of pictures that go through at once, at least 1, not"
        ):
            transfer.cached_features(net, listed.train, batch=batch)


def test_old_lists_go_when_there_are_many(net, listed, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    for count in range(2, 6):
        transfer.cached_features(net, listed.train.select(range(count)), cache=tmp_path)
    assert len(list(tmp_path.glob("*/[0-9a-f]*"))) <= 3


def test_shuffled_batches_come_in_a_new_order_in_every_pass_and_the_seed_decides_which():
    found = module.Features(np.arange(40, dtype=np.float32)[:, None], torch.arange(40), ("odd", "even"), 0)

    def passes(seed):
        batches = found.batches(8, shuffle=True, seed=seed)
        orders = []
        for _ in range(2):
            values, labels = (torch.cat(column) for column in zip(*batches))
            assert values.flatten().tolist() == labels.tolist()
            orders.append(labels.tolist())
        return orders

    first, second = passes(seed=1)
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second and passes(seed=1) == [first, second]
    assert passes(seed=2)[0] != first


@pytest.mark.outcome
def test_batches_are_shuffled_by_their_seed_and_a_head_trains_on_them(net, listed, tmp_path):
    found = transfer.cached_features(net, listed.train, cache=tmp_path)
    batches = found.batches(5, shuffle=True, seed=1)
    assert len(batches) == 3 and [len(labels) for _, labels in batches] == [5, 5, 2]
    orders = [torch.cat([labels for _, labels in found.batches(5, shuffle=True, seed=s)]) for s in (1, 1, 2)]
    assert torch.equal(orders[0], orders[1]) and sorted(orders[2].tolist()) == sorted(orders[0].tolist())
    torch.manual_seed(0)
    head = nn.Linear(512, 2)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.01)
    training.fit(head, found.batches(4, shuffle=True), epochs=30, optimizer=optimizer, progress=False)
    assert training.evaluate(head, found.batches()).accuracy == 1.0
    assert len(found.select(torch.tensor([2, 0]))) == 2
    with pytest.raises(ValueError, match="a whole number of pictures, at least 1, not 0"):
        found.batches(0)


def test_squeezenets_features_are_maps_and_its_tail_learns_from_them(listed, tmp_path):
    net = transfer.replace_head(transfer.backbone("squeezenet1_0", weights=None), ["cat", "coffee"])
    found = transfer.cached_features(
        net, listed.test.select([0, 5]), replace(net.preprocess, resize=72, crop=64), cache=tmp_path
    )
    assert found.values.shape == (2, 512, 3, 3)
    assert net.tail().eval()(found.values).shape == (2, 2)


def test_a_disk_that_fills_up_is_a_sentence_and_leaves_nothing(net, listed, tmp_path):
    """A file that is mapped into memory would end the process here, as if memory had run out."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("no right to mount a small disk")
    try:
        with pytest.raises(DataError, match="The disk is full"):
            transfer.cached_features(net, listed.train, cache=disk, progress=False)
        assert [path for path in disk.rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=False)
