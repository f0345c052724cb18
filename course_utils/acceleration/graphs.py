"""CUDA graphs: a training step recorded once, then replayed with a single launch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from course_utils.errors import SettingError
from course_utils.training.snapshot import Snapshot

Step = Callable[[Tensor, Tensor], Tensor]
WARM_UPS = 3  # as PyTorch's notes on CUDA graphs advise: libraries choose their kernels and fetch memory meanwhile


class GraphedStep:
    """A training step as a CUDA graph. Called like the step itself, with batches of exactly the same shape.

    A graph replays the same kernels on the same places in memory, so each batch is copied to where the recorded one
    lay. Numbers of Python are recorded as they were: a learning rate that changes has to be a tensor.

    Args:
        step: takes pictures and labels, trains, and returns the loss; it must never look at a value on the way.
        model, optimizer: what the step changes, one optimizer or several; put back after the warm-up, so that nothing
            is trained twice.
        images, labels: a batch on the GPU, for its shape and layout.

    Raises:
        SettingError: when the batch is not on a CUDA device.
    """

    def __init__(
        self,
        step: Step,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer],
        images: Tensor,
        labels: Tensor,
    ) -> None:
        optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
        self.images, self.labels = images.clone(), labels.clone()  # clone keeps channels_last
        before = Snapshot(model, *optimizers)

        def forget() -> None:
            for each in optimizers:
                each.zero_grad(set_to_none=True)  # so that the graph makes the gradients, in its own memory

        self.replay, self.loss = record(step, (self.images, self.labels), forget)
        before.put_back_in_place()

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on a batch and return its loss; the tensor is overwritten by the next call."""
        self.images.copy_(images, non_blocking=True)
        self.labels.copy_(labels, non_blocking=True)
        self.replay()
        return self.loss


def record(step: Step, inputs: tuple[Tensor, Tensor], forget: Callable[[], None]) -> tuple[Callable[[], None], Tensor]:
    """Warm a step up and record it; `forget` is called in between.

    Returns:
        A function that does everything the step does, on the same memory, and the loss that it leaves behind.

    Raises:
        SettingError: when the inputs are not on a CUDA device.
    """
    if not inputs[0].is_cuda:
        raise SettingError("CUDA graphs need an NVIDIA GPU; on the CPU call the step itself.")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(inputs[0].device):
        side = torch.cuda.Stream()  # warmed up and recorded on the same one: gradients remember theirs
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                step(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        forget()
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            loss = step(*inputs)
    return graph.replay, loss
