"""The bootstrap: how a statistic would vary had the sample been drawn again.

Source: Efron, Annals of Statistics 7 (1979), independent draws and percentile intervals; Künsch, Annals of Statistics
17 (1989), moving blocks for dependent series such as a loss curve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from thalweg.errors import InputError

__all__ = ["block_indices", "bootstrap", "iid_indices", "percentile_interval"]


def iid_indices(n: int, *, repeats: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yields ``repeats`` int64 arrays (n,): positions drawn independently and uniformly from 0 … n − 1.

    Args:
        n: sample size, ≥ 1.
        repeats: number of resamples, ≥ 1.
        seed: of the draws; the same seed gives the same arrays.

    Raises:
        InputError: a count is below 1.
    """
    return block_indices(n, block=1, repeats=repeats, seed=seed)


def block_indices(n: int, *, block: int, repeats: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yields ``repeats`` int64 arrays (n,): blocks of ``block`` neighbours with uniform starts, joined and cut at n.

    Neighbours stay neighbours inside a block, so dependence over less than ``block`` positions survives the resampling.
    A start lies in 0 … n − block, hence positions near both ends are drawn less often than those inside.

    Args:
        n: sample size, ≥ 1.
        block: positions in a block, 1 … n; 1 is the ordinary bootstrap, n repeats the sample itself.
        repeats: number of resamples, ≥ 1.
        seed: of the draws; the same seed gives the same arrays.

    Raises:
        InputError: a count is below 1 or ``block`` exceeds ``n``.
    """
    for word, value in (("n", n), ("block", block), ("repeats", repeats)):
        if value < 1:
            raise InputError(f"{word} is {value}: a bootstrap needs at least 1")
    if block > n:
        raise InputError(f"block is {block} but the sample has {n} values: choose a block of at most {n}")
    return _block_indices(n, block, repeats, np.random.default_rng(seed))


def _block_indices(n: int, block: int, repeats: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    inside = np.arange(block)
    for _ in range(repeats):
        starts = rng.integers(0, n - block + 1, size=-(-n // block))
        yield (starts[:, None] + inside).reshape(-1)[:n]


def bootstrap(
    statistic: Callable[[np.ndarray], float | np.ndarray],
    sample: np.ndarray,
    *,
    repeats: int = 1000,
    block: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """The statistic of every resample, float64 (repeats, …).

    Args:
        statistic: maps a resample, shape of ``sample``, to a number or an array of fixed shape.
        sample: (n, …); whole rows are drawn.
        repeats: number of resamples, ≥ 1.
        block: rows in a block, 1 … n; above 1 for series whose neighbours depend on each other.
        seed: of the draws.

    Raises:
        InputError: the sample is empty or a count is out of range.
    """
    sample = np.asarray(sample)
    resamples = block_indices(len(sample), block=block, repeats=repeats, seed=seed)
    return np.asarray([statistic(sample[index]) for index in resamples], dtype=np.float64)


def percentile_interval(values: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The (1 − level)/2 and (1 + level)/2 quantiles of bootstrap values along their first axis.

    Args:
        values: (repeats, …), all finite.
        level: coverage aimed at, in (0, 1).

    Returns:
        Lower and upper bound, each of shape ``values.shape[1:]``.

    Raises:
        InputError: ``level`` is out of range, or a value is missing or not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if not 0 < level < 1:
        raise InputError(f"level is {level}: choose a coverage between 0 and 1, such as 0.95")
    if values.ndim == 0 or len(values) == 0 or not np.isfinite(values).all():
        raise InputError(f"values of shape {values.shape} are empty or not all finite: drop failed resamples first")
    lower, upper = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lower, upper
