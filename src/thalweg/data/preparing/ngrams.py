"""Hashes of words and of runs of words, for many texts at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from thalweg.data.preparing.minhash import shingle_hashes

__all__ = ["ngram_hashes", "word_hashes"]

EMPTY = np.uint64(int.from_bytes(hashlib.sha1(b"", usedforsecurity=False).digest()[:8], "little"))
"""Hash of the empty word."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio, odd: multiplying by it loses nothing modulo 2^64 (Knuth, TAOCP 3, 6.4)."""


def word_hashes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """uint64 hashes of the normalised words of each text, and int64 (texts + 1,) offsets.

    Empty words, which stand between two characters that belong to no word, are left out.
    """
    hashes, offsets = shingle_hashes(texts, 1)
    real = hashes != EMPTY
    return hashes[real], np.append(0, np.cumsum(real))[offsets]


def ngram_hashes(words: np.ndarray, offsets: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the runs of ``length`` words that lie inside one text: the polynomial Σ w_i·m^(length − i) mod 2^64.

    Args:
        words: uint64 (n,), of ``word_hashes``.
        offsets: int64 (texts + 1,), likewise.
        length: words in a run, >= 1.

    Returns:
        uint64 (m,) and int64 (texts + 1,) offsets.
    """
    count = max(0, len(words) - length + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for place in range(length):
        hashes *= MULTIPLIER
        hashes += words[place : place + count]
    text_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    inside = text_of[:count] == text_of[length - 1 :]
    counts = np.bincount(text_of[:count][inside], minlength=len(offsets) - 1)
    return hashes[inside], np.append(0, np.cumsum(counts))
