"""`course check`: right verdicts for honest notebooks, and hostile ones that harm neither the others nor the report."""

import codecs
import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from learners import reference, write
from rich.console import Console

from course_utils import exercises
from course_utils.command import cli
from course_utils.command.grading import confinement, referee, report, submissions
from course_utils.command.grading.referee import Result, Results
from course_utils.errors import CourseError, SettingError

pytestmark = pytest.mark.processes

L3 = exercises.lesson3
ASK = "exercises.lesson3.accuracy.check(accuracy)"
ASK_MINE = "exercises.lesson3.accuracy.check(mine)"
RIGHT = "def accuracy(batches):\n    return sum(r for r, _ in batches) / sum(n for _, n in batches)"
FORGED_OUTPUT = {"output_type": "stream", "name": "stdout", "text": "✓ correct: accuracy passed all 4 checks.\n"}
NO_MEMORY = "accuracy needed more than 3 GB of memory, so it was not judged."
CONFINED = sys.platform == "linux" and confinement.CALLS.get(os.uname().machine)
needs_confinement = pytest.mark.skipif(not CONFINED, reason="only Linux can forbid an answer to write or to signal")

# Each is one learner's notebook: its cells, and the outcome for `accuracy`; the message of an error or a mistake.
HONEST = {
    "right": ([RIGHT, ASK], "correct", "passed all 4"),
    "wrong": (
        ["def accuracy(b): return sum(r / n for r, n in b) / len(b)"],
        "wrong",
        "got 0.71875, expected 0.8888889",
    ),
    "blank": (["def accuracy(batches): ...", ASK], "not attempted", "still blank"),
    "deleted": ([ASK], "not attempted", "does not define accuracy"),
    "last of two": (["def accuracy(batches): return 1.0", RIGHT, "accuracy([(1, 2)])"], "correct", ""),
    "tried out": ([RIGHT, "accuracy = accuracy([(30, 32)])", ASK], "correct", ""),
    "blank, then another's name": (
        ["def accuracy(batches): ...", RIGHT.replace("accuracy", "mine"), "accuracy = mine"],
        "correct",
        "",
    ),
    "blank once more": ([RIGHT, ASK, "def accuracy(batches): ..."], "correct", ""),
    "blank, then a number": (["def accuracy(batches): ...", "accuracy = 0.5"], "not attempted", "still blank"),
    "lambda": (["accuracy = lambda b: sum(r for r, _ in b) / sum(n for _, n in b)"], "correct", ""),
    "in parts": (
        [
            "def accuracy(batches):\n    return share(*totals(batches))",
            "import numpy as np\nfrom operator import itemgetter as get",
            "def totals(batches): return [np.sum(list(map(get(place), batches))) for place in PLACES]",
            "PLACES = []\nfor place in (0, 1):\n    PLACES.append(place)",
            "class Sum:\n    zero = float(0)\ndef share(right, all): return float(Sum.zero + right / all)",
        ],
        "correct",
        "",
    ),
    "magic": (
        ["%matplotlib inline\n!pip install torch\nfiles = !ls\n" + RIGHT, "%%time\nscale = 1", "%%bash\nrm -rf /", ASK],
        "correct",
        "",
    ),
    "timed": (["%%time\n" + RIGHT], "correct", ""),
    "another cell is broken": (["def flat_size(side:\n  return", RIGHT], "correct", ""),
    "its cell is broken": (["x = 1", "def accuracy(batches)\n    return 1"], "error", "Cell 3, which holds it, is no"),
    "helpers rebound later": (
        [
            "def right(batches, start): return sum(r for r, _ in batches) + start\nvalue = 0",
            f"{RIGHT.replace('sum(r for r, _ in batches)', 'right(batches, value)')}\n{ASK}\nvalue = 1",
            "def right(count): return count / 0\nfor value in ('a', 'b'):\n    print(value)",
        ],
        "correct",
        "",
    ),
    "under another name": (["def accuracy(batches): ...", RIGHT.replace("accuracy", "mine"), ASK_MINE], "correct", ""),
    "under another name, wrong": (["def mine(batches): return 1.0", ASK_MINE], "wrong", "got 1, expected 0.8888889"),
    "under another name, missing": ([ASK_MINE], "not attempted", "does not define accuracy"),
    "no function": (["accuracy = 0.5"], "wrong", "got 0.5, expected a function named accuracy"),
    "fails": (["def accuracy(batches): return batches[9]"], "wrong", "raised IndexError: list index out of range"),
    "leans on a run": (
        ["history = train(epochs=30)", "def accuracy(batches): return history.accuracy"],
        "error",
        "It needs something that is missing: cell 2 failed: NameError: name 'train' is not defined.",
    ),
    "leans on a long run": (
        ["steps = 0\nwhile True:\n    steps += 1", "def accuracy(batches): return steps"],
        "error",
        "accuracy took longer than 2 s while cell 2, which it needs, was running.",
    ),
    "leans on a file": (
        ["notes = open('notes.txt').read()", "def accuracy(batches): return len(notes)"],
        "error",
        "cell 2 failed: FileNotFoundError",
    ),
    "leans on code from elsewhere": (
        ["%run helper.py", "def accuracy(batches): return share(batches)"],
        "error",
        "accuracy asks for what is not here to judge it: name 'share' is not defined.",
    ),
    "made elsewhere": (["%run helper.py", ASK], "error", "Cell 2 seems to make it while it runs; write it with def"),
    "misses a name": (["def accuracy(batches): return share(batches)"], "wrong", "raised NameError: name 'share' is"),
    "leans on another cell's file": (
        ["open('one.txt', 'w').write('1')", "def accuracy(batches): return int(open('one.txt').read())"],
        "error",
        "accuracy asks for what is not here to judge it: [Errno 2] No such file or directory: 'one.txt'.",
    ),
    "leans on a package": (
        ["!pip install nowhere", "def accuracy(batches):\n    import nowhere\n    return nowhere.share(batches)"],
        "error",
        "accuracy asks for what is not here to judge it: No module named 'nowhere'.",
    ),
    "asks somebody": (["def accuracy(batches): return float(input())"], "error", "to judge it: EOF when reading"),
    "[bold]=1+1": ([RIGHT], "correct", ""),
    # What Jupyter runs.
    "awaits": (
        [
            "import asyncio\nawait asyncio.sleep(0)\none = await asyncio.sleep(0, 1.0)\n"
            "async def ones():\n    yield 1.0\nasync for other in ones():\n    two = one + other",
            RIGHT.replace("return", "return two / 2 *"),
        ],
        "correct",
        "",
    ),
    "its source": (
        [
            "import inspect\ndef helper(batches):\n    return 1\n"
            "assert inspect.getsource(helper).endswith('return 1\\n') and inspect.getsourcelines(helper)[1] == 2",
            RIGHT.replace("return", "return len(inspect.getsource(helper)) / 34 *"),
        ],
        "correct",
        "",
    ),
    "TorchScript": (
        [
            "@torch.jit.script\ndef share(right: torch.Tensor, of: torch.Tensor) -> torch.Tensor:\n"
            "    if bool(of.sum() > 0):\n        return right.sum() / of.sum()\n    return of",
            "def accuracy(b): return float(share(*torch.tensor(b, dtype=torch.float64).T))",
        ],
        "correct",
        "",
    ),
    "compiled": (
        [
            "net = torch.compile(nn.Linear(1, 1))\nnet.compile()\n@torch.compile(mode='max-autotune')\n"
            "def share(pairs): return pairs[:, 0].sum() / pairs[:, 1].sum()",
            "@torch.compile\ndef accuracy(b): return float(share(torch.tensor(b).double())) + 0 * len(str(net))",
        ],
        "correct",
        "",
    ),
    "timed lines": (
        [
            "%time one = 1\ntwo = %time one + 1",
            "%%time\nthree = 3",
            RIGHT.replace("return", "return three / (one + two) *"),
        ],
        "correct",
        "",
    ),
    "shell and help": (
        [
            "files = !ls\n!ls 'a (\n?print\nprint?\n%load_ext autoreload",
            "def accuracy(b):\n    !ls\n    %time n = sum(n for _, n in b)\n    return sum(r for r, _ in b) / n",
        ],
        "correct",
        "",
    ),
    "many magics": (["%matplotlib inline\n" * 600 + RIGHT], "correct", ""),
    "a magic in a comment": (["# First I tried %%time\n" + RIGHT], "correct", ""),
    "a magic in a text": (["note = 'the %%timeit magic'\n" + RIGHT], "correct", ""),
    "a future for all cells": (
        ["from __future__ import annotations", RIGHT.replace("(batches)", "(batches: NotThere)")],
        "correct",
        "",
    ),
    "copies files": (
        [
            "import shutil, tempfile\nfrom pathlib import Path\ndef accuracy(batches):\n"
            "    with tempfile.TemporaryDirectory() as folder:\n"
            "        one = Path(folder, 'one')\n        one.touch()\n"
            "        shutil.copy2(one, Path(folder, 'two'))\n        shutil.copytree(folder, 'three')\n    "
            + RIGHT.split("\n    ")[1]
        ],
        "correct",
        "",
    ),
    "is destroyed slowly": (
        [
            "class Slow:\n    def __del__(self):\n        while True: pass\nkeep = Slow()",
            "def accuracy(batches):\n    mine = [Slow(), keep]\n    mine.append(mine)\n    " + RIGHT.split("\n    ")[1],
        ],
        "correct",
        "",
    ),
    "needs a shell": (
        ["files = !ls", "def accuracy(batches): return len(files)"],
        "error",
        "cell 2 failed: RuntimeError: what a shell or a magic gives is not there",
    ),
    "needs a GPU": (
        ["def accuracy(batches): return torch.tensor(batches, device='cuda').sum()"],
        "error",
        "accuracy asks for what is not here to judge it: ",
    ),
    "needs a Mac": (["def accuracy(batches): return torch.ones(1).to('mps')"], "error", "asks for what is not here"),
    "needs a GPU beforehand": (
        ["ones = torch.ones(1).cuda()", "def accuracy(batches): return ones"],
        "error",
        "It needs something that is missing: cell 2 failed: ",
    ),
}  # fmt: skip
HOSTILE = {
    "hangs": (["def accuracy(batches):\n    while True: pass"], "error", "accuracy took longer than 2 s."),
    "dies": (["import os\ndef accuracy(batches): os._exit(7)"], "error", "ended its own process (exit code 7)"),
    "crashes": (["import ctypes\ndef accuracy(batches): ctypes.string_at(0)"], "error", "(signal 11, "),
    "prints": (["def accuracy(batches):\n    while True: print('x' * 9999)"], "error", "took longer than 2 s"),
    "fills the disk": (
        ["def accuracy(batches):\n    with open('huge', 'wb') as f:\n        while True: f.write(bytes(10**7))"],
        "wrong",
        "raised OSError: [Errno 27] File too large",
    ),
    "many files": (
        [
            "def accuracy(batches):\n    for i in range(10**9):\n"
            "        with open(str(i), 'wb') as f: f.write(bytes(10**7))"
        ],
        "error",
        "wrote files of more than 100 MB",
    ),
    "many folders": (
        ["import os\ndef accuracy(batches):\n    for i in range(10**9): os.mkdir(str(i))"],
        "error",
        "made more than 5,000 files and folders",
    ),
    "deep folders": (
        ["import os, time\ndef accuracy(batches):\n    for i in range(3000): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
         "    while True: time.sleep(1)"],
        "error",
        "or some that are too deep",
    ),
    "a bomb of magics": (["%a\n" * 100_000, RIGHT], "correct", ""),
    "a bomb of lines": (["x = 1\n" + "\n" * 400_000 + "def accuracy(:\n"], "error", "which holds it, is not Python"),
    "an answer that only running makes": (["exec('def accuracy(batches): return 1.0')"], "error", "seems to make it"),
    "an answer put among the globals": (
        ["def f(batches): return 1.0\nglobals()['accuracy'] = f"], "error", "write it with def or =",
    ),
    "an exec that makes something else": (["exec('x = 1')"], "not attempted", ""),
    "a bomb of names": (
        ["\n".join(f"a{i} = 1" for i in range(9000)),
         "def accuracy(batches): return [" + ", ".join(f"a{i}" for i in range(9000)) + "]"],
        "wrong",
        "got a list of 9000 values",
    ),
    "a bomb of lists": (
        [
            """
            import os, struct
            def accuracy(batches):
                head = b'{"sizes": [], "result": [' + b"[]," * 20_000_000 + b"[]]}"
                rest = memoryview(b"M" + struct.pack("<Q", len(head)) + head)
                while rest: rest = rest[os.write(3, rest):]
                os._exit(0)
            """
        ],
        "error",
        "what came back from the answer cannot be read",
    ),
    "closes all": (["import os\ndef accuracy(batches): os.closerange(0, 100)"], "error", "ended its own process"),
    "threads": (
        ["import threading, time\ndef accuracy(batches):\n    for i in range(10**6):\n"
         "        threading.Thread(target=time.sleep, args=(999,), daemon=True).start()"],
        "wrong",
        "raised RuntimeError: can't start new thread",
    ),
    "fills the memory": (["def accuracy(batches): return bytearray(10**11)"], "error", NO_MEMORY),
    "fills the memory with a tensor": (["def accuracy(batches): return torch.zeros(10**11)"], "error", NO_MEMORY),
    "gives too much": (["def accuracy(batches): return ['x' * 10**7] * 10**3"], "error", ""),
    "for the table": (
        ["class Yes:\n    __eq__ = lambda self, other: True\n    __repr__ = lambda self: '=1+1'",
         "def accuracy(batches): return Yes()"],
        "wrong",
        "accuracy([(30, 32), (2, 4)]): got =1+1, which is a Yes, expected 0.8888889, a float",
    ),
    "forges": (
        [
            """
            import math, sys, builtins
            from course_utils.exercises import checking, differences
            class Fake:
                def __getattr__(self, name): return self
                def check(self, answer): print("✓ correct: accuracy passed all 4 checks.")
            exercises = Fake()
            for module in (checking, differences):
                module.first_difference = lambda *a: None
            math.isclose = torch.equal = torch.testing.assert_close = lambda *a, **k: True
            """,
            "def accuracy(batches):\n    Fake, math, checking, differences, torch\n    return 0.5",
            ASK,
        ],
        "wrong",
        "got 0.5, expected 0.8888889",
    ),
    "asks the reference": (
        ["def accuracy(batches): return exercises.lesson3.accuracy.reference(batches)"],
        "wrong",
        "accuracy takes the course's own solution",
    ),
    "speaks for itself": (
        [
            """
            import json, os
            def accuracy(batches):
                line = json.dumps({"exercise": "accuracy", "outcome": "correct", "message": ""}).encode() + b"\\n"
                for number in range(64):
                    try: os.write(number, line)
                    except OSError: pass
                os._exit(0)
            """
        ],
        "error",
        "accuracy ended its own process (exit code 0).",
    ),
    "forges a message": (
        [
            """
            import json, os, struct
            def accuracy(batches):
                head = json.dumps({"result": {"k": "module", "class": ["os", "system"], "v": []}, "sizes": []}).encode()
                os.write(3, b"M" + struct.pack("<Q", len(head)) + head)
                os._exit(0)
            """
        ],
        "error",
        "what came back from the answer claims to be a system",
    ),
}  # fmt: skip
FORBIDDEN = {
    "deletes": (
        "import os, pathlib, shutil\ndef accuracy(batches):\n    folder = pathlib.Path({folder!r})\n"
        "    shutil.rmtree(folder, ignore_errors=True)\n    os.remove(folder / 'deletes.ipynb')",
        "error",
        "to judge it: [Errno 13]",
    ),
    "multiplies": ("import os\ndef accuracy(batches):\n    while True: os.fork()", "error", "to judge it: [Errno "),
    "starts programs": (
        "import subprocess\ndef accuracy(batches): subprocess.run(['sleep', '1000'])",
        "error",
        "to judge it: [Errno ",
    ),
    "kills its judge": (
        "import os\ndef accuracy(batches): os.kill(os.getppid(), 9)",
        "error",
        "to judge it: [Errno 1]",
    ),
    "calls home": ("import socket\ndef accuracy(batches): socket.socket()", "error", "to judge it: [Errno "),
}


