"""A learner's answer as a function: each call runs in a process of its own that can do little, and ends after it.

That process is a copy (fork) of `template`, which never saw a solution. It gets the answer's statements and the call's
inputs through one pipe, then only one descriptor is left to it, the writing end of another pipe. Through this comes
back what the answer returned and changed, as plain data, see `messages`. So the checks run in the judge as they do in
a notebook, and nothing that an answer redefines, prints, patches or writes touches them.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import functools
import inspect
import linecache
import marshal
import os
import pickle
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch

from course_utils import errors, exercises
from course_utils.command.grading.answers import FILE, Cut
from course_utils.command.grading.arguments import things_in
from course_utils.command.grading.confinement import MORE_MEMORY, confine
from course_utils.command.grading.messages import LONGEST, MOST_BYTES, Foreign, MessageError, Reader, Writer
from course_utils.command.grading.template import OPEN_MODULES, OPTIMIZERS, READY, Template
from course_utils.exercises import given
from course_utils.exercises.checking import is_untouched
from course_utils.exercises.differences import described, shortened
from course_utils.training.guards import is_out_of_memory

MOST_WRITTEN = 100_000_000  # bytes in the answer's folder
MOST_FILES = 5_000  # files and folders there
LOOK_EVERY = 0.2  # seconds, at time and folder
PIPE = 3  # the one descriptor that an answer has
PROGRESS, TAKEN, MESSAGE = b"P", b"S", b"M"  # what a copy writes: cells as they begin, a look at a solution, the end
# How PyTorch says that there is no GPU, and `_Shell` that there is no shell: no fault of the answer.
NOT_HERE = re.compile(r"\b(cuda|nvidia|xpu|hpu|mps|accelerator device|a shell or a magic)\b", re.IGNORECASE)
# Nor is it when a package is missing, a file, somebody who types, or the right to write or to start a process.
ABSENT = ("ModuleNotFoundError", "FileNotFoundError", "EOFError", "PermissionError")
SAID_BY = ("AssertionError", "RuntimeError", "NotImplementedError", "AcceleratorError")
TOOK = "{} takes the course's own solution; an answer counts when the notebook's own code computes it."


class Stopped(BaseException):
    """The answer cannot be judged further; no check may catch this. The message is a sentence for the report."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome, self.message = outcome, message


