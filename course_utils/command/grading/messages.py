"""What an answer returned, as bytes: JSON for the structure, raw numbers for tensors; nothing is ever unpickled.

Both sides hold the same arguments (one process is a copy of the other), so whatever the answer returns or changes is
described by reference to these, which `arguments.Table` numbers. Beyond plain data, tensors and arrays, a module of
PyTorch or of the course and an optimizer can be new. Anything else arrives as a `Foreign` object: a type and a text.
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

from course_utils.command.grading.arguments import Table, has_settings
from course_utils.exercises.differences import described

MOST_BYTES = 200_000_000  # of one message
DEEPEST = 60  # containers within containers
TRUSTED = ("torch.nn.modules.", "torch.optim.", "torchvision.", "course_utils.")  # whose classes may be rebuilt
MODULE_PARTS = frozenset(vars(nn.Module()))  # "_parameters", hooks and so on: no settings
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
    """Makes the bytes of one message."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.parts: list[bytes] = []

    def message(self, what: dict[str, Any], result: Any = None, *, with_changes: bool = False) -> bytes:
        """Return the bytes of `what` (JSON), a result, and what has become of the arguments."""
        what = {**what, "result": self.node(result)}
        if with_changes:
            what["changes"] = [self.state(thing) for thing in self.table.things]
            what["random"] = self.node(torch.get_rng_state())
        head = json.dumps({**what, "sizes": [len(part) for part in self.parts]}).encode()
        return b"".join((struct.pack("<Q", len(head)), head, *self.parts))

    def node(self, value: Any, depth: int = 0) -> Any:
        """Return `value` as JSON can hold it; things of the table become references."""
        if id(value) in self.table.numbers:
            return {"k": "known", "n": self.table.numbers[id(value)]}
        return self.written_out(value, depth)

    def written_out(self, value: Any, depth: int = 0) -> Any:
        """Return `value` written out, although the table may know it."""
        of = type(value)
        if value is None or of in (bool, str) or (of is int and abs(value) < 2**63):
            return value
        if of is float:
            return value if math.isfinite(value) else {"k": "float", "v": repr(value)}
        if of is int:
            return {"k": "int", "v": hex(value)[:10_000]}
        if value is Ellipsis:
            return {"k": "dots"}
        if depth > DEEPEST:
            return self.foreign(value)
        if isinstance(value, Tensor):
            try:
                return self.tensor(value, depth)
            except (RuntimeError, TypeError):  # one without numbers, say, or of a layout that has no bytes
                return self.foreign(value)
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
            array = np.array(value)  # a copy in the machine's byte order
            node = self.tensor(torch.from_numpy(array.astype(array.dtype.newbyteorder("="))), depth)
            return {"k": "array", "v": node, "scalar": isinstance(value, np.generic)}
        if isinstance(value, (list, tuple)):
            return {"k": "list" if isinstance(value, list) else "tuple", "v": [self.node(v, depth + 1) for v in value]}
        if isinstance(value, dict) and all(isinstance(key, (str, int)) for key in value):
            return {"k": "dict", "v": [[key, self.node(each, depth + 1)] for key, each in value.items()]}
        if of in DTYPES_OF:
            return {"k": of.__name__, "v": str(value)}
        if isinstance(value, nn.Module) and of.__module__.startswith(TRUSTED):
            return {"k": "module", "class": [of.__module__, of.__qualname__], "v": self.settings(value, depth + 1)}
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

    def settings(self, thing: Any, depth: int = 0) -> Any:
        """Return the attributes of a module or another thing, in a module's case with all that is in it."""
        if not isinstance(thing, nn.Module):
            return [[key, self.node(value, depth)] for key, value in vars(thing).items()]
        inside = {key: list(vars(thing)[key].items()) for key in ("_parameters", "_buffers", "_modules")}
        own = [(key, value) for key, value in vars(thing).items() if key not in MODULE_PARTS or key == "training"]
        parts = {**inside, "own": own}
        return {key: [[name, self.node(value, depth)] for name, value in pairs] for key, pairs in parts.items()}

    def optimizer(self, thing: torch.optim.Optimizer, depth: int = 0) -> Any:
        """Return an optimizer's groups and what it remembers of each parameter."""
        groups = [self.written_out(dict(group), depth) for group in thing.param_groups]
        state = [[self.node(key, depth), self.written_out(dict(value), depth)] for key, value in thing.state.items()]
        return {"groups": groups, "state": state}

    def state(self, thing: Any) -> Any:
        """Return what is inside a thing of the table now; None for one that cannot change or is not followed."""
        if isinstance(thing, torch.optim.Optimizer):
            return self.optimizer(thing)
        if has_settings(thing):
            return self.settings(thing)
        return self.written_out(thing) if isinstance(thing, (Tensor, list, dict)) else None


DTYPES_OF = (torch.dtype, torch.device)


class Reader:
    """Reads one message; everything in it is checked, for it may come from a hostile answer."""

    def __init__(self, content: bytes, table: Table, foreign: Callable[[dict[str, Any]], Any]) -> None:
        self.table, self.make_foreign = table, foreign
        try:
            size = struct.unpack_from("<Q", content)[0]
            self.what = json.loads(content[8 : 8 + size])
            self.parts, start = [], 8 + size
            for length in self.what["sizes"]:
                self.parts.append(bytearray(content[start : start + length]))
                start += length
        except (struct.error, ValueError, TypeError, LookupError, RecursionError) as error:
            raise MessageError("what came back from the answer cannot be read") from error

    def result(self) -> Any:
        """Return what the answer returned, after carrying over what it changed.

        Raises:
            MessageError: when the message makes no sense.
        """
        try:
            for thing, state in zip(self.table.things, self.what.get("changes") or ()):
                self.change(thing, state)
            if self.what.get("random"):
                torch.set_rng_state(self.value(self.what["random"]))
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
            return self.table.things[node["n"]]
        if k in ("list", "tuple"):
            values = [self.value(each) for each in node["v"]]
            return values if k == "list" else tuple(values)
        if k == "dict":
            return {key: self.value(each) for key, each in node["v"]}
        if k == "tensor":
            return self.tensor(node)
        if k == "array":
            array = self.tensor(node["v"]).numpy()
            return array[()] if node["scalar"] else array
        if k in ("module", "optimizer"):
            return self.built(node)
        if k == "foreign":
            return self.make_foreign(node)
        simple = {
            "dots": lambda v: ...,
            "int": lambda v: int(v, 16),
            "float": float,
            "dtype": DTYPES.__getitem__,
            "device": torch.device,
        }
        return simple[k](node.get("v"))

    def tensor(self, node: dict[str, Any]) -> Tensor:
        """Return a new tensor (or parameter) from its part of the message."""
        numbers, dtype = self.parts[node["part"]], DTYPES[node["dtype"]]
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
            for key in ("_parameters", "_buffers", "_modules"):
                vars(thing)[key].clear()
                vars(thing)[key].update((name, self.value(node)) for name, node in state[key])
            self.set_attributes(thing, state["own"])
        elif isinstance(thing, Tensor):
            self.change_tensor(thing, self.tensor(state), state)
        elif isinstance(thing, list):
            thing[:] = self.value(state)
        elif isinstance(thing, dict):
            new = self.value(state)
            thing.clear()
            thing.update(new)
        else:
            self.set_attributes(thing, state)

    def set_attributes(self, thing: Any, pairs: list[Any]) -> None:
        """Set what was described; anything else stays as it was."""
        for key, node in pairs:
            if not (isinstance(node, dict) and node["k"] == "foreign" and key in vars(thing)):
                vars(thing)[key] = self.value(node)

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
