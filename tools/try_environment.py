"""Run the course in another environment: with Colab's published versions, or with the oldest that it allows.

    python tools/try_environment.py colab
    python tools/try_environment.py oldest 1 2 --profile quick

Makes build/colab or build/oldest anew when its versions have changed (some minutes, and some gigabytes), with the
Python that goes with it where there is one, and passes what follows to `course run`, whose exit code it has.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from make_environment import oldest

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = {"colab": "3.13", "oldest": "3.10"}


def versions(name: str) -> str:
    """Return the exact versions of an environment, as constraints for pip."""
    return (ROOT / "tools" / "colab.txt").read_text(encoding="utf-8") if name == "colab" else "\n".join(oldest())


def make(name: str, folder: Path, python: str | None = None) -> Path:
    """Make an environment in `folder`, unless it is there with these versions; return its folder of programs."""
    wanted, noted = versions(name), folder / "versions.txt"
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    if not noted.exists() or noted.read_text(encoding="utf-8") != wanted:
        python = python or shutil.which(f"python{PYTHONS[name]}") or sys.executable
        print(f"{folder}: with {python}, for Python {PYTHONS[name]}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", folder], check=True)
        constraints = folder / "constraints.txt"
        constraints.write_text(wanted, encoding="utf-8")
        pip = [programs / "python", "-m", "pip", "install", "--quiet", "--constraint", constraints]
        subprocess.run([*pip, "--editable", f"{ROOT}[lab,keras]"], check=True)
        noted.write_text(wanted, encoding="utf-8")
    return programs


def main() -> int:
    """Make the environment, run the course in it, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PYTHONS)
    parser.add_argument("--python", help="to make the environment with")
    given, rest = parser.parse_known_args()
    programs = make(given.name, ROOT / "build" / given.name, given.python)
    subprocess.run([programs / "course", "doctor"], check=False)
    out = ROOT / "runs" / given.name
    return subprocess.run([programs / "course", "run", "--out", out, *rest], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
