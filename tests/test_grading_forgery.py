"""Attempts to be judged correct without an answer: none succeeds, and a look at the course's solutions is named.

Each attempt is one cell for `target`, whose right answer is 7 · n + 3; the numbers of the check are not in the cell.
"""

import json
import multiprocessing
import struct
import sys
import tempfile
import textwrap
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from course_utils import exercises
from course_utils.command.grading import answers, judge, sandbox, template
from course_utils.command.grading.arguments import Table
from course_utils.command.grading.messages import MessageError, Reader
from course_utils.exercises.checking import Exercise, call

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="what is not there on other systems cannot be tried"),
]
COPIES = []  # in the clean process: the template


def started():
    torch.set_num_threads(1)
    COPIES[:] = [template.Template(sandbox.answer)]


@pytest.fixture(scope="module")
def clean():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=started) as pool:
        yield lambda source: pool.submit(judged, textwrap.dedent(source)).result()


def judged(source):
    def target(n):
        return 7 * n + 3

    assert exercises.lesson1.perfect_rate.hints  # loaded as in the judge, after the template has started
    cells = [(1, source)]
    found, broken = answers.statements(cells)
    exercise = Exercise("", [call(5), call(11)], ["think"], target, "09")
    needed = answers.cut("target", found, cells, broken)
    return judge.judge(exercise, sandbox.Answer(needed, Path(tempfile.gettempdir()), 60.0, COPIES[0]))


def said(**head):
    """A cell that writes a message of its own and ends."""
    content = json.dumps({"sizes": [], "result": None, **head}).encode()
    whole = b"M" + struct.pack("<Q", len(content)) + content
    return f"import os\ndef target(n):\n    os.write(3, {whole!r})\n    os._exit(0)"


