"""Answers called in a copy of the process: what they return, change and raise is as in the notebook itself.

Everything runs in one clean process: a copy of a process with several threads, such as pytest's, would hang.
"""

import ctypes
import json
import multiprocessing
import os
import re
import struct
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils.command.grading import answers, confinement, judge, sandbox, template
from course_utils.command.grading.messages import Reader
from course_utils.exercises.checking import Exercise

pytestmark = pytest.mark.processes

CONFINED = sys.platform == "linux" and confinement.CALLS.get(os.uname().machine)
needs_confinement = pytest.mark.skipif(not CONFINED, reason="only Linux can forbid an answer to write or to signal")


COPIES = []  # in the clean process: the template


def started():
    torch.set_num_threads(1)
    COPIES[:] = [template.Template(sandbox.answer)]


@pytest.fixture(scope="module")
def clean():
    """Run a function of this module in a process with one thread."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=started) as pool:
        yield lambda function, *arguments: pool.submit(tried, function, *arguments).result()


def tried(function, *arguments):
    try:
        return function(*arguments)
    except sandbox.Stopped as stopped:  # no ordinary exception: it would end the process
        return stopped.outcome, stopped.message


def answer(source, name="answer", seconds=120.0):
    cells = [(1, source)]
    return sandbox.Answer(
        answers.cut(name, *answers.statements(cells)[:1], cells, {}), Path(tempfile.gettempdir()), seconds, COPIES[0]
    )


# --- what an answer returns


def returned():
    source = """
import numpy as np, torch
def answer(): return (
    None, True, -3, 2**70, 0.1, float("inf"), "ä\\n", ..., [1, (2,)], {"a": 1, 3: [4.0]}, torch.float16,
    torch.tensor(3), torch.tensor([[1.5, float("nan")]]), torch.zeros(0, 3), torch.ones(2, dtype=torch.bfloat16),
    torch.tensor([1 + 2j]).conj(), torch.tensor([True, False]), torch.arange(6).reshape(2, 3).T,
    torch.ones(3).requires_grad_(), np.float32(1.5), np.arange(3, dtype=">i2"), torch.Size([1, 2]),
    {"a", 2, (3, frozenset({4}))}, frozenset(), [{1.5}, {2: {True}}], float("-inf"), np.float64(0.1), 2**9999,
)
"""
    namespace = {}
    exec(source, namespace)
    got, expected = answer(source)(), namespace["answer"]()
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected):
        if isinstance(theirs, torch.Tensor):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
            assert mine.requires_grad == theirs.requires_grad
        elif isinstance(theirs, np.ndarray):
            np.testing.assert_array_equal(mine, theirs)
        else:
            assert mine == theirs and (type(mine) is type(theirs) or isinstance(theirs, torch.Size))
    return "as expected"


def test_plain_data_tensors_and_arrays_come_back_as_they_were(clean):
    assert clean(returned) == "as expected"


def of_other_classes():
    source = "import enum, numpy as np\nclass Colour(str, enum.Enum): RED = 'red'\nclass Size(enum.IntEnum): BIG = 3\n"
    source += "def answer(): return [np.str_('red'), Colour.RED, Size.BIG, {np.str_('red'): {Colour.RED}}]"
    got = answer(source)()
    return got, [type(each).__name__ for each in got]


def test_texts_and_numbers_of_other_classes_come_back_as_plain_ones(clean):
    assert clean(of_other_classes) == (["red", "red", 3, {"red": {"red"}}], ["str", "str", "int", "dict"])


def changed_set():
    given = {1, 2}
    same = answer("def answer(given):\n    given.discard(1)\n    given.add(3)\n    return given")(given) is given
    return same, given


def test_what_an_answer_does_to_a_set_is_carried_over(clean):
    assert clean(changed_set) == (True, {2, 3})


def too_long():
    return str(answer("def answer(): return 2**10000")()), str(answer("def answer(): return [2**99999]")())


def test_a_number_that_is_too_long_to_read_is_only_described(clean):
    first, second = clean(too_long)
    assert re.fullmatch(r"\d{40} … \d{20}", first) and second == "[<int>]"


def networks():
    built = answer(
        "import torch\nfrom torch import nn\n"
        "def answer(classes):\n"
        "    torch.manual_seed(1)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, padding='same'), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)).eval()"
    )(5)
    torch.manual_seed(1)
    layers = (nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
    expected = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(built(images), expected(images))
    assert str(built) == str(expected) and not built.training and len(list(built.parameters())) == 6
    return "as expected"


def test_a_network_of_pytorchs_layers_comes_back_whole(clean):
    assert clean(networks) == "as expected"


def functions():
    make = answer("def answer(base):\n    def rate(step): return base / (1 + step)\n    return rate")
    rate = make(2.0)
    pair = answer("def answer(): return [abs, (len,)]")()
    return rate(3), callable(pair[0]), callable(pair[1][0])


def test_a_function_can_be_called_where_it_lives_when_it_is_the_result_itself(clean):
    assert clean(functions) == (0.5, False, False)


OWN_NETWORK = """
import torch
from torch import nn
from torch.nn import functional as F
class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after)
        self.activation = F.relu
    def forward(self, images): return F.max_pool2d(self.activation(self.norm(self.layer(images))), 2)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(1, 4), Block(4, 8)])
        self.pool, self.drop, self.head = nn.AdaptiveAvgPool2d(2), nn.Dropout(0.9), nn.Linear(32, 3)
        self.scale = nn.Parameter(torch.full((1,), 2.0))
    def forward(self, images):
        for block in self.blocks: images = block(images)
        images = torch.cat([self.pool(images)[:, :4], self.pool(images)[..., 4:, :, :]], dim=1)
        images = F.dropout(nn.ReLU()(images), p=0.2, training=self.training).relu_()
        images = images**2 / torch.sum(images, 2).max(2)[0].std()
        return self.head(self.drop(images.view(images.size(0), -1))) * self.scale + 0 * images.shape[1]
