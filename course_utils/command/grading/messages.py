"""What an answer returned, as bytes: JSON for the structure, raw numbers for tensors; nothing is ever unpickled.

Both sides hold the same arguments (the judge has sent them), so whatever the answer returns or changes is described by
reference to these, by their places in `arguments.things_in`. Beyond plain data, tensors and arrays, a module of
PyTorch or of the course and an optimizer can be new: the judge builds it again from its settings and numbers, so what
runs there is PyTorch's code. So can a network of a learner's own class, see `networks`. Anything else arrives as a
`Foreign` object: a type and a text.

A message carries data and how far the answer came (`STOPPED`), never a verdict.
"""

from __future__ import annotations

import inspect
import json
import math
import struct
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.command.grading.arguments import HELD, is_modules_own, own_settings
from course_utils.command.grading.networks import Own, steps_of
from course_utils.exercises.differences import described

MOST_BYTES = 200_000_000  # of one message
MOST_HEAD = 20_000_000  # of these for its structure: a byte of JSON can become thirty bytes of objects
DEEPEST = 60  # containers within containers
TRUSTED = ("torch.nn.modules.", "torch.optim.", "torchvision.", "course_utils.")  # whose classes may be rebuilt
STOPPED = ("blank", "missing", "no function")  # why an answer was not called
LONGEST = 500  # characters of a text
LONGEST_NUMBER = 10_000  # bits of a whole number; Python itself reads no more than 4,300 digits
SEVERAL = {kind.__name__: kind for kind in (list, tuple, set, frozenset)}
# What a tensor from an answer may hold; PyTorch itself breaks down at some of the others.
NUMBERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
           torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
           torch.complex128)  # fmt: skip
DTYPES = {str(each): each for each in vars(torch).values() if isinstance(each, torch.dtype)}


class MessageError(Exception):
    """Bytes that are not a message, or more of them than a message may have."""


class Foreign:
    """Stands for something that plain data cannot describe: its type's name, and how it prints."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class Writer:
    """Makes the bytes of one message; `things` are those of the judge, in its order."""

    def __init__(self, things: list[Any]) -> None:
        self.things = things
        self.numbers = {id(thing): number for number, thing in enumerate(things)}
        self.parts: list[bytes] = []
        self.inside = 0  # a network of the learner's own class

    def message(self, what: dict[str, Any], result: Any = None, *, with_changes: bool = False) -> bytes:
        """Return the bytes of `what` (JSON), a result, and what has become of the arguments."""
        what = {**what, "result": self.node(result)}
        if with_changes:
            what["changes"] = [self.state(thing) for thing in self.things]
        head = json.dumps({**what, "sizes": [len(part) for part in self.parts]}).encode()
        return b"".join((struct.pack("<Q", len(head)), head, *self.parts))

    def node(self, value: Any, depth: int = 0) -> Any:
        """Return `value` as JSON can hold it; what the arguments consist of becomes references."""
        if id(value) in self.numbers:
            return {"k": "known", "n": self.numbers[id(value)]}
        return self.written_out(value, depth)

    def written_out(self, value: Any, depth: int = 0) -> Any:
        """Return `value` written out, although it may be one of the arguments."""
        of = type(value)
        numbers = isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc"
        if value is None or (isinstance(value, (str, float)) and not numbers):
            return value  # as plain as they are, NumPy's texts and a class of texts too
        if isinstance(value, int) and value.bit_length() <= LONGEST_NUMBER:
            return value
        if value is Ellipsis:
            return {"k": "dots"}
        if depth > DEEPEST:
            return self.foreign(value)
        if isinstance(value, Tensor):
            try:
                return self.tensor(value, depth)
            except (RuntimeError, TypeError):  # one without numbers, say, or of a layout that has no bytes
                return self.foreign(value)
        if numbers:
            array = np.array(value)  # a copy in the machine's byte order
            node = self.tensor(torch.from_numpy(array.astype(array.dtype.newbyteorder("="))), depth)
            return {"k": "array", "v": node, "scalar": isinstance(value, np.generic)}
        for kind in SEVERAL.values():
            if isinstance(value, kind):
                return {"k": kind.__name__, "v": [self.node(each, depth + 1) for each in value]}
        if isinstance(value, dict) and all(isinstance(key, (str, int)) for key in value):
            return {"k": "dict", "v": [[key, self.node(each, depth + 1)] for key, each in value.items()]}
        if of in DTYPES_OF:
            return {"k": of.__name__, "v": str(value)}
        if isinstance(value, nn.Module) and of.__module__.startswith(TRUSTED):
            return {"k": "module", "class": [of.__module__, of.__qualname__], "v": self.settings(value, depth + 1)}
        if isinstance(value, nn.Module) and of.__name__.isidentifier():
            steps = steps_of(value) if not self.inside else []  # of the whole; what is in it is a place for layers
            if steps is not None:
                self.inside += 1
                settings = {**self.settings(value, depth + 1), "own": [["training", value.training]]}
                self.inside -= 1
                return {"k": "own", "type": of.__name__, "v": settings, "steps": steps}
        if isinstance(value, torch.optim.Optimizer) and of.__module__.startswith(TRUSTED):
            node = {"defaults": self.node(value.defaults, depth + 1), "v": self.optimizer(value, depth + 1)}
            return {"k": "optimizer", "class": [of.__module__, of.__qualname__], **node}
        return self.foreign(value)

    def foreign(self, value: Any) -> Any:
        """Return a node for something that plain data cannot describe."""
        try:
            text = described(value)
        except Exception:  # noqa: BLE001 - its __repr__ is the learner's
            text = f"<{type(value).__name__}>"
        about = {"callable": callable(value), "network": isinstance(value, nn.Module)}
        return {"k": "foreign", "type": type(value).__name__, "text": text[:300], **about}

    def tensor(self, value: Tensor, depth: int) -> Any:
        """Return a node for a tensor, whose numbers become a part of the message."""
        plain = value.detach().cpu().to_dense().resolve_conj().resolve_neg().contiguous()
        self.parts.append(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
        gradient = value.grad if value.is_leaf else None
        return {
            "k": "tensor",
            "dtype": str(plain.dtype),
            "shape": list(plain.shape),
            "part": len(self.parts) - 1,
            "requires_grad": value.requires_grad,
            "parameter": isinstance(value, nn.Parameter),
            "grad": None if gradient is None else self.written_out(gradient, depth + 1),
        }

    def settings(self, thing: nn.Module, depth: int = 0) -> Any:
        """Return the attributes of a module, with all that is in it."""
        parts = {key: list(vars(thing)[key].items()) for key in HELD} | {"own": list(own_settings(thing).items())}
        return {key: [[name, self.node(value, depth)] for name, value in pairs] for key, pairs in parts.items()}

    def optimizer(self, thing: torch.optim.Optimizer, depth: int = 0) -> Any:
        """Return an optimizer's groups and what it remembers of each parameter."""
        groups = [self.written_out(dict(group), depth) for group in thing.param_groups]
        state = [[self.node(key, depth), self.written_out(dict(value), depth)] for key, value in thing.state.items()]
        return {"groups": groups, "state": state}

    def state(self, thing: Any) -> Any:
        """Return what is inside a thing of the arguments now; None for one that cannot change or is not followed."""
        if isinstance(thing, torch.optim.Optimizer):
            return self.optimizer(thing)
        if isinstance(thing, nn.Module):
            return self.settings(thing)
        return self.written_out(thing) if isinstance(thing, (Tensor, list, dict, set)) else None


