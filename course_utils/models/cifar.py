"""The networks of lesson 4, for colour pictures of 32×32: the classic small one, and a compact residual network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from course_utils.models.fashion import block


class ClassicNet(nn.Module):
    """The small network of PyTorch's own CIFAR-10 tutorial, in LeNet's tradition (LeCun et al. 1998): 62,006 numbers.

    Two convolutions of 5×5 without padding, each followed by pooling, then three dense layers.

    Args:
        classes: how many logits come out.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(  # (N, 3, 32, 32)
            nn.Conv2d(3, 6, 5), nn.ReLU(),  # (N, 6, 28, 28)
            nn.MaxPool2d(2),  # (N, 6, 14, 14)
            nn.Conv2d(6, 16, 5), nn.ReLU(),  # (N, 16, 10, 10)
            nn.MaxPool2d(2),  # (N, 16, 5, 5)
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(),  # (N, 400)
            nn.Linear(16 * 5 * 5, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, classes),  # logits, (N, classes)
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for float pictures (N, 3, 32, 32)."""
        return self.classifier(self.features(images))


def layer(inputs: int, outputs: int) -> nn.Sequential:
    """Return a convolution of 3×3 that keeps height and width, batch normalisation, and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class ResidualBlock(nn.Module):
    """Two layers, and a way around them: what comes in is added to what they make of it (He et al. 2015).

    Args:
        channels: in and out; height and width stay as they are.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(layer(channels, channels), layer(channels, channels))

    def forward(self, images: Tensor) -> Tensor:
        """Return a tensor of the shape of `images`, (N, channels, H, W)."""
        return images + self.layers(images)


class ResidualNet(nn.Module):
    """A residual network of few, wide layers, after David Page's *How to train your ResNet* (myrtle.ai, 2018).

    A first convolution, then one stage for each further width: convolution, pooling, normalisation and ReLU as in
    `FashionNet`, and a residual block. The mean of each channel goes into one dense layer.

    Args:
        widths: channels after the first convolution and after each stage. Three of them suit a processor, with
            `early_pool`; a GPU has time for (64, 128, 256, 512) without.
        early_pool: halve height and width right after the first convolution, so that all others have a quarter of
            the pixels.
        classes: how many logits come out.

    Raises:
        ValueError: unless there are two widths or more, each of 1 or more, and two classes or more.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128), early_pool: bool = True, classes: int = 10) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1 or classes < 2:
            raise ValueError(
                f"ResidualNet needs two widths or more, each at least 1, and classes ≥ 2, not widths={tuple(widths)}, "
                f"classes={classes}."
            )
        first, *_, last = widths
        self.stem = block(3, first) if early_pool else layer(3, first)
        self.stages = nn.Sequential(  # each halves height and width
            *(
                nn.Sequential(block(inputs, outputs), ResidualBlock(outputs))
                for inputs, outputs in itertools.pairwise(widths)
            )
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # (N, last)
        self.classifier = nn.Linear(last, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return what the dense layer sees: float32 (N, last width) for pictures (N, 3, H, W)."""
        return self.pool(self.stages(self.stem(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for float pictures (N, 3, H, W); H and W of 32, or any that the pools leave."""
        return self.classifier(self.features(images))
