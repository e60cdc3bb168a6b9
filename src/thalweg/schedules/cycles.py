"""WSD-S and cyclic cosine: one run with a decayed checkpoint at each of several budgets.

Both take ``cycles``, the end points of the cycles (the budgets), as fractions of the run or whole steps; the last must
be the end of the run. After an end point the rate jumps straight back to the peak, without a second warmup, and the
optimizer state is carried on.

Source: arXiv 2410.05192 (Method, Schedules); stanford-crfm/levanter, optim/config.py (``cycles``).
Differs: 1. Levanter takes the warmup as a fraction of the first cycle; here fractions are of the whole run, as in every
schedule. 2. Levanter takes the decay as a fraction of its cycle (``of="cycle"``); the default here is ``of="elapsed"``,
the paper's "10 % of the steps so far", so that each checkpoint is what a WSD run of that budget with the same ``decay``
gives and the two can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from thalweg.errors import InputError
from thalweg.schedules.base import (
    Duration,
    Phase,
    Schedule,
    WarmedSchedule,
    as_duration,
    check_rate,
    check_word,
    length,
    listed,
    turn,
)
from thalweg.schedules.base import duration as check_duration
from thalweg.schedules.decay import Shape, check_shape, decay

__all__ = ["WSDS", "Cyclic"]


def check_ends(owner: Schedule, field: str) -> None:
    """Brings a list of increasing positions into its normal form."""
    ends = tuple(as_duration(owner, field, end) for end in listed(owner, field))
    for before, after in pairwise(ends):
        if (before <= 1) == (after <= 1) and after <= before:
            raise InputError(f"{owner.name}: {field} must increase, but {after!r} follows {before!r}")
    object.__setattr__(owner, field, ends)


def resolve_ends(owner: Schedule, field: str, ends: tuple[Duration, ...], steps: int) -> list[int]:
    """The positions as steps of a run, strictly increasing.

    Raises:
        InputError: a position beyond the run or two on the same step.
    """
    points = [length(owner, field, end, steps) for end in ends]
    for before, after in pairwise([0, *points]):
        if after <= before:
            raise InputError(f"{owner.name}: {field} must increase, but in {steps} steps {after} follows {before}")
    return points


def cycle_ends(owner: Schedule, ends: tuple[Duration, ...], start: int, steps: int) -> list[int]:
    """The end points of the cycles in steps; the last is the end of the run, the first lies after the warmup."""
    points = resolve_ends(owner, "cycles", ends, steps)
    if points[-1] != steps:
        raise InputError(
            f"{owner.name}: the last of cycles is step {points[-1]} but the run has {steps} steps; "
            f"end cycles with {steps} (or 1), or train {points[-1]} steps"
        )
    if points[0] <= start:
        raise InputError(f"{owner.name}: the first cycle ends at step {points[0]}, within the warmup of {start} steps")
    return points


@dataclass(frozen=True, slots=True, kw_only=True)
class WSDS(WarmedSchedule):
    """``wsd-s:peak=3e-4,cycles=12500;25000;50000,decay=0.1,floor=3e-5``: stable and decay in each cycle.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the only warmup (>= 0), inside the first cycle.
        ramp: form of the warmup, ``linear`` or ``zero``.
        cycles: increasing end points of the cycles; the last is the end of the run.
        decay: length of the decay that ends each cycle: a fraction (up to 1) or whole steps.
        of: what a fraction is taken of: ``elapsed``, all steps up to the end of the cycle (the default, as in the
            paper's recipe), or ``cycle``, the steps of this cycle (as in Levanter).
        shape: form of the decay; ``inverse``, the paper's, needs a floor above 0.
        floor: learning rate one step past each decay, in [0, peak].
        power: exponent of shape ``power`` (> 0); only with it.

    Raises:
        InputError: a value out of range; from ``rates``, a decay longer than its cycle or cycles that do not end with
            the run.
    """

    name: ClassVar[str] = "wsd-s"
    cycles: tuple[Duration, ...]
    decay: Duration = 0.1
    of: Literal["elapsed", "cycle"] = "elapsed"
    shape: Shape = "1-sqrt"
    floor: float = 0.0
    power: float | None = None

    def _check(self) -> None:
        check_ends(self, "cycles")
        check_duration(self, "decay")
        check_word(self, "of", ("elapsed", "cycle"))
        if self.of == "cycle" and self.decay > 1:
            raise InputError(f"wsd-s: of=cycle is for a fraction, but decay={self.decay!r} counts steps; leave out of")
        check_rate(self, "floor", peak=self.peak)
        object.__setattr__(self, "power", check_shape(self, self.shape, self.floor, self.power))

    def _plan(self, start: int, steps: int) -> list[Phase]:
        plan: list[Phase] = []
        begin = 0
        for end in cycle_ends(self, self.cycles, start, steps):
            whole = end if self.of == "elapsed" else end - begin
            fall = turn(self.decay, whole, end)
            first = max(begin, start)
            if fall < first:
                raise InputError(
                    f"wsd-s: the decay of {end - fall} steps before step {end} does not fit in the {end - first} steps "
                    f"since step {first}; shorten decay" + (" or use of=cycle" if self.of == "elapsed" else "")
                )
            plan += [Phase("stable", first, fall), Phase("decay", fall, end)]
            begin = end
        return plan

    def _body(self, start: int, steps: int) -> np.ndarray:
        rates = np.full(steps, self.peak)
        for phase in self._plan(start, steps):
            if phase.name == "decay":
                x = np.arange(phase.stop - phase.start) / max(phase.stop - phase.start, 1)
                fall = decay(self.shape, x, peak=self.peak, floor=self.floor, power=self.power)
                rates[phase.start : phase.stop] = fall
        return rates[start:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cyclic(WarmedSchedule):
    """``cyclic:peak=3e-4,cycles=0.25;0.5;1,floor=3e-5``: a cosine from peak to floor in each cycle.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the only warmup (>= 0), inside the first cycle.
        ramp: form of the warmup, ``linear`` or ``zero``.
        cycles: increasing end points of the cycles; the last is the end of the run.
        floor: learning rate one step past each cycle, in [0, peak].
    """

    name: ClassVar[str] = "cyclic"
    cycles: tuple[Duration, ...]
    floor: float = 0.0

    def _check(self) -> None:
        check_ends(self, "cycles")
        check_rate(self, "floor", peak=self.peak)

    def _plan(self, start: int, steps: int) -> list[Phase]:
        ends = cycle_ends(self, self.cycles, start, steps)
        return [Phase("decay", first, end) for first, end in pairwise([start, *ends])]

    def _body(self, start: int, steps: int) -> np.ndarray:
        falls = []
        for _, first, end in self._plan(start, steps):
            x = np.arange(end - first) / (end - first)
            falls.append(decay("cosine", x, peak=self.peak, floor=self.floor))
        return np.concatenate(falls)
