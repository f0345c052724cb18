"""What a process that runs an answer may do: little. Linux forbids the rest; elsewhere only the limits hold.

Landlock (https://docs.kernel.org/userspace-api/landlock.html) allows writing in one folder only, seccomp
(https://docs.kernel.org/userspace-api/seccomp_filter.html) forbids new processes, network, signals to others, and
changing the rights of files. Threads and reading stay possible. Without new processes, ending one ends everything.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

MORE_MEMORY = 3 * 2**30  # bytes of address space beyond what the process holds already
LARGEST_FILE = 20_000_000  # bytes
OPEN_FILES = 128

SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, NO_NEW_PRIVILEGES = 1, 4, 22, 38  # of prctl
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # Landlock's system calls, the same everywhere
WRITE_FILE, READ_FILE, REMOVE_AND_MAKE, REFER, TRUNCATE = 1 << 1, 1 << 2, 0b1_1111_1111 << 4, 1 << 13, 1 << 14
SIGNALS = 1 << 1  # a scope: no signal leaves
CAPSET = {"x86_64": 126, "aarch64": 91}
# For each machine: its number in an audit, and its system calls: those refused outright, and the three that are refused
# depending on an argument. https://github.com/torvalds/linux/blob/master/arch/x86/entry/syscalls/syscall_64.tbl and
# include/uapi/asm-generic/unistd.h
CALLS: dict[str, tuple[int, dict[str, int], tuple[int, ...]]] = {
    "x86_64": (
        0xC000003E,
        {"clone": 56, "tgkill": 234, "prlimit64": 302},
        # fork vfork execve execveat | kill tkill sigqueueinfo (2) pidfd_send_signal | ptrace vm_readv vm_writev
        # socket | chmod fchmod chown fchown lchown fchownat fchmodat fchmodat2 | xattr (6) | setpriority keyctl bpf
        # userfaultfd unshare setns io_uring_setup | shmget semget msgget mq_open memfd_create
        (57, 58, 59, 322, 62, 200, 129, 297, 424, 101, 310, 311, 41, 90, 91, 92, 93, 94, 260, 268, 452, 188, 189, 190,
         197, 198, 199, 141, 250, 321, 323, 272, 308, 425, 29, 64, 68, 240, 319),
    ),
    "aarch64": (
        0xC00000B7,
        {"clone": 220, "tgkill": 131, "prlimit64": 261},
        (221, 281, 129, 130, 138, 240, 424, 117, 270, 271, 198, 52, 53, 54, 55, 452, 5, 6, 7, 14, 15, 16, 140, 219,
         280, 282, 97, 268, 425, 194, 190, 186, 180, 279),
    ),
}  # fmt: skip
CLONE3 = 435  # its flags lie in memory, out of a filter's sight: "not there", and the C library takes clone
REFUSE, NOT_THERE, ALLOW, KILL = 0x0005_0001, 0x0005_0026, 0x7FFF_0000, 0x8000_0000  # EPERM, ENOSYS
THREAD = 0x0001_0000  # CLONE_THREAD


def confine(folder: Path, parent: int) -> None:
    """Confine this process for good, as far as the system can: limits first, then what Linux forbids.

    Args:
        folder: where it may write.
        parent: the process with whose end this one must end too.

    Raises:
        OSError: when Linux has not what it takes; the limits hold nevertheless. See `is_confining`.
    """
    _limit()
    if sys.platform != "linux":
        raise OSError("not Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    die_with(parent)
    _checked(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _drop_capabilities(libc)
    _landlock(libc, folder)
    _filter(libc)


def die_with(parent: int) -> None:
    """Let this process end when its parent does.

    Raises:
        OSError: when this is not Linux.
    """
    if sys.platform != "linux":
        raise OSError("not Linux")
    _checked(ctypes.CDLL(None, use_errno=True).prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def keep_memory_private() -> None:
    """Keep other processes of this user from reading the memory and the open files of this one, where Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(SET_DUMPABLE, 0, 0, 0, 0)


def hide(paths: Sequence[Path]) -> None:
    """Make files and folders unreadable for this process and its children, for good.

    Landlock only knows what is allowed, so everything beside the hidden things is. Their names can still be listed.

    Raises:
        OSError: when this system cannot.
    """
    if sys.platform != "linux":
        raise OSError("not Linux")
    libc = ctypes.CDLL(None, use_errno=True)
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
    """Tell whether this system forbids what it should, by trying it in a process that ends at once."""
    if not hasattr(os, "fork"):
        return False
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            confine(folder, parent)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _limit() -> None:
    import resource

    limits = {
        resource.RLIMIT_FSIZE: LARGEST_FILE,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    with contextlib.suppress(OSError):  # only Linux tells its size so
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = held + MORE_MEMORY
    for limit, value in limits.items():
        most = resource.getrlimit(limit)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        with contextlib.suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(limit, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing too much is an OSError that can be reported


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Give up what root may do beyond others, such as to mount, or to read what is not its own."""
    number = CAPSET.get(platform.machine())
    if number is None:
        raise OSError("an unknown machine")
    header = struct.pack("Ii", 0x2008_0522, 0)
    _checked(libc.syscall(number, header, bytes(24)))


def _landlock(libc: ctypes.CDLL, folder: Path) -> None:
    version = _checked(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
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
    known = CALLS.get(platform.machine())
    if known is None:
        raise OSError("an unknown machine")
    audit, special, refused = known
    load, equal, greater, masked, end = 0x20, 0x15, 0x35, 0x45, 0x06
    # struct seccomp_data: the call's number at 0, the machine at 4, the low half of the first argument at 16.
    steps = [(load, 0, 0, 4), (equal, 1, 0, audit), (end, 0, 0, KILL), (load, 0, 0, 0)]
    steps += [(greater, 0, 1, 0x4000_0000), (end, 0, 0, KILL)]  # x86's other numbering
    for number in refused:
        steps += [(equal, 0, 1, number), (end, 0, 0, REFUSE)]
    steps += [(equal, 0, 1, CLONE3), (end, 0, 0, NOT_THERE)]
    for name, test, value in (("clone", masked, THREAD), ("tgkill", equal, os.getpid()), ("prlimit64", equal, 0)):
        steps += [(equal, 0, 4, special[name]), (load, 0, 0, 16), (test, 0, 1, value), (end, 0, 0, ALLOW)]
        steps += [(end, 0, 0, REFUSE)]
    steps += [(end, 0, 0, ALLOW)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    whole = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(program))
    _checked(libc.prctl(SET_SECCOMP, 2, whole, 0, 0))


def _checked(answer: int) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
