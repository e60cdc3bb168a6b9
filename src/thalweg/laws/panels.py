"""Dyadic panels of steps: where a schedule is smooth, and the few integer steps that stand for a smooth panel.

Panel i of a level with size s covers the steps [i s, (i + 1) s). On it a smooth function is replaced by the polynomial
through its values at the integer steps nearest to Chebyshev points: rates and rate sums are read, never interpolated.

Source: barycentric interpolation after Berrut and Trefethen 2004; the far field of a tree code, Barnes and Hut 1986.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["LEAF", "Level", "dyadic_sizes", "judge", "lagrange", "panel_steps"]

LEAF = 8  # steps in the smallest panel: those enter one by one
ROUGH = 1e-7  # largest error of log(rate) on a panel that still counts as smooth
SPAN = 1.4  # largest range of log(rate) on a smooth panel


@dataclass(frozen=True, slots=True)
class Level:
    """One panel size of a schedule.

    Attributes:
        size: steps a panel.
        steps: the integer steps that stand for a panel, relative to its first, shape (p,).
        smooth: whether log(rate) on panel i is the polynomial through those steps, shape (panels,).
        smooth_pair: the same for panels i - 1 and i taken as one, shape (panels,); panel 0 must be constant.
    """

    size: int
    steps: np.ndarray
    smooth: np.ndarray
    smooth_pair: np.ndarray


def dyadic_sizes(count: int) -> list[int]:
    """Panel sizes for ``count`` steps, largest first: powers of two from the first >= ``count`` / 2 down to `LEAF`."""
    size = LEAF
    found = [size]
    while 2 * size < count:
        size *= 2
        found.append(size)
    return found[::-1]


@lru_cache(maxsize=256)
def panel_steps(size: int, order: int) -> np.ndarray:
    """The ``order`` integer steps of [0, size) nearest to Chebyshev points (all steps where size <= order)."""
    if size <= order:
        return np.arange(size)
    angle = np.pi * (np.arange(order) + 0.5) / order
    steps = np.unique(np.rint((size - 1) * (0.5 - 0.5 * np.cos(angle))).astype(np.int64))
    steps.flags.writeable = False
    return steps


@lru_cache(maxsize=256)
def lagrange(size: int, order: int) -> np.ndarray:
    """Values at all steps of a panel of the polynomials through its `panel_steps`; shape (size, p)."""
    nodes = panel_steps(size, order).astype(np.float64)
    gaps = (nodes[:, None] - nodes[None, :]) * (4.0 / size)
    np.fill_diagonal(gaps, 1.0)
    weight = 1.0 / gaps.prod(axis=1)
    away = np.arange(size, dtype=np.float64)[:, None] - nodes[None, :]
    hit = away == 0
    away[hit] = 1.0
    ratio = weight / away
    matrix = np.where(hit.any(axis=1, keepdims=True), hit.astype(np.float64), ratio / ratio.sum(axis=1, keepdims=True))
    matrix.flags.writeable = False
    return matrix


def smooth_panels(values: np.ndarray, size: int, order: int, flat: np.ndarray) -> np.ndarray:
    """Whether ``values`` (n,), n a multiple of ``size``, follow one polynomial on each panel; shape (n / size,).

    ``flat`` (n / size,) holds each panel's largest less its smallest value.
    """
    table = values.reshape(-1, size)
    ok = flat <= 0
    rest = np.flatnonzero(~ok & (flat <= SPAN))
    inner = table[rest]
    guess = inner[:, panel_steps(size, order)] @ lagrange(size, order).T
    ok[rest] = np.abs(guess - inner).max(axis=1, initial=0.0) <= ROUGH
    return ok


def judge(values: np.ndarray, sizes: list[int], order: int, *, pairs: bool = True) -> list[Level]:
    """Judges ``values`` = log(rate), padded to twice the largest of the dyadic ``sizes``, on the panels of each size.

    Without ``pairs`` no pair of panels counts as smooth, nor any of the smallest panels: their steps enter one by one.
    """
    high, low = values, values
    for _ in range(LEAF.bit_length() - 1):
        high, low = np.maximum(high[::2], high[1::2]), np.minimum(low[::2], low[1::2])
    found = []
    for size in reversed(sizes):
        if pairs or size > LEAF:
            smooth = smooth_panels(values, size, order, high - low)
        else:
            smooth = np.zeros(len(high), dtype=bool)
        pair = np.zeros(len(high), dtype=bool)
        joined = np.maximum(high[::2], high[1::2]), np.minimum(low[::2], low[1::2])
        if pairs:
            pair[0] = high[0] == low[0]  # changes that set in at the first step are an onset
            pair[1::2] = smooth_panels(values, 2 * size, order, joined[0] - joined[1])
            if len(values) > 2 * size:
                across = np.maximum(high[1:-1:2], high[2::2]) - np.minimum(low[1:-1:2], low[2::2])
                pair[2::2] = smooth_panels(values[size:-size], 2 * size, order, across)
        found.append(Level(size, panel_steps(size, order), smooth, pair))
        high, low = joined
    return found[::-1]
