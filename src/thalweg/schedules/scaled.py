"""A schedule for another batch size: the same function of samples, at rates times one factor.

    durations in steps / kappa (as fractions of the run where that is no whole number),  rates times factor

Source: arXiv 2205.10287 (schedule and warm-up are defined in samples).
Differs: 1. with non-integer kappa a phase ends at the nearest step.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from thalweg.errors import InputError
from thalweg.schedules.array import Array
from thalweg.schedules.base import Schedule
from thalweg.schedules.batch_scaling import resample

__all__ = ["scale_schedule", "scaled_steps"]

RATES = ("peak", "floor", "then", "levels")


def scaled_steps(steps: int, kappa: float) -> int:
    """Updates at kappa times the batch that read as many samples: steps / kappa, to the nearest, at least one."""
    return max(1, round(steps / kappa))


def scale_schedule(schedule: Schedule, kappa: float, *, factor: float, steps: int) -> Schedule:
    """The schedule of a run of ``scaled_steps(steps, kappa)`` updates.

    Args:
        schedule: of a run of ``steps`` updates at the old batch.
        kappa: new batch over old, > 0.
        factor: new learning rate over old, as ``scale_hyperparameters`` has it.
        steps: updates of the old run.

    Raises:
        InputError: a phase does not fit in the new run, or has no step left in it.
    """
    if isinstance(schedule, Array):
        return Array(values=factor * resample(schedule.rates(steps), kappa), warmup=round(schedule.warmup / kappa))
    changes: dict[str, Any] = {}
    for field in fields(schedule):  # type: ignore[arg-type]
        value, kind = getattr(schedule, field.name), str(field.type)
        if field.name == "points":
            changes["points"] = tuple((factor * rate, _position(at, kappa, steps)) for rate, at in value)
        elif field.name in RATES:
            changes[field.name] = tuple(factor * v for v in value) if isinstance(value, tuple) else factor * value
        elif "Duration" in kind and value is not None:
            many = isinstance(value, tuple)
            changes[field.name] = (
                tuple(_position(v, kappa, steps) for v in value) if many else _position(value, kappa, steps)
            )
    made = replace(schedule, **changes)  # type: ignore[type-var]
    try:
        made.rates(scaled_steps(steps, kappa))
    except InputError as error:
        raise InputError(f"schedule {schedule} does not stand kappa = {kappa:g}: {error}") from None
    return made


def _position(value: float, kappa: float, steps: int) -> float:
    """Fractions stay; whole steps become whole steps where they divide, else the same fraction of the run."""
    if value <= 1:
        return value
    whole = int(value) / kappa
    return int(whole) if whole == int(whole) and whole > 1 else int(value) / steps
