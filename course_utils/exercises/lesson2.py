"""Exercises of lesson 2, "Convolution by hand".

Each function is a reference solution, and `exercise` makes a question of it. References are shown to learners, so they
use only names that the lesson imports: a copy runs in its cell.
"""

import torch
from torch.nn import functional as F

from course_utils.exercises.checking import call, exercise
from course_utils.exercises.quiz import read_quiz

LESSON = "02"
DRAW = torch.Generator().manual_seed(2)
PICTURE = torch.randperm(7 * 8, generator=DRAW).reshape(7, 8).float()  # whole numbers, none twice
DARK = PICTURE[:6, :6] - 60  # all below 0: a maximum that starts from 0 fails
GREY = torch.rand(14, 17, generator=DRAW)


@exercise(
    question="Return the padding that keeps the side of a picture, for odd k and dilation d, at stride 1.",
    checks=[call(3), call(1), call(5), call(3, 2), call(7, 3)],
    hints=[
        "Set the output's side n + 2p − d(k − 1) − 1 + 1 equal to n.",
        "What is left is 2p = d(k − 1).",
        "Padding is a whole number: divide with //.",
    ],
)
def same_padding(k: int, d: int = 1) -> int:
    """Return the padding that keeps a picture's side, for an odd kernel side and a dilation, at stride 1."""
    return d * (k - 1) // 2


@exercise(
    question="Return the side of the final output, for layers given as tuples (kernel, stride, padding).",
    checks=[
        call(28, [(3, 1, 0), (3, 1, 0), (2, 2, 0)]),
        call(28, []),
        call(32, [(3, 1, 1)]),
        call(15, [(2, 2, 0), (2, 2, 0)]),
        call(224, [(7, 2, 3), (3, 2, 1), (3, 1, 1)]),
    ],
    hints=[
        "The output of one layer is the input of the next: change n in a loop.",
        "Without dilation, one layer leaves (n + 2·padding − kernel) / stride, rounded down, plus 1.",
        "Rounding down is //: n = (n + 2 * padding - kernel) // stride + 1.",
    ],
)
def final_side(n: int, layers: list[tuple[int, int, int]]) -> int:
    """Return the side of the output after layers of (kernel, stride, padding)."""
    for kernel, stride, padding in layers:
        n = (n + 2 * padding - kernel) // stride + 1
    return n


@exercise(
    question="Write max pooling for one picture (H, W), with windows of size×size side by side.",
    checks=[call(PICTURE[:4, :6], 2), call(DARK, 2), call(PICTURE, 2), call(PICTURE, 3), call(PICTURE, 1)],
    hints=[
        "The output has H // size rows and W // size columns; cut off what fills no whole window.",
        "With loops: out[i, j] is the maximum of picture[i * size : (i + 1) * size, j * size : (j + 1) * size].",
        "Without loops: reshape to (rows, size, columns, size), then amax over the axes 1 and 3.",
    ],
)
def max_pool(picture: torch.Tensor, size: int) -> torch.Tensor:
    """Return the largest number of each size×size window of a picture (H, W), windows side by side."""
    rows, columns = picture.shape[0] // size, picture.shape[1] // size
    whole = picture[: rows * size, : columns * size]
    return whole.reshape(rows, size, columns, size).amax(dim=(1, 3))


@exercise(
    question="Blur a picture (H, W) with a 1×side and a side×1 kernel; return (H − side + 1, W − side + 1).",
    checks=[call(GREY), call(GREY, 3), call(GREY[:9], 9), call(GREY, 1)],
    hints=[
        "Average each row's windows first; then average the result along the columns.",
        "The numbers of each of the two kernels sum to 1, so each is 1 / side.",
        "F.conv2d wants four axes: picture[None, None] goes in, [0, 0] of the output comes back.",
    ],
)
def box_blur_in_two_steps(picture: torch.Tensor, side: int = 9) -> torch.Tensor:
    """Return the averages of all side×side windows of a picture (H, W): first along rows, then along columns."""
    level = torch.full((1, 1, 1, side), 1 / side)
    upright = torch.full((1, 1, side, 1), 1 / side)
    return F.conv2d(F.conv2d(picture[None, None], level), upright)[0, 0]


def _hidden(row: int, column: int, brightness: float) -> torch.Tensor:
    """Return a dark picture (8, 11) with a faint `CORNER` at the place and a patch of even brightness elsewhere."""
    picture = torch.zeros(8, 11)
    picture[5:, 7:] = brightness
    picture[row : row + 3, column : column + 3] = CORNER / 2
    return picture


CORNER = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])


@exercise(
    question="Return the (row, column) of the window where the correlation with the pattern is largest.",
    checks=[
        call(_hidden(1, 2, 0.0), CORNER, shown="a dark picture with the pattern in it, the pattern"),
        call(_hidden(3, 0, 0.0), CORNER, shown="a dark picture with the pattern at its edge, the pattern"),
        call(_hidden(1, 2, 0.9), CORNER, shown="a picture with a bright patch, the pattern"),
        call(_hidden(0, 4, 0.9).T.contiguous(), CORNER.T.contiguous(), shown="the same lying on its side, the pattern"),
    ],
    hints=[
        "A bright place answers strongly to any pattern of positive numbers. Less its mean, the pattern sums to 0.",
        "F.conv2d with pattern[None, None] as the weight gives the answer of every window; argmax finds the largest.",
        "argmax counts through all rows: divmod(number, columns of the answers) gives (row, column).",
    ],
)
def find_pattern(picture: torch.Tensor, pattern: torch.Tensor) -> tuple[int, int]:
    """Return (row, column) of the window's upper left corner where the pattern, less its mean, answers most."""
    kernel = pattern - pattern.mean()  # sums to 0: even brightness answers nothing
    answers = F.conv2d(picture[None, None], kernel[None, None])[0, 0]
    return divmod(int(answers.argmax()), answers.shape[1])


@exercise(
    question='Return "upright", "level" or "neither" for a 3×3 filter, from its outer columns and rows.',
    checks=[
        call(torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])),
        call(torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])),
        call(torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])),
        call(torch.tensor([[1.0, 0, -1], [1, 0, -1], [1, 0, -1]])),
        call(torch.tensor([[4.0, 1, 0], [1, 0, 0], [0, 0, -2]])),
        call(torch.tensor([[4.0, 0, 0], [0, 0, 0], [1, 0, 0]])),
        call(torch.tensor([[3.0, 0, 0], [0, 0, 0], [1, 0, 0]])),
        call(torch.zeros(3, 3)),
    ],
    hints=[
        "kernel[:, 0].sum() is the left column's sum, kernel[0].sum() the top row's.",
        "A difference may be negative: compare the absolute values, abs().",
        'First ask whether across > 2 * down, then whether down > 2 * across; what is left is "neither".',
    ],
)
def direction(kernel: torch.Tensor) -> str:
    """Return which edge a 3×3 filter looks for: "upright", "level" or "neither"."""
    across = (kernel[:, 0].sum() - kernel[:, 2].sum()).abs()
    down = (kernel[0].sum() - kernel[2].sum()).abs()
    if across > 2 * down:
        return "upright"
    return "level" if down > 2 * across else "neither"


quiz = read_quiz("lesson2")
