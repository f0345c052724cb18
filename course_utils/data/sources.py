"""Where a data set comes from: the data folder, a download or the sample in the package, and which of them it was.

The first hit wins: files in the folder that COURSE_DATA_DIR names (else in the user's cache folder), a download into
that folder unless COURSE_OFFLINE is set, then the sample.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_utils.base.paths import named_data_folder
from course_utils.data import decoding, downloads, formats, listing, samples
from course_utils.data.catalogue import FASHION_MNIST_UNPACKED, KNOWN, KnownSet, known_set
from course_utils.data.parts import Source
from course_utils.errors import DamagedError, DataError
from course_utils.pictures import files as picture_files

CACHE_NAME = "pixels-to-predictions"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where Debian's dataset-fashion-mnist lies
SLOWEST = 100_000  # bytes per second below which `load` rather takes the sample; `fetch` waits as long as it takes
BINARY_SIZES = dict.fromkeys(formats.BINARY_TRAIN + formats.BINARY_TEST, formats.CIFAR_ROWS * formats.CIFAR_RECORD)


@dataclass(frozen=True)
class Found:
    """A set as read: its source, its class names, and pictures and labels of its parts.

    `validation` is None where it is to be split off the training part.
    """

    source: Source
    classes: tuple[str, ...]
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Place:
    """A folder that holds a set, and in which layout: "idx", "binary", "pickled" or "images"."""

    path: Path
    layout: str
    kind: str


@dataclass(frozen=True)
class Entry:
    """A line of the inventory: a set, whether its full version is at hand, and what `load` would take without network.

    `kind` is "folder", "cache" or "sample"; `size_bytes` is the size of the files; `path` is their folder, if any.
    """

    name: str
    title: str
    found: bool
    kind: str
    size_bytes: int
    description: str
    path: Path | None = None


def data_folder() -> tuple[Path, str]:
    """Return the folder where sets are looked for and downloaded to, and its kind: "folder" or "cache"."""
    chosen = named_data_folder()
    return (cache_folder(), "cache") if chosen is None else (chosen, "folder")


def cache_folder() -> Path:
    """Return the user's cache folder for this course."""
    import pooch

    return Path(pooch.os_cache(CACHE_NAME))


def find(name: str, *, sample_ok: bool = True, validation: float = 0) -> Found:
    """Return a set from the first source that has it.

    Args:
        name: a name in `KNOWN`.
        sample_ok: whether the sample, or the stand-in, will do.
        validation: the share of training pictures wanted for validation; only photo crops are set aside here.

    Raises:
        SettingError: for an unknown name.
        DataError: when files in the data folder are damaged (they are never passed over in silence), or when there
            is only a sample and `sample_ok` is false.
    """
    known = known_set(name)
    if not known.remotes:  # made from the package's own pictures
        return sample(known, validation=validation)
    place = locate(known)
    if place is not None:
        return read(known, place)
    try:
        return read(known, download(known, slowest=SLOWEST), kind="download")
    except DamagedError:
        raise
    except DataError as error:
        if not sample_ok:
            raise DataError(f"The full set {known.title} is not at hand: {error}") from error
        return sample(known, str(error), validation)


def locate(known: KnownSet) -> Place | None:
    """Return the place where the data folder, or the system, holds a complete copy of a set; None if nowhere."""
    folder, kind = data_folder()
    if known.name == "fashion_mnist":
        for path in (folder / "FashionMNIST" / "raw", folder / "fashion-mnist", folder, DEBIAN_FOLDER):
            if all(idx_file(path, plain).is_file() for plain in FASHION_MNIST_UNPACKED):
                return Place(path, "idx", "folder" if path == DEBIAN_FOLDER else kind)
    if known.name == "cifar10":
        for layout, names in (("binary", BINARY_SIZES), ("pickled", formats.PICKLED_TRAIN | formats.PICKLED_TEST)):
            path = folder / f"cifar-10-batches-{'bin' if layout == 'binary' else 'py'}"
            if all((path / name).is_file() for name in names):
                return Place(path, layout, kind)
    path = folder / known.name
    if (path / "train").is_dir() and (path / "test").is_dir():
        return Place(path, "images", kind)
    return None


