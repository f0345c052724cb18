"""What training keeps in memory, how large a batch may be, and how to come back after memory ran out."""

from __future__ import annotations

import gc
import sys
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@dataclass
class Kept:
    """Bytes that autograd keeps for the backward pass: `now`, and the most at once so far."""

    now: int = 0
    most: int = 0


class _Holder:
    """Keeps a tensor for autograd; when it goes, the tensor is no longer kept."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@contextmanager
def keeping(model: nn.Module, *given: Tensor) -> Iterator[Kept]:
    """Count, on any device, what autograd keeps for the backward pass within a `with` block.

    A block that `torch.utils.checkpoint` computes again counts with its input only: what is kept of it for a moment,
    during the backward pass, is not seen.

    Args:
        model: whose weights and buffers are not counted: they are there anyway.
        given: other tensors that are there anyway, such as the batch.
    """
    there = [*model.state_dict().values(), *given]
    ignored = {value.untyped_storage().data_ptr() for value in there}
    kept, holders = Kept(), Counter()

    def pack(tensor: Tensor) -> Tensor | _Holder:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address in ignored:
            return tensor
        holders[address] += 1
        if holders[address] == 1:
            kept.now += size
            kept.most = max(kept.most, kept.now)

        def release() -> None:
            holders[address] -= 1
            if not holders[address]:
                kept.now -= size

        holder = _Holder(tensor.detach())  # else an output would keep its graph, which keeps the output: for ever
        weakref.finalize(holder, release)
        return holder

    def unpack(packed: Tensor | _Holder) -> Tensor:
        return packed.tensor if isinstance(packed, _Holder) else packed

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield kept


def kept_for_backward(model: nn.Module, images: Tensor, labels: Tensor, autocast: torch.dtype | None = None) -> int:
    """Return the bytes that autograd keeps after a forward pass; weights and the batch itself are not counted.

    The network and everything random are afterwards as before.
    """
    with restored(model), keeping(model, images, labels) as kept, Amp(device_of(model), autocast).autocast:
        F.cross_entropy(model(images), labels)
    return kept.most


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
