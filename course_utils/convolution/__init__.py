"""Convolution four times by hand, where its windows go, and one cell's arithmetic written out (lesson 2).

"Convolution" means what deep learning means by it: cross-correlation, the kernel not flipped, as in
`torch.nn.functional.conv2d`.
"""

from course_utils.convolution.drawn import draw_channels, draw_columns, sliding_window
from course_utils.convolution.geometry import ReceptiveField, output_size, receptive_field
from course_utils.convolution.operations import (
    KERNELS,
    conv_parameters,
    corr2d_loops,
    corr2d_slices,
    corr2d_unfold,
    dense_parameters,
    kernel,
    pool2d,
)
from course_utils.convolution.worked import WorkedCell, number_grid, worked_cell

__all__ = [
    "KERNELS",
    "ReceptiveField",
    "WorkedCell",
    "conv_parameters",
    "corr2d_loops",
    "corr2d_slices",
    "corr2d_unfold",
    "dense_parameters",
    "draw_channels",
    "draw_columns",
    "kernel",
    "number_grid",
    "output_size",
    "pool2d",
    "receptive_field",
    "sliding_window",
    "worked_cell",
]
