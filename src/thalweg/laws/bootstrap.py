"""Parameter draws by a weighted block bootstrap, so that parameters and predictions get intervals.

Residuals of a loss curve are autocorrelated, so whole blocks of neighbouring points get one random weight (exponential
with mean 1), and the prior's centre is drawn from the prior. Each draw is a refit from the fit's parameters, cut off
after a few steps: one step alone overshoots along the badly determined directions.

Source: Rubin 1981 (Bayesian bootstrap); Kunsch 1989 (blocks).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from thalweg.laws.points import Points
from thalweg.laws.solve import Problem, solve

__all__ = ["bootstrap"]

ROUNDS = 6  # steps of a refit


def bootstrap(
    points: Points, problem: Problem, u: np.ndarray, length: np.ndarray, *, draws: int, seed: int
) -> np.ndarray:
    """Draws of the law's parameters.

    Args:
        points: the fitted points.
        problem: the objective at whose minimum ``u`` lies.
        u: internal parameters of the fit, shape (p,).
        length: correlation length of each curve's residuals in points, shape (curves,).
        draws: how many.
        seed: of the random weights.

    Returns:
        Parameters in the order of the law's names, shape (draws, p).
    """
    if draws == 0:
        return np.zeros((0, len(points.law.names)))
    rng = np.random.default_rng(seed)
    block, count = _blocks(points, length)
    width = np.sqrt(np.divide(1.0, problem.precision, out=np.zeros(len(u)), where=problem.precision > 0))
    noise = _noise(problem, u, points, length)
    out = []
    for _ in range(draws):
        weights = problem.weights * rng.exponential(size=count)[block]
        centre = problem.mean + noise * width * rng.standard_normal(len(u))
        drawn = replace(problem, weights=weights, mean=centre)
        params = points.law.natural(solve(drawn, u, rounds=ROUNDS, tolerance=1e-4).u, points.scale)
        out.append([params[name] for name in points.law.names])
    return np.array(out)


def _blocks(points: Points, length: np.ndarray) -> tuple[np.ndarray, int]:
    """Block number of every point, and the number of blocks; a block is twice the correlation length."""
    numbers, count = [], 0
    for curve, reach in zip(points.curves, length, strict=True):
        size = int(np.clip(np.ceil(2 * reach), 2, max(2, len(curve) // 6)))
        numbers.append(count + np.arange(len(curve)) // size)
        count += -(-len(curve) // size)
    return np.concatenate(numbers), count


def _noise(problem: Problem, u: np.ndarray, points: Points, length: np.ndarray) -> float:
    """Standard deviation of the objective's unit: the root of the residuals' variance times correlation length."""
    scaled = problem.residuals(u) * np.sqrt(problem.weights)
    power = np.array([np.sum(np.minimum(np.abs(part), 5e-3) ** 2) for part in np.split(scaled, points.ends[:-1])])
    return float(np.sqrt(power @ length / problem.weights.sum()))