class Answer:
    """Calls a learner's function in a separate process.

    Args:
        cut: what it needs.
        folder: where each process gets its own folder to write in, removed after the call.
        seconds: for all calls together.
        template: the process of which each call gets a copy.
    """

    def __init__(self, cut: Cut, folder: Path, seconds: float, template: Template) -> None:
        self.cut, self.folder, self.seconds, self.template = cut, folder, seconds, template
        self.used = 0.0  # seconds
        self.failed = ""  # why a statement that the answer needs did not run
        self.foreign = ""  # the type of what came back, where plain data cannot describe it
        self.network = False  # whether it is a network of the learner's own class
        self.__name__ = cut.name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Return what the answer returns and raise what it raises; arguments change as it changed them.

        Raises:
            Stopped: when it is blank, is not a function, cannot be prepared, takes too long, or ends its process.
        """
        return self._called([(arguments, named, torch.get_rng_state())])

    def by_way_of(self, function: Callable[..., Any], memory: int = 0) -> Callable[..., Any]:
        """Return what calls a function of `given` with the answer, and then the arguments, where answers run.

        Args:
            function: what it returns is as much the answer's own word as the answer's result.
            memory: bytes that it may take more than the process holds at its start, which the system enforces.
        """
        return lambda *arguments: self._called(
            [(arguments, {}, torch.get_rng_state())], function.__name__, memory or MORE_MEMORY
        )

    def _called(
        self,
        steps: list[tuple[tuple[Any, ...], dict[str, Any], torch.Tensor]],
        way: str = "",
        memory: int = MORE_MEMORY,
    ) -> Any:
        """Call the answer, then its result with the second step's arguments, and so on."""
        things = things_in([step[:2] for step in steps])
        content = self._run(_packed(self.cut, steps, things, way), memory)
        # Its random numbers are its own affair; the next call starts from others.
        torch.manual_seed(int(torch.randint(2**62, ())))

        def foreign(node: dict[str, Any]) -> Foreign:
            self.foreign, self.network = str(node["type"])[:LONGEST], bool(node["network"])
            members: dict[str, Any] = {}
            if node["callable"]:  # a function, say: it lives only in the other process, so go there once more

                def again(_: Any, *arguments: Any, **named: Any) -> Any:
                    return self._called([*steps, (arguments, named, torch.get_rng_state())])

                members["__call__"] = again
            return type(self.foreign, (Foreign,), members)(str(node["text"])[:LONGEST])

        try:
            reader = Reader(content, things, foreign)
            self.failed = reader.text("failed")
            if reader.stopped:
                raise Stopped(*self._why(reader))
            result = reader.result()
            if names := reader.raised:
                text = reader.text("text")
                error = _exception(names, text)
                if memory == MORE_MEMORY and is_out_of_memory(error):
                    held = f"{MORE_MEMORY / 2**30:.0f} GB"
                    raise Stopped("error", f"{self.cut.name} needed more than {held} of memory, so it was not judged.")
                if self._asks_for_more(names[0], text):
                    said = shortened(text.split("\n", 1)[0].rstrip("."))
                    raise Stopped("error", f"{self.cut.name} asks for what is not here to judge it: {said}.")
                raise error
        except MessageError as error:
            raise Stopped("error", f"{self.cut.name}: {error}.") from None
        return result

    def _asks_for_more(self, kind: str, text: str) -> bool:
        """Tell whether an exception says that something is not here which the notebook's own kernel may have."""
        if kind == "NameError":
            return self.cut.elsewhere
        return kind in ABSENT or (kind in SAID_BY and NOT_HERE.search(text) is not None)

    def _why(self, reader: Reader) -> tuple[str, str]:
        """Return outcome and sentence for an answer that was not called: the judge's own words, never a "correct"."""
        if reader.stopped == "blank":
            return "not attempted", f"{self.cut.name} is still blank."
        if reader.stopped == "missing":
            return "error", f"It needs something that is missing: {self.failed}."
        self.failed = ""
        return "wrong", f"got {reader.text('text')}, expected a function named {self.cut.name}."

    def _run(self, orders: bytes, memory: int) -> bytes:
        """Run the orders in a copy of the template and return its message."""
        work = Path(tempfile.mkdtemp(dir=self.folder))
        started = time.monotonic()
        packages = {package for each in self.cut.statements for package in each.loads} & set(READY)
        if any(_trains(each.code) for each in self.cut.statements):
            packages.add(OPTIMIZERS)
        reading, writing = os.pipe()
        ordered, ordering = os.pipe()
        try:
            self.template.copy(sorted(packages), ordered, writing)
        finally:
            os.close(ordered)
            os.close(writing)
        received = bytearray()
        try:
            with contextlib.suppress(BrokenPipeError), os.fdopen(ordering, "wb") as file:  # it may have died
                file.write(pickle.dumps((str(work), memory, orders)))
            problem = self._receive(reading, received, work, started + self.seconds - self.used)
        finally:
            self.used += time.monotonic() - started
            os.close(reading)
            status = self.template.end()
            _remove(work)
        cell, taken, content = _parted(received)
        busy = f" while cell {cell}, which it needs, was running" if cell else ""
        if taken:
            raise Stopped("wrong", TOOK.format(self.cut.name))
        if problem:
            raise Stopped("error", f"{self.cut.name} {problem}{busy}.")
        if not content:
            how = f"signal {-status}, {signal.strsignal(-status)}" if status < 0 else f"exit code {status}"
            raise Stopped("error", f"{self.cut.name} ended its own process ({how}){busy}.")
        return content

    def _receive(self, reading: int, received: bytearray, work: Path, deadline: float) -> str:
        """Collect what comes until the end, and return in words which limit was exceeded, if any."""
        looked = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= deadline:
                return f"took longer than {self.seconds:.3g} s"
            if now > looked + LOOK_EVERY:
                looked = now
                if problem := _too_much(work):
                    return problem
            if not select.select([reading], [], [], min(LOOK_EVERY, deadline - now))[0]:
                continue
            part = os.read(reading, 1 << 20)
            if not part:
                return ""
            received += part
            if len(received) > MOST_BYTES:
                return f"gave back more than {MOST_BYTES / 1e6:.0f} MB"