# What hangs is given little time; all else more than it takes on a busy machine.
IMPATIENT, PATIENT = 2, 120


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*")}


@needs_confinement
def test_a_folder_with_hostile_notebooks_gets_a_complete_table_with_right_verdicts(course, tmp_path, monkeypatch):
    folder, temporary = tmp_path / "learners", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("COLUMNS", "400")  # no name is broken into two lines
    monkeypatch.setattr("tempfile.tempdir", None)
    expected = {}
    for name, (cells, *wanted) in (HONEST | HOSTILE).items():
        expected[write(folder / f"{name}.ipynb", *cells, lesson=3, outputs=[FORGED_OUTPUT]).as_posix()] = wanted
    for name, (cell, *wanted) in FORBIDDEN.items():
        source = cell.format(folder=str(folder)) if "{folder!r}" in cell else cell
        expected[write(folder / f"{name}.ipynb", source, lesson=3).as_posix()] = wanted
    (folder / "damaged.ipynb").write_text("{", "utf-8")
    hanging = [path for path, (_, words) in expected.items() if "took longer" in words]
    assert len(expected) >= 20 and len(HOSTILE) + len(FORBIDDEN) >= 5 and len(hanging) == 3
    before, found, tables = content(folder), [], ""
    patient = [path.as_posix() for path in sorted(folder.iterdir()) if path.as_posix() not in hanging]
    for notebooks, seconds in ((hanging, IMPATIENT), (patient, PATIENT)):
        code, table, errors = course(
            "check", *notebooks, "--csv", tmp_path / "out.csv", "--timeout", seconds, "--jobs", "2"
        )
        assert (code, errors) == (1, "")
        found += rows(tmp_path / "out.csv")
        tables += table

    assert content(folder) == before, "a notebook was changed"
    names = [each.name for each in vars(L3).values() if isinstance(each, exercises.checking.Exercise)]
    got = {}
    for name in [*expected, (folder / "damaged.ipynb").as_posix()]:
        mine = [row for row in found if row["notebook"].lstrip("'") == name]
        assert [row["exercise"] for row in mine] == (names if name in expected else [""])
        got[name] = next((row["outcome"], row["message"]) for row in mine if row["exercise"] in ("accuracy", ""))
        others = {row["outcome"] for row in mine if row["exercise"] not in ("accuracy", "")}
        assert others <= {"not attempted"} or "another cell is broken" in name
        assert name.rpartition("/")[2] in tables.replace("\n", "")
    wrong = {
        name: got[name]
        for name, (outcome, words) in expected.items()
        if got[name][0] != outcome or words not in got[name][1]
    }
    assert not wrong
    assert got[(folder / "damaged.ipynb").as_posix()][0] == "error"
    assert not list(temporary.iterdir()), "files are left behind"
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(temporary) in " ".join(p.info["cmdline"] or ())]


