import gc
import os
import re

import hypothesis
import pytest

import course_utils  # noqa: F401 - before any test loads PyTorch: it says how threads wait

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn, never shown
os.environ.pop("COURSE_PROFILE", None)  # tests that want a profile say so
os.environ["COURSE_STRICT"] = "1"  # an error that a widget would show to a learner is raised
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads that fight for cores are far slower

# What hypothesis takes for a slow test is often a busy machine.
hypothesis.settings.register_profile("steady", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("steady")

TOY = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A toy lesson
# The answer is {{{{answer:.1f}}}}, found in {{{{seconds:.0f}}}} s, after {{{{quick.tries}}}} tries of
# [guessing](#Guessing-well).

# %%
from pathlib import Path

import matplotlib.pyplot as plt

from course_utils import figures, profiles, results
from course_utils.base import notes

# %% tags=["parameters"]
profile = "auto"  # or "quick", "full"
{parameters}

# %%
settings = profiles.load("01", profile, {arguments})

# %% [markdown]
# ## Guessing well

# %%
results.record(answer=41.96, tries=3)
notes.show_note("Toy: 3 pictures.", notes.SOURCE, {{"description": "Toy: 3 pictures."}})
print("where:", Path.cwd() / "x", object())

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(2, 1))
    ax.plot([1, 2, 3])
figures.show(fig, alt="A line that rises from one to three.")
"""


SLOW = ("browser", "lessons", "processes", "thorough")  # the markers: each test has one of them, or is quick
LONG = ("test_widgets", "test_transfer", "test_acceleration", "test_ladder", "test_learning")  # of the quick files
BY_LESSON = ("test_browser", "test_nbval", "test_notebooks")  # where tests share a lesson, and no more
TURN = pytest.StashKey[tuple[int, bool]]()


def pytest_collection_modifyitems(items):
    """Put what takes longest first: then two workers end at nearly the same time."""
    for item in items:
        kinds = [name for name in SLOW if item.get_closest_marker(name)]
        if len(kinds) > 1:
            raise pytest.UsageError(f"{item.nodeid} is marked {' and '.join(kinds)}; give it one marker.")
        item.stash[TURN] = (SLOW.index(kinds[0]) if kinds else len(SLOW), not item.path.stem.startswith(LONG))
    items.sort(key=lambda item: item.stash[TURN])


def pytest_collection_finish():
    """Let the collector of garbage pass by what has been loaded: a million objects that stay, half a second a time."""
    gc.collect()
    gc.freeze()


def shared(test):
    """Name what a test shares with others: its file, or there a lesson."""
    file, _, name = test.partition("::")
    lesson = re.search(r"[\[-](\d\d|[A-Z])\]$", name)
    return f"{file} {lesson[1]}" if lesson and file.rpartition("/")[2].startswith(BY_LESSON) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `-n 2`, keep on one worker what shares a server, a site or a notebook, in the order from above.

    pytest-xdist's own groups would do, but those of 3.8 have no effect in pytest 9.2, and nothing says so.
    """
    if config.getvalue("dist") != "load":  # the user has chosen another way
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Sharing(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return shared(nodeid)

    config.option.loadscopereorder = False
    return Sharing(config, log)


def pytest_terminal_summary(terminalreporter):
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    if any("no Chromium found" in reason for reason in reasons):
        terminalreporter.write_line("The browser tests did not run: no Chromium found.", yellow=True, bold=True)


@pytest.fixture(scope="module")
def browser():
    """A Chromium; the tests that need one are skipped where there is none, or fail where there must be one."""
    from lab import NONE_FOUND, chromium, launched

    if chromium() is None:
        assert os.environ.get("COURSE_NEEDS_BROWSER") != "1", NONE_FOUND  # .ci/run sets it
        pytest.skip(NONE_FOUND)
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory):
    """A folder like the course's, with one small lesson that has lesson 1's settings."""
    from course_utils.profiles import lesson_profile

    root = tmp_path_factory.mktemp("course")
    (root / "notebooks" / "source").mkdir(parents=True)
    names = list(lesson_profile("01").settings)
    source = TOY.format(
        parameters="\n".join(f"{name} = None" for name in names),
        arguments=", ".join(f"{name}={name}" for name in names),
    )
    (root / "notebooks" / "source" / "01_toy.py").write_text(source, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def toy_built(toy_root):
    """The toy lesson, built once for all tests of a process."""
    from course_utils.command import builder

    return builder.build("01", "quick", root=toy_root)


@pytest.fixture
def course(monkeypatch, capsys):
    """Call the command in this process: `course("run", "1")` gives (exit code, standard output, standard error)."""
    import signal
    import sys

    from course_utils.command import cli

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["course", *map(str, arguments)])
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return call


@pytest.fixture(scope="module")
def crops():
    """The small crops of the package's photographs, as every machine has them."""
    from course_utils import data

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_OFFLINE", "1")
        patch.delenv("COURSE_DATA_DIR", raising=False)
        return data.load("photo_crops", seed=0, quiet=True)
