"""`needed.py`: the cells that lead to others are found by the names that they give and take."""

import pytest
from needed import needed

CELLS = [
    "import torch\nfrom a import b as c",
    "x = c(1)",
    "x += 1",
    "y = slow(2)",
    "def double(value):\n    y = factor\n    return y * value",
    "factor = 2",
    "%time table = {}",
    "table['x'] = [x for x in range(3)]",
    "show(double(x), table)",
    "",
    "show(1)",
]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("show(double", [0, 1, 2, 4, 5, 6, 7, 8]), ("show(1)", [10]), ("slow", [3])],
)
def test_cells_are_needed_that_give_or_change_what_is_taken_however_far_before(word, expected):
    assert needed(CELLS, lambda source: word in source) == expected


def test_a_name_that_is_given_anew_hides_what_was_before():
    cells = ["x = slow(1)", "x = 3", "x = x + 1", "show(x)"]
    assert needed(cells, lambda source: "show" in source) == [1, 2, 3]


def test_what_is_imported_is_not_changed_by_a_call():
    cells = ["import figures", "figures.show(slow(1))", "found = []", "found.append(2)", "figures.show(found)  # this"]
    assert needed(cells, lambda source: "this" in source) == [0, 2, 3, 4]