def idx_file(folder: Path, plain: str) -> Path:
    """Return the unpacked IDX file if it is there, else the name of the gzipped one."""
    return folder / plain if (folder / plain).exists() else folder / f"{plain}.gz"


def read(known: KnownSet, place: Place, kind: str | None = None) -> Found:
    """Return the set that lies at a place; `kind` overrides what the source is called."""
    classes, path = known.classes, place.path
    if place.layout == "idx":
        files = [idx_file(path, plain) for plain in FASHION_MNIST_UNPACKED]
        train = formats.read_idx_pair(files[0], files[1], len(classes))
        test = formats.read_idx_pair(files[2], files[3], len(classes))
    elif place.layout == "binary":
        train = formats.read_cifar_binary([path / name for name in formats.BINARY_TRAIN])
        test = formats.read_cifar_binary([path / name for name in formats.BINARY_TEST])
    elif place.layout == "pickled":
        train = formats.read_cifar_pickled(path, formats.PICKLED_TRAIN)
        test = formats.read_cifar_pickled(path, formats.PICKLED_TEST)
    else:
        mode = "L" if known.channels == 1 else "RGB"
        tree, cache = listing.list_folder(path), cache_folder() / "decoded"
        names = class_folders(known, tree.parts["train"])
        for part in ("train", "test"):
            lost = [name for name in names if not tree.parts[part].get(name)]
            if lost:
                raise DataError(f"{path / part} lacks the class {lost[0]!r}; a known set has all of its classes.")
        pairs = {part: tree.labelled(part, names) for part in ("train", "test")}
        train, test = (
            (decoding.decode_once(files, mode, cache, f"{known.name}-{part}"), labels.numpy())
            for part, (files, labels) in pairs.items()
        )
        is_jpeg = pairs["train"][0][0].suffix.lower() in (".jpg", ".jpeg")
        if train[0].shape[1:] != test[0].shape[1:]:
            raise DataError(f"Training and test pictures of {known.title} differ in size; check {path}.")
    kind = kind or place.kind
    complete = (len(train[0]), len(test[0])) == known.counts
    where = "just downloaded" if kind == "download" else f"from {origin(place)}"
    amount = "the full set" if complete else "a part of the set"
    pixels = " as JPEG files, not the original pixels," if place.layout == "images" and is_jpeg else ""
    source = Source(kind, f"{amount}{pixels} {where}", complete, path=path, shareable=known.shareable)
    return Found(source, classes, train, test)


def origin(place: Place) -> str:
    """Return the words for a place: no path, because they are shown in notebooks."""
    if place.path == DEBIAN_FOLDER:
        return "the system's package dataset-fashion-mnist"
    return "COURSE_DATA_DIR" if place.kind == "folder" else "the cache folder"


def class_folders(known: KnownSet, names: Iterable[str]) -> list[str]:
    """Return the `names` of class folders in the order of the set's classes ("T-shirt/top" may be "t_shirt_top")."""

    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    there = {plain(name): name for name in names}
    return [there.get(plain(name), name) for name in known.classes]


def sample(known: KnownSet, reason: str = "", validation: float = 0) -> Found:
    """Return the sample of a set that the package holds, or what stands in for it."""
    source = sample_source(known, reason)
    if known.name == "fashion_mnist":
        return Found(source, known.classes, samples.fashion_mnist("train"), samples.fashion_mnist("test"))
    names, parts = samples.photo_crops(validation)
    return Found(source, names, parts["train"], parts["test"], parts.get("validation"))


def sample_source(known: KnownSet, reason: str = "") -> Source:
    """Return what `sample` says of itself; reads no pictures."""
    if known.name == "fashion_mnist":
        train, test = (len(samples.fashion_mnist_digits(part)) for part in ("train", "test"))
        counts = f"{train:,} + {test:,} of {sum(known.counts):,} pictures"
        text = f"the embedded sample ({counts}): results are not those of the full set"
        return Source("sample", text, complete=False, reason=reason)
    text = f"32×32 crops of the package's {len(picture_files.photographs())} photographs"
    stand_in = known.name != "photo_crops"
    if stand_in:
        text = f"{text}: other classes, and results say nothing about {known.title}"
    return Source("sample", text, complete=not stand_in, stand_in=stand_in, reason=reason)


