"""What every lesson has at its top: links that open it elsewhere, and a first cell that works there too.

The code of that cell, and of the one that loads the settings, is hidden.

python tools/stamp.py [--repo OWNER/NAME] [--check]

The repository's address is in pyproject.toml alone; this script copies it from there into the lessons and the
README, into sources and built notebooks alike. No output depends on it, so nothing has to be built again. With
--check nothing is written, and the exit code is 1 if something would be.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from course_utils.base.files import replace_file
from course_utils.base.lessons import find_root, notebooks, sources
from course_utils.command.notebooks import folds
from course_utils.errors import SettingError

ADDRESS = re.compile(r'^Repository = "https://github\.com/(?P<repository>[^"/]+/[^"/]+)"$', re.MULTILINE)
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
BRANCH = "main"
README_PARTS = re.compile(r"<!-- (?P<part>badges|clone) -->\n.*?<!-- /(?P=part) -->", re.DOTALL)
COLAB = "https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks/{file}"
BINDER = "https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab%2Ftree%2Fnotebooks%2F{file}"
LINKS = """\
[Open in Colab][colab] · [Open on Binder][binder]

[colab]: {colab}
[binder]: {binder}
"""
OLD_LINKS = re.compile(r"^\[Open in Colab\]\[colab\].*?^\[binder\]: \S+\n\n?", re.MULTILINE | re.DOTALL)
FIRST_LINES = """\
try:
    from course_utils import environment
except ImportError:  # as on Colab: install the course, and replace nothing
    import importlib
    import subprocess
    import sys

    url = "git+https://github.com/{repository}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    if subprocess.run([*pip, url], check=False).returncode:
        raise RuntimeError(
            f"pip could not fetch the course from {{url}} (see above); "
            "switch the network on (on Kaggle: Settings, Internet), "
            "then run this cell again."
        ) from None
    importlib.invalidate_caches()
    from course_utils import environment
environment.prepare()  # installs what else is missing, and says so
"""
OLD_LINES = re.compile(
    r"\Atry:\n    from course_utils import environment\n.*?^environment\.prepare\(\).*?\n+", re.M | re.S
)
CELLS = re.compile(r"^(?=# %%)", re.MULTILINE)
CODE_CELL = re.compile(r"# %%(?P<tags> tags=\[.*\])?[ \t]*")
LOADS = re.compile(r"^settings = profiles\.load\(", re.MULTILINE)


def repository(root: Path | None = None) -> str:
    """Return OWNER/NAME of the course's repository, as pyproject.toml has it.

    Raises:
        SettingError: when pyproject.toml does not say.
    """
    found = ADDRESS.search(((root or find_root()) / "pyproject.toml").read_text(encoding="utf-8"))
    if found is None:
        raise SettingError(
            'pyproject.toml needs a line Repository = "https://github.com/OWNER/NAME" in [project.urls].'
        )
    return found["repository"]


def with_links(text: str, repository: str, file: str) -> str:
    """Return the first text cell of the lesson `file` with the links below its title.

    Raises:
        SettingError: when the cell does not begin with a title.
    """
    title, line, rest = OLD_LINKS.sub("", text).partition("\n")
    if not title.startswith("# ") or not line:
        raise SettingError(
            f"{file} must begin with a text cell whose first line is the title, # and a space before it."
        )
    where = {"repository": repository, "branch": BRANCH, "file": file}
    links = LINKS.format(colab=COLAB.format(**where), binder=BINDER.format(**where))
    return f"{title}\n\n{links}\n{rest.lstrip()}"


def with_first_lines(code: str, repository: str) -> str:
    """Return the first code cell of a lesson with the lines that install what is missing before all imports."""
    rest = OLD_LINES.sub("", code).lstrip("\n")
    return f"{FIRST_LINES.format(repository=repository)}\n{rest}"


def stamped_source(text: str, repository: str, file: str) -> str:
    """Return the percent script `text` of the notebook `file`, stamped; stamping it again changes nothing.

    Raises:
        SettingError: when it lacks a text cell or a code cell.
    """
    cells, words, code = CELLS.split(text), None, None
    for position, cell in enumerate(cells):
        if cell.startswith("# %% [markdown]") and words is None:
            words = position
        elif CODE_CELL.fullmatch(cell.partition("\n")[0]) and code is None:
            code = position
    if words is None or code is None:
        raise SettingError(f"The source of {file} needs a text cell and a code cell.")
    head, _, body = cells[words].partition("\n")
    plain = "\n".join(
        line[2:] if line.startswith("# ") else line.removeprefix("#") for line in body.rstrip().split("\n")
    )
    lines = with_links(plain, repository, file).rstrip().split("\n")
    cells[words] = "\n".join([head, *(f"# {line}".rstrip() for line in lines)]) + "\n\n"
    head, _, body = cells[code].partition("\n")
    after = body[len(body.rstrip("\n")) :]  # two empty lines where a function follows
    cells[code] = f"{head}\n{with_first_lines(body.rstrip(), repository)}{after}"
    for position, cell in enumerate(cells):
        head, _, body = cell.partition("\n")
        found = CODE_CELL.fullmatch(head)
        if found and (position == code or LOADS.search(body)):
            tags = with_tag(json.loads((found["tags"] or " tags=[]").removeprefix(" tags=")))
            cells[position] = f"# %% tags={json.dumps(tags)}\n{body}"
    return "".join(cells)


def with_tag(tags: list[str]) -> list[str]:
    """Return a cell's tags with the one that hides its code."""
    return tags if folds.HIDDEN in tags else [*tags, folds.HIDDEN]


