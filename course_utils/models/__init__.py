"""The lessons' networks, and two ways to look inside one: its shapes and its parameters.

Each network is what its lesson builds by hand; the lesson asserts that the two agree.
"""

from course_utils.models.cifar import ClassicNet, ResidualBlock, ResidualNet
from course_utils.models.fashion import FashionNet, PublishedNet, block
from course_utils.models.recorded import RECORDED_WEIGHTS, recorded_network
from course_utils.models.shapes import ShapeTrace, TraceRow, count_parameters, shape_trace
from course_utils.models.sprint import SprintNet, whitening_filters

__all__ = [
    "RECORDED_WEIGHTS",
    "ClassicNet",
    "FashionNet",
    "PublishedNet",
    "ResidualBlock",
    "ResidualNet",
    "ShapeTrace",
    "SprintNet",
    "TraceRow",
    "block",
    "count_parameters",
    "recorded_network",
    "shape_trace",
    "whitening_filters",
]
