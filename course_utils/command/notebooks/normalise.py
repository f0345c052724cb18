"""The committed form of a notebook: the same run gives the same bytes, on any machine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import io
import itertools
import json
import re
import site
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_utils.base.notes import FIGURES, SETTINGS, SOURCE
from course_utils.command.notebooks import folds
from course_utils.figures import SHAREABLE

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
# A live widget is gone with its kernel: its static twin in the same output stays.
DROPPED = (SETTINGS, SOURCE, "application/vnd.jupyter.widget-view+json")
NOT_SHARED = "This figure is left out because it shows pictures that are not ours to publish; run the cell to see it."
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")
CELL_FILE = re.compile(r"(?<![^\s\"'(])[^\s\"'(]*ipykernel_\d+[\\/]\d+\.py")


def normalised(
    executed: Mapping[str, Any],
    number: str,
    about: Mapping[str, Any],
    root: Path,
    *,
    keep_injected: bool = False,
    published: bool = False,
) -> dict[str, Any]:
    """Return `executed` as it is committed: stable ids, plain metadata, no trace of the machine or of papermill.

    Args:
        executed: a notebook as papermill leaves it.
        number: the lesson's number, the start of each cell's id.
        about: what the notebook's metadata say of its run under "course" (lesson, profile).
        root: the course's folder, which disappears from paths in outputs.
        keep_injected: keep the cell with the parameters that papermill put in.
        published: leave out pictures that may not be passed on; their descriptions stay.
    """
    cells, count = [], 0
    kept = [cell for cell in executed["cells"] if keep_injected or not folds.is_injected(cell)]
    for position, cell in enumerate(kept, start=1):
        clean: dict[str, Any] = {
            "cell_type": cell["cell_type"],
            "id": f"{number}-cell-{position:02d}",
            "metadata": folds.metadata(cell),
            "source": folds.joined(cell["source"]),
        }
        if cell["cell_type"] == "code":
            if clean["source"].strip():  # an empty cell is not run and so not counted
                count += 1
            clean["execution_count"] = count if clean["source"].strip() else None
            outputs = [_output(o, count, root) for o in _merged(cell.get("outputs", ()))]
            outputs = [o for o in outputs if o.get("text") != ""]  # a bar that was erased leaves nothing
            clean["outputs"] = [_in_words(o) if published and is_private(o) else o for o in outputs]
        cells.append(clean)
    metadata = {"course": dict(about), "kernelspec": KERNEL, "language_info": LANGUAGE, **folds.collapsed(cells)}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def to_json(notebook: Mapping[str, Any]) -> str:
    """Return the text of the notebook's file, as Jupyter writes it: sorted keys, one space, lists of lines."""
    import nbformat

    return nbformat.v4.writes(nbformat.from_dict(dict(notebook))) + "\n"


