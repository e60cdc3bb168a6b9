"""Numbers and sentences of the pages: how a result is said in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeGuard

__all__ = [
    "compared",
    "duration",
    "fixed",
    "give_or_take",
    "headline",
    "moment",
    "percent",
    "significant",
    "title",
    "whole",
]

MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"  # where there is no number
TITLES = {"wsd": "WSD"}
COUNTS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a finite number to show."""
    return value is not None and math.isfinite(value)


def fixed(value: float | None, places: int = 4) -> str:
    """A number with fixed decimals and a true minus sign; a dash where there is none."""
    if not known(value):
        return NONE
    return f"{value:,.{places}f}".replace("-", MINUS)


def percent(value: float | None, places: int = 2) -> str:
    """A signed share as per cent: 0.0012 is "+0.12 %" with a no-break space."""
    return f"{100 * value:+.{places}f}{NBSP}%".replace("-", MINUS) if known(value) else NONE


def significant(value: object, digits: int = 4) -> str:
    """A number with at most so many significant digits; other things as they are written."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return NONE if value is None else str(value)
    if not known(value):
        return NONE
    if isinstance(value, int) or abs(value) >= 10 ** (digits - 1):
        return whole(value) if abs(value) < 1e9 else f"{value:.{digits}g}"
    return f"{value:.{digits}g}".replace("-", MINUS)


def whole(value: float | None) -> str:
    """A number without decimals, thousands set apart."""
    return f"{value:,.0f}".replace("-", MINUS) if known(value) else NONE


def duration(seconds: float | None) -> str:
    """Seconds in the unit people would use."""
    if not known(seconds):
        return NONE
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def title(name: str) -> str:
    """A schedule's name as people write it."""
    return TITLES.get(name, name)


def moment(stamp: str) -> str:
    """An ISO 8601 time for the eye, with its offset from UTC; text that is none stays as it is."""
    try:
        when = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    if len(stamp) <= len("2026-11-22"):
        return f"{when.day} {when:%B %Y}"
    zone = f" {when:%z}"
    return f"{when.day} {when:%B %Y, %H:%M:%S}" + (
        " UTC" if zone in (" +0000", " ") else f" UTC{zone[1:4]}:{zone[4:6]}"
    )


def give_or_take(value: float | None, error: float | None, places: int = 4) -> str:
    """A number with its error, on one line: 1.2211 ± 0.0110; the number alone where the error is unknown."""
    if not known(value) or not known(error):
        return fixed(value, places)
    return f"{fixed(value, places)}{NBSP}\N{PLUS-MINUS SIGN}{NBSP}{fixed(error, places)}"


def joined(parts: Sequence[str]) -> str:
    """A list in words: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else list(parts))


def headline(table: Mapping[str, Mapping[str, Any]]) -> str:
    """What was predicted and how far off, in one line."""
    worst = max((abs(row["error"]) for row in table.values() if known(row["error"])), default=math.nan)
    many = len(table) != 1
    count = COUNTS[len(table)] if len(table) < len(COUNTS) else str(len(table))
    how = f"to within {100 * worst:.2f}{NBSP}%" if math.isfinite(worst) else "but not measured"
    return f"{count} training run{'s' if many else ''} predicted {how} before {'they' if many else 'it'} started"


def compared(table: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the designed schedule ended below its rivals, by the rule gap > -2 standard errors of the paired gap."""
    said = []
    for name, row in table.items():
        gap, error = row.get("above_designed"), row.get("above_designed_error")
        if name == "designed" or not known(gap) or not known(error):
            continue
        how = give_or_take(abs(gap), error)
        if gap > 2 * error:
            said.append(f"lower than that of {title(name)} (by {how})")
        elif gap > -2 * error:
            said.append(f"at most that of {title(name)} within its error ({'below' if gap >= 0 else 'above'} by {how})")
        else:
            said.append(f"higher than that of {title(name)} (by {how})")
    if "designed" not in table or not said:
        return ""
    return f"The designed schedule\N{RIGHT SINGLE QUOTATION MARK}s final loss is {joined(said)}, in nats per token."
