"""Muon: momentum whose every step turns a layer's weights in all directions alike (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# A polynomial a·s + b·s³ + c·s⁵ that lifts small singular values steeply and leaves large ones near 1; the numbers
# are those that Keller Jordan published with Muon (kellerjordan.github.io/posts/muon).
MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrix: Tensor, steps: int = 3) -> Tensor:
    """Return a matrix with nearly the same directions, but singular values near 1, without computing an SVD.

    Args:
        matrix: float (rows, columns). On a GPU it is computed in bfloat16, as only matrix products are needed.
        steps: of the iteration; 5 bring any singular value above 1/100 of the norm to between 0.5 and 1.3, and 3 are
            enough for training.
    """
    dtype = torch.bfloat16 if matrix.is_cuda else torch.float32
    x = matrix.to(dtype)
    x = x / (x.norm() + 1e-7)  # now no singular value is above 1
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x  # (short, long): the product below is then small
    a, b, c = MUON_COEFFICIENTS
    for _ in range(steps):
        squares = x @ x.T  # (short, short)
        lift = torch.addmm(squares, squares, squares, beta=b, alpha=c)  # b · squares + c · squares²
        x = torch.addmm(x, lift, x, beta=a)  # a · x + lift · x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum for convolutions and matrices, with orthogonalised steps and weights of fixed length.

    Each filter bank (out, in, k, k) is seen as a matrix (out, in·k·k). Before a step its norm is set to the root of
    its number of filters, so that the learning rate alone says how far the weights turn.

    Args:
        parameters: tensors with at least two axes.
        lr: how far a step turns the weights.
        momentum: how much of the last gradients is kept, from 0 to below 1.

    Raises:
        ValueError: for a vector, which has no directions to balance, or a setting out of range.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float = 0.24, momentum: float = 0.6) -> None:
        parameters = list(parameters)
        if any(each.ndim < 2 for each in parameters):
            raise ValueError("Muon turns matrices and filter banks; give vectors, such as biases, to SGD.")
        if lr <= 0 or not 0 <= momentum < 1:
            raise ValueError(f"Muon needs lr > 0 and 0 ≤ momentum < 1, not {lr} and {momentum}.")
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step from the gradients in `.grad`."""
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                state = self.state[weights]
                if not state:
                    state["momentum"] = torch.zeros_like(weights.grad)
                state["momentum"].mul_(group["momentum"]).add_(weights.grad)
                ahead = weights.grad.add(state["momentum"], alpha=group["momentum"])  # Nesterov: look one step ahead
                weights.mul_(len(weights) ** 0.5 / weights.norm())
                update = orthogonalised(ahead.flatten(1)).view_as(weights)
                weights.add_(update, alpha=-group["lr"])
