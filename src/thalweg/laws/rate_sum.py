"""The part that the laws over rate sums share: a floor, a power of the rate sum, and a drop that each law defines.

    L(t) = L0 + A (S1(t) + r S_W)^-alpha - drop(t),    S1(t) = sum of eta^p after warmup, S_W = sum of eta^p in it

Source: arXiv 2503.12811, section 3.
Differs: 1. the paper and the official code have r = 1; the default fitter fits it (prior 1 +- 0.3), because a warmup
that counts in full bends alpha and L0. 2. they have p = 1: progress proportional to the rate. The default fitter fits
p (prior 1 +- 0.2): where runs advance less than proportionally, p = 1 charges a slow decay too much lost progress and
books the difference as a drop, which then grows too large over a longer run. docs/cards/laws.md shows the evidence.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.law import Form, Law, Scale, as_rates

if TYPE_CHECKING:
    from thalweg.schedules import Schedule

__all__ = ["RateSumFeatures", "RateSumLaw", "rate_sums"]

POWERS = (0.3, 1.3)  # range of p
DEGREE = 20  # of the Chebyshev series in p that stands for sum eta^p at the fitted points


def rate_sums(rates: np.ndarray, warmup_steps: int, share: float = 1.0, power: float = 1.0) -> np.ndarray:
    """S1 + share S_W at every step, with S the running sum of rates^power, the step's own included; shape (T,).

    Within the warmup only its share counts. Where the sum is 0 (a first rate of 0) the first rate above 0 stands in.
    """
    total = np.cumsum(rates**power)
    warmed = total[warmup_steps - 1] if warmup_steps else 0.0
    total = np.where(np.arange(len(rates)) < warmup_steps, share * total, total - (1 - share) * warmed)
    least = rates[rates > 0][0] ** power
    return np.maximum(total, least * max(share, 1e-6))


@dataclass(frozen=True, slots=True)
class RateSumFeatures:
    """What the sums of (rate / top)^p need at n steps, and what the drop needs.

    Attributes:
        logs: log(rate / top) of every step (T,), where all steps are asked for; else None.
        series: Chebyshev coefficients in p of the sums after and in the warmup, (n, DEGREE + 1) each; else None.
        warmup_steps: length of the warmup.
        top: largest rate.
        least: first rate above 0.
        drop: the law's own.
    """

    logs: np.ndarray | None
    series: tuple[np.ndarray, np.ndarray] | None
    warmup_steps: int
    top: float
    least: float
    drop: Any

    def take(self, chosen: np.ndarray) -> RateSumFeatures:
        """The features of the asked steps of these indices only; for features at asked steps."""
        if self.series is None:
            raise ValueError("features of all steps cannot be taken apart; ask for steps")
        drop = self.drop[chosen] if isinstance(self.drop, np.ndarray) else self.drop.take(chosen)
        return replace(self, series=(self.series[0][chosen], self.series[1][chosen]), drop=drop)

    def sums(self, power: float, slopes: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Sums of (rate / top)^p after and in the warmup, (n,) each, and their derivatives by p (0 unless asked)."""
        if self.series is not None:
            values = _chebyshev(power)
            late, early = self.series[0] @ values, self.series[1] @ values
            if not slopes:
                return late, early, np.zeros(1), np.zeros(1)
            changes = _chebyshev_slopes(power)
            return late, early, self.series[0] @ changes, self.series[1] @ changes
        assert self.logs is not None
        powered = np.exp(power * self.logs)
        late, early = _split(np.cumsum(powered), self.warmup_steps)
        if not slopes:
            return late, early, np.zeros(1), np.zeros(1)
        finite = np.where(np.isfinite(self.logs), self.logs, 0.0)
        return late, early, *_split(np.cumsum(powered * finite), self.warmup_steps)