def test_every_reference_is_correct_and_every_stub_blank(tmp_path, course):
    for module in (getattr(exercises, name) for name in exercises.__all__):
        mine = [each for each in vars(module).values() if isinstance(each, exercises.checking.Exercise)]
        write(tmp_path / f"{module.LESSON}.ipynb", *map(reference, mine), lesson=module.LESSON)
        stubs = [f"def {each.name}(*values): ..." for each in mine]
        write(tmp_path / f"{module.LESSON} blank.ipynb", *stubs, lesson=module.LESSON.lstrip("0"))
    code, output, _ = course("check", tmp_path, "--json")
    found = json.loads(output)
    assert code == 0 and found["counts"]["wrong"] == found["counts"]["error"] == 0
    for row in found["results"]:
        assert row["outcome"] == ("not attempted" if "blank" in row["notebook"] else "correct"), row


def test_memory_is_counted_where_the_answer_runs_and_enforced_by_the_system(tmp_path, course):
    right = reference(exercises.lesson7.little_memory)
    whole = "def little_memory(net, images, labels, memory):\n    {}F.cross_entropy(net(images), labels).backward()"
    forged = "acceleration.memory.Kept.most = property(lambda kept: 0, lambda kept, value: None)\n    "
    forged += "net._forward_hooks.clear()\n    "
    for name, source in {
        "right": right,
        "whole": whole.format(""),
        "forged": whole.format(forged),
        "forged, and lazy": whole.format(f"{forged}if len(images) > 100: return\n    "),
        "one by one": right.replace("max(1, memory // one)", "1"),
        "changes": right.replace("    one =", "    images.mul_(2)\n    one ="),
        "changes many": right.replace("    one =", "    images.mul_(1 + (len(images) > 100))\n    one ="),
    }.items():
        write(tmp_path / f"{name}.ipynb", source, lesson=7)
    rows = json.loads(course("check", tmp_path, "--json")[1])["results"]
    got = {Path(row["notebook"]).stem: row for row in rows if row["exercise"] == "little_memory"}
    assert got.pop("right")["outcome"] == "correct"
    assert {row["outcome"] for row in got.values()} == {"wrong"}
    assert " kept " in got["whole"]["message"] and "expected at most 8" in got["one by one"]["message"]
    assert "raised RuntimeError" in got["forged"]["message"] and "allocate" in got["forged"]["message"]
    assert "a weight has no gradient" in got["forged, and lazy"]["message"]
    for name in ("changes", "changes many"):
        assert "): the input was changed; work on a copy of it" in got[name]["message"]


