"""`needed.py`: the cells that lead to others are found by the names that they give and take."""

from needed import needed

CELLS = [
    "import torch\nfrom a import b as c",
    "x = c(1)",
    "x += 1",
    "y = slow(2)",
    "def double(value): return factor * value",
    "factor = 2",
    "if factor: x = 3",
    "z = [x for x in range(3)]",
    "show(double(x))",
    "",
    "show(1)",
]


def leading_to(word):
    return needed(CELLS, lambda source: word in source)


def test_cells_are_needed_that_give_what_is_taken_however_far_before():
    assert leading_to("show(double") == [0, 1, 2, 4, 5, 6, 7, 8]  # not y, and z's x cannot be told from another
    assert leading_to("show(1)") == [10]
    assert leading_to("y =") == [3]


def test_a_name_that_is_surely_given_anew_hides_what_was_before():
    cells = ["x = slow(1)", "if True:\n    x = 2", "x = 3", "show(x)"]
    assert needed(cells, lambda source: "show" in source) == [2, 3]
    assert needed([*cells[:2], "show(x)"], lambda source: "show" in source) == [0, 1, 2]
    assert needed(["x = 1", "x = x + 1", "show(x)"], lambda source: "show" in source) == [0, 1, 2]