def download(known: KnownSet, *, slowest: float = 0, force: bool = False) -> Place:
    """Download a set into the data folder, in torchvision's layout, and return its place."""
    folder, kind = data_folder()
    if known.name == "fashion_mnist":
        raw = folder / "FashionMNIST" / "raw"
        downloads.download(known.remotes, known.mirrors, raw, slowest=slowest, force=force)
        if force:  # the files just checked are to be read, not older unpacked ones
            for plain in FASHION_MNIST_UNPACKED:
                (raw / plain).unlink(missing_ok=True)
        return Place(raw, "idx", kind)
    archive = folder / known.remotes[0].name
    was_there = archive.exists() and not force
    downloads.download(known.remotes, known.mirrors, folder, slowest=slowest, force=force)
    unpacked = folder / "cifar-10-batches-bin"
    try:
        downloads.unpack(archive, BINARY_SIZES, unpacked)
    except DataError as error:
        if not was_there:
            raise
        raise DamagedError(
            f"{archive.name} in the data folder is damaged; delete it, or fetch it anew ({error})"
        ) from error
    archive.unlink(missing_ok=True)
    return Place(unpacked, "binary", kind)


def fetch(name: str, force: bool = False) -> Source:
    """Make sure that the full set is in the data folder, downloading it if need be, and return its source.

    Args:
        name: a known name.
        force: download again what is there but damaged; whole files stay as they are, but CIFAR-10's archive (170 MB)
            was not kept and comes again.

    Raises:
        SettingError: for an unknown name.
        DataError: when the download fails; nothing half-done is left.
    """
    known = known_set(name)
    if not known.remotes:
        return sample_source(known)
    place = None if force else locate(known)
    if place is not None:
        return read(known, place).source
    return read(known, download(known, force=force), kind="download").source


def inventory() -> list[Entry]:
    """Return a line for every known set: whether it is at hand, where, how large; reads no pictures."""
    entries = []
    for known in KNOWN.values():
        place = locate(known) if known.remotes else None
        if place is None:
            source = sample_source(known)
            size = samples.size_bytes("fashion_mnist" if known.name == "fashion_mnist" else "photographs")
            found = not known.remotes
            entries.append(Entry(known.name, known.title, found, "sample", size, source.description))
            continue
        size = sum(file.stat().st_size for file in place.path.rglob("*") if file.is_file())
        pictures = " and ".join(f"{count:,}" for count in known.counts)
        text = f"{pictures} pictures from {origin(place)}"
        if place.layout == "images":
            text = f"an image folder from {origin(place)}"
        entries.append(Entry(known.name, known.title, True, place.kind, size, text, place.path))
    return entries


def verify(name: str) -> list[str]:
    """Return what is wrong with the copy of a set that is at hand, one sentence each; an empty list if nothing is.

    Fashion-MNIST's original files are held to their checksums. Of any other copy every picture is read and the pictures
    of each class are counted, which finds a missing picture, but not a changed one.
    """
    known = known_set(name)
    place = locate(known) if known.remotes else None
    if known.remotes and place is None:
        return [f"{known.title} is not at hand; `course data fetch {known.name}` downloads it."]
    problems = []
    if place is not None and place.layout == "idx":
        sums = FASHION_MNIST_UNPACKED | {remote.name: remote.sha256 for remote in known.remotes}
        for plain in FASHION_MNIST_UNPACKED:
            path = idx_file(place.path, plain)
            if hashlib.sha256(formats.read_bytes(path)).hexdigest() != sums[path.name]:
                problems.append(f"{path} has a wrong SHA-256; `course data fetch {known.name} --force` fixes it.")
        if problems:
            return problems
    try:
        found = sample(known) if place is None else read(known, place)
    except DataError as error:
        return [str(error)]
    for part, (_, labels), expected in (("train", found.train, known.counts[0]), ("test", found.test, known.counts[1])):
        for label, count in enumerate(np.bincount(labels, minlength=len(found.classes))):
            if count != expected // len(found.classes):
                problems.append(
                    f"The {part} part of {known.title} has {count:,} pictures of {found.classes[label]!r} "
                    f"instead of {expected // len(found.classes):,}."
                )
    return problems