DTYPES_OF = (torch.dtype, torch.device)


class Reader:
    """Reads one message; everything in it is checked, for it may come from a hostile answer.

    `stopped` is one of `STOPPED` when the answer was not called, else an empty text; `raised` lists the names of an
    exception's classes, the nearest first, and is empty when none was raised.
    """

    def __init__(self, content: bytes, things: list[Any], foreign: Callable[[dict[str, Any]], Any]) -> None:
        self.things, self.make_foreign = things, foreign
        try:
            size = struct.unpack_from("<Q", content)[0]
            if size > MOST_HEAD:
                raise ValueError("a structure too large to take apart")
            self.what = json.loads(content[8 : 8 + size])
            sizes = [int(each) for each in self.what["sizes"]]
            if min(sizes, default=0) < 0 or 8 + size + sum(sizes) != len(content):
                raise ValueError("sizes that are not those of the content")
            self.parts, start = [], 8 + size
            for length in sizes:
                self.parts.append(bytearray(content[start : start + length]))
                start += length
            self.stopped, raised = self.what.get("stopped", ""), self.what.get("raised", [])
            named = isinstance(raised, list) and all(map(str.isidentifier, raised))
            if self.stopped not in ("", *STOPPED) or not named:
                raise ValueError("another word, or names that are none")
            self.raised = [name[:LONGEST] for name in raised]
        except (struct.error, ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
            raise MessageError("what came back from the answer cannot be read") from error

    def text(self, key: str) -> str:
        """Return a text of the message, at most `LONGEST` characters of it; empty when there is none."""
        return str(self.what.get(key, ""))[:LONGEST]

    def result(self) -> Any:
        """Return what the answer returned, after carrying over what it changed.

        Raises:
            MessageError: when the message makes no sense.
        """
        try:
            for thing, state in zip(self.things, self.what.get("changes") or ()):
                self.change(thing, state)
            return self.value(self.what["result"])
        except MessageError:
            raise
        except Exception as error:  # a forged message may fail anywhere
            raise MessageError("what came back from the answer cannot be read") from error

    def value(self, node: Any) -> Any:
        """Return the value that `node` describes."""
        if not isinstance(node, dict):
            return node
        k = node["k"]
        if k == "known":
            return self.things[node["n"]]
        if k in SEVERAL:
            return SEVERAL[k](self.value(each) for each in node["v"])
        if k == "dict":
            return {key: self.value(each) for key, each in node["v"]}
        if k == "tensor":
            return self.tensor(node)
        if k == "array":
            array = self.tensor(node["v"]).numpy()
            return array[()] if node["scalar"] else array
        if k in ("module", "optimizer"):
            return self.built(node)
        if k == "own":
            thing = type(str(node["type"])[:LONGEST], (Own,), {"steps": node["steps"]})()
            self.change(thing, node["v"])
            return thing
        if k == "foreign":
            # Only what the answer itself returned can be called again.
            return self.make_foreign(node if node is self.what["result"] else {**node, "callable": False})
        simple = {
            "dots": lambda v: ...,
            "dtype": DTYPES.__getitem__,
            "device": torch.device,
        }
        return simple[k](node.get("v"))

    def tensor(self, node: dict[str, Any]) -> Tensor:
        """Return a new tensor (or parameter) from its part of the message."""
        numbers, dtype = self.parts[node["part"]], DTYPES[node["dtype"]]
        if dtype not in NUMBERS:
            raise MessageError(f"what came back from the answer is a tensor of {dtype}, which cannot be judged")
        shape = [int(side) for side in node["shape"]]
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(numbers):
            raise MessageError("what came back from the answer does not have the size it claims")
        made = torch.frombuffer(numbers, dtype=dtype).reshape(shape) if numbers else torch.empty(shape, dtype=dtype)
        learns = bool(node["requires_grad"]) and (dtype.is_floating_point or dtype.is_complex)
        made = nn.Parameter(made, requires_grad=learns) if node["parameter"] else made.requires_grad_(learns)
        if node["grad"]:
            made.grad = self.tensor(node["grad"])
        return made

    def built(self, node: dict[str, Any]) -> Any:
        """Return a new module or optimizer of one of the trusted classes, without running what an answer wrote."""
        module, name = node["class"]
        kind = nn.Module if node["k"] == "module" else torch.optim.Optimizer
        made = getattr(sys.modules.get(module), name, None)
        if not module.startswith(TRUSTED) or not isinstance(made, type) or not issubclass(made, kind):
            raise MessageError(f"what came back from the answer claims to be a {name}")
        if kind is nn.Module:
            thing = made.__new__(made)
            nn.Module.__init__(thing)
        else:
            parameters = [{"params": self.value(group)["params"]} for group in node["v"]["groups"]]
            wanted = inspect.signature(made).parameters  # some keep more among their defaults than they take
            defaults = self.value(node["defaults"])
            thing = made(parameters, **{key: value for key, value in defaults.items() if key in wanted})
        self.change(thing, node["v"])
        return thing

    def change(self, thing: Any, state: Any) -> None:
        """Make `thing` what `state` says."""
        if state is None or (isinstance(state, dict) and state.get("k") == "foreign"):
            return
        if isinstance(thing, torch.optim.Optimizer):
            thing.param_groups[:] = [self.value(group) for group in state["groups"]]
            thing.state = defaultdict(dict, {self.value(key): self.value(value) for key, value in state["state"]})
        elif isinstance(thing, nn.Module):
            for key, kind in zip(HELD, (nn.Parameter, Tensor, nn.Module)):
                new = [(str(name), self.value(node)) for name, node in state[key]]
                if not all(each is None or isinstance(each, kind) for _, each in new):
                    raise MessageError("what came back from the answer has a part that is not PyTorch's own")
                vars(thing)[key].clear()
                vars(thing)[key].update(new)
            self.set_attributes(thing, state["own"])
        elif isinstance(thing, Tensor):
            self.change_tensor(thing, self.tensor(state), state)
        elif isinstance(thing, list):
            thing[:] = self.value(state)
        elif isinstance(thing, (dict, set)):
            new = self.value(state)
            thing.clear()
            thing.update(new)

    def set_attributes(self, thing: nn.Module, pairs: list[Any]) -> None:
        """Set what was described; anything else stays as it was. What its class does cannot be covered up."""
        for key, node in pairs:
            if is_modules_own(key) or callable(getattr(type(thing), key, None)):
                raise MessageError(f"what came back from the answer has {key} replaced")
            if not (isinstance(node, dict) and node["k"] == "foreign" and key in vars(thing)):
                value = self.value(node)
                if isinstance(value, nn.Module):  # PyTorch would hold it among its modules, where it counts
                    raise MessageError("what came back from the answer has a hidden network")
                vars(thing)[key] = value

    @staticmethod
    def change_tensor(thing: Tensor, new: Tensor, state: dict[str, Any]) -> None:
        """Copy its numbers, its gradient, and whether it learns."""
        with torch.no_grad():
            if thing.shape == new.shape and thing.dtype == new.dtype:
                if not torch.equal(thing, new):  # several numbers of an expanded tensor lie in one place
                    thing.copy_(new.detach())
            else:
                thing.data = new.detach()
        if thing.is_leaf:
            thing.requires_grad_(bool(state["requires_grad"]) and new.requires_grad)
            thing.grad = None if new.grad is None else new.grad