def answer(): return Net()
"""


def own_network():
    namespace = {}
    exec(OWN_NETWORK, namespace)
    torch.manual_seed(3)
    got = answer(OWN_NETWORK)()
    torch.manual_seed(3)
    expected = namespace["answer"]()
    assert type(got).__name__ == "Net" and got.training
    assert [(name, p.shape) for name, p in got.named_parameters()] == [
        (name, p.shape) for name, p in expected.named_parameters()
    ]
    expected.load_state_dict(got.state_dict())
    images, heard = torch.rand(5, 1, 8, 8), []
    for net in (got, expected):
        net.blocks[0].layer.register_forward_hook(lambda *values: heard.append(values[2].shape))
        torch.manual_seed(4)
        F.cross_entropy(net(images), torch.tensor([0, 1, 2, 0, 1])).backward()
        net.eval()
    torch.testing.assert_close(got(images), expected(images))
    torch.testing.assert_close(got.blocks[1].layer.weight.grad, expected.blocks[1].layer.weight.grad)
    torch.testing.assert_close(got.blocks[0].norm.running_mean, expected.blocks[0].norm.running_mean)
    assert len(heard) == 4 and len(set(heard)) == 1
    return "as expected"


def test_a_network_of_a_class_of_ones_own_can_be_trained_and_looked_into_without_its_code(clean):
    assert clean(own_network) == "as expected"


@pytest.mark.parametrize(
    "forward",
    [
        "return x if x.sum() > 0 else -x",
        "return x + 1 if self.training else x",
        "return x + torch.rand(3)",
        "return torch.linalg.det(x)",
        "return x.apply_(abs)",
        "return eval('x')",
        "return x.add(1, out=x)",
        "return getattr(x, 'data')",
    ],
)
def test_a_network_that_cannot_be_followed_stays_away_or_fails_alone(clean, forward):
    assert clean(followed, forward) in ("Foreign", "one", "TypeError")


def followed(forward):
    source = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\nclass Net(nn.Module):\n"
    net = answer(f"{source}    def forward(self, x): {forward}\ndef answer(): return Net()")()
    if not isinstance(net, nn.Module):
        return "Foreign"
    given = torch.ones(1)
    try:
        net(given)
    except TypeError:
        return "TypeError"
    return "one" if given == 1 else "changed"


@pytest.mark.parametrize(
    "step",
    [
        ["call_function", "os.system", ["true"], {}],
        ["call_function", "getattr", [{"step": 0}, "__class__"], {}],
        ["call_method", "__reduce__", [{"step": 0}], {}],
        ["call_method", "numpy", [{"step": 0}], {}],
        ["call_module", "forward", [{"step": 0}], {}],
        ["call_module", "__class__", [], {}],
        ["get_attr", "steps", [], {}],
        ["exec", "print()", [], {}],
        ["call_function", "torch.add", [{"step": 9}, 1], {}],
        ["call_function", "torch.load", ["x"], {}],
        [],
        None,
    ],
)
def test_no_step_leads_out_of_the_list(step):
    head = {
        "k": "own",
        "type": "Net",
        "steps": [["placeholder", "x", [], {}], step, ["output", "output", [{"step": 1}], {}]],
    }
    head["v"] = {"_parameters": [], "_buffers": [], "_modules": [], "own": [["training", True]]}
    content = json.dumps({"sizes": [], "result": head}).encode()
    net = Reader(struct.pack("<Q", len(content)) + content, [()], None).result()
    with pytest.raises((TypeError, KeyError, AttributeError, IndexError, ValueError)):
        net(torch.ones(1))


# --- what an answer changes


def changed_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    weight = model[0].weight
    run = answer(
        "from torch import nn\n"
        "def answer(model, optimizer, images, notes):\n"
        "    for _ in range(2):\n"
        "        optimizer.zero_grad()\n        model(images).sum().backward()\n        optimizer.step()\n"
        "    model[0].requires_grad_(False)\n"
        "    model[2] = nn.Linear(3, 7)\n    model.eval()\n    optimizer.param_groups[0]['lr'] = 0.5\n"
        "    images.mul_(2)\n    notes['done'] = [1]\n"
        "    return model"
    )
    images, notes = torch.ones(1, 4), {}
    result = run(model, optimizer, images, notes)
    assert result is model and model[0].weight is weight and not weight.requires_grad
    assert weight.grad is not None and not torch.equal(weight, nn.Linear(4, 3).weight)
    assert optimizer.state[weight]["momentum_buffer"].shape == (3, 4) and optimizer.param_groups[0]["lr"] == 0.5
    assert model[2].out_features == 7 and model(images).shape == (1, 7) and not model.training
    assert images.tolist() == [[2.0] * 4] and notes == {"done": [1]}
    return "as expected"


def test_what_an_answer_does_to_network_optimizer_tensors_and_lists_is_carried_over(clean):
    assert clean(changed_network) == "as expected"


def groups():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    made = answer(
        "import torch\n"
        "def answer(model, rate):\n"
        "    groups = [{'params': model[0].parameters(), 'lr': rate / 10}, {'params': model[1].parameters()}]\n"
        "    return torch.optim.AdamW(groups, lr=rate, weight_decay=0.1)"
    )(model, 0.5)
    assert isinstance(made, torch.optim.AdamW) and [group["lr"] for group in made.param_groups] == [0.05, 0.5]
    assert made.param_groups[1]["params"][0] is model[1].weight
    before = model[1].weight.detach().clone()
    F.mse_loss(model(torch.ones(1, 4)), torch.zeros(1, 2)).backward()
    made.step()
    return not torch.equal(before, model[1].weight)


def test_a_new_optimizer_refers_to_the_networks_own_parameters(clean):
    assert clean(groups)


def drawn():
    draw = answer("import torch\ndef answer(n): return torch.rand(n)")
    torch.manual_seed(4)
    got = [draw(3), draw(3)]
    torch.manual_seed(4)
    return torch.equal(got[0], torch.rand(3)), torch.equal(*got)


def test_random_numbers_start_where_the_check_is_and_are_others_in_the_next_call(clean):
    assert clean(drawn) == (True, False)


def sent():
    return answer("def answer(f): return f()")(lambda: 1)


def test_a_check_cannot_hand_over_a_function_which_would_bring_its_own_variables_along(clean):
    outcome, message = clean(sent)
    assert outcome == "error" and "gives it something that cannot be sent" in message


def with_gradients():
    model = nn.Linear(2, 1)
    (model(torch.ones(1, 2)) ** 2).sum().backward()
    found = answer("def answer(model): return [each.grad for each in model.parameters()]")(model)
    return all(torch.equal(mine, each.grad) for mine, each in zip(found, model.parameters()))


def test_gradients_left_in_a_network_reach_the_answer(clean):
    assert clean(with_gradients)


# --- what an answer raises


IMPORTS = "import os, resource, socket, subprocess\nfrom course_utils.errors import DataError"


def raised(source):
    try:
        answer(f"{IMPORTS}\ndef answer():\n    {source}")()
    except Exception as error:  # noqa: BLE001 - that is what is looked at
        return type(error).__name__, [kind.__name__ for kind in type(error).__mro__[1:3]], str(error)


@pytest.mark.parametrize(
    ("source", "name", "base", "text"),
    [
        ("raise ValueError('odd')", "ValueError", "ValueError", "odd"),
        ("{}['red']", "KeyError", "KeyError", "'red'"),
        ("b'\\xff'.decode()", "UnicodeDecodeError", "UnicodeDecodeError", "'utf-8' codec can't decode byte 0xff in"),
        ("raise DataError('lost')", "DataError", "DataError", "lost"),
        ("import torch; torch.zeros(2) @ torch.zeros(3)", "RuntimeError", "RuntimeError", "size"),
        ("raise SystemExit(3)", "SystemExit", "Exception", "3"),
        ("answer()", "RecursionError", "RecursionError", "maximum recursion depth"),
        ("class Odd(TypeError):\n        __str__ = None\n    raise Odd", "Odd", "TypeError", ""),
    ],
)
def test_exceptions_arrive_as_what_they_are(clean, source, name, base, text):
    got = clean(raised, source)
    assert got[0] == name and base in got[1] and text in got[2]


# --- what an answer may do


@needs_confinement
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("open({outside!r}, 'w')", "Errno 13"),
        ("open({outside!r}, 'a')", "Errno 13"),
        ("os.remove({outside!r})", "Errno 13"),
        ("os.rename({outside!r}, 'mine')", "Errno 1"),
        ("os.truncate({outside!r}, 0)", "Errno 1"),
        ("os.setxattr({outside!r}, 'user.note', b'x')", "Errno 1"),
        ("os.symlink('x', {outside!r} + '2')", "Errno 13"),
        ("os.fork()", "Errno 1"),
        ("os.execv('/bin/true', ['true'])", "Errno 1"),
        ("subprocess.run(['true'])", "Errno 1"),
        ("os.kill({parent}, 0)", "Errno 1"),
        ("resource.prlimit({parent}, resource.RLIMIT_CPU, (0, 0))", "Errno 1"),
        ("socket.socket()", "Errno 1"),
        ("open('/proc/{parent}/mem', 'r+b')", "Errno 13"),
    ],
)
def test_linux_forbids_an_answer_to_leave_its_process_and_folder(clean, tmp_path, source, words):
    outside = tmp_path / "outside"
    outside.write_text("as it was", "utf-8")
    kind, *_, text = clean(raised, source.format(outside=str(outside), parent=os.getpid()))
    assert kind in ("error", "OSError") and words in text  # an error is no verdict
    assert outside.read_text("utf-8") == "as it was" and len(list(tmp_path.iterdir())) == 1


@needs_confinement
@pytest.mark.parametrize("version", range(1, 8))
def test_older_kernels_keep_every_promise_too(tmp_path, monkeypatch, version):
    if confinement._version(ctypes.CDLL(None)) < version:
        pytest.skip("this kernel is older")
    monkeypatch.setattr(confinement, "_version", lambda libc: version)
    folder = tmp_path / "answers"
    folder.mkdir()
    assert confinement.is_confining(folder) and list(tmp_path.iterdir()) == [folder] and not list(folder.iterdir())


@needs_confinement
@pytest.mark.parametrize("lacking", ["_landlock", "_filter", "_drop_capabilities", "die_with"])
def test_a_promise_that_is_not_kept_is_noticed(tmp_path, monkeypatch, lacking):
    def fails(*arguments):
        raise OSError(38, "Function not implemented")

    (tmp_path / "answers").mkdir()
    monkeypatch.setattr(confinement, lacking, fails)
    assert not confinement.is_confining(tmp_path / "answers")
    monkeypatch.setattr(confinement, lacking, lambda *arguments: None)
    weak = lacking in ("_landlock", "_filter")
    assert confinement.is_confining(tmp_path / "answers") is not weak


def in_its_folder():
    files = "from pathlib import Path\nimport tempfile, threading\ndef answer():\n    Path('a').write_text('x')\n"
    files += "    Path('a').rename('b')\n    Path('b').unlink()\n    thread = threading.Thread(target=print)\n"
    files += "    thread.start()\n    thread.join()\n"
    files += "    with tempfile.TemporaryFile('w') as file: return file.write('abc'), str(Path.cwd())"
    written, folder = answer(files)()
    return written, Path(folder).exists()


def test_an_answer_can_write_in_a_folder_of_its_own_that_is_removed(clean):
    assert clean(in_its_folder) == (3, False)


def unconfined(path):
    """As where the system forbids nothing: the answer starts a process, then both are to end."""
    kept, sandbox.confine = sandbox.confine, lambda folder, parent, memory: confinement._limit(memory)
    usual, COPIES[0] = COPIES[0], template.Template(sandbox.answer)
    source = "import os, time\ndef answer():\n    pid = os.fork()\n    if pid:\n"
    source += f"        open({str(path)!r}, 'w').write(str(pid))\n    time.sleep(600)"
    try:
        answer(source, seconds=5.0)()
    finally:
        sandbox.confine = kept
        COPIES[0].close()
        COPIES[0] = usual


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes can be copied")
def test_where_nothing_is_forbidden_time_is_up_for_an_answers_own_processes_too(clean, tmp_path):
    assert clean(unconfined, tmp_path / "pid") == ("error", "answer took longer than 5 s.")
    pid = int((tmp_path / "pid").read_text("utf-8"))
    end = time.monotonic() + 300
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the process lives on"
        time.sleep(0.05)


# --- whole judgements


def judged(question, source, seconds=120.0):
    cells = [(1, source)]
    found, broken = answers.statements(cells)
    needed = answers.cut(question.__name__, found, cells, broken)
    exercise = Exercise("", [question], ["think"], question, "09")
    return judge.judge(exercise, sandbox.Answer(needed, Path(tempfile.mkdtemp()), seconds, COPIES[0]))


def halves(answer, reference):
    model = answer()
    return None if sum(p.numel() for p in model.parameters()) == 6 else "another number of parameters"


def test_a_check_that_looks_inside_a_network_says_when_it_cannot(clean):
    assert clean(judged, halves, "from torch import nn\ndef halves(): return nn.Linear(2, 2)")[0] == "correct"
    assert clean(judged, halves, "from torch import nn\ndef halves(): return nn.Linear(2, 3)")[0] == "wrong"
    own = "from torch import nn\nclass Net(nn.Linear): pass\ndef halves(): return Net(2, {})"
    assert clean(judged, halves, own.format(2))[0] == "correct"
    assert clean(judged, halves, own.format(3))[0] == "wrong"
    own = "from torch import nn\nclass Net(nn.Linear):\n    def forward(self, x):\n        if x.sum(): return x\n"
    message = "It returned something that cannot be judged outside its notebook, an object of type Net."
    assert clean(judged, halves, own + "def halves(): return Net(2, 2)") == ("error", message)


def counted(answer, reference):
    return None if [answer(), answer()] == [1, 1] else "something stayed behind"


def test_each_call_starts_from_the_notebook_as_it_is_written(clean):
    source = "calls = []\ndef counted():\n    calls.append(1)\n    return len(calls)"
    assert clean(judged, counted, source)[0] == "correct"


# --- what is cut out


def cut_lines(source, name="answer"):
    cells = [(number, cell) for number, cell in enumerate(source.split("\n---\n"), start=1)]
    found, broken = answers.statements(cells)
    return [(each.cell, sorted(each.binds)) for each in answers.cut(name, found, cells, broken).statements]


def test_only_what_an_answer_needs_is_run():
    source = """import torch
