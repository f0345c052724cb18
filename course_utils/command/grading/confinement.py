"""What a process that runs an answer may do: little. Linux forbids the rest; elsewhere only the limits hold.

Landlock (https://docs.kernel.org/userspace-api/landlock.html) allows writing in one folder only, seccomp
(https://docs.kernel.org/userspace-api/seccomp_filter.html) only the system calls that Python and PyTorch need to
compute: no new process, network, signal to others, terminal, or other rights or times of files. Threads and reading
stay possible. Without new processes, ending one ends everything. `is_confining` tries each of these promises.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MORE_MEMORY = 3 * 2**30  # bytes of address space beyond what the process holds already
LARGEST_FILE = 20_000_000  # bytes
OPEN_FILES = 128
MORE_THREADS = 200

SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, NO_NEW_PRIVILEGES = 1, 4, 22, 38  # of prctl
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # Landlock's system calls, the same everywhere
WRITE_FILE, READ_FILE, REMOVE_AND_MAKE, REFER, TRUNCATE = 1 << 1, 1 << 2, 0b1_1111_1111 << 4, 1 << 13, 1 << 14
SIGNALS = 1 << 1  # a scope: no signal leaves
REFUSE, NOT_THERE, ALLOW, KILL = 0x0005_0001, 0x0005_0026, 0x7FFF_0000, 0x8000_0000  # EPERM, ENOSYS
THREAD = 0x0001_0000  # CLONE_THREAD
TRUNCATING = os.O_TRUNC | os.O_ACCMODE


@dataclass(frozen=True)
class Calls:
    """System calls of one kind of machine, by number: what an answer may call, and what depends on an argument.

    https://github.com/torvalds/linux/blob/master/arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl
    """

    audit: int  # the machine's number in an audit
    capset: int  # gives up capabilities, before an answer runs
    allowed: str  # numbers, and ranges of them
    depends: dict[str, int]


CALLS = {
    "x86_64": Calls(
        0xC000003E,
        126,
        # read … rt_sigreturn, pread64 … madvise, dup … sendfile, sendto recvfrom (of socketpairs), exit, uname, flock
        # fsync fdatasync, ftruncate … readlink, umask … times, get…id, signals, statfs, priorities read, arch_prctl,
        # gettid readahead, xattr read, time futex, epoll, timers, clocks, …at, splice …
        "0-1 3-15 17-28 32-40 44-45 51 55 60 63 73-75 77-84 86-89 95-100 102 104 107-108 110-111 115 118 120-121 "
        "124-125 127-128 130-131 137-138 140 143 145-148 158 186-187 191-196 201-202 204 213 217-219 221-226 228-233 "
        "239 258 262-267 269-271 273-277 281 283-287 290-293 295-296 309 315-316 318 324 326-328 332 334 439 441 449",
        {"open": 2, "openat": 257, "ioctl": 16, "fcntl": 72, "socketpair": 53, "clone": 56, "prctl": 157, "tgkill": 234,
         "prlimit64": 302},
    ),
    "aarch64": Calls(
        0xC00000B7,
        91,
        "8-13 17 19-24 32 34-38 43-44 46-50 57 59 61-73 76-80 82-87 90 93-94 96 98-103 107-111 113-115 120-121 123-128 "
        "132-137 139 141 148 150 153 155-156 158 160 163 165-166 168-169 172-179 204 206-207 209 213-216 222-223 "
        "226-227 232-233 236 275-276 278 283 285-287 291 293 439 441 449",
        {"openat": 56, "ioctl": 29, "fcntl": 25, "socketpair": 199, "clone": 220, "prctl": 167, "tgkill": 131,
         "prlimit64": 261},
    ),
}  # fmt: skip
# From clone3 on (its flags lie in memory, out of a filter's sight) a call that is not allowed is "not there", and the C
# library takes an older one.
NEWEST = 435
IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)  # DUPFD, flags, locks, the size of a pipe; no owner, no lease
PRCTLS = (15, 16, 0x5356_4D41)  # names of threads and of memory


def confine(folder: Path, parent: int, memory: int = MORE_MEMORY) -> None:
    """Confine this process for good, as far as the system can: limits first, then what Linux forbids.

    Args:
        folder: where it may write.
        parent: the process with whose end this one must end too.
        memory: bytes of address space that it may take beyond what it holds.

    Raises:
        OSError: when Linux has not what it takes; the limits hold nevertheless. See `is_confining`.
    """
    _limit(memory)
    libc = _libc()
    die_with(parent)
    _checked(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    try:
        _drop_capabilities(libc)
        _landlock(libc, folder)
    finally:
        _filter(libc)  # where Landlock is missing too


def die_with(parent: int) -> None:
    """Let this process end when its parent does.

    Raises:
        OSError: when this is not Linux.
    """
    _checked(_libc().prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def keep_memory_private() -> None:
    """Keep other processes of this user from reading the memory and the open files of this one, where Linux can."""
    with contextlib.suppress(OSError):
        _libc().prctl(SET_DUMPABLE, 0, 0, 0, 0)


def hide(paths: Sequence[Path]) -> None:
    """Make files and folders unreadable for this process and its children, for good.

    Landlock only knows what is allowed, so everything beside the hidden things is. Their names can still be listed.

    Raises:
        OSError: when this system cannot.
    """
    libc = _libc()
    _checked(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    secret = {path.resolve() for path in paths}
    above = {parent for path in secret for parent in path.parents}
    rules = _ruleset(libc, READ_FILE)
    for folder in above:
        with contextlib.suppress(OSError):  # what this user cannot list
            for each in os.scandir(folder):
                path = Path(each.path)
                if path not in secret and path not in above and not each.is_symlink():
                    with contextlib.suppress(OSError):
                        _allow(libc, rules, path, READ_FILE)
    _checked(libc.syscall(RESTRICT_SELF, rules, ctypes.c_uint32(0)))
    os.close(rules)


def is_confining(folder: Path) -> bool:
    """Tell whether this system forbids what it should, by trying it in a process that ends at once.

    Args:
        folder: where an answer may write; the folder around it must be writable here.
    """
    if not hasattr(os, "fork"):
        return False
    parent, outside = os.getpid(), folder.parent / "outside"
    outside.write_text("as it was", encoding="utf-8")
    before = outside.stat()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            confine(folder, parent)
            writes = _succeeds(lambda: (folder / "trial").touch() or (folder / "trial").unlink())
            code = int(any(map(_succeeds, _forbidden(outside, parent))) or not writes)
        finally:
            os._exit(code)
    held = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    after = outside.stat()
    kept = (before.st_size, before.st_mode, before.st_mtime_ns) == (after.st_size, after.st_mode, after.st_mtime_ns)
    outside.unlink(missing_ok=True)
    return held and kept


def _forbidden(outside: Path, other: int) -> Iterator[Callable[[], object]]:
    """Give what an answer must not do: to a file outside its folder, to another process, to the world."""
    import fcntl
    import socket

    libc = _libc()
    reading, writing = os.pipe()
    yield lambda: outside.open("a")
    yield lambda: os.truncate(outside, 0)
    yield lambda: os.open(outside, os.O_RDONLY | os.O_TRUNC)
    yield lambda: os.open(outside, os.O_ACCMODE | os.O_TRUNC)
    yield lambda: outside.with_name("new").open("w")
    yield lambda: outside.with_name("link").symlink_to(outside)
    yield lambda: outside.unlink()
    yield lambda: outside.rename(outside.with_name("renamed"))
    yield lambda: outside.chmod(0)
    yield lambda: os.utime(outside, (0, 0))
    yield lambda: os.chown(outside, os.getuid(), os.getgid())
    yield lambda: os.setxattr(outside, "user.note", b"x")
    yield lambda: os.kill(other, 0)
    yield lambda: _checked(libc.syscall(_calls().depends["tgkill"], other, other, 0))
    yield lambda: fcntl.fcntl(writing, fcntl.F_SETOWN, other)
    yield lambda: _checked(libc.prctl(SET_DEATH_SIGNAL, 0, 0, 0, 0))
    yield lambda: os.sched_setaffinity(other, {0})
    yield lambda: os.setpriority(os.PRIO_PROCESS, other, 19)
    yield lambda: fcntl.ioctl(reading, 0x5412, b"x")  # TIOCSTI: types into a terminal
    yield lambda: os.fork() or os._exit(0)
    yield lambda: os.execv("/bin/sh", ["/bin/sh", "-c", "exit 1"])
    yield lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    yield lambda: socket.socket(socket.AF_INET)
    yield lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def _succeeds(attempt: Callable[[], object]) -> bool:
    """Tell whether something is possible: a refusal is meant, not that it makes no sense here."""
    try:
        attempt()
    except OSError as error:
        return error.errno not in (errno.EPERM, errno.EACCES, errno.EXDEV)
    return True


def limit_memory(more: int) -> None:
    """Let this process take so many bytes of address space more than it holds now, where Linux can."""
    import resource

    with contextlib.suppress(OSError):  # only Linux tells its size so
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _set_limit(resource.RLIMIT_AS, held + more)


def _limit(memory: int) -> None:
    import resource

    limit_memory(memory)
    _set_limit(resource.RLIMIT_FSIZE, LARGEST_FILE)
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    with contextlib.suppress(OSError):  # Linux
        threads = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])  # of everyone
        _set_limit(resource.RLIMIT_NPROC, threads + MORE_THREADS)
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory runs out, this process goes first
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing too much is an OSError that can be reported


def _set_limit(limit: int, value: int) -> None:
    import resource

    most = resource.getrlimit(limit)[1]
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    with contextlib.suppress(ValueError, OSError):  # not every system has every limit
        resource.setrlimit(limit, (value, value))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Give up what root may do beyond others, such as to mount, or to read what is not its own."""
    header = struct.pack("Ii", 0x2008_0522, 0)
    _checked(libc.syscall(_calls().capset, header, bytes(24)))


