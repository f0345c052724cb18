"""`course ask`: what a saved classifier says of pictures, of folders of them, and of files that are none."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image

from course_utils import pictures, transfer
from course_utils.command import ask
from course_utils.errors import SettingError

CLASSES = ("cat", "cup", "something else")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A small network whose head answers by the brightness of nothing: any fixed answer will do here."""
    net = transfer.replace_head(transfer.backbone("squeezenet1_0", weights=None), CLASSES, seed=1)
    file = tmp_path_factory.mktemp("saved") / "mine.safetensors"
    transfer.save_network(net, file)
    return file


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one of them below, and all that lies about in such folders."""
    made = tmp_path / "own"
    (made / "more").mkdir(parents=True)
    pictures.photograph("cat").save(made / "cat.jpg")
    pictures.photograph("coffee").save(made / "more" / "cup.png")
    whole = (made / "cat.jpg").read_bytes()
    (made / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (made / "notes.txt").write_text("bread, milk")
    (made / ".DS_Store").write_bytes(b"x")
    return made


def test_each_picture_is_answered_with_the_shares_that_the_network_gives(course, classifier, folder):
    code, output, errors = course("ask", str(classifier), str(folder / "cat.jpg"), str(folder / "more" / "cup.png"))
    assert code == 0 and errors == ""
    lines = output.splitlines()
    net = transfer.load_network(classifier)
    for line, name, file in zip(lines, ("cat.jpg", "cup.png"), (folder / "cat.jpg", folder / "more" / "cup.png")):
        expected = ", ".join(f"{g.name} {100 * g.probability:.1f} %" for g in net.predict(file, 3))
        assert line.split(maxsplit=1) == [name, expected]
    assert len(lines) == 2  # it has a class for anything else, so no warning


def test_a_folder_is_gone_through_and_what_cannot_be_read_is_named(course, classifier, folder):
    code, output, errors = course("ask", str(classifier), str(folder), "--top", "1")
    assert code == 1
    assert [line.split()[0] for line in output.splitlines()] == ["cat.jpg", "more/cup.png"]
    assert all(line.count("%") == 1 for line in output.splitlines())
    first, second = errors.splitlines()
    assert first.startswith("course: half.jpg is damaged or incomplete") and str(folder) not in first
    assert second == "course: passed over, as they are no pictures: notes.txt."


@pytest.mark.parametrize("locked", ["more", "own"])
def test_a_folder_that_may_not_be_opened_is_named_and_the_others_are_answered(folder, locked, monkeypatch):
    def scandir(place, opened=os.scandir):
        if str(place).endswith(locked):
            raise PermissionError(13, "Permission denied", str(place))
        return opened(place)

    monkeypatch.setattr("os.scandir", scandir)
    if locked == "own":
        with pytest.raises(SettingError, match=r"own cannot be read \(Permission denied\); check its permissions"):
            ask.find([folder])
        return
    asked, others = ask.find([folder])
    assert [each.shown for each in asked] == ["cat.jpg", "half.jpg", "more"] and others == ["notes.txt"]
    net = transfer.replace_head(transfer.backbone("squeezenet1_0", weights=None), CLASSES)
    cat, _, more = ask.answers(net, asked, 1)
    assert cat.guesses and more.error == "more cannot be read (Permission denied); check its permissions."
    (folder / "cat.jpg").unlink()
    (folder / "half.jpg").unlink()
    with pytest.raises(SettingError, match=r"no pictures that can be reached \(more cannot be read"):
        ask.find([folder])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("notes.txt", "course: notes.txt is not a picture; expected one of"),
        ("half.jpg", "course: half.jpg is damaged or incomplete"),
        ("none.jpg", "course: none.jpg cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_is_no_picture_ends_with_2_and_the_others_are_answered(course, classifier, folder, name, says):
    code, output, errors = course("ask", str(classifier), str(folder / name), str(folder / "cat.jpg"))
    assert code == 2 and errors.startswith(says) and errors.count("\n") == 1
    assert output.startswith("cat.jpg ") and output.count("\n") == 1


def test_a_file_that_is_no_classifier_ends_with_2_and_one_sentence(course, classifier, folder):
    torch.save({"weights": torch.zeros(2)}, folder / "pickled.pt")
    says = {
        "cat.jpg": "course: cat.jpg is damaged, cut short or not a saved network",
        "pickled.pt": "course: pickled.pt is a file of torch.save, which may hold code",
        "none.safetensors": "course: There is no file none.safetensors",
        "more": "is a folder; name the file of a saved classifier first, then pictures.",
    }
    for name, sentence in says.items():
        code, output, errors = course("ask", str(folder / name), str(folder / "cat.jpg"))
        assert (code, output) == (2, "") and sentence in errors and errors.count("\n") == 1
    empty = folder / "empty"
    empty.mkdir()
    code, output, errors = course("ask", str(classifier), str(empty))
    assert (code, output) == (2, "") and "holds no pictures" in errors
    assert course("ask", str(classifier))[0] == 2
    code, output, errors = course("ask", str(classifier), str(empty), str(folder / "cat.jpg"))
    assert code == 2 and output.startswith("cat.jpg ") and "holds no pictures" in errors
    assert "classes and has none" not in course("ask", str(classifier), str(folder / "none.jpg"))[1]


def test_an_empty_folder_is_named_also_where_it_is_the_one_at_hand(course, classifier, folder, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for more in ([], [str(folder / "cat.jpg")]):
        code, _, errors = course("ask", str(classifier), ".", *more)
        assert code == 2 and errors == "course: . holds no pictures; name a folder that does, or a picture.\n"


def test_shares_that_are_no_numbers_are_an_error_of_that_picture(classifier, folder):
    net = transfer.load_network(classifier)
    with torch.no_grad():
        net.head_layer.bias[0] = float("nan")
    asked, others = ask.find([folder])
    given = list(ask.answers(net, asked, 3))
    assert [bool(answer.guesses) for answer in given] == [False] * 3
    assert given[0].error == "The classifier gives cat.jpg no finite shares; train it again and save it."
    json.loads(ask.to_json(net, given, others), parse_constant=pytest.fail)


def test_links_to_other_folders_are_followed_once(folder, tmp_path):
    shutil.copytree(folder / "more", tmp_path / "elsewhere")
    try:
        (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    for place, name, target in (("elsewhere", "back", "own"), ("elsewhere", "again", "elsewhere"), ("own", "up", ".")):
        (tmp_path / place / name).symlink_to(tmp_path / target, target_is_directory=True)
    asked, _ = ask.find([folder])
    assert [each.shown for each in asked] == ["cat.jpg", "half.jpg", "linked/cup.png", "more/cup.png"]


def test_files_of_one_name_are_told_apart_by_their_paths(course, classifier, folder, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(folder / "cat.jpg", tmp_path / name / "IMG_0001.jpg")
    table = tmp_path / "table.csv"
    output = course("ask", classifier, tmp_path / "one", tmp_path / "two" / "IMG_0001.jpg", "--csv", table)[1]
    for name in ("one", "two"):
        assert f"{(tmp_path / name / 'IMG_0001.jpg').as_posix()} " in output
        assert f"{(tmp_path / name / 'IMG_0001.jpg').as_posix()}," in table.read_text(encoding="utf-8")


def test_a_classifier_without_a_class_for_anything_else_says_so(course, classifier, folder, tmp_path):
    net = transfer.replace_head(transfer.backbone("squeezenet1_0", weights=None), ("cat", "cup"))
    transfer.save_network(net, tmp_path / "two.safetensors")
    _, output, _ = course("ask", str(tmp_path / "two.safetensors"), str(folder / "cat.jpg"))
    assert output.splitlines()[1].startswith("This classifier knows 2 classes and has none for anything else")


def test_programs_get_json_and_csv_with_the_same_figures(course, classifier, folder, tmp_path):
    table = tmp_path / "answers.csv"
    code, output, _ = course("ask", str(classifier), str(folder), "--json", "--csv", str(table), "--top", "2")
    whole = json.loads(output)
    assert code == 1 and whole["classes"] == list(CLASSES) and whole["passed"] == ["notes.txt"]
    assert [each["picture"] for each in whole["pictures"]] == ["cat.jpg", "half.jpg", "more/cup.png"]
    assert [bool(each["error"]) for each in whole["pictures"]] == [False, True, False]
    rows = list(csv.DictReader(table.open(encoding="utf-8-sig")))
    assert [row["picture"] for row in rows] == ["cat.jpg", "cat.jpg", "half.jpg", "more/cup.png", "more/cup.png"]
    for row, guess in zip(rows, whole["pictures"][0]["guesses"]):
        assert row["class"] == guess["class"] and float(row["share"]) == pytest.approx(guess["share"], abs=1e-6)
    code, _, errors = course("ask", str(classifier), str(folder), "--csv", str(folder / "cat.jpg"))
    assert code == 2 and "--csv would overwrite" in errors
    assert Image.open(folder / "cat.jpg").size == pictures.photograph("cat").size


def test_no_name_steers_a_terminal_or_starts_a_formula(course, classifier, folder, tmp_path):
    if os.name == "nt":
        pytest.skip("Windows has no such names")
    (folder / "cat.jpg").rename(folder / "=1+1\x1b[2J.jpg")
    table = tmp_path / "answers.csv"
    _, output, _ = course("ask", str(classifier), str(folder / "=1+1\x1b[2J.jpg"), "--csv", str(table))
    assert "\x1b" not in output and "\x1b" not in table.read_text(encoding="utf-8")
    assert list(csv.reader(table.open(encoding="utf-8-sig")))[1][0].startswith("'=1+1")


def test_links_in_a_folder_lead_nowhere_and_pipes_are_not_waited_for(classifier, folder):
    try:
        (folder / "round").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
    asked, others = ask.find([folder])
    assert [each.shown for each in asked if each.shown != "pipe.jpg"] == ["cat.jpg", "half.jpg", "more/cup.png"]
    assert others == ["notes.txt"]
    net = transfer.load_network(classifier)
    piped = [answer for answer in ask.answers(net, asked, 1) if answer.asked.shown == "pipe.jpg"]
    assert all("pipe.jpg is not a file" in answer.error for answer in piped)


@pytest.mark.processes
def test_asking_loads_nothing_that_it_does_not_need(classifier, folder):
    script = (
        "import sys, runpy\n"
        f"sys.argv = ['course', 'ask', {str(classifier)!r}, {str(folder / 'cat.jpg')!r}]\n"
        "try: runpy.run_module('course_utils.command.cli', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, sorted({'matplotlib.pyplot', 'ipywidgets', 'papermill', 'timm', 'IPython'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert answer.splitlines()[-1] == "0 []"


def test_names_of_classes_and_files_steer_no_terminal_and_end_no_line(course, tmp_path):
    """A classifier from somebody else may hold any names."""
    names = ("\x1b[31mred", "two\nlines", "\ud800", "猫 👨\u200d👩\u200d👧")
    net = transfer.replace_head(transfer.backbone("squeezenet1_0", weights=None), names, seed=1)
    transfer.save_network(net, tmp_path / "mine.safetensors")
    file = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (8, 8)).save(file)
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"no picture")
    for options in ([], ["--json"], ["--csv", str(tmp_path / "out.csv")]):
        code, output, errors = course("ask", str(tmp_path / "mine.safetensors"), str(tmp_path), "--top", "4", *options)
        assert code == 1 and "is not a picture" in errors and "\x1b" not in (output + errors).encode().decode()
        assert "猫 👨\u200d👩\u200d👧" in output and r"two\nlines" in output.replace(r"\\n", r"\n")
