"""Words and numbers for readers: did you mean …?, and one form for shares and for times."""

from __future__ import annotations

import difflib
import math
import re
import textwrap
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from course_utils.errors import WIDTH

NO_BREAK = "\N{NO-BREAK SPACE}"


def closest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'epochs'?" when something in `known` is close to `name`, else an empty text."""
    match = nearest(name, known)
    return "" if match is None else f"; did you mean {match!r}?"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return what in `known` is closest to `name`; None where nothing is close."""
    match = difflib.get_close_matches(name, [str(item) for item in known], n=1)
    return match[0] if match else None


def few(names: Iterable[str], most: int = 3) -> str:
    """Return at most so many names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def short(text: str, most: int) -> str:
    """Return a text with at most so many letters, the last one … where it is cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a reader sees it everywhere in the course: 0.9214 as "92.1 %"."""
    return in_form(float(share), f".{digits}%")  # a tensor of one number too


def part(share: float) -> str:
    """Return a share in whole per cent; "<1 %" for one that rounding would make nothing."""
    return "<1 %" if 0 < share <= 0.005 else percent(share, 0)


def sure(share: float) -> str:
    """Return how sure a network is in whole per cent, as `part`; "over 99 %" for all above that but 1 itself."""
    return "over 99 %" if 0.99 < share < 1 else part(share)


def duration(seconds: float) -> str:
    """Return a time as one says it: 45 s, 3 min 20 s, 1 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def written_loss(value: float) -> str:
    """Return a loss with two decimals; one that went out of hand, from 10,000 on, as in 1.4e+11."""
    return f"{value:.2f}" if value < 10_000 else f"{value:.2g}"


def signed(value: float, form: str = ".4g") -> str:
    """Return a number with a proper minus sign, and never as −0."""
    text = format(value, form).replace("-", "−")
    return text if float(text.replace("−", "-").replace(",", "")) else text.replace("−", "")


def in_form(value: Any, form: str, space: str = " ") -> str:
    """Return `value` formatted as `form` says, with a proper minus sign (none on zero), and `space` before a %.

    A share is rounded as a reader would round its shortest digits: 0.2875 is 28.8 %, though in binary it is a little
    less than that.

    Raises:
        ValueError, TypeError: for a form that is none, or does not suit the value.
    """
    if form.endswith("%") and isinstance(value, float) and math.isfinite(value):
        value = Decimal(repr(float(value)))
    with localcontext() as school:
        school.rounding = ROUND_HALF_UP
        text = format(value, form)
    if not isinstance(value, str) and text.startswith("-"):
        text = f"−{text[1:]}" if re.search("[1-9]", text) else text[1:]  # nothing has no sign
    return f"{text[:-1]}{space}%" if form.endswith("%") else text


def fitted(text: str) -> str:
    """Return `text` in lines that fit on the page."""
    return "\n".join(textwrap.fill(line, WIDTH, break_on_hyphens=False) for line in text.split("\n"))
