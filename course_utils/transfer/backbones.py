"""Networks trained on ImageNet, each with its own preprocessing and category names: EfficientNet-Lite0 and many more.

net = transfer.backbone("efficientnet_lite0")     # always at hand: its weights come with the course
net.predict("cat.jpg")                            # the five likeliest of ImageNet's 1,000 categories
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.base.modules import device_of, evaluating
from course_utils.base.words import closest, few, percent
from course_utils.errors import DataError
from course_utils.transfer import weights as files
from course_utils.transfer.preprocess import Preprocess, opened

OURS = "efficientnet_lite0"
KNOWN_HERE = (OURS, "resnet18", "vgg16", "squeezenet1_0")  # those that the lesson names
REFERENCE = "resnet18"  # whose metadata hold ImageNet's category names, in the order that all of them share
SOURCES = ("imagenet", None)


@dataclass(frozen=True)
class Guess:
    """One answer: the class and its probability, from 0 to 1."""

    name: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name} {percent(self.probability)}"


def require_network(net: object, taker: str) -> None:
    """Raise `TypeError` unless `net` is a `Network`, for the function of the name `taker`."""
    if not isinstance(net, Network):
        raise TypeError(
            f"{taker} takes what transfer.backbone returns, not a {type(net).__name__}; give it the whole of that, and "
            "not its model alone."
        )


@dataclass
class Network:
    """A classifier with all it takes to use it.

    name: of its architecture, such as "resnet18".
    model: the network; pictures (B, 3, H, W) in, logits (B, classes) out.
    head: the name of its last layer that learns, as `model.named_modules()` has it, such as "fc".
    classes: a name for each logit.
    preprocess: how it wants its pictures.
    source: where its weights came from, in words.
    """

    name: str
    model: nn.Module
    head: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    source: str

    @property
    def head_layer(self) -> nn.Module:
        """The head itself."""
        return self.model.get_submodule(self.head)

    def predict(self, picture: Any, k: int = 5) -> list[Guess]:
        """Return the `k` likeliest classes of a picture, the likeliest first.

        Args:
            picture: a Pillow picture, a uint8 tensor (3, H, W), a path or an open file, read defensively.
            k: how many; all where there are fewer classes.

        Raises:
            DataError: when a file is not a picture, damaged or too large.
            ValueError: when `k` is not positive.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}.")
        probabilities = self.probabilities([picture])[0]
        best = probabilities.topk(min(k, len(self.classes)))
        return [Guess(self.classes[i], p) for p, i in zip(best.values.tolist(), best.indices.tolist())]

    def probabilities(self, pictures: Iterable[Any], preprocess: Preprocess | None = None) -> Tensor:
        """Return the probabilities of all classes for some pictures, or for the file of one: float32 (N, classes).

        `preprocess` replaces the network's own, for a second view of the same pictures.
        """
        pictures = [pictures] if isinstance(pictures, str) else pictures
        change = preprocess or self.preprocess
        batch = torch.stack([change(opened(picture)) for picture in pictures])  # (N, 3, crop, crop)
        with evaluating(self.model), torch.inference_mode():
            return self.model(batch.to(device_of(self.model))).softmax(dim=1).float().cpu()

    def features(self, images: Tensor) -> Tensor:
        """Return what arrives at the head for normalised pictures (B, 3, H, W), in evaluation mode.

        Mostly (B, features); SqueezeNet's head is a convolution, and maps (B, 512, h, w) arrive at it.
        """
        seen: list[Tensor] = []
        hook = self.head_layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            # Not inference_mode: a head could not be trained on what comes out of it.
            with evaluating(self.model), torch.no_grad():
                self.model(images.to(device_of(self.model)))
        finally:
            hook.remove()
        return seen[0].float().cpu()

    def knows(self, classes: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return those `classes` that this network has a category for, each with the names of these categories.

        A name matches a category of the same name, in the singular or the plural, and one that is a kind of it: "ants"
        matches "ant", and "cats" matches "Persian cat". Where most classes are found, a result on their pictures says
        little about learning: the network was trained on them, perhaps on the very same pictures.
        """
        found = {}
        for name in classes:
            wanted = _singular(name)
            kinds = tuple(own for own in self.classes if f" {_singular(own)}".endswith(f" {wanted}"))
            if wanted and kinds:
                found[name] = kinds
        return found

    def warning(self, classes: Iterable[str]) -> str:
        """Return in a sentence which of your classes this network has learned to tell already; "" for none."""
        known = self.knows(classes)
        if not known:
            return ""
        shown = [f"{name!r} ({few(kinds)})" for name, kinds in known.items()]
        return (
            f"{self.name} has categories for {len(known)} of your classes: {few(shown)}. It may have been trained on "
            "such pictures, even on yours, so a good result on them is partly its own."
        )

    def tail(self, head: nn.Module | None = None) -> nn.Module:
        """Return the head (or another one in its place) with all that follows it: features in, logits out."""
        layer = self.head_layer if head is None else head
        if isinstance(layer, nn.Conv2d):  # SqueezeNet: score every place, then average
            return nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return layer

    def __str__(self) -> str:
        return f"{self.name}: {len(self.classes):,} classes, {self.source}; {self.preprocess.describe()}."


def _singular(name: str) -> str:
    """Return a name in lower case, its last word without the ending of a plural."""
    text = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
    last = text.rpartition(" ")[2]
    for plural, one in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if len(last) > len(plural) + 1 and text.endswith(plural):
            return text.removesuffix(plural) + one
    return text[:-1] if len(last) > 3 and text.endswith("s") and not text.endswith("ss") else text


def backbone(
    name: str = OURS, *, weights: str | None = "imagenet", device: torch.device | str | None = None
) -> Network:
    """Return a classifier of ImageNet's categories with its own preprocessing and category names.

    Args:
        name: "efficientnet_lite0" (always at hand), or any classifier of torchvision or timm, such as "resnet18",
            "vgg16" or "squeezenet1_0"; torchvision's where both know the name.
        weights: "imagenet", or None for random numbers, which needs no files.
        device: where to build it; "meta" builds shapes without numbers and takes no memory, for weights=None only.

    Raises:
        DataError: for a name that neither library knows, a network without a head that can be reported, or weights that
            are not at hand and cannot be had; a sentence says what to do.
        ValueError: for wrong arguments.
    """
    if weights not in SOURCES:
        raise ValueError(f'weights must be "imagenet" or None (random numbers), not {weights!r}.')
    if weights is not None and str(device) == "meta":
        raise ValueError('On the device "meta" a network has no numbers; build it with weights=None.')
    try:
        with torch.device(device) if device is not None else contextlib.nullcontext():
            return build(name, pretrained=weights is not None)
    except NotImplementedError as error:
        raise DataError(
            f"{name} computes while it is built, so it cannot be built on {device!r}; leave it out."
        ) from error


def build(name: str, pretrained: bool) -> Network:
    """Return the network `name`, with ImageNet weights or random numbers; see `backbone`."""
    import torchvision

    if name == OURS:
        return _timm(name, "tf_efficientnet_lite0", pretrained)
    if name in torchvision.models.list_models(module=torchvision.models):
        return _torchvision(name, pretrained)
    import timm

    # Only names that timm has code for: it would also follow "hf-hub:..." to files on the network.
    if isinstance(name, str) and timm.is_model(name):
        return _timm(name, name, pretrained)
    known = (*KNOWN_HERE, *torchvision.models.list_models(module=torchvision.models), *timm.list_models())
    raise DataError(
        f"There is no network {name!r}; take one of {', '.join(KNOWN_HERE)}, or another classifier of torchvision or "
        f"timm{closest(str(name), known) or '.'}"
    )


def _torchvision(name: str, pretrained: bool) -> Network:
    from torchvision import models

    known = models.get_model_weights(name).DEFAULT
    # These two have extra heads for training that would change what the network returns, and their own input scale.
    extra = {"transform_input": True} if name in ("googlenet", "inception_v3") else {}
    if pretrained:
        _, source = files.torchvision_file(known.url, name)
        try:
            model = models.get_model(name, weights=known, progress=False)
        except files.BROKEN as error:
            raise DataError(
                f"The file of weights for {name} in torchvision's cache belongs to another network; delete it."
            ) from error
    else:
        source = "random numbers"
        if extra:
            extra |= {"aux_logits": False, "init_weights": True}
        model = models.get_model(name, weights=None, **extra)
    if getattr(model, "aux_logits", False):
        model.aux_logits = False
        for part in ("aux1", "aux2", "AuxLogits"):
            if hasattr(model, part):
                setattr(model, part, None)
    classes = tuple(known.meta["categories"])
    wanted = known.transforms()
    preprocess = Preprocess(
        resize=_one_side(wanted.resize_size),
        crop=_one_side(wanted.crop_size),
        mean=tuple(wanted.mean),
        std=tuple(wanted.std),
        interpolation=wanted.interpolation.value,
    )
    return Network(name, _ready(model), find_head(model, len(classes)), classes, preprocess, source)


def _ready(model: nn.Module) -> nn.Module:
    """Return `model` in evaluation mode, the channels of a pixel side by side: the same answers, on CPUs far sooner."""
    return model.eval().to(memory_format=torch.channels_last)


def _one_side(size: Any) -> int:
    return int(size[0]) if isinstance(size, (list, tuple)) else int(size)


def _timm(name: str, architecture: str, pretrained: bool) -> Network:
    import timm
    from timm.data import resolve_model_data_config

    model, source = timm.create_model(architecture, pretrained=False), "random numbers"
    settings = model.pretrained_cfg
    if pretrained and name == OURS:
        source = files.load_efficientnet_lite0(model)
    elif pretrained:
        if not settings.get("hf_hub_id"):
            raise DataError(f"timm has no weights for {name}; choose another network, or weights=None.")
        path, source = files.timm_file(settings["hf_hub_id"], name)
        model = _filled(architecture, path, name)
    head = settings.get("classifier")
    if not isinstance(head, str) or not model.num_classes:
        raise DataError(f"{name} is not a classifier with one head; choose another network.")
    config = resolve_model_data_config(model)
    crop = int(config["input_size"][-1])
    resize = math.floor(crop / config["crop_pct"]) if config["crop_mode"] == "center" else (crop, crop)
    preprocess = Preprocess(resize, crop, tuple(config["mean"]), tuple(config["std"]), config["interpolation"])
    return Network(name, _ready(model), head, _names(model.num_classes), preprocess, source)


def _filled(architecture: str, path: Path, name: str) -> nn.Module:
    import timm

    try:
        return timm.create_model(architecture, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    except Exception as error:  # safetensors has errors of its own
        raise DataError(f"The weights of {name} in {path.name} are damaged; delete them and try again.") from error


def _names(count: int) -> tuple[str, ...]:
    """Return ImageNet's category names in the order of the logits, or numbers where there are not 1,000 of them."""
    from torchvision import models

    names = tuple(models.get_model_weights(REFERENCE).DEFAULT.meta["categories"])
    return names if count == len(names) else tuple(f"category {i}" for i in range(count))


def find_head(model: nn.Module, outputs: int) -> str:
    """Return the name of the layer that gives the logits: the last one with so many outputs.

    Args:
        model: a classifier.
        outputs: the number of its logits.

    Raises:
        DataError: when no linear layer and no 1×1 convolution has so many outputs.
    """
    found = [name for name, layer in model.named_modules() if _outputs(layer) == outputs]
    if not found:
        raise DataError(f"No layer of this network has {outputs} outputs, so its head cannot be told.")
    return found[-1]


def _outputs(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) else None