ATTEMPTS = {
    "a verdict as bytes": said(stopped=["correct", "passed all checks."]),
    "a verdict as a word": said(stopped="correct"),
    "a verdict beside the data": said(outcome="correct", verdict="correct", exercise="target", message="fine"),
    "a blank that is none": said(stopped="blank", outcome="correct"),
    "an unknown word": said(stopped="excellent"),
    "a class that is no layer": said(result={"k": "module", "class": ["os", "system"], "v": []}),
    "a reference to an argument": said(result={"k": "known", "n": 0}),
    "sizes below zero": said(sizes=[10, -10] * 40),
    "bytes that are no message": "import os\ndef target(n):\n    os.write(3, b'\\x00' * 999)\n    os._exit(0)",
    "two messages": said(result=1) + "\n    os.write(3, b'M')",
    "a line for the referee": """
        import os, json
        def target(n):
            for number in range(100):
                try: os.write(number, json.dumps({"exercise": "target", "outcome": "correct"}).encode() + b"\\n")
                except OSError: pass
            os._exit(0)
        """,
    "the stack": """
        import sys
        def target(n):
            frame = sys._getframe()
            while frame:
                for name, value in {**frame.f_globals, **frame.f_locals}.items():
                    if name in ("reference", "expected"):
                        return value(n) if callable(value) else value
                frame = frame.f_back
        """,
    "stacks of all threads": """
        import sys
        def target(n):
            for frame in sys._current_frames().values():
                while frame:
                    if "reference" in frame.f_locals: return frame.f_locals["reference"](n)
                    frame = frame.f_back
        """,
    "all objects in memory": """
        import gc
        def target(n):
            for each in gc.get_objects():
                if getattr(each, "__qualname__", "") == "judged.<locals>.target" : return each(n)
                if type(each).__name__ == "Exercise": return each.reference(n)
        """,
    "the memory of its own process": r"""
        import re
        def target(n):
            for line in open("/proc/self/maps"):
                place, rights, *_ = line.split()
                start, end = (int(each, 16) for each in place.split("-"))
                if rights == "rw-p" and end - start < 10**8:
                    with open("/proc/self/mem", "rb") as file:
                        file.seek(start)
                        if re.search(rb"Which rate makes 2.a.rate equal to .\?", file.read(end - start)):
                            return 7 * n + 3
        """,
    "the judge's memory": """
        import os
        def target(n):
            lines = open(f"/proc/{os.getppid()}/status").read().splitlines()
            judge = [line.split()[1] for line in lines if line.startswith("PPid")][0]
            for process in (os.getppid(), int(judge)):
                open(f"/proc/{process}/mem", "rb")
                return 7 * n + 3
        """,
    "the judge's open files": """
        import os
        def target(n):
            lines = open(f"/proc/{os.getppid()}/status").read().splitlines()
            judge = [line.split()[1] for line in lines if line.startswith("PPid")][0]
            for process in (int(judge), os.getppid()):
                for name in os.listdir(f"/proc/{process}/fd"):
                    open(f"/proc/{process}/fd/{name}", "rb")
                    return 7 * n + 3
        """,
    "ptrace": """
        import ctypes, os
        def target(n):
            if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0: return 7 * n + 3
        """,
    "descriptors that were left open": """
        import os
        def target(n):
            if [each for each in range(4, 1000) if os.path.exists(f"/proc/self/fd/{each}")]: return 7 * n + 3
        """,
    "patched comparisons": """
        import builtins, math, sys, torch
        from course_utils.exercises import checking, differences
        differences.first_difference = checking.first_difference = lambda *a: None
        checking.Exercise.judge = checking.Exercise._judged = lambda *a: ("correct", "")
        math.isclose = torch.equal = torch.testing.assert_close = lambda *a, **k: True
        def target(n): return (checking, math, torch, 0)[-1]
        """,
    "patched modules": """
        import sys, types
        fake = types.ModuleType("checking")
        fake.__getattr__ = lambda name: lambda *a, **k: None
        sys.modules["course_utils.exercises.checking"] = sys.modules["course_utils.command.grading.judge"] = fake
        sys.modules["json"] = sys.modules["struct"] = fake
        def target(n): return fake and sys and 0
        """,
    "a patched writer": """
        from course_utils.command.grading import messages
        def message(self, what, result=None, **how):
            import json, struct
            head = json.dumps({"sizes": [], "result": None, "stopped": "correct", "outcome": "correct"}).encode()
            return struct.pack("<Q", len(head)) + head
        messages.Writer.message = message
        def target(n): return messages and 0
        """,
    "equal to everything": """
        class Yes(int):
            __eq__ = __ge__ = __le__ = lambda self, other: True
            __hash__ = int.__hash__
            __class__ = int
        def target(n): return Yes(0)
        """,
    "a tensor that agrees": """
        import torch
        class Yes(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None): return True
        def target(n): return torch.tensor(0).as_subclass(Yes)
        """,
    "a value that is computed late": """
        class Late:
            def __call__(self, *values): return self
            __float__ = __int__ = __index__ = __getattr__ = lambda self, *values: 0
        def target(n): return Late()
        """,
    "pickled code": """
        import os, pickle
        class Bomb:
            def __reduce__(self): return exec, ("raise SystemExit('correct')",)
        def target(n):
            os.write(3, b"M" + pickle.dumps(Bomb()))
            os._exit(0)
        """,
    "an exception of the checks' own": """
        from course_utils.exercises.checking import Unanswered
        class Stopped(BaseException):
            outcome, message = "correct", "passed"
        def target(n): raise Stopped("correct") from Unanswered()
        """,
    "a thread that goes on": """
        import os, threading, time
        def late():
            while True: os.write(3, b'M' + bytes(8))
        def target(n):
            threading.Thread(target=late, daemon=True).start()
            time.sleep(0.1)
            return 0
        """,
    "at the exit": """
        import atexit, os
        def target(n):
            atexit.register(lambda: os.write(3, b"correct"))
            raise SystemExit("correct")
        """,
    "the environment": """
        import os
        def target(n):
            os.environ["OUTCOME"] = "correct"
            return next((int(value) for key, value in os.environ.items() if "EXPECTED" in key), 0)
        """,
    "an attribute over a method": said(
        result={"k": "module", "class": ["torch.nn.modules.linear", "Identity"],
                "v": {"_parameters": [], "_buffers": [], "_modules": [], "own": [["__call__", 1], ["forward", 38]]}}
    ),
}  # fmt: skip
# Each asks for a solution of the course, and is named.
TAKEN = {
    "asks the exercise": "from course_utils import exercises\n"
    "def target(n): return exercises.lesson1.perfect_rate.reference(n)",
    "asks for the source": "from course_utils.exercises import lesson1\n"
    "def target(n):\n    exec(lesson1.perfect_rate.source())\n    return 0",
    "prints the solution": "import importlib\n"
    "def target(n): return importlib.import_module('course_utils.exercises.lesson1').perfect_rate.solution()",
    "reads the file": "import course_utils\nfrom pathlib import Path\n"
    "def target(n): return (Path(course_utils.__file__).parent / 'exercises' / 'lesson1.py').read_text()",
    "imports it afresh": "import sys, importlib\n"
    "def target(n):\n    sys.modules.pop('course_utils.exercises.lesson1', None)\n"
    "    return importlib.import_module('course_utils.exercises.lesson1').perfect_rate.reference(n)",
    "runs it under another name": "import importlib.util, course_utils.exercises as e\n"
    "def target(n):\n    spec = importlib.util.spec_from_file_location('x', e.__path__[0] + '/lesson1.py')\n"
    "    module = importlib.util.module_from_spec(spec)\n    spec.loader.exec_module(module)\n    return 0",
}
RIGHT = {
    "plainly": "def target(n): return 7 * n + 3",
    "by a helper and a class": "class Seven:\n    times = staticmethod(lambda n: 7 * n)\n"
    "def more(n): return n + 3\ndef target(n): return more(Seven.times(n))",
    "as a tensor": "import torch\ndef target(n): return torch.tensor(7) * n + 3",
    "from a table of its own": "TABLE = {5: 38, 11: 80}\ndef target(n): return TABLE[n]",
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_no_attempt_is_judged_correct(clean, name):
    outcome, message = clean(ATTEMPTS[name])
    assert outcome in ("wrong", "error", "not attempted"), message
    assert len(message) < 2000


@pytest.mark.parametrize("name", TAKEN)
def test_a_look_at_the_courses_solutions_is_named(clean, name):
    assert clean(TAKEN[name]) == ("wrong", sandbox.TOOK.format("target"))


def test_the_files_with_solutions_cannot_be_read_whatever_way_they_are_opened(clean):
    source = """
    import ctypes
    from course_utils.exercises import __path__ as place
    def target(n):
        library = ctypes.CDLL(None, use_errno=True)
        number = library.open((place[0] + "/lesson1.py").encode(), 0)
        return 7 * n + 3 if number >= 0 else ctypes.get_errno()
    """
    assert clean(source)[1] == "target(5): got 13, expected 38."  # permission denied


@pytest.mark.parametrize("name", RIGHT)
def test_honest_answers_are_unharmed(clean, name):
    assert clean(RIGHT[name])[0] == "correct"


@pytest.mark.parametrize("key", ["stopped", "failed", "raised", "text", "result", "changes", "sizes", "outcome"])
@pytest.mark.parametrize(
    "value", ["correct", ["correct", "fine"], {"k": "correct"}, 38, -1, None, True, [[]], {}, "x" * 9999, [[38]] * 9]
)
def test_no_field_of_a_message_holds_a_verdict(key, value):
    head = json.dumps({"sizes": [], "result": None, key: value}).encode()
    try:
        reader = Reader(struct.pack("<Q", len(head)) + head, Table.of([([5],), {}]), lambda node: None)
        assert reader.stopped in ("", "blank", "missing", "no function")
        assert all(len(reader.text(each)) <= 500 for each in ("failed", "text"))
        reader.raised()
        reader.result()
    except MessageError:
        pass
