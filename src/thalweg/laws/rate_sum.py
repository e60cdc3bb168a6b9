"""The part that the laws over rate sums share: a floor, a power of the rate sum, and a drop that each law defines.

    L(t) = L0 + A (S1(t) + r S_W)^-alpha - drop(t)

S1 is the rate sum after warmup, S_W that of warmup, r the share of the warmup's sum that counts.

Source: arXiv 2503.12811, section 3.
Differs: 1. the paper and the official code have r = 1; the default fitter fits it (prior 1 +- 0.3), because a warmup
that counts in full bends alpha and L0 (docs/cards/laws.md shows the evidence on the training curves alone).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from thalweg.laws.law import Form, Law, Scale

__all__ = ["RateSumFeatures", "RateSumLaw", "rate_sums"]


def rate_sums(rates: np.ndarray, warmup_steps: int, share: float = 1.0) -> np.ndarray:
    """S1 + share S_W at every step, with S the running sum that includes the step's own rate; shape (T,).

    Within the warmup only its share counts. Where the sum is 0 (a first rate of 0) the first rate above 0 stands in.
    """
    total = np.cumsum(rates)
    warmed = total[warmup_steps - 1] if warmup_steps else 0.0
    total = np.where(np.arange(len(rates)) < warmup_steps, share * total, total - (1 - share) * warmed)
    least = rates[rates > 0][0]
    return np.maximum(total, least * max(share, 1e-6))


@dataclass(frozen=True, slots=True)
class RateSumFeatures:
    """Rate sums after (``late``) and in (``early``) the warmup, (n,) each, and what the drop needs."""

    late: np.ndarray
    early: np.ndarray
    least: float
    drop: Any


class RateSumLaw(Law):
    """A law L0 + A S^-alpha - drop; internal parameters (L0, log A, log alpha, share, *drop's)."""

    SHARE = 3
    LOWER: ClassVar[tuple[float, ...]]
    UPPER: ClassVar[tuple[float, ...]]

    @classmethod
    def features(
        cls, rates: np.ndarray, warmup_steps: int, *, at: np.ndarray | None, form: Form, order: int
    ) -> RateSumFeatures:
        """Rate sums and the drop's own features at the asked steps."""
        total = np.cumsum(rates)
        warmed = total[warmup_steps - 1] if warmup_steps else 0.0
        where = np.arange(len(rates)) if at is None else at
        early = np.where(where < warmup_steps, total[where], warmed)
        drop = cls.drop_features(rates, 1 if form == "code" else warmup_steps, at=at, order=order)
        return RateSumFeatures(total[where] - early, early, float(rates[rates > 0][0]), drop)

    @classmethod
    def evaluate(
        cls, u: np.ndarray, features: RateSumFeatures, scale: Scale, slopes: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Prediction and, if asked, its Jacobian by the internal parameters."""
        alpha, share = np.exp(u[2]), u[3]
        total = features.early * share
        total += features.late
        np.maximum(total, features.least * max(share, 1e-6), out=total)
        log_total = np.log(total)
        log_total -= np.log(scale.span)
        power = log_total * -alpha
        power += u[1]
        np.exp(power, out=power)
        drop, inner = cls.drop(u[4:], features.drop, scale, slopes)
        if inner is None:
            power += u[0]
            power -= drop
            return power, None
        by_share = -alpha * power * features.early / total
        outer = np.stack([np.ones_like(power), power, -alpha * log_total * power, by_share], axis=1)
        return u[0] + power - drop, np.concatenate([outer, -inner], axis=1)

    @classmethod
    def natural(cls, u: np.ndarray, scale: Scale) -> dict[str, float]:
        """Internal parameters to the paper's."""
        alpha = float(np.exp(u[2]))
        head = {"L0": float(u[0]), "A": float(np.exp(u[1] + alpha * np.log(scale.span))), "alpha": alpha}
        return head | cls.drop_natural(u[4:], scale) | {"warmup_share": float(u[3])}

    @classmethod
    def internal(cls, params: Mapping[str, float], scale: Scale) -> np.ndarray:
        """The paper's parameters to internal ones."""
        log_a = np.log(params["A"]) - params["alpha"] * np.log(scale.span)
        head = [params["L0"], log_a, np.log(params["alpha"]), params["warmup_share"]]
        return np.concatenate([head, cls.drop_internal(params, scale)])

    @classmethod
    @abstractmethod
    def drop_features(cls, rates: np.ndarray, first: int, *, at: np.ndarray | None, order: int) -> Any:
        """What the drop needs of a schedule; rate changes count from step ``first`` on."""

    @classmethod
    @abstractmethod
    def drop(cls, v: np.ndarray, features: Any, scale: Scale, slopes: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """The drop (>= 0 for falling rates, nats per token) and its Jacobian by the drop's internal parameters."""

    @classmethod
    @abstractmethod
    def drop_natural(cls, v: np.ndarray, scale: Scale) -> dict[str, float]:
        """The drop's internal parameters to the paper's."""

    @classmethod
    @abstractmethod
    def drop_internal(cls, params: Mapping[str, float], scale: Scale) -> np.ndarray:
        """The paper's parameters to the drop's internal ones."""

    @abstractmethod
    def final_drop(self, rates: np.ndarray, first: int) -> tuple[float, np.ndarray]:
        """Drop at the last step and its gradient by every rate (T,), in O(T)."""

    def final_slope(self, rates: np.ndarray, warmup_steps: int) -> tuple[float, np.ndarray]:
        """The final loss of a schedule and its gradient by every rate, in O(T).

        Args:
            rates: learning rate of every optimizer step, > 0 after the warmup, shape (T,).
            warmup_steps: length of the warmup.

        Returns:
            Loss in nats per token, and its gradient, shape (T,).
        """
        share, alpha = self.params["warmup_share"], self.params["alpha"]
        total = float(rates[warmup_steps:].sum() + share * rates[:warmup_steps].sum())
        power = self.params["A"] * total**-alpha
        drop, gradient = self.final_drop(rates, 1 if self.warmup == "code" else max(warmup_steps, 1))
        slope = np.full(len(rates), -alpha * power / total)
        slope[:warmup_steps] *= share
        return self.params["L0"] + power - drop, slope - gradient

    @abstractmethod
    def exact_drop(self, rates: np.ndarray, first: int, at: np.ndarray) -> np.ndarray:
        """The drop as the paper writes it, one step at a time."""

    def definition(self, rates: np.ndarray, warmup_steps: int, at: np.ndarray) -> np.ndarray:
        """The formula as written, in float64: the slow twin of `predict`."""
        rates = np.asarray(rates, dtype=np.float64)
        total = rate_sums(rates, warmup_steps, self.params["warmup_share"])[at]
        power = self.params["A"] * total ** -self.params["alpha"]
        first = 1 if self.warmup == "code" else warmup_steps
        return self.params["L0"] + power - self.exact_drop(rates, first, np.asarray(at))

    @classmethod
    def bounds(cls) -> tuple[np.ndarray, np.ndarray]:
        """Limits of the internal parameters: L0 0 to 20, alpha 0.02 to 3, share 0.05 to 3."""
        return np.array([0.0, -14, np.log(0.02), 0.05, *cls.LOWER]), np.array([20.0, 5, np.log(3.0), 3.0, *cls.UPPER])
