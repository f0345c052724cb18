"""The process of which every answer gets a copy (fork): PyTorch is imported there, and the solutions never are.

The judge starts it before it loads the exercises, so neither its memory nor its stack holds an answer, a check or an
expected value, and where Linux can (Landlock) it cannot read their files either. It does three things when the judge
asks: import packages, make a copy, end that copy. The answer and its inputs go past it, from the judge to the copy.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from course_utils import exercises
from course_utils.command.grading.confinement import die_with, hide, keep_memory_private

# Imported here before an answer that uses them, so that not every call has to: by the package that it names.
READY = {
    "PIL": ("PIL.Image", "PIL.ImageDraw"),
    "matplotlib": ("matplotlib.pyplot",),
    "torchvision": ("torchvision", "torchvision.transforms.v2"),
    "course_utils": tuple(f"course_utils.{name}" for name in ("convolution", "data", "diagnosis", "figures", "models",
                                                             "pictures", "profiles", "results", "training")),
}  # fmt: skip
OPTIMIZERS = "optimizers"  # stands in a list of packages for what PyTorch imports when the first optimizer is used
COPY, END = b"C", b"E"
OPEN_MODULES = ("__init__.py", "checking.py", "differences.py", "given.py", "quiz.py")  # of exercises: no solutions


def hidden() -> list[Path]:
    """Return what an answer must not read: the modules with solutions, and what lies beside them in a repository."""
    here = Path(exercises.__file__).resolve().parent
    repository = here.parents[1]
    found = [each for each in here.iterdir() if each.name not in OPEN_MODULES]  # __pycache__ too
    if (repository / "pyproject.toml").exists():
        beside = (repository / name for name in ("tests", ".git", "build"))  # where pip leaves a copy of the package
        found += [each for each in beside if each.exists()]
    return found


class TemplateEnded(BaseException):
    """The process that makes copies is gone, as when memory ran out; the judge must end too, and be replaced."""


class Template:
    """The judge's side of the process.

    Args:
        run: what a copy does: it is called with the reading end for its orders, the writing end for its message, and
            the process id of the template, and never returns.
        hide_too: further files and folders that answers must not read.
    """

    def __init__(self, run: Callable[[int, int, int], None], hide_too: Sequence[Path] = ()) -> None:
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        judge = os.getpid()
        self.process = os.fork()
        if self.process == 0:  # nothing of the caller's goes on here
            try:
                mine.close()
                _serve(other, run, judge, [*hidden(), *hide_too])
            finally:
                os._exit(0)
        keep_memory_private()
        other.close()
        self.channel = mine
        self.hides = self._told(1) == b"\1"  # whether this system keeps the files from being read

    def copy(self, packages: list[str], orders: int, message: int) -> int:
        """Return the process id of a new copy, which gets the two ends of pipes; both stay open here."""
        wanted = json.dumps(packages).encode()
        try:
            socket.send_fds(self.channel, [COPY], [orders, message])
            self.channel.sendall(struct.pack("<I", len(wanted)) + wanted)
        except OSError:
            raise TemplateEnded from None
        return struct.unpack("<q", self._told(8))[0]

    def end(self) -> int:
        """End the newest copy, if it runs, and return how it ended, as `os.waitstatus_to_exitcode` says it."""
        try:
            self.channel.sendall(END)
        except OSError:
            raise TemplateEnded from None
        return struct.unpack("<q", self._told(8))[0]

    def close(self) -> None:
        """End the process, and its copy with it."""
        self.channel.close()
        with contextlib.suppress(OSError):
            os.waitpid(self.process, 0)

    def _told(self, size: int) -> bytes:
        told = b""
        with contextlib.suppress(OSError):
            told = self.channel.recv(size, socket.MSG_WAITALL)
        if len(told) < size:
            raise TemplateEnded
        return told


def _serve(channel: socket.socket, run: Callable[[int, int, int], None], judge: int, secret: list[Path]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # what the judge reads and says
        os.dup2(nowhere, number)
    with contextlib.suppress(OSError):
        die_with(judge)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    torch.set_num_threads(1)  # the copies of a process with several threads would hang
    for name in OPEN_MODULES[1:]:
        importlib.import_module(f"course_utils.exercises.{Path(name).stem}")
    try:
        hide(secret)
        channel.sendall(b"\1")
    except OSError:
        channel.sendall(b"\0")
    me, child = os.getpid(), 0
    while True:
        asked, ends, _, _ = socket.recv_fds(channel, 1, 2)
        if asked == COPY:
            size = struct.unpack("<I", channel.recv(4, socket.MSG_WAITALL))[0]
            _prepare(json.loads(channel.recv(size, socket.MSG_WAITALL)))
            child = os.fork()
            if child == 0:
                channel.close()
                run(*ends, me)
                os._exit(0)
            for each in ends:
                os.close(each)
            channel.sendall(struct.pack("<q", child))
        elif child:
            end(child)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            child = 0
            if asked != END:
                return
            channel.sendall(struct.pack("<q", status))
        else:
            return  # the judge is gone


def _prepare(packages: list[str]) -> None:
    if OPTIMIZERS in packages:
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    for name in (each for package in packages for each in READY.get(package, ())):
        with contextlib.suppress(Exception):  # the answer's own import will say so
            importlib.import_module(name)


def end(child: int) -> None:
    """Kill a copy, and with it what it started where the system cannot forbid that."""
    for ending in (os.kill, os.killpg):
        with contextlib.suppress(OSError):
            ending(child, signal.SIGKILL)
