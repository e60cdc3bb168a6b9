"""All laws fitted to the same curves, side by side.

Source: the comparison of arXiv 2503.12811, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import process_time

from thalweg.laws.curve import LossCurve, Metrics
from thalweg.laws.fitting import Method, fit
from thalweg.laws.law import Law
from thalweg.laws.points import as_curves

__all__ = ["Row", "compare", "mean_metrics"]


@dataclass(frozen=True, slots=True)
class Row:
    """One law of a comparison.

    Attributes:
        law: the fitted law.
        train: mean metrics over the fitted curves.
        test: mean metrics over the other curves; None without them.
        seconds: CPU seconds of the fit.
    """

    law: Law
    train: Metrics
    test: Metrics | None
    seconds: float


def mean_metrics(law: Law, curves: Iterable[LossCurve]) -> Metrics:
    """Each metric computed a curve, then averaged over curves with equal weight."""
    table = [law.metrics(curve) for curve in curves]
    names = ("mae", "rmse", "r2", "pred_e", "worst_e")
    return Metrics(*(sum(getattr(row, name) for row in table) / len(table) for name in names))


def compare(
    train: Mapping[str, LossCurve] | Iterable[LossCurve],
    test: Mapping[str, LossCurve] | Iterable[LossCurve] | None = None,
    *,
    method: Method = "default",
) -> dict[str, Row]:
    """Fits every law of `LAWS` to ``train``, measures it on both sets, and sorts by MAE on ``test`` (else ``train``).

    Raises:
        InputError: no training curves, or too few points for a law.
    """
    from thalweg.laws.registry import LAWS

    fitted, unseen = as_curves(train), as_curves(test) if test else []
    rows = {}
    for name in LAWS:
        start = process_time()
        law = fit(fitted, name, method=method, draws=0, rivals=False)
        seconds = process_time() - start
        test_row = mean_metrics(law, unseen) if unseen else None
        rows[name] = Row(law, mean_metrics(law, fitted), test_row, seconds)
    return dict(sorted(rows.items(), key=lambda item: (item[1].test or item[1].train).mae))
