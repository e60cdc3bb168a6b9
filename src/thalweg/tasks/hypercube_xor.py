"""Exclusive or on the hypercube: x uniform on {-1, 1}^d, y = x[0] x[1], from n of the 2^d points.

The other d - 2 coordinates are noise that a network can use to remember single points.

Source: arXiv 2307.11007, its distribution P_xor.
Differs: 1. training points are distinct and the fresh ones are none of them, so that every fresh point is unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["HypercubeXor"]

CROWDED = 0.5
"""Largest share of the hypercube that may be asked for: drawing until points are new stays quick below it."""


@dataclass(frozen=True, slots=True, eq=False)
class HypercubeXor:
    """One training set.

    Args:
        inputs: distinct points of +-1, shape (n, d), d >= 2.
    """

    inputs: np.ndarray

    def __post_init__(self) -> None:
        if self.inputs.ndim != 2 or self.inputs.shape[1] < 2 or not (np.abs(self.inputs) == 1).all():
            raise InputError(f"inputs of shape {self.inputs.shape} must be signs -1 and 1, (n, d) with d >= 2")
        if len(np.unique(self.inputs, axis=0)) < len(self.inputs):
            raise InputError("inputs hold a point twice; draw distinct ones with HypercubeXor.draw")

    @classmethod
    def draw(cls, *, dim: int, samples: int, rng: np.random.Generator) -> HypercubeXor:
        """Distinct uniform points.

        Args:
            dim: d >= 2.
            samples: n >= 1, at most half of the 2^d points.
            rng: all randomness.

        Raises:
            InputError: a number out of range.
        """
        if dim < 2 or not 1 <= samples <= CROWDED * 2.0**dim:
            raise InputError(f"dim={dim}, samples={samples} need dim >= 2 and 1 <= samples <= 2^dim / 2")
        return cls(_distinct(samples, dim, set(), rng))

    @property
    def targets(self) -> np.ndarray:
        """The labels of the training points, +-1, shape (n,)."""
        return self.label(self.inputs)

    @staticmethod
    def label(points: np.ndarray) -> np.ndarray:
        """x[0] x[1], (..., d) -> (...)."""
        return points[..., 0] * points[..., 1]

    def fresh(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Distinct points that are not in the training set, shape (count, d).

        Raises:
            InputError: with the training set more than half of the hypercube.
        """
        n, dim = self.inputs.shape
        if not 1 <= count <= CROWDED * 2.0**dim - n:
            raise InputError(f"count={count} must be at least 1 and, with the {n} inputs, at most 2^{dim} / 2")
        return _distinct(count, dim, {row.tobytes() for row in self.inputs.astype(np.float64)}, rng)


def _distinct(count: int, dim: int, seen: set[bytes], rng: np.random.Generator) -> np.ndarray:
    """Uniform points that are neither seen nor drawn twice."""
    found: list[np.ndarray] = []
    while len(found) < count:
        for row in 2.0 * rng.integers(2, size=(count - len(found), dim)) - 1:
            if (key := row.tobytes()) not in seen:
                seen.add(key)
                found.append(row)
    return np.stack(found)
