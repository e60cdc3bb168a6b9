"""What a schedule is: a rule that gives one learning rate per optimizer step.

The conventions that all shapes share:

- *Durations* (``warmup``, ``decay``, ``at``, ``cycles``): a number up to 1 is a fraction of the total steps, rounded to
  the nearest step; above 1 it is whole steps (Levanter's rule). So 1 is the whole run, never one step.
- *Warmup*, first of all: ``ramp="linear"`` gives rate ``peak (i + 1) / w`` at step ``i < w``; ``ramp="zero"`` gives
  ``numpy.linspace(0, peak, w)``, the form of the published curves of arXiv 2503.12811 (step 0 has rate 0).
- *Positions* in a phase of ``n`` steps from ``start`` are ``x = (i - start) / n``: a floor is reached at step ``start +
  n``, one past the last of the phase.
- ``peak`` and ``floor`` are learning rates (absolute, not ratios), in whatever unit the optimizer gives them.

Source: arXiv 2410.05192 (Method) and stanford-crfm/levanter, optim/config.py, for durations.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from thalweg.errors import InputError, suggest

__all__ = ["Duration", "Phase", "Schedule", "WarmedSchedule"]

Duration = float  # up to 1: fraction of the total steps; above 1: whole steps
Ramp = Literal["linear", "zero"]
RAMPS = ("linear", "zero")


class Phase(NamedTuple):
    """A named stretch of a schedule: optimizer steps ``start`` to ``stop - 1``."""

    name: str
    start: int
    stop: int


class Schedule:
    """A rule for the learning rate: a frozen, hashable value with one spec string.

    Subclasses are frozen dataclasses with ``name`` and the methods below; ``check_schedule`` of ``thalweg.testing``
    checks all that is promised here.

    Attributes:
        name: the word that opens the spec string.
        peak: the largest rate the schedule is built for (> 0).
    """

    __slots__ = ()
    name: ClassVar[str]
    if TYPE_CHECKING:  # a field or a property of the subclass

        @property
        def peak(self) -> float:
            """The largest rate."""
            ...

    def rates(self, steps: int) -> np.ndarray:
        """The learning rate of each optimizer step of a run, float64, shape (steps,).

        Args:
            steps: how many optimizer steps the whole run has, warmup included (>= 1).

        Raises:
            InputError: ``steps`` is no positive whole number, or the phases do not fit in it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define rates")

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """The named phases of a run of ``steps`` steps, in order, none empty, together covering [0, steps)."""
        raise NotImplementedError(f"{type(self).__name__} must define phases")

    def warmup_steps(self, steps: int) -> int:
        """How many of the first steps of a run of ``steps`` steps are warmup."""
        raise NotImplementedError(f"{type(self).__name__} must define warmup_steps")

    def spec_fields(self) -> tuple[str, ...]:
        """The fields that the spec string carries, in order; by default those that have no or not their default."""
        from thalweg.schedules.spec import changed_fields

        return changed_fields(self)

    def __str__(self) -> str:
        """The spec string; ``parse`` turns it back into an equal schedule."""
        from thalweg.schedules.spec import write

        return write(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmedSchedule(Schedule):
    """A schedule that warms up to ``peak`` and then follows its own shape.

    Subclasses give the shape: ``_body(start, steps)`` for the rates from step ``start`` on, ``_plan(start, steps)`` for
    its phases, ``_check()`` for its own fields.

    Args:
        peak: largest learning rate (> 0).
        warmup: duration of the warmup (>= 0, not the whole run).
        ramp: ``linear`` (first rate peak / w) or ``zero`` (first rate 0).
    """

    peak: float
    warmup: Duration = 0.0
    ramp: Ramp = "linear"

    def __post_init__(self) -> None:
        check_rate(self, "peak", above=True)
        check_warmup(self)
        check_word(self, "ramp", RAMPS)
        self._check()

    def _check(self) -> None:
        """Checks and normalises the fields of the subclass."""

    def _body(self, start: int, steps: int) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define _body")

    def _plan(self, start: int, steps: int) -> list[Phase]:
        raise NotImplementedError(f"{type(self).__name__} must define _plan")

    def warmup_steps(self, steps: int) -> int:
        """How many of the first steps of a run of ``steps`` steps are warmup."""
        return length(self, "warmup", self.warmup, steps)

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """The warmup and what follows it, without empty phases."""
        warm = self.warmup_steps(steps)
        return tuple(p for p in (Phase("warmup", 0, warm), *self._plan(warm, steps)) if p.stop > p.start)

    def rates(self, steps: int) -> np.ndarray:
        """The learning rate of each optimizer step, float64 (steps,); see ``Schedule.rates``."""
        warm = self.warmup_steps(steps)
        if self.ramp == "zero":
            ramp = np.linspace(0.0, self.peak, warm)
        else:
            ramp = self.peak * (np.arange(1, warm + 1) / max(warm, 1))
        return np.concatenate([ramp, self._body(warm, steps)])


def real(owner: Schedule, field: str, value: object) -> float:
    """``value`` as a finite Python float, or an InputError that names the field."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise InputError(f"{owner.name}: {field}={value!r} is not a number; give one such as 3e-4")
    number = float(value)
    if not np.isfinite(number):
        raise InputError(f"{owner.name}: {field}={number} is not finite; give a finite number")
    return number + 0.0  # -0.0 becomes 0.0


def check_rate(owner: Schedule, field: str, *, above: bool = False, peak: float | None = None) -> None:
    """Makes a rate field a float in [0, peak], above zero where ``above``."""
    value = real(owner, field, getattr(owner, field))
    if value < 0 or (above and value == 0):
        raise InputError(f"{owner.name}: {field}={value!r} must be {'above' if above else 'at least'} 0")
    if peak is not None and value > peak:
        raise InputError(
            f"{owner.name}: {field}={value!r} is above peak={peak!r}; a {field} is a rate of at most the peak"
        )
    object.__setattr__(owner, field, value)


def check_word(owner: Schedule, field: str, words: tuple[str, ...]) -> None:
    """Raises, naming the nearest, where a word field holds none of ``words``."""
    value = getattr(owner, field)
    if value not in words:
        near = suggest(value if isinstance(value, str) else "", words)
        raise InputError(f"{owner.name}: {field}={value!r} is not known; {near}")


def as_duration(owner: Schedule, field: str, value: object, *, zero: bool = False) -> Duration:
    """A duration in its normal form: a float up to 1, a whole int above."""
    number = real(owner, field, value)
    if number < 0 or (number == 0 and not zero):
        raise InputError(f"{owner.name}: {field}={value!r} must be {'at least' if zero else 'above'} 0")
    if number <= 1:
        return number
    if number != int(number):
        raise InputError(
            f"{owner.name}: {field}={value!r} is neither a fraction of the steps (up to 1) nor whole steps; "
            f"give {number:.0f} for steps"
        )
    return int(number)


def duration(owner: Schedule, field: str, *, zero: bool = False) -> None:
    """Brings a duration field into its normal form."""
    object.__setattr__(owner, field, as_duration(owner, field, getattr(owner, field), zero=zero))


def check_warmup(owner: Schedule) -> None:
    """Brings the field ``warmup`` into its normal form; 1 is refused, since it looks like one step."""
    duration(owner, "warmup", zero=True)
    if owner.warmup == 1:  # type: ignore[attr-defined]
        raise InputError(
            f"{owner.name}: warmup=1 would be the whole run (up to 1 is a fraction of the steps); "
            "give a fraction below 1, or 2 or more steps"
        )


def listed(owner: Schedule, field: str) -> tuple:
    """The value of a list field as a non-empty tuple."""
    value = getattr(owner, field)
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise InputError(f"{owner.name}: {field}={value!r} must be a list of numbers")
    items = tuple(value)
    if not items:
        raise InputError(f"{owner.name}: {field} is empty; give at least one value")
    return items


def check_steps(owner: Schedule, steps: object) -> int:
    """``steps`` as a Python int of at least 1."""
    if isinstance(steps, bool | np.bool_) or not isinstance(steps, int | np.integer) or steps < 1:
        raise InputError(f"{owner.name}: steps={steps!r} must be a whole number of at least 1")
    return int(steps)


def turn(value: Duration, whole: int, end: int) -> int:
    """The step where a last phase of duration ``value`` before step ``end`` starts; a fraction is of ``whole`` steps.

    The start is rounded, not the length, so phases whose fractions add up to 1 fit in any number of steps.
    """
    return round(end - value * whole) if value <= 1 else end - int(value)


def length(owner: Schedule, field: str, value: Duration, steps: int) -> int:
    """A duration in steps of a run of ``steps`` steps.

    Raises:
        InputError: ``steps`` is no positive whole number, or the duration is longer than the run.
    """
    total = check_steps(owner, steps)
    count = round(value * total) if value <= 1 else int(value)
    if count > total:
        raise InputError(f"{owner.name}: {field}={value!r} does not fit in {total} steps; shorten it or train longer")
    return count
