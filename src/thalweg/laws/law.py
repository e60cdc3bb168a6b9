"""What a law is: a formula with fitted parameters that predicts the loss of any schedule, saved as JSON.

Source: arXiv 2503.12811, section 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.curve import LossCurve, Metrics, leading_ramp, metrics
from thalweg.laws.record import Record

if TYPE_CHECKING:
    from thalweg.laws.trust import Trust
    from thalweg.schedules import Schedule

__all__ = ["Law", "Scale", "as_rates"]

Form = Literal["paper", "code"]


@dataclass(frozen=True, slots=True)
class Scale:
    """Units in which a fit works, so that starts, bounds and priors fit any run.

    Attributes:
        peak: largest rate of the fitted curves.
        span: largest rate sum at a fitted point.
        steps: largest fitted step, counted from 1.
    """

    peak: float
    span: float
    steps: float


def as_rates(
    schedule: Schedule | np.ndarray, steps: int | None = None, warmup_steps: int | None = None
) -> tuple[np.ndarray, int]:
    """The per-step rates (T,) and the warmup's length of a schedule (with ``steps``) or of an array of rates.

    Raises:
        InputError: a schedule without ``steps``, or rates that are empty, negative or not finite.
    """
    from thalweg.schedules import Schedule

    if isinstance(schedule, Schedule):
        if steps is None:
            raise InputError(f"steps is missing: a schedule ({schedule}) needs its number of steps")
        rates = np.asarray(schedule.rates(steps), dtype=np.float64)
        own = (
            leading_ramp(rates) if schedule.name == "array" else schedule.warmup_steps(steps)
        )  # an array declares none
        return rates, own if warmup_steps is None else warmup_steps
    rates = np.asarray(schedule, dtype=np.float64)
    if rates.ndim != 1 or len(rates) == 0:
        raise InputError(f"rates have shape {rates.shape}; give one rate per optimizer step")
    if not np.all(np.isfinite(rates)) or rates.min() < 0 or rates.max() == 0:
        raise InputError(f"rates range from {rates.min():g} to {rates.max():g}; they must be finite, >= 0, not all 0")
    if steps is not None and steps != len(rates):
        raise InputError(f"steps is {steps} but {len(rates)} rates were given; leave steps out for an array")
    return rates, leading_ramp(rates) if warmup_steps is None else warmup_steps


@dataclass(frozen=True, eq=False, kw_only=True)
class Law(ABC):
    """A fitted law over schedules; immutable.

    Attributes:
        params: the fitted constants by name, in the units of the paper (losses in nats per token, rates absolute).
        warmup: ``paper`` (rate changes count from the end of warmup) or ``code`` (they count from step 1, as in the
            official code); parameters of the two forms must not be mixed.
        record: what the fit saw and how sure it is; None for a law written down by hand.
    """

    params: Mapping[str, float]
    warmup: Form = "paper"
    record: Record | None = None

    name: ClassVar[str]
    names: ClassVar[tuple[str, ...]]
    FORMS: ClassVar[tuple[str, ...]] = ("paper",)
    FIXABLE: ClassVar[Mapping[str, int]] = {}  # parameters that a fit may hold at 1: place among the internal ones

    def __post_init__(self) -> None:
        params = dict.fromkeys(self.FIXABLE, 1.0) | dict(self.params)
        missing = [name for name in self.names if name not in params]
        extra = [name for name in self.params if name not in self.names]
        if missing or extra:
            raise InputError(f"law {self.name!r} takes the parameters {', '.join(self.names)}; got {list(self.params)}")
        if self.warmup not in self.FORMS:
            raise InputError(f"warmup is {self.warmup!r}; law {self.name!r} knows {' and '.join(self.FORMS)}")
        object.__setattr__(self, "params", {name: float(params[name]) for name in self.names})

    @classmethod
    @abstractmethod
    def features(cls, rates: np.ndarray, warmup_steps: int, *, at: np.ndarray | None, form: Form, order: int) -> Any:
        """All that the formula needs of one schedule, free of parameters."""

    @classmethod
    @abstractmethod
    def evaluate(cls, u: np.ndarray, features: Any, scale: Scale, slopes: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Prediction (n,) at the internal parameters ``u`` and, if asked, its Jacobian (n, p)."""

    @classmethod
    @abstractmethod
    def natural(cls, u: np.ndarray, scale: Scale) -> dict[str, float]:
        """Internal parameters to the paper's."""

    @classmethod
    @abstractmethod
    def internal(cls, params: Mapping[str, float], scale: Scale) -> np.ndarray:
        """The paper's parameters to internal ones."""

    @classmethod
    @abstractmethod
    def bounds(cls) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limits of the internal parameters, each (p,)."""

    @classmethod
    @abstractmethod
    def shapes(cls, scale: Scale) -> list[np.ndarray]:
        """Starting points for the internal parameters after the power law's, the first of which is a log amplitude."""

    @classmethod
    @abstractmethod
    def prior(cls, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
        """Centre and width (inf: none) of the default fitter's prior on the internal parameters, each (p,)."""

    @abstractmethod
    def definition(self, rates: np.ndarray, warmup_steps: int, at: np.ndarray) -> np.ndarray:
        """The formula as written, one step at a time in float64: the slow twin of `predict`."""

    def predict(
        self,
        schedule: Schedule | np.ndarray,
        steps: int | None = None,
        *,
        at: np.ndarray | None = None,
        warmup_steps: int | None = None,
    ) -> np.ndarray:
        """Predicted loss in nats per token.

        Args:
            schedule: a schedule, or the rate of every optimizer step (T,).
            steps: length of the run; needed with a schedule.
            at: 0-based steps to predict, in [0, T); all T when absent.
            warmup_steps: length of the warmup; else the schedule's own, or an array's leading ramp.

        Returns:
            Loss at the asked steps, shape (n,); within 1e-6 of `definition`. What depends on the rates alone is cached
            for the last few schedules.

        Raises:
            InputError: a step outside the schedule, or a bad schedule.
        """
        rates, warm = as_rates(schedule, steps, warmup_steps)
        if at is not None:
            at = np.asarray(at, dtype=np.int64)
            if at.ndim != 1 or (len(at) and (at.min() < 0 or at.max() >= len(rates))):
                raise InputError(f"at has steps outside 0 to {len(rates) - 1}, the steps of the schedule")
        return self._predict(self.params, rates, warm, at)

    def _predict(self, params: Mapping[str, float], rates: np.ndarray, warm: int, at: np.ndarray | None) -> np.ndarray:
        from thalweg.laws.cache import cached_features

        scale = Scale(float(rates.max()), 1.0, 1.0)
        features = cached_features(type(self), rates, warm, at=at, form=self.warmup)
        return self.evaluate(self.internal(params, scale), features, scale, False)[0]

    def final_loss(
        self, schedule: Schedule | np.ndarray, steps: int | None = None, *, warmup_steps: int | None = None
    ) -> float:
        """Predicted loss at the last step, nats per token."""
        rates, warm = as_rates(schedule, steps, warmup_steps)
        return float(self._predict(self.params, rates, warm, np.array([len(rates) - 1]))[0])

    def metrics(self, curve: LossCurve) -> Metrics:
        """How well the law predicts a curve, over its logged points from the end of warmup on."""
        keep = curve.steps >= curve.warmup
        if not keep.any():
            raise InputError(f"curve {curve.name!r} has no loss after its warmup of {curve.warmup} steps")
        return metrics(curve.losses[keep], self._predict(self.params, curve.rates, curve.warmup, curve.steps[keep]))

    def band(
        self,
        schedule: Schedule | np.ndarray,
        steps: int | None = None,
        *,
        at: np.ndarray | None = None,
        warmup_steps: int | None = None,
        level: float = 0.9,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (n,), (n,) of the interval for the law's curve from the bootstrap's draws.

        It holds the parameters' uncertainty only; `trust` adds noise and the spread between laws.

        Raises:
            InputError: the law has no draws (written down by hand, or fitted with draws=0).
        """
        rates, warm = as_rates(schedule, steps, warmup_steps)
        curves = self.draw_curves(rates, warm, at)
        tail = 50 * (1 - level)
        low, high = np.percentile(curves, [tail, 100 - tail], axis=0)
        return low, high

    def draw_curves(self, rates: np.ndarray, warmup_steps: int, at: np.ndarray | None = None) -> np.ndarray:
        """One predicted curve for each of the bootstrap's draws; shape (draws, n)."""
        if self.record is None or len(self.record.draws) == 0:
            raise InputError(f"this {self.name} law has no bootstrap draws; fit it with draws=200")
        table = [dict(zip(self.names, draw, strict=True)) for draw in self.record.draws]
        return np.stack([self._predict(params, rates, warmup_steps, at) for params in table])

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """90 % intervals of the parameters from the bootstrap's draws; empty without draws."""
        if self.record is None or len(self.record.draws) == 0:
            return {}
        low, high = np.percentile(self.record.draws, [5, 95], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.names, low, high, strict=True)}

    def trust(
        self, schedule: Schedule | np.ndarray, steps: int | None = None, *, warmup_steps: int | None = None
    ) -> Trust:
        """How far a schedule lies beyond the fitted curves, and what its predicted final loss is worth."""
        from thalweg.laws.trust import judge

        rates, warm = as_rates(schedule, steps, warmup_steps)
        return judge(self, rates, warm)

    def to_json(self) -> str:
        """The law as JSON text; `from_json` gives it back bit for bit."""
        from thalweg.laws.store import to_json

        return to_json(self)

    @staticmethod
    def from_json(text: str) -> Law:
        """A law from the text that `to_json` wrote."""
        from thalweg.laws.store import from_json

        return from_json(text)

    def save(self, path: str | Path) -> Path:
        """Writes the law as JSON, whole or not at all; `load_law` reads it."""
        from thalweg.files import write_atomic

        return write_atomic(path, self.to_json())

    def with_record(self, record: Record) -> Self:
        """The same law with another record."""
        return replace(self, record=record)
