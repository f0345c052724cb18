"""What a frozen network sees of each picture, computed once and kept on disk: a head then trains in seconds.

The values lie in a file that is mapped into memory, so sets larger than memory work. A row belongs to exactly these
weights, this preprocessing and these bytes of a picture file; a changed file is computed again, the others are not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from course_utils.base.files import whole_folder
from course_utils.base.modules import device_of
from course_utils.data import downloads
from course_utils.data.batches import generators
from course_utils.data.parts import FilePart, places, require_part
from course_utils.data.sources import cache_folder
from course_utils.errors import DataError
from course_utils.pictures import files as picture_files
from course_utils.transfer import weights as files
from course_utils.transfer.backbones import Network, require_network
from course_utils.transfer.preprocess import Preprocess

VALUES, ROWS = "values.npy", "rows.npy"
KEPT = 12  # sets kept for one network and one preprocessing beside a new one; the oldest go


@dataclass(frozen=True)
class Features:
    """Features of the pictures of a list, in its order, with their labels.

    stored: float32 (N, features), or (N, channels, h, w) for SqueezeNet, mapped from disk and not to be written to.
        `rows` and `batches` take some of it into memory, `values` all.
    labels: int64 (N,).
    classes: the names of the classes.
    computed: how many rows were computed now; the others were on disk.
    """

    stored: np.ndarray
    labels: Tensor
    classes: tuple[str, ...]
    computed: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def values(self) -> Tensor:
        """All features as a tensor in memory, (N, …)."""
        return torch.from_numpy(np.array(self.stored))

    def rows(self, indices: Tensor) -> Tensor:
        """Return the features at `indices`, int64 (n,), as a tensor in memory, (n, …)."""
        return torch.from_numpy(np.array(self.stored[indices.numpy()]))

    def batches(self, size: int = 32, *, shuffle: bool = False, seed: int = 0) -> FeatureBatches:
        """Return batches of (features, labels) for `training.fit`, in a new seeded order in every pass if shuffled."""
        return FeatureBatches(self, size, shuffle, seed)

    def select(self, indices: Tensor | Sequence[int]) -> Features:
        """Return those at `indices`, int64 (n,) or a mask, bool (N,), copied into memory."""
        chosen = places(indices, len(self))
        return Features(self.rows(chosen).numpy(), self.labels[chosen], self.classes, 0)


class FeatureBatches:
    """Pairs of features, float32 (B, …), and labels, int64 (B,); can be iterated as often as wanted.

    The order depends on seed and epoch alone, as that of `data.Batches` does.
    """

    def __init__(self, features: Features, size: int, shuffle: bool, seed: int) -> None:
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"A batch holds a whole number of pictures, at least 1, not {size!r}.")
        self.features, self.size, self.shuffle, self.seed, self.epoch = features, size, shuffle, seed, 0

    def __len__(self) -> int:
        return -(-len(self.features) // self.size)

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of `epoch`, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count, epoch = len(self.features), self.epoch
        order = (
            torch.randperm(count, generator=generators(self.seed, epoch)[0]) if self.shuffle else torch.arange(count)
        )
        for chosen in order.split(self.size):
            yield self.features.rows(chosen), self.features.labels[chosen]
        self.epoch = epoch + 1


def cached_features(
    net: Network,
    pictures: FilePart,
    preprocess: Preprocess | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    batch: int = 8,
    progress: bool = True,
) -> Features:
    """Return the features of all pictures, from disk where they were computed before.

    Args:
        net: a network; what lies below its head is used, in evaluation mode.
        pictures: files and labels, a part of `data.folder`'s.
        preprocess: in place of the network's own, for another view of the pictures.
        cache: the folder to keep them in; "features" in the course's cache folder when None.
        batch: pictures that go through the network at once.
        progress: show a bar while computing.

    Raises:
        DataError: when a picture cannot be read (it is named), or the folder cannot be written.
        TypeError: for pictures in memory, a whole set, or a model without what `backbone` returns around it.
        ValueError: when `batch` is below 1.
    """
    require_network(net, "cached_features")
    require_part(pictures, "cached_features")
    if not isinstance(pictures, FilePart):
        raise TypeError(f"cached_features takes picture files, not {pictures!r}; call data.folder without a size.")
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch is the number of pictures that go through at once, at least 1, not {batch!r}.")
    change = preprocess or net.preprocess
    kind = Path(cache or cache_folder() / "features") / f"{net.name}-{_key(net, change)}"
    rows = np.stack([_file_digest(path) for path in pictures.files])  # (N, 32)
    folder = kind / hashlib.sha256(rows.tobytes()).hexdigest()[:16]
    values, computed = _read(folder, rows), 0
    if values is None:
        computed = _compute(net, change, pictures, rows, folder, batch, progress)
        values = _read(folder, rows)
        if values is None:
            raise DataError(
                "The features were written but cannot be read back; check the disk, or choose another cache."
            )
    return Features(values, pictures.labels, pictures.classes, computed)


def _key(net: Network, change: Preprocess) -> str:
    """Return a short name for the weights below the head and the preprocessing together."""
    below = {n: v for n, v in net.model.state_dict().items() if not n.startswith(f"{net.head}.")}
    return hashlib.sha256(f"{files.digest(below)} {change!r}".encode()).hexdigest()[:16]


def _file_digest(path: Path) -> np.ndarray:
    try:
        return np.frombuffer(hashlib.sha256(path.read_bytes()).digest(), np.uint8)
    except OSError as error:
        raise DataError(f"The picture {path} cannot be read ({error.strerror}); replace or remove it.") from error


def _read(folder: Path, rows: np.ndarray) -> np.ndarray | None:
    """Return the values in a folder, mapped into memory, or None where they are missing, damaged or others."""
    try:
        if not np.array_equal(np.load(folder / ROWS, allow_pickle=False), rows):
            return None
        values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if len(values) == len(rows) and values.dtype == np.float32 else None


def _compute(
    net: Network, change: Preprocess, pictures: FilePart, rows: np.ndarray, folder: Path, batch: int, progress: bool
) -> int:
    """Write the values beside their place, rows that lie in other folders copied, and move them there when complete."""
    kind = folder.parent
    known = _known_rows(kind, {row.tobytes() for row in rows})
    missing = [i for i, row in enumerate(rows) if row.tobytes() not in known]
    with torch.inference_mode():
        shape = tuple(net.features(torch.zeros(1, 3, change.crop, change.crop, device=device_of(net.model))).shape[1:])
    groups = [missing[start : start + batch] for start in range(0, len(missing), batch)]
    silent = not progress or os.environ.get("COURSE_PROGRESS") == "0"
    try:
        ages: dict[Path, float] = {}
        for old in kind.glob("[0-9a-f]*"):
            with suppress(OSError):  # another process has removed it just now
                ages[old] = old.stat().st_mtime
        for old in sorted(ages, key=ages.__getitem__)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        # Not a file mapped into memory: where the disk is full, writing to that ends the process.
        with whole_folder(folder) as unfinished, (unfinished / VALUES).open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            start, size = file.tell(), 4 * int(np.prod(shape))

            def put(number: int, values: np.ndarray) -> None:
                file.seek(start + number * size)
                file.write(values.astype("<f4").tobytes())

            for i, row in enumerate(rows):
                if row.tobytes() in known:
                    there, place = known[row.tobytes()]
                    put(i, there[place])
            bar = tqdm(groups, desc="features", unit="batch", leave=False, delay=1, disable=silent, file=sys.stdout)
            for group in bar:
                images = [change(_opened(pictures.files[i])) for i in group]
                for i, values in zip(group, net.features(torch.stack(images)).numpy()):
                    put(i, values)
            file.close()  # Windows moves no folder with an open file
            np.save(unfinished / ROWS, rows)
    except OSError as error:
        raise downloads.cannot_write(kind, error, "choose another folder with cache=") from error
    return len(missing)


def _opened(path: Path) -> object:
    try:
        return picture_files.open_picture(path)
    except DataError as error:
        raise DataError(f'{error} Or leave it out: data.folder(..., unreadable="skip").') from error


def _known_rows(kind: Path, wanted: set[bytes]) -> dict[bytes, tuple[np.ndarray, int]]:
    """Return where rows that are wanted lie already, in folders of other lists of pictures."""
    found: dict[bytes, tuple[np.ndarray, int]] = {}
    for folder in kind.glob("[0-9a-f]*"):
        try:
            rows = np.load(folder / ROWS, allow_pickle=False)
            values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue
        if rows.ndim == 2 and len(rows) == len(values):
            found |= {row.tobytes(): (values, i) for i, row in enumerate(rows) if row.tobytes() in wanted}
    return found
