"""Orders by quality: pure functions from scores to a permutation.

    ascend        sorted by score                          fold:S    the uniform order cut in S parts, each sorted
    interleave    g_i = r_i / N_k · N (+ perturb · U(0, 1)), sorted by g: every domain ascends, everywhere in its share
    bucket:N      each group sorted and cut in N parts by tokens; part 1 of all groups, shuffled, then part 2, …

with r_i = 1 … N_k the rank of a document in its domain k of N_k documents, N documents in all.

Source: arXiv 2511.18903 (ascend, descend, fold); thu-pacman/Kaiyuan-Spark, InterleavedReorder, with arXiv 2512.07612
(interleave); arXiv 2608.27370 (bucket).
Differs: 1. every draw is keyed by the seed; 2. in a bucket the documents are shuffled, which the papers leave open.
"""

from __future__ import annotations

import numpy as np

from thalweg.data.plan.draws import fractions, key_of, shuffled
from thalweg.data.plan.schema import parse_order
from thalweg.errors import InputError

__all__ = ["bucket_order", "interleaved_order", "order_by_quality"]


def order_by_quality(scores: np.ndarray, mode: str = "ascend", *, seed: int = 0) -> np.ndarray:
    """A permutation of documents by their scores.

    Args:
        scores: (n,), higher is better; nan counts as the lowest.
        mode: "uniform", "ascend", "descend" or "fold:S"; documents of equal score come in random order.
        seed: of the random order.

    Returns:
        int64 (n,): which document comes when.

    Raises:
        InputError: an unknown mode, or one that needs domains.
    """
    name, number = parse_order(mode)
    if name in ("interleave", "bucket"):
        raise InputError(f"mode = {mode!r} needs domains: call interleaved_order or bucket_order")
    order = shuffled(len(scores), key_of("order", seed))
    if name == "uniform":
        return order
    values = _filled(scores)
    parts = np.array_split(order, number) if name == "fold" else [order]
    sign = -1.0 if name == "descend" else 1.0
    return np.concatenate([part[np.argsort(sign * values[part], kind="stable")] for part in parts])


def interleaved_order(
    domains: np.ndarray, scores: np.ndarray, *, ascending: bool = True, perturb: float = 0.0, seed: int = 0
) -> np.ndarray:
    """A curriculum in every domain at once, each domain everywhere in its share up to one document.

    Args:
        domains: (n,) names or numbers.
        scores: (n,), higher is better; a domain whose scores are all nan comes in random order.
        ascending: the best last.
        perturb: shifts the global rank of each document by up to that many places, >= 0.
        seed: of all random orders.

    Returns:
        int64 (n,): which document comes when.
    """
    count = len(scores)
    values = _filled(scores) if ascending else -_filled(scores)
    codes = np.unique(domains, return_inverse=True)[1].reshape(-1)
    order = shuffled(count, key_of("interleave", seed))
    order = order[np.lexsort((values[order], codes[order]))]
    sizes = np.bincount(codes, minlength=1)
    first = np.cumsum(sizes) - sizes
    rank = np.arange(count) - first[codes[order]] + 1
    place = rank * float(count) / sizes[codes[order]]
    tie = fractions(order.astype(np.uint64), "tie", seed)
    if perturb:
        place = place + perturb * fractions(order.astype(np.uint64), "perturb", seed)
    return order[np.lexsort((tie, place))]


def bucket_order(
    groups: np.ndarray, scores: np.ndarray, lengths: np.ndarray, *, buckets: int, seed: int = 0
) -> np.ndarray:
    """A curriculum in steps that compares no scores between groups: bucket k is the k-th part of every group.

    Args:
        groups: (n,) names or numbers, e.g. the source.
        scores: (n,), higher is better; a group whose scores are all nan comes in random order.
        lengths: (n,) tokens; parts of a group are equal in tokens up to one document.
        buckets: parts, >= 1.
        seed: of all random orders.

    Returns:
        int64 (n,): which document comes when.
    """
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    order = shuffled(len(scores), key_of("bucket", seed))
    order = order[np.lexsort((_filled(scores)[order], codes[order]))]
    ended = np.cumsum(lengths[order]).astype(np.float64)
    totals = np.bincount(codes, weights=lengths, minlength=1)
    before = (np.cumsum(totals) - totals)[codes[order]]
    middle = (ended - before - lengths[order] / 2) / totals[codes[order]]
    bucket = np.minimum((middle * buckets).astype(np.int64), buckets - 1)
    return order[np.lexsort((fractions(order.astype(np.uint64), "in bucket", seed), bucket))]


def _filled(scores: np.ndarray) -> np.ndarray:
    """Scores with nan as the lowest."""
    values = np.asarray(scores, dtype=np.float64)
    return np.where(np.isnan(values), -np.inf, values)
