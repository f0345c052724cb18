"""Settings of the lessons, all in profiles.yaml: `quick` for any machine, `full` for the real thing."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.base.lessons import lesson_number
from course_utils.base.notes import SETTINGS, makes_the_page, show_note
from course_utils.base.paths import find_folder
from course_utils.base.recorded import on_the_page
from course_utils.base.words import closest, fitted
from course_utils.errors import WIDTH, SettingError

FILE = Path(__file__).with_name("profiles.yaml")
PROFILES = ("quick", "full")
TYPES = {"int": int, "float": float, "bool": bool, "str": str, "path": str}
WORDS = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "a text", "path": "a folder"}
Value = int | float | bool | str | list


@dataclass(frozen=True)
class Setting:
    """What one setting of a lesson may be."""

    name: str
    type: str  # a key of TYPES, or "list of" one
    min: float | None = None
    max: float | None = None
    choices: tuple[Value, ...] | None = None
    help: str = ""

    def check(self, value: Any) -> Value:
        """Return `value` in the setting's own type; a path becomes absolute, from the current folder.

        Raises:
            SettingError: when it has another type, lies outside the limits, is not one of the choices, or is a path
                where no folder is.
        """
        if not self.type.startswith("list of "):
            return self._check_one(value, self.type)
        if not isinstance(value, (list, tuple)) or not value:
            raise SettingError(f"Setting {self.name!r} is {value!r}, but must be a list with at least one value.")
        return [self._check_one(item, self.type.removeprefix("list of ")) for item in value]

    def parse(self, text: str) -> Value | None:
        """Return what `text` from a command line means for this setting; "none" is "as the profile says".

        Raises:
            SettingError: when it means nothing, or something outside the limits.
        """
        if text.strip().lower() == "none":
            return None
        if self.type.startswith("list of "):
            kind = self.type.removeprefix("list of ")
            return self.check([self._parse_one(part.strip(), kind) for part in text.strip("[] ").split(",")])
        return self.check(self._parse_one(text, self.type))

    def _parse_one(self, text: str, kind: str) -> Any:
        if kind in ("str", "path"):
            return text
        if kind == "bool":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
                text.strip().lower(), text
            )
        try:
            return TYPES[kind](text)
        except ValueError:
            return text  # check() then says what is wrong with it

    def _check_one(self, value: Any, kind: str) -> Value:
        if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
            value = value.item()
        whole = isinstance(value, int) and not isinstance(value, bool)
        if kind == "float" and whole:
            value = float(value)
        if kind == "path" and isinstance(value, (str, os.PathLike)) and os.fspath(value):
            value = str(find_folder(value, SettingError, f"Setting {self.name!r}: "))
        if not isinstance(value, TYPES[kind]) or (kind == "int" and not whole):
            raise SettingError(f"Setting {self.name!r} is {value!r}, but must be {WORDS[kind]}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(f"Setting {self.name!r} is {value}, but must be a finite number.")
        if self.choices is not None and value not in self.choices:
            end = closest(str(value), self.choices) or "."
            raise SettingError(f"Setting {self.name!r} is {value!r}, but must be one of {_listed(self.choices)}{end}")
        if (self.min is not None and value < self.min) or (self.max is not None and value > self.max):
            raise SettingError(f"Setting {self.name!r} is {value!r}, but must be {self._limits()}.")
        return value

    def _limits(self) -> str:
        if self.min is not None and self.max is not None:
            return f"from {_plain(self.min)} to {_plain(self.max)}"
        return f"at least {_plain(self.min)}" if self.min is not None else f"at most {_plain(self.max)}"


class Settings(Mapping[str, Value]):
    """The settings of one lesson, read as attributes: `settings.epochs`. They cannot be changed."""

    def __init__(
        self, lesson: str, profile: str, reason: str, values: Mapping[str, Value], changed: tuple[str, ...]
    ) -> None:
        self.__dict__.update(_values=dict(values), lesson=lesson, profile=profile, reason=reason, changed=changed)

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_") or name not in self._values:
            known = _listed(self.__dict__.get("_values", ()))
            end = closest(name, self.__dict__.get("_values", ())) or "."
            raise AttributeError(f"Lesson {self.__dict__.get('lesson')} has no setting {name!r}; it has {known}{end}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("Settings cannot be changed; give the value to profiles.load() instead.")

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        return f"Settings({self.lesson}, {self.profile}: {values})"

    def describe(self) -> str:
        """Return lines of at most 72 characters: which profile, why, what was changed, and all values."""
        changed = ", ".join(f"{name} = {self._values[name]!r}" for name in self.changed)
        said = f'Profile "{self.profile}": {self.reason}' + (f"; changed: {changed}." if changed else ".")
        lines = [""]
        for name, value in self._values.items():
            part = f"{name} = {value!r}"
            longer = f"{lines[-1]} · {part}" if lines[-1] else part
            if len(longer) <= WIDTH:
                lines[-1] = longer
            else:
                lines.append(part)
        lines = [fitted(said), *lines]
        return "\n".join(lines)


@dataclass(frozen=True)
class LessonProfile:
    """A lesson's block of profiles.yaml, checked."""

    lesson: str
    settings: dict[str, Setting]
    values: dict[str, dict[str, Value]]  # profile -> setting -> value

    def setting(self, name: str) -> Setting:
        """Return the setting called `name`.

        Raises:
            SettingError: when the lesson has none of that name.
        """
        if name not in self.settings:
            end = closest(name, self.settings) or "."
            known = _listed(self.settings) or "none"
            raise SettingError(f"Lesson {self.lesson} has no setting {name!r}; it has {known}{end}")
        return self.settings[name]


