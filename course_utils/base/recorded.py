"""Where the recorded runs are: in a clone's `results/`, or beside the package where only that is installed."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from course_utils.base.lessons import find_root, lesson_number
from course_utils.errors import SettingError

DISTRIBUTION = "pixels-to-predictions"


def find(name: str, root: Path | None = None) -> Path | None:
    """Return the file `name` of `results/`, or None where there is none.

    Args:
        name: such as "03_full.json".
        root: the course's folder; found when None, and where it is not here, the installed package brings the files.
    """
    try:
        path = (root or find_root()) / "results" / name
        return path if path.exists() else None
    except SettingError:
        pass
    try:
        installed = importlib.metadata.files(DISTRIBUTION) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(file.locate()) for file in installed if file.match(f"results/{name}")]
    return next((path for path in paths if path.exists()), None)


def on_the_page(lesson: str | int, root: Path | None = None) -> dict[str, Any] | None:
    """Return the recorded run that a lesson's page shows: the full one, or the quick one where there is no other.

    None where there is none that can be read: a learner's lesson goes on without it.
    """
    for profile in ("full", "quick"):
        path = find(f"{lesson_number(lesson)}_{profile}.json", root)
        if path is not None:
            return read(path)
    return None


def read(path: Path) -> dict[str, Any] | None:
    """Return a recorded run, or None where the file cannot be read as one."""
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return recorded if isinstance(recorded, dict) and isinstance(recorded.get("figures"), dict) else None
