"""Quantile data benchmarking: small reference runs on equal slices of a corpus at fixed quality quantiles.

A slice is the documents ranked in (start, start + width] of n, counted from the best score, by rank (ties by position),
cut to the tokens of the smallest slice of all corpora. Which corpus is good for what, and down to which score, is read
off the table of results.

Source: arXiv 2512.07612 (quantile data benchmarking; starts 0, 15, 30, 45, 60, 75 %, width 2 %, as its repository).
Differs: 1. exact ranks instead of two chained approximate quantile filters. 2. equal tokens, not only equal rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from thalweg.data.prepared import Prepared
from thalweg.errors import InputError

__all__ = ["STARTS", "WIDTH", "QuantileTable", "documents", "quantile_benchmark", "quantile_slices"]

STARTS = (0.0, 0.15, 0.30, 0.45, 0.60, 0.75)
WIDTH = 0.02


@dataclass(frozen=True, eq=False)
class QuantileTable:
    """Results of reference runs.

    Attributes:
        corpora: names (C,).
        starts: ranks from the best at which slices begin (P,).
        tasks: names (T,).
        scores: (C, P, T, S), S seeds.
        tokens: of every slice.
    """

    corpora: tuple[str, ...]
    starts: tuple[float, ...]
    tasks: tuple[str, ...]
    scores: np.ndarray
    tokens: int

    @property
    def means(self) -> np.ndarray:
        """Over seeds (C, P, T)."""
        return self.scores.mean(axis=3)

    @property
    def errors(self) -> np.ndarray:
        """Standard errors over seeds (C, P, T); NaN with one."""
        seeds = self.scores.shape[3]
        return self.scores.std(axis=3, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.full(self.scores.shape[:3], np.nan)

    def best(self, *, lower: bool) -> list[list[str]]:
        """The best corpus at each start (P) for each task (T); ``lower`` where a smaller score is better."""
        sign = 1 if lower else -1
        return [[self.corpora[k] for k in column] for column in np.argmin(sign * self.means, axis=0)]

    def trend(self) -> np.ndarray:
        """Slope of the score against the start, per unit of rank (C, T); near 0 where quality tells nothing."""
        x = np.asarray(self.starts) - np.mean(self.starts)
        return np.einsum("p,cpt->ct", x, self.means) / (x @ x)


def quantile_slices(
    scores: np.ndarray, tokens: np.ndarray, *, starts: Sequence[float] = STARTS, width: float = WIDTH
) -> list[np.ndarray]:
    """The documents of each slice, best first.

    Args:
        scores: quality of each document (n,), larger is better, finite.
        tokens: of each document (n,), >= 1.
        starts: where slices begin, 0 <= start and start + width <= 1.
        width: share of documents in a slice, in (0, 1].

    Returns:
        Positions of documents, one array a start, cut to the tokens of the smallest slice (whole documents, at least
        one).

    Raises:
        InputError: a score that is not finite, or a slice that is empty or leaves the corpus.
    """
    scores, tokens = np.asarray(scores, dtype=float), np.asarray(tokens)
    missing = np.flatnonzero(~np.isfinite(scores))
    if scores.ndim != 1 or scores.shape != tokens.shape or np.any(tokens < 1):
        raise InputError("scores and tokens must be one number a document, tokens at least 1")
    if len(missing):
        raise InputError(f"document {missing[0]} has no finite score ({len(missing)} in all): score or drop it first")
    n, order = len(scores), np.argsort(-scores, kind="stable")
    slices = []
    for start in starts:
        if not (0 <= start and 0 < width and start + width <= 1 + 1e-9):
            raise InputError(f"start {start:g} with width {width:g} leaves 0 … 1")
        rows = order[int(np.floor(start * n + 1e-9)) : int(np.floor((start + width) * n + 1e-9))]
        if not len(rows):
            raise InputError(f"a slice of {width:g} of {n} documents is empty: give more documents or a larger width")
        slices.append(rows)
    least = min(int(tokens[rows].sum()) for rows in slices)
    return [_cut(rows, tokens, least) for rows in slices]


def _cut(rows: np.ndarray, tokens: np.ndarray, most: int) -> np.ndarray:
    return rows[: max(1, int(np.searchsorted(np.cumsum(tokens[rows]), most, side="right")))]


def quantile_benchmark(
    corpora: Mapping[str, tuple[np.ndarray, np.ndarray]],
    train: Callable[[str, np.ndarray, int], Any],
    evaluate: Callable[[Any], Mapping[str, float]],
    *,
    starts: Sequence[float] = STARTS,
    width: float = WIDTH,
    seeds: Sequence[int] = (0,),
) -> QuantileTable:
    """Trains the reference learner on every slice and evaluates it.

    Args:
        corpora: name -> (scores, tokens) of its documents.
        train: (corpus, positions of documents, seed) -> a trained learner; the same configuration and token budget
            every time.
        evaluate: learner -> task -> score.
        starts: see ``quantile_slices``.
        width: see ``quantile_slices``.
        seeds: one run each.

    Raises:
        InputError: see ``quantile_slices``, or runs that report different tasks.
    """
    if not corpora or not seeds:
        raise InputError("quantile_benchmark got no corpus or no seed: give at least one of each")
    slices = {name: quantile_slices(*columns, starts=starts, width=width) for name, columns in corpora.items()}
    least = min(int(corpora[name][1][rows].sum()) for name, parts in slices.items() for rows in parts)
    tasks: tuple[str, ...] = ()
    found = []
    for name, parts in slices.items():
        for rows in parts:
            cut = _cut(rows, np.asarray(corpora[name][1]), least)
            runs = [evaluate(train(name, cut, seed)) for seed in seeds]
            tasks = tasks or tuple(runs[0])
            if any(tuple(run) != tasks for run in runs):
                raise InputError(f"runs on {name!r} report other tasks than {', '.join(tasks)}: evaluate all alike")
            found.append([[run[task] for run in runs] for task in tasks])
    shape = (len(slices), len(starts), len(tasks), len(seeds))
    return QuantileTable(tuple(slices), tuple(starts), tasks, np.array(found, dtype=float).reshape(shape), least)


def documents(source: Prepared, rows: np.ndarray) -> Prepared:
    """Some documents of a source as a source of their own, in memory: what a reference run on a slice reads.

    Args:
        source: opened data.
        rows: numbers of documents, at least one.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not len(rows):
        raise InputError(f"no document of {source.name} is asked for: name at least one")
    columns = {name: np.asarray(source.columns[name])[rows] for name in source.columns}
    begin = np.concatenate([[0], np.cumsum(source.lengths[rows])]).astype(np.int64)
    digest = hashlib.sha256(f"{source.fingerprint} {len(rows)}".encode() + rows.tobytes()).hexdigest()
    whole = np.concatenate([source.tokens(row) for row in rows.tolist()])
    columns.setdefault("id", rows)
    return replace(source, parts=(whole,), begin=begin, columns=columns, fingerprint=digest)