def load(lesson: str | int, profile: str = "auto", *, quiet: bool = False, **overrides: Value | None) -> Settings:
    """Return the settings of `lesson`, and print which profile is used, why, and all values.

    Where the page shows a run with another profile, that is said too.

    Args:
        lesson: its number, such as "03".
        profile: "quick", "full", or "auto": full with a GPU, quick without. The environment variable
            COURSE_PROFILE decides instead of "auto", but never overrides a profile that was asked for.
        quiet: print nothing.
        overrides: settings that differ from the profile; None means "as the profile says".

    Raises:
        SettingError: for an unknown lesson, profile or setting, or a value that does not fit.
    """
    block = lesson_profile(lesson)
    name, reason = choose_profile(profile)
    given = {key: block.setting(key).check(value) for key, value in overrides.items() if value is not None}
    settings = Settings(block.lesson, name, reason, {**block.values[name], **given}, tuple(given))
    if not quiet:
        payload = {
            "lesson": settings.lesson,
            "profile": name,
            "values": dict(settings),
            "changed": list(given),
        }
        page = None if makes_the_page() else on_the_page(settings.lesson)
        said = settings.describe()
        if page and page.get("profile") != name:
            said += f'\nThis page shows a run with profile "{page.get("profile")}".'
        show_note(said, SETTINGS, payload)
    return settings


def lesson_profile(lesson: str | int, path: Path = FILE) -> LessonProfile:
    """Return the checked block of `lesson`.

    Raises:
        SettingError: when there is no such lesson, or its block is not as profiles.yaml explains.
    """
    blocks, number = _read(path), lesson_number(lesson)
    if number not in blocks:
        raise SettingError(f"There is no lesson {str(lesson)!r}; there are {', '.join(blocks)}.")
    return _checked(number, blocks[number] or {})


def choose_profile(profile: str = "auto") -> tuple[str, str]:
    """Return the profile that `profile` stands for here, and the reason in a few words.

    Raises:
        SettingError: when it, or COURSE_PROFILE, is not a profile.
    """
    wanted, reason = named_profile(profile)
    if wanted != "auto":
        return wanted, reason
    import torch

    if torch.cuda.is_available():
        return "full", f"there is a GPU, {torch.cuda.get_device_name()}"
    return "quick", 'there is no GPU; profile = "full" runs the real thing'


def named_profile(profile: str = "auto") -> tuple[str, str]:
    """Return the profile that is asked for here or by COURSE_PROFILE, and by whom; it may still be "auto".

    Raises:
        SettingError: when it is not a profile.
    """
    wanted, reason = profile, "as asked for"
    if profile == "auto" and os.environ.get("COURSE_PROFILE", "auto") not in ("", "auto"):
        wanted, reason = os.environ["COURSE_PROFILE"], "as COURSE_PROFILE says"
    if wanted in ("auto", *PROFILES):
        return wanted, reason
    where = " (from COURSE_PROFILE)" if wanted != profile else ""
    names = ("auto", *PROFILES)
    raise SettingError(
        f"There is no profile {wanted!r}{where}; there are {_listed(names)}{closest(str(wanted), names) or '.'}"
    )


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


@functools.cache
def _read(path: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _checked(number: str, block: Mapping[str, Any]) -> LessonProfile:
    """Return `block` as a LessonProfile, or say what its author has to fix."""
    settings: dict[str, Setting] = {}
    values: dict[str, dict[str, Value]] = {profile: {} for profile in PROFILES}
    for name, description in block.items():
        rules = {key: value for key, value in description.items() if key not in PROFILES}
        kind = str(rules.get("type")).removeprefix("list of ")
        if kind not in TYPES or set(rules) - {"type", "min", "max", "choices", "help"}:
            raise SettingError(
                f"profiles.yaml: setting {name!r} of lesson {number} is not described as the head of the file says."
            )
        choices = rules.get("choices")
        settings[name] = Setting(name, **{**rules, "choices": tuple(choices) if choices else None})
        for profile in PROFILES:
            if profile not in description:
                raise SettingError(f"profiles.yaml: setting {name!r} of lesson {number} needs a value for {profile}.")
            values[profile][name] = settings[name].check(description[profile])
    return LessonProfile(number, settings, values)


def _listed(names: Any) -> str:
    return ", ".join(str(name) or '""' for name in names)
