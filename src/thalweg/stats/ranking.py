"""How far one ranking can be trusted to decide for another: rank correlation, pairwise agreement, decision regret.

Smaller is better on both sides: a proxy loss for each candidate, and the loss of the target it stands for.

Source: arXiv 2512.24503 (Spearman, pairwise sign agreement, regret@k); Magnusson et al., DataDecide, arXiv 2504.11393
(pairwise decision accuracy).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["Agreement", "agreement", "regret", "spearman"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of a proxy's ranking with the target's.

    Attributes:
        spearman: rank correlation, average ranks for ties.
        low: 2.5 % quantile of it over bootstrap draws of the candidates; NaN where one side is constant.
        high: 97.5 % quantile.
        pairs: share of pairs with different targets that the proxy orders the same way; a tie of the proxy counts half.
        regret: target loss of the proxy's first choice, less the least.
    """

    spearman: float
    low: float
    high: float
    pairs: float
    regret: float


def spearman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Rank correlation with average ranks for ties; NaN where a side is constant."""
    return float(_spearman(np.asarray(a)[None], np.asarray(b)[None])[0])


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row, (rows, n) twice -> (rows,)."""
    from scipy.stats import rankdata

    x, y = rankdata(a, axis=1), rankdata(b, axis=1)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.divide((x * y).sum(axis=1), scale, out=np.full(len(x), np.nan), where=scale > 0)


def regret(proxy: Sequence[float] | np.ndarray, target: Sequence[float] | np.ndarray, k: int = 1) -> float:
    """Least target loss among the k candidates of least proxy loss, less the least of all.

    Args:
        proxy: losses (n,); ties are broken by position.
        target: losses (n,).
        k: 1 … n.
    """
    x, y = _pair(proxy, target)
    if not 1 <= k <= len(x):
        raise InputError(f"k = {k} must lie between 1 and the {len(x)} candidates")
    return float(y[np.argsort(x, kind="stable")[:k]].min() - y.min())


def agreement(
    proxy: Sequence[float] | np.ndarray, target: Sequence[float] | np.ndarray, *, draws: int = 1000, seed: int = 0
) -> Agreement:
    """All of it.

    Args:
        proxy: losses (n,), n >= 3.
        target: losses (n,).
        draws: bootstrap draws of candidates for the interval.
        seed: of the draws.

    Raises:
        InputError: fewer than three candidates, unequal lengths, or a loss that is not finite.
    """
    x, y = _pair(proxy, target)
    if len(x) < 3:
        raise InputError(f"{len(x)} candidates have no ranking to speak of: give at least 3")
    first, second = np.triu_indices(len(x), 1)
    apart = np.sign(y[first] - y[second])
    same = np.sign(x[first] - x[second]) * apart
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(x), (draws, len(x)))
    values = _spearman(x[drawn], y[drawn])
    defined = values[np.isfinite(values)]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
    counted = apart != 0
    pairs = float((1 + same[counted]).mean() / 2) if counted.any() else float("nan")
    return Agreement(spearman(x, y), float(low), float(high), pairs, regret(x, y))


def _pair(proxy: Sequence[float] | np.ndarray, target: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(proxy, dtype=float), np.asarray(target, dtype=float)
    if x.ndim != 1 or x.shape != y.shape or len(x) == 0 or not np.all(np.isfinite(x) & np.isfinite(y)):
        raise InputError("proxy and target must be finite losses, one of each a candidate")
    return x, y
