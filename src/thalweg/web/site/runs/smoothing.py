"""A curve smoothed by an exponential average over steps, so that logs of different intervals are smoothed alike."""

from __future__ import annotations

import numpy as np

__all__ = ["smoothed"]

SPAN = 200.0  # largest exponent within a block: exp(200) leaves room below the largest float


def smoothed(steps: np.ndarray, values: np.ndarray, span: float) -> np.ndarray:
    """The average of all finite values so far, weighted by exp(-distance in steps / span); float64 (n,).

    s_k = sum_(i<=k) e^((x_i - x_k) / span) y_i / sum_(i<=k) e^((x_i - x_k) / span), nan before the first finite value.

    Args:
        steps: float64 (n,), ascending.
        values: float64 (n,); what is not finite has no weight.
        span: steps after which a value's weight has fallen by e, > 0.
    """
    found = np.full(len(values), np.nan)
    if not len(values):
        return found
    finite = np.isfinite(values)
    scale = float(np.abs(values[finite]).max(initial=0.0)) or 1.0
    y, weight = np.where(finite, values, 0.0) / scale, finite.astype(np.float64)
    at = (np.asarray(steps, np.float64) - steps[0]) / span
    starts = np.flatnonzero(np.diff(np.floor(at / SPAN), prepend=-1.0))
    top = bottom = 0.0  # sums carried on, as they are at position ``place``
    place = 0.0
    for start, end in zip(starts, [*starts[1:], len(at)], strict=True):
        here = at[start:end]
        carried = np.exp(place - here[0])
        growth = np.exp(here - here[0])
        tops = (top * carried + np.cumsum(y[start:end] * growth)) / growth
        bottoms = (bottom * carried + np.cumsum(weight[start:end] * growth)) / growth
        with np.errstate(invalid="ignore", divide="ignore"):
            found[start:end] = np.where(bottoms > 0, tops / bottoms, np.nan)
        top, bottom, place = tops[-1], bottoms[-1], here[-1]
    return found * scale
