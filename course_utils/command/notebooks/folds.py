"""What a reader finds folded: the code of some cells, and "Go deeper" sections.

A code cell with the tag `hide-input` is shown without its code, with its output. A heading `### Go deeper: …` folds
all that follows, up to the next heading of its level or above. JupyterLab and Colab read this from metadata, which
`course build` writes; pages get `<details>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HIDDEN = "hide-input"
INJECTED = "injected-parameters"  # papermill's tag
HEADING = re.compile(r"(?P<level>#{1,6})[ \t]+(?P<title>.+?)[ \t]*#*[ \t]*")
DEEPER = "Go deeper:"
FENCE = re.compile(r"\A[ \t]*(```|~~~)")
FENCED = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$)", re.MULTILINE | re.DOTALL)


def heading(line: str) -> tuple[int, str] | None:
    """Return level and title when `line` is a Markdown heading."""
    found = HEADING.fullmatch(line)
    return (len(found["level"]), found["title"]) if found else None


def is_deeper(cell: Mapping[str, Any]) -> bool:
    """Tell whether `cell` is the heading of a "Go deeper" section."""
    found = heading(joined(cell["source"]).partition("\n")[0]) if cell["cell_type"] == "markdown" else None
    return found is not None and found[1].startswith(DEEPER)


def is_hidden(cell: Mapping[str, Any]) -> bool:
    """Tell whether a code cell is shown without its code."""
    return cell["cell_type"] == "code" and HIDDEN in cell["metadata"].get("tags", ())


def is_injected(cell: Mapping[str, Any]) -> bool:
    """Tell whether papermill has put a cell in, with the parameters of this run."""
    return INJECTED in cell.get("metadata", {}).get("tags", ())


def apart(cells: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give `cells` with each heading of a "Go deeper" section, and what ends one, at the start of its own cell.

    JupyterLab hides whole cells below the one that holds the heading.
    """
    level: int | None = None  # of the section that we are in
    for cell in cells:
        if cell["cell_type"] != "markdown":
            yield cell
            continue
        parts: list[list[str]] = [[]]
        fence = None
        for line in joined(cell["source"]).split("\n"):
            mark = FENCE.match(line)
            if mark and fence in (None, mark[1]):
                fence = None if fence else mark[1]
            found = None if fence or mark else heading(line)
            ends = found is not None and level is not None and found[0] <= level
            if found and (ends or found[1].startswith(DEEPER)):
                parts.append([])
                level = found[0] if found[1].startswith(DEEPER) else None
                parts[-1].append(line)
                if level is not None:
                    parts.append([])
                continue
            parts[-1].append(line)
        texts = [text for text in ("\n".join(part).strip("\n") for part in parts) if text.strip()]
        yield from ({**cell, "metadata": dict(cell["metadata"]), "source": text} for text in texts or [""])


def inside(cells: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Give each cell of a built notebook, and whether it is part of a "Go deeper" section; its heading is not."""
    level: int | None = None
    for cell in cells:
        if cell["cell_type"] == "markdown":
            highest = min((found[0] for found in headings(joined(cell["source"]))), default=9)
            if level is not None and highest <= level:
                level = None
            if is_deeper(cell):
                yield cell, level is not None
                level = min(highest, level or 9)
                continue
        yield cell, level is not None


def headings(text: str) -> Iterator[tuple[int, str]]:
    """Give level and title of each heading in a Markdown text; what looks like one in a block of code is none."""
    for line in FENCED.sub("", text).split("\n"):
        found = heading(line)
        if found:
            yield found


def metadata(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return all metadata that a committed cell has: its tags, and what makes JupyterLab and Colab fold it."""
    tags = list(cell["metadata"].get("tags", ()))
    kept: dict[str, Any] = {"tags": tags} if tags else {}
    if is_hidden(cell):
        kept |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
    if is_deeper(cell):
        kept["jp-MarkdownHeadingCollapsed"] = True
    return kept


def collapsed(cells: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the notebook's metadata by which Colab folds sections, or nothing where there are none."""
    ids = [cell["id"] for cell in cells if is_deeper(cell)]
    return {"colab": {"collapsed_sections": ids}} if ids else {}


def spaced(text: str) -> str:
    """Return Markdown with the empty lines inside `<details>` without which its text is not read as Markdown."""
    parts = FENCED.split(text)
    for place in range(0, len(parts), 2):
        part = re.sub(r"</summary>[ \t]*\n?(?=[^\n])[ \t]*", "</summary>\n\n", parts[place])
        part = re.sub(r"(?<=[^\n])[ \t]*\n?[ \t]*</details>", "\n\n</details>", part)
        parts[place] = re.sub(r"</details>[ \t]*\n?(?=[^\n])[ \t]*", "</details>\n\n", part)
    return "".join(parts)


def joined(value: Any) -> Any:
    """Return a text of a notebook, which may be a list of lines there; in other JSON each text is joined so."""
    if isinstance(value, dict):
        return {key: joined(each) for key, each in value.items()}
    if isinstance(value, list):
        lines = all(isinstance(each, str) for each in value)
        return "".join(value) if lines else [joined(each) for each in value]
    return value
