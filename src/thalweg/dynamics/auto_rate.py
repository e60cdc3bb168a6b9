"""Scale-invariant weights without decay tune their own learning rate: their norm grows until every rate is small.

L(c w) = L(w) for c > 0, so g is orthogonal to w and a step of SGD gives, with s = |w|^2 and G = |g| |w| the gradient
at w / |w|,

    s' = s + lr^2 |g|^2 = s + lr^2 G^2 / s                                    the effective rate lr / s only falls
    G^2 <= (s'^2 - s^2) / (2 lr^2),  so  min_t G <= sqrt((s_T^2 - s_0^2) / (2 lr^2 T))      a certificate from norms
    L(w') <= L(w) - (lr / s) G^2 (1 - lr L1 / (2 s)),  L1 = largest |Hessian| on the unit sphere

From the last, s stays bounded under full-batch descent, so min G falls as T^(-1/2) at every lr; under noise of second
moment S it grows as s^2 = 2 lr^2 S T, so that lr / s = 1 / sqrt(2 S T) whatever lr is, and G falls as T^(-1/4).

Source: arXiv 1812.03981, lemma 2.4 and the theorems on gradient descent and SGD; constants and closed forms: our own.
Differs: 1. one group of scale-invariant weights, and constants of our own; the paper has the other weights too.
2. for SGD only the norm is given, at a steady second moment; the paper bounds the gradient up to logarithms.
"""

from __future__ import annotations

import math

import numpy as np

from thalweg.dynamics.limits import check_range
from thalweg.errors import InputError

__all__ = ["descent_bound", "forgetting_steps", "growth_path", "norm_certificate"]


def growth_path(lr: float, size: float, *, start: float, times: np.ndarray | float) -> np.ndarray:
    """|w| after ``times`` steps of SGD without decay, of the shape of ``times``.

    s_1 = s_0 + lr^2 S / s_0, then s_t^2 = s_1^2 + 2 lr^2 S (t - 1): a lower bound of the recursion, whose s_t^2 is
    larger by at most lr^2 S (1 + log t) / 2. ``norm_path`` runs the recursion itself.

    Args:
        lr: learning rate, > 0.
        size: S, second moment of the mini-batch gradient times |w|^2, > 0.
        start: |w| at the start, > 0.
        times: steps, >= 0.

    Raises:
        InputError: a number out of range.
    """
    _check(lr, size, start)
    steps = np.asarray(times, dtype=np.float64)
    if np.any(steps < 0):
        raise InputError(f"times = {times!r} must be >= 0")
    first = start**2 + lr**2 * size / start**2
    later = (first**2 + 2 * lr**2 * size * np.maximum(steps - 1, 0)) ** 0.25
    return np.where(steps < 1, start, later)


def forgetting_steps(lr: float, size: float, *, start: float) -> float:
    """Steps after which the norm depends on the noise more than on its start and its first step.

    T = s_1^2 / (2 lr^2 S) = (s_0 / (lr sqrt(S)) + lr sqrt(S) / s_0)^2 / 2: 2 at the best rate, s_0 / sqrt(S), and a
    rate c times larger or smaller costs about c^2 / 2 steps. So T steps leave the rate free by sqrt(2 T) either way.

    Args:
        lr: learning rate, > 0.
        size: S as in ``growth_path``, > 0.
        start: |w| at the start, > 0.
    """
    _check(lr, size, start)
    ratio = lr * math.sqrt(size) / start**2
    return (ratio + 1 / ratio) ** 2 / 2


def norm_certificate(start: np.ndarray | float, end: np.ndarray | float, *, lr: float, steps: int) -> float:
    """A bound on the smallest G of a run from the norms at its ends: sqrt(sum (s_T^2 - s_0^2) / (2 lr^2 T)).

    G^2 is the sum over groups, each invariant by itself, of |w_i|^2 |g_i|^2. Exact for plain SGD at a constant rate;
    with mini-batches it bounds their gradients, not the mean's.

    Args:
        start: |w_i| before the first step, > 0, one a group (a row before batch norm).
        end: |w_i| after the last, of the same shape, none smaller.
        lr: learning rate, > 0.
        steps: T >= 1.

    Raises:
        InputError: a norm that fell, so that decay, momentum or a weight that is not invariant was there.
    """
    check_range("lr", lr, above=True)
    check_range("steps", steps, low=1)
    before, after = (np.asarray(norms, dtype=np.float64) for norms in (start, end))
    if before.shape != after.shape or not np.all(before > 0):
        raise InputError(f"start of shape {before.shape} must be > 0 and of the shape of end, {after.shape}")
    if np.any(after < before * (1 - 1e-6)):
        raise InputError("a norm fell: the certificate needs plain SGD (no decay, no momentum) on invariant weights")
    return math.sqrt(max(0.0, float((after**4 - before**4).sum())) / (2 * lr**2 * steps))


def descent_bound(lr: float, *, start: float, smoothness: float, gap: float, steps: int) -> float:
    """A bound on the smallest G of full-batch descent before it is run; falls as T^(-1/2) at every learning rate.

    Steps with s < L1 lr may raise the loss; the last of them leaves s <= L1 lr + 2 lr^2 L1 gap / s_0, as
    G^2 <= 2 L1 gap. The steps after it lower the loss by G^2 lr / (2 s) each, so s grows by at most 2 lr gap more, and
    the certificate follows. At large rates the bound grows as lr, at small ones as lr^(-1/2).

    Args:
        lr: learning rate, > 0.
        start: |w| at the start, > 0.
        smoothness: L1, largest spectral norm of the Hessian at unit vectors, > 0.
        gap: largest loss minus smallest, > 0.
        steps: T >= 1.

    Raises:
        InputError: a number out of range.
    """
    _check(lr, smoothness, start)
    check_range("gap", gap, above=True)
    check_range("steps", steps, low=1)
    first = start**2
    stable = first if first >= smoothness * lr else smoothness * lr * (1 + 2 * lr * gap / first)
    last = stable + 2 * lr * gap
    return norm_certificate(start, math.sqrt(last), lr=lr, steps=steps)


def _check(lr: float, size: float, start: float) -> None:
    check_range("lr", lr, above=True)
    check_range("size", size, above=True)
    check_range("start", start, above=True)
