import subprocess
import sys

import pytest

from course_utils import profiles
from course_utils.errors import SettingError
from course_utils.profiles import Setting

LESSONS = list(profiles._read(profiles.FILE))
EXAMPLE = """
"05":
  epochs: {type: int, min: 1, max: 9, quick: 1, full: 5, help: "Rounds."}
  rate: {type: float, min: 0.001, quick: 0.1, full: 0.1, help: "Step."}
  flip: {type: bool, quick: true, full: true}
  network: {type: str, choices: [small, large], quick: small, full: large}
  sizes: {type: list of int, max: 64, quick: [8, 16], full: [32]}
"""


@pytest.fixture
def example(tmp_path, monkeypatch):
    path = tmp_path / "profiles.yaml"
    path.write_text(EXAMPLE, encoding="utf-8")
    blocks = profiles._read(path)
    monkeypatch.setattr(profiles, "_read", lambda _: blocks)


@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_every_lesson_has_settings_that_fit_their_own_rules(lesson, profile):
    settings = profiles.load(lesson, profile, quiet=True)
    assert settings.profile == profile and settings.lesson == lesson
    assert all(settings[name] == getattr(settings, name) for name in settings)
    assert all(setting.help for setting in profiles.lesson_profile(lesson).settings.values())


def test_load_says_which_profile_and_why_and_all_values(example, capsys, monkeypatch):
    monkeypatch.setattr(profiles, "on_the_page", lambda lesson: {"profile": "quick"})
    profiles.load(5, "quick")
    assert capsys.readouterr().out.splitlines() == [
        'Profile "quick": as asked for.',
        "epochs = 1 · rate = 0.1 · flip = True · network = 'small'",
        "sizes = [8, 16]",
    ]
    profiles.load("05", "full", epochs=2, rate=None)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == 'Profile "full": as asked for; changed: epochs = 2.' and said[1].startswith("epochs = 2 · ")
    assert said[-1] == 'This page shows a run with profile "quick".'
    profiles.load("5", "full", quiet=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_load_says_fits_on_the_page(lesson, capsys):
    settings = profiles.load(lesson, "quick")
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= profiles.WIDTH
    assert all(f"{name} = {value!r}" in said for name, value in settings.items())


def test_none_means_as_the_profile_says(example):
    settings = profiles.load("05", "full", epochs=None, rate=0.5)
    assert settings.epochs == 5 and settings.rate == 0.5 and settings.changed == ("rate",)


def test_auto_is_full_with_a_gpu_and_quick_without(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert profiles.choose_profile("auto") == ("quick", 'there is no GPU; profile = "full" runs the real thing')
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Toy GPU")
    assert profiles.choose_profile("auto") == ("full", "there is a GPU, Toy GPU")


def test_course_profile_decides_instead_of_auto_only(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "full")
    assert profiles.choose_profile("auto") == ("full", "as COURSE_PROFILE says")
    assert profiles.choose_profile("quick") == ("quick", "as asked for")
    monkeypatch.setenv("COURSE_PROFILE", "fast")
    with pytest.raises(SettingError, match=r"no profile 'fast' \(from COURSE_PROFILE\); there are auto, quick, full"):
        profiles.choose_profile("auto")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "Lesson 05 has no setting 'epoch'; it has epochs, .*did you mean 'epochs'"),
        ({"epochs": "3"}, "'epochs' is '3', but must be a whole number"),
        ({"epochs": True}, "'epochs' is True, but must be a whole number"),
        ({"epochs": 2.0}, "'epochs' is 2.0, but must be a whole number"),
        ({"epochs": 0}, "'epochs' is 0, but must be from 1 to 9"),
        ({"rate": 0.0}, "'rate' is 0.0, but must be at least 0.001"),
        ({"rate": float("nan")}, "'rate' is nan, but must be a finite number"),
        ({"flip": 1}, "'flip' is 1, but must be True or False"),
        ({"network": "larg"}, "must be one of small, large; did you mean 'large'"),
        ({"sizes": 8}, "'sizes' is 8, but must be a list"),
        ({"sizes": []}, "must be a list with at least one value"),
        ({"sizes": [8, 65]}, "'sizes' is 65, but must be at most 64"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_by_name(example, values, message):
    with pytest.raises(SettingError, match=message):
        profiles.load("05", "quick", **values)


@pytest.mark.parametrize("lesson", ["6", "06_transfer.ipynb", "lesson", ""])
def test_an_unknown_lesson_is_refused(example, lesson):
    with pytest.raises(SettingError, match=r"There is no lesson|is not a lesson"):
        profiles.load(lesson, "quick")


def test_an_unknown_profile_is_refused_with_the_closest_name():
    with pytest.raises(SettingError, match=r"There is no profile 'fast'; there are auto, quick, full\.$"):
        profiles.load("01", "fast")
    with pytest.raises(SettingError, match="no profile 'fulll'; there are auto, quick, full; did you mean 'full'"):
        profiles.load("01", "fulll")


def test_settings_cannot_be_changed_and_name_what_they_have(example):
    settings = profiles.load("05", "quick", quiet=True)
    with pytest.raises(AttributeError, match="cannot be changed"):
        settings.epochs = 3
    with pytest.raises(AttributeError, match=r"Lesson 05 has no setting 'epoch'.*did you mean 'epochs'"):
        _ = settings.epoch
    assert len(settings) == 5 and "epochs=1" in repr(settings) and dict(settings)["network"] == "small"


def test_whole_numbers_and_numpy_scalars_do_for_numbers(example):
    import numpy as np

    settings = profiles.load("05", "quick", rate=1, epochs=np.int64(3), quiet=True)
    assert settings.rate == 1.0 and type(settings.rate) is float
    assert settings.epochs == 3 and type(settings.epochs) is int


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "12", 12),
        ("float", "1e-3", 0.001),
        ("bool", "No", False),
        ("str", "small", "small"),
        ("list of int", "[8, 16]", [8, 16]),
        ("int", "None", None),
    ],
)
def test_texts_from_a_command_line_are_read_as_the_settings_type(kind, text, value):
    assert Setting("x", kind).parse(text) == value


