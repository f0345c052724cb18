"""Downloads that are either complete and right, or leave nothing behind."""

from __future__ import annotations

import errno
import gzip
import queue
import tarfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from urllib.parse import urlsplit

from course_utils.base.files import whole, whole_folder
from course_utils.base.paths import offline
from course_utils.errors import DataError

CONNECT_SECONDS = 4  # how long a server may take to answer at all
STALL_SECONDS = 15  # how long it may then stay silent
SLOW_AFTER = 20  # seconds before the speed of a download is judged
CRAWL = 1000  # bytes per second, below which nobody waits
CHUNK = 1 << 13  # bytes read at a time; few, so that a slow server is known from a silent one


@dataclass(frozen=True)
class Remote:
    """A file to download: its name, the SHA-256 of its content, and its size in bytes."""

    name: str
    sha256: str
    size: int


def download(
    remotes: Sequence[Remote],
    mirrors: Sequence[str],
    folder: Path,
    *,
    slowest: float = 0,
    force: bool = False,
    progress: bool = True,
) -> None:
    """Bring files into a folder, from the first mirror that delivers each of them whole.

    Args:
        remotes: the files; one that is already there is not fetched again.
        mirrors: addresses ending in "/" to which a file's name is added, in order of preference. A mirror that fails
            once is not asked again.
        folder: where they go; made when missing.
        slowest: bytes per second below which a download is given up after 20 seconds; 1,000 at least.
        force: check the SHA-256 of files that are there, and fetch those anew that are damaged.
        progress: show a progress bar.

    Raises:
        DataError: when no mirror delivers, with what each of them did; when the folder cannot be written or the disk
            is full. Files that arrived whole stay; of others nothing is kept.
    """
    missing = [remote for remote in remotes if force or not (folder / remote.name).exists()]
    if not missing:
        return
    if offline():
        raise DataError("COURSE_OFFLINE is set, so nothing was downloaded; unset it to allow downloads.")
    left = reachable(mirrors)
    if not left:
        raise DataError("No server of this data set could be reached; check the network, or work with the sample.")
    for remote in missing:
        failures = []
        while left:
            try:
                fetch_file(left[0] + remote.name, remote, folder, slowest, progress)
                break
            except MirrorError as error:
                failures.append(f"{urlsplit(left[0]).hostname} {error}")
                left = left[1:]
        else:
            raise DataError(f"{remote.name} could not be downloaded ({'; '.join(failures)}); try again later.")


class MirrorError(Exception):
    """What one mirror did wrong: a reason to try the next."""


def fetch_file(url: str, remote: Remote, folder: Path, slowest: float, progress: bool) -> None:
    """Download one file, which takes its place only after its SHA-256 was found right; not one that is right already.

    Raises:
        MirrorError: with what the server did wrong.
        DataError: when the folder cannot be written.
    """
    import pooch
    from tqdm import tqdm

    path = folder / remote.name
    bar = {"desc": remote.name, "total": remote.size, "unit": "B", "unit_scale": True, "leave": False}
    try:
        if path.exists() and pooch.file_hash(str(path)) == remote.sha256:
            return
        with whole(path) as unfinished:
            with tqdm(**bar, disable=not progress) as shown:
                receive(url, unfinished, most=remote.size, slowest=slowest, told=shown.update)
            with unfinished.open("rb") as file:
                start = file.read(200).lstrip().lower()
            if start.startswith((b"<!doctype", b"<html", b"<?xml")):
                raise MirrorError("sent a web page instead of the file")
            size = unfinished.stat().st_size
            if size != remote.size:
                raise MirrorError(f"sent {size:,} of {remote.size:,} bytes")
            if pooch.file_hash(str(unfinished)) != remote.sha256:
                raise MirrorError("sent a file with a wrong SHA-256")
    except OSError as error:
        raise cannot_write(folder, error) from error


