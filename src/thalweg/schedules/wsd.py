"""WSD: warmup, a stable phase at the peak, and a decay at the end of the run.

Source: arXiv 2410.05192 (Method, Schedules); the 1-sqrt decay is that of arXiv 2405.18392.
Differs: 1. the first step of the decay has the peak and the floor belongs to the step after the last (see ``base``), so
the last trained step lies slightly above the floor; the paper counts the decay from 1 to d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thalweg.errors import InputError
from thalweg.schedules.base import Duration, Phase, WarmedSchedule, check_rate, duration, turn
from thalweg.schedules.decay import Shape, check_shape, decay

__all__ = ["WSD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WSD(WarmedSchedule):
    """``wsd:peak=3e-4,warmup=100,decay=0.2,shape=1-sqrt,floor=0``: stable at the peak, then a decay to the floor.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the warmup (>= 0).
        ramp: form of the warmup, ``linear`` or ``zero``.
        decay: duration of the decay at the end of the run (> 0): fraction of all steps, or steps. 0.1 to 0.2 is usual.
        shape: form of the decay; see ``thalweg.schedules.decay``.
        floor: learning rate one step past the last, in [0, peak]; above 0 for shapes ``exponential`` and ``inverse``.
        power: exponent of shape ``power`` (> 0); only with it.

    Raises:
        InputError: a value out of range; from ``rates``, warmup and decay longer than the run.
    """

    name: ClassVar[str] = "wsd"
    decay: Duration = 0.1
    shape: Shape = "1-sqrt"
    floor: float = 0.0
    power: float | None = None

    def _check(self) -> None:
        duration(self, "decay")
        check_rate(self, "floor", peak=self.peak)
        object.__setattr__(self, "power", check_shape(self, self.shape, self.floor, self.power))

    def _decay_start(self, start: int, steps: int) -> int:
        first = turn(self.decay, steps, steps)
        if first < start:
            raise InputError(
                f"wsd: warmup ({start} steps) and decay ({steps - first} steps) do not fit in {steps} steps; "
                "shorten one of them"
            )
        return first

    def _body(self, start: int, steps: int) -> np.ndarray:
        fall = self._decay_start(start, steps)
        x = np.arange(steps - fall) / max(steps - fall, 1)
        tail = decay(self.shape, x, peak=self.peak, floor=self.floor, power=self.power)
        return np.concatenate([np.full(fall - start, self.peak), tail])

    def _plan(self, start: int, steps: int) -> list[Phase]:
        fall = self._decay_start(start, steps)
        return [Phase("stable", start, fall), Phase("decay", fall, steps)]
