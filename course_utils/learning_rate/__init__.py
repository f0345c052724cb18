"""The learning rate: finding one (the range test), moving it (schedules), and whether that helps (comparisons).

Lesson 6 builds the range test and the one-cycle schedule by hand; these are the same, with what real use needs around
them: everything is put back, counts come from the batches, and a curve that says nothing is called so.
"""

from course_utils.learning_rate.compare import Candidate, Comparison, best_rate, compare
from course_utils.learning_rate.range_test import RangeTest, geometric_rates, range_test
from course_utils.learning_rate.schedules import (
    Preview,
    constant,
    cosine,
    cosine_restarts,
    from_points,
    one_cycle,
    one_cycle_values,
    plateau,
    plot_previews,
    preview,
    require_fit,
    step_decay,
    total_steps,
    warmup_linear,
)
from course_utils.learning_rate.suggest import SuggestedRate, Suggestion, suggest, valley
from course_utils.training.smoothing import smooth

__all__ = [
    "Candidate",
    "Comparison",
    "Preview",
    "RangeTest",
    "SuggestedRate",
    "Suggestion",
    "best_rate",
    "compare",
    "constant",
    "cosine",
    "cosine_restarts",
    "from_points",
    "geometric_rates",
    "one_cycle",
    "one_cycle_values",
    "plateau",
    "plot_previews",
    "preview",
    "range_test",
    "require_fit",
    "smooth",
    "step_decay",
    "suggest",
    "total_steps",
    "valley",
    "warmup_linear",
]