def _split(total: np.ndarray, warmup_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """A running sum (T,) as what comes after the warmup and what lies in it."""
    warmed = total[warmup_steps - 1] if warmup_steps else 0.0
    early = np.where(np.arange(len(total)) < warmup_steps, total, warmed)
    return total - early, early


def _chebyshev(power: float) -> np.ndarray:
    """T_k at ``power``, (DEGREE + 1,)."""
    return np.cos(np.arange(DEGREE + 1) * np.arccos(_unit(power)))


def _chebyshev_slopes(power: float) -> np.ndarray:
    """The derivative of T_k by ``power``, (DEGREE + 1,)."""
    low, high = POWERS
    x = _unit(power)
    second = np.concatenate([[0.0, 1.0], np.zeros(DEGREE - 1)])  # U_{k-1}
    for k in range(2, DEGREE + 1):
        second[k] = 2 * x * second[k - 1] - second[k - 2]
    return np.arange(DEGREE + 1) * second * 2 / (high - low)


def _unit(power: float) -> float:
    """The power's place in [-1, 1]."""
    low, high = POWERS
    if not low <= power <= high:
        raise InputError(f"rate_power is {power:g}; laws know powers of the rate from {low} to {high}")
    return min(max((2 * power - low - high) / (high - low), -1.0), 1.0)


def _series(logs: np.ndarray, warmup_steps: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Chebyshev coefficients of both sums at the steps ``at``."""
    low, high = POWERS
    angle = np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1)
    nodes = (low + high + (high - low) * np.cos(angle)) / 2
    stops, where = np.unique(np.append(at + 1, warmup_steps), return_inverse=True)
    starts = np.concatenate([[0], stops[:-1]])
    if stops[0] == 0:
        starts, stops = starts[1:], stops[1:]
        where = where - 1  # -1: the empty sum, kept at the end
    reach = int(stops[-1]) if len(stops) else 0
    powered, totals = np.empty(reach), np.zeros((len(nodes), len(stops) + 1))
    for row, p in zip(totals, nodes, strict=True):
        np.multiply(logs[:reach], p, out=powered)
        np.exp(powered, out=powered)
        np.cumsum(np.add.reduceat(powered, starts), out=row[:-1])
    sums, warmed = totals[:, where[:-1]].T, totals[:, where[-1]]
    early = np.where((at < warmup_steps)[:, None], sums, warmed)
    transform = 2 / (DEGREE + 1) * np.cos(np.outer(angle, np.arange(DEGREE + 1)))
    transform[:, 0] /= 2
    return (sums - early) @ transform, early @ transform


class RateSumLaw(Law):
    """A law L0 + A S^-alpha - drop; internal parameters (L0, log A, log alpha, share, power, *drop's)."""

    FIXABLE: ClassVar[Mapping[str, int]] = {"warmup_share": 3, "rate_power": 4}
    LOWER: ClassVar[tuple[float, ...]]
    UPPER: ClassVar[tuple[float, ...]]

    @classmethod
    def features(
        cls, rates: np.ndarray, warmup_steps: int, *, at: np.ndarray | None, form: Form, order: int
    ) -> RateSumFeatures:
        """Rate sums and the drop's own features at the asked steps."""
        top = float(rates.max())
        with np.errstate(divide="ignore"):
            logs = np.log(rates / top)
        drop = cls.drop_features(rates, 1 if form == "code" else warmup_steps, at=at, order=order)
        series = None if at is None else _series(logs, warmup_steps, np.asarray(at))
        return RateSumFeatures(
            logs if at is None else None, series, warmup_steps, top, float(rates[rates > 0][0]), drop
        )

    @classmethod
    def evaluate(
        cls, u: np.ndarray, features: RateSumFeatures, scale: Scale, slopes: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Prediction and, if asked, its Jacobian by the internal parameters."""
        alpha, share, p = np.exp(u[2]), u[3], u[4]
        late, early, late_by, early_by = features.sums(p, slopes)
        ratio = np.log(features.top / scale.peak)
        unit = np.exp(p * ratio) * scale.peak / scale.span
        least = np.exp(p * np.log(features.least / scale.peak)) * scale.peak / scale.span
        total = np.maximum(unit * (late + share * early), least * max(share, 1e-6))
        log_total = np.log(total)
        power = np.exp(u[1] - alpha * log_total)
        drop, inner = cls.drop(u[5:], features.drop, scale, slopes)
        if inner is None:
            return u[0] + power - drop, None
        pull = -alpha * power / total
        by_power = pull * (unit * (late_by + share * early_by) + ratio * total)
        outer = np.stack(
            [np.ones_like(power), power, -alpha * log_total * power, pull * unit * early, by_power], axis=1
        )
        return u[0] + power - drop, np.concatenate([outer, -inner], axis=1)

    @classmethod
    def natural(cls, u: np.ndarray, scale: Scale) -> dict[str, float]:
        """Internal parameters to the paper's: A belongs to the plain sum of eta^p."""
        alpha, p = float(np.exp(u[2])), float(u[4])
        log_a = u[1] + alpha * np.log(scale.span) - alpha * (1 - p) * np.log(scale.peak)
        head = {"L0": float(u[0]), "A": float(np.exp(log_a)), "alpha": alpha}
        return head | cls.drop_natural(u[5:], scale) | {"warmup_share": float(u[3]), "rate_power": p}

    @classmethod
    def internal(cls, params: Mapping[str, float], scale: Scale) -> np.ndarray:
        """The paper's parameters to internal ones."""
        alpha, p = params["alpha"], params["rate_power"]
        log_a = np.log(params["A"]) - alpha * np.log(scale.span) + alpha * (1 - p) * np.log(scale.peak)
        head = [params["L0"], log_a, np.log(alpha), params["warmup_share"], p]
        return np.concatenate([head, cls.drop_internal(params, scale)])

    @classmethod
    def head_prior(cls) -> tuple[list[float], list[float]]:
        """Centre and width (inf: none) of the prior on (L0, log A, log alpha, share, power)."""
        return [0.0, 0.0, 0.0, 1.0, 1.0], [np.inf, np.inf, np.inf, 0.3, 0.2]

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

    def final_loss(
        self, schedule: Schedule | np.ndarray, steps: int | None = None, *, warmup_steps: int | None = None
    ) -> float:
        """Predicted loss at the last step, nats per token: one sum over the steps, nothing compressed."""
        rates, warm = as_rates(schedule, steps, warmup_steps)
        p = self.params["rate_power"]
        total = self._final_sum(rates if p == 1 else rates**p, warm)
        drop = self.final_fall(rates, 1 if self.warmup == "code" else max(warm, 1))
        return self.params["L0"] + self.params["A"] * total ** -self.params["alpha"] - drop

    def _final_sum(self, powered: np.ndarray, warmup_steps: int) -> float:
        """Sum of rate^p at the last step, the warmup's by its share."""
        late, early = float(powered[warmup_steps:].sum()), float(powered[:warmup_steps].sum())
        share, first = self.params["warmup_share"], float(powered[np.argmax(powered > 0)])
        return max(late + share * early, first * max(share, 1e-6))

    def final_fall(self, rates: np.ndarray, first: int) -> float:
        """`final_drop` without its gradient."""
        return self.final_drop(rates, first)[0]

    def final_slope(self, rates: np.ndarray, warmup_steps: int) -> tuple[float, np.ndarray]:
        """The final loss of a schedule and its gradient by every rate, in O(T).

        Args:
            rates: learning rate of every optimizer step, > 0 after the warmup, shape (T,).
            warmup_steps: length of the warmup.

        Returns:
            Loss in nats per token, and its gradient, shape (T,).
        """
        share, alpha, p = (self.params[name] for name in ("warmup_share", "alpha", "rate_power"))
        powered = rates if p == 1 else rates**p
        total = self._final_sum(powered, warmup_steps)
        power = self.params["A"] * total**-alpha
        drop, gradient = self.final_drop(rates, 1 if self.warmup == "code" else max(warmup_steps, 1))
        pull = -alpha * power / total * p
        slope = np.full(len(rates), pull) if p == 1 else pull * powered / np.maximum(rates, 1e-300)
        slope[:warmup_steps] *= share
        return self.params["L0"] + power - drop, slope - gradient

    @abstractmethod
    def exact_drop(self, rates: np.ndarray, first: int, at: np.ndarray) -> np.ndarray:
        """The drop as the paper writes it, one step at a time."""

    def definition(self, rates: np.ndarray, warmup_steps: int, at: np.ndarray) -> np.ndarray:
        """The formula as written, in float64: the slow twin of `predict`."""
        rates = np.asarray(rates, dtype=np.float64)
        total = rate_sums(rates, warmup_steps, self.params["warmup_share"], self.params["rate_power"])[at]
        power = self.params["A"] * total ** -self.params["alpha"]
        first = 1 if self.warmup == "code" else warmup_steps
        return self.params["L0"] + power - self.exact_drop(rates, first, np.asarray(at))

    @classmethod
    def bounds(cls) -> tuple[np.ndarray, np.ndarray]:
        """Limits of the internal parameters: L0 0 to 20, alpha 0.02 to 3, share 0.05 to 3, power 0.3 to 1.3."""
        lower = [0.0, -14, np.log(0.02), 0.05, POWERS[0], *cls.LOWER]
        return np.array(lower), np.array([20.0, 5, np.log(3.0), 3.0, POWERS[1], *cls.UPPER])
