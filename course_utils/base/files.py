"""Writing files and folders whole: readers see the old one or the new one, never a part.

What is written lies beside its target under a name that begins with ".part-" until it is complete. After an error or
an interrupt it is removed; only a process that is killed outright leaves it behind, until something else is written
there a day later.
"""

from __future__ import annotations

import errno
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What systems and programs leave in folders, besides everything whose name begins with a dot, in small letters.
DEBRIS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "icon\r"}
DEBRIS |= {"@eadir", "#recycle", "@recycle", "@__thumb", "lost+found"}
ABANDONED = 86_400  # seconds after which nobody works any longer at what is half-written


def is_debris(name: str) -> bool:
    """Tell whether a file or folder of this name is nothing that people have put there."""
    return name.startswith(".") or name.casefold() in DEBRIS


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; when the `with` block ends well, that file takes the place of `path`.

    The folder is made if need be. The name given is new for each call, so processes and threads that write the same
    file at once do not disturb each other, and the last one stands; it ends as `path` does, which some writers go by.

        with whole(path) as unfinished, unfinished.open("wb") as file:
            torch.save(state, file)

    Raises:
        OSError: as the system says. After any exception, an interrupt too, the old file is untouched and nothing is
            left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    unfinished = path.with_name(f".part-{secrets.token_hex(6)}{path.suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give an empty folder beside `path` to fill; when the `with` block ends well, it takes the place of `path`.

    Replacing a folder takes two moves, between which there is none for an instant; an interrupt there puts the old
    one back.

    Args:
        path: the folder to make.
        replace: whether it takes the place of a folder that is there; else that one stays and the new one is dropped,
            for content that is the same whoever writes it first.

    Raises:
        OSError: as the system says. After any exception, an interrupt too, an old folder is whole and nothing is left
            beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    aside = path.with_name(f".part-{secrets.token_hex(6)}")
    unfinished, old = aside / "new", aside / "old"
    try:
        aside.mkdir()
        unfinished.mkdir()
        yield unfinished
        if replace or not path.is_dir():
            _take_place(unfinished, path, old, replace)
    except BaseException:
        with suppress(OSError):  # refused where there is none to put back, or another process has put its own there
            old.replace(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed processes have left half-written in a folder, a day ago or longer."""
    with suppress(OSError):
        for left in folder.glob(".part-*"):
            if left.stat().st_mtime < time.time() - ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
                left.unlink(missing_ok=True)


def _take_place(unfinished: Path, path: Path, old: Path, replace: bool) -> None:
    """Move the folder `unfinished` to `path`, and a folder that is there to `old`."""
    while True:
        try:
            unfinished.replace(path)
            return
        except OSError as error:
            if not path.is_dir() and error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if not replace:
            return
        # Not even an old folder may be overwritten: it has to be moved, unless another process has just done so.
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            path.replace(old)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write `content`, text in UTF-8, to `path` in one step; see `whole`.

    Raises:
        OSError: as the system says; the old file is untouched then and nothing is left behind.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with whole(path) as unfinished:
        unfinished.write_bytes(data)