SPLIT = """\
{before}
def stratified_split(labels, fraction):
    kept, aside = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[{order}]
        aside.append(members[: round(fraction * len(members))])
        kept.append(members[round(fraction * len(members)) :])
    return torch.cat(kept), torch.cat(aside)"""
ORDERS = {  # what draws, the order that it draws, and whether two calls draw the same
    "PyTorch": ("", "torch.randperm(len(members))", False),
    "NumPy": ("import numpy as np", "np.random.permutation(len(members))", False),
    "Python": ("import random", "random.sample(range(len(members)), len(members))", False),
    "a generator": (
        "dice = torch.Generator().manual_seed(1)", "torch.randperm(len(members), generator=dice)", False,
    ),
    "NumPy's generator": (
        "import numpy as np\ndice = np.random.default_rng(1)", "dice.permutation(len(members))", False,
    ),
    "a seed": ("", "torch.randperm(len(members), generator=torch.Generator().manual_seed(1))", True),
}  # fmt: skip


def test_a_random_split_is_judged_whatever_draws_it(tmp_path, course):
    for name, (before, order, _) in ORDERS.items():
        write(tmp_path / f"{name}.ipynb", SPLIT.format(before=before, order=order), lesson=5)
    found = json.loads(course("check", tmp_path, "--timeout", PATIENT, "--jobs", "2", "--json")[1])["results"]
    got = {Path(row["notebook"]).stem: row["message"] for row in found if row["exercise"] == "stratified_split"}
    wrong = [name for name, message in got.items() if "set the same pictures of class 0 aside" in message]
    assert wrong == [name for name, (_, _, same) in ORDERS.items() if same]
    assert sum("passed all 5 checks" in message for message in got.values()) == len(ORDERS) - 1


