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

SOURCE = """\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # {title}
#
# **The question: what does this lesson answer?**
#
# Say in three sentences why somebody wants to know.
#
# **After this lesson you will be able to**
#
# - do one thing, and then another.
#
# **You need** lesson {before}. **Time:** on {{{{cores}}}} processor cores the run shown here took
# {{{{seconds:.0f}}}} seconds.
#
# ### Contents
#
# - [A first idea](#A-first-idea)
# - [What you learned](#What-you-learned)
# - [What next](#What-next)

# %%
import torch

from course_utils import profiles, results

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" is the real thing; "auto" chooses
seed = None  # start of the random numbers

# %%
settings = profiles.load("{number}", profile, seed=seed)

# %% [markdown]
# ## A first idea
#
# One thought a cell, by hand before any helper.
#
# **Predict first.** Ask for a guess, run the cell, and answer below it.

# %%
generator = torch.Generator().manual_seed(settings.seed)
numbers = torch.randn(1000, generator=generator)
assert numbers.shape == (1000,)
results.record(mean=numbers.mean())

# %% [markdown]
# The mean of these numbers is {{{{mean:.3f}}}}: a figure in the text comes from the run, and is never typed.
#
# ## What you learned
#
# - What the lesson showed, a line each.
#
# ## What next
#
# Where to go from here.
"""
SETTINGS = """
"{number}":
  settings:
    seed: {{type: int, min: 0, max: 1000000, help: "Start of the random numbers."}}
  quick: {{seed: 0}}
  full: {{seed: 0}}
"""
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
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not name or len(title.splitlines()) != 1:
        raise SettingError(f"A lesson needs a title of one line with letters or digits, not {title!r}.")
    numbers = [int(number) for number in sources(root) if number.isdigit()]
    number = f"{max(numbers, default=0) + 1:02d}"
    path = root / "notebooks" / "source" / f"{number}_{name}.py"
    text = SOURCE.format(title=title.strip(), number=number, before=max(1, int(number) - 1))
    settings = (root / PROFILES).read_text(encoding="utf-8").rstrip("\n") + "\n" + SETTINGS.format(number=number)
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
