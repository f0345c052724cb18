"""The first difference between what an answer gave and what was expected, and values in few words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# For plain numbers, between what torch.testing asks of float32 and of float64: answers may pass through either.
RELATIVE, ABSOLUTE = 1.3e-6, 1e-7
ABSOLUTE_IN_TENSORS = 1e-5  # as torch.testing has it for float32
ROUNDING = 2 * torch.finfo(torch.float32).eps  # of the largest input: what is lost before numbers near it cancel
WRITTEN_OUT = 9  # numbers: a tensor of at most a 3×3 kernel's size is written out, a larger one described
AXES = 2  # of a tensor that is written out: of one with more axes, the shape says more
MANY = 20  # values of a list or tuple
DEEPEST = 3  # lists in lists
LONGEST = 80  # characters of a value


def first_difference(got: Any, expected: Any, *, typed: bool = False, scale: float = 0.0) -> str | None:
    """Return in words where `got` first differs from `expected`, or None when it does not. Nothing raises here.

    Lists, tuples, NumPy's arrays and tensors stand for each other, as 0-d tensors and numbers do, and any precision of
    floating-point numbers will do; whole numbers, truth values and others do not stand for each other.

    Args:
        got: anything that a learner's function may return.
        expected: a tensor, a number, a text, or a list or tuple of these.
        typed: whether the text asks for the expected tensor's dtype.
        scale: the largest number among the inputs: float32 is not exact to more than its rounding.
    """
    try:
        return _difference(got, expected, typed, ROUNDING * scale)
    except Exception:  # noqa: BLE001 - what comes back may fail at whatever is done with it
        return f"got {described(got)}, which cannot be compared with {described(expected)}"


def _difference(got: Any, expected: Any, typed: bool, rounding: float) -> str | None:
    if isinstance(expected, Tensor) and expected.ndim > 0:
        return _tensor_difference(got, expected, typed, rounding)
    if isinstance(expected, (list, tuple)):
        return _sequence_difference(got, expected, typed, rounding)
    got, expected = plain(got), plain(expected)
    wanted = (int, float) if isinstance(expected, float) else type(expected)
    if isinstance(got, bool) != isinstance(expected, bool) or not isinstance(got, wanted):
        return f"got {_with_kind(got)}, expected {described(expected)}, {kind(expected)}"
    if isinstance(expected, float):
        same = math.isclose(got, expected, rel_tol=RELATIVE, abs_tol=max(ABSOLUTE, rounding))
    else:
        same = expected.__eq__(got) is True
    return None if same else f"got {described(got)}, expected {described(expected)}"


def _tensor_difference(got: Any, expected: Tensor, typed: bool, rounding: float) -> str | None:
    wanted = f"{with_article(dtype(expected))} tensor of shape {tuple(expected.shape)}"
    try:
        mine = as_tensor(got, expected, typed)
    except (TypeError, ValueError, RuntimeError):
        values = None if typed else _values(got)
        if values is not None and len(values) != len(expected):
            along = " along the first axis" if expected.ndim > 1 else ""
            return f"got {len(values)} value{'s' * (len(values) != 1)}{along}, expected {len(expected)}"
        return f"got {_with_kind(got)}, expected {wanted}"
    if mine.shape != expected.shape:
        return f"got a tensor of shape {tuple(mine.shape)}, expected shape {tuple(expected.shape)}"
    if mine.dtype != expected.dtype and (typed or _sort(mine) != _sort(expected)):
        return f"got a tensor of dtype {dtype(mine)}, expected {dtype(expected)}"
    mine = mine.detach().cpu().to_dense()
    if expected.is_floating_point():
        close = torch.isclose(mine.double(), expected.double(), rtol=RELATIVE, atol=max(ABSOLUTE_IN_TENSORS, rounding))
    else:
        close = mine.long() == expected.long()
    if close.all():
        return None
    place = (~close).nonzero()[0].tolist()
    return f"at {place}, got {described(mine[tuple(place)])}, expected {described(expected[tuple(place)])}"


def _sequence_difference(got: Any, expected: list | tuple, typed: bool, rounding: float) -> str | None:
    values, wanted = _values(got), described(expected)
    if values is None:
        return f"got {_with_kind(got)}, expected {f'the tuple {wanted}' if isinstance(expected, tuple) else wanted}"
    if len(values) != len(expected):
        if isinstance(expected, list):
            return f"got {described(values)}, expected {wanted}"
        return (
            f"got {len(values)} value{'s' * (len(values) != 1)}, {described(got)}, expected {len(expected)}, {wanted}"
        )
    for place, (mine, theirs) in enumerate(zip(values, expected)):
        difference = _difference(mine, theirs, typed, rounding)
        if difference:
            written_out = isinstance(expected, list) and described(values) != wanted
            return f"got {described(values)}, expected {wanted}" if written_out else f"at [{place}], {difference}"
    return None


def _values(got: Any) -> Sequence[Any] | Tensor | np.ndarray | None:
    """Return what holds the values along the first axis of a list, tuple, array or tensor; None for anything else."""
    for each in (list, tuple):
        if isinstance(got, each):
            return list(each.__iter__(got))
    return got if isinstance(got, (Tensor, np.ndarray)) and got.ndim > 0 else None


def as_tensor(got: Any, like: Tensor, typed: bool = False) -> Tensor:
    """Return an array, or (unless a dtype was asked for) numbers in lists, as a tensor.

    Raises:
        TypeError, ValueError: for anything else, and for lists that differ in length from `like`.
    """
    if isinstance(got, Tensor):
        return got
    if isinstance(got, np.ndarray):
        return torch.from_numpy(np.array(got, dtype=got.dtype.newbyteorder("=")))
    if typed:
        raise TypeError
    if like.ndim:
        return torch.stack([as_tensor(mine, theirs) for mine, theirs in zip(_values(got), like, strict=True)])
    number = plain(got)
    whole = isinstance(number, bool) or not like.is_floating_point()
    return torch.tensor(number, dtype=None if whole else torch.float64)


def _sort(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "bool"
    return "float" if tensor.is_floating_point() else "complex" if tensor.is_complex() else "int"


def plain(value: Any) -> Any:
    """Return a 0-d tensor or a numpy number as Python's own number, anything else as it is."""
    if isinstance(value, Tensor):
        return value.detach().item() if value.ndim == 0 else value
    if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0:
        return value.item()
    return value


