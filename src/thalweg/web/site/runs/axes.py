"""Linear and logarithmic axes: from values to shares of the axis, round numbers on it, and how those are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thalweg.web.svg import ticks

__all__ = ["Axis", "axis_of", "written"]

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LARGE = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
LIMIT = 1e300  # beyond, differences of values would overflow


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values, low < high; on a logarithmic axis both are above 0.

    Attributes:
        low: value at the start.
        high: value at the end.
        log: whether shares go with the logarithm.
    """

    low: float
    high: float
    log: bool = False

    def place(self, values: np.ndarray) -> np.ndarray:
        """What is proportional to the share: the values, or their decimal logarithms (-inf for what is not above 0)."""
        if not self.log:
            return np.asarray(values, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.isnan(values), np.nan, np.log10(np.maximum(values, 0.0)))

    @property
    def ends(self) -> tuple[float, float]:
        """``place`` of both ends."""
        low, high = self.place(np.asarray([self.low, self.high]))
        return float(low), float(high)

    def share(self, values: np.ndarray) -> np.ndarray:
        """0 at low, 1 at high."""
        low, high = self.ends
        return (self.place(values) - low) / (high - low)

    def numbers(self, count: int) -> list[tuple[float, str]]:
        """About ``count`` round values within the axis and how they are written."""
        values = self._decades(count) if self.log else []
        if len(values) >= 3:
            return [(value, _alone(value)) for value in values]
        values = [value for value in ticks(self.low, self.high, count) if value > 0 or not self.log]
        return list(zip(values, written(values), strict=True))

    def _decades(self, count: int) -> list[float]:
        first, last = (math.floor(end) for end in self.ends)
        decades = last - first + 1
        units = (1, 2, 5) if decades * 3 <= 2 * count + 1 else (1,)
        every = max(1, math.ceil(decades / (count + 1)))
        values = [float(f"{unit}e{power}") for power in range(first, last + 1, every) for unit in units]
        return [value for value in values if self.low <= value <= self.high]


def axis_of(values: Sequence[np.ndarray], *, log: bool, pad: float = 0.0) -> Axis:
    """The axis that shows all finite values (on a logarithmic one: those above 0), widened by a share ``pad``."""
    lows, highs = [], []
    for array in values:
        if found := _extremes(array, above=0.0 if log else -np.inf):
            lows.append(found[0])
            highs.append(found[1])
    low, high = (min(lows), max(highs)) if lows else (1.0, 10.0) if log else (0.0, 1.0)
    low, high = (min(max(end, -LIMIT), LIMIT) for end in (low, high))
    if log:
        low, high = max(low, 1e-300), max(high, 1e-300)
        room = (high / low) ** pad if high > low * (1 + 1e-9) else 1.1
        return Axis(max(low / room, 1e-305), min(high * room, 1e305), log=True)
    tiny = 1e-9 * max(abs(low), abs(high))
    room = pad * (high - low) if high - low > tiny else 0.05 * abs(high) or 0.5
    return Axis(low - room, high + room)


def _extremes(array: np.ndarray, above: float) -> tuple[float, float] | None:
    """Lowest and highest finite value above a bound; without a copy where all are such values."""
    if not len(array):
        return None
    low, high = float(array.min()), float(array.max())
    if not (low > above and high < np.inf):  # nan passes neither
        kept = array[np.isfinite(array) & (array > above)]
        return (float(kept.min()), float(kept.max())) if len(kept) else None
    return low, high


def written(values: Sequence[float]) -> list[str]:
    """Numbers of an axis, alike: with as many decimals as they need, in millions where large, as powers where small."""
    if not values:
        return []
    most = max(abs(value) for value in values)
    gaps = [abs(b - a) for a, b in pairwise(values)]
    least = min(gaps, default=most) or 1.0
    for size, name in LARGE:
        if 2 * size <= most < 1000 * size:
            return [f"{_fixed(value / size, least / size)}{name}" if value else "0" for value in values]
    if most >= 1e15 or most < 1e-3 or least < 1e-6:
        return [_power(value, least) for value in values]
    return [_fixed(value, least) for value in values]


def _fixed(value: float, step: float) -> str:
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{places}f}".replace("-", "\N{MINUS SIGN}")


def _alone(value: float) -> str:
    """A value of 1, 2 or 5 times a power of ten."""
    return f"{value:,g}" if 1e-3 <= value < 1e5 else _power(value, value)


def _power(value: float, step: float) -> str:
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-12)
    digits = max(0, min(15, power - math.floor(math.log10(step) + 1e-9)))
    mantissa = f"{value / 10.0**power:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value / 10.0**power:.0f}"
    raised = f"10{str(power).translate(RAISED)}"
    return (raised if mantissa == "1" else f"{mantissa}\N{MIDDLE DOT}{raised}").replace("-", "\N{MINUS SIGN}")