def test_a_training_step_is_judged_by_what_it_does_to_the_network(tmp_path, course):
    right = reference(L3.clipped_step)
    for name, source in {
        "library": right.replace("    norm = ", "    nn.utils.clip_grad_norm_(model.parameters(), most)\n    norm = "),
        "no clip": right.replace("gradient *= most / norm", "pass"),
        "no clear": right.replace("    optimizer.zero_grad()\n", ""),
    }.items():
        write(tmp_path / f"{name}.ipynb", source)
    code, output, _ = course("check", tmp_path, "--json")
    got = {
        row["notebook"].rpartition("/")[2]: row for row in json.loads(output)["results"] if "clip" in row["exercise"]
    }
    assert code == 0 and got["library.ipynb"]["outcome"] == "correct"
    assert "with most=0.5: the parameter '1.weight' after the step" in got["no clip.ipynb"]["message"]
    assert "gradients left from an earlier step" in got["no clear.ipynb"]["message"]


def test_a_notebook_that_hangs_everywhere_uses_up_its_time_and_no_more(tmp_path, course):
    names = ("flat_size", "cross_entropy", "accuracy", "precision", "clipped_step")
    write(tmp_path / "a.ipynb", *[f"def {name}(*values):\n    while True: pass" for name in names], lesson=3)
    code, output, _ = course("check", tmp_path, "--json", "--timeout", "1")  # it would hang for ever
    assert code == 1 and json.loads(output)["counts"]["error"] == 5


