"""Files spoiled at random are refused in a sentence, and processes killed at random leave whole files to go on from.

COURSE_MUTANTS and COURSE_KILLS say how many of each are tried: a few here, more once a week; 2,000 and 20 take minutes.
"""

import copy
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import textwrap
import time
import zipfile

import numpy as np
import pytest
import torch
from rounds import WEEKLY
from torch import nn

from course_utils import data, training, transfer
from course_utils.errors import CourseError

MUTANTS = int(os.environ.get("COURSE_MUTANTS", "600" if WEEKLY else "60"))
KILLS = int(os.environ.get("COURSE_KILLS", "10" if WEEKLY else "1"))
SEED = int(os.environ.get("COURSE_SEED", "0"))
PART = data.TensorPart(
    torch.randint(256, (24, 1, 3, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)),
    torch.arange(24) % 3, ("a", "b", "c"), "train", (0.5,), (0.25,),
)  # fmt: skip


def go_on(file, epochs=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Dropout(0.1), nn.Linear(4, 3))
    batches = data.batches(PART, 8, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=9)
    return training.fit(
        model, batches, [(torch.zeros(2, 1, 3, 4), torch.tensor([0, 1]))], epochs=epochs, optimizer=optimizer,
        scheduler=schedule, patience=9, checkpoint=file, progress=False,
    ), model  # fmt: skip


def load_weights(file):
    training.load_weights(go_on(None, 1)[1], file)


class Attack:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def in_bytes(whole, draw, _):
    """Flip, cut, repeat or insert some bytes."""
    spoiled = bytearray(whole)
    for _ in range(draw.choice((1, 1, 5))):
        place, length = draw.randrange(len(spoiled)), draw.choice((1, 1, 8, 200))
        kind = draw.randrange(5)
        if kind == 0:
            spoiled[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del spoiled[place : place + length]
        elif kind == 2:
            spoiled[place:place] = draw.randbytes(length)
        elif kind == 3:
            spoiled[place : place + length] = draw.randbytes(length)
        else:
            del spoiled[max(1, place) :]
    return bytes(spoiled)


def in_the_pickle(whole, draw, _):
    """Spoil what the archive's parts say, with sums that are right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as parts, zipfile.ZipFile(stream, "w") as archive:
        for name in parts.namelist():
            content = parts.read(name)
            archive.writestr(name, in_bytes(content, draw, _) if name.endswith("data.pkl") else content)
    return stream.getvalue()


ODD = (None, -1, 10**400, 0.5, float("nan"), "x", [], {}, (1,), True, b"\0", torch.zeros(()), torch.zeros(2, 0),
       torch.ones(3, 5), torch.full((4, 12), float("nan")), torch.zeros(4, dtype=torch.complex64))  # fmt: skip


def in_its_meaning(whole, draw, folder):
    """Replace or remove one of the values."""
    state = torch.load(io.BytesIO(whole), weights_only=True)
    holder = root = {"": state}
    key = ""
    while isinstance(holder[key], (dict, list)) and holder[key] and draw.random() < 0.85:
        holder = holder[key]
        key = draw.choice(list(holder)) if isinstance(holder, dict) else draw.randrange(len(holder))
    if draw.random() < 0.2 and key != "":
        del holder[key]
    else:
        holder[key] = Attack(str(folder)) if draw.random() < 0.15 else copy.deepcopy(draw.choice(ODD))
    stream = io.BytesIO()
    torch.save(root[""], stream)
    return stream.getvalue()


def in_the_header(whole, draw, folder):
    """Spoil what a saved network says of itself."""
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    about = json.loads(header["__metadata__"]["classifier"])
    key = draw.choice(list(about))
    about[key] = draw.choice((None, -1, 10**30, "x", [], {}, [[]], {"layers": [], "single": True}, str(folder)))
    header["__metadata__"]["classifier"] = json.dumps(about)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    go_on(folder / "run", 2)
    transfer.save_network(
        transfer.replace_head(transfer.backbone("resnet10t", weights=None), ("a", "b")), folder / "net"
    )
    return {name: (folder / name).read_bytes() for name in ("run", "net")}


@pytest.mark.parametrize(
    ("name", "spoil", "use", "share"),
    [
        ("run", in_bytes, go_on, 0.3),
        ("run", in_the_pickle, go_on, 0.2),
        ("run", in_its_meaning, go_on, 0.3),
        ("run", in_its_meaning, load_weights, 0.15),
        ("net", in_bytes, transfer.load_network, 0.03),
        ("net", in_the_header, transfer.load_network, 0.02),
    ],
)
def test_a_spoiled_file_is_refused_in_a_sentence_and_runs_and_writes_nothing(
    tmp_path, capsys, originals, name, spoil, use, share
):
    draw, refused = random.Random(f"{SEED} {spoil.__name__} {use.__name__}"), 0
    file, made = tmp_path / "file.pt", tmp_path / "made"
    count = max(2, round(share * MUTANTS))
    for _ in range(count):
        spoiled = spoil(originals[name], draw, made)
        file.write_bytes(spoiled)
        try:
            use(file)
        except (CourseError, ValueError) as error:
            refused += 1
            assert isinstance(error, CourseError) or "epochs" in str(error), repr(error)
            assert "\n" not in str(error) and file.read_bytes() == spoiled
        assert [path.name for path in tmp_path.iterdir()] == ["file.pt"], "something was written"
    assert refused >= count / 4 and capsys.readouterr().out == ""


def test_a_pickle_from_a_stranger_makes_no_folder(tmp_path):
    for file, content in [("old.pt", pickle.dumps(Attack(str(tmp_path / "made")))), ("new.pt", None)]:
        if content is None:
            torch.save({"model": Attack(str(tmp_path / "made"))}, tmp_path / file)
        else:
            (tmp_path / file).write_bytes(content)
        for use in (go_on, load_weights, transfer.load_network):
            with pytest.raises(CourseError):
                use(tmp_path / file)
    assert not (tmp_path / "made").exists()


# Killed at random moments


JOB = """
    import sys, hashlib, json
    from pathlib import Path
    import torch
    from torch import nn
    from course_utils import data, training
    from course_utils.base.files import replace_file
    torch.set_num_threads(1)
    job, folder = sys.argv[1], Path(sys.argv[2])

    def digest(model):
        return hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.state_dict().values())).hexdigest()

    def train():
        torch.manual_seed(0)
        images, labels = torch.randint(256, (96, 1, 16, 16), dtype=torch.uint8), torch.arange(96) % 3
        part = data.TensorPart(images, labels, ("a", "b", "c"), "train", (0.5,), (0.25,))
        batches = data.batches(part, size=16, shuffle=True, augment=data.Augment(crop=1, flip=True), seed=5)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
                              nn.Linear(1568, 200), nn.Linear(200, 3))
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=120)
        training.fit(model, batches, batches, epochs=20, optimizer=optimizer, scheduler=schedule, patience=20,
                     checkpoint=folder / "run.pt", progress=False)
        return digest(model)

    def save():
        for seed in range(25):
            torch.manual_seed(seed)
            training.save_weights(nn.Linear(700, 700), folder / "weights.pt")
            replace_file(folder / "report.json", json.dumps({"seed": seed, "text": "x" * 300_000}))
        return "saved"

    def cache():
        from PIL import Image
        from course_utils import transfer
        pictures = folder / "pictures"
        for number in range(40):
            file = pictures / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (32, 32), number * 6).save(file)
        torch.manual_seed(0)
        net = transfer.backbone("resnet10t", weights=None)
        part = data.folder(pictures, quiet=True).train
        print("ready", flush=True)
        features = transfer.cached_features(net, part, cache=folder / "cache", batch=2, progress=False)
        return hashlib.sha256(features.values.numpy().tobytes()).hexdigest()

    def build():
        from course_utils.command import builder
        print("ready", flush=True)
        builder.build("01", "quick", root=folder)
        cells = json.loads((folder / "notebooks" / "01_toy.ipynb").read_text())["cells"]
        figures = json.loads((folder / "results" / "01_quick.json").read_text())["figures"]
        return [cell for cell in cells if cell["cell_type"] == "code"], figures

    if job in ("train", "save"):
        print("ready", flush=True)
    print(globals()[job](), flush=True)
