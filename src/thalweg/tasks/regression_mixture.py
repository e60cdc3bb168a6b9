"""A mixture of linear regressions that share nothing: what is learned of one component helps no other.

Component k: y = ⟨w_k, x⟩ + σ_k ε, x ~ N(0, I_d), w_k ~ N(0, I_d / d). From n examples the learner takes the posterior
mean, ŵ = (XᵀX + d σ_k² I)^{-1} Xᵀy, which has finite error at any n. Its excess error E|ŵ - w|² falls like
σ_k² d / n for n far above d.

Source: Medvedev et al., arXiv 2510.25108 (orthogonal components; parametric regression as its example of error 1 / n).
Differs: 1. sizes, noise and the ridge are ours; least squares has infinite error where a component is drawn too seldom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["RegressionMixture"]


@dataclass(frozen=True, slots=True)
class RegressionMixture:
    """K components.

    Args:
        noise: σ_k > 0, one a component.
        dim: d >= 1.
    """

    noise: Sequence[float]
    dim: int = 5

    def __post_init__(self) -> None:
        noise = np.asarray(self.noise, dtype=float)
        if noise.ndim != 1 or not len(noise) or not np.all(np.isfinite(noise) & (noise > 0)) or self.dim < 1:
            raise InputError(f"noise = {self.noise!r} and dim = {self.dim!r}: give finite numbers > 0 and dim >= 1")

    def errors(self, component: int, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Excess test errors |ŵ - w|² of one component, each from data of its own.

        Args:
            component: k.
            samples: numbers of examples n >= 0, (R,).
            rng: of weights, inputs and noise.

        Returns:
            (R,).
        """
        found, sigma, d = np.empty(len(samples)), float(self.noise[component]), self.dim
        for n in np.unique(samples):
            rows = np.flatnonzero(samples == n)
            w = rng.normal(size=(len(rows), d, 1)) / np.sqrt(d)
            x = rng.normal(size=(len(rows), int(n), d))
            y = x @ w + sigma * rng.normal(size=(len(rows), int(n), 1))
            moments = x.swapaxes(1, 2) @ x + d * sigma**2 * np.eye(d)
            gap = np.linalg.solve(moments, x.swapaxes(1, 2) @ y) - w
            found[rows] = (gap**2).sum(axis=(1, 2))
        return found

    def mixture_errors(
        self,
        test: Sequence[float] | np.ndarray,
        training: Sequence[float] | np.ndarray,
        samples: int,
        *,
        replicas: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Excess errors Σ p_k |ŵ_k - w_k|² after ``samples`` examples drawn from the training mixture, (replicas,).

        Args:
            test: shares p.
            training: shares q.
            samples: N >= 1, multinomially split.
            replicas: independent data sets.
            rng: of everything.
        """
        counts = rng.multinomial(samples, training, size=replicas)
        each = [self.errors(k, counts[:, k], rng) for k in range(len(self.noise))]
        return np.asarray(test) @ np.array(each)