def _trains(code: types.CodeType) -> bool:
    """Tell whether code seems to use an optimizer."""
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return any("optim" in name for name in code.co_names + code.co_varnames) or any(map(_trains, inner))


def _packed(cut: Cut, steps: list[Any], things: list[Any], way: str) -> bytes:
    """Return all that a copy needs, as bytes of the judge's own making; only the copy takes them apart.

    Raises:
        Stopped: when a check hands over something that cannot be sent, such as a function.
    """
    gradients = [  # which `pickle` leaves out
        (number, thing.grad)
        for number, thing in enumerate(things)
        if isinstance(thing, torch.Tensor) and thing.is_leaf and thing.grad is not None
    ]
    try:
        inputs = pickle.dumps((steps, things, gradients))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Stopped("error", f"The check of {cut.name} gives it something that cannot be sent: {error}.") from None
    code = [(each.cell, marshal.dumps(each.code)) for each in cut.statements]
    sources = {each.cell: each.source for each in cut.statements}
    return pickle.dumps((cut.name, way, code, sources, inputs))


def answer(orders: int, writing: int, template: int) -> None:
    """In the copy: read the orders, confine it, run what the answer needs, call it, and write one message.

    Args:
        orders: the reading end of the pipe with the orders.
        writing: the writing end of the pipe for the message.
        template: the process id of the template.
    """
    with os.fdopen(orders, "rb") as file:
        folder, memory, ordered = pickle.loads(file.read())
    work = Path(folder)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(writing, PIPE + 1)  # by way of 4: both may be 3
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.dup2(PIPE + 1, PIPE)
    os.closerange(PIPE + 1, os.sysconf("SC_OPEN_MAX"))
    os.chdir(work)
    os.environ["TMPDIR"] = tempfile.tempdir = str(work)
    with contextlib.suppress(OSError):  # the report says once where this system does not forbid enough
        confine(work, template, memory)

    def send(kind: bytes, content: bytes = b"") -> None:
        rest = memoryview(kind + content)
        while rest:
            rest = rest[os.write(PIPE, rest) :]

    _close_solutions(lambda: send(TAKEN))
    name, way, code, sources, inputs = pickle.loads(ordered)
    steps, things, gradients = pickle.loads(inputs)
    for number, gradient in gradients:
        things[number].grad = gradient
    writer = Writer(things)
    what: dict[str, Any] = {}
    result = None
    _as_in_jupyter(sources)
    found, failed = _prepared(name, code, lambda cell: send(PROGRESS, struct.pack("<q", cell)))
    if failed:
        what["failed"] = failed
    if found is None and failed:
        what["stopped"] = "missing"
    elif found is None or found is Ellipsis or is_untouched(found):
        what["stopped"] = "blank"
    elif not callable(found):
        what["stopped"], what["text"] = "no function", described(found)
    else:
        result = functools.partial(getattr(given, way), found) if way else found
        try:
            for arguments, named, random in steps:
                torch.set_rng_state(random)
                numpy.random.seed(zlib.crc32(random.numpy()))  # all copies hold the same
                result = result(*arguments, **named)
        except BaseException as error:  # noqa: BLE001 - an answer may fail in any way
            what["raised"], what["text"] = [kind.__name__ for kind in type(error).__mro__], _text(error)
            result = None
    send(MESSAGE, writer.message(what, result, with_changes="stopped" not in what))
    os._exit(0)  # before anything is destroyed: its __del__ may be the learner's


class _Closed:
    """Stands for an exercise where an answer runs: asking it for the solution is told to the judge."""

    def __init__(self, name: str, tell: Any) -> None:
        self._name, self._tell = name, tell

    def __repr__(self) -> str:
        return self._name

    def __getattr__(self, name: str) -> Any:
        if name in ("check", "judge", "hint"):
            return lambda *values, **named: None
        if name in ("reference", "solution", "source", "checks"):
            self._tell()
        raise AttributeError(f"{self._name}.{name} is not there for an answer")


