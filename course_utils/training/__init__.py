"""The training loop of the lessons: `fit`, `evaluate`, the history of a run, saving and loading.

Every training loop has the same five lines: predict, measure the loss, clear the gradients, compute new ones, take a
step. Lesson 3 writes them out; `fit` adds what a real run needs: metrics weighted by samples, a schedule, early
stopping, checkpoints, and errors that say what went wrong and where.
"""

from course_utils.training.checkpoints import load_weights, save_weights
from course_utils.training.evaluate import Metrics, Predictions, evaluate, predict
from course_utils.training.fit import fit
from course_utils.training.history import History
from course_utils.training.snapshot import restored, seed_everything
from course_utils.training.watch import LossCurve

__all__ = [
    "History",
    "LossCurve",
    "Metrics",
    "Predictions",
    "evaluate",
    "fit",
    "load_weights",
    "predict",
    "restored",
    "save_weights",
    "seed_everything",
]
