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
from course_utils.command.grading.arguments import things_in
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
        yield lambda source, *which: pool.submit(judged, textwrap.dedent(source), *which).result()


def judged(source, lesson=None, name="target"):
    def target(n):
        return 7 * n + 3

    assert exercises.lesson1.perfect_rate.hints  # loaded as in the judge, after the template has started
    cells = [(1, source)]
    found, broken = answers.statements(cells)
    exercise = Exercise("", [call(5), call(11)], ["think"], target, "09")
    if lesson:
        exercise = getattr(getattr(exercises, lesson), name)
    needed = answers.cut(name, found, cells, broken)
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
    "a set of lists": said(result={"k": "set", "v": [{"k": "list", "v": [38]}]}),
    "a set that is a number": said(result={"k": "frozenset", "v": 38}),
    "a set of what it is asked": said(result={"k": "set", "v": [38, 80]}),
    "a kind that is a list": said(result={"k": ["set"], "v": [38]}),
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
    "the memory of the template": """
        import os
        def target(n):
            with open(f"/proc/{os.getppid()}/mem", "r+b", buffering=0) as memory:
                memory.seek(int(open(f"/proc/{os.getppid()}/maps").readline().split("-")[0], 16))
                memory.write(b"correct")
            return 7 * n + 3
        """,
    "another process's memory in one call": """
        import ctypes, os
        def target(n):
            class Part(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
            place = int(open(f"/proc/{os.getppid()}/maps").readline().split("-")[0], 16)
            mine, theirs = Part(ctypes.addressof(ctypes.create_string_buffer(8)), 8), Part(place, 8)
            got = ctypes.CDLL(None).process_vm_readv(os.getppid(), ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
            if got > 0: return 7 * n + 3
        """,
    "what the judge has told the template": """
        import os
        def target(n):
            for kind in ("environ", "syscall", "stack", "auxv", "task"):
                try: text = open(f"/proc/{os.getppid()}/{kind}", "rb").read()
                except OSError: continue
                if b"38" in text and b"80" in text: return 7 * n + 3
        """,
    "a file for the next call": """
        import os, tempfile
        def target(n):
            for place in ("..", "/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), os.environ["TMPDIR"] + "/.."):
                try: open(place + "/asked", "a").write(str(n))
                except OSError: continue
                return 7 * n + 3
        """,
    "a module that Python loads at its start": """
        import os, sys
        def target(n):
            for name in ("sitecustomize.py", "usercustomize.py", "json.py", "course_utils.py", "conftest.py"):
                open(name, "w").write("raise SystemExit('correct')")
            os.environ.update(PYTHONSTARTUP="json.py", PYTHONPATH=os.getcwd(), LD_PRELOAD="json.py")
            sys.path.insert(0, os.getcwd())
            return 0
        """,
    "a debugger's hooks": """
        import sys, threading
        def look(frame, event, value):
            for each in list(frame.f_locals.values()):
                if isinstance(each, dict) and "stopped" in each: each["stopped"] = "correct"
            return look
        sys.settrace(look), sys.setprofile(look), threading.setprofile(look)
        def target(n):
            sys.settrace(look)
            frame = sys._getframe()
            while frame:
                frame.f_trace, frame = look, frame.f_back
            return look and 0
        """,
    "signals and alarms": """
        import os, signal
        def answered(number, frame): os.write(3, b"correct")
        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, answered)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        def target(n):
            for _ in range(10**6): pass
            return answered and 0
        """,
    "equal to everything, as a float": """
        class Yes(float):
            __eq__ = __ge__ = __le__ = __lt__ = __gt__ = lambda self, other: True
            __sub__ = __rsub__ = __abs__ = lambda self, *other: 0.0
            __hash__ = float.__hash__
        def target(n): return Yes("nan")
        """,
    "equal to everything, as a text, a list and a dictionary": """
        class Text(str):
            __eq__ = lambda self, other: True
            __hash__ = str.__hash__
        class Rows(list):
            __eq__ = lambda self, other: True
            __len__ = lambda self: 1
            __iter__ = lambda self: iter([38, 80])
        class Names(dict): __eq__ = lambda self, other: True
        def target(n): return Rows([Text("x"), Names(a=1)]) if n == 5 else Names(a=Text("x"))
        """,
    "no number at all": "import math\ndef target(n): return math.nan if n == 5 else math.inf",
    "a tensor of no numbers": "import torch\ndef target(n): return torch.ones(0) if n > 5 else torch.tensor(torch.nan)",
    "a tensor without a value": "import torch\ndef target(n): return torch.tensor(float(n), device='meta')",
    "an array that agrees": """
        import numpy as np
        class Yes(np.ndarray):
            def __array_ufunc__(self, *values, **how): return True
            def __array_function__(self, *values, **how): return True
            item = __eq__ = lambda self, *other: True
        def target(n): return np.zeros(()).view(Yes)
        """,
    "a tensor that dispatches": """
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode
        class Ones(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                made = function(*args, **(kwargs or {}))
                return torch.ones_like(made).bool() if made.dtype == torch.bool else made
        mode = Ones()
        def target(n):
            mode.__enter__()
            return torch.zeros(())
        """,
    "a gradient's hook": """
        import torch
        def target(n):
            made = torch.zeros((), requires_grad=True)
            made.register_hook(lambda gradient: exec("raise SystemExit('correct')"))
            return (made * 2).register_hook(print) and made
        """,
    "a coroutine": "async def target(n): return await target(n)",
    "a generator": "def target(n):\n    while True: yield n",
    "something that is called for ever": "def target(n=0): return target",
    "the checks' own exceptions by name": """
        class Unanswered(Exception): pass
        class Correct(Unanswered):
            outcome, message = "correct", "target passed all 2 checks."
            __str__ = lambda self: "correct"
        def target(n): raise Correct
        """,
    "the end of an iteration": "def target(n): raise StopIteration(38)",
    "an interruption": "def target(n): raise KeyboardInterrupt",
    "text in another alphabet's digits": "def target(n): return '３８' if n == 5 else '٨٠'",
    "numbers that JSON has not": "import os, struct\ndef target(n):\n"
    "    head = b'{\"sizes\": [], \"result\": Infinity, \"result\": NaN, \"stopped\": \"\"}'\n"
    "    os.write(3, b'M' + struct.pack('<Q', len(head)) + head)\n    os._exit(0)",
    "a reference to no argument": said(result={"k": "known", "n": -1}),
    "a network that runs another": said(
        result={"k": "module", "class": ["torch.nn.modules.linear", "Identity"], "v": {
            "_parameters": [], "_buffers": [], "_modules": [], "own": [["_compiled_call_impl", 38]]}}
    ),
    "a step that is not listed": said(
        result={"k": "own", "type": "Net", "v": {"_parameters": [], "_buffers": [], "_modules": [], "own": []},
                "steps": [["call_function", "builtins.eval", ["38"], {}]]}
    ),
    "an optimizer of no parameters": said(
        result={"k": "optimizer", "class": ["torch.optim.sgd", "SGD"], "defaults": {"k": "dict", "v": [["lr", 38]]},
                "v": {"groups": [], "state": []}}
    ),
    "a flood": "import os\ndef target(n):\n    while True: os.write(3, b'M' * 1_000_000)",
    "a flood of errors": "def target(n): raise ValueError('correct ' * 10**7)",
    "IPython's shell": """
        def target(n):
            get_ipython().system("echo correct >&3")
            get_ipython().run_cell_magic("python", "", "print(38)")
            return get_ipython().user_ns["expected"]
        """,
    "magics": """
        %load_ext autoreload
        %run -i ../lesson1.py
        %load solution.py
        %env OUTCOME=correct
        %pip install cheat
        found = %sx echo 38
        def target(n):
            !echo correct >&3
            %run solution.py
            return found
        """,
    "a notebook's history": "def target(n): return globals().get('Out', {}).get(1) or _ih[-1] or In[0]",
    "other names for itself": """
        __name__ = "course_utils.command.grading.judge"
        __class__ = type("Exercise", (), {"judge": lambda *values: ("correct", "")})
        def target(n): return __name__ and 0
        target.__name__ = target.__qualname__ = "correct"
        target.reference = target
        """,
    "a number that counts up": "import itertools\ncount = itertools.count()\ndef target(n): return next(count) or n",
    "the kernel's own ring": """
        import ctypes
        def target(n):
            if ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)) >= 0: return 7 * n + 3
        """,
    "a file without a name": """
        import os
        def target(n):
            if os.memfd_create("x") >= 0: return 7 * n + 3
        """,
    "another namespace": """
        import ctypes
        def target(n):
            if ctypes.CDLL(None).unshare(0x10000000) == 0: return 7 * n + 3
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


LENET = """
    from torch import nn
    def layers():
        first = (nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU())
        return *first, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 10)
    """
OF_A_NETWORK = {
    "compiled in place": (
        "correct",
        """
        def lenet():
            net = nn.Sequential(*layers())
            net.compile()
            return net
        """,
    ),
    "of its own class, with names that the judge has too": (
        "correct",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.steps, self.inputs = nn.Sequential(*layers()), 3, [1]
            def forward(self, x): return self.body(x)
        def lenet(): return Net()
        """,
    ),
    "with another behind it": (
        "error",
        """
        def lenet():
            net = nn.Sequential(*layers()[:-1], nn.Linear(120, 9))
            object.__setattr__(net[-1], "behind", nn.Linear(120, 10))
            object.__setattr__(net[-1], "_compiled_call_impl", net[-1].behind)
            return net
        """,
    ),
    "that spoils what the reference is asked": (
        "wrong",
        "def lenet(): return nn.Sequential(nn.Threshold(9.0, 0.0, inplace=True), *layers())",
    ),
    "that leaves nothing of its class": (
        "error",
        """
        class Net(nn.Sequential):
            __class__ = nn.Sequential
            def __reduce__(self): return exec, ("raise SystemExit('correct')",)
            def __call__(self, x): return x.new_zeros(len(x), 10)
            def forward(self, x): return [x for x in range(int(x.sum()))]
        def lenet(): return Net(*layers())
        """,
    ),
}


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("def floors(shoes): return {shoe: {'wood', 'carpet'} for shoe in shoes}", "correct"),
        ("def floors(shoes): return dict.fromkeys(shoes, frozenset(('wood', 'carpet')))", "correct"),
        ("import numpy\ndef floors(shoes): return dict.fromkeys(shoes, [*numpy.array(['wood', 'tiles'])])", "correct"),
        ("def floors(shoes): return {shoe: {'wood', shoe} for shoe in shoes}", "wrong"),
        ("def floors(shoes): return {shoe: set() for shoe in shoes}", "wrong"),
    ],
)  # fmt: skip
def test_an_answer_may_return_sets_where_its_check_takes_them(clean, source, outcome):
    assert clean(source, "appendix_b", "floors")[0] == outcome


@pytest.mark.parametrize("name", OF_A_NETWORK)
def test_a_network_is_judged_by_what_it_is(clean, name):
    expected, source = OF_A_NETWORK[name]
    source = textwrap.dedent(LENET) + textwrap.dedent(source)
    outcome, message = clean(source, "lesson3", "lenet")
    assert outcome == expected, message


@pytest.mark.parametrize("key", ["stopped", "failed", "raised", "text", "result", "changes", "sizes", "outcome"])
@pytest.mark.parametrize(
    "value", ["correct", ["correct", "fine"], {"k": "correct"}, 38, -1, None, True, [[]], {}, "x" * 9999, [[38]] * 9]
)
def test_no_field_of_a_message_holds_a_verdict(key, value):
    head = json.dumps({"sizes": [], "result": None, key: value}).encode()
    try:
        reader = Reader(struct.pack("<Q", len(head)) + head, things_in([([5],), {}]), lambda node: None)
        assert reader.stopped in ("", "blank", "missing", "no function")
        assert all(len(reader.text(each)) <= 500 for each in ("failed", "text"))
        assert all(name.isidentifier() for name in reader.raised)
        reader.result()
    except MessageError:
        pass
