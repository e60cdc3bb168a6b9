"""Cosine and linear: one decay from the end of the warmup to the end of the run.

Source: cosine, arXiv 1608.03983 (without restarts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thalweg.schedules.base import Phase, WarmedSchedule, check_rate
from thalweg.schedules.decay import decay

__all__ = ["Cosine", "Linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine(WarmedSchedule):
    """``cosine:peak=3e-4,warmup=100,floor=3e-5``: floor + (peak - floor) (1 + cos(pi x)) / 2 after the warmup.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the warmup (>= 0).
        ramp: form of the warmup, ``linear`` or ``zero``.
        floor: learning rate one step past the last, in [0, peak].
    """

    name: ClassVar[str] = "cosine"
    floor: float = 0.0

    def _check(self) -> None:
        check_rate(self, "floor", peak=self.peak)

    def _body(self, start: int, steps: int) -> np.ndarray:
        x = np.arange(steps - start) / max(steps - start, 1)
        return decay("cosine", x, peak=self.peak, floor=self.floor)

    def _plan(self, start: int, steps: int) -> list[Phase]:
        return [Phase("decay", start, steps)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(WarmedSchedule):
    """``linear:peak=3e-4,warmup=100,floor=0``: floor + (peak - floor) (1 - x) after the warmup.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the warmup (>= 0).
        ramp: form of the warmup, ``linear`` or ``zero``.
        floor: learning rate one step past the last, in [0, peak].
    """

    name: ClassVar[str] = "linear"
    floor: float = 0.0

    def _check(self) -> None:
        check_rate(self, "floor", peak=self.peak)

    def _body(self, start: int, steps: int) -> np.ndarray:
        x = np.arange(steps - start) / max(steps - start, 1)
        return decay("linear", x, peak=self.peak, floor=self.floor)

    def _plan(self, start: int, steps: int) -> list[Phase]:
        return [Phase("decay", start, steps)]
