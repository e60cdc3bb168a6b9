"""Token speed-ups with intervals: the baseline's curve fitted to redrawn losses, each time anew.

Where every cell was run with several seeds, seeds are drawn with replacement, the same in all cells. Where each was run
once, as in the benchmark, losses are redrawn with normal noise of a given size, or of the spread of the baseline's
residuals if that is larger.

Source: arXiv 2509.02046 (speed-up; 3e-3 nats as the size of differences between runs that mean nothing).
Differs: 1. the paper gives no intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.final_losses import fit_final_losses
from thalweg.stats.bootstrap import iid_indices, percentile_interval

__all__ = ["NOISE", "Speedup", "token_speedups"]

NOISE = 3e-3
"""Spread of a final loss over runs, nats per token: what the paper takes as no difference (its Delta 1)."""

Losses = Mapping[float, float | Sequence[float]]


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times fewer tokens than the baseline.

    Args:
        budget: tokens (or a ratio) of the run.
        value: the speed-up of the mean loss.
        low: lower end of the interval.
        high: upper end.
        reached: whether the baseline's curve reaches the loss within ``reach`` times its largest budget.
        beyond: whether it does so beyond the baseline's largest budget, where the curve is extrapolated.
    """

    budget: float
    value: float
    low: float
    high: float
    reached: bool = True
    beyond: bool = False


def token_speedups(
    baseline: Losses,
    other: Losses,
    *,
    noise: float = NOISE,
    level: float = 0.9,
    repeats: int = 400,
    reach: float = 4.0,
    seed: int = 0,
) -> list[Speedup]:
    """The speed-up of each budget of ``other`` over the curve of ``baseline``, with its interval.

    Args:
        baseline: budget -> final loss, or one loss a seed (the same seeds everywhere); three budgets or more.
        other: the same of the optimizer that is compared.
        noise: standard deviation of a final loss, nats per token, where there is one loss a cell; the spread of the
            baseline's residuals counts where it is larger.
        level: coverage of the interval, in (0, 1).
        repeats: redraws, >= 1.
        reach: a loss that the baseline does not reach counts as this many times its largest budget.
        seed: of the redraws.

    Raises:
        InputError: cells with different numbers of seeds, ``noise`` below 0, or a baseline that cannot be fitted.
    """
    if not noise >= 0:
        raise InputError(f"noise = {noise:g} must be a standard deviation >= 0, nats per token")
    named = {"baseline": baseline, "other": other}
    cells = {(who, at): loss for who, losses in named.items() for at, loss in losses.items()}
    values = [np.atleast_1d(np.asarray(loss, dtype=np.float64)) for loss in cells.values()]
    counts = {len(value) for value in values}
    if len(counts) > 1:
        raise InputError(f"cells have {sorted(counts)} losses: give the same seeds in every cell")
    table = np.stack(values)  # (cells, seeds)
    ladder, asked = sorted(baseline), sorted(other)
    rows = {cell: row for row, cell in enumerate(cells)}
    ours, theirs = [rows["baseline", at] for at in ladder], [rows["other", at] for at in asked]

    def compute(losses: np.ndarray) -> list[float]:
        curve = fit_final_losses(ladder, losses[ours].tolist())
        return [curve.speedup(at, float(losses[row]), reach=reach) for at, row in zip(asked, theirs, strict=True)]

    means = table.mean(1)
    found, curve = compute(means), fit_final_losses(ladder, means[ours].tolist())
    misses = [float(losses) - curve.loss(at) for at, losses in zip(ladder, means[ours], strict=True)]
    spread = float(np.sqrt(np.sum(np.square(misses)) / max(len(misses) - 3, 1)))  # three parameters are fitted
    drawn = []
    for losses in _redrawn(table, max(noise, spread), repeats, seed):
        try:
            drawn.append(compute(losses))
        except InputError:  # a redraw whose baseline does not fall says nothing
            continue
    if len(drawn) < repeats / 2:
        raise InputError(f"the baseline falls by less than its noise of {noise:g}: train it on more different budgets")
    low, high = percentile_interval(np.array(drawn), level=level)
    return [
        Speedup(at, value, float(low[k]), float(high[k]), needed <= reach * max(ladder), needed > max(ladder))
        for k, (at, value) in enumerate(zip(asked, found, strict=True))
        for needed in [curve.budget(float(means[theirs[k]]))]
    ]


def _redrawn(table: np.ndarray, noise: float, repeats: int, seed: int) -> Iterator[np.ndarray]:
    """Losses (cells,) as they would be had the runs been drawn again."""
    if table.shape[1] > 1:
        for index in iid_indices(table.shape[1], repeats=repeats, seed=seed):
            yield table[:, index].mean(1)
        return
    rng = np.random.default_rng(seed)
    for _ in range(repeats):
        yield table[:, 0] + noise * rng.standard_normal(len(table))
