"""The parameters cell of a notebook: what can be set, and whether given values fit, before anything runs."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from course_utils.base.words import closest
from course_utils.errors import SettingError
from course_utils.profiles import LessonProfile, lesson_profile, named_profile

NO_NOTEBOOK = "cannot be read as a notebook: expected JSON in UTF-8 with a list of cells; save it again in Jupyter"


def parameters_of(notebook: Path) -> dict[str, Any] | None:
    """Return names and default values of the notebook's parameters cell, or None when it has no such cell.

    The cell is read as Python, not by papermill's pattern, which overlooks a default that holds "=".

    Raises:
        SettingError: when the file is not a notebook in Python, or its parameters cell does more than set constants.
    """
    tagged = [cell for cell in cells_of(notebook) if "parameters" in (cell["metadata"].get("tags") or ())]
    source = "".join(tagged[0]["source"]) if tagged else None
    if source is None:
        return None
    found: dict[str, Any] = {}
    try:
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Expr):
                continue  # a text in between
            if isinstance(statement, ast.AnnAssign) and statement.value is not None:
                names, value = [statement.target], statement.value
            elif isinstance(statement, ast.Assign):
                names, value = statement.targets, statement.value
            else:
                raise ValueError(f"line {statement.lineno} sets nothing")
            found |= {name.id: ast.literal_eval(value) for name in names if isinstance(name, ast.Name)}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise SettingError(f"The parameters cell of {notebook.name} may only set constants: {error}.") from error
    return found


def cells_of(notebook: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook of format 4 in Python, in which everything has the type that it should.

    Raises:
        SettingError: when the file is none.
    """
    try:
        book = json.loads(notebook.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise SettingError(f"{notebook.name} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{notebook.name} {NO_NOTEBOOK}.") from error
    if not isinstance(book, dict) or not isinstance(book.get("cells"), list):
        raise SettingError(f"{notebook.name} {NO_NOTEBOOK}.")
    if not isinstance(book.get("metadata", {}), dict) or not isinstance(book.get("nbformat", 4), int):
        raise SettingError(f"{notebook.name} {NO_NOTEBOOK}; its metadata are damaged.")
    language = _language(book.get("metadata", {}))
    if language and "python" not in language.lower():
        raise SettingError(
            f"{notebook.name} is a notebook in {language}, but the course runs Python; run it in Jupyter, "
            f"with a kernel for {language}."
        )
    for number, cell in enumerate(book["cells"], start=1):
        if not _is_sound(cell):
            raise SettingError(f"{notebook.name} {NO_NOTEBOOK}; cell {number} is damaged.")
    return book["cells"]


def checked_parameters(notebook: Path, number: str | None, profile: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what papermill has to put into `notebook`, checked by name, type and range.

    Args:
        notebook: the file.
        number: the lesson's number, whose settings in profiles.yaml then hold; None for any other notebook, where
            the default's own type holds.
        profile: "auto" leaves the choice to the notebook.
        given: settings by name; texts (from a command line) are read as the setting's type.

    Raises:
        SettingError: for an unknown profile, an unknown name, or a value that does not fit.
    """
    named_profile(profile)
    known = parameters_of(notebook)
    wanted: dict[str, Any] = {} if profile == "auto" else {"profile": profile}
    if known is None:
        if wanted or given:
            raise SettingError(f"{notebook.name} has no cell tagged 'parameters', so nothing in it can be set.")
        return {}
    block = lesson_profile(number) if number else None
    for name, value in given.items():
        if name not in known or name == "profile":
            settable = [other for other in known if other != "profile"]
            hint = closest(name, settable) if name != "profile" else "; use --profile."
            raise SettingError(
                f"{notebook.name} has no parameter {name!r}; it has {', '.join(settable) or 'none'}{hint or '.'}"
            )
        read = _by_setting(block, name, value) if block else _by_default(name, known[name], value)
        if read is not None:
            wanted[name] = read
    if "profile" in wanted and "profile" not in known:
        raise SettingError(f"{notebook.name} has no parameter 'profile', so it cannot run as {profile!r}.")
    return wanted


def parse_assignments(texts: Sequence[str], lessons: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return `["03.epochs=2"]` as `{"03": {"epochs": "2"}}`; "epochs=2" works when `lessons` has only one.

    Raises:
        SettingError: for a text of any other form, or a lesson that is not among `lessons`.
    """
    result: dict[str, dict[str, str]] = {lesson: {} for lesson in lessons}
    for text in texts:
        left, equals, value = text.partition("=")
        lesson, dot, name = left.strip().rpartition(".")
        if not equals or not name or (not dot and len(lessons) != 1):
            raise SettingError(f"--set {text!r} is not understood; write NN.name=value, such as 03.epochs=2.")
        lesson = lesson or lessons[0]
        if lesson not in result:  # "3" for "03", "b" for "B"
            named = f"{int(lesson):02d}" if lesson.isdecimal() else lesson.upper()
            lesson = named if named in result or lesson.isdecimal() else lesson
        if lesson not in result:
            raise SettingError(
                f"--set {text!r} is for lesson {lesson!r}, which is not among those to run: {', '.join(lessons)}."
            )
        result[lesson][name] = value.strip()
    return result


def _by_setting(block: LessonProfile, name: str, value: Any) -> Any:
    setting = block.setting(name)
    if value is None:
        return None
    return setting.parse(value) if isinstance(value, str) else setting.check(value)


def _by_default(name: str, default: Any, value: Any) -> Any:
    """Return `value` as the type of `default`; a default of None takes any constant."""
    if isinstance(value, str) and not isinstance(default, str):
        with contextlib.suppress(SyntaxError, ValueError):  # else it is a text
            value = ast.literal_eval(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if default is not None and value is not None and type(value) is not type(default):
        raise SettingError(f"Parameter {name!r} is {value!r}, but must be of type {type(default).__name__}.")
    try:
        json.dumps(value)
    except TypeError:
        raise SettingError(
            f"Parameter {name!r} cannot be {value!r}; give a number, a text, or a list or dict of them."
        ) from None
    return value


def _language(metadata: Mapping[str, Any]) -> str:
    """Return the language that a notebook's metadata name, or an empty text."""
    for part, key in (("kernelspec", "language"), ("language_info", "name")):
        about = metadata.get(part)
        if isinstance(about, dict) and isinstance(about.get(key), str) and about[key].strip():
            return " ".join(about[key].split())[:40]
    return ""


def _is_sound(cell: Any) -> bool:
    return (
        isinstance(cell, dict)
        and cell.get("cell_type") in ("code", "markdown", "raw")
        and isinstance(cell.get("metadata"), dict)
        and isinstance(cell["metadata"].get("tags") or [], list)
        and _is_text(cell.get("source"))
        and isinstance(cell.get("outputs", []), list)
        and all(map(_is_sound_output, cell.get("outputs", ())))
    )


def _is_sound_output(output: Any) -> bool:
    if not isinstance(output, dict) or not isinstance(output.get("metadata", {}), dict):
        return False
    kind, data = output.get("output_type"), output.get("data")
    if kind == "stream":
        return output.get("name") in ("stdout", "stderr") and _is_text(output.get("text"))
    if kind == "error":
        trace = output.get("traceback")
        return isinstance(output.get("evalue"), str) and isinstance(trace, list) and all(map(_is_text, trace))
    texts = (
        [value for key, value in (data or {}).items() if not key.endswith("json")] if isinstance(data, dict) else [0]
    )
    return kind in ("display_data", "execute_result") and all(map(_is_text, texts))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))