def _close_solutions(tell: Any) -> None:
    """Put stand-ins in the place of the modules with solutions, and tell when one of their files is opened.

    This names what an honest learner does. An answer that gets round it finds that the files cannot be read.
    """
    home = Path(exercises.__file__).resolve().parent
    closed = tuple(str(each) for each in home.iterdir() if each.name not in OPEN_MODULES)

    def watch(event: str, values: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(values[0], str) and values[0].startswith(closed):
            tell()

    def stand_in(lesson: str, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(given, name) if hasattr(given, name) else _Closed(f"{lesson}.{name}", tell)

    for name in exercises.__all__:
        module = types.ModuleType(f"{exercises.__name__}.{name}")
        module.__getattr__ = functools.partial(stand_in, name)
        sys.modules[module.__name__] = module
        setattr(exercises, name, module)
    sys.addaudithook(watch)


class _Shell:
    """Stands for IPython's shell, whose answers are not to be had here."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("what a shell or a magic gives is not there for an answer")


def _as_in_jupyter(sources: dict[int, str]) -> None:
    """Let Python find the source of each cell, as IPython does, and let `torch.compile` change nothing.

    A compiler would start processes and write outside; what it compiles gives what the function itself gives.
    """
    for cell, source in sources.items():
        lines = source.splitlines(keepends=True)
        linecache.cache[FILE.format(cell)] = (len(source), None, lines, FILE.format(cell))
    # `shutil.copy` sets more than an answer needs.
    os.utime = os.chmod = lambda path, *values, **how: os.stat(path) and None  # noqa: PTH116
    torch.compile = lambda model=None, **how: (lambda given: given) if model is None else model


def _prepared(name: str, code: list[tuple[int, bytes]], tell: Any) -> tuple[Any, str]:
    """Run the statements that the answer needs; return the answer, and which statement failed first and how."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    main.__dict__.update(display=lambda *shown, **how: None, get_ipython=_Shell)
    failed, loop = "", None
    for cell, statement in code:
        tell(cell)
        try:
            compiled = marshal.loads(statement)
            done = eval(compiled, main.__dict__)
            if compiled.co_flags & inspect.CO_COROUTINE:  # it awaits something, which Jupyter allows
                loop = loop or asyncio.new_event_loop()
                loop.run_until_complete(done)
        except BaseException as error:  # noqa: BLE001 - a learner's cell may fail in any way
            failed = failed or f"cell {cell} failed: {type(error).__name__}: {shortened(_text(error))}"
    tell(0)
    return main.__dict__.get(name), failed


def _text(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception:  # noqa: BLE001 - its __str__ is the learner's
        return ""


def _exception(names: list[str], text: str) -> BaseException:
    """Return an exception that a check sees as the one that the answer raised: by its nearest known class and name."""
    known = {**vars(errors), **vars(builtins)}
    found = (known[name] for name in names if isinstance(known.get(name), type) and issubclass(known[name], Exception))
    base = next(found, Exception)
    members = {"__init__": lambda self: None, "__str__": lambda self: text}
    return type(names[0] if names else "Exception", (base,), members)()


def _parted(received: bytearray) -> tuple[int, bool, bytes]:
    """Return the cell that ran last (0 when all had run), whether a solution was taken, and the message or nothing."""
    cell, taken, place = 0, False, 0
    while True:
        kind = received[place : place + 1]
        if kind == PROGRESS and len(received) >= place + 9:
            cell = struct.unpack_from("<q", received, place + 1)[0]
            place += 9
        elif kind == TAKEN:
            taken = True
            place += 1
        else:
            return cell, taken, bytes(received[place + 1 :]) if kind == MESSAGE else b""


def _remove(folder: Path) -> None:
    """Remove a folder with all that is in it, however deep it goes and whatever it is called; never fails."""
    with contextlib.suppress(RecursionError):  # Python before 3.13 goes down by calling itself
        shutil.rmtree(folder, ignore_errors=True)
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):  # which go down as far as it goes
        if folder.exists():
            subprocess.run([*command, "--", folder], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _too_much(folder: Path) -> str:
    """Return in words what is too much in `folder`, if anything; soon found, whatever is in it."""
    odd = f"made more than {MOST_FILES:,} files and folders, or some that are too deep or cannot be read"
    size, count, waiting = 0, 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    size += entry.stat(follow_symlinks=False).st_size
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if size > MOST_WRITTEN:
                        return f"wrote files of more than {MOST_WRITTEN / 1e6:.0f} MB"
                    if count > MOST_FILES:
                        return odd
        except FileNotFoundError:
            continue  # the answer has just removed it
        except OSError:
            return odd
    return ""
