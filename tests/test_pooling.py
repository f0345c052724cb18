"""The Triton kernels of the sprint, in Triton's own interpreter, which needs no GPU."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="triton comes with PyTorch for NVIDIA's GPUs on Linux")

# A process of its own: whether kernels are interpreted is decided when triton is loaded.
SCRIPT = """
import torch
from torch.nn import functional as F
from course_utils.acceleration.pooling import Halved

torch.manual_seed(0)
for shape in ((2, 70, 7, 9), (1, 8, 2, 3), (3, 130, 6, 4)):
    for dtype in (torch.float32, torch.float16):
        images = torch.randn(shape).mul(2).round().to(dtype)  # with many equal neighbours
        images[torch.rand(shape) < 0.05] = float("nan")
        images[0, 0, 1, 1] = float("nan")
        images.requires_grad_()
        ours, theirs = Halved()(images), F.max_pool2d(images, 2)
        assert theirs.isnan().any() and torch.equal(ours.nan_to_num(99), theirs.nan_to_num(99)), shape
        assert ours.is_contiguous(memory_format=torch.channels_last), shape
        toward = torch.randn_like(theirs)
        gradients = [torch.autograd.grad(each, images, toward)[0] for each in (ours, theirs)]
        assert torch.equal(*gradients), shape
print("equal")
"""


@pytest.mark.processes
def test_our_pooling_gives_what_pytorchs_does_to_the_last_bit():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    ran = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stdout.strip() == "equal", ran.stderr[-2000:]
