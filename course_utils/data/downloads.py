"""Downloads that are either complete and right, or leave nothing behind."""

from __future__ import annotations

import errno
import gzip
import os
import queue
import tarfile
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from urllib.parse import urlsplit

from course_utils.base.files import whole_folder
from course_utils.errors import DataError

CONNECT_SECONDS = 4  # how long a server may take to answer at all
STALL_SECONDS = 15  # how long it may then stay silent
SLOW_AFTER = 20  # seconds before the speed of a download is judged
CHUNK = 1 << 16  # bytes read at a time


@dataclass(frozen=True)
class Remote:
    """A file to download: its name, the SHA-256 of its content, and its size in bytes."""

    name: str
    sha256: str
    size: int


def offline() -> bool:
    """Return whether COURSE_OFFLINE forbids the network: set to anything but nothing, 0, no or false."""
    return os.environ.get("COURSE_OFFLINE", "").strip().lower() not in ("", "0", "no", "false")


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
        slowest: bytes per second below which a download is given up after 20 seconds; 0 waits for ever.
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
            why = "; ".join(failures) or "no server is left"
            raise DataError(f"{remote.name} could not be downloaded ({why}); try again later.")


class MirrorError(Exception):
    """What one mirror did wrong: a reason to try the next."""


def fetch_file(url: str, remote: Remote, folder: Path, slowest: float, progress: bool) -> None:
    """Download one file with pooch, which moves it into place only after its SHA-256 was found right."""
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=Watch(remote, slowest, progress),
        chunk_size=CHUNK,
        timeout=(CONNECT_SECONDS, STALL_SECONDS),
        headers={"Accept-Encoding": "identity"},  # the file as it is, not unpacked on the way
    )

    def checked(url: str, output: str, _: object) -> None:
        downloader(url, output, None)
        with Path(output).open("rb") as file:
            start = file.read(200).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html", b"<?xml")):
            raise MirrorError("sent a web page instead of the file")
        size = Path(output).stat().st_size
        if size != remote.size:
            raise MirrorError(f"sent {size:,} of {remote.size:,} bytes")

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # its notes name folders of this machine, which would end up in notebooks
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(url, "sha256:" + remote.sha256, fname=remote.name, path=folder, downloader=checked)
    except requests.exceptions.HTTPError as error:
        raise MirrorError(f"answered {error.response.status_code}") from error
    except requests.exceptions.RequestException as error:
        stalled = isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error).lower()
        raise MirrorError("stopped sending" if stalled else "broke off or refused the connection") from error
    except ValueError as error:  # pooch's word for a wrong hash
        raise MirrorError("sent a file with a wrong SHA-256") from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        logger.setLevel(level)


class Watch:
    """The progress bar that pooch feeds; it also ends a download that crawls."""

    def __init__(self, remote: Remote, slowest: float, visible: bool) -> None:
        from tqdm import tqdm

        self.bar = tqdm(
            desc=remote.name, total=remote.size, unit="B", unit_scale=True, disable=not visible, leave=False
        )
        self.slowest, self.started, self.received, self.total = slowest, time.monotonic(), 0, remote.size

    def update(self, count: int) -> None:
        """Take note of `count` more bytes; raise MirrorError when they come too slowly."""
        self.bar.update(count)
        self.received += count
        seconds = time.monotonic() - self.started
        if seconds > SLOW_AFTER and self.received < self.slowest * seconds:
            raise MirrorError(f"sends only {self.received / seconds / 1000:.0f} kB a second")

    def reset(self) -> None:
        """Start again at nothing, as pooch does before it fills the bar."""
        self.bar.reset()
        self.started, self.received = time.monotonic(), 0

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


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


def cannot_write(folder: Path, error: OSError) -> DataError:
    """Return the error for a folder that cannot be written to."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return DataError(f"The disk is full: {folder} has no room left; free some space or set COURSE_DATA_DIR.")
    why = error.strerror or type(error).__name__
    return DataError(f"The folder {folder} cannot be written to ({why}); set COURSE_DATA_DIR to one that can.")
