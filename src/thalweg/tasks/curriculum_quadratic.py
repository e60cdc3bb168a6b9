"""A slow signal and fast noise: where data in ascending quality pay, and what a decay of the learning rate costs.

One slow direction of curvature h is pulled towards the quality q_t in [0, 1] of sample t, its target is 1; D fast
directions of curvature 1 have target 0 and gradient noise sigma. SGD with rates eta_t is linear, so a mean of iterates
x_bar = sum_k c_k x_{t_k} is sum_t b_t(lambda) · (target of sample t) with

    b_t(lambda) = lambda eta_t sum_k c_k prod_{t < r < t_k} (1 - lambda eta_r),

and the risk h/2 E (1 - s_bar)^2 + w h D sigma^2 sum_t b_t(1)^2 is exact: E q and its covariance are known for qualities
drawn uniformly, in random order (iid) as in sorted order (order statistics).

Source: arXiv 2511.18903 (the signal and noise picture of its figures 4 and 6; sizes are ours).
Differs: 1. exact instead of simulated; ``simulate`` is the witness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from thalweg.errors import InputError, suggest

__all__ = ["CurriculumQuadratic"]

ORDERS = ("uniform", "ascend", "descend")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurriculumQuadratic:
    """The two kinds of directions; weights start at 0.

    Args:
        curvature: h of the slow direction, in (0, 1].
        noise: sigma, standard deviation of the gradient noise in the fast directions (>= 0).
        directions: D, how many there are (>= 0).
        weight: w, what their squared norm counts, in units of h (>= 0).
    """

    curvature: float = 0.01
    noise: float = 0.5
    directions: int = 16
    weight: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.curvature <= 1:
            raise InputError(f"curvature={self.curvature!r} must lie in (0, 1]")
        for name in ("noise", "directions", "weight"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name}={getattr(self, name)!r} must be a finite number of at least 0")

    def influence(self, rates: np.ndarray, curvature: float, average: Mapping[int, float] | None = None) -> np.ndarray:
        """b_t: how much of each sample's target the mean iterate holds, shape (steps,).

        Args:
            rates: learning rates, shape (steps,).
            curvature: lambda of the direction.
            average: finished steps -> weight of that iterate; None takes the last alone.

        Raises:
            InputError: an iterate outside 1 … steps.
        """
        steps = len(rates)
        wanted = {steps: 1.0} if average is None else dict(average)
        if outside := [step for step in wanted if not 1 <= step <= steps]:
            raise InputError(f"average names iterate {outside[0]} of {steps} steps: name finished steps 1 … {steps}")
        out, carried = np.empty(steps), 0.0
        for step in range(steps - 1, -1, -1):
            carried += wanted.get(step + 1, 0.0)
            out[step] = carried * rates[step] * curvature
            carried *= 1 - rates[step] * curvature
        return out

    def risk(
        self,
        order: Literal["uniform", "ascend", "descend"],
        rates: np.ndarray,
        average: Mapping[int, float] | None = None,
    ) -> float:
        """The expected risk of the mean iterate after one pass over as many samples as there are rates.

        Args:
            order: of the samples by quality.
            rates: learning rates, shape (steps,).
            average: see ``influence``.

        Raises:
            InputError: an unknown order.
        """
        if order not in ORDERS:
            raise InputError(f"order={order!r} is not known: {suggest(order, ORDERS)}")
        steps = len(rates)
        pull = self.influence(rates, self.curvature, average)
        if order == "uniform":
            mean, variance = pull.sum() / 2, (pull @ pull) / 12
        else:
            rank = np.arange(1, steps + 1, dtype=float)
            own = pull if order == "ascend" else pull[::-1]
            mean = own @ rank / (steps + 1)
            before = np.concatenate([[0.0], np.cumsum(rank * own)[:-1]])
            left = steps + 1 - rank
            variance = (2 * (own * left) @ before + (rank * left) @ own**2) / ((steps + 1) ** 2 * (steps + 2))
        fast = self.influence(rates, 1.0, average)
        return float(
            self.curvature / 2 * ((1 - mean) ** 2 + variance)
            + self.weight * self.curvature * self.directions * self.noise**2 * (fast @ fast)
        )

    def simulate(
        self, quality: np.ndarray, rates: np.ndarray, rng: np.random.Generator, average: Mapping[int, float]
    ) -> np.ndarray:
        """Runs SGD: the risk of each replica's mean iterate, shape (replicas,).

        Args:
            quality: of the samples in the order in which they come, shape (replicas, steps).
            rates: learning rates, shape (steps,).
            rng: of the gradient noise.
            average: finished steps -> weight of that iterate.
        """
        replicas = len(quality)
        slow, fast = np.zeros(replicas), np.zeros((replicas, self.directions))
        mean_slow, mean_fast = np.zeros_like(slow), np.zeros_like(fast)
        for step, rate in enumerate(rates):
            slow -= rate * self.curvature * (slow - quality[:, step])
            fast -= rate * (fast + self.noise * rng.standard_normal(fast.shape))
            mean_slow += average.get(step + 1, 0.0) * slow
            mean_fast += average.get(step + 1, 0.0) * fast
        return self.curvature * ((1 - mean_slow) ** 2 / 2 + self.weight * (mean_fast**2).sum(axis=1))
