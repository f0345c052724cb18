"""`course lab`: the learner's own copies, which no update overwrites, and the page that they begin on."""

import json
import re
import signal
import time
from pathlib import Path

import pytest
from jupyter_core.paths import jupyter_path
from lab import newcomer

from course_utils import exercises
from course_utils.base import lessons, progress
from course_utils.command import lab
from course_utils.errors import RunError, SettingError
from course_utils.exercises.checking import Exercise

ROOT = Path(__file__).resolve().parent.parent
NAME = "01_toy.ipynb"


def write(path, text, **metadata):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# A toy: small\n", "**The question: is it so?**"]},
        {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": [text], "outputs": []},
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), "utf-8")


def code(path):
    return "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][1]["source"])


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A course with one lesson, and a folder for copies."""
    monkeypatch.setenv(progress.WORK, str(tmp_path / "work"))
    write(tmp_path / "notebooks" / NAME, "first = 1")
    return tmp_path


def refreshed(root):
    return lab.refresh(root, root / "work")


def test_a_learner_works_on_copies_and_the_committed_notebook_stays_as_it_is(root):
    before = (root / "notebooks" / NAME).read_bytes()
    assert refreshed(root) == lab.Copies()
    write(root / "work" / NAME, "mine = 2")
    assert refreshed(root) == lab.Copies(last="01")
    assert code(root / "work" / NAME) == "mine = 2" and (root / "notebooks" / NAME).read_bytes() == before


def test_an_update_replaces_no_copy_that_was_changed_and_says_that_there_is_a_newer_one(root):
    refreshed(root)
    write(root / "work" / NAME, "mine = 2")
    write(root / "notebooks" / NAME, "second = 1")
    for _ in range(2):
        assert refreshed(root) == lab.Copies(newer=["01"], last="01")
    assert code(root / "work" / NAME) == "mine = 2"
    page = lab.page(lab.read(root), refreshed(root), {})
    assert "newer version" in page and "`course reset 1`" in page


def test_a_copy_that_was_only_opened_follows_an_update(root):
    refreshed(root)
    write(root / "work" / NAME, "first = 1", widgets={"opened": True})
    write(root / "notebooks" / NAME, "second = 1")
    assert refreshed(root) == lab.Copies() and code(root / "work" / NAME) == "second = 1"


def test_outputs_are_a_learners_work_too(root):
    refreshed(root)
    path = root / "work" / NAME
    ran = json.loads(path.read_text(encoding="utf-8"))
    ran["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["long training\n"]}]
    path.write_text(json.dumps(ran), encoding="utf-8")
    write(root / "notebooks" / NAME, "second = 1")
    assert refreshed(root).newer == ["01"] and "long training" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["", "[]", '{"cells": 3}', '{"cells": [{}]}'])
def test_a_file_that_is_no_notebook_is_left_alone(root, content):
    refreshed(root)
    (root / "work" / NAME).write_text(content, encoding="utf-8")
    write(root / "notebooks" / NAME, "second = 1")
    refreshed(root)
    assert (root / "work" / NAME).read_text(encoding="utf-8") == content


def test_reset_gives_a_fresh_copy_and_keeps_the_old_ones(root, course, monkeypatch):
    monkeypatch.setattr("course_utils.base.lessons.find_root", lambda: root)
    write(root / "work" / NAME, "mine = 2")
    for _ in range(2):
        exit_code, output, _ = course("reset", "1")
        assert exit_code == 0 and "is a fresh copy; yours is now" in output
        assert code(root / "work" / NAME) == "first = 1"
    assert sorted(map(code, (root / "work" / "earlier").glob("*.ipynb"))) == ["first = 1", "mine = 2"]
    assert refreshed(root) == lab.Copies()
    assert course("reset", "7")[0] == 2


def test_a_folder_that_cannot_be_written_is_one_sentence(root, monkeypatch):
    (root / "file").touch()
    with pytest.raises(SettingError, match=r"cannot be written .*COURSE_WORK"):
        lab.write_page(root, root / "file")
    monkeypatch.setenv(progress.WORK, "~nobody-of-this-name/x")
    with pytest.raises(SettingError, match="COURSE_WORK is no usable folder"):
        lab.work_folder(root)


def test_the_page_counts_the_exercises_and_questions_that_there_are():
    modules = {module.LESSON: module for module in (getattr(exercises, name) for name in exercises.__all__)}
    shown = {lesson.number: lesson for lesson in lab.read(ROOT)}
    assert sorted(shown) == sorted(modules) == sorted(lab.LEVELS)
    for number, module in modules.items():
        names = {name for name, value in vars(module).items() if isinstance(value, Exercise)}
        assert set(shown[number].exercises) == names
        assert shown[number].questions == tuple(f"quiz {i + 1}" for i in range(len(module.quiz.questions)))
        assert shown[number].question.endswith("?") and shown[number].minutes > 10
        assert all(needed in shown for needed in shown[number].needs) and (shown[number].needs or number == "01")


def test_the_page_shows_where_to_go_on_and_what_is_solved():
    read = lab.read(ROOT)
    assert "## Begin here: [1. Pixels and tensors](01_pixels_and_tensors.ipynb)" in lab.page(read, lab.Copies(), {})
    tried = {"02": dict.fromkeys((*read[1].exercises, *read[1].questions), True), "03": {"lenet": False}}
    page = lab.page(read, lab.Copies(last="03"), tried)
    assert "## Go on where you stopped: [3. A first network](03_fashion_mnist_cnn.ipynb)" in page
    rows = {row.split(". ")[0][-1]: row for row in page.splitlines() if "<progress" in row}
    assert len(rows) == len(read) and rows["2"].startswith("| ✓ |") and rows["3"].startswith("| → |")
    assert 'value="5" max="5"' in rows["2"] and 'value="0" max="7"' in rows["3"]
    assert "## Go on with: [1. Pixels and tensors]" in lab.page(read, lab.Copies(last="02"), tried)  # 2 is done
    assert "L4 --> L6" in page and "L5 --> LB" in page


def test_jupyterlab_gets_the_page_or_the_lesson_and_its_own_options(root, monkeypatch):
    calls = []

    class Server:
        def __init__(self, command, cwd, env):
            calls.append((command, cwd, env))

        def wait(self, timeout):
            return 3

        def terminate(self):
            pass

    monkeypatch.setattr(lab.subprocess, "Popen", Server)
    monkeypatch.setattr(lab, "find_root", lambda: root)
    monkeypatch.setenv("COURSE_DATA_DIR", "sets")
    handler = signal.getsignal(signal.SIGINT)
    assert lab.start(["--no-browser", "--port", "1"]) == lab.start(["1", "--no-browser"]) == 3
    with pytest.raises(SettingError, match="There is no lesson '9'"):
        lab.start(["9"])
    with pytest.raises(SettingError, match="'2' is a second one"):
        lab.start(["1", "2"])
    with monkeypatch.context() as patch, pytest.raises(RunError, match="JupyterLab is not installed; install it with"):
        patch.setattr(lab.importlib.util, "find_spec", lambda name: None)
        lab.start([])
    assert signal.getsignal(signal.SIGINT) is handler
    (first, folder, variables), (second, *_) = calls
    assert folder == root / "work" and "--LabApp.default_url=/lab/tree/00_start_here.md" in first
    assert first[-3:] == ["--no-browser", "--port", "1"]
    assert f"--LabApp.default_url=/lab/tree/{NAME}" in second and second[-1] == "--no-browser"
    assert variables[progress.WORK] == str(root / "work")
    assert variables["COURSE_DATA_DIR"] == str(Path("sets").absolute())  # from where the command was typed


def test_git_ignores_what_learners_make():
    assert "/work/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_the_shortcuts_that_notebook_7_gives_up_are_those_that_it_has(tmp_path):
    lab._private(tmp_path)
    written = tmp_path / lab.OWN / "notebook" / "labconfig" / "default_setting_overrides.json"
    ((_, given_up),) = json.loads(written.read_text(encoding="utf-8")).items()
    schema = Path("lab", "schemas", "@jupyterlab", "notebook-extension", "tracker.json")
    found = next(path for folder in jupyter_path() if (path := Path(folder) / schema).is_file())
    known = json.loads(found.read_text(encoding="utf-8"))
    theirs = [(each["command"], each["keys"], each["selector"]) for each in known["jupyter.lab.shortcuts"]]
    for each in given_up["shortcuts"]:
        assert each["disabled"] and (each["command"], each["keys"], each["selector"]) in theirs


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """`course lab` as a learner starts it, for whom it is the first time; its address and folder of copies."""
    home = tmp_path_factory.mktemp("home")
    with newcomer(home) as url:
        yield url, home / "work"


@pytest.mark.browser
def test_a_newcomer_is_one_click_from_the_first_lesson(served, browser):
    url, _ = served
    window = browser.new_context(viewport={"width": 1200, "height": 900})
    page = window.new_page()
    page.set_default_timeout(60_000)
    page.goto(url)
    link = page.get_by_role("link", name="1. Pixels and tensors").first
    link.wait_for()
    names = page.locator(".jp-DirListing-itemName")
    names.first.wait_for()
    assert names.all_inner_texts() == [lab.PAGE, *(path.name for path in lessons.notebooks(ROOT).values())]
    assert names.evaluate_all("all => all.filter(each => each.scrollWidth > each.clientWidth).length") == 0
    page.locator(".jp-RenderedMermaid img").wait_for()
    assert page.locator(".jp-RenderedMarkdown progress").count() == 2 * len(lessons.notebooks(ROOT))
    assert page.locator(".jp-Launcher").count() == 0
    link.click()
    page.locator(".jp-Notebook").wait_for()
    page.wait_for_url(re.compile("01_pixels_and_tensors"))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    assert page.locator(".jp-Launcher, .Toastify__toast, .jp-Dialog").count() == 0
    assert page.locator(".jp-mod-dirty").count() == 0  # opening alone changes nothing
    window.close()


@pytest.mark.browser
def test_the_page_follows_what_is_solved(served):
    _, work = served
    (work / "progress.json").write_text('{"01": {"frame": true}}', encoding="utf-8")
    end = time.monotonic() + 60
    while 'value="1" max="6"' not in (work / lab.PAGE).read_text(encoding="utf-8"):
        assert time.monotonic() < end
        time.sleep(0.2)
