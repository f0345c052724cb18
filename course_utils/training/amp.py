"""Automatic mixed precision: what computing in 16 bits adds to the five lines of a training step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


class Amp:
    """The context for the forward pass, and the scaler that keeps float16's small gradients from becoming zero.

    Args:
        device: where the network is.
        dtype: `torch.bfloat16` or `torch.float16`; None to compute as the weights are, which changes nothing.

    Raises:
        ValueError: for another one.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype | None = None) -> None:
        if dtype not in (None, torch.bfloat16, torch.float16):
            raise ValueError(
                f"autocast must be torch.bfloat16 or torch.float16, not {dtype!r}; leave it out to compute as the "
                "weights are."
            )
        self.autocast: AbstractContextManager = nullcontext() if dtype is None else torch.autocast(device.type, dtype)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        self.scale: float | None = None  # after the last step

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss that gradients are computed from: times the scale in float16, else the loss itself."""
        return self.scaler.scale(loss)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Let the optimizer take its step.

        Returns:
            Whether it did: float16's scaler leaves out a step whose gradients overflowed, and lowers its scale.
        """
        if not self.scaler.is_enabled():
            optimizer.step()
            return True
        if self.scale is None:
            self.scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        before, self.scale = self.scale, self.scaler.get_scale()  # a GPU waits for each look at the scale: one a step
        return self.scale >= before