def stamped_notebook(text: str, repository: str, file: str) -> str:
    """Return the text of the built notebook `file`, stamped; its outputs and all else stay as they are."""
    content = json.loads(text)

    def change(kind: str, stamp: Callable[[str], str]) -> None:
        cell = next((cell for cell in content["cells"] if cell["cell_type"] == kind), None)
        if cell is None:
            raise SettingError(f"{file} needs a text cell and a code cell.")
        cell["source"] = stamp("".join(cell["source"])).rstrip().splitlines(keepends=True)

    change("markdown", lambda source: with_links(source, repository, file))
    change("code", lambda source: with_first_lines(source, repository))
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    for cell in code[:1] + [cell for cell in code[1:] if LOADS.search("".join(cell["source"]))]:
        cell["metadata"] = folds.metadata({**cell, "metadata": {"tags": with_tag(cell["metadata"].get("tags", []))}})
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"  # as normalise.to_json has it


def readme_badges(repository: str, first: str) -> str:
    """Return the README's line of badges; `first` is the file name of the notebook that they open."""
    where = {"repository": repository, "branch": BRANCH, "file": first}
    owner, _, name = repository.partition("/")
    return (
        f"[![Open in Colab](docs/pictures/colab.svg)]({COLAB.format(**where)})\n"
        f"[![Open on Binder](docs/pictures/binder.svg)]({BINDER.format(**where)})\n"
        f"[![Read the site](docs/pictures/site.svg)](https://{owner.lower()}.github.io/{name}/)\n"
    )


def readme_clone(repository: str) -> str:
    """Return the README's lines that take a newcomer from nothing to open lessons."""
    lines = [
        f"git clone https://github.com/{repository}",
        f"cd {repository.partition('/')[2]}",
        "make lab",
    ]
    return "\n".join(["```bash", *lines, "```", ""])


def stamp_all(to: str | None = None, root: Path | None = None, *, check: bool = False) -> list[Path]:
    """Stamp sources, notebooks and README with the repository's address; return the files that differ from that.

    Args:
        to: OWNER/NAME of a new repository, which is written to pyproject.toml; None leaves the address as it is.
        root: the course's folder; found when None.
        check: write nothing.

    Raises:
        SettingError: when `to` is not OWNER/NAME, or a lesson has no place for the stamp; nothing is written then.
    """
    root = root or find_root()
    now = repository(root)
    if to is not None and not REPOSITORY.fullmatch(to):
        raise SettingError(f"{to!r} is not a repository; write OWNER/NAME, such as {now}.")
    address, wanted = to or now, {}
    project = root / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    wanted[project] = ADDRESS.sub(f'Repository = "https://github.com/{address}"', text)
    for path in sources(root).values():
        wanted[path] = stamped_source(path.read_text(encoding="utf-8"), address, f"{path.stem}.ipynb")
    built = notebooks(root)
    for path in built.values():
        wanted[path] = stamped_notebook(path.read_text(encoding="utf-8"), address, path.name)
    readme = root / "README.md"
    if readme.exists() and built:
        parts = {"badges": readme_badges(address, next(iter(built.values())).name), "clone": readme_clone(address)}
        text = readme.read_text(encoding="utf-8")
        wanted[readme] = README_PARTS.sub(
            lambda found: f"<!-- {found['part']} -->\n{parts[found['part']]}<!-- /{found['part']} -->", text
        )
    changed = [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    for path in changed if not check else ():
        replace_file(path, wanted[path])
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Stamp all lessons, or only say which are stale; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", metavar="OWNER/NAME", help="the repository, if it has moved")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if something would")
    given = parser.parse_args(arguments)
    root = find_root()
    try:
        changed = stamp_all(given.repo, root, check=given.check)
    except SettingError as error:
        print(f"stamp: {error}", file=sys.stderr)
        return 2
    for path in changed:
        print(f"{'stale' if given.check else 'stamped'}: {path.relative_to(root).as_posix()}")
    print(f"{given.repo or repository(root)}: {len(changed) or 'no'} file{'s' if len(changed) != 1 else ''} changed")
    return 1 if given.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
