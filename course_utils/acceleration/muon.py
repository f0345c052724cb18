"""Muon: momentum whose every step turns a layer's weights in all directions alike (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from course_utils.acceleration.devices import half_type

# A polynomial a·s + b·s³ + c·s⁵ that lifts small singular values steeply and leaves large ones near 1; the numbers
# are those that Keller Jordan published with Muon (kellerjordan.github.io/posts/muon).
MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrix: Tensor, steps: int = 3) -> Tensor:
    """Return a matrix with nearly the same directions, but singular values near 1, without computing an SVD.

    Args:
        matrix: float (rows, columns), or a stack of them, (N, rows, columns), each for itself. On a GPU it is computed
            in the 16 bits of `half_type`, as only matrix products are needed.
        steps: of the iteration; 5 bring any singular value above 1/100 of the norm to between 0.5 and 1.3, and 3 are
            enough for training.
    """
    x = matrix.float().reshape(-1, *matrix.shape[-2:])
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # now no singular value is above 1
    x = x.to(half_type(matrix.device)) if matrix.is_cuda else x
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x  # (N, short, long): the products below are then small
    a, b, c = MUON_COEFFICIENTS
    for _ in range(steps):
        squares = torch.bmm(x, x.mT)  # (N, short, short)
        lift = torch.baddbmm(squares, squares, squares, beta=b, alpha=c)  # b · squares + c · squares²
        x = torch.baddbmm(x, lift, x, beta=a)  # a · x + lift · x
    return (x.mT if tall else x).to(matrix.dtype).reshape(matrix.shape)


def orthogonalised_together(banks: Sequence[Tensor], steps: int = 3) -> list[Tensor]:
    """Return what `orthogonalised` makes of each filter bank (out, …) as a matrix, in a few large products.

    Banks with equally many filters are stacked, the shorter ones with columns of zeros, which change nothing.
    """
    matrices = [bank.flatten(1) for bank in banks]
    turned: list[Tensor] = list(banks)
    for count in dict.fromkeys(map(len, matrices)):
        places = [i for i, matrix in enumerate(matrices) if len(matrix) == count]
        stack = pad_sequence([matrices[i].mT for i in places], batch_first=True).mT  # (N, count, longest)
        for i, matrix in zip(places, orthogonalised(stack, steps)):
            turned[i] = matrix[:, : matrices[i].shape[1]].reshape(banks[i].shape)
    return turned


class Muon(torch.optim.Optimizer):
    """Nesterov momentum for convolutions and matrices, with orthogonalised steps and weights of fixed length.

    Each filter bank (out, in, k, k) is seen as a matrix (out, in·k·k). Before a step its norm is set to the root of
    its number of filters, so that the learning rate alone says how far the weights turn. All banks take their step
    together, the sprint's six in 40 operations instead of 20 each: on a GPU small ones cost little but their launch.

    Args:
        parameters: tensors with at least two axes.
        lr: how far a step turns the weights; a tensor where a CUDA graph is to follow it.
        momentum: how much of the last gradients is kept, from 0 to below 1.

    Raises:
        ValueError: for a vector, which has no directions to balance, or a setting out of range.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float | Tensor = 0.24, momentum: float = 0.6) -> None:
        parameters = list(parameters)
        if any(each.ndim < 2 for each in parameters):
            raise ValueError("Muon turns matrices and filter banks; give vectors, such as biases, to SGD.")
        if (not isinstance(lr, Tensor) and lr <= 0) or not 0 <= momentum < 1:
            raise ValueError(f"Muon needs lr > 0 and 0 ≤ momentum < 1, not {lr} and {momentum}.")
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step from the gradients in `.grad`."""
        for group in self.param_groups:
            weights = [each for each in group["params"] if each.grad is not None]
            if not weights:
                continue
            gradients = [each.grad for each in weights]
            for each in weights:
                if not self.state[each]:
                    self.state[each]["momentum"] = torch.zeros_like(each.grad)
            momenta = [self.state[each]["momentum"] for each in weights]
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, gradients)
            ahead = torch._foreach_add(gradients, momenta, alpha=group["momentum"])  # Nesterov: look one step ahead
            updates = orthogonalised_together(ahead)
            lengths = torch._foreach_norm(weights)
            torch._foreach_div_(lengths, [len(each) ** 0.5 for each in weights])
            torch._foreach_clamp_min_(lengths, 1e-7)  # weights that are all zero stay so, and learn from here
            torch._foreach_div_(weights, lengths)
            torch._foreach_mul_(updates, group["lr"])
            torch._foreach_sub_(weights, updates)
