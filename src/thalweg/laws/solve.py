"""Huber least squares in log space with a Gaussian prior, by Levenberg-Marquardt with bounds.

    minimise  sum_i w_i huber(log y_i - log f_i(u)) + strength/2 sum_j ((u_j - m_j) / s_j)^2

Source: the objective of arXiv 2503.12811 (delta 1e-3) with weights and a prior added; iteratively reweighted normal
equations as in Holland and Welsch 1977.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["DELTA", "Problem", "Solution", "solve"]

DELTA = 1e-3  # arXiv 2503.12811: residuals of log loss beyond this count linearly
FLOOR = 1e-10  # predictions are clamped here before the logarithm, as in the official code


@dataclass(frozen=True, slots=True)
class Problem:
    """What is minimised.

    Attributes:
        model: u (p,) -> prediction (n,) and, if asked, its Jacobian (n, p).
        log_losses: log y, shape (n,).
        weights: w, shape (n,).
        bounds: lower and upper limits of u, each (p,).
        mean: centre of the prior, shape (p,).
        precision: strength / s^2, 0 where the prior is flat, shape (p,).
    """

    model: Callable[[np.ndarray, bool], tuple[np.ndarray, np.ndarray | None]]
    log_losses: np.ndarray
    weights: np.ndarray
    bounds: tuple[np.ndarray, np.ndarray]
    mean: np.ndarray
    precision: np.ndarray

    def residuals(self, u: np.ndarray) -> np.ndarray:
        """Log y - log f(u), shape (n,)."""
        return self.log_losses - np.log(np.maximum(self.model(u, False)[0], FLOOR))

    def value(self, u: np.ndarray) -> float:
        """The objective."""
        return self._total(self.residuals(u), u)

    def normal(self, u: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Objective, gradient (p,) and the reweighted Gauss-Newton matrix (p, p)."""
        predicted, slopes = self.model(u, True)
        assert slopes is not None
        predicted = np.maximum(predicted, FLOOR)
        residual = self.log_losses - np.log(predicted)
        log_slopes = slopes / predicted[:, None]
        pull = self.weights * np.minimum(1.0, DELTA / np.maximum(np.abs(residual), 1e-300))
        away = self.precision * (u - self.mean)
        matrix = (log_slopes * pull[:, None]).T @ log_slopes + np.diag(self.precision)
        return self._total(residual, u), away - log_slopes.T @ (pull * residual), matrix

    def _total(self, residual: np.ndarray, u: np.ndarray) -> float:
        size = np.abs(residual)
        huber = np.where(size < DELTA, 0.5 * residual**2, DELTA * (size - 0.5 * DELTA))
        return float(self.weights @ huber + 0.5 * self.precision @ (u - self.mean) ** 2)


@dataclass(frozen=True, slots=True)
class Solution:
    """Where the descent ended: parameters, objective, and how many model evaluations it took."""

    u: np.ndarray
    value: float
    evaluations: int


def solve(problem: Problem, start: np.ndarray, *, rounds: int = 100, tolerance: float = 1e-9) -> Solution:
    """Descends from ``start``; stops when a step gains less than ``tolerance`` of the objective."""
    lower, upper = problem.bounds
    u = np.clip(start, lower, upper)
    value, gradient, matrix = problem.normal(u)
    damping, evaluations = 1e-3, 1
    for _ in range(rounds):
        free = np.flatnonzero(~((u <= lower) & (gradient > 0)) & ~((u >= upper) & (gradient < 0)))
        found = None
        while found is None and damping < 1e10:
            trial = np.clip(u + _step(matrix, gradient, free, damping), lower, upper)
            evaluations += 1
            reached = problem.value(trial)
            found = (trial, reached) if reached < value else None
            damping = damping if found else damping * 4
        if found is None:
            break
        gain = value - found[1]
        u = found[0]
        value, gradient, matrix = problem.normal(u)
        damping, evaluations = max(damping / 5, 1e-12), evaluations + 1
        if gain <= tolerance * value:
            break
    return Solution(u, value, evaluations)


def _step(matrix: np.ndarray, gradient: np.ndarray, free: np.ndarray, damping: float) -> np.ndarray:
    step = np.zeros(len(gradient))
    if len(free):
        inner = matrix[np.ix_(free, free)]
        scale = np.maximum(np.sqrt(np.diag(inner)), 1e-150)  # its square must not underflow
        scaled = inner / np.outer(scale, scale) + (damping + 1e-14) * np.eye(len(free))
        step[free] = -np.linalg.lstsq(scaled, gradient[free] / scale, rcond=None)[0] / scale
    return step
