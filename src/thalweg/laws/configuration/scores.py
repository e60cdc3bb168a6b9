"""How well a configuration law predicts runs it did not see, beside its Chinchilla baseline.

Source: arXiv 2602.10300, evaluation (Spearman, MAE and RMSE of the final loss by split).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.configuration.law import ConfigurationLaw
from thalweg.laws.configuration.table import ConfigTable
from thalweg.stats.ranking import regret, spearman

__all__ = ["Scores", "leave_largest_out", "score"]


@dataclass(frozen=True, slots=True)
class Scores:
    """Errors on one set of runs; losses in nats per token.

    Attributes:
        runs: how many.
        spearman: rank correlation of predicted and true loss.
        mae: mean absolute error.
        rmse: root of the mean squared error.
        bias: mean of predicted - true.
        regret: within sizes and amounts of data of at least 5 runs, the true loss of the run predicted best less the
            least, averaged.
        coverage: share of the runs inside the 90 % interval.
        baseline_spearman: of the law's own Chinchilla baseline.
        baseline_mae: of it.
        ratio: mae / baseline_mae.
    """

    runs: int
    spearman: float
    mae: float
    rmse: float
    bias: float
    regret: float
    coverage: float
    baseline_spearman: float
    baseline_mae: float
    ratio: float


def score(law: ConfigurationLaw, table: ConfigTable) -> Scores:
    """Scores of a law on a table's rows, all of them.

    Raises:
        InputError: fewer than three rows.
    """
    if len(table) < 3:
        raise InputError(f"{len(table)} runs cannot be scored: give at least 3")
    found, true = law.predict(table), table.losses
    error = found.loss - true
    base = float(np.abs(found.baseline - true).mean())
    mae = float(np.abs(error).mean())
    cells = list(zip(table.numbers["params"].tolist(), table.numbers["tokens"].tolist(), strict=True))
    lost = []
    for cell in set(cells):
        inside = np.array([other == cell for other in cells])
        if inside.sum() >= 5:
            lost.append(regret(found.loss[inside], true[inside]))
    return Scores(
        runs=len(table),
        spearman=spearman(found.loss, true),
        mae=mae,
        rmse=float(np.sqrt((error**2).mean())),
        bias=float(error.mean()),
        regret=float(np.mean(lost)) if lost else float("nan"),
        coverage=float(((true >= found.low) & (true <= found.high)).mean()),
        baseline_spearman=spearman(found.baseline, true),
        baseline_mae=base,
        ratio=mae / base,
    )


def leave_largest_out(table: ConfigTable) -> tuple[ConfigTable, ConfigTable]:
    """Splits the training rows once more: all but the largest model size, and the largest.

    This is how choices are made without a look at the larger sizes that a law is for.

    Raises:
        InputError: one size only.
    """
    train = table.part("train")
    sizes = train.numbers["params"]
    if len(np.unique(sizes)) < 2:
        raise InputError("the training rows have one model size: none can be left out")
    return train.rows(sizes < sizes.max()), train.rows(sizes == sizes.max())
