"""A quadratic hill with gradient noise, where everything is exact: the second moment, its limit, the best schedule.

SGD on L(x) = (lam / 2) x^2 with gradient noise of variance sigma^2 gives, with v = E x^2,
v ← (1 - eta lam)^2 v + eta^2 sigma^2. At a constant rate v tends to eta sigma^2 / (lam (2 - eta lam)), the loss to
eta sigma^2 / (2 (2 - eta lam)). The rate that lowers v most, eta = lam v / (lam^2 v + sigma^2), gives
1 / v ← 1 / v + lam^2 / sigma^2 and 1 / eta ← 1 / eta + lam: the inverse decay of arXiv 2410.05192.

Source: arXiv 2410.05192 (why the decay is inverse).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["NoisyQuadratic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyQuadratic:
    """One direction of a hill.

    Args:
        curvature: lam (> 0); SGD is stable for rates below 2 / lam.
        noise: sigma, standard deviation of the gradient noise (> 0).
    """

    curvature: float = 1.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        for name in ("curvature", "noise"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"{name}={getattr(self, name)!r} must be a finite number above 0")

    def loss(self, moment: np.ndarray | float) -> np.ndarray | float:
        """The expected loss lam v / 2 of a second moment v."""
        return self.curvature / 2 * moment

    def moments(self, rates: np.ndarray, *, start: float) -> np.ndarray:
        """E x^2 before the first and after every step.

        Args:
            rates: learning rates, shape (steps,).
            start: E x^2 at the start (>= 0).

        Returns:
            Shape (steps + 1,), ``start`` first.
        """
        moments = [start]
        for rate in rates:
            moments.append((1 - rate * self.curvature) ** 2 * moments[-1] + (rate * self.noise) ** 2)
        return np.array(moments, dtype=np.float64)

    def stationary(self, rate: float) -> float:
        """E x^2 in the limit of a constant rate.

        Raises:
            InputError: the rate is outside (0, 2 / curvature), where there is no limit.
        """
        if not 0 < rate * self.curvature < 2:
            raise InputError(f"rate={rate!r} has no limit; it must be above 0 and below {2 / self.curvature!r}")
        return rate * self.noise**2 / (self.curvature * (2 - rate * self.curvature))

    def best_rates(self, steps: int, *, start: float) -> np.ndarray:
        """The rates that lower E x^2 most at every step, shape (steps,): 1 / eta grows by the curvature a step."""
        first = self.curvature + self.noise**2 / (self.curvature * start)
        return 1 / (first + self.curvature * np.arange(steps))

    def best_moment(self, steps: int, *, start: float) -> float:
        """E x^2 after ``steps`` steps at the best rates: 1 / (1 / start + steps lam^2 / sigma^2)."""
        return 1 / (1 / start + steps * (self.curvature / self.noise) ** 2)