def _version(libc: ctypes.CDLL) -> int:
    """Return which version of Landlock this system has."""
    return _checked(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def _landlock(libc: ctypes.CDLL, folder: Path) -> None:
    version = _version(libc)
    rights = WRITE_FILE | REMOVE_AND_MAKE | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    rules = _ruleset(libc, rights, 24 if version >= 6 else 8)
    for path, allowed in ((folder, rights), (Path(os.devnull), rights & (WRITE_FILE | TRUNCATE))):
        _allow(libc, rules, path, allowed)
    _checked(libc.syscall(RESTRICT_SELF, rules, ctypes.c_uint32(0)))
    os.close(rules)


def _ruleset(libc: ctypes.CDLL, rights: int, size: int = 8) -> int:
    attributes = struct.pack("QQQ", rights, 0, SIGNALS)[:size]
    return _checked(libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0)))


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _checked(libc.syscall(ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), ctypes.c_uint32(0)))
    finally:
        os.close(place)


def _filter(libc: ctypes.CDLL) -> None:
    known = _calls()
    load, equal, greater, at_least, masked, keep, end = 0x20, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
    # struct seccomp_data: the call's number at 0, the machine at 4, the low halves of the arguments at 16, 24, 32 …
    steps = [(load, 0, 0, 4), (equal, 1, 0, known.audit), (end, 0, 0, KILL), (load, 0, 0, 0)]
    steps += [(at_least, 0, 1, 0x4000_0000), (end, 0, 0, KILL)]  # x86's other numbering

    def only(name: str, *tests: tuple[int, int, tuple[int, ...]]) -> None:
        """Allow a call when each argument (its number, a mask) has one of some values behind the mask."""
        rest: list[tuple[int, int, int, int]] = []
        for argument, mask, values in tests:
            rest += [(load, 0, 0, 16 + 8 * argument), (keep, 0, 0, mask)]
            rest += [(equal, len(values) - place, 0, value) for place, value in enumerate(values)]
            rest += [(end, 0, 0, REFUSE)]
        steps.extend([(equal, 0, len(rest) + 1, known.depends[name]), *rest, (end, 0, 0, ALLOW)])

    for name, argument in (("open", 1), ("openat", 2)):
        if name in known.depends:  # not to read and to empty, which the oldest Landlock overlooks
            fine = {way | cut for way in range(4) for cut in (0, os.O_TRUNC)} - {os.O_TRUNC, TRUNCATING}
            only(name, (argument, TRUNCATING, tuple(fine)))
    for name, argument, values in (
        ("ioctl", 1, IOCTLS),
        ("fcntl", 1, FCNTLS),
        ("prctl", 0, PRCTLS),
        ("prlimit64", 0, (0,)),
        ("tgkill", 0, (os.getpid(),)),
    ):
        only(name, (argument, 0xFFFF_FFFF, values))
    only("socketpair", (0, 0xFFFF_FFFF, (1,)), (1, 0xF, (1,)))  # Unix streams, which lead nowhere else: for asyncio
    steps += [(equal, 0, 4, known.depends["clone"]), (load, 0, 0, 16), (masked, 0, 1, THREAD), (end, 0, 0, ALLOW)]
    steps += [(end, 0, 0, REFUSE)]
    for each in known.allowed.split():
        first, _, last = each.partition("-")
        steps += [(at_least, 0, 2, int(first)), (greater, 1, 0, int(last or first)), (end, 0, 0, ALLOW)]
    steps += [(at_least, 0, 1, NEWEST), (end, 0, 0, NOT_THERE), (end, 0, 0, REFUSE)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    whole = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(program))
    _checked(libc.prctl(SET_SECCOMP, 2, whole, 0, 0))


def _libc() -> ctypes.CDLL:
    if sys.platform != "linux":
        raise OSError("not Linux")
    return ctypes.CDLL(None, use_errno=True)


def _calls() -> Calls:
    if platform.machine() not in CALLS:
        raise OSError("an unknown machine")
    return CALLS[platform.machine()]


def _checked(answer: int) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
