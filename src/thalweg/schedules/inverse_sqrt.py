"""Inverse square root: rate falls as one over the root of time; needs no horizon.

Source: arXiv 1706.03762, section 5.3, in the form with a free timescale of transformers.get_inverse_sqrt_schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thalweg.errors import InputError
from thalweg.schedules.base import Duration, Phase, WarmedSchedule, as_duration, check_rate

__all__ = ["InverseSqrt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InverseSqrt(WarmedSchedule):
    """``inverse-sqrt:peak=1e-3,warmup=4000``: max(floor, peak / sqrt(1 + (i - w) / timescale)) after w steps of warmup.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the warmup (>= 0).
        ramp: form of the warmup, ``linear`` or ``zero``.
        timescale: duration in which the rate falls to peak / sqrt 2 (> 0); None for the length of the warmup, with
            which rate = peak sqrt(w / i).
        floor: smallest learning rate after the warmup, in [0, peak].
    """

    name: ClassVar[str] = "inverse-sqrt"
    timescale: Duration | None = None
    floor: float = 0.0

    def _check(self) -> None:
        check_rate(self, "floor", peak=self.peak)
        if self.timescale is not None:
            object.__setattr__(self, "timescale", as_duration(self, "timescale", self.timescale))
        elif self.warmup == 0:
            raise InputError("inverse-sqrt: without a warmup the timescale is unknown; give warmup or timescale")

    def _scale(self, start: int, steps: int) -> float:
        if self.timescale is not None:  # may be longer than the run, unlike a phase
            return self.timescale * steps if self.timescale <= 1 else self.timescale
        if start == 0:
            raise InputError(
                f"inverse-sqrt: warmup={self.warmup!r} is no step of {steps}; give timescale or more warmup"
            )
        return start

    def _body(self, start: int, steps: int) -> np.ndarray:
        x = np.arange(steps - start) / self._scale(start, steps)
        return np.maximum(self.floor, self.peak / np.sqrt(1 + x))

    def _plan(self, start: int, steps: int) -> list[Phase]:
        self._scale(start, steps)
        return [Phase("decay", start, steps)]
