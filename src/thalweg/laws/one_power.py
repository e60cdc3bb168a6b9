"""The one-power law: the multi-power law with G = 1, so a fall of the rate pays at once and in full.

    L(t) = L0 + A S^-alpha - B (eta_peak - eta_t)

Source: arXiv 2503.12811, section 3 (the first stage of its fit); official code at commit 8da9f190, src/fitting.py.
Differs: 1. eta_peak is the schedule's own largest rate (the official code writes 3e-4); 2. the share of the warmup's
rate sum may be fitted (see rate_sum.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from thalweg.laws.law import Scale
from thalweg.laws.rate_sum import RateSumLaw

__all__ = ["OnePower"]


class OnePower(RateSumLaw):
    """The one-power law; parameters L0, A, alpha, B the warmup's share and the rate's power."""

    name = "one-power"
    names = ("L0", "A", "alpha", "B", "warmup_share", "rate_power")
    LOWER = (-14.0,)  # log B peak
    UPPER = (5.0,)

    @classmethod
    def drop_features(cls, rates: np.ndarray, first: int, *, at: np.ndarray | None, order: int) -> np.ndarray:
        """Fall below the peak at the asked steps, 0 in the warmup."""
        fall = rates.max() - rates
        fall[: min(first, len(fall))] = 0.0
        return fall if at is None else fall[at]

    @classmethod
    def drop(
        cls, v: np.ndarray, features: np.ndarray, scale: Scale, slopes: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """B (eta_peak - eta_t) and its Jacobian by log B."""
        value = np.exp(v[0]) / scale.peak * features
        return value, value[:, None] if slopes else None

    @classmethod
    def drop_natural(cls, v: np.ndarray, scale: Scale) -> dict[str, float]:
        """Internal to the paper's B."""
        return {"B": float(np.exp(v[0]) / scale.peak)}

    @classmethod
    def drop_internal(cls, params: Mapping[str, float], scale: Scale) -> np.ndarray:
        """The paper's B to the internal one."""
        return np.array([np.log(params["B"] * scale.peak)])

    @classmethod
    def shapes(cls, scale: Scale) -> list[np.ndarray]:
        """The one starting point of the drop."""
        return [np.array([-2.0])]

    @classmethod
    def prior(cls, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
        """Centre and width (inf: none) of the default fitter's prior on the internal parameters."""
        mean, width = cls.head_prior()
        return np.concatenate([mean, [0.0]]), np.concatenate([width, [np.inf]])

    def final_drop(self, rates: np.ndarray, first: int) -> tuple[float, np.ndarray]:
        """B (eta_peak - eta_T) and its gradient by every rate (T,)."""
        gradient = np.zeros(len(rates))
        if len(rates) > first:
            gradient[int(np.argmax(rates))] += self.params["B"]
            gradient[-1] -= self.params["B"]
        return self.params["B"] * float(rates.max() - rates[-1]) if len(rates) > first else 0.0, gradient

    def exact_drop(self, rates: np.ndarray, first: int, at: np.ndarray) -> np.ndarray:
        """B (eta_peak - eta_t), one step after the other."""
        peak = max(rates)
        return np.array([self.params["B"] * (peak - rates[t]) if t >= first else 0.0 for t in at])
