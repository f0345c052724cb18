"""Lesson 5 from its first cell to its last with other networks and other folders than its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from course_utils import transfer
from course_utils.base import lessons
from course_utils.command.builder import code_of, to_notebook
from course_utils.data.sample_folder import NAMES, write_sample_folder

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.lessons
SMALL = {"per_class": 4, "validated": 4, "tested": 4, "side": 64, "epochs": 1}


def run_lesson(settings, variables):
    """Run the lesson's code as a script with these settings; return what it printed."""
    code = "\n".join(code_of(to_notebook(lessons.sources(ROOT)["05"])))
    for name, value in settings.items():
        assert code.count(f"\n{name} = None") == 1
        code = code.replace(f"\n{name} = None", f"\n{name} = {value!r}")
    environment = os.environ | {"COURSE_OFFLINE": "1", "COURSE_PROFILE": "quick", "MPLBACKEND": "agg"} | variables
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint('the end')"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("the end\n")
    return done.stdout


def other_network(name, tmp_path):
    """Put a network of torchvision where its weights would be downloaded to; return the settings and variables."""
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    file = tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(transfer.backbone(name, weights=None).model.state_dict(), file)  # random numbers in place of ImageNet's
    return SMALL | {"backbone": name}, {"TORCH_HOME": str(tmp_path)}


def test_the_lesson_runs_with_another_network_and_holds_no_names_of_the_first_one(tmp_path):
    said = run_lesson(*other_network("squeezenet1_0", tmp_path))
    assert "squeezenet1_0 wants: shorter side 256" in said and "blocks.6" not in said


def test_the_lesson_runs_on_a_flat_folder_of_unequal_classes_with_odd_names(tmp_path):
    counts = dict(zip(NAMES, (3, 4, 6, 9, 12, 4, 5, 7, 8, 30)))
    folder = write_sample_folder(tmp_path / "mine", per_class=counts, side=64)
    for old, new in (("Bag", "$5-$10 bags"), ("Coat", "Mäntel & 外套"), ("Sandal", "cats")):
        (folder / old).rename(folder / new)
    Image.new("RGB", (500, 40), "red").save(folder / "cats" / "wide.jpg")
    (folder / "Dress" / "notes.txt").write_text("not a picture")
    (folder / "$5-$10 bags" / "round").symlink_to(folder, target_is_directory=True)
    said = run_lesson(SMALL | {"pictures": str(folder), "loop_pictures": 40}, {})
    assert "efficientnet_lite0 has categories for" in said and "'cats'" in said
    assert "40 of " in said and "notes.txt" in said and said.count("round/") == 1


def test_the_lesson_runs_with_a_third_network_on_two_classes_that_imagenet_knows(tmp_path):
    folder = write_sample_folder(tmp_path / "mine", ["Sandal", "Coat"], per_class=8, side=64)
    settings, variables = other_network("resnet18", tmp_path)
    said = run_lesson(settings | {"pictures": str(folder)}, variables)
    assert "All your classes are categories. Untouched, it gets " in " ".join(said.split()) and "blocks.6" not in said