def seal(notebook: Mapping[str, Any]) -> str:
    """Return a digest of all outputs, with texts whole or in lines: a picture put in the place of one changes it."""
    outputs = [folds.joined(cell["outputs"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()[:16]


def without_machine(text: str, root: Path) -> str:
    """Return `text` without what differs from machine to machine: folders, process numbers, memory addresses."""
    text = CELL_FILE.sub("<cell>", text)
    packages = {*site.getsitepackages(), site.getusersitepackages()}
    for folder in sorted(packages, key=len, reverse=True):
        text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "")
    text = text.replace(f"{root}/", "").replace(f"{root}\\", "")
    for folder, name in (
        (sys.prefix, "<python>"),
        (tempfile.gettempdir(), "<temporary>"),
        (str(Path.home()), "~"),
    ):
        if name == "<temporary>":
            text = re.sub(rf"{re.escape(folder)}/course-run-\w+/tmp(?=/)", name, text)  # where the kernel's own is
        if len(folder) > 1:
            text = re.sub(rf"(?<![\w/]){re.escape(folder)}(?=[/\\])", name, text)
    return ADDRESS.sub("0x…", text)


def is_private(output: Mapping[str, Any]) -> bool:
    """Tell whether an output shows pictures that may not be passed on."""
    return output.get("metadata", {}).get(SHAREABLE) is False


def _in_words(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return an output with words in place of its picture."""
    words = "".join(output["data"].get("text/plain", ""))
    note = f"{NOT_SHARED} {words}"
    text = f"<p><em>{html.escape(NOT_SHARED)}</em> {html.escape(words)}</p>"
    return {**output, "data": {"text/plain": note, "text/html": text}, "metadata": {}}


def smaller_png(data: bytes) -> bytes:
    """Return the same picture in fewer bytes where that is possible without changing one pixel, else `data`.

    An opaque picture needs no alpha channel, and one with at most 256 colours (most diagrams) fits a palette.
    """
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG",))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # no PNG file, whatever its type says
        return data
    # A picture that moves is left alone: only its first frame would be written.
    if picture.mode not in ("RGB", "RGBA", "L", "P") or getattr(picture, "is_animated", False):
        return data
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")
    candidates = [data, _encoded(picture)]
    if picture.mode == "RGB" and picture.getcolors(256):
        candidates.append(_encoded(_with_palette(picture)))
    return min(candidates, key=len)


def _with_palette(picture: Any) -> Any:
    """Return `picture` (RGB, at most 256 colours) with a palette of exactly its colours; Pillow's own may miss some."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture)
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    colours, index = np.unique(packed, return_inverse=True)
    indexed = Image.fromarray(index.reshape(packed.shape).astype(np.uint8), mode=None)
    indexed.putpalette([part for c in colours.tolist() for part in (c >> 16, c >> 8 & 255, c & 255)])
    return indexed


def _encoded(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _merged(outputs: Any) -> list[dict[str, Any]]:
    """Return `outputs` with all pieces of each stream as one, at the place of the first, standard output before errors.

    Pieces come as the kernel sent them, which differs from run to run.
    """
    merged: list[dict[str, Any]] = []
    pieces: dict[str, list[str]] = {}
    for output in outputs:
        if output["output_type"] != "stream":
            merged.append(dict(output))
        elif output["name"] in pieces:
            pieces[output["name"]].append(folds.joined(output["text"]))
        else:
            pieces[output["name"]] = [folds.joined(output["text"])]
            merged.append(dict(output))
    for place, (first, second) in enumerate(itertools.pairwise(merged)):
        if first.get("name") == "stderr" and second.get("name") == "stdout":
            merged[place : place + 2] = second, first
    for output in merged:
        if output["output_type"] == "stream":
            output["text"] = "".join(pieces[output["name"]])
    return merged


def _output(output: dict[str, Any], count: int, root: Path) -> dict[str, Any]:
    if output["output_type"] == "stream":
        return {**output, "text": without_machine(_after_returns(output["text"]), root)}
    if output["output_type"] == "error":
        traceback = [without_machine(folds.joined(line), root) for line in output["traceback"]]
        return {**output, "traceback": traceback, "evalue": without_machine(output["evalue"], root)}
    data = {kind: _datum(kind, value, root) for kind, value in output["data"].items() if kind not in DROPPED}
    result = {"data": data, "metadata": output.get("metadata", {}), "output_type": output["output_type"]}
    if output["output_type"] == "execute_result":
        result["execution_count"] = count
    return result


def _datum(kind: str, value: Any, root: Path) -> Any:
    if kind == FIGURES or kind.endswith("+json"):
        return value
    text = folds.joined(value)
    if kind == "image/png":
        with contextlib.suppress(ValueError):  # no base64
            return base64.b64encode(smaller_png(base64.b64decode(text))).decode()
    return without_machine(text, root) if kind.startswith("text/") or kind == "image/svg+xml" else text


def _after_returns(text: str) -> str:
    """Return what remains visible of each line that a progress bar has overwritten."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(_last_written(line) for line in lines)


def _last_written(line: str) -> str:
    """Return what was last written over one line: nothing where spaces have erased a bar."""
    if "\r" not in line:
        return line
    last = ([part for part in line.split("\r") if part] or [""])[-1]
    return last if last.strip() else ""
