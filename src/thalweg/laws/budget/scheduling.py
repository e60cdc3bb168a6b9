"""The schedule of a plan: cosine, WSD, or the shape that a fitted curve law designs; and what the law says of each.

A curve law holds for the size, batch and peak it was fitted at. Here it is asked at its own peak and the plan's steps,
and only how much the shapes differ is used; the designed shape is then stretched to the plan's peak.

Source: our own; the cosine of `published`'s rate law, WSD as arXiv 2405.18392, the design as `laws.designing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from thalweg.errors import InputError
from thalweg.laws.budget.costs import TradeOff
from thalweg.laws.law import Law

__all__ = ["SHAPES", "ScheduleChoice", "choose_schedule"]

SHAPES = ("cosine", "wsd", "designed")
LONGEST = 200_000
"""Steps up to which a curve law is asked: beyond, a picture would take seconds."""
WARM_SHARE = 0.1  # longest warm-up, as a share of the steps


@dataclass(frozen=True, slots=True)
class ScheduleChoice:
    """A schedule with its reasons.

    Attributes:
        spec: for `schedules.parse`.
        warmup: steps.
        floor: last rate.
        rows: predicted differences between shapes; empty without a curve law.
        notes: what to know of it.
    """

    spec: str
    warmup: int
    floor: float
    rows: tuple[TradeOff, ...]
    notes: tuple[str, ...]


def choose_schedule(
    shape: str, *, steps: int, peak: float, warmup: int, floor: float, curve: Law | None = None
) -> ScheduleChoice:
    """The schedule of a run.

    Args:
        shape: of `SHAPES`; ``designed`` needs ``curve``.
        steps: of the run.
        peak: largest rate.
        warmup: wanted steps of warm-up; at most a tenth of the run is taken.
        floor: wanted last rate; at most a tenth of the peak is taken.
        curve: a fitted curve law, or None.

    Raises:
        InputError: an unknown shape, a design without a law, or of more steps than `LONGEST`.
    """
    if shape not in SHAPES:
        raise InputError(f"schedule is {shape[:40]!r}: give one of {', '.join(SHAPES)}")
    if shape == "designed" and curve is None:
        raise InputError("a designed schedule needs a fitted curve law: give its law.json, or choose cosine or wsd")
    if shape == "designed" and steps > LONGEST:
        raise InputError(f"{steps} steps are too many to design here (at most {LONGEST}): use thalweg design")
    warm = min(warmup, int(steps * WARM_SHARE))
    warm = 0 if warm < 2 else warm  # a warm-up of 1 would be read as the whole run
    low = float(f"{min(floor, peak / 10):.3g}")
    peak = float(f"{peak:.3g}")
    words = {"cosine": f"cosine:peak={peak:g}", "wsd": f"wsd:peak={peak:g},decay=0.2,shape=1-sqrt"}
    tail = (f",warmup={warm}" if warm else "") + (f",floor={low:g}" if low else "")
    rows: tuple[TradeOff, ...] = ()
    notes: list[str] = []
    if curve is not None and steps <= LONGEST and steps >= 20:
        rows, designed, notes = _ask(curve, shape, steps, warm, low / peak, peak)
        if shape == "designed":
            return ScheduleChoice(designed, warm, low, rows, tuple(notes))
    elif curve is not None:
        notes.append(f"the curve law was not asked: {steps} steps lie outside 20 to {LONGEST}")
        if shape == "designed":
            raise InputError(f"{steps} steps are too few to design a schedule for: give a larger budget")
    return ScheduleChoice(words[shape] + tail, warm, low, rows, tuple(notes))


def _ask(
    curve: Law, shape: str, steps: int, warmup: int, low: float, peak: float
) -> tuple[tuple[TradeOff, ...], str, list[str]]:
    record = curve.record
    own = record.seen.peak if record is not None else peak
    finals, trust, spec = _finals(curve, shape == "designed", steps, warmup, low, own)
    chosen = {"cosine": "cosine", "wsd": "wsd, decay 0.2", "designed": "designed"}[shape]
    basis = f"curve law {curve.name}"
    rows = tuple(
        TradeOff("schedule", name, final - finals[chosen], float("nan"), float("nan"), 1.0, basis, name == chosen)
        for name, final in finals.items()
    )
    notes = [f"schedules are compared at the curve law's own peak, {own:.3g}, by {curve.name}; trust: {trust}"]
    if not 0.8 <= own / peak <= 1.25:
        notes.append(f"the curve law was fitted at peak {own:.3g}, the plan's is {peak:.3g}: the shape may not carry")
    return rows, _stretched(spec, own, peak), notes


@lru_cache(maxsize=64)
def _finals(
    curve: Law, with_design: bool, steps: int, warmup: int, low: float, own: float
) -> tuple[dict[str, float], str, str]:
    """Predicted final losses by shape, the trust in the first, and the design's spec at the law's peak."""
    from thalweg.laws.designing import design, usual

    found, first = {}, "unknown (the law has no record)"
    for name, schedule in usual(steps, own, warmup, low * own).items():
        rates = schedule.rates(steps)
        found[name] = curve.final_loss(rates, warmup_steps=warmup)
        if name == "cosine" and curve.record is not None:
            first = curve.trust(rates, warmup_steps=warmup).level
    if not with_design:
        return found, first, ""
    made = design(curve, steps=steps, peak=own, warmup=warmup, floor=low * own)
    return found | {"designed": made.final_loss}, first, str(made.compact)


def _stretched(spec: str, own: float, peak: float) -> str:
    """The piecewise spec with rates multiplied by peak / own."""
    if not spec:
        return ""
    from thalweg.schedules import Piecewise, parse

    made = parse(spec)
    assert isinstance(made, Piecewise)
    points = tuple((float(f"{rate * peak / own:.6g}"), place) for rate, place in made.points)
    return str(Piecewise(points=points, warmup=made.warmup))
