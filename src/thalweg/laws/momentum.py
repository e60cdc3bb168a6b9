"""The momentum law: the loss falls with a rate sum and with a leaky sum of the rate's past falls.

    L(t) = L0 + A S^-alpha - C S2(t),  S2 = cumsum(m),  m_i = lambda m_{i-1} + (eta_{i-1} - eta_i)

Source: Tissue et al., arXiv 2408.11029.
Differs: 1. lambda is fitted (between 0.5 and 0.999999) where the paper fixes 0.999; 2. falls count after warmup only;
3. the share of the warmup's rate sum may be fitted (see rate_sum.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thalweg.laws.law import Scale
from thalweg.laws.rate_sum import RateSumLaw

__all__ = ["MomentumLaw"]


@dataclass(frozen=True, slots=True)
class Falls:
    """eta_{i-1} - eta_i where it counts (T,), and the asked steps."""

    gap: np.ndarray
    at: np.ndarray | slice

    def take(self, chosen: np.ndarray) -> Falls:
        """The falls with the asked steps of these indices only."""
        asked = chosen if isinstance(self.at, slice) else self.at[chosen]
        return Falls(self.gap, asked)


def leaky_sum(gap: np.ndarray, decay: float) -> np.ndarray:
    """S2 of the rate's falls (T,)."""
    from scipy.signal import lfilter

    total = np.zeros(len(gap))
    first = int(np.argmax(gap != 0))  # nothing happens before the first change
    total[first:] = np.cumsum(lfilter([1.0], [1.0, -decay], gap[first:]))
    return total


def leak(gap: np.ndarray, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """S2 of the rate's falls (T,) and its derivative by lambda (T,), by two linear recurrences."""
    from scipy.signal import lfilter

    momentum = lfilter([1.0], [1.0, -decay], gap)
    slope = lfilter([0.0, 1.0], [1.0, -decay], momentum)
    return np.cumsum(momentum), np.cumsum(slope)


class MomentumLaw(RateSumLaw):
    """The momentum law; parameters L0, A, alpha, C, lambda the warmup's share and the rate's power."""

    name = "momentum"
    names = ("L0", "A", "alpha", "C", "lambda", "warmup_share", "rate_power")
    LOWER = (-16.0, np.log(1e-6))  # log C peak / (1 - lambda), log(1 - lambda)
    UPPER = (5.0, np.log(0.5))

    @classmethod
    def drop_features(cls, rates: np.ndarray, first: int, *, at: np.ndarray | None, order: int) -> Falls:
        """The rate's falls from step ``first`` on."""
        gap = -np.diff(rates, prepend=rates[0])
        gap[: min(first, len(gap))] = 0.0
        return Falls(gap, slice(None) if at is None else np.asarray(at))

    @classmethod
    def drop(cls, v: np.ndarray, features: Falls, scale: Scale, slopes: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """C S2 and its Jacobian by (log C peak / (1 - lambda), log(1 - lambda))."""
        left = np.exp(v[1])
        c = np.exp(v[0]) * left / scale.peak
        if not slopes:
            return c * leaky_sum(features.gap, 1 - left)[features.at], None
        total, by_decay = leak(features.gap, 1 - left)
        value = c * total[features.at]
        return value, np.stack([value, value - c * left * by_decay[features.at]], axis=1)

    @classmethod
    def drop_natural(cls, v: np.ndarray, scale: Scale) -> dict[str, float]:
        """Internal to the paper's C and lambda."""
        left = float(np.exp(v[1]))
        return {"C": float(np.exp(v[0])) * left / scale.peak, "lambda": 1 - left}

    @classmethod
    def drop_internal(cls, params: Mapping[str, float], scale: Scale) -> np.ndarray:
        """The paper's C and lambda to internal ones."""
        left = 1 - params["lambda"]
        return np.array([np.log(params["C"] * scale.peak / left), np.log(left)])

    @classmethod
    def shapes(cls, scale: Scale) -> list[np.ndarray]:
        """Starting points of the drop: memories of 100, 1,000 and 10,000 steps."""
        return [np.array([-2.0, np.log(left)]) for left in (1e-2, 1e-3, 1e-4)]

    @classmethod
    def prior(cls, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
        """Centre and width (inf: none) of the default fitter's prior on the internal parameters."""
        mean, width = cls.head_prior()
        return np.concatenate([mean, [0.0, 0.0]]), np.concatenate([width, [np.inf, np.inf]])

    def final_drop(self, rates: np.ndarray, first: int) -> tuple[float, np.ndarray]:
        """C sum_k (eta_{k-1} - eta_k) (1 - lambda^(T - k)) / (1 - lambda) and its gradient by every rate (T,)."""
        left = 1 - self.params["lambda"]
        gain = self.params["C"] / left * -np.expm1(np.log1p(-left) * np.arange(len(rates) - first, 0, -1))
        gradient = np.zeros(len(rates))
        gradient[first:] = -gain
        gradient[first - 1 : -1] += gain
        return float((rates[first - 1 : -1] - rates[first:]) @ gain), gradient

    def exact_drop(self, rates: np.ndarray, first: int, at: np.ndarray) -> np.ndarray:
        """C S2 by the recurrence as written, one step after the other."""
        momentum, total, out = 0.0, 0.0, np.zeros(len(rates))
        for i in range(max(first, 1), len(rates)):
            momentum = self.params["lambda"] * momentum + rates[i - 1] - rates[i]
            total += momentum
            out[i] = total
        return self.params["C"] * out[at]
