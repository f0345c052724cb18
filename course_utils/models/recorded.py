"""The network that `benchmarks/cifar10.py` trained in what two cores can do in ten minutes: its weights come along."""

from __future__ import annotations

from pathlib import Path

import torch

from course_utils.errors import DataError
from course_utils.models.cifar import ResidualNet

RECORDED_WEIGHTS = Path(__file__).resolve().parent.parent / "samples" / "cifar10_residual.safetensors"


def recorded_network() -> ResidualNet:
    """Return the recorded network of lesson 4, in evaluation mode.

    Its weights are kept as float16 and come back as float32; it expects pictures float32 (N, 3, 32, 32), normalised
    with the mean and standard deviation of the training pictures, and gives logits (N, 10) in CIFAR-10's own order.

    Raises:
        DataError: when the file is damaged or not there.
    """
    import safetensors.torch

    try:
        weights = safetensors.torch.load_file(RECORDED_WEIGHTS)
        net = ResidualNet(widths=(32, 64, 128), early_pool=True)
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise DataError(
            f"The recorded network ({RECORDED_WEIGHTS.name}) cannot be read ({error}); install the course again."
        ) from error
    return net.to(memory_format=torch.channels_last).eval()
