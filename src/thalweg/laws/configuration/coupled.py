"""A law of size and data whose two terms act together: L(N, D) = E + (A N^-alpha + B D^-beta)^gamma.

gamma = 1 is the Chinchilla law. With gamma < 1 more data help a larger model more, as in the law of Kaplan et al.
(which has no E). The surfaces of an ensemble start from it.

Source: Kaplan et al., arXiv 2001.08361, equation 1.5; exponents' priors as in ``baseline``; E: 1.69 nats of arXiv
2203.15556.
Differs: E is fitted, and the fit runs through the middle of the runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.chinchilla_size import SizeTable
from thalweg.laws.configuration.baseline import EXPONENTS, FLOOR, NOISE, PRIOR

__all__ = ["Coupled", "fit_coupled"]

GAMMA = (0.6, 0.2)  # centre and standard deviation of the prior
FLOOR_LOSS = (1.7, 0.4)  # of E, nats per token
ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Coupled:
    """A fitted E + (A N^-alpha + B D^-beta)^gamma.

    Attributes:
        E: loss of infinite size and data, nats per token.
        A: size coefficient, N in parameters.
        alpha: size exponent.
        B: data coefficient, D in tokens.
        beta: data exponent.
        gamma: how the two act together.
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float
    gamma: float

    def predict(self, sizes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Loss in nats per token for sizes N and tokens D (arrays that broadcast)."""
        n, d = np.asarray(sizes, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
        return self.E + (self.A * n**-self.alpha + self.B * d**-self.beta) ** self.gamma


def fit_coupled(
    table: SizeTable, *, centre: tuple[float, float] = EXPONENTS, gamma: float = GAMMA[0], prior: float = PRIOR
) -> Coupled:
    """Fits the law to the middle of the runs, by reweighted least squares on |residual|.

    Args:
        table: sizes, tokens and losses, at least six runs.
        centre: of the normal priors on alpha and beta.
        gamma: centre of the prior on gamma, in [0.1, 1].
        prior: standard deviation of the priors on alpha and beta.

    Raises:
        InputError: fewer than six runs.
    """
    from scipy.optimize import least_squares

    if len(table.losses) < 6:
        raise InputError(f"{len(table.losses)} runs: a baseline needs at least 6")
    middle_n, middle_d = float(np.median(table.sizes)), float(np.median(table.tokens))
    n, d, y = table.sizes / middle_n, table.tokens / middle_d, table.losses
    top = max(float(y.min()) - 1e-3, 1e-3)
    low = np.array([0.0, -20.0, 0.01, -20.0, 0.01, 0.1])
    high = np.array([top, 10.0, 2.0, 10.0, 2.0, 1.0])
    u = np.clip([0.6 * top, -0.5, centre[0], -1.0, centre[1], gamma], low + 1e-6, high - 1e-6)
    weights = np.ones(len(y))

    def model(u: np.ndarray) -> np.ndarray:
        return u[0] + (np.exp(u[1]) * n ** -u[2] + np.exp(u[3]) * d ** -u[4]) ** u[5]

    def residuals(u: np.ndarray) -> np.ndarray:
        pull = [(u[2] - centre[0]) / prior, (u[4] - centre[1]) / prior]
        pull += [(u[5] - gamma) / GAMMA[1], (u[0] - FLOOR_LOSS[0]) / FLOOR_LOSS[1]]
        return np.concatenate([np.sqrt(weights) * (model(u) - y) / NOISE, pull])

    for _ in range(ROUNDS):
        u = np.clip(least_squares(residuals, u, bounds=(low, high), max_nfev=300).x, low + 1e-6, high - 1e-6)
        weights = NOISE / np.maximum(np.abs(y - model(u)), FLOOR) / 2
    return Coupled(
        E=float(u[0]),
        A=float(np.exp(u[1]) * middle_n ** u[2]),
        alpha=float(u[2]),
        B=float(np.exp(u[3]) * middle_d ** u[4]),
        beta=float(u[4]),
        gamma=float(u[5]),
    )
