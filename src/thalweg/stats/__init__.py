"""How sure: resampled intervals and differences paired over seeds (numpy only)."""

from __future__ import annotations

from thalweg.stats.bootstrap import block_indices, bootstrap, iid_indices, percentile_interval
from thalweg.stats.paired import PairedDifference, decide, paired_difference

__all__ = [
    "PairedDifference",
    "block_indices",
    "bootstrap",
    "decide",
    "iid_indices",
    "paired_difference",
    "percentile_interval",
]
