"""The first difference between what an answer gave and what was expected, and values in few words."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# For plain numbers, between what torch.testing asks of float32 and of float64: answers may pass through either.
RELATIVE, ABSOLUTE = 1.3e-6, 1e-7
WRITTEN_OUT = 9  # numbers: a tensor of at most a 3×3 kernel's size is written out, a larger one described
MANY = 20  # values of a list or tuple
LONGEST = 80  # characters of a value


def first_difference(got: Any, expected: Any) -> str | None:
    """Return in words where `got` first differs from `expected`, or None when it does not.

    Args:
        got: anything that a learner's function may return.
        expected: a tensor (compared as `torch.testing.assert_close` does: dtype, shape, then every value), a number,
            a text, or a tuple of these. A 0-d tensor stands for a number, and a number for a 0-d tensor.
    """
    if isinstance(expected, Tensor) and expected.ndim > 0:
        return _tensor_difference(got, expected)
    if isinstance(expected, tuple):
        return _tuple_difference(got, expected)
    got, expected = plain(got), plain(expected)
    wanted = (int, float) if isinstance(expected, float) else type(expected)
    if isinstance(got, bool) or not isinstance(got, wanted):
        return f"got {_with_kind(got)}, expected {described(expected)}, {kind(expected)}"
    if isinstance(expected, float):
        same = math.isclose(got, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    else:
        same = got == expected
    return None if same else f"got {described(got)}, expected {described(expected)}"


def _tensor_difference(got: Any, expected: Tensor) -> str | None:
    wanted = f"a {dtype(expected)} tensor of shape {tuple(expected.shape)}"
    if not isinstance(got, Tensor):
        return f"got {_with_kind(got)}, expected {wanted}"
    if got.shape != expected.shape:
        return f"got a tensor of shape {tuple(got.shape)}, expected shape {tuple(expected.shape)}"
    if got.dtype != expected.dtype:
        return f"got a tensor of dtype {dtype(got)}, expected {dtype(expected)}"
    got = got.detach().cpu().to_dense()
    if _close(got, expected):
        return None
    for place in torch.cartesian_prod(*map(torch.arange, expected.shape)).reshape(-1, expected.ndim).tolist():
        mine, theirs = got[tuple(place)], expected[tuple(place)]
        if not _close(mine, theirs):
            return f"at {place}, got {described(mine)}, expected {described(theirs)}"
    return "got a different tensor"  # equal number by number, yet refused: another layout, say


def _tuple_difference(got: Any, expected: tuple) -> str | None:
    if not isinstance(got, tuple):
        return f"got {_with_kind(got)}, expected the tuple {described(expected)}"
    if len(got) != len(expected):
        return f"got {len(got)} values, {described(got)}, expected {len(expected)}, {described(expected)}"
    for place, (mine, theirs) in enumerate(zip(got, expected)):
        difference = first_difference(mine, theirs)
        if difference:
            return f"at [{place}], {difference}"
    return None


def _close(got: Tensor, expected: Tensor) -> bool:
    try:
        torch.testing.assert_close(got, expected)
    except AssertionError:
        return False
    return True


def plain(value: Any) -> Any:
    """Return a 0-d tensor or a numpy number as Python's own number, anything else as it is."""
    if isinstance(value, Tensor):
        return value.detach().item() if value.ndim == 0 else value
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        return value.item()
    return value


def described(value: Any) -> str:
    """Return `value` in few words: a number or small tensor written out, a larger one by dtype and shape."""
    value = plain(value)
    if isinstance(value, Tensor):
        if 0 < value.numel() <= WRITTEN_OUT:
            return f"tensor({described(value.detach().tolist())})"
        return f"<{dtype(value)} tensor, shape {tuple(value.shape)}>"
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, (list, tuple)):
        if len(value) > MANY:
            return f"{kind(value)} of {len(value)} values"
        inner = ", ".join(described(each) for each in value)
        tail = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return shortened(f"[{inner}]" if isinstance(value, list) else f"({inner}{tail})")
    return "nothing (None)" if value is None else shortened(repr(value))


def _with_kind(value: Any) -> str:
    words = described(value)
    return words if value is None or words.startswith(kind(value)) else f"{words}, which is {kind(value)}"


def kind(value: Any) -> str:
    """Return the type of `value` with its article, such as `an int`."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def dtype(tensor: Tensor) -> str:
    """Return a tensor's dtype as lessons write it, such as `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def shortened(text: str) -> str:
    """Return `text` on one line, with its middle left out where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 4 :]}"
