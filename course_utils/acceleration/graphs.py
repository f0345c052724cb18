"""CUDA graphs: a training step recorded once, then replayed with a single launch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.errors import SettingError
from course_utils.training.snapshot import Snapshot

Step = Callable[[Tensor, Tensor], Tensor]
WARM_UPS = 3  # as PyTorch's notes on CUDA graphs advise: libraries choose their kernels and fetch memory meanwhile


class GraphedStep:
    """A training step as a CUDA graph. Called like the step itself, with batches of exactly the same shape.

    A graph replays the same kernels on the same places in memory, so each batch is copied to where the recorded one
    lay. Numbers of Python are recorded as they were: a learning rate that changes would not be noticed.

    Args:
        step: takes pictures and labels, trains, and returns the loss; it must never look at a value on the way.
        model, optimizer: what the step changes; put back after the warm-up, so that nothing is trained twice.
        images, labels: a batch on the GPU, for its shape and layout.

    Raises:
        SettingError: when the batch is not on a CUDA device.
    """

    def __init__(
        self, step: Step, model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
    ) -> None:
        if not images.is_cuda:
            raise SettingError("CUDA graphs need an NVIDIA GPU; on the CPU call the step itself.")
        self.images, self.labels = images.clone(), labels.clone()  # clone keeps channels_last
        before = Snapshot(model, optimizer)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(images.device):
            side = torch.cuda.Stream()  # warmed up and recorded on the same one: gradients remember theirs
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    step(self.images, self.labels)
            torch.cuda.current_stream().wait_stream(side)
            optimizer.zero_grad(set_to_none=True)  # so that the graph makes the gradients, in its own memory
            with torch.cuda.graph(self.graph, stream=side, capture_error_mode="thread_local"):
                self.loss = step(self.images, self.labels)
        before.put_back_in_place()

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on a batch and return its loss; the tensor is overwritten by the next call."""
        self.images.copy_(images, non_blocking=True)
        self.labels.copy_(labels, non_blocking=True)
        self.graph.replay()
        return self.loss
