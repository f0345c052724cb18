"""The learning rate: how to find one (the range test), how to move it (schedules), and whether that helps (races).

Lesson 6 builds the range test and the one-cycle schedule by hand; these are the same, with what real use needs around
them: everything is put back, counts come from the batches, and a curve that says nothing is called so.
"""

from course_utils.learning_rate.compare import Race, Runner, best_rate, race
from course_utils.learning_rate.range_test import RangeTest, ladder, range_test
from course_utils.learning_rate.restoring import put_back
from course_utils.learning_rate.schedules import (
    Preview,
    constant,
    drawn,
    one_cycle,
    one_cycle_values,
    plateau,
    plot_previews,
    preview,
    require_fit,
    steps_down,
    total_steps,
    warm_restarts,
)
from course_utils.learning_rate.suggest import Candidate, Suggestion, smooth, suggest, valley

__all__ = [
    "Candidate",
    "Preview",
    "Race",
    "RangeTest",
    "Runner",
    "Suggestion",
    "best_rate",
    "constant",
    "drawn",
    "ladder",
    "one_cycle",
    "one_cycle_values",
    "plateau",
    "plot_previews",
    "preview",
    "put_back",
    "race",
    "range_test",
    "require_fit",
    "smooth",
    "steps_down",
    "suggest",
    "total_steps",
    "valley",
    "warm_restarts",
]
