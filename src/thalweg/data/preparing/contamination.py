"""Which documents hold parts of given test sets: runs of words that a test item and a document share.

Source: GPT-3 (arXiv 2005.14165), appendix C: overlaps of 13 words, lower-cased, without punctuation.
Differs: 1. what counts is the share of a test item's distinct runs that the document holds, any (the default) or at
least ``share``; 2. the whole document is removed, not a window of 200 characters around the overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.data.preparing.ngrams import ngram_hashes, word_hashes
from thalweg.errors import InputError

__all__ = ["TestItems", "index_test_items"]


@dataclass(frozen=True, slots=True, eq=False)
class TestItems:
    """Runs of words of test items, made to be looked up.

    Attributes:
        names: where each item stands.
        words: words in a run.
        hashes: uint64 (m,), sorted: the distinct runs of every item.
        items: int64 (m,), to which item each belongs.
        sizes: int64 (items,), distinct runs of each; 0 for an item of fewer words, which is never found.
    """

    __test__ = False  # no test class, whatever pytest thinks of the name

    names: tuple[str, ...]
    words: int
    hashes: np.ndarray
    items: np.ndarray
    sizes: np.ndarray

    def overlaps(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of a text and an item with at least one run in common.

        Returns:
            int64 (m,) texts, int64 (m,) items and float64 (m,) shares of the items' distinct runs, by text and item.
        """
        runs, offsets = ngram_hashes(*word_hashes(texts), self.words)
        text_of = np.repeat(np.arange(len(texts)), np.diff(offsets))
        first, last = (np.searchsorted(self.hashes, runs, side=side) for side in ("left", "right"))
        counts = last - first
        found = counts > 0
        counts, text_of, first = counts[found], text_of[found], first[found]
        places = np.repeat(first - np.append(0, np.cumsum(counts)[:-1]), counts) + np.arange(counts.sum())
        held = np.unique(np.stack((np.repeat(text_of, counts), places), axis=1), axis=0)
        pairs, shared = np.unique(np.stack((held[:, 0], self.items[held[:, 1]]), axis=1), axis=0, return_counts=True)
        return pairs[:, 0], pairs[:, 1], shared / self.sizes[pairs[:, 1]]


def index_test_items(names: Sequence[str], texts: Sequence[str], words: int = 13) -> TestItems:
    """Makes test items ready to be looked up.

    Args:
        names: one a text, used in reports.
        texts: the items.
        words: words in a run, >= 1.

    Raises:
        InputError: no item has as many words.
    """
    runs, offsets = ngram_hashes(*word_hashes(texts), words)
    item_of = np.repeat(np.arange(len(texts)), np.diff(offsets))
    order = np.lexsort((item_of, runs))
    runs, item_of = runs[order], item_of[order]
    fresh = np.append(True, (runs[1:] != runs[:-1]) | (item_of[1:] != item_of[:-1]))[: len(runs)]
    if not fresh.any():
        raise InputError(f"no test item has {words} words: set a smaller words, or leave the step out")
    sizes = np.bincount(item_of[fresh], minlength=len(texts))
    return TestItems(tuple(names), words, runs[fresh], item_of[fresh], sizes)
