"""Which documents a phase takes and how often: ranks, samples, copies.

Source: arXiv 2512.07612 and thu-pacman/Kaiyuan-Spark (selective repetition, copies by duplicate count).
Differs: 1. ranks instead of thresholds on approximate quantiles, so ties do not change the share; 2. every draw is
keyed by (seed, document, phase), where the original is unseeded.
"""

from __future__ import annotations

import numpy as np

from thalweg.data.plan.draws import fractions
from thalweg.data.plan.schema import Take
from thalweg.errors import InputError

__all__ = ["copies", "laid_out", "rank_order", "thinned"]

SLACK = 1e-9
"""Added before rounding down, so that 0.29 of 100 documents are 29."""


def rank_order(scores: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Documents from the best to the worst; ties by their keys (ids), nan last.

    Args:
        scores: (n,), higher is better.
        keys: uint64 (n,) of ``document_keys``.

    Returns:
        int64 (n,).
    """
    return np.lexsort((keys, -np.asarray(scores, dtype=np.float64)))


def copies(
    take: Take, keys: np.ndarray, *, seed: int, phase: int, ranked: np.ndarray | None, duplicates: np.ndarray | None
) -> np.ndarray:
    """How often each document comes.

    A document of rank r in [⌊lo·n⌋, ⌊hi·n⌋) stays with probability ``sample`` and then comes
    ⌊c⌋ + [u < c - ⌊c⌋] times, u in [0, 1) drawn for (seed, document, phase).

    Args:
        take: the selection.
        keys: uint64 (n,) of ``document_keys``.
        seed: of the plan.
        phase: number of the phase.
        ranked: result of ``rank_order``; needed where ranks are cut.
        duplicates: (n,) counts; needed where copies go by them.

    Returns:
        int64 (n,).
    """
    count = len(keys)
    if take.repeat == "duplicates":
        if duplicates is None:
            raise InputError('repeat = "duplicates" needs a column duplicates: prepare with deduplication')
        wanted = np.minimum(np.asarray(duplicates, dtype=np.float64) * 0.1, 20.0)
    else:
        wanted = np.full(count, float(take.repeat)) if take.repeat % 1 else np.full(count, int(take.repeat))
    whole = np.floor(wanted).astype(np.int64)
    if wanted.dtype == np.float64:
        whole += fractions(keys, "repeat", seed, phase) < wanted - whole
    if take.ranks != (0.0, 1.0):
        if ranked is None:
            raise InputError("keep_top and quantile need a score: name the source's column with score")
        low, high = (int(np.floor(edge * count + SLACK)) for edge in take.ranks)
        outside = np.ones(count, dtype=bool)
        outside[ranked[low:high]] = False
        whole[outside] = 0
    if take.sample < 1:
        whole[fractions(keys, "sample", seed, phase) >= take.sample] = 0
    return whole


def laid_out(counts: np.ndarray) -> np.ndarray:
    """Documents in rounds: all that come at all, then all that come twice or more, and so on; copies lie far apart.

    Returns:
        int64 (sum of ``counts``,).
    """
    most = int(counts.max(initial=0))
    return np.concatenate([np.flatnonzero(counts > turn) for turn in range(most)] or [np.empty(0, dtype=np.int64)])


def thinned(documents: np.ndarray, lengths: np.ndarray, order: np.ndarray, tokens: int) -> np.ndarray:
    """The first documents in ``order`` that together reach ``tokens``, in their former order.

    Args:
        documents: (n,) as laid out.
        lengths: (n,) tokens of each.
        order: a random permutation of 0 … n - 1, which decides who stays.
        tokens: at most their sum.

    Returns:
        A part of ``documents``; the last one in may exceed ``tokens``.
    """
    enough = int(np.searchsorted(np.cumsum(lengths[order]), tokens)) + 1
    return documents[np.sort(order[:enough])]
