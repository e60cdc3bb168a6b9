"""Contract checks that anyone can run on their own parts: each raises AssertionError with what is broken.

>>> from thalweg.schedules import Cosine
>>> from thalweg.testing import check_schedule
>>> check_schedule(Cosine(peak=3e-4, warmup=0.1))
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

from thalweg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thalweg.laws import Law
    from thalweg.schedules import Schedule

__all__ = ["check_law", "check_schedule"]


def expect(holds: object, promise: str) -> None:
    """Raises where a promise does not hold."""
    if not holds:
        raise AssertionError(promise)


def refuses(call: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether the call raises one of these errors."""
    try:
        call()
    except errors:
        return True
    return False


def check_schedule(schedule: Schedule, *, steps: int = 1000) -> None:
    """Checks that an object keeps the promises of ``thalweg.schedules.Schedule``.

    It is frozen, hashable, equal to its pickled copy and to what its spec string is read as; ``rates`` is a fresh
    float64 array of shape (steps,), finite, within [0, peak], the same each time; ``phases`` are not empty and cover
    the run in order; ``warmup_steps`` is the length of the warmup phase; wrong step counts raise InputError and unknown
    arguments TypeError.

    Args:
        schedule: the schedule to check.
        steps: a run it is made for (>= 1).

    Raises:
        AssertionError: the first promise that does not hold.
    """
    check_value(schedule)
    check_rates(schedule, steps)
    check_phases(schedule, steps)
    for wrong in (0, -1, 2.5, True, "10"):
        refused = refuses(lambda wrong=wrong: schedule.rates(wrong), InputError)  # type: ignore[arg-type]
        expect(refused, f"rates({wrong!r}) must raise InputError")


def check_value(schedule: Schedule) -> None:
    """The promises of a value: frozen, hashable, equal to its copies, one spec string."""
    from thalweg.schedules.spec import read

    kind = type(schedule)
    frozen = refuses(lambda: setattr(schedule, "peak", 1.0), AttributeError, TypeError)  # TypeError: slots, Python 3.11
    expect(frozen, f"{kind.__name__} must be frozen")
    copy = pickle.loads(pickle.dumps(schedule))
    expect(copy == schedule and hash(copy) == hash(schedule), "a pickled copy must be equal, with the same hash")
    spec = str(schedule)
    expect(spec.startswith(f"{schedule.name}:"), f"the spec string {spec[:80]!r} must start with {schedule.name!r}")
    again = read(spec, {schedule.name: kind})
    expect(again == schedule and hash(again) == hash(schedule), f"reading {spec[:80]!r} must give an equal schedule")
    expect(str(again) == spec, f"{spec[:80]!r} must be written the same again")
    unknown = refuses(lambda: kind(no_such_argument=1), TypeError)  # type: ignore[call-arg]
    expect(unknown, f"{kind.__name__}(no_such_argument=1) must raise TypeError")


def check_rates(schedule: Schedule, steps: int) -> None:
    """The promises about ``rates``."""
    import numpy as np

    rates = schedule.rates(steps)
    expect(rates.shape == (steps,), f"rates({steps}) has shape {rates.shape}, not ({steps},)")
    expect(rates.dtype == np.float64, f"rates are {rates.dtype}, not float64")
    expect(np.isfinite(rates).all(), "rates must be finite")
    expect(rates.min() >= 0, f"the rate {rates.min()!r} is below 0")
    expect(0 < schedule.peak < np.inf, f"peak={schedule.peak!r} must be finite and above 0")
    expect(rates.max() <= schedule.peak, f"the rate {rates.max()!r} is above peak={schedule.peak!r}")
    before = rates.copy()
    rates[:] = -1.0
    expect(np.array_equal(schedule.rates(steps), before), "rates must be a fresh array, the same at each call")


def check_phases(schedule: Schedule, steps: int) -> None:
    """The promises about ``phases`` and ``warmup_steps``."""
    phases = schedule.phases(steps)
    at = 0
    for phase in phases:
        expect(phase.start == at and phase.stop > at, f"phase {phase} must start at step {at} and not be empty")
        at = phase.stop
    expect(at == steps, f"the phases end at step {at}, not {steps}")
    warm = sum(phase.stop - phase.start for phase in phases if phase.name == "warmup")
    expect(schedule.warmup_steps(steps) == warm, "warmup_steps must be the length of the warmup phase")
    expect(not warm or phases[0].name == "warmup", "the warmup must be the first phase")


def check_law(law: type[Law], params: Mapping[str, float]) -> None:
    """Checks that a law's class keeps the promises of ``thalweg.laws.Law``.

    Predictions equal the definition, at all steps and at chosen ones; internal parameters go back and forth; JSON is
    exact; fits recover exact data, shrug off an outlier, and refuse too few points; bad input raises InputError.

    Args:
        law: the class, with its scheme of parameters in ``names``.
        params: sensible parameters, losses of order 1 to 10 and a peak rate of 3e-4 assumed.
    """
    import numpy as np

    from thalweg.laws import LossCurve
    from thalweg.laws.fitting import fit_points
    from thalweg.laws.law import Scale

    one = law(params=params)
    step = np.arange(1500)
    bodies = (np.ones(1500), 0.55 + 0.45 * np.cos(np.pi * step / 1500), np.where(step < 700, 1.0, 0.3))
    tables = [3e-4 * np.where(step < 100, (step + 1) / 100, body) for body in bodies]
    at = np.arange(100, 1500, 10)
    truths = [one.definition(rates, 100, at) for rates in tables]
    for rates, truth in zip(tables, truths, strict=True):
        expect(
            np.abs(one.predict(rates, at=at, warmup_steps=100) - truth).max() < 1e-6, "predict is not the definition"
        )
        expect(np.abs(one.predict(rates, warmup_steps=100)[at] - truth).max() < 1e-6, "predict at all steps differs")
    scale = Scale(3e-4, 0.4, 1500.0)
    back = law.natural(law.internal(one.params, scale), scale)
    expect(all(abs(back[k] - v) <= 1e-9 * abs(v) + 1e-12 for k, v in one.params.items()), "internal parameters differ")
    again = law.from_json(one.to_json())
    expect(type(again) is law and again.params == one.params, "JSON does not give the law back")
    curves = [LossCurve(f"curve {i}", tables[i], at, truths[i], 100) for i in range(3)]
    fitted = fit_points(law, curves)
    expect(np.abs(fitted.predict(tables[1], at=at) - truths[1]).max() < 1e-4, "a fit does not explain exact data")
    spoiled = truths[1].copy()
    spoiled[70] *= 1.2
    moved = fit_points(law, [curves[0], LossCurve("curve 1", tables[1], at, spoiled, 100), curves[2]])
    off = np.abs(moved.final_loss(tables[1], warmup_steps=100) - truths[1][-1]) / truths[1][-1]
    expect(off < 0.01, "one outlier of 20 % moves the final loss by more than 1 %")
    few = LossCurve("few", tables[0], at[: len(law.names)], truths[0][: len(law.names)], 100)
    expect(refuses(lambda: fit_points(law, [few]), InputError), "a fit to too few points is not refused")
    expect(refuses(lambda: law(params={}), InputError), "missing parameters are not refused")
    expect(refuses(lambda: one.predict(np.array([np.nan])), InputError), "a rate that is no number is not refused")
