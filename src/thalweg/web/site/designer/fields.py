"""Forms of schedule families, made from their dataclasses: names, defaults, units and what the docstring says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.schedules import SCHEDULES, SHAPES, parse
from thalweg.schedules.spec import codec

if TYPE_CHECKING:
    from thalweg.schedules import Schedule
    from thalweg.web.site.designer.state import Frame

__all__ = ["FAMILIES", "Field", "begin", "form", "read"]

FAMILIES = tuple(name for name in SCHEDULES if name not in ("piecewise", "array"))
"""Families with parameters; the other two are points."""
CHOICES = {"ramp": ("linear", "zero"), "shape": SHAPES, "of": ("elapsed", "cycle")}
RATES = ("peak", "floor", "then", "levels")
BARE = {
    "two-stage": "at=0.7,then={low!r}",
    "multistep": "at=0.8;0.9,levels={mid!r};{low!r}",
    "cyclic": "cycles=0.25;0.5;1,floor={floor!r}",
    "wsd-s": "cycles=0.25;0.5;1,decay=0.1,floor={floor!r}",
    "constant": "",
    "inverse-sqrt": "floor={floor!r}",
    "wsd": "decay=0.2,floor={floor!r}",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One input.

    Attributes:
        name: of the dataclass's field.
        value: as in the spec string; empty for none.
        unit: what the number counts.
        help: what it is, from the docstring.
        choices: the words it may be; empty for numbers.
        slider: smallest and largest value for a slider, or None.
        log: whether the slider is logarithmic.
    """

    name: str
    value: str
    unit: str
    help: str
    choices: tuple[str, ...] = ()
    slider: tuple[float, float] | None = None
    log: bool = False


def form(schedule: Schedule, steps: int) -> list[Field]:
    """The inputs of a schedule's family, filled with its values."""
    told = _told(type(schedule))
    found = []
    for field in fields(schedule):  # type: ignore[arg-type]
        value = getattr(schedule, field.name)
        if field.name == "power" and value is None:
            continue  # only one shape has it
        text = "" if value is None else codec(field)[1](value)
        if isinstance(value, float) and value == int(value) and value > 1:
            text = str(int(value))
        several = "tuple" in str(field.type)
        unit, slider = "", None
        if field.name in RATES:
            unit = "learning rates, with ;" if several else "learning rate"
            slider = None if several else (schedule.peak / 100, schedule.peak * 2)
        elif "Duration" in str(field.type):
            unit = "fractions or steps, with ;" if several else "fraction of the run, or steps"
            slider = None if several else (0.0, 0.99 if (value or 0) <= 1 else round(steps / 2))
        choices = CHOICES.get(field.name, ())
        help_text = told.get(field.name, "").replace("``", "").replace(" (>= 0)", "").replace(" (> 0)", "")
        found.append(Field(field.name, text, unit, help_text, choices, slider, field.name in RATES))
    return found


def _told(kind: type[Schedule]) -> dict[str, str]:
    """What the class's docstring says of each argument, on one line."""
    text = (kind.__doc__ or "").partition("Args:")[2].partition("Raises:")[0]
    parts = re.split(r"\n\s{8}(\w+): ", "\n        " + text.strip())
    return {name: " ".join(said.split()) for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def read(family: str, given: Mapping[str, str]) -> Schedule:
    """The schedule of a filled form; empty inputs are left at their default.

    Raises:
        InputError: an unknown family, or whatever its spec string's reader refuses.
    """
    if family not in FAMILIES:
        raise InputError(f"schedule {family!r} has no form; {suggest(family, FAMILIES)}")
    names = [field.name for field in fields(SCHEDULES[family]) if field.init]  # type: ignore[arg-type]
    filled = {name: given[name].strip() for name in names if given.get(name, "").strip()}
    for name, text in filled.items():
        if re.search(r"[,=]", text):
            raise InputError(f"{family}: {name}={text!r} holds a comma or an equals sign; separate numbers with ;")
    if "shape" in filled:  # the exponent comes and goes with its shape
        filled = {name: text for name, text in filled.items() if name != "power"} | (
            {"power": filled.get("power", "2")} if filled["shape"] == "power" else {}
        )
    return parse(f"{family}:" + ",".join(f"{name}={text}" for name, text in filled.items()))


def begin(family: str, frame: Frame, steps: int) -> Schedule:
    """A first schedule of a family within the frame."""
    if family not in FAMILIES:
        raise InputError(f"schedule {family!r} has no form; {suggest(family, FAMILIES)}")
    low = max(frame.floor, 0.1 * frame.peak)
    values = {"floor": frame.floor, "low": low, "mid": float(f"{np.sqrt(low * frame.peak):.3g}")}
    own = BARE.get(family, "floor={floor!r}").format(**values)
    warm = max(frame.warmup, 2) if family == "inverse-sqrt" else frame.warmup
    head = f"peak={frame.peak!r},warmup={1 / steps if warm == 1 else warm!r}"
    return parse(f"{family}:{head}" + (f",{own}" if own else ""))
