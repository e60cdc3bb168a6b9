"""The state of the designer: all of it is in the address, so that it can be kept, shared, and undone by going back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.schedules import Array, Piecewise, Schedule, parse
from thalweg.web.site.designer.sources import MOST_STEPS

if TYPE_CHECKING:
    from thalweg.laws import Law

__all__ = ["PANELS", "Frame", "State", "number", "whole"]

PANELS = {
    "points": "Points",
    "form": "Parameters",
    "text": "Text",
    "optimum": "Optimum",
    "export": "Export",
    "law": "Law",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """The constraints under which schedules are compared and the optimum is sought.

    Attributes:
        peak: largest rate.
        floor: smallest rate after the warmup.
        warmup: its steps.
        decay: longest decay, a fraction of the run up to 1, else steps; None for any.
        rising: whether the optimum may rise again after a fall.
    """

    peak: float
    floor: float
    warmup: int
    decay: float | None = None
    rising: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """What is shown.

    Attributes:
        law: name of the law's document.
        steps: optimizer steps of the run, warmup included.
        schedule: the schedule in hand.
        frame: what it is compared under.
        log: whether rates are drawn on a logarithmic axis.
        panel: which editor is open.
    """

    law: str
    steps: int
    schedule: Schedule
    frame: Frame
    log: bool = False
    panel: str = "points"

    @classmethod
    def read(cls, query: Mapping[str, str], law: Law) -> State:
        """The state of an address; what it leaves out has a default that the law suggests.

        Raises:
            InputError: a value that cannot be used.
        """
        seen = None if law.record is None else law.record.seen
        peak = seen.peak if seen else 3e-4
        steps = whole(query, "steps", 2 * seen.steps if seen else 10_000, most=MOST_STEPS)
        floor = float(f"{seen.least_rate * seen.peak:.2g}") if seen else 0.0
        frame = Frame(
            peak=number(query, "peak", peak),
            floor=number(query, "floor", floor if floor < number(query, "peak", peak) else 0.0),
            warmup=whole(query, "warmup", round(0.02 * steps), least=0, most=steps),
            decay=number(query, "decay", 0.0) or None,
            rising=query.get("rise", "") == "1",
        )
        if spec := query.get("schedule", "").strip():
            schedule = taken(spec, steps)
        else:
            warm = frame.warmup if frame.warmup != 1 else 1 / steps
            schedule = parse(f"wsd:peak={frame.peak!r},warmup={warm!r},decay=0.2,floor={frame.floor!r}")
        panel = query.get("panel", "points")
        if panel not in PANELS:
            raise InputError(f"panel is {panel!r}; {suggest(panel, PANELS)}")
        return cls(query.get("law", ""), steps, schedule, frame, query.get("axis") == "log", panel)

    @property
    def query(self) -> dict[str, str]:
        """The state as fields of an address."""
        frame = self.frame
        found = {"law": self.law, "steps": str(self.steps), "schedule": str(self.schedule)}
        found |= {"peak": repr(frame.peak), "floor": repr(frame.floor), "warmup": str(frame.warmup)}
        found |= {"decay": repr(frame.decay)} if frame.decay else {}
        found |= {"rise": "1"} if frame.rising else {}
        found |= {"axis": "log"} if self.log else {}
        return found | ({"panel": self.panel} if self.panel != "points" else {})

    @property
    def address(self) -> str:
        """Its address."""
        return "/designer?" + urlencode(self.query, safe=":;@,=*")

    def at(self, **changes: object) -> str:
        """The address with some parts changed."""
        return replace(self, **changes).address  # type: ignore[arg-type]


def taken(spec: str, steps: int) -> Schedule:
    """The schedule of a spec string, tried on a run of ``steps``; rates given one by one become points.

    Raises:
        InputError: it does not parse or fit, or names a file: pages read none.
    """
    head, _, rest = spec.partition(":")
    if head.strip() == "array" and any(item.strip().startswith("path") for item in rest.split(",")):
        raise InputError("array:path= names a file, which pages do not read; give its points instead")
    schedule = parse(spec)
    rates = schedule.rates(steps)
    if schedule.warmup_steps(steps) >= steps:
        raise InputError(f"the warmup takes all {steps} steps; leave at least one after it")
    if isinstance(schedule, Array):
        return Piecewise.through(np.asarray(rates), warmup=schedule.warmup_steps(steps), peak=schedule.peak)
    return schedule


def number(query: Mapping[str, str], name: str, default: float) -> float:
    """A number >= 0 of the address, the default where it is empty or absent."""
    text = query.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value) or value < 0:
        raise InputError(f"{name} is {text!r}; give a number, at least 0")
    return value


def whole(query: Mapping[str, str], name: str, default: int, *, least: int = 2, most: int) -> int:
    """A whole number of the address from ``least`` to ``most``."""
    value = number(query, name, default)
    if value != int(value) or not least <= value <= most:
        raise InputError(f"{name} is {query.get(name, default)}; give a whole number from {least:,} to {most:,}")
    return int(value)
