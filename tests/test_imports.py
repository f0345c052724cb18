"""What is loaded when: the package shows its table of contents, and a lesson waits for no other lesson's code."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import course_utils
from course_utils import exercises, widgets
from course_utils.base import lessons

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parent.parent
SOURCES = lessons.sources(ROOT)
CONTENTS = [
    "pictures", "convolution", "data", "models", "training", "diagnosis", "transfer", "learning_rate", "acceleration",
    "exercises", "widgets", "environment", "figures", "profiles", "results",
]  # fmt: skip


FORGET = """
import sys
found = sorted(name for name in sys.modules if name.startswith(("course_utils.", "torchvision", "timm")))
print(json.dumps(found))
for name in [name for name in sys.modules if name.partition(".")[0] == "course_utils"]:
    del sys.modules[name]
"""


def modules_loaded_by(*codes):
    """Return what a fresh Python has loaded after each of `codes`; between two of them it forgets the course's own."""
    code = "import json\n" + "".join(f"{each}\n{FORGET}" for each in codes)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def imports_of(number):
    """Return the import lines of a lesson's first cell, and a line for each module that bears the lesson's name."""
    source = SOURCES[number].read_text(encoding="utf-8")
    first = source.partition('# %% tags=["parameters"')[0]
    lines = [ast.unparse(node) for node in ast.parse(first).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return "\n".join([*lines, *used_by(number)])


def used_by(number):
    """Return which modules of live figures and exercises a lesson's code names, such as widgets.lesson1."""
    code = re.sub(r"^#.*", "", SOURCES[number].read_text(encoding="utf-8"), flags=re.MULTILINE)
    return sorted(set(re.findall(r"\b(?:widgets|exercises)\.(?:lesson\d|appendix(?:_[a-z])?)\b", code)))


@pytest.fixture(scope="module")
def modules():
    """The modules that each lesson's first cell, and the live figures and exercises that it names, have loaded."""
    return dict(zip(SOURCES, modules_loaded_by(*map(imports_of, SOURCES)), strict=True))


def test_the_package_shows_the_table_of_contents_and_loads_nothing_for_it():
    assert course_utils.__all__ == CONTENTS and dir(course_utils) == sorted(CONTENTS)
    for word in CONTENTS:
        assert re.search(rf"\b{word}\b", course_utils.__doc__), f"{word} is not explained"
    completed = "import course_utils; print(module_completion('from course_utils import '))"
    code = f"from IPython.core.completerlib import module_completion\n{completed}\nimport json, sys\n"
    code += "print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    offered, loaded = run.stdout.splitlines()
    assert set(CONTENTS) <= set(ast.literal_eval(offered))
    assert not {"torch", "numpy", "matplotlib"} & set(json.loads(loaded))
    assert not [name for name in json.loads(loaded) if re.match(r"course_utils\.(?!base)", name)]


@pytest.mark.parametrize("package", [course_utils, widgets, exercises], ids=lambda package: package.__name__)
def test_a_module_is_loaded_when_it_is_first_named_and_a_wrong_name_is_explained(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == f"{package.__name__}.{name}"
    with pytest.raises(AttributeError, match=f"has no attribute 'lesson9'; it has {package.__all__[0]}, "):
        package.lesson9  # noqa: B018 - naming it is the point


@pytest.mark.parametrize("number", SOURCES)
def test_a_lesson_loads_its_own_live_figures_and_exercises_and_no_other_lessons(modules, number):
    lessons_code = re.compile(r"course_utils\.((?:widgets|exercises)\.(?:lesson\d|appendix(?:_[a-z])?))")
    loaded = {match[1] for name in modules[number] if (match := lessons_code.fullmatch(name))}
    assert loaded == set(used_by(number)) and loaded
    assert not [name for name in modules[number] if name.startswith("course_utils.command")]


def test_torchvision_is_loaded_from_lesson_5_on(modules):
    early = [number for number in modules if number in ("01", "02", "03", "04")]
    assert not [name for number in early for name in modules[number] if name.startswith(("torchvision", "timm"))]
    assert "torchvision" in modules["05"]
