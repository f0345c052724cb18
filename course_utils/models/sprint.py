"""The network of lesson 7: small, wide late, and ready to learn from its first step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 2  # side of the whitening filters


def normalisation(kind: str, channels: int) -> nn.Module:
    """Return a layer that normalises `channels`: "batch" over the batch's pictures, "group" over each picture alone."""
    if kind == "group":
        return nn.GroupNorm(min(8, channels), channels)
    layer = nn.BatchNorm2d(channels, momentum=0.4, eps=1e-7)  # short runs need statistics that forget quickly
    layer.weight.requires_grad = False  # the next filters can learn any scale themselves
    return layer


class Group(nn.Module):
    """Two 3×3 convolutions, each normalised; the first one's pictures are halved before anything else touches them."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm1, self.norm2 = normalisation(norm, outputs), normalisation(norm, outputs)
        self.pool: nn.Module = nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, outputs, H // 2, W // 2) for (N, inputs, H, W)."""
        halved = F.gelu(self.norm1(self.pool(self.conv1(images))))
        return F.gelu(self.norm2(self.conv2(halved)))


class SprintNet(nn.Module):
    """A network for 32×32 colour pictures whose shape follows airbench94 (Jordan 2024, arXiv:2404.00498).

    Fixed whitening filters, then three groups of convolutions, narrow where pictures are large and wide where they are
    small, and one dense layer.

    Args:
        widths: channels of the three groups.
        classes: how many logits come out.
        norm: "batch", or "group" where a picture's result must not depend on the others of its batch.
    """

    def __init__(self, widths: tuple[int, int, int] = (64, 256, 256), classes: int = 10, norm: str = "batch") -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 8 or any(width % 8 for width in widths) or classes < 2:
            raise ValueError(
                f"SprintNet needs three widths that 8 divides and classes ≥ 2, not widths={widths}, classes={classes}."
            )
        if norm not in ("batch", "group"):
            raise ValueError(f'SprintNet normalises by "batch" or by "group", not {norm!r}.')
        first = 2 * 3 * KERNEL**2  # each pattern of a 2×2 colour patch, and its negative
        self.whiten = nn.Conv2d(3, first, KERNEL)
        inputs = (first, *widths[:2])
        self.groups = nn.Sequential(*(Group(i, o, norm) for i, o in zip(inputs, widths)))
        self.head = nn.Linear(widths[2], classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for float pictures (N, 3, 32, 32)."""
        patterns = F.gelu(self.whiten(images))  # (N, 24, 31, 31)
        features = self.groups(patterns)  # (N, widths[2], 3, 3)
        strongest = features.flatten(2).max(dim=2).values  # (N, widths[2])
        return self.head(strongest) / strongest.shape[1]

    @torch.no_grad()
    def reset(self, identity: bool = True) -> None:
        """Draw new first weights, in place; with `identity`, convolutions start by passing their inputs on."""
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.GroupNorm)):
                layer.reset_parameters()
            if identity and isinstance(layer, nn.Conv2d) and layer is not self.whiten:
                nn.init.dirac_(layer.weight[: layer.weight.shape[1]])
        self.head.weight.div_(self.head.weight.std())

    @torch.no_grad()
    def whitening(self, images: Tensor, softened: float = 5e-4) -> None:
        """Make the first filters whiten `images`: their answers have the same variance and are not correlated.

        Args:
            images: float (N, 3, H, W), normalised.
            softened: added to each variance, so that patterns that hardly occur are not blown up to noise.
        """
        self.whiten.weight.copy_(whitening_filters(images.float(), softened))
        self.whiten.weight.requires_grad = False


def whitening_filters(images: Tensor, softened: float = 5e-4) -> Tensor:
    """Return filters (24, 3, 2, 2): the eigenvectors of the patches' covariance, scaled to variance 1, and −1 times it.

    Args:
        images: float (N, 3, H, W).
        softened: added to each variance.
    """
    products, count = 0.0, 0
    for some in images.split(100):  # a few at a time, for the memory
        # In float64: eigenvectors magnify the roundings of a long sum, which differ with the threads that add it up.
        patches = F.unfold(some.double(), KERNEL).transpose(1, 2).reshape(-1, 3 * KERNEL**2)  # (patches, 12)
        products, count = products + patches.T @ patches, count + len(patches)
    covariance = products / count  # (12, 12)
    solved = torch.linalg.eigh(covariance.cpu())  # a 12 × 12 table: not worth loading a GPU's solver
    variances, directions = (each.to(images.device) for each in solved)  # directions in columns
    # Either way round is an eigenvector, and the last digit would decide: fix it.
    directions = directions * (2.0 ** torch.arange(3 * KERNEL**2).to(directions) @ directions).sign()
    filters = (directions / (variances + softened).sqrt()).T.reshape(-1, 3, KERNEL, KERNEL)
    return torch.cat([filters, -filters]).to(images.dtype)
