"""What the layers of a network answer to a picture, map by map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from course_utils import figures
from course_utils.base.modules import device_of, evaluating, without_gradients

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FeatureMaps:
    """What one layer answers to one picture.

    layer: its name.
    maps: float32 (channels, H, W).
    """

    layer: str
    maps: Tensor

    def plot(self, columns: int = 8, most: int = 32) -> Figure:
        """Draw the first `most` channels, bright where the answer is strong; all share one scale.

        The brightest half per cent is cut off, so that one strong answer does not darken all others.
        """
        import matplotlib.pyplot as plt

        shown = self.maps[:most]
        columns = min(columns, len(shown))
        rows = -(-len(shown) // columns)
        with figures.style():
            figure, grid = plt.subplots(rows, columns, figsize=(columns, rows + 0.4), squeeze=False)
            high = max(shown.flatten().quantile(0.995).item(), 1e-12)
            for axes in grid.flat:
                axes.axis("off")
            for axes, channel in zip(grid.flat, shown):
                axes.imshow(channel.numpy(), cmap=figures.SEQUENTIAL, vmin=min(0.0, shown.min().item()), vmax=high)
            size = " × ".join(str(n) for n in self.maps.shape[1:])
            title = f"{self.layer}: {len(shown)} of {len(self.maps)} channels, each {size}"
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        return figure


def feature_maps(model: nn.Module, picture: Tensor, layers: Sequence[str] | str) -> list[FeatureMaps]:
    """Return what each of `layers` answers to `picture`, in evaluation mode.

    Args:
        model: any network; its mode is put back.
        picture: one normalised picture, float32 (1, C, H, W).
        layers: names of layers as `model.named_modules()` has them, such as "features.0", or one such name; each must
            give (1, C, H, W).

    Raises:
        ValueError: for an unknown layer, or one whose answer is not a stack of maps.
    """
    require_picture(picture)
    layers = [layers] if isinstance(layers, str) else layers
    answers = layer_answers(model, picture, layers)
    return [FeatureMaps(name, answer_of(name, answers, maps=True)[0].float().cpu()) for name in layers]


def require_picture(picture: Tensor) -> None:
    """Raise `ValueError` unless `picture` is one that a network can look at."""
    tensor = isinstance(picture, Tensor)
    if not tensor or picture.ndim != 4 or len(picture) != 1 or not picture.is_floating_point():
        found = f"{str(picture.dtype)[6:]} {tuple(picture.shape)}" if tensor else type(picture).__name__
        raise ValueError(
            f"One picture of shape (1, C, H, W), in normalised floats, is needed, not {found}; picture[None] adds the "
            "first axis."
        )


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the layer of this name; raise `ValueError` where there is none."""
    modules = dict(model.named_modules())
    if name not in modules:
        raise ValueError(f"There is no layer {name!r}; the layers are {', '.join(filter(None, modules))}.")
    return modules[name]


def answer_of(name: str, answers: Mapping[str, Tensor], *, maps: bool = False) -> Tensor:
    """Return what a layer answered; raise `ValueError` where it took no part, or gave no `maps` (N, C, H, W)."""
    if name not in answers:
        raise ValueError(f"{name} took no part in the answer to these pictures; choose a layer that does.")
    answer = answers[name]
    if maps and answer.ndim != 4:
        raise ValueError(f"{name} gives {tuple(answer.shape)}, which is not a stack of maps; choose a convolution.")
    return answer


def layer_answers(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return what each of `layers` answers to images (N, C, H, W), in evaluation mode; the last where it gives more.

    Raises:
        ValueError: for an unknown layer, or one that takes no part.
    """
    answers: dict[str, Tensor] = {}
    modules = {name: find_layer(model, name) for name in layers}
    # Cloned, because an in-place ReLU behind the layer would change the answer afterwards.
    hooks = [
        layer.register_forward_hook(lambda _, __, output, name=name: answers.update({name: output.clone()}))
        for name, layer in modules.items()
    ]
    try:
        with evaluating(model), without_gradients(model):
            model(images.to(device_of(model)))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: answer_of(name, answers) for name in layers}
