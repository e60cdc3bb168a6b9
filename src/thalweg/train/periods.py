"""How many steps workers take between averages: rules for H, and what they save on the wire.

    power rule     H(t) = max(H_base, floor((alpha / lr_t)^p)),  lr_t the rate of the round's first step
    p = 2 quadratic (QSR),  p = 1 inverse (H ~ 1 / lr),  p = 3 cubic
    warm-up        a round that starts before ``warmup`` updates are done takes ``warmup_period`` steps

``LocalUpdates`` cuts H to the updates that are left. Each average moves one copy of the weights, so the volume relative
to an average a step is the number of rounds over the number of steps.

Source: arXiv 2310.14423, Algorithm 2 and official code hmgxr128/QSR at 0ac44f1 (``adjust_h``): truncated before the
maximum, cut to the run last, a round begun in warm-up keeps its H.
Differs: 1. a rate of 0 is allowed and takes the rest of the run, the limit of the rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from thalweg.train.local_updates import Period

__all__ = ["Communication", "communication", "cubic", "inverse", "power_period", "quadratic"]

LONGEST = 2**53
"""H of a rate that vanishes; the end of the run cuts it."""


def power_period(
    alpha: float, base: int, *, power: float = 2.0, warmup: int = 0, warmup_period: int | None = None
) -> Period:
    """H = max(base, floor((alpha / lr)^power)) for the round that starts after ``step`` updates with rate ``lr``.

    Args:
        alpha: in the unit of the learning rate, >= 0; 0 keeps H at ``base``. The paper tunes it on a grid at a fixed
            base: 2.2 of the peak rate for a ViT under AdamW, 0.25 to 0.3 for a ResNet under SGD.
        base: least H, >= 1.
        power: p > 0.
        warmup: updates during which H is ``warmup_period``, >= 0.
        warmup_period: H of rounds that start in the warm-up, >= 1; default ``base``, as the official scripts have it.

    Raises:
        InputError: an argument out of range. The rule itself raises for a rate below 0 or not finite.
    """
    if not (math.isfinite(alpha) and alpha >= 0 and math.isfinite(power) and power > 0):
        raise InputError(f"alpha={alpha!r} must be finite and at least 0, and power={power!r} above 0")
    first = base if warmup_period is None else warmup_period
    if base < 1 or first < 1 or warmup < 0:
        raise InputError(
            f"base={base} and warmup_period={first} must be at least 1 step, and warmup={warmup} at least 0"
        )

    def period(step: int, lr: float) -> int:
        if not (math.isfinite(lr) and lr >= 0):
            raise InputError(f"lr={lr!r} at step {step} must be finite and at least 0: it sets the period")
        if step < warmup:
            return first
        if alpha >= lr * LONGEST ** (1 / power):
            return LONGEST if alpha else base
        return max(base, int((alpha / lr) ** power))

    return period


def quadratic(alpha: float, base: int, *, warmup: int = 0, warmup_period: int | None = None) -> Period:
    """QSR: H = max(base, floor((alpha / lr)^2)); see ``power_period``."""
    return power_period(alpha, base, power=2.0, warmup=warmup, warmup_period=warmup_period)


def inverse(alpha: float, base: int, *, warmup: int = 0, warmup_period: int | None = None) -> Period:
    """H = max(base, floor(alpha / lr)), linear in one over the rate (arXiv 2303.01215); see ``power_period``."""
    return power_period(alpha, base, power=1.0, warmup=warmup, warmup_period=warmup_period)


def cubic(alpha: float, base: int, *, warmup: int = 0, warmup_period: int | None = None) -> Period:
    """H = max(base, floor((alpha / lr)^3)), for step decay; see ``power_period``."""
    return power_period(alpha, base, power=3.0, warmup=warmup, warmup_period=warmup_period)


class Communication(NamedTuple):
    """The rounds of a run.

    Attributes:
        starts: (rounds,) finished updates when each round starts.
        periods: (rounds,) H of each.
        fraction: averages over updates: the volume relative to an average a step.
    """

    starts: np.ndarray
    periods: np.ndarray
    fraction: float

    def bytes_sent(self, parameters: int, *, workers: int, width: int = 4) -> float:
        """Bytes that each worker sends in the whole run by ring all-reduces, 2 (K - 1) / K copies of the weights each.

        Args:
            parameters: numbers that are averaged.
            workers: K >= 1.
            width: bytes a number.
        """
        return len(self.periods) * 2 * (workers - 1) / workers * parameters * width


def communication(period: Period, rates: Sequence[float] | np.ndarray) -> Communication:
    """The rounds that ``LocalUpdates`` would take under these rates, and their volume.

    Args:
        period: a rule for H.
        rates: (steps,) the learning rate of each update, as ``schedule.rates(steps)`` gives them.

    Raises:
        InputError: no rates, or a period below 1.
    """
    steps = len(rates)
    if not steps:
        raise InputError("rates is empty: give the learning rate of every update")
    starts, periods, at = [], [], 0
    while at < steps:
        found = period(at, float(rates[at]))
        if found < 1:
            raise InputError(f"the period at step {at} is {found}; it must be at least 1")
        starts.append(at)
        periods.append(min(found, steps - at))
        at += periods[-1]
    return Communication(np.array(starts), np.array(periods), len(periods) / steps)
