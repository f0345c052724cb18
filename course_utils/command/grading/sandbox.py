"""A learner's answer as a function: each call runs in a copy of this process that can do little, and ends after it.

A copy (fork) has the arguments already, whatever they are: models, optimizers, functions. What the answer returned and
changed comes back as plain data, see `messages`. So the checks run here as they do in a notebook, and nothing that an
answer redefines, prints or patches touches them.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import torch

from course_utils import errors, exercises
from course_utils.command.grading.answers import Cut
from course_utils.command.grading.confinement import confine
from course_utils.command.grading.messages import MOST_BYTES, Foreign, MessageError, Reader, Table, Writer
from course_utils.exercises.checking import Exercise, is_untouched
from course_utils.exercises.differences import described, shortened

MOST_WRITTEN = 100_000_000  # bytes in the answer's folder
LOOK_EVERY = 0.2  # seconds, at time and folder


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
    """

    def __init__(self, cut: Cut, folder: Path, seconds: float) -> None:
        self.cut, self.folder, self.seconds = cut, folder, seconds
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

    def _called(self, steps: list[tuple[tuple[Any, ...], dict[str, Any], torch.Tensor]]) -> Any:
        """Call the answer, then its result with the second step's arguments, and so on."""
        table = Table([step[:2] for step in steps])
        content = self._run(steps, table)

        def foreign(node: dict[str, Any]) -> Foreign:
            self.foreign, self.network = str(node["type"]), bool(node["network"])
            members: dict[str, Any] = {}
            if node["callable"]:  # a function, say: it lives only in the other process, so go there once more

                def again(_: Any, *arguments: Any, **named: Any) -> Any:
                    return self._called([*steps, (arguments, named, torch.get_rng_state())])

                members["__call__"] = again
            return type(str(node["type"]), (Foreign,), members)(str(node["text"]))

        try:
            reader = Reader(content, table, foreign)
            result = reader.result()
            what = reader.what
            self.failed = str(what.get("failed", ""))
            if "stopped" in what:
                raise Stopped(*map(str, what["stopped"]))
            if "raised" in what:
                raise _exception([str(name) for name in what["raised"]], str(what["text"]))
        except MessageError as error:
            raise Stopped("error", f"{self.cut.name}: {error}.") from None
        return result

    def _run(self, steps: list[Any], table: Table) -> bytes:
        """Run the steps in a copy of this process and return its message."""
        work = Path(tempfile.mkdtemp(dir=self.folder))
        started = time.monotonic()
        reading, writing = os.pipe()
        parent, child = os.getpid(), os.fork()
        if child == 0:
            try:
                _answer(self.cut, steps, table, writing, work, parent)
            finally:
                os._exit(0)  # whatever happened, never return into the caller's code a second time
        os.close(writing)
        received = bytearray()
        try:
            problem = self._receive(reading, received, work, started + self.seconds - self.used)
        finally:
            self.used += time.monotonic() - started
            os.close(reading)
            _end(child)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            shutil.rmtree(work, ignore_errors=True)
        cell, content = _parted(received)
        busy = f" while cell {cell}, which it needs, was running" if cell else ""
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
                if _size(work) > MOST_WRITTEN:
                    return f"wrote files of more than {MOST_WRITTEN / 1e6:.0f} MB"
            if not select.select([reading], [], [], min(LOOK_EVERY, deadline - now))[0]:
                continue
            part = os.read(reading, 1 << 20)
            if not part:
                return ""
            received += part
            if len(received) > MOST_BYTES:
                return f"gave back more than {MOST_BYTES / 1e6:.0f} MB"


def _answer(cut: Cut, steps: list[Any], table: Table, writing: int, work: Path, parent: int) -> None:
    """In the copy: confine it, run what the answer needs, call it, and write one message."""
    os.setsid()
    pipe = 3
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(writing, pipe + 1)  # by way of 4: both may be 3
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.dup2(pipe + 1, pipe)
    os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))  # the judge's own channels above all
    os.chdir(work)
    os.environ["TMPDIR"] = tempfile.tempdir = str(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError):  # the report says once where this system does not forbid enough
        confine(work, parent)
    for module in (getattr(exercises, name) for name in exercises.__all__):
        for each in vars(module).values():
            if isinstance(each, Exercise):
                each.reference, each.checks = None, ()  # no answer, and no way round writing one

    def send(kind: bytes, content: bytes) -> None:
        rest = memoryview(kind + content)
        while rest:
            rest = rest[os.write(pipe, rest) :]

    writer = Writer(table)
    what: dict[str, Any] = {}
    result = None
    answer, failed = _prepared(cut, lambda cell: send(b"P", struct.pack("<q", cell)))
    if failed:
        what["failed"] = failed
    if answer is None and failed:
        what["stopped"] = ["error", f"It needs something that is missing: {failed}."]
    elif answer is None or answer is Ellipsis or is_untouched(answer):
        what["stopped"] = ["not attempted", f"{cut.name} is still blank."]
    elif not callable(answer):
        what["stopped"] = ["wrong", f"got {described(answer)}, expected a function named {cut.name}."]
    else:
        result = answer
        try:
            for arguments, named, random in steps:
                torch.set_rng_state(random)
                result = result(*arguments, **named)
        except BaseException as error:  # noqa: BLE001 - an answer may fail in any way
            what["raised"], what["text"] = [kind.__name__ for kind in type(error).__mro__], _text(error)
            result = None
    send(b"M", writer.message(what, result, with_changes="stopped" not in what))


def _prepared(cut: Cut, tell: Any) -> tuple[Any, str]:
    """Run the statements that the answer needs; return the answer, and which statement failed first and how."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    main.__dict__["display"] = lambda *shown, **how: None
    failed = ""
    for statement in cut.statements:
        tell(statement.cell)
        try:
            exec(statement.code, main.__dict__)
        except BaseException as error:  # noqa: BLE001 - a learner's cell may fail in any way
            failed = failed or f"cell {statement.cell} failed: {type(error).__name__}: {shortened(_text(error))}"
    tell(0)
    return main.__dict__.get(cut.name), failed


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


def _parted(received: bytearray) -> tuple[int, bytes]:
    """Return the cell that was running last (0 when all had run) and the message (empty when there is none)."""
    cell, place = 0, 0
    while received[place : place + 1] == b"P" and len(received) >= place + 9:
        cell = struct.unpack_from("<q", received, place + 1)[0]
        place += 9
    return cell, bytes(received[place + 1 :]) if received[place : place + 1] == b"M" else b""


def _end(child: int) -> None:
    for ending in (os.kill, os.killpg):  # alone, and with what it started where the system cannot forbid that
        with contextlib.suppress(OSError):
            ending(child, signal.SIGKILL)


def _size(folder: Path) -> int:
    """Return the bytes of all files below `folder`; a file counts as 4 KiB at least, as on most disks."""
    total = 0
    for here, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += max(os.lstat(os.path.join(here, name)).st_size, 4096)  # noqa: PTH118 - many files
        if total > MOST_WRITTEN:
            break
    return total
