"""What a learner has solved, kept between restarts in `progress.json` of the folder that COURSE_WORK names."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from course_utils.base.files import replace_file

WORK = "COURSE_WORK"  # environment variable, set by `course lab`: the folder of the learner's own copies


def note(lesson: str, name: str, right: bool) -> None:
    """Keep that a question was tried; one that was right once stays so.

    Nothing happens without COURSE_WORK, nor where its folder cannot be written: no check fails for a lack of space.

    Args:
        lesson: its number, such as "01".
        name: of an exercise, such as "from_hex", or of a quiz question, such as "quiz 1".
        right: whether the answer was right.
    """
    path = _path()
    if path is None:
        return
    known = read()
    before = known.setdefault(lesson, {})
    if before.get(name) in (True, right):
        return
    before[name] = right
    with suppress(OSError):
        replace_file(path, json.dumps(known, indent=1, sort_keys=True) + "\n")


def read() -> dict[str, dict[str, bool]]:
    """Return what was tried, by lesson and name, and whether it was right; empty where nothing is kept or readable."""
    path = _path()
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return {
            lesson: {name: right for name, right in tried.items() if isinstance(right, bool)}
            for lesson, tried in kept.items()
            if isinstance(tried, dict)
        }
    except (OSError, ValueError, AttributeError, RecursionError):  # no such file yet, or not one of ours
        return {}


def _path() -> Path | None:
    folder = os.environ.get(WORK, "").strip()
    return Path(folder) / "progress.json" if folder else None
