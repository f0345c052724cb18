"""What training keeps in memory, how large a batch may be, and how to come back after memory ran out."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.base.modules import device_of
from course_utils.errors import TrainingError
from course_utils.training.amp import Amp
from course_utils.training.guards import is_out_of_memory, out_of_memory
from course_utils.training.snapshot import restored

Result = TypeVar("Result")


@dataclass(frozen=True)
class Memory:
    """Bytes that training needs: for the network once, and for the pictures of a batch.

    weights, gradients, optimizer: for the network.
    activations: what the forward pass keeps for the backward pass.
    pictures: the batch itself.
    batch: how many pictures it holds.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    pictures: int
    batch: int

    @property
    def fixed(self) -> int:
        """What does not depend on the batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def per_picture(self) -> float:
        """What each picture of a batch adds."""
        return (self.activations + self.pictures) / self.batch

    def of(self, batch: int) -> float:
        """Return the bytes for a batch of another size."""
        return self.fixed + batch * self.per_picture

    def largest_batch(self, available: float) -> int:
        """Return how many pictures fit into `available` bytes, by this count; libraries take some space besides."""
        return max(0, int((available - self.fixed) // self.per_picture))


def training_memory(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    moments: int = 1,
    autocast: torch.dtype | None = None,
) -> Memory:
    """Count what a training step keeps, on any device, without an allocator's help.

    Args:
        model: returns logits; left as it is.
        images: float (B, C, H, W), on the model's device.
        labels: int64 (B,).
        moments: numbers that the optimizer keeps for each weight: 0 for plain SGD, 1 with momentum, 2 for Adam.
        autocast: as for `training.fit`.
    """
    learned = sum(_bytes(p) for p in model.parameters() if p.requires_grad)
    weights = sum(_bytes(value) for value in model.state_dict().values())
    kept = kept_for_backward(model, images, labels, autocast)
    return Memory(weights, learned, moments * learned, kept, _bytes(images) + _bytes(labels), len(images))


def kept_for_backward(model: nn.Module, images: Tensor, labels: Tensor, autocast: torch.dtype | None = None) -> int:
    """Return the bytes that autograd keeps after a forward pass; weights and the batch itself are not counted.

    The network and everything random are afterwards as before.
    """
    not_kept = {value.untyped_storage().data_ptr() for value in model.state_dict().values()}
    not_kept |= {images.untyped_storage().data_ptr(), labels.untyped_storage().data_ptr()}
    kept: dict[int, int] = {}  # bytes of each storage
    alive = []  # a freed tensor's address may be used again

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in not_kept:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with restored(model), hooks, Amp(device_of(model), autocast).autocast:
        F.cross_entropy(model(images), labels)
    return sum(kept.values())


def free_traceback(error: BaseException | None = None) -> None:
    """Let go of all tensors that the traceback of `error` still holds, so that the notebook can go on.

    A traceback keeps every function that was interrupted, and each function keeps its tensors: after an out-of-memory
    error nothing is free until the traceback is gone, and a notebook remembers the last one for `%debug`
    (pytorch/pytorch#27600).

    Args:
        error: the error; None for the last one that ended a cell.
    """
    errors = [error] if error is not None else [getattr(sys, name, None) for name in ("last_exc", "last_value")]
    seen: set[int] = set()
    while errors:
        each = errors.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        traceback.clear_frames(each.__traceback__)
        errors += [each.__cause__, each.__context__]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def with_smaller_batches(train: Callable[[int], Result], size: int, smallest: int = 1) -> Result:
    """Return `train(size)`; each time that memory runs out, free it and try half the size.

    Args:
        train: takes a batch size; must begin anew when it is called again.
        size: pictures in a batch at first.
        smallest: below which it is given up.

    Raises:
        TrainingError: when memory runs out even at the smallest size; it says what else to try.
    """
    while True:
        try:
            return train(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            free_traceback(error)
        if size // 2 < smallest:
            raise TrainingError(out_of_memory(size))
        print(f"Memory ran out with batches of {size}; trying {size // 2}.")
        size //= 2


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
