"""What a lesson needs around it: each lesson's first cell calls `prepare`, on Colab, on Binder and at home."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.base.recorded import DISTRIBUTION
from course_utils.errors import CourseError

if TYPE_CHECKING:
    from packaging.requirements import Requirement


class PrepareError(CourseError):
    """A package that the course needs could not be installed."""


def prepare() -> None:
    """Install what the course needs and this Python lacks, and say so; where nothing is missing, do nothing.

    No package that is already here is replaced, neither by a newer nor by an older one: a running kernel may have it
    loaded, and would then work with two versions at once. One that is older or newer than the course wants is named.

    Raises:
        PrepareError: when pip cannot install something.
    """
    missing, unfit = check()
    if missing:
        install(missing)
        print(
            f"Installed for the course in {place()}: {', '.join(str(need) for need in missing)}. Nothing was replaced."
        )
    for sentence in unfit:
        print(sentence)


def place() -> str:
    """Return where this Python runs, in words: "Colab", "Binder" or "this environment"."""
    if "COLAB_RELEASE_TAG" in os.environ:
        return "Colab"
    return "Binder" if "BINDER_SERVICE_HOST" in os.environ else "this environment"


def needs(extra: str = "") -> list[Requirement]:
    """Return what the course needs on this system, or what one of its extras adds to that, such as "lab"."""
    from packaging.requirements import Requirement

    def asked(need: Requirement, extra: str) -> bool:
        return need.marker is None or need.marker.evaluate({"extra": extra})

    try:
        found = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:  # used from its folder without being installed: its owner knows
        return []
    return [need for need in found if asked(need, extra) and not (extra and asked(need, ""))]


def check(extra: str = "") -> tuple[list[Requirement], list[str]]:
    """Return what of `needs` is missing here, and a sentence on each that is here in a version outside its range.

    Only what is installed counts; nothing is imported.
    """
    missing, unfit = [], []
    for need in needs(extra):
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            missing.append(need)
            continue
        if not need.specifier.contains(version, prereleases=True):
            unfit.append(
                f"{need.name} {version} is installed, but the course was made for {need.name} {need.specifier}: "
                "if something fails, install that and restart the kernel."
            )
    return missing, unfit


def install(missing: list[Requirement]) -> None:
    """Install packages with pip, and keep every installed package at its version.

    Raises:
        PrepareError: when pip fails; its output is in the message.
    """
    held = {f"{package.name}=={package.version}" for package in metadata.distributions() if package.name}
    held = {line for line in held if not line.lower().startswith(DISTRIBUTION)}
    with tempfile.TemporaryDirectory(prefix="course-") as folder:
        constraints = Path(folder) / "held.txt"
        constraints.write_text("\n".join(sorted(held)), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--constraint", str(constraints), *map(str, missing)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise PrepareError(
            f"pip could not install {', '.join(need.name for need in missing)}, which the course needs "
            f"({' '.join(said).rstrip('.')}); switch the network on if it is off (on Kaggle: Settings, Internet), or "
            "install it yourself and restart the kernel, then run this cell again."
        )
    importlib.invalidate_caches()