---
slow = train()
---
table = {}
for name in "ab":
    table[name] = ord(name)
table.update(c=3)
table
torch.manual_seed(3)
---
def helper(x): return table[x] + math.pi
---
def answer(x): return helper(x)
---
from math import *
import math"""
    assert cut_lines(source) == [
        (3, ["table"]),
        (3, ["name"]),
        (3, []),
        (4, ["helper"]),
        (5, ["answer"]),
        (6, ["math"]),
    ]


def test_names_from_a_star_import_are_found():
    assert cut_lines("from math import *\n---\nimport os\n---\nanswer = lambda x: sqrt(x)") == [
        (1, []),
        (3, ["answer"]),
    ]


def test_decorators_defaults_and_annotations_count_as_used():
    source = "import functools\n---\nN = 3\n---\nT = int\n---\n@functools.cache\ndef answer(x: T = N): return x"
    assert [cell for cell, _ in cut_lines(source)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("source", "cells"),
    [
        (
            "def part(a): pass\n---\ndef answer(): part(1)\n---\nexercises.one.answer.check(answer)\n---\npart = 2",
            [1, 2],
        ),
        ("def part(a): pass\n---\ndef answer(): part(1)\n---\npart = 2", [1, 2]),
        ("part = 1\n---\ndef answer(): part\n---\npart = 2\n---\nexercises.one.answer.check(answer)", [1, 2, 3]),
        ("part = []\n---\ndef answer(): part\n---\npart.append(2)", [1, 2]),
        (
            "part = 1\n---\ndef answer(): part\nexercises.one.answer.check(answer)\n---\npart = 2\n---\n"
            "exercises.one.answer.check(answer)\n---\npart = 3",
            [1, 2, 3],
        ),
        ("def answer(): part\n---\nexercises.one.answer.check(answer)\n---\npart = []\n---\npart.append(2)", [1, 3, 4]),
        ("def answer(): sum([])\n---\nsum = 0", [1]),
        ("def answer(): ...\n---\ndef mine(): return 1\n---\nexercises.one.answer.check(mine)", [2]),
        ("def answer(): return 1\n---\ndef mine(): return 1\n---\nexercises.one.answer.check(mine)", [1]),
    ],
)
def test_names_are_followed_up_to_the_check(source, cells):
    assert [cell for cell, _ in cut_lines(source)] == cells


@pytest.mark.parametrize(
    "change",
    [
        "def fill(t): t['k'] = 2\n---\nfill(state)",
        "def fill(n, t): t.append(n)\n---\nfill(1, t=state)",
        "def fill(t): t[0] = 2\ndef all(x, t):\n    for i in x: fill(t)\n---\nall([1], state['a'])",
        "def fill():\n    global state\n    state = 2\n---\nfill()",
        "def fill():\n    state[1] = 2\n---\nif 1:\n    x = fill()",
        "fill = 0\n---\n_ = [state.append(k) for k in (3, 4)]",
        "from torch import nn\n---\nnn.init.constant_(state, 255)",
        "import random\n---\nrandom.shuffle(state)",
    ],
)
def test_changes_by_calls_are_followed(change):
    lines = cut_lines(f"state = 0\n---\n{change}\n---\ndef answer(): return state")
    assert {1, 3, 4} <= {cell for cell, _ in lines}


@pytest.mark.parametrize(
    "use",
    [
        "def train(net, t):\n    net.train()\n    t = []\n    t.append(1)\n---\ntrain(1, 2 + state)\nprint(state)",
        "def train(net, t):\n    net.train()\n    loss = t.mean()\n---\nhistory = train(make(), state)",
        "def state_of(t): return len(t)\n---\nn = state_of(state)",
        "def fill(state): state[0] = 1\n---\nfill(other)",
        "def fill(*all, **more): return all\n---\nfill(*state, **state)\nfill(1, 2, state)",
        "def loop(t): return loop(t)\n---\nloop(state)",
        "x = 0\n---\nx.fill_(state(1))",
        "def state_of(t): return 1\n---\nstate_of(state)\nstate_of(1)",
    ],
)
def test_what_only_looks_at_a_value_is_not_needed(use):
    assert [cell for cell, _ in cut_lines(f"state = 0\n---\n{use}\n---\ndef answer(): return state")] == [1, 4]


def test_a_function_that_is_only_called_is_not_changed():
    assert cut_lines("def part(a): return a\n---\npart(1)\n---\ndef answer(): return part(1)") == [
        (1, ["part"]),
        (3, ["answer"]),
    ]


def test_many_functions_that_call_each_other_are_read_in_time():
    started = time.monotonic()
    source = "\n".join(f"def f(t):\n    f(t)\n    f(a{i})\n    a{i}[0] = 1" for i in range(8000))
    found, broken = answers.statements([(1, source), (2, "def answer(): return a1")])
    assert answers.cut("answer", found, [], broken).statements and time.monotonic() - started < 60


def test_a_package_that_a_function_imports_is_made_ready():
    found, _ = answers.statements(
        [(1, "def answer():\n    from torchvision.transforms import v2\n    import PIL.Image")]
    )
    assert (found[0].imports, found[0].loads) == (frozenset(), {"torchvision", "PIL"})


@pytest.mark.parametrize(
    "source", ["(" * 5000, "x = " + "-" * 100_000 + "1", "x = " + "[" * 90 + "]" * 90, "\0", "def f(:", "x = '\ud800'"]
)
def test_a_cell_that_python_cannot_take_is_lost_alone(source):
    found, broken = answers.statements([(1, source), (2, "def answer(): pass")])
    assert [each.cell for each in found][-1] == 2 and set(broken) <= {1}
