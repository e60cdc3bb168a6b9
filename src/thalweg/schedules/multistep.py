"""Two-stage and multi-step: rates that are constant between switches.

Source: two-stage, the ``wsdcon`` curves of arXiv 2503.12811.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thalweg.errors import InputError
from thalweg.schedules.base import Duration, Phase, Schedule, WarmedSchedule, check_rate, duration, length, listed, real
from thalweg.schedules.cycles import check_ends, resolve_ends

__all__ = ["MultiStep", "TwoStage"]


def inside(owner: Schedule, switches: list[int], start: int, steps: int) -> list[int]:
    """The switches, which must lie from the end of the warmup to before the end of the run."""
    for switch in switches:
        if not start <= switch < steps:
            raise InputError(
                f"{owner.name}: the switch at step {switch} lies outside steps {start} (end of warmup) to {steps - 1}; "
                "move at"
            )
    return switches


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoStage(WarmedSchedule):
    """``two-stage:peak=3e-4,warmup=2160,at=8000,then=9e-5``: the peak, and ``then`` from step ``at`` on.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the warmup (>= 0).
        ramp: form of the warmup, ``linear`` or ``zero``.
        at: where the second stage starts: fraction of all steps, or step (> 0).
        then: learning rate of the second stage, in [0, peak].
    """

    name: ClassVar[str] = "two-stage"
    at: Duration
    then: float

    def _check(self) -> None:
        duration(self, "at")
        check_rate(self, "then", peak=self.peak)

    def _body(self, start: int, steps: int) -> np.ndarray:
        (_, first, stop), (_, _, end) = self._plan(start, steps)
        return np.repeat([self.peak, self.then], [stop - first, end - stop])

    def _plan(self, start: int, steps: int) -> list[Phase]:
        (switch,) = inside(self, [length(self, "at", self.at, steps)], start, steps)
        return [Phase("stage 1", start, switch), Phase("stage 2", switch, steps)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiStep(WarmedSchedule):
    """``multistep:peak=1e-3,at=0.8;0.9,levels=3e-4;1e-4``: the peak, then ``levels[k]`` from step ``at[k]`` on.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the warmup (>= 0).
        ramp: form of the warmup, ``linear`` or ``zero``.
        at: increasing switch points: fractions of all steps, or steps.
        levels: learning rates after the switches, as many, each in [0, peak].
    """

    name: ClassVar[str] = "multistep"
    at: tuple[Duration, ...]
    levels: tuple[float, ...]

    def _check(self) -> None:
        check_ends(self, "at")
        levels = tuple(real(self, "levels", level) for level in listed(self, "levels"))
        if len(levels) != len(self.at):
            raise InputError(
                f"multistep: {len(self.at)} switches in at but {len(levels)} levels; give one level a switch"
            )
        for level in levels:
            if not 0 <= level <= self.peak:
                raise InputError(f"multistep: level {level!r} is outside 0 to peak={self.peak!r}")
        object.__setattr__(self, "levels", levels)

    def _body(self, start: int, steps: int) -> np.ndarray:
        return np.repeat([self.peak, *self.levels], [stop - first for _, first, stop in self._plan(start, steps)])

    def _plan(self, start: int, steps: int) -> list[Phase]:
        switches = inside(self, resolve_ends(self, "at", self.at, steps), start, steps)
        starts, stops = [start, *switches], [*switches, steps]
        return [Phase(f"stage {k + 1}", *ends) for k, ends in enumerate(zip(starts, stops, strict=True))]
