"""The multi-power law: each fall of the learning rate lowers the loss by a power law of the rate sum that follows it.

    L(t) = L0 + A (S1(t) + S_W)^-alpha - B sum_k (eta_{k-1} - eta_k) G(eta_k^-gamma S_k(t)),  G(x) = 1 - (1 + C x)^-beta

Source: arXiv 2503.12811, sections 3 and 4; official code at commit 8da9f190.
Differs: 1. ``warmup="code"`` (what the default fitter and the official code use) counts all rate changes, the rise in
the warmup included; ``warmup="paper"`` those after it only. 2. The warmup's share and the power of the rate in S1 may
be fitted (see rate_sum.py); the paper has 1 for both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from thalweg.laws.drops import TINY, DropTable, build_table, exact_drops, log_rates
from thalweg.laws.law import Scale
from thalweg.laws.rate_sum import RateSumLaw

__all__ = ["MultiPower"]

# Centres from the official repository's README (three sizes fitted at peak 3e-4: alpha .43-.51, beta .58-.60,
# gamma .64-.66, C 2.0-2.1, that is 0.11 a step at the peak); B at the peak is 0.11-0.16 nats.
PER_STEP = 0.11
START = {"alpha": 0.46, "beta": 0.59, "gamma": 0.65}


class MultiPower(RateSumLaw):
    """The multi-power law; parameters L0, A, alpha, B, C, beta, gamma the warmup's share and the rate's power."""

    name = "multi-power"
    names = ("L0", "A", "alpha", "B", "C", "beta", "gamma", "warmup_share", "rate_power")
    FORMS = ("paper", "code")
    LOWER = (-14.0, -8.0, np.log(0.02), -0.5)  # log B peak, log C in units of peak and span, log beta, gamma
    UPPER = (5.0, 25.0, np.log(5.0), 2.0)

    @classmethod
    def drop_features(cls, rates: np.ndarray, first: int, *, at: np.ndarray | None, order: int) -> DropTable:
        """The compressed drop sum of the schedule."""
        return build_table(rates, first=first, at=at, order=order)

    @classmethod
    def drop(
        cls, v: np.ndarray, features: DropTable, scale: Scale, slopes: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """B sum_k (eta_{k-1} - eta_k) G and its Jacobian by (log B, log C, log beta, gamma)."""
        b, beta, gamma = np.exp(v[0]) / scale.peak, np.exp(v[2]), v[3]
        c = np.exp(v[1] + gamma * np.log(scale.peak)) / scale.span
        if not slopes:
            return b * features.drops(c, beta, gamma), None
        value, inner = features.drops_and_slopes(c, beta, gamma)
        by_gamma = inner[:, 2] + inner[:, 0] * np.log(scale.peak)
        return b * value, b * np.stack([value, inner[:, 0], inner[:, 1] * beta, by_gamma], axis=1)

    @classmethod
    def drop_natural(cls, v: np.ndarray, scale: Scale) -> dict[str, float]:
        """Internal to the paper's B, C, beta, gamma."""
        c = np.exp(v[1] + v[3] * np.log(scale.peak)) / scale.span
        return {"B": float(np.exp(v[0]) / scale.peak), "C": float(c), "beta": float(np.exp(v[2])), "gamma": float(v[3])}

    @classmethod
    def drop_internal(cls, params: Mapping[str, float], scale: Scale) -> np.ndarray:
        """The paper's B, C, beta, gamma to internal ones."""
        log_c = np.log(params["C"] * scale.span) - params["gamma"] * np.log(scale.peak)
        return np.array([np.log(params["B"] * scale.peak), log_c, np.log(params["beta"]), params["gamma"]])

    @classmethod
    def shapes(cls, scale: Scale) -> list[np.ndarray]:
        """Starting points of the drop: the published constants, and a slower, more rate-dependent decay."""
        log_c = np.log(PER_STEP * scale.span / scale.peak)
        return [np.array([-2.0, log_c, np.log(0.59), 0.65]), np.array([-2.0, log_c, np.log(0.2), 1.0])]

    @classmethod
    def prior(cls, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
        """Centre and width (inf: none) of the default fitter's prior on the internal parameters."""
        log_c = np.log(PER_STEP * scale.span / scale.peak)
        mean, width = cls.head_prior()
        drop = [0.0, log_c, np.log(START["beta"]), START["gamma"]]
        return np.concatenate([mean, drop]), np.concatenate([width, [np.inf, 1.0, 0.5, 0.3]])

    def final_drop(self, rates: np.ndarray, first: int) -> tuple[float, np.ndarray]:
        """Drop at the last step and its gradient by every rate (T,), in O(T).

        With R_i = sum_{j>=i} eta_j, g = (1 + C eta^-gamma R)^-beta, q = B (1 - g), d_i = eta_{i-1} - eta_i and
        w = B d beta C eta^-gamma g / (1 + C eta^-gamma R):

            d/d eta_j = -gamma w_j R_j / eta_j + sum_{i<=j} w_i - q_j + q_{j+1}
        """
        b, c, beta, gamma = (self.params[name] for name in ("B", "C", "beta", "gamma"))
        left = np.cumsum(rates[::-1])[::-1][first:]
        scale = c * np.exp(-gamma * log_rates(rates)[first:])
        z = scale * left
        kept = np.exp(-beta * np.log(1 + z))
        fall = rates[first - 1 : -1] - rates[first:]
        gain, weight = b * (1 - kept), b * beta * fall * scale * kept / (1 + z)
        gradient = np.zeros(len(rates))
        gradient[first:] = np.cumsum(weight) - gamma * weight * left / np.maximum(rates[first:], 1e-300) - gain
        gradient[first - 1 : -1] += gain
        return float(fall @ gain), gradient

    def final_fall(self, rates: np.ndarray, first: int) -> float:
        """`final_drop` without its gradient: the steps at which the rate changes are enough."""
        b, c, beta, gamma = (self.params[name] for name in ("B", "C", "beta", "gamma"))
        fall = rates[first - 1 : -1] - rates[first:]
        kept = np.flatnonzero(fall)
        left = np.cumsum(rates[::-1])[::-1][first:][kept]
        z = c * np.exp(-gamma * np.log(np.maximum(rates[first:][kept], TINY * rates.max()))) * left
        return float(fall[kept] @ (1 - np.exp(-beta * np.log1p(z)))) * b

    def exact_drop(self, rates: np.ndarray, first: int, at: np.ndarray) -> np.ndarray:
        """The drop as the paper writes it, one sum a step."""
        shape = (self.params["C"], self.params["beta"], self.params["gamma"])
        return self.params["B"] * exact_drops(rates, shape, first=first, at=at)