@pytest.mark.skipif(os.name != "posix", reason="signals as on Linux and macOS")
def test_an_interrupted_check_leaves_no_process_file_or_half_a_report(tmp_path):
    write(tmp_path / "in" / "a.ipynb", "def accuracy(batches):\n    while True: pass", lesson=3)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out.csv").write_text("old", "utf-8")
    command = [sys.executable, "-m", "course_utils.command.cli", "check", str(tmp_path / "in"), "--csv"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "out.csv")], env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    kin, end = [], time.monotonic() + PATIENT
    while len(kin) < 2 and time.monotonic() < end:  # the judge, and the answer that hangs in a copy of it
        time.sleep(0.1)
        kin = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert process.communicate(timeout=PATIENT)[1] == "course: interrupted\n"
    assert process.returncode == 130
    assert len(kin) >= 2 and not psutil.wait_procs(kin, timeout=PATIENT)[1]
    assert not list((tmp_path / "tmp").iterdir())
    assert (tmp_path / "out.csv").read_text("utf-8") == "old"


def test_a_judge_that_is_ended_is_replaced_for_the_rest_of_the_notebook(tmp_path, monkeypatch):
    write(tmp_path / "a.ipynb", reference(L3.accuracy), reference(L3.precision), lesson=3)
    asked = referee._Judge._asked

    def once(self, line, seconds):
        if '"lenet"' in line:  # the first exercise of the lesson
            self.process.kill()
        return asked(self, line, seconds)

    monkeypatch.setattr(referee._Judge, "_asked", once)
    results = referee.judge_all(submissions.find([tmp_path]))
    others = {row.exercise: row.outcome for row in results.rows[1:] if row.outcome != "not attempted"}
    assert results.rows[0].outcome == "error" and others == {"accuracy": "correct", "precision": "correct"}
    assert results.rows[0].message == referee.ENDED


# --- the command and the report


def test_wrong_calls_end_with_2_before_anything_runs(course, tmp_path):
    (tmp_path / "notes.txt").touch()
    notebook = write(tmp_path / "in" / "a.ipynb", RIGHT)
    for arguments, words in (
        ([tmp_path / "no"], "There is no notebook or folder"),
        ([tmp_path / "notes.txt"], "its name must end in .ipynb"),
        ([notebook, "--csv", tmp_path], "is a folder"),
        ([notebook, "--csv", tmp_path / "notes.txt" / "x.csv"], "cannot be written"),
        ([notebook, "--csv", notebook], "would overwrite the notebook"),
        ([notebook, "--jobs", "0"], "--jobs"),
        ([], "NOTEBOOK"),
    ):
        code, output, errors = course("check", *arguments)
        assert (code, output) == (2, "") and words in errors and errors.count("\n") == 1


def test_the_table_shows_names_as_they_are_and_says_why_on_request(capsys):
    from rich.console import Console

    found = [
        Result("x/[red]anna.ipynb", "03", "accuracy", "correct", "fine"),
        Result("x/[red]anna.ipynb", "03", "precision", "wrong", "got [1], expected 0\x1b[2J"),
        Result("x/ben.ipynb", "03", "accuracy", "error", "took too long"),
        Result("x/ben.ipynb", "03", "precision", "not attempted", "blank"),
        Result("y.ipynb", "", "", "error", "The file is not JSON."),
    ]
    report.show(Results(found), Console(width=80), verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Lesson 3: 1 accuracy, 2 precision"
    cells = {line.split("│")[1].strip(): [c.strip() for c in line.split("│")[2:-1]] for line in lines if "│" in line}
    assert cells["x/[red]anna.ipynb"] == ["✓", "✗", "1/2"] and cells["x/ben.ipynb"] == ["!", "○", "0/2"]
    assert cells["right"] == ["1", "0", "of 2"]
    assert "✗ x/[red]anna.ipynb, precision: got [1], expected 0�[2J" in lines
    assert "! y.ipynb: The file is not JSON." in lines
    assert " ".join(" ".join(lines[-2:]).split()) == (
        "2 notebooks: 1 ✓ correct, 1 ✗ wrong, 1 ○ not attempted, 1 ! error; 1 file that could not be judged"
    )
    report.show(Results(found), Console(width=80))
    assert "got [1]" not in capsys.readouterr().out


def test_a_system_that_cannot_confine_answers_is_named(course, tmp_path, monkeypatch):
    monkeypatch.setattr(referee, "judge_all", lambda *args, **kwargs: Results([], confined=False))
    code, _, errors = course("check", write(tmp_path / "a.ipynb", RIGHT))
    assert code == 0 and errors.startswith("course: this system cannot confine answers") and errors.count("\n") == 1
    monkeypatch.undo()
    monkeypatch.delattr(os, "fork")
    with pytest.raises(CourseError, match="needs Linux or macOS"):
        referee.judge_all(submissions.Found())


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＠", "\t", "\r", "\n"])
def test_no_cell_of_the_csv_starts_a_formula(tmp_path, start):
    path = tmp_path / "out.csv"
    found = Result(f"{start}cmd|' /C calc'!A0", "03", "accuracy", "wrong", f'{start}1, "2"\n3\ud800')
    report.save_csv(report.to_csv([found]), path)
    (row,) = rows(path)
    sign = " " if start.isspace() else start
    assert row["notebook"] == f"'{sign}cmd|' /C calc'!A0" or start.isspace()
    assert row["message"].lstrip("'") == f'{sign}1, "2" 3�' and row["outcome"] == "wrong"
    assert not path.read_text("utf-8").splitlines()[1].lstrip(' "').startswith(("=", "+", "-", "@"))


def test_a_csv_opens_in_excel_and_replaces_no_device_or_link(tmp_path):
    path, link = tmp_path / "out.csv", tmp_path / "link.csv"
    link.symlink_to(path)
    report.save_csv("Müller\n", link)
    assert link.is_symlink() and path.read_bytes() == b"\xef\xbb\xbfM\xc3\xbcller\n"
    report.check_csv(Path(os.devnull))
    report.save_csv("Müller\n", Path(os.devnull))
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "utf-16"])
def test_the_table_can_be_read_in_any_encoding(encoding):
    from rich.console import Console

    found = [
        Result("Jürgen 猫.ipynb", "03", "accuracy", outcome, "got 3 × 4 \udcff")
        for outcome in ("correct", "wrong", "not attempted", "error")
    ]
    content = io.BytesIO()
    codecs.register_error("course", cli.in_plain_signs)
    shown = io.TextIOWrapper(content, encoding, errors="course")
    for row in found:
        report.show(Results([row]), Console(file=shown, width=100), verbose=True)
    shown.flush()
    text = content.getvalue().decode(encoding)
    signs = "✓✗○!" if encoding.startswith("utf") else "+xo!"
    assert all(f"1 {sign} {row.outcome}" in text for sign, row in zip(signs, found))
    assert f"{signs[1]} J" in text and (encoding == "ascii" or "Jürgen" in text)


