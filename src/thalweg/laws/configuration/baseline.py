"""The Chinchilla law that a configuration law starts from, fitted to the median run with a prior on its exponents.

L(N, D) = E + A N^-alpha + B D^-beta, by reweighted least squares on |residual| (the median of the runs), with normal
priors alpha ~ (0.34, 0.1), beta ~ (0.28, 0.1) around Hoffmann et al.'s exponents. A sweep has two or three sizes, which
do not determine alpha: its prior does, and the members of an ensemble draw its centre.

Source: arXiv 2203.15556, table 2 (exponents); 2602.10300, generate_dataset.py at 4f6e64b0 (`OFFICIAL`).
Differs: 1. the official constants are a fixed lower envelope per source, whose fit may have seen the larger sizes; ours
is fitted to the rows given and runs through their middle.
"""

from __future__ import annotations

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.chinchilla_size import ChinchillaSize, SizeTable

__all__ = ["EXPONENTS", "OFFICIAL", "PRIOR", "fit_baseline"]

EXPONENTS = (0.34, 0.28)  # alpha, beta of arXiv 2203.15556
PRIOR = 0.1  # standard deviation of the prior on each
NOISE = 0.02  # nats; what a residual is measured in
FLOOR = 0.01  # nats; residuals below it count squared, above it absolute
ROUNDS = 30


def _official(a: float, alpha: float, b: float, beta: float, c: float) -> ChinchillaSize:
    return ChinchillaSize(E=c, A=a * 1e6**alpha, alpha=alpha, B=b * 1e9**beta, beta=beta)


OFFICIAL = {
    "marin": _official(
        3.997941824442712, 0.44174138432888976, 0.8251456329446542, 0.1676451054204669, 2.2814165287450208
    ),
    "steplaw": _official(
        1.85240120191131, 0.12576480455477607, 0.7308261081070557, 0.3337389553968635, 1.2122888212135527
    ),
}
"""The published constants, N in parameters and D in tokens (the source counts millions and billions)."""


def fit_baseline(table: SizeTable, *, centre: tuple[float, float] = EXPONENTS, prior: float = PRIOR) -> ChinchillaSize:
    """Fits the law to the middle of the runs.

    Args:
        table: sizes, tokens and losses, at least six runs.
        centre: of the priors on alpha and beta.
        prior: their standard deviation.

    Raises:
        InputError: fewer than six runs.
    """
    from scipy.optimize import least_squares

    if len(table.losses) < 6:
        raise InputError(f"{len(table.losses)} runs: a baseline needs at least 6")
    middle_n, middle_d = float(np.median(table.sizes)), float(np.median(table.tokens))
    n, d, y = table.sizes / middle_n, table.tokens / middle_d, table.losses
    weights = np.ones(len(y))
    u = np.array([0.6 * y.min(), np.log(0.2 * y.min()), centre[0], np.log(0.2 * y.min()), centre[1]])

    def model(u: np.ndarray) -> np.ndarray:
        return u[0] + np.exp(u[1]) * n ** -u[2] + np.exp(u[3]) * d ** -u[4]

    def residuals(u: np.ndarray) -> np.ndarray:
        pull = [(u[2] - centre[0]) / prior, (u[4] - centre[1]) / prior]
        return np.concatenate([np.sqrt(weights) * (model(u) - y) / NOISE, pull])

    low, high = np.array([0.0, -20.0, 0.01, -20.0, 0.01]), np.array([y.min(), 5.0, 2.0, 5.0, 2.0])
    for _ in range(ROUNDS):
        u = least_squares(residuals, u, bounds=(low, high)).x
        weights = NOISE / np.maximum(np.abs(y - model(u)), FLOOR) / 2
    return ChinchillaSize(
        E=float(u[0]),
        A=float(np.exp(u[1]) * middle_n ** u[2]),
        alpha=float(u[2]),
        B=float(np.exp(u[3]) * middle_d ** u[4]),
        beta=float(u[4]),
    )
