"""Begin a lesson: its source, which runs as it is, with every part that lessons have, and its settings.

python tools/new_lesson.py "Attention by hand"
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from pathlib import Path

from stamp import repository, stamped_source

from course_utils.base.files import replace_file
from course_utils.base.lessons import find_root, sources
from course_utils.errors import SettingError

TEMPLATE = Path(__file__).with_name("new_lesson.template.py")
SETTINGS = """
"NUMBER":
  seed: {type: int, min: 0, max: 1000000, quick: 0, full: 0, help: "Start of the random numbers."}
"""
GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
PROFILES = Path("course_utils", "profiles.yaml")


def new_lesson(title: str, root: Path | None = None) -> Path:
    """Write the source of a new lesson, the next after the last numbered one, and its settings; return the source.

    Args:
        title: in words; the file is named after it.
        root: the course's folder; found when None.

    Raises:
        SettingError: when the title has no letters or digits, or more than one line.
    """
    root = root or find_root()
    plain = unicodedata.normalize("NFC", title).lower().translate(GERMAN)
    plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not name or len(title.splitlines()) != 1:
        raise SettingError(f"A lesson needs a title of one line with letters or digits, not {title!r}.")
    numbers = [int(number) for number in sources(root) if number.isdigit()]
    number = f"{max(numbers, default=0) + 1:02d}"
    path = root / "notebooks" / "source" / f"{number}_{name}.py"
    text = TEMPLATE.read_text(encoding="utf-8").replace("BEFORE", str(max(1, int(number) - 1)))
    text = text.replace("NUMBER", number).replace("TITLE", title.strip())
    settings = (root / PROFILES).read_text(encoding="utf-8").rstrip("\n") + "\n" + SETTINGS.replace("NUMBER", number)
    replace_file(path, stamped_source(text, repository(root), f"{path.stem}.ipynb"))
    replace_file(root / PROFILES, settings)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Write the lesson and say how to go on; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("title", help='in words, such as "Attention by hand"')
    root = find_root()
    try:
        path = new_lesson(parser.parse_args(arguments).title, root)
    except SettingError as error:
        print(f"new_lesson: {error}", file=sys.stderr)
        return 2
    number = path.name.partition("_")[0]
    print(f"written: {path.relative_to(root).as_posix()}, and its settings in {PROFILES.as_posix()}")
    print(f"next: edit it, then course build {number} --profile quick")
    return 0


if __name__ == "__main__":
    sys.exit(main())
