"""How well the data determine a law's parameters, before any prior.

Source: our own. The condition number is that of the weighted Jacobian of log predictions by log parameters.
"""

from __future__ import annotations

import numpy as np

from thalweg.laws.points import Points
from thalweg.laws.record import Identifiability
from thalweg.laws.solve import FLOOR, Problem

__all__ = ["LOOSE", "identify"]

LOOSE = 0.3  # standard error of a log parameter above which it counts as badly determined


def identify(points: Points, problem: Problem, u: np.ndarray, length: np.ndarray) -> Identifiability:
    """The report at the fit ``u`` (p,), with residuals correlated over ``length`` points a curve (curves,)."""
    predicted, slopes = problem.model(u, True)
    assert slopes is not None
    lower, upper = problem.bounds
    held = {name for name, place in points.law.FIXABLE.items() if lower[place] == upper[place]}
    free = [k for k, name in enumerate(points.law.names) if name not in held]
    root = np.sqrt(problem.weights)
    residual = (problem.log_losses - np.log(np.maximum(predicted, FLOOR))) * root
    jacobian = slopes / predicted[:, None] * root[:, None] @ _to_log(points, u)
    jacobian = jacobian[:, free]
    names = [points.law.names[i] for i in free]
    values, vectors = np.linalg.svd(jacobian, full_matrices=False)[1:]
    power = np.array([np.sum(np.minimum(np.abs(part), 5e-3) ** 2) for part in np.split(residual, points.ends[:-1])])
    variance = float(power @ length / problem.weights.sum())
    values = np.maximum(values, values[0] * 1e-15)
    errors = np.sqrt(variance * np.sum((vectors / values[:, None]) ** 2, axis=0))
    worst = vectors[-1] / vectors[-1][np.argmax(np.abs(vectors[-1]))]
    return Identifiability(
        condition=float(values[0] / values[-1]),
        errors=dict(zip(names, map(float, errors), strict=True)),
        loose=tuple(name for name, error in zip(names, errors, strict=True) if error > LOOSE),
        direction={name: round(float(x), 3) for name, x in zip(names, worst, strict=True) if abs(x) >= 0.1},
    )


def _to_log(points: Points, u: np.ndarray) -> np.ndarray:
    """D u / d log(params), shape (p, p), by central differences of the inverse map."""
    params = points.law.natural(u, points.scale)
    columns = []
    for name in points.law.names:
        step = 1e-5
        ends = []
        for sign in (1, -1):
            moved = dict(params)
            moved[name] = (
                1 - (1 - params[name]) * np.exp(sign * step) if name == "lambda" else params[name] * np.exp(sign * step)
            )
            ends.append(points.law.internal(moved, points.scale))
        columns.append((ends[0] - ends[1]) / (2 * step))
    return np.stack(columns, axis=1)