"""


def start(job, folder, source):
    if not folder.exists():
        shutil.copytree(source, folder)
    code = textwrap.dedent(JOB)
    return subprocess.Popen(
        [sys.executable, "-c", code, job, str(folder)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COURSE_OFFLINE": "1"},
    )  # fmt: skip


def finished(*job):
    """Run a job to its end; return what it says and the seconds that it worked."""
    running = start(*job)
    assert running.stdout.readline() == "ready\n"
    begun = time.monotonic()
    said, _ = running.communicate(timeout=600)
    assert running.returncode == 0
    return said, time.monotonic() - begun


def whole(job, folder):
    """Say what is wrong with a file that a killed job left in its place, or nothing."""
    for file in folder.glob("*.pt"):
        if not file.name.startswith(".part-"):
            assert isinstance(torch.load(file, weights_only=True), dict)
            with zipfile.ZipFile(file) as archive:
                assert archive.testzip() is None
    if (folder / "report.json").exists():
        assert len(json.loads((folder / "report.json").read_text())["text"]) == 300_000
    for file in [*folder.glob("notebooks/*.ipynb"), *folder.glob("results/*.json")]:
        assert json.loads(file.read_text())
    for values in folder.glob("cache/*/[!.]*/values.npy"):
        assert len(np.load(values)) == len(np.load(values.with_name("rows.npy")))


@pytest.mark.processes
@pytest.mark.parametrize("job", ["train", "save", "cache", "build"])
def test_a_process_killed_at_random_leaves_whole_files_and_goes_on_as_if_it_had_not_been(tmp_path, toy_root, job):
    source = tmp_path / "source"
    shutil.copytree(toy_root / "notebooks" / "source", source / "notebooks" / "source")
    expected, seconds = finished(job, tmp_path / "whole", source)
    draw = random.Random(f"{SEED} {job}")
    for turn in range(KILLS):
        folder = tmp_path / f"cut{turn}"
        running = start(job, folder, source)
        assert running.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0, seconds))
        running.kill()
        running.wait()
        whole(job, folder)
        assert finished(job, folder, source)[0] == expected
        whole(job, folder)
        names = {path.name for path in folder.rglob("*")} - {path.name for path in (tmp_path / "whole").rglob("*")}
        names -= {path.name for part in folder.rglob(".part-*") for path in part.rglob("*")}
        assert len(names) <= 1 and all(name.startswith(".part-") for name in names)  # of the killed one
