"""The moving average of a noisy loss, unbiased from its first value on, as in Adam (arXiv:1412.6980, section 3)."""

from __future__ import annotations

from collections.abc import Iterable


class MovingAverage:
    """An exponential moving average with bias correction, one value after the other.

    Args:
        beta: how much of the old average a new value leaves, from 0 (no smoothing) to below 1.

    Raises:
        ValueError: for a `beta` outside [0, 1).
    """

    def __init__(self, beta: float) -> None:
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be at least 0 and below 1, not {beta}; 0.98 smooths over some 50 batches.")
        self.beta, self.count, self._average = beta, 0, 0.0

    def add(self, value: float) -> float:
        """Take in the next value and return the average of all so far."""
        self.count += 1
        self._average = self.beta * self._average + (1 - self.beta) * value
        return self._average / (1 - self.beta**self.count)  # without this, it would begin near 0


def smooth(losses: Iterable[float], beta: float = 0.98) -> list[float]:
    """Return the losses, one number a step, as a `MovingAverage` with `beta`.

    Raises:
        ValueError: for a `beta` outside [0, 1).
    """
    average = MovingAverage(beta)
    return [average.add(loss) for loss in losses]
