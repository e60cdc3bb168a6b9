"""Noiseless regression on one-hot features with Zipf frequencies, where the risk of repeated SGD is a closed form.

Feature i comes with probability p_i ∝ i^-(a-b) and squared norm Λ_i = i^-b. After K epochs over N samples with rate η
a feature drawn n_i times has error (1 - η Λ_i)^{K n_i} of what it was, so with n_i ~ Binomial(N, p_i)

R(K, N, η) = Σ p_i Λ_i / 2 · (1 - p_i + p_i (1 - η Λ_i)^{2K})^N.

For few epochs R ~ (K N)^{-(a-1)/a}, for many ~ N^{-(a-1)/(a-b)}: the effective reuse saturates like N^{b/(a-b)}.

Source: arXiv 2511.13421 (Zipf case; a = 4.5, b = 1, d = 10^5 in its simulation).
Differs: 1. no labels' noise, which the stated rates do not contain; the paper's own noise level was not readable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["ZipfRegression"]


@dataclass(frozen=True, slots=True)
class ZipfRegression:
    """One problem.

    Args:
        dim: d, number of features.
        a: decay of p_i Λ_i, > 1.
        b: decay of Λ_i, > 0; a - b > 1.
    """

    dim: int = 100_000
    a: float = 4.5
    b: float = 1.0

    def __post_init__(self) -> None:
        if self.dim < 1 or not self.b > 0 or not self.a - self.b > 1:
            raise InputError(f"dim = {self.dim}, a = {self.a}, b = {self.b}: give dim >= 1, b > 0 and a - b > 1")

    @property
    def exponent(self) -> float:
        """Of the saturation level in N: b / (a - b)."""
        return self.b / (self.a - self.b)

    def risk(self, epochs: float, unique: float, rate: float) -> float:
        """R(K, N, η) as above; η in (0, 2)."""
        ranks = np.arange(1, self.dim + 1, dtype=float)
        p, norms = ranks ** -(self.a - self.b), ranks**-self.b
        p /= p.sum()
        kept = np.abs(1 - rate * norms) ** (2 * epochs)
        return float(p * norms / 2 @ np.exp(unique * np.log1p(-p * (1 - kept))))

    def least_risk(self, epochs: float, unique: float) -> float:
        """The least of ``risk`` over rates in (0, 2)."""
        from scipy.optimize import minimize_scalar

        found = minimize_scalar(lambda rate: self.risk(epochs, unique, rate), bounds=(1e-3, 2 - 1e-9), method="bounded")
        return float(found.fun)

    def reuse(self, epochs: float, unique: float) -> float:
        """E(K, N): fresh samples that one pass needs for the least risk of K epochs, over N. Exact, by root-finding."""
        from scipy.optimize import brentq

        goal = np.log(self.least_risk(epochs, unique))
        root = brentq(
            lambda log_n: np.log(self.least_risk(1, float(np.exp(log_n)))) - goal,
            np.log(unique) - 1e-6,
            np.log(unique * epochs) + 1e-6,
            xtol=1e-6,
        )
        return float(np.exp(float(root)) / unique)  # pyrefly: ignore
