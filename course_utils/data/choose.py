"""The pictures of lesson 5: your own folder, ants and bees where they are at hand, or parts of the photographs.

The first that there is: the folder that is asked for; `hymenoptera_data` in the data folder (ants and bees, the set of
PyTorch's own transfer learning tutorial); a stand-in, cut from the photographs that come with the course.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from PIL import Image

from course_utils.data.downloads import cannot_write
from course_utils.data.lists import PictureList, PictureLists, picture_lists
from course_utils.data.sources import Source, cache_folder, data_folder
from course_utils.errors import DataError
from course_utils.pictures import files as picture_files

ANTS_AND_BEES = "hymenoptera_data"
SIDE = 224  # of a part of a photograph, in pixels
SMALLEST, LARGEST = 48, 128  # side of the square cut from a photograph before it is scaled to SIDE
PARTS = {"train": 40, "test": 20}  # pictures of each photograph


def own_pictures(folder: str = "", *, seed: int = 0, quiet: bool = False) -> PictureLists:
    """Return pictures to learn from, and say in a line which they are.

    Args:
        folder: yours, with one sub-folder a class, or with `train/<class>/…` and so on; "" takes the first that there
            is: ants and bees in the data folder, else the stand-in.
        seed: of the split, where a folder has no parts.
        quiet: do not print the line.

    Raises:
        DataError: when the folder cannot be used; a sentence says why.
    """
    if folder:
        return picture_lists(folder, seed=seed, unreadable="skip", quiet=quiet)
    top, kind = data_folder()
    if (top / ANTS_AND_BEES / "train").is_dir():
        # Collected from the web, and no licence is stated: its pictures are not passed on.
        words = f"ants and bees from {'your data folder' if kind == 'folder' else 'the cache folder'}"
        source = Source(kind, words, path=top / ANTS_AND_BEES, shareable=False)
        return picture_lists(top / ANTS_AND_BEES, seed=seed, source=source, quiet=quiet)
    words = "a stand-in: parts of the course's own photographs, test parts from the other half of each"
    source = Source("sample", words, complete=False, stand_in=True, reason="no folder of pictures is at hand")
    return picture_lists(stand_in(), seed=seed, source=source, quiet=quiet)


def stand_in(cache: Path | None = None) -> Path:
    """Return a folder `train|test/<photograph>/NN.jpg` of parts of the course's photographs, made when it is missing.

    Training pictures come from the left half of each photograph, test pictures from the right half, so that no pixel
    is in both. Places and sizes follow a fixed sequence: they are the same on every machine.

    Raises:
        DataError: when neither the cache folder nor the system's folder for temporary files can be written.
    """
    plan = f"{SIDE} {SMALLEST} {LARGEST} {PARTS} {picture_files.photographs()}"
    name = f"photo_parts-{hashlib.sha256(plan.encode()).hexdigest()[:8]}"
    failure: OSError | None = None
    for place in (cache or cache_folder(), Path(tempfile.gettempdir())):
        folder = place / name
        if folder.is_dir():
            return folder
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place, prefix=".parts-") as unfinished:
                _write(Path(unfinished) / name)
                if not folder.is_dir():  # else another process was faster
                    (Path(unfinished) / name).replace(folder)
            return folder
        except OSError as error:
            failure = error
    raise cannot_write(place, failure) from failure


def _write(folder: Path) -> None:
    for name in picture_files.photographs():
        picture = picture_files.photograph(name)
        middle = picture.width // 2
        halves = {"train": (0, middle), "test": (middle, picture.width)}
        for part, (left, right) in halves.items():
            (folder / part / name).mkdir(parents=True)
            for i in range(PARTS[part]):
                # Multiples of these numbers, modulo 1, fill a cube evenly (the R3 sequence, Roberts 2018).
                across, down, scale = ((i + 1) * step % 1 for step in (0.8191725134, 0.6710436067, 0.5497004779))
                side = min(round(SMALLEST + scale * (LARGEST - SMALLEST)), right - left, picture.height)
                x, y = left + int(across * (right - left - side + 1)), int(down * (picture.height - side + 1))
                square = picture.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                square.save(folder / part / name / f"{i:02d}.jpg", quality=92)


def final_part(pictures: PictureLists) -> PictureList:
    """Return the part on which a result is reported: test, or validation where a folder has no test part.

    Raises:
        DataError: when it has neither.
    """
    part = pictures.test or pictures.validation
    if part is None:
        raise DataError(
            f"{pictures.name} has only training pictures; add a folder val or test, or leave the folder train away."
        )
    return part
