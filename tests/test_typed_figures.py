"""No figure that looks measured is typed into a lesson's text: it comes from the recorded run, or is listed here.

A figure may be typed where it is a definition, a setting, arithmetic, a question's wording, or quoted with its source.
"""

import re

import pytest

from course_utils.base.lessons import find_root, sources
from course_utils.command.builder import to_notebook

SOURCES = sources(find_root())
# Shares, times, sizes, factors, and numbers with two decimals or more.
FIGURE = re.compile(
    r"(?<![\w.,{$^-])\d[\d,]*(?:\.\d+)?\s?(?:%|(?:seconds?|minutes?|hours?|ms|µs|s|GB|MB|kB|points?|times)\b)"
    r"|(?<![\w.:/])\d+\.\d{2,}(?!\w|\.\d)"
)
CODE = re.compile(r"`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\{\{.*?\}\}|\]\([^)]*\)", re.DOTALL)


FINE = {  # by lesson
    "01": "0.09412; 0.1 %; 0.15; 0.48; 0.5 times; 0.79; 0.85; 1.05; 1.25; 2.24; 22 %",
    "02": "0.00001; 0.36; 1 %; 1,000 times; 10 times; 100 times; 172,890 times; 1s; 40 %; 50 %; 64 times; 8 "
    "times; 9 times",
    "03": "0 %; 0.001; 0.01; 0.05; 0.286; 0.353; 0.9375; 1.46; 10 %; 2.30; 45 %; 88.37859424920129 %",
    "04": "0.001; 0.01; 0.05; 0.06; 0.64; 0.98; 10 %; 10.6 %; 100 %; 2 times; 2.5 times; 4.0 %; 4.7 %; 55 %; "
    "60 %; 90 %",
    "05": "0 %; 0.8 times; 1.28; 100 %; 2 times; 3.14; 45 %; 68 %; 76.1 %; 80.9 %",
    "06": "0.001; 0.003; 0.01; 0.03; 0.06; 0.12; 0.125; 0.4 points; 0.85; 0.95; 0.98; 0.99; 10 %; 2 %; 2.30; "
    "2.6667; 2.8571; 30 %; 98 %; 10,000 times",
    "07": "0.04 ms; 0.16 ms; 0.42; 0.5 ms; 2.4 ms; 1 %; 1.0 seconds; 1.36; 1.36 seconds; 10 %; 184 MB; 2.095; "
    "2.11; 2.59; 20 %; 20 GB; 3.83; 5 µs; 512 times; 64 times; 80 GB; 94 %; 96 %; 1.99; 2.015",
    "A": "",
    "B": "100 %; 33 %; 70 %",
}  # fmt: skip


def typed(source):
    """Return the figures in the text cells of a notebook, outside code, formulas, links and what is filled in."""
    texts = (cell["source"] for cell in source["cells"] if cell["cell_type"] == "markdown")
    return {figure for text in texts for figure in FIGURE.findall(" ".join(CODE.sub(" ", text).split()))}


@pytest.mark.parametrize("number", SOURCES)
def test_a_figure_in_a_lessons_text_is_recorded_or_known_not_to_be_measured(number):
    new = typed(to_notebook(SOURCES[number])) - set(FINE.get(number, "").split("; "))
    assert not new, "record it and write {{its_name}}; if it is not measured here, add it to FINE"


@pytest.mark.parametrize(
    "text", ["94.7 % of them", "took 3.5 minutes", "log 10 = 2.40", "uses 1.4 GB", "7 times as fast"]
)
def test_a_typed_figure_is_seen(text):
    cells = [{"cell_type": "markdown", "source": f"Here {text}."}, {"cell_type": "code", "source": text}]
    assert len(typed({"cells": cells})) == 1
    assert not typed({"cells": [{"cell_type": "markdown", "source": f"`{text}` {{{{share:.1%}}}} ${text}$"}]})