def test_the_command_says_what_it_says_in_any_encoding(tmp_path):
    call = [sys.executable, "-m", "course_utils.command.cli", "check", str(tmp_path / "Jürgen 猫.ipynb")]
    for encoding in ("cp1252", "ascii"):
        done = subprocess.run(call, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False)
        said = done.stderr.decode(encoding, errors="replace")
        assert done.returncode == 2 and said.startswith("course: There is no notebook or folder called ")
        assert said.count("\n") == 1


def test_a_csv_that_cannot_be_written_costs_no_judgement(course, tmp_path, monkeypatch):
    (tmp_path / "a.ipynb").write_text("{", "utf-8")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "replace_file", full)
    code, output, errors = course("check", tmp_path, "--csv", tmp_path / "out.csv")
    assert code == 1 and "a.ipynb: The file is not JSON" in output
    assert errors == f"course: {tmp_path / 'out.csv'} cannot be written: No space left on device.\n"


# --- finding and reading


def test_every_file_is_judged_or_named_and_each_notebook_once(tmp_path):
    folder = tmp_path / "handed in"
    judged = ["a.ipynb", "b.IPYNB", "berta.ipynb.txt", "carl.ipynb.json", "sub/a.ipynb", "dora.json", "emil.txt"]
    hidden = [".d.ipynb", ".ipynb_checkpoints/lost-checkpoint.ipynb", ".mine/e.ipynb"]
    for name in [*judged, *hidden, ".ipynb_checkpoints/a-checkpoint.ipynb", "__MACOSX/a.ipynb", "._a.ipynb"]:
        write(folder / name, RIGHT)
    kinds = {"class.zip": b"PK\x03\x04", "a.7z": b"7z\xbc\xaf", "a.pdf": b"%PDF-1.7", "a.html": b"\n<!DOCTYPE html>",
             "a.py": b"x = 1", "notes.txt": b"done", "no suffix": b"", "a.tgz": b"\x1f\x8b"}  # fmt: skip
    for name, content in kinds.items():
        (folder / name).write_bytes(content)
    for name in ("cat.JPG", "table.csv", "Thumbs.db", ".DS_Store"):
        (folder / name).touch()
    odd = os.fsdecode(os.fsencode(folder) + b"/\xff.ipynb")
    Path(odd).write_text("{}", "utf-8")
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "0 first.ipynb").symlink_to(folder / "a.ipynb")  # takes nobody's row
    (folder / "dead.ipynb").symlink_to(folder / "none.ipynb")
    (folder / "loop").symlink_to(folder)
    elsewhere = write(tmp_path / "elsewhere" / "z.ipynb", RIGHT)
    (folder / "away").symlink_to(elsewhere.parent)
    (folder / "z.ipynb").symlink_to(elsewhere)

    found = submissions.find([folder, folder / "a.ipynb"])
    prefix = f"{folder.as_posix()}/"
    expected = {*judged, "\udcff.ipynb", "pipe.ipynb", "dead.ipynb", "z.ipynb"}
    assert {name.removeprefix(prefix) for name in found.notebooks} == expected
    assert {name.removeprefix(prefix) for name in found.problems} == {*hidden, *kinds, "0 first.ipynb", "away"}
    assert [name.removeprefix(prefix) for name in found.data] == ["cat.JPG", "table.csv"]
    assert found.problems[f"{prefix}class.zip"] == "This is a zip archive; unpack it and check again."
    assert found.problems[f"{prefix}0 first.ipynb"] == (
        f"This is a link to {prefix}a.ipynb, which is judged under that name."
    )
    assert found.names == sorted(found.names) and len(found.names) == len(expected) + len(found.problems)
    problems = {name: submissions.read(path, LESSONS).problem for name, path in found.notebooks.items()}
    assert sum(not problem for problem in problems.values()) == len(judged) + 1
    for name, words in (
        ("pipe", "not a regular file"),
        ("dead", "cannot be read: No such file"),
        ("\udcff", "no cells"),
    ):
        assert words in problems[f"{prefix}{name}.ipynb"]


