"""How sure: resampled intervals and differences paired over seeds, agreement of rankings."""

from __future__ import annotations

from thalweg.stats.bootstrap import block_indices, bootstrap, iid_indices, percentile_interval
from thalweg.stats.paired import PairedDifference, decide, paired_difference
from thalweg.stats.ranking import Agreement, agreement, regret, spearman

__all__ = [
    "Agreement",
    "PairedDifference",
    "agreement",
    "block_indices",
    "bootstrap",
    "decide",
    "iid_indices",
    "paired_difference",
    "percentile_interval",
    "regret",
    "spearman",
]
