"""Few points that draw the same line: of each column of pixels the first, lowest, highest and last (M4).

A line through the points kept covers the same pixels, so no spike is lost however many points there are. Values that
are not finite are no points: they break the line and are reported by column, to be marked.

Source: Jugel et al. 2014, M4: a visualization-oriented time series data aggregation, PVLDB 7(10), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["Thinned", "bounds", "thin"]


@dataclass(frozen=True, slots=True)
class Thinned:
    """What is to be drawn.

    Attributes:
        index: numbers of the points kept, int64 (k,), ascending; one point on each side of the range is among them.
        breaks: bool (k,), whether the line is interrupted before the point.
        marks: column and kind ("nan", "inf", "-inf") of values that are not finite, each once.
    """

    index: np.ndarray
    breaks: np.ndarray
    marks: tuple[tuple[int, str], ...]


def bounds(at: np.ndarray, low: float, high: float, columns: int) -> np.ndarray:
    """Column k holds the points bounds[k] to bounds[k + 1] - 1; int64 (columns + 1,).

    Args:
        at: positions, ascending.
        low: left end of the first column.
        high: right end of the last column, which belongs to it; all others end before their right end.
        columns: how many, >= 1.
    """
    found = np.searchsorted(at, np.linspace(low, high, columns + 1), side="left")
    found[-1] = np.searchsorted(at, high, side="right")
    return np.maximum.accumulate(found)


def thin(at: np.ndarray, values: np.ndarray, low: float, high: float, columns: int) -> Thinned:
    """Of each column the first, lowest, highest and last finite value.

    Args:
        at: positions, finite, float64 (n,), ascending.
        values: float64 (n,).
        low: left end of the first column.
        high: right end of the last.
        columns: how many, >= 1.
    """
    edges = bounds(at, low, high, columns)
    finite = np.isfinite(values)
    whole = bool(finite.all())
    first, last = int(edges[0]), int(edges[-1])
    if last - first <= 4 * columns:
        kept = list(range(first, last)) if whole else (first + np.flatnonzero(finite[first:last])).tolist()
    else:
        kept = _extremes(values, None if whole else finite, edges)
    before, after = _beside(finite, first, last)
    index = np.asarray([*before, *kept, *after], np.int64)
    if whole:
        return Thinned(index, np.zeros(len(index), bool), ())
    gaps = np.cumsum(~finite)[index]
    return Thinned(index, np.diff(gaps, prepend=gaps[:1]) > 0, _marks(values, finite, edges))


def _extremes(values: np.ndarray, finite: np.ndarray | None, edges: np.ndarray) -> list[int]:
    kept: list[int] = []
    ends = edges.tolist()
    for start, end in pairwise(ends):
        if start == end:
            continue
        if finite is None:
            inside = values[start:end]
            four = (start, start + int(inside.argmin()), start + int(inside.argmax()), end - 1)
        else:
            where = start + np.flatnonzero(finite[start:end])
            if not len(where):
                continue
            inside = values[where]
            four = (int(where[0]), int(where[inside.argmin()]), int(where[inside.argmax()]), int(where[-1]))
        kept += sorted(set(four))
    return kept


def _beside(finite: np.ndarray, first: int, last: int) -> tuple[list[int], list[int]]:
    """The nearest finite point on each side of the range, if it is the very next one."""
    before = [first - 1] if first > 0 and finite[first - 1] else []
    after = [last] if last < len(finite) and finite[last] else []
    return before, after


def _marks(values: np.ndarray, finite: np.ndarray, edges: np.ndarray) -> tuple[tuple[int, str], ...]:
    first, last = int(edges[0]), int(edges[-1])
    bad = first + np.flatnonzero(~finite[first:last])
    columns = np.searchsorted(edges, bad, side="right") - 1
    kinds = np.where(np.isnan(values[bad]), 0, np.where(values[bad] > 0, 1, 2))
    pairs = np.unique(columns * 3 + kinds)
    return tuple((int(pair) // 3, ("nan", "inf", "-inf")[int(pair) % 3]) for pair in pairs)
