"""Grad-CAM: where in a picture a network finds what speaks for a class (Selvaraju et al. 2017, arXiv:1610.02391)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import figures
from course_utils.base.modules import device_of, evaluating
from course_utils.diagnosis.maps import answer_of, find_layer, require_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class GradCam:
    """Where one picture speaks for one class, as a layer sees it.

    layer: the layer's name.
    target: the class that was asked about.
    probability: what the network gives that class, from 0 to 1.
    weights: how much each map of the layer speaks for the class, float32 (channels,): the mean gradient of its logit.
    heat: the weighted sum of the maps where it is positive, float32 (h, w), the layer's own height and width,
        divided by its largest value: from 0 to 1, and all 0 where nothing speaks for the class.
    """

    layer: str
    target: int
    probability: float
    weights: Tensor
    heat: Tensor

    def at_size(self, height: int, width: int) -> Tensor:
        """Return the heat stretched to a picture's size, float32 (height, width), from 0 to 1."""
        stretched = F.interpolate(self.heat[None, None], size=(height, width), mode="bilinear", align_corners=False)
        return stretched[0, 0].clamp(0, 1)

    def plot(self, image: Tensor, name: str = "the class", ax: Axes | None = None) -> Figure:
        """Draw the picture with the heat over it in colour; a title says so where nothing speaks for the class.

        Args:
            image: the picture before it was normalised, uint8 (C, H, W).
            name: the class's.
            ax: draw into these axes; None makes a figure, with the picture as it is on the left.

        Raises:
            TypeError: when `image` is not a picture of bytes.
        """
        import matplotlib.pyplot as plt

        if image.dtype != torch.uint8 or image.ndim != 3:
            raise TypeError(
                f"The heat is drawn over one picture, uint8 (C, H, W), not {str(image.dtype)[6:]} "
                f"{tuple(image.shape)}; take it before it is normalised."
            )
        heat = self.at_size(*image.shape[1:])
        with figures.style():
            if ax is None:
                _, (left, ax) = plt.subplots(1, 2, figsize=(5.6, 3.0))
                left.imshow(image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=255)
                left.axis("off")
                left.set_title("the picture")
            ax.imshow(overlay(image, heat).permute(1, 2, 0).numpy())
            ax.axis("off")
            ax.set_title(f"what speaks for {name}" if heat.max() > 0 else f"nothing speaks for {name}")
        return ax.figure


def overlay(image: Tensor, heat: Tensor, strength: float = 0.8) -> Tensor:
    """Return a picture in grey with the heat over it in colour, dark red to yellow, uint8 (3, H, W).

    Args:
        image: uint8 (C, H, W), C 1 or 3.
        heat: float32 (H, W), from 0 to 1; where it is 0 the grey picture is left as it is.
        strength: how much of the picture the colour covers where the heat is 1, from 0 to 1; 0 is the picture itself.
    """
    import matplotlib

    if strength == 0:
        return image.expand(3, -1, -1).clone()
    colour = torch.from_numpy(matplotlib.colormaps["inferno"](0.35 + 0.6 * heat.numpy())[..., :3])  # (H, W, 3)
    grey = image.float().mean(dim=0).div(255)[..., None]  # (H, W, 1)
    cover = strength * heat.sqrt()[..., None]  # the square root: weaker evidence can be seen too
    return ((1 - cover) * grey + cover * colour).mul(255).round().to(torch.uint8).permute(2, 0, 1)


def grad_cam(model: nn.Module, picture: Tensor, layer: str, target: int | None = None) -> GradCam:
    """Return where `picture` speaks for the class `target`, in evaluation mode.

    Each map of the layer is weighted by the mean gradient of the class's logit with respect to its numbers; the
    weighted maps are added up, and what speaks against the class is cut off.

    Args:
        model: returns logits (1, classes); its mode, and gradients that it holds, stay as they are. Frozen networks
            work too.
        picture: one normalised picture, float32 (1, C, H, W).
        layer: a name as `model.named_modules()` has it; the last layer that gives maps is the usual choice.
        target: the class's number; the network's own guess when None.

    Raises:
        ValueError: for more than one picture, an unknown layer or class, or a layer that gives no maps or takes no
            part in the answer.
    """
    require_picture(picture)
    kept: dict[str, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # The gradients end here, so that nothing before the layer is worked out, and frozen layers do not matter.
        kept[layer] = output.detach().requires_grad_()
        return kept[layer].clone()  # a copy goes on: an in-place ReLU behind the layer must not change what is kept

    hook = find_layer(model, layer).register_forward_hook(keep)
    try:
        with evaluating(model), torch.inference_mode(False), torch.enable_grad():
            logits = model(picture.detach().clone().to(device_of(model)))
            maps = answer_of(layer, kept, maps=True)
            classes = logits.shape[1]
            if target is not None and not 0 <= target < classes:
                raise ValueError(f"There is no class number {target}; they go from 0 to {classes - 1}.")
            chosen = int(logits.argmax()) if target is None else target
            (gradients,) = torch.autograd.grad(logits[0, chosen], maps, allow_unused=True)  # (1, channels, h, w)
            if gradients is None:
                raise ValueError(f"{layer} runs, but the answer does not depend on it; choose a layer that counts.")
    finally:
        hook.remove()
    weights = gradients[0].mean(dim=(1, 2))  # (channels,)
    heat = torch.einsum("c,chw->hw", weights, maps.detach()[0]).relu()
    heat = heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)
    probability = logits.detach()[0].softmax(dim=0)[chosen].item()
    return GradCam(layer, chosen, probability, weights.float().cpu(), heat.float().cpu())
