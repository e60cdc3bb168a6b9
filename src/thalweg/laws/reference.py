"""The official fitting procedure for the multi-power law, step by step, on the fast evaluator.

1. A four-parameter fit of L0 + A S^-alpha - B (3e-4 - eta_t) by L-BFGS-B from a grid of 135 starts.
2. Seven parameters from (that, C = 1, beta = gamma = 0.5) by AdamW on the full batch: rate 5e-2 for L0, A, B, C and
   5e-3 for alpha, beta, gamma, weight decay 1e-2, at most 200 steps, stop after 20 without improvement.
Warmup counts in the drop sum (``warmup="code"``), every logged point after warmup weighs the same. It stops far from
the optimum of its own objective, which acts as a regulariser; its parameters are those AFTER the step that saw the
least objective, as in the official code.

Source: thu-yao-01-luo/MultiPowerLaw at commit 8da9f190, src/fitting.py and src/config.py.
Differs: 1. gradients are analytic in stage 1, where the official code takes differences; 2. the drop sum is compressed
(error below 1e-7); 3. the peak of stage 1 is that of the curves (3e-4 in the official data).
"""

from __future__ import annotations

from itertools import product

import numpy as np

from thalweg.laws.curve import LossCurve
from thalweg.laws.drops import ORDER, DropTable
from thalweg.laws.multi_power import MultiPower
from thalweg.laws.points import Points, correlation, gather, seen
from thalweg.laws.record import Record
from thalweg.laws.solve import DELTA, FLOOR

__all__ = ["fit_reference"]

STEPS, PATIENCE, LEAST_GRADIENT = 200, 20, 1e-5
RATES = np.array([5e-2, 5e-2, 5e-3, 5e-2, 5e-2, 5e-3, 5e-3])  # of L0, A, alpha, B, C, beta, gamma
BETAS, EPSILON, DECAY = (0.9, 0.999), 1e-8, 1e-2  # torch.optim.AdamW's defaults


def huber(residual: np.ndarray) -> tuple[float, np.ndarray]:
    """Sum of Huber's function with delta 1e-3, and its derivative by every residual (n,)."""
    size = np.abs(residual)
    value = np.where(size < DELTA, 0.5 * residual**2, DELTA * (size - 0.5 * DELTA))
    return float(value.sum()), np.clip(residual, -DELTA, DELTA)


def fit_reference(curves: list[LossCurve]) -> MultiPower:
    """The law that the official code fits to these curves; takes no prior, no bootstrap."""
    points = gather(MultiPower, curves, "code", ORDER, repeats=True)
    start = one_power_start(points)
    params, objective = adamw(points, np.concatenate([start, [1.0, 0.5, 0.5]]))
    names = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
    law = MultiPower(params=dict(zip(names, params, strict=True)) | {"warmup_share": 1.0}, warmup="code")
    predicted = points.model(law.internal(law.params, points.scale), False)[0]
    residuals = points.log_losses - np.log(np.maximum(predicted, FLOOR))
    record = Record(
        method="reference",
        seen=seen(points.curves, points.scale),
        noise=float(np.sqrt(np.mean(residuals**2))),
        correlation=float(correlation(residuals, points.ends).mean()),
        error=float(np.mean(np.abs(residuals))),
        objective=objective,
        draws=np.zeros((0, len(MultiPower.names))),
        notes=tuple(f"{curve.name}: {note}" for curve in curves for note in curve.notes),
    )
    return law.with_record(record)


def one_power_start(points: Points) -> np.ndarray:
    """Stage 1: (L0, A, alpha, B), the best end of 135 descents."""
    from scipy.optimize import minimize
    from scipy.stats import linregress

    log_sum, peak = np.log(points.sums), points.scale.peak
    fall = peak - np.concatenate([curve.rates[curve.steps] for curve in points.curves])
    least = float(np.exp(points.log_losses.min()))
    line = linregress(log_sum, np.log(np.exp(points.log_losses) - least + 0.01))
    grid = product(
        np.linspace(least - 0.2, least + 0.2, 5),
        np.linspace(np.exp(line.intercept) - 0.1, np.exp(line.intercept) + 0.1, 3),
        np.linspace(-line.slope - 0.1, -line.slope + 0.1, 3),
        np.linspace(100, 1000, 3),
    )

    def objective(p: np.ndarray) -> tuple[float, np.ndarray]:
        power = np.exp(-p[2] * log_sum)
        predicted = np.maximum(p[0] + p[1] * power - p[3] * fall, FLOOR)
        value, slope = huber(points.log_losses - np.log(predicted))
        pull = -slope / predicted
        return value, np.array([pull.sum(), pull @ power, -p[1] * (pull @ (power * log_sum)), -(pull @ fall)])

    options = {"maxiter": 100000, "ftol": 1e-9, "gtol": 1e-6}
    ends = (minimize(objective, p, jac=True, method="L-BFGS-B", bounds=[(0, None)] * 4, options=options) for p in grid)
    return min(ends, key=lambda end: end.fun).x


def adamw(points: Points, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Stage 2: (L0, A, alpha, B, C, beta, gamma) after the step that saw the least objective, and that objective."""
    log_sums = np.log(points.sums)
    log_losses = np.log(np.exp(points.log_losses).astype(np.float32).astype(np.float64))  # the official data type
    p, first, second = start.copy(), np.zeros(7), np.zeros(7)
    best, kept, stale = np.inf, start.copy(), 0
    for step in range(1, STEPS + 1):
        value, gradient = _objective(points, log_sums, log_losses, p)
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
        scaled = first / (1 - BETAS[0] ** step) / (np.sqrt(second / (1 - BETAS[1] ** step)) + EPSILON)
        p = p * (1 - RATES * DECAY) - RATES * scaled
        stale = 0 if value < best else stale + 1
        if (step - 1 > PATIENCE and stale >= PATIENCE) or np.linalg.norm(gradient) < LEAST_GRADIENT:
            break
        if value < best:
            best, kept = value, p.copy()
    return kept, float(best)


def _objective(points: Points, log_sums: np.ndarray, log_losses: np.ndarray, p: np.ndarray) -> tuple[float, np.ndarray]:
    tables: list[DropTable] = [features.drop for features in points.features]
    parts = [table.drops_and_slopes(p[4], p[5], p[6]) for table in tables]
    drop, slopes = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    power = np.exp(-p[2] * log_sums)
    predicted = np.maximum(p[0] + p[1] * power - p[3] * drop, FLOOR)
    value, slope = huber(log_losses - np.log(predicted))
    outer = [np.ones_like(power), power, -p[1] * log_sums * power, -drop, -p[3] * slopes[:, 0] / p[4]]
    jacobian = np.stack([*outer, -p[3] * slopes[:, 1], -p[3] * slopes[:, 2]], axis=1)
    return value, -jacobian.T @ (slope / predicted)