@pytest.mark.parametrize(("kind", "text"), [("int", "1.5"), ("float", "fast"), ("bool", "maybe"), ("list of int", "a")])
def test_texts_that_mean_nothing_are_refused(kind, text):
    with pytest.raises(SettingError, match="but must be"):
        Setting("x", kind).parse(text)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"type": "complex"}, "'a' of lesson 05 is not described"),
        ({"type": "int", "maximum": 3}, "'a' of lesson 05 is not described"),
        ({"quick": 1, "full": 1}, "'a' of lesson 05 is not described"),
        ({"type": "int", "quick": 1}, "'a' of lesson 05 needs a value for full"),
        ({"type": "int", "quick": "x", "full": 1}, "must be a whole number"),
    ],
)
def test_mistakes_in_profiles_yaml_are_named(description, message):
    with pytest.raises(SettingError, match=message):
        profiles._checked("05", {"a": description})


def test_the_settings_the_figures_and_the_command_are_there_without_loading_anything_heavy():
    script = (
        "import sys; import course_utils.profiles, course_utils.results, course_utils.command.cli;"
        "print({'torch', 'matplotlib', 'numpy', 'IPython', 'papermill', 'nbformat'} & set(sys.modules))"
    )
    heavy = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert heavy.strip() == "set()"


# --- folders


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "pets").mkdir()
    (tmp_path / "home" / "birds").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_path_is_absolute_from_where_it_was_typed(here):
    setting = profiles.lesson_profile("05").setting("pictures")
    assert setting.type == "path"
    assert setting.parse("pets") == setting.parse("./pets/") == setting.check(here / "pets") == str(here / "pets")
    assert setting.parse("~/birds") == str(here / "home" / "birds")
    assert setting.parse("") == setting.check("") == "" and setting.parse("none") is None
    assert profiles.load("05", pictures="pets", quiet=True).pictures == str(here / "pets")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pet", r"Setting 'pictures': There is no folder pet in .*; did you mean .*pets\?"),
        ("zebras", "Setting 'pictures': There is no folder zebras in .*; check its name, or give its full path"),
        ("~nobody-of-this-name/pets", "Setting 'pictures': .* is no usable folder"),
    ],
)
def test_a_path_where_no_folder_is_is_refused_at_once(here, text, words):
    with pytest.raises(SettingError, match=words):
        profiles.lesson_profile("05").setting("pictures").parse(text)


def test_a_path_is_no_number(here):
    with pytest.raises(SettingError, match="must be a folder"):
        profiles.lesson_profile("05").setting("pictures").check(5)
