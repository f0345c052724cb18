"""Your pictures on Google Colab, whose machine knows nothing of your disk: by an uploaded archive, or from Drive."""

from __future__ import annotations

import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

from course_utils.base.files import is_debris, whole_folder
from course_utils.errors import DataError, SettingError, reason

WAYS = ("zip", "drive")
DRIVE = Path("/content/drive")
MOST_BYTES = 4 * 1024**3  # what an archive may hold, unpacked


def from_colab(way: str, name: str = "my pictures") -> Path:
    """Return the folder of pictures on Colab's machine, after asking for it in the browser.

    Args:
        way: "zip": choose an archive on your disk, which is unpacked into the folder `name`; "drive": let Colab see
            your Drive, and take the folder `name` in it.
        name: the folder's name.

    Raises:
        SettingError: for another way, or where this is not Colab.
        DataError: when nothing was chosen, the archive is none, or Drive has no such folder.
    """
    if way not in WAYS:
        raise SettingError(f"The way to Colab is {way!r}, but must be one of {', '.join(WAYS)}.")
    try:
        from google.colab import drive, files
    except ImportError:
        raise SettingError("This is not Google Colab; put the path of your folder into `pictures` instead.") from None
    if way == "zip":
        chosen = list(files.upload())
        if not chosen:
            raise DataError("No archive was chosen; run the cell again and choose a .zip file.")
        return unpacked(Path(chosen[0]), Path(name))
    drive.mount(str(DRIVE))
    folder = DRIVE / "MyDrive" / name
    if not folder.is_dir():
        raise DataError(f"Your Drive has no folder {name!r}; make it there, with one sub-folder for each class.")
    return folder


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an archive of pictures into `folder`, whole or not at all; return where its class folders lie.

    Archives often hold one folder with everything in it; then that one is returned. Names that would lead out of the
    folder are kept inside it.

    Raises:
        DataError: when the file is no archive, is damaged, or would take more than 4 GB.
    """
    try:
        with zipfile.ZipFile(archive) as packed, whole_folder(folder) as unfinished:
            size = sum(entry.file_size for entry in packed.infolist())
            if size > MOST_BYTES:
                raise DataError(f"{archive.name} holds {size / 1e9:.1f} GB, more than the limit; leave some out.")
            for entry in packed.infolist():
                entry.filename = _name(entry)
            packed.extractall(unfinished, packed.infolist())
            for debris in [path for path in unfinished.rglob("*") if is_debris(path.name)]:
                shutil.rmtree(debris) if debris.is_dir() else debris.unlink(missing_ok=True)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{archive.name} cannot be unpacked ({error.strerror or error}).") from error
    except RuntimeError as error:
        raise DataError(
            f"{archive.name} is locked with a password, or packed in a way that is not read; pack the folder again."
        ) from error
    except Exception as error:  # damaged archives raise anything
        raise DataError(f"{archive.name} is no whole .zip archive ({reason(error)}); pack the folder again.") from error
    entries = list(folder.iterdir())
    inside = entries[0] if len(entries) == 1 and entries[0].is_dir() else None
    return inside if inside and any(path.is_dir() for path in inside.iterdir()) else folder


def _name(entry: zipfile.ZipInfo) -> str:
    """Return the name of an entry; macOS writes UTF-8 without saying so, and zipfile then takes it for cp437."""
    if not entry.flag_bits & 0x800:
        with suppress(UnicodeError):
            return entry.filename.encode("cp437").decode("utf-8")
    return entry.filename
