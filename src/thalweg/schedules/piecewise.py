"""Piecewise: straight lines between points, constant before the first and after the last."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from thalweg.errors import InputError
from thalweg.schedules.base import (
    Duration,
    Phase,
    Schedule,
    as_duration,
    check_steps,
    check_warmup,
    length,
    listed,
    real,
)

__all__ = ["Piecewise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piecewise(Schedule):
    """``piecewise:points=0@0;3e-4@100;3e-4@0.8;0@1``: the rate at each point, a straight line from one to the next.

    Args:
        points: pairs (rate, position), positions increasing: 0 is the first step, 1 the step after the last, up to 1 a
            fraction of the run, above 1 a step. Rates >= 0, one at least above 0.
        warmup: duration of a warmup that replaces what the points say of its steps: rate r (i + 1) / w at step i < w,
            with r what they give at step w.
    """

    name: ClassVar[str] = "piecewise"
    points: tuple[tuple[float, Duration], ...]
    warmup: Duration = 0.0

    def __post_init__(self) -> None:
        pairs = []
        for point in listed(self, "points"):
            if not hasattr(point, "__len__") or len(point) != 2 or isinstance(point, str):
                raise InputError(f"piecewise: point {point!r} is not a pair (rate, position)")
            rate = real(self, "points", point[0])
            if rate < 0:
                raise InputError(f"piecewise: the rate {rate!r} of a point must be at least 0")
            pairs.append((rate, as_duration(self, "points", point[1], zero=True)))
        if max(rate for rate, _ in pairs) == 0:
            raise InputError("piecewise: all rates are 0; one point must be above")
        object.__setattr__(self, "points", tuple(pairs))
        check_warmup(self)
        for (_, before), (_, after) in pairwise(pairs):
            if (before <= 1) == (after <= 1) and after <= before:
                raise InputError(f"piecewise: positions must increase, but {after!r} follows {before!r}")

    @property
    def peak(self) -> float:
        """The largest rate of the points."""
        return max(rate for rate, _ in self.points)

    def _positions(self, steps: int) -> list[int]:
        positions = [length(self, "points", position, steps) for _, position in self.points]
        for before, after in pairwise(positions):
            if after <= before:
                raise InputError(f"piecewise: in {steps} steps the point at {after} follows the one at {before}")
        return positions

    def rates(self, steps: int) -> np.ndarray:
        """The learning rate of each optimizer step, float64 (steps,); see ``Schedule.rates``."""
        warm, count = self.warmup_steps(steps), check_steps(self, steps)
        lines = np.interp(np.arange(count + 1), self._positions(steps), [rate for rate, _ in self.points])
        ramp = lines[warm] * (np.arange(1, warm + 1) / max(warm, 1))
        return np.concatenate([ramp, lines[warm:count]])

    def warmup_steps(self, steps: int) -> int:
        """How many of the first steps are warmup."""
        return length(self, "warmup", self.warmup, steps)

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """The warmup, and one phase ``piece k`` from point to point."""
        warm = self.warmup_steps(steps)
        cuts = sorted({warm, steps, *(p for p in self._positions(steps) if p > warm)})
        pieces = [Phase(f"piece {k + 1}", *ends) for k, ends in enumerate(pairwise(cuts))]
        return (Phase("warmup", 0, warm), *pieces) if warm else tuple(pieces)
