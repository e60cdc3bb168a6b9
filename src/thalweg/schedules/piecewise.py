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

    @classmethod
    def through(cls, rates: np.ndarray, *, warmup: int, peak: float, tolerance: float = 1e-3) -> Piecewise:
        """A compact schedule for per-step rates, such as a designed one: few points, each line near the given rates.

        Rates within ``tolerance`` · ``peak`` of the peak become the peak itself, so that a stable phase is exactly that
        of the other shapes; elsewhere every rate is within ``tolerance`` · ``peak`` of the given one (Douglas–Peucker).

        Args:
            rates: learning rate of every optimizer step, float64 (steps,).
            warmup: length of the linear warmup to the rate after it, fewer than ``steps``.
            peak: the largest rate.
            tolerance: fraction of the peak, > 0.
        """
        snapped = np.where(rates >= (1 - tolerance) * peak, peak, rates)
        kept = [warmup, len(rates) - 1]
        pending = [(warmup, len(rates) - 1)]
        while pending:
            first, last = pending.pop()
            line = np.interp(np.arange(first, last + 1), [first, last], snapped[[first, last]])
            off = np.abs(line - snapped[first : last + 1])
            worst = int(off.argmax())
            if off[worst] > tolerance * peak:
                kept.append(first + worst)
                pending += [(first, first + worst), (first + worst, last)]
        place = {1: 1 / len(rates)}  # a bare 1 would mean the whole run
        short = {k: peak if snapped[k] == peak else float(f"{snapped[k]:.6g}") for k in kept}
        points = tuple((short[k], place.get(k, k)) for k in sorted(short))
        return cls(points=points, warmup=place.get(warmup, warmup))

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
