"""A curved river valley in two dimensions, with the two parts of its loss known exactly.

The loss is L(x, y) = (k / 2) (y - a sin(x / w))^2 + h exp(-x / l): a steep hill across the river y = a sin(x / w), and
a slow fall along it. SGD with noise in both directions keeps a hill part of about eta sigma^2 / 2 and moves along the
river by the sum of the learning rates; a decay takes the hill part away.

Source: arXiv 2410.05192 (river valley; this landscape is ours).
Differs: 1. the river's point that belongs to a point is the one with the same x, not the limit Phi of the projected
flow: exact to first order near the river, and simple. 2. the river bends, so noise also moves along it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thalweg.errors import InputError

__all__ = ["RiverValley", "ValleyMeans"]


class ValleyMeans(NamedTuple):
    """Means over replicas, and the standard error of each.

    Attributes:
        hill: mean loss above the river.
        river: mean loss of the river below the points.
        loss: their sum, the mean loss.
        hill_error: standard error of ``hill``.
        river_error: standard error of ``river``.
        loss_error: standard error of ``loss``.
    """

    hill: float
    river: float
    loss: float
    hill_error: float
    river_error: float
    loss_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RiverValley:
    """The landscape and the noise of its gradients.

    Args:
        steepness: k, curvature across the river (> 0); gradient descent is stable for rates below about 2 / k.
        height: h, loss of the river at x = 0 (> 0).
        length: l, distance along x in which the river falls by a factor e (> 0).
        bend: a, how far the river swings to either side (>= 0).
        width: w, the river turns once in 2 pi w (> 0).
        noise: standard deviation of the gradient noise in each direction (>= 0).
    """

    steepness: float = 10.0
    height: float = 10.0
    length: float = 10.0
    bend: float = 2.0
    width: float = 4.0
    noise: float = 3.0

    def __post_init__(self) -> None:
        for name in ("steepness", "height", "length", "width"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"{name}={getattr(self, name)!r} must be a finite number above 0")
        for name in ("bend", "noise"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name}={getattr(self, name)!r} must be a finite number of at least 0")

    def hill(self, points: np.ndarray) -> np.ndarray:
        """Loss above the river, (k / 2) (y - a sin(x / w))^2; points (..., 2) to (...)."""
        x, y = points[..., 0], points[..., 1]
        return self.steepness / 2 * (y - self.bend * np.sin(x / self.width)) ** 2

    def river(self, points: np.ndarray) -> np.ndarray:
        """Loss of the river at the same x, h exp(-x / l); points (..., 2) to (...)."""
        return self.height * np.exp(-points[..., 0] / self.length)

    def loss(self, points: np.ndarray) -> np.ndarray:
        """Hill plus river; points (..., 2) to (...)."""
        return self.hill(points) + self.river(points)

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """The exact gradient of the loss; points (..., 2) to (..., 2)."""
        x, y = points[..., 0], points[..., 1]
        across = self.steepness * (y - self.bend * np.sin(x / self.width))
        along = -across * self.bend / self.width * np.cos(x / self.width) - self.river(points) / self.length
        return np.stack([along, across], axis=-1)

    def descend(
        self,
        rates: np.ndarray,
        *,
        replicas: int | None = None,
        seed: int = 0,
        start: np.ndarray | None = None,
        at: Sequence[int] | None = None,
    ) -> np.ndarray:
        """SGD with Gaussian gradient noise, all replicas at once.

        Args:
            rates: learning rate of each step, shape (steps,); ``schedule.rates(steps)``.
            replicas: independent runs (>= 1); None for as many as ``start`` has points, 2000 without it.
            seed: of the noise.
            start: points to start from, (replicas, 2); None for the origin.
            at: numbers of finished steps, increasing, after which to keep the points; None for the end alone.

        Returns:
            The points, shape (len(at), replicas, 2).

        Raises:
            InputError: ``at`` outside 0 to steps or not increasing, no replica, or a start for another number of them.
        """
        keep = [len(rates)] if at is None else list(at)
        if not keep or sorted(set(keep)) != keep or keep[0] < 0 or keep[-1] > len(rates):
            raise InputError(f"at={keep!r} must be increasing numbers of steps from 0 to {len(rates)}")
        if replicas is not None and replicas < 1:
            raise InputError(f"replicas={replicas!r} must be at least 1")
        points = np.zeros((replicas or 2000, 2)) if start is None else np.array(start, dtype=np.float64)
        if points.shape != (replicas or len(points), 2):
            raise InputError(f"start has shape {points.shape}; give one point (x, y) for each of {replicas} replicas")
        generator = np.random.default_rng(seed)
        kept = [points.copy()] if keep[0] == 0 else []
        for step, rate in enumerate(rates, start=1):
            points -= rate * (self.gradient(points) + self.noise * generator.standard_normal(points.shape))
            if step in keep:
                kept.append(points.copy())
        return np.stack(kept)

    def means(self, points: np.ndarray) -> ValleyMeans:
        """The parts of the loss averaged over replicas; points (replicas, 2), at least two."""
        parts = [self.hill(points), self.river(points), self.loss(points)]
        root = np.sqrt(len(points))
        return ValleyMeans(*(float(part.mean()) for part in parts), *(float(part.std(ddof=1) / root) for part in parts))
