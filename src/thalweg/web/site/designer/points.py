"""A schedule as points that can be moved, and back: the first ends the warmup, straight lines join them.

Any family becomes points: the fewest that look like it, with the least tolerance that leaves eight of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.schedules import Piecewise

if TYPE_CHECKING:
    from thalweg.schedules import Schedule

__all__ = ["MOST_POINTS", "Points", "as_points", "as_schedule", "changed", "handy", "stretched"]

TOLERANCES = (1e-3, 2e-3, 4e-3, 8e-3, 1.5e-2, 3e-2)  # distance from a line in a picture of the schedule, sides 1
HANDY = 8  # points that can still be edited by hand
MOST_POINTS = 64


@dataclass(frozen=True, slots=True)
class Points:
    """Points of a schedule.

    Attributes:
        steps: 0-based step of each point, increasing; the first is the length of the warmup.
        rates: the rate at each.
        off: largest distance from the schedule they stand for, as a share of its peak; 0 if they are that schedule.
    """

    steps: tuple[int, ...]
    rates: tuple[float, ...]
    off: float = 0.0

    def __len__(self) -> int:
        return len(self.steps)


def as_points(schedule: Schedule, steps: int, rates: np.ndarray) -> Points:
    """The points of a schedule in a run of ``steps``, whose rates (steps,) are at hand."""
    warm = schedule.warmup_steps(steps)
    if isinstance(schedule, Piecewise) and len(schedule.points) <= MOST_POINTS:
        return _own(schedule, steps, warm, rates)
    at = handy(rates, warm)
    off = float(np.abs(np.interp(np.arange(warm, steps), at, rates[at]) - rates[warm:]).max() / rates.max())
    return Points(tuple(at.tolist()), tuple(float(f"{rates[k]:.4g}") for k in at), off=off)


def handy(rates: np.ndarray, warm: int) -> np.ndarray:
    """Steps of few points whose straight lines look like the rates after the warmup.

    Douglas and Peucker's subdivision (1973) by the distance from the line in a picture of equal sides, which a steep
    start of a decay does not crowd with points.
    """
    x, y = np.arange(len(rates)) / len(rates), rates / rates.max()
    for tolerance in TOLERANCES:
        kept, pending = {warm, len(rates) - 1}, [(warm, len(rates) - 1)]
        while pending:
            first, last = pending.pop()
            dx, dy = x[last] - x[first], y[last] - y[first]
            part = slice(first, last + 1)
            away = np.abs(dx * (y[part] - y[first]) - dy * (x[part] - x[first])) / max(float(np.hypot(dx, dy)), 1e-12)
            worst = first + int(away.argmax())
            if away.max() > tolerance:
                kept.add(worst)
                pending += [(first, worst), (worst, last)]
        if len(kept) <= HANDY:
            break
    return np.array(sorted(kept))


def _own(schedule: Piecewise, steps: int, warm: int, rates: np.ndarray) -> Points:
    pairs = [(at, rate) for at, rate in zip(*_own_pairs(schedule, steps), strict=True) if at >= warm]
    if not pairs or pairs[0][0] > warm:
        pairs.insert(0, (warm, float(f"{rates[min(warm, steps - 1)]:.6g}")))
    if pairs[-1][0] < steps - 1:
        pairs.append((steps, pairs[-1][1]))
    return Points(tuple(at for at, _ in pairs), tuple(rate for _, rate in pairs))


def _own_pairs(schedule: Piecewise, steps: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    at = tuple(round(place * steps) if place <= 1 else int(place) for _, place in schedule.points)
    return at, tuple(rate for rate, _ in schedule.points)


def as_schedule(steps_of: Sequence[int], rates: Sequence[float], steps: int) -> Piecewise:
    """The schedule through points, the first at the end of the warmup.

    Raises:
        InputError: none or too many, steps that do not increase or leave the run, rates below 0.
    """
    if not 1 <= len(steps_of) <= MOST_POINTS or len(steps_of) != len(rates):
        raise InputError(f"{len(steps_of)} points: give 1 to {MOST_POINTS}, each with a step and a rate")
    for k, (before, after) in enumerate(pairwise(steps_of), 2):
        if after <= before:
            raise InputError(f"point {k} is at step {after:,}, not after the one before it, at {before:,}")
    if not (steps_of[0] >= 0 and steps_of[0] < steps and steps_of[-1] <= steps):
        raise InputError(f"points reach from step {steps_of[0]:,} to {steps_of[-1]:,}; the run has {steps:,} steps")
    place = [1 / steps if at == 1 else at for at in steps_of]  # a bare 1 would mean the whole run
    pairs = tuple((float(f"{rate:.6g}"), at) for rate, at in zip(rates, place, strict=True))
    return Piecewise(points=pairs, warmup=place[0])


def changed(points: Points, action: str, steps: int) -> Points:
    """The points after ``add-k`` (a new one half-way after point k, from 1) or ``remove-k``.

    Raises:
        InputError: no such point, the last one left, or no room for another.
    """
    word, _, text = action.partition("-")
    k = int(text) - 1 if text.isdigit() else -1
    if word not in ("add", "remove") or not 0 <= k < len(points):
        raise InputError(f"there is no point for {action!r}")
    at, rates = list(points.steps), list(points.rates)
    if word == "remove":
        if len(points) == 1:
            raise InputError("this is the last point; a schedule needs one")
        del at[k], rates[k]
    else:
        end = at[k + 1] if k + 1 < len(at) else steps
        if end - at[k] < 2:
            raise InputError(f"there is no step between point {k + 1} and the next")
        middle = (at[k] + end) // 2
        rate = float(np.interp(middle, points.steps, points.rates))
        at.insert(k + 1, middle)
        rates.insert(k + 1, rate)
    return Points(tuple(at), tuple(rates))


def stretched(schedule: Schedule, before: int, after: int) -> Schedule:
    """A schedule by points for another number of steps: the warmup keeps its steps, the rest keeps its shape."""
    if not isinstance(schedule, Piecewise) or before == after:
        return schedule
    warm = schedule.warmup_steps(before)
    if warm >= after:
        raise InputError(f"the warmup of {warm:,} steps does not fit in {after:,}; move its point first")
    at, rates = _own_pairs(schedule, before)
    factor = (after - warm) / max(before - warm, 1)
    moved = [place if place <= warm else round(warm + (place - warm) * factor) for place in at]
    return as_schedule(moved, rates, after) if moved[0] == warm else _kept(moved, rates, after, warm)


def _kept(moved: Sequence[int], rates: Sequence[float], steps: int, warm: int) -> Piecewise:
    place = [1 / steps if at == 1 else at for at in moved]
    return Piecewise(points=tuple(zip(rates, place, strict=True)), warmup=1 / steps if warm == 1 else warm)