def test_nothing_to_judge_is_a_wrong_call_and_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "cat.png").touch()
    with pytest.raises(SettingError, match="There is no notebook in"):
        submissions.find([tmp_path])
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    problems = submissions.find([tmp_path]).problems
    assert problems == {(tmp_path / "closed").as_posix(): "The folder cannot be read: Permission denied."}


def test_a_folder_with_more_than_notebooks_ends_with_1_and_names_it(course, tmp_path):
    write(tmp_path / "a.ipynb", "x = 1", lesson=3)
    (tmp_path / "class.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "cat.jpg").touch()
    code, output, errors = course("check", tmp_path)
    assert code == 1 and f"! {tmp_path.as_posix()}/class.zip: This is a zip archive; unpack it" in output
    assert errors == f"course: passed over, as they are no notebooks: {tmp_path.as_posix()}/cat.jpg.\n"


LESSONS = {"01": ["from_hex", "frame"], "03": ["accuracy"]}


def test_the_lesson_is_what_the_notebook_says_or_what_its_code_asks_or_defines(tmp_path):
    for cells, said, lesson in (
        ([RIGHT], 1, "01"),
        ([RIGHT], "no lesson", "03"),
        (["def frame(i, t): ...", ASK], None, "03"),
        (["def frame(i, t): ...", "from_hex = lambda t: 0", RIGHT], None, "01"),
    ):
        submission = submissions.read(write(tmp_path / "a.ipynb", *cells, lesson=said), LESSONS)
        assert (submission.lesson, submission.problem) == (lesson, "")


def test_a_notebook_with_two_lessons_is_judged_as_one_and_the_report_says_so(tmp_path, capsys):
    path = write(tmp_path / "a.ipynb", RIGHT, ASK, "exercises.lesson1.frame.check(frame)", lesson=3)
    submission = submissions.read(path, LESSONS)
    assert (submission.lesson, submission.others) == ("03", ("01",))
    results = Results([Result("a", "03", "accuracy", "correct", "")], remarks=[referee._remark(submission)])
    remark = "a.ipynb is judged as lesson 3 only; hand in its exercises of lesson 1 in a notebook of their own."
    report.show(results, Console(width=400))
    assert remark in capsys.readouterr().out and remark in report.to_json(results)
    assert submissions.read(write(tmp_path / "b.ipynb", RIGHT, ASK, lesson=3), LESSONS).others == ()


def test_what_cannot_be_read_is_a_problem_in_one_sentence(tmp_path):
    path = tmp_path / "a.ipynb"
    for content, words in (
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"PK\x03\x04\xff", "This is a zip archive"),
        (b"\n<!DOCTYPE html><p>Log in", "This is a web page"),
        (b"[" * 100_000, "too deeply nested"),
        (b"[]", "no cells"),
        (
            b'{"worksheets": [], "nbformat": 3}',
            "has no cells, as every notebook in format 4 has; open it in Jupyter, save",
        ),
        (b'<<<<<<< HEAD\n{"cells": []}\n=======\n{}\n>>>>>>> mine\n', "conflict marks (<<<<<<<), from a merge that"),
        (b'{"cells": [{"cell_type": "code", "source": 3}]}', "Cell 1 is damaged"),
        (b'{"cells": [1, {"cell_type": "markdown"}]}', "not a lesson of this course"),
        (b'{"cells": ' + b"1" * 5000 + b"}", "no"),
    ):
        path.write_bytes(content)
        problem = submissions.read(path, LESSONS).problem
        assert words in problem and problem.endswith(".") and "\n" not in problem
    path.unlink()
    path.mkdir()
    assert submissions.read(path, LESSONS).problem == "This is not a regular file."
    assert "cannot be read" in submissions.read(tmp_path / "none.ipynb", LESSONS).problem


def test_files_that_are_too_large_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MOST_BYTES", 1000)
    path = write(tmp_path / "a.ipynb", "#" * 2000)
    assert "clear the outputs" in submissions.read(path, LESSONS).problem
    monkeypatch.undo()
    monkeypatch.setattr(submissions, "MOST_CODE", 1000)
    assert "characters of code" in submissions.read(path, LESSONS).problem
