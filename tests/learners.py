"""Learners' notebooks for the tests of `course check`."""

import json
import textwrap

from course_utils.exercises.checking import Exercise

IMPORTS = """\
import math
import torch
from torch import nn
from torch.nn import functional as F
from course_utils import acceleration, exercises"""


def reference(exercise: Exercise) -> str:
    """The reference solution as a learner would copy it."""
    return exercise.source()


def write(path, *cells, lesson=None, outputs=()):
    """Write a notebook with a cell of imports, then `cells`."""
    code = [
        {"cell_type": "code", "metadata": {}, "execution_count": None, "source": textwrap.dedent(source),
         "outputs": list(outputs)}
        for source in (IMPORTS, *cells)
    ]  # fmt: skip
    metadata = {} if lesson is None else {"course": {"lesson": lesson}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": code, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), "utf-8")
    return path