def receive(
    url: str, path: Path, *, most: int, slowest: float = 0, told: Callable[[int], object] = lambda count: None
) -> None:
    """Write what a server sends into a file.

    It is read in another thread, since a server that sends a letter now and then, even before its first byte of the
    file, can keep a reader waiting for ever.

    Args:
        url: what to ask for.
        path: the file to write.
        most: bytes; when more come, the server is given up.
        slowest: bytes per second below which it is given up after `SLOW_AFTER` seconds; `CRAWL` at least.
        told: called with the number of bytes of each piece that has come.

    Raises:
        MirrorError: with what the server did wrong.
        OSError: when the file cannot be written.
    """
    import requests

    pieces: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
    given_up = threading.Event()
    headers = {"Accept-Encoding": "identity"}  # the file as it is, not unpacked on the way

    def read() -> None:
        try:
            with requests.get(url, stream=True, timeout=(CONNECT_SECONDS, STALL_SECONDS), headers=headers) as response:
                response.raise_for_status()
                for piece in response.iter_content(CHUNK):
                    if given_up.is_set():
                        return
                    pieces.put(piece)
            pieces.put(None)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            pieces.put(error)

    started, received = time.monotonic(), 0
    threading.Thread(target=read, daemon=True).start()
    try:
        with path.open("wb") as file:
            while True:
                seconds = time.monotonic() - started
                if seconds > SLOW_AFTER and received < max(slowest, CRAWL) * seconds:
                    raise MirrorError(f"sends only {received / seconds / 1000:.0f} kB a second")
                try:
                    piece = pieces.get(timeout=0.2)
                except queue.Empty:
                    continue
                if piece is None:
                    return
                if isinstance(piece, Exception):
                    raise piece
                received += len(piece)
                if received > most:
                    raise MirrorError(f"sends more than {most:,} bytes")
                file.write(piece)
                told(len(piece))
    except requests.exceptions.HTTPError as error:
        raise MirrorError(f"answered {error.response.status_code}") from error
    except requests.exceptions.RequestException as error:
        stalled = isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error).lower()
        raise MirrorError("stopped sending" if stalled else "broke off or refused the connection") from error
    finally:
        given_up.set()


def reachable(mirrors: Sequence[str]) -> list[str]:
    """Return the mirrors whose servers accept a connection in time, all asked at the same time.

    Without a network this answers quickly, where asking one server after another would wait for each.
    """
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def ask(mirror: str) -> None:
        try:
            with create_connection(address(mirror), timeout=CONNECT_SECONDS):
                answers.put((mirror, True))
        except OSError:
            answers.put((mirror, False))

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    good, deadline = set(), time.monotonic() + CONNECT_SECONDS
    for _ in mirrors:
        try:
            mirror, answered = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if answered:
            good.add(mirror)
    return [mirror for mirror in mirrors if mirror in good]


def address(url: str) -> tuple[str, int]:
    """Return host and port that a request for `url` connects to: those of the proxy where one is set."""
    from requests.utils import get_environ_proxies, select_proxy

    target = select_proxy(url, get_environ_proxies(url)) or url
    parts = urlsplit(target if "//" in target else "http://" + target)
    return parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)


def unpack(archive: Path, members: dict[str, int], folder: Path) -> None:
    """Take the named files out of a tar archive into a new folder, which appears only when it is complete.

    Args:
        archive: a .tar.gz file.
        members: the file names to take, without folders, and their sizes in bytes. Whatever else the archive holds,
            such as paths that lead out of the folder, links and devices, is left alone.
        folder: the folder to make; replaced when it exists without being complete.
    """
    try:
        with whole_folder(folder) as unfinished, tarfile.open(archive) as tar:
            for entry in tar:
                name = Path(entry.name).name
                if entry.isfile() and members.get(name) == entry.size:
                    (unfinished / name).write_bytes(tar.extractfile(entry).read())
            lost = sorted(set(members) - {path.name for path in unfinished.iterdir()})
            if lost:
                raise DataError(f"The archive {archive.name} lacks {', '.join(lost)}; delete it and fetch it again.")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"The archive {archive.name} is damaged ({error}); delete it and fetch it again.") from error
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(folder: Path, error: OSError, otherwise: str = "set COURSE_DATA_DIR to another one") -> DataError:
    """Return the error for a folder that cannot be written to; `otherwise` says what to do about it."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return DataError(f"The disk is full: {folder} has no room left; free some space, or {otherwise}.")
    why = error.strerror or type(error).__name__
    return DataError(f"The folder {folder} cannot be written to ({why}); {otherwise}.")
