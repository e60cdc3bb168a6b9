"""The schedule of least predicted final loss for given steps, peak, warmup and floor.

The rate is floor + (peak - floor) exp(-u), u piecewise linear on knots that lie denser towards the end, with
increments >= 0 for falling schedules, or values >= 0 where the rate may rise again. L-BFGS-B with the law's O(T)
gradient, from a start that decays over the last 30 %. Where the decay's length is bounded, all knots lie within it and
the first one's rate holds from the warmup on. Runs of few steps have local optima: there several lengths are tried.

Source: arXiv 2503.12811, section 5 (the problem); official code at commit 8da9f190, src/optimization.py.
Differs: 1. the official code moves every step's rate with Adam for 10,000 iterations; knots need a hundred of L-BFGS;
2. its objective leaves the warmup's own terms out, ours is the law's prediction; 3. knots keep the rate continuous on
purpose: step by step, the formula can be driven 0.002 nats lower by staircases that no experiment supports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.law import Law
from thalweg.laws.rate_sum import RateSumLaw

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from thalweg.schedules import Piecewise, Schedule

__all__ = ["Design", "design", "usual"]

KNOTS = 65
START = 0.3  # length of the start's decay, as a share of the steps after warmup
DEEPEST = 9.2  # largest u: rates go down to 1e-4 of the range above the floor, beyond which no run was ever fitted
SHORT = 4000  # steps up to which a descent can end in a local optimum, so that several lengths of the decay are tried
TRIED = (0.6, 0.35, 0.2, 0.1)
UNIT = 1e-7  # relative gain of the objective at which a descent stops


@dataclass(frozen=True, eq=False, slots=True)
class Design:
    """A designed schedule.

    Attributes:
        rates: learning rate of every optimizer step, warmup included, float64 (T,).
        final_loss: the law's prediction at the last step, nats per token.
        warmup_steps: length of the warmup.
        peak: the largest rate that was allowed.
        notes: what to know before trusting it.
    """

    rates: np.ndarray
    final_loss: float
    warmup_steps: int
    peak: float
    notes: tuple[str, ...]

    @property
    def schedule(self) -> Schedule:
        """The rates as a schedule for training (``array``), for runs of exactly this length."""
        from thalweg.schedules import Array

        return Array(values=self.rates)

    @property
    def compact(self) -> Piecewise:
        """A schedule of few points within 1e-3 of the peak of every rate, with a short spec to train and print."""
        from thalweg.schedules import Piecewise

        return Piecewise.through(self.rates, warmup=self.warmup_steps, peak=self.peak)


def design(
    law: Law,
    *,
    steps: int,
    peak: float,
    warmup: int = 0,
    floor: float = 0.0,
    monotone: bool = True,
    decay: float | None = None,
) -> Design:
    """Finds the schedule with the least predicted final loss.

    Args:
        law: a fitted multi-power or momentum law.
        steps: length of the run in optimizer steps, warmup included.
        peak: largest rate; a law is fitted for one peak and predicts others badly.
        warmup: steps of linear warmup to the rate r that follows it (the peak, unless the law wants less), r (i + 1) /
            warmup at step i; 0 <= warmup <= steps - 2.
        floor: smallest rate after warmup, 0 <= floor < peak. With 0 the law is asked about rates near 0, where it was
            never fitted and where eta^-gamma promises most; a floor at the least rate seen is the careful choice.
        monotone: whether the rate may only fall; else it may rise again, up to the peak.
        decay: longest decay: up to 1 a fraction of all steps, above 1 steps, at least two of them. Before it the rate
            stays at one level, which the optimum chooses; within it the rate falls, or is free where not ``monotone``.

    Returns:
        The design; its rates are continuous and never reach the floor exactly.

    Raises:
        InputError: a value out of range, or a law whose best schedule is degenerate.
    """
    if law.name not in ("multi-power", "momentum") or not isinstance(law, RateSumLaw):
        raise InputError(f"law {law.name!r} has no schedule to design (its optimum is degenerate); fit 'multi-power'")
    if not (np.isfinite(peak) and peak > 0):
        raise InputError(f"peak is {peak}; give the largest learning rate, > 0")
    if not 0 <= floor < peak:
        raise InputError(f"floor is {floor}; give a rate from 0 to below the peak, {peak}")
    if not 0 <= warmup <= steps - 2:
        raise InputError(f"warmup is {warmup} of {steps} steps; leave at least two steps after it")
    ramp = (np.arange(warmup) + 1) / max(warmup, 1)
    holds = {_held(decay, steps, warmup)}
    if steps <= SHORT:
        holds |= {max(_held(length, steps, warmup), *holds) for length in TRIED if length * steps >= 2}
    found = []
    for hold in holds:
        body = _descend(law, ramp, steps, peak=peak, floor=floor, monotone=monotone, hold=hold)
        rates = np.concatenate([ramp * body[0], body])
        found.append((law.final_loss(rates, warmup_steps=warmup), rates))
    final, rates = min(found, key=lambda pair: pair[0])
    return Design(rates, final, warmup, peak, _notes(law, rates[warmup:], peak))


def usual(steps: int, peak: float, warmup: int, floor: float, decay: float | None = None) -> dict[str, Schedule]:
    """What a schedule is compared with, by name: cosine, and WSD with a decay of 0.1, 0.2 and, if given, ``decay``."""
    from thalweg.schedules import WSD, Cosine

    warm = 1 / steps if warmup == 1 else warmup  # a bare 1 would mean the whole run
    found: dict[str, Schedule] = {"cosine": Cosine(peak=peak, warmup=warm, floor=floor)}
    for length in sorted({0.1, 0.2} if decay is None else {0.1, 0.2, decay}):
        found[f"wsd, decay {length:g}"] = WSD(peak=peak, warmup=warm, decay=length, shape="1-sqrt", floor=floor)
    return found


def _held(decay: float | None, steps: int, warmup: int) -> int:
    """Steps after the warmup before a decay of that length may begin; 0 where it fits the whole run."""
    if decay is None:
        return 0
    if not (np.isfinite(decay) and decay > 0 and (decay <= 1 or decay == int(decay))):
        raise InputError(f"decay is {decay}; give a fraction of the run up to 1, or whole steps")
    start = round(steps - decay * steps) if decay <= 1 else steps - int(decay)
    if start > steps - 2:
        raise InputError(f"decay is {decay} of {steps} steps; leave at least two steps for it")
    return max(0, start - warmup)


def _descend(
    law: RateSumLaw, ramp: np.ndarray, steps: int, *, peak: float, floor: float, monotone: bool, hold: int
) -> np.ndarray:
    """The rates after warmup, which rises along ``ramp`` (warmup,) in (0, 1] to the first of them.

    For ``hold`` steps after it the rate is the first knot's.
    """
    from scipy.optimize import minimize

    count, warmup = steps - len(ramp), len(ramp)
    knots = min(KNOTS, count - hold)
    place = 1 - (1 - np.linspace(0, 1, knots)) ** 3
    spread = _interpolation(place, count, hold)
    gather = spread.T.tocsr()
    length = min(START * count / (count - hold), 1.0)
    decay = np.maximum((place - 1 + length) / length, 0.0)
    start = -np.log(np.maximum(1 - decay, 1e-4) ** 1.3)
    rates = np.empty(steps)

    def objective(v: np.ndarray, falling: bool) -> tuple[float, np.ndarray]:
        above = (peak - floor) * np.exp(-(spread @ (np.cumsum(v) if falling else v)))
        rates[warmup:] = floor + above
        rates[:warmup] = ramp * rates[warmup]
        loss, slope = law.final_slope(rates, warmup)
        slope[warmup] += ramp @ slope[:warmup]
        inner = gather @ (-slope[warmup:] * above)
        return loss, np.cumsum(inner[::-1])[::-1] if falling else inner

    def solve(first: np.ndarray, falling: bool) -> np.ndarray:
        options = {"maxiter": 300, "maxcor": 20, "ftol": UNIT, "gtol": 1e-9}
        bounds = [(0.0, DEEPEST)] * knots
        return minimize(objective, first, (falling,), "L-BFGS-B", jac=True, bounds=bounds, options=options).x

    found = solve(np.diff(start, prepend=0.0), True)
    if not monotone:
        found = solve(np.minimum(np.cumsum(found), DEEPEST), False)
    objective(found, monotone)
    return np.minimum.accumulate(rates[warmup:]) if monotone else rates[warmup:].copy()  # exp rounds either way


def _interpolation(place: np.ndarray, count: int, hold: int) -> csr_array:
    """The matrix (count, knots) from knot values at ``place`` in [0, 1] to steps at (i - hold) / (count - hold)."""
    from scipy.sparse import csr_array

    step = np.arange(count)
    x = np.maximum(step - hold, 0) / (count - hold)
    right = np.clip(np.searchsorted(place, x, side="right"), 1, len(place) - 1)
    part = (x - place[right - 1]) / (place[right] - place[right - 1])
    rows, columns = np.concatenate([step, step]), np.concatenate([right - 1, right])
    return csr_array((np.concatenate([1 - part, part]), (rows, columns)), shape=(count, len(place)))


def _notes(law: Law, rates: np.ndarray, peak: float) -> tuple[str, ...]:
    least = float(rates.min())
    notes = [f"rates fall to {least:.2g} ({least / peak:.2g} of the peak); the law promises most near rate 0"]
    if law.record is not None:
        seen = law.record.seen
        if least < 0.9 * seen.least_rate * seen.peak:
            notes.append(
                f"the fitted curves never went below {seen.least_rate * seen.peak:.3g}: consider that as floor"
            )
        if not 0.95 <= peak / seen.peak <= 1.05:
            notes.append(f"the law was fitted at peak {seen.peak:.3g} and is not known to hold at {peak:.3g}")
    return tuple(notes)
