"""A GPU for tests that has none: it counts who waits for it, and records a step as a CUDA graph would."""

from collections import Counter
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
DEVICE = torch.device("meta")  # knows shapes and types, computes nothing


LOOKS = (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.nonzero.default)


class Waits(TorchDispatchMode):
    """Counts what would make a GPU wait: values on `device` that are looked at, and copies to it and from it."""

    def __init__(self, device=DEVICE):
        super().__init__()
        self.device, self.count = torch.device(device), Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        there = bool(args) and isinstance(args[0], torch.Tensor) and args[0].device == self.device
        if there and operation in LOOKS:
            self.count["looks"] += 1
        moved = operation is aten._to_copy.default and kwargs.get("device") is not None
        if moved and torch.device(kwargs["device"]) != args[0].device:
            self.count["copies back" if there else "copies there"] += 1
            if there:
                return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return operation(*args, **kwargs)


class _Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.tape = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is aten._local_scalar_dense.default:
            raise AssertionError("A CUDA graph cannot look at a value.")
        made = operation(*args, **(kwargs or {}))
        if operation.namespace != "profiler":
            self.tape.append((operation, args, kwargs or {}, made))
        return made


def record(step, inputs, forget):
    """Stand in for `graphs.record` on the CPU: the same operations on the same memory, and no Python in between."""
    for _ in range(2):
        step(*inputs)
    forget()
    with _Recorder() as recorder:
        loss = step(*inputs)

    @torch.no_grad()
    def replay():
        for operation, args, kwargs, made in recorder.tape:
            returned = operation._schema.returns
            if returned and all(r.alias_info and not r.alias_info.is_write for r in returned):
                continue  # a view stays where it is
            again = operation(*args, **kwargs)
            if not operation._schema.is_mutable:
                for old, new in zip(tree_leaves(made), tree_leaves(again)):
                    if isinstance(old, torch.Tensor):
                        old.copy_(new)

    return replay, loss


@contextmanager
def cuda_graphs(monkeypatch):
    """Let CUDA graphs be recorded by `record` in a `with` block."""
    from course_utils.acceleration import graphs

    with monkeypatch.context() as patch:
        patch.setattr(graphs, "record", record)
        yield