def described(value: Any, depth: int = 0) -> str:
    """Return `value`, within `depth` lists, in few words: a number or small tensor written out, a larger one named."""
    try:
        value = plain(value)
        if isinstance(value, Tensor):
            if 0 < value.numel() <= WRITTEN_OUT and value.ndim <= AXES:
                return f"tensor({described(value.detach().tolist())})"
            return f"<{dtype(value)} tensor, shape {tuple(value.shape)}>"
        if isinstance(value, float):
            return f"{value:.7g}"
        if isinstance(value, (list, tuple)):
            if len(value) > MANY:
                return f"{kind(value)} of {len(value)} values"
            inner = ", ".join(described(each, depth + 1) for each in value) if depth < DEEPEST else "…"
            tail = "," if isinstance(value, tuple) and len(value) == 1 else ""
            return shortened(f"[{inner}]" if isinstance(value, list) else f"({inner}{tail})")
        return "nothing (None)" if value is None else shortened(repr(value))
    except Exception:  # noqa: BLE001 - its __repr__ is the learner's
        return f"<{type(value).__name__}>"


def shaped(value: Any) -> str:
    """Return the shape of a tensor or array in words, for where it is the shape that is wrong; else `described`."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{'a tensor' if isinstance(value, Tensor) else 'an array'} of shape {tuple(value.shape)}"
    return described(value)


def _with_kind(value: Any) -> str:
    words = described(value)
    return words if value is None or words.startswith((kind(value), "<")) else f"{words}, which is {kind(value)}"


def kind(value: Any) -> str:
    """Return the type of `value` with its article, such as `an int`."""
    return with_article(type(value).__name__)


def with_article(name: str) -> str:
    """Return the name of a type with its article, such as `an int64` or `a uint8`."""
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"


def dtype(tensor: Tensor) -> str:
    """Return a tensor's dtype as lessons write it, such as `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def shortened(text: str) -> str:
    """Return `text` on one line that can be printed, with its middle left out where it is long."""
    text = " ".join(text.split()).encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 4 :]}"
