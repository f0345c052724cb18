"""The networks of lesson 3, for grey pictures of 28×28: the published one, fixed, and the course's own."""

from __future__ import annotations

from torch import Tensor, nn


class PublishedNet(nn.Module):
    """The network of a widely read Fashion-MNIST tutorial: four convolutions, two poolings, three dense layers.

    Its published listing flattens to 32·5·5 = 800 numbers. On 28×28 pictures 32·2·2 = 128 arrive, so `flat`
    is 128 here; lesson 3 passes 800 to see the listing fail and finds the fix with `shape_trace`.

    Args:
        flat: how many numbers the first dense layer expects.
    """

    def __init__(self, flat: int = 32 * 2 * 2) -> None:
        super().__init__()
        self.features = nn.Sequential(  # (N, 1, 28, 28)
            nn.Conv2d(1, 16, 3), nn.ReLU(),  # (N, 16, 26, 26)
            nn.Conv2d(16, 16, 3), nn.ReLU(),  # (N, 16, 24, 24)
            nn.MaxPool2d(2),  # (N, 16, 12, 12)
            nn.Conv2d(16, 32, 5), nn.ReLU(),  # (N, 32, 8, 8)
            nn.Conv2d(32, 32, 5), nn.ReLU(),  # (N, 32, 4, 4)
            nn.MaxPool2d(2),  # (N, 32, 2, 2)
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(),  # (N, flat)
            nn.Linear(flat, 256), nn.ReLU(),
            nn.Linear(256, 128), nn.ReLU(),
            nn.Linear(128, 10),  # logits, (N, 10)
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) for float pictures (N, 1, 28, 28)."""
        return self.classifier(self.features(images))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Return one step of `FashionNet`: convolution, pooling, batch normalisation, ReLU.

    Pooling comes straight after the convolution, so that the two steps behind it touch a quarter of the numbers.
    ReLU would give the same picture before or after max pooling, because it never changes which number is largest.
    The convolution has no bias: batch normalisation subtracts the mean and adds a bias of its own.

    Args:
        inputs: channels in.
        outputs: channels out; the height and width are halved, rounded down.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class FashionNet(nn.Module):
    """Lesson 3's own network for 28×28 grey pictures: three blocks and one dense layer.

    Args:
        widths: channels after each of the three blocks.
        classes: how many logits come out.
    """

    def __init__(self, widths: tuple[int, int, int] = (16, 48, 96), classes: int = 10) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1 or classes < 2:
            raise ValueError(
                f"FashionNet needs three widths of 1 or more and classes ≥ 2, not widths={widths}, classes={classes}."
            )
        first, second, third = widths
        self.features = nn.Sequential(  # (N, 1, 28, 28)
            block(1, first),  # (N, first, 14, 14)
            block(first, second),  # (N, second, 7, 7)
            block(second, third),  # (N, third, 3, 3)
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(third * 3 * 3, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for float pictures (N, 1, 28, 28)."""
        return self.classifier(self.features(images))
