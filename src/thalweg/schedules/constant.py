"""Constant: the peak from the end of the warmup to the end of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thalweg.schedules.base import Phase, WarmedSchedule

__all__ = ["Constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(WarmedSchedule):
    """``constant:peak=3e-4,warmup=100``: rate = peak after the warmup.

    Args:
        peak: learning rate (> 0).
        warmup: duration of the warmup (>= 0).
        ramp: form of the warmup, ``linear`` or ``zero``.
    """

    name: ClassVar[str] = "constant"

    def _body(self, start: int, steps: int) -> np.ndarray:
        return np.full(steps - start, self.peak)

    def _plan(self, start: int, steps: int) -> list[Phase]:
        return [Phase("stable", start, steps)]
