"""MinHash signatures of texts and the bands that bring near-duplicates together.

Two documents with Jaccard similarity s of their sets of word 5-grams agree in one minimum with probability s, in a band
of r minima with s^r, and in at least one of b bands with 1 − (1 − s^r)^b.

Source: Kaiyuan-2B (arXiv 2512.07612), its code thu-pacman/Kaiyuan-Spark, ``datafiner/deduplication``; the choice of
bands is datasketch's. The same defaults give the same minima, bit for bit.
Differs: 1. sums of ``a·h + b`` are reduced modulo 2^61 − 1 by shifts, which is the same number; 2. bands are compared
by the first 16 bytes of their SHA-1, not by their 72 bytes; 3. Chinese is split like every text, without jieba.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from thalweg.data.preparing.sha1 import sha1_prefix64
from thalweg.errors import InputError

__all__ = ["MinHasher", "bands_and_rows", "collision_probability", "normalise_for_hashing", "shingle_hashes"]

PRIME = np.uint64(2**61 - 1)
NONE = np.uint64(2**64 - 1)
"""Stands for the minimum of no shingle at all; no reduced value is that large."""
BLOCK = 256
"""Shingles reduced at once: with 126 permutations a quarter of a megabyte."""
TEXT_BLOCK = 1 << 20
"""Characters normalised and hashed at once, or one document if it is longer."""

NUMBER = re.compile(r"\d+(?:[.,،٫⎖⎗⎘]\d+)?")  # noqa: RUF001
NON_WORD = re.compile(r"\W")
MARKS = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»•"  # noqa: RUF001
PUNCTUATION = MARKS + "".join(map(chr, (*range(9), 11, 12, *range(13, 32), *range(127, 160))))
SPACES = str.maketrans(PUNCTUATION, " " * len(PUNCTUATION))


def normalise_for_hashing(text: str) -> str:
    """Lower case, numbers as "0", punctuation and control characters as spaces, single spaces, no diacritics.

    In this order; then every character that is no part of a word is a space, so that splitting at single spaces gives
    the words (empty ones between two such characters included).
    """
    text = " ".join(NUMBER.sub("0", text.lower()).translate(SPACES).split())
    if text.isascii():
        return text
    text = "".join(c for c in unicodedata.normalize("NFD", text) if c.isascii() or unicodedata.category(c) != "Mn")
    return NON_WORD.sub(" ", text.strip())


def shingle_hashes(texts: Sequence[str], words: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of every run of ``words`` words of each text: the first eight bytes of SHA-1, little-endian.

    Args:
        texts: raw texts; they are normalised here.
        words: words in a shingle, >= 1.

    Returns:
        uint64 (m,) hashes, text after text, and int64 (texts + 1,) offsets. A text of fewer words has none.
    """
    if not texts:
        return np.empty(0, dtype=np.uint64), np.zeros(1, dtype=np.int64)
    data = "\n".join(map(normalise_for_hashing, texts)).encode("utf-8", "surrogatepass")
    codes = np.frombuffer(data, dtype=np.uint8)
    ends = np.append(np.flatnonzero((codes == 32) | (codes == 10)), len(codes))
    starts = np.append(0, ends[:-1] + 1)
    lines = np.append(0, np.cumsum(codes[ends[:-1]] == 10))
    first, last = slice(0, max(0, len(starts) - words + 1)), slice(words - 1, None)
    whole = lines[first] == lines[last]
    hashes = sha1_prefix64(data, starts[first][whole], ends[last][whole])
    counts = np.bincount(lines[first][whole], minlength=len(texts))
    return hashes, np.append(0, np.cumsum(counts))


def collision_probability(similarity: np.ndarray | float, bands: int, rows: int) -> np.ndarray:
    """Probability 1 − (1 − s^rows)^bands that two documents of Jaccard similarity s share a band."""
    return 1 - (1 - np.asarray(similarity, dtype=np.float64) ** rows) ** bands


@lru_cache
def bands_and_rows(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands b and rows r, b·r <= permutations, of least ½∫₀^t P(s) ds + ½∫_t^1 (1 − P(s)) ds.

    P is ``collision_probability`` and t the threshold. P is a polynomial of degree b·r, which a Gauss rule of
    b·r / 2 + 1 points integrates exactly.
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold = {threshold} must lie between 0 and 1")
    if permutations < 1:
        raise InputError(f"permutations = {permutations} must be at least 1")
    points, weights = np.polynomial.legendre.leggauss(permutations // 2 + 1)
    low, high = threshold * (points + 1) / 2, threshold + (1 - threshold) * (points + 1) / 2
    best = (math.inf, 0, 0)
    for bands in range(1, permutations + 1):
        for rows in range(1, permutations // bands + 1):
            accepted = weights @ collision_probability(low, bands, rows) * threshold / 2
            missed = weights @ (1 - collision_probability(high, bands, rows)) * (1 - threshold) / 2
            best = min(best, ((accepted + missed) / 2, bands, rows))
    return best[1], best[2]


class MinHasher:
    """Signatures and band keys of texts.

    Args:
        threshold: Jaccard similarity from which two documents should meet, in (0, 1).
        permutations: hash functions at most; bands × rows of them are used.
        words: words in a shingle; a text of fewer has no signature.
        seed: of the hash functions h -> (a·h + b mod 2^64) mod 2^61 − 1.

    Attributes:
        bands, rows: as ``bands_and_rows`` chooses them; 14 and 9 for the defaults.
    """

    def __init__(self, *, threshold: float = 0.7, permutations: int = 128, words: int = 5, seed: int = 1234) -> None:
        if words < 1:
            raise InputError(f"words = {words} must be at least 1")
        self.words = words
        self.bands, self.rows = bands_and_rows(threshold, permutations)
        draw = np.random.RandomState(seed)
        size = self.bands * self.rows
        self.factors, self.summands = (draw.randint(1, int(PRIME), size=size, dtype=np.uint64) for _ in range(2))

    def signatures(self, texts: Sequence[str]) -> np.ndarray:
        """Minima, uint64 (texts, bands · rows); 2^64 − 1 everywhere for a text without shingles."""
        parts, begin, size = [], 0, 0
        for i, text in enumerate(texts):
            size += len(text)
            if size >= TEXT_BLOCK or i == len(texts) - 1:
                parts.append(self._minima(*shingle_hashes(texts[begin : i + 1], self.words)))
                begin, size = i + 1, 0
        return np.concatenate(parts) if parts else np.empty((0, len(self.factors)), dtype=np.uint64)

    def band_keys(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Keys uint64 (texts, bands, 2) of the bands, and bool (texts,): whether a text has a signature."""
        signatures = self.signatures(texts)
        signed = signatures[:, 0] != NONE
        packed = signatures.astype(">u8").tobytes()
        width = 8 * self.rows
        digests = b"".join(
            hashlib.sha1(packed[at : at + width], usedforsecurity=False).digest()[:16]
            for at in range(0, len(packed), width)
        )
        return np.frombuffer(digests, dtype="<u8").reshape(len(texts), self.bands, 2), signed

    def _minima(self, hashes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        minima = np.full((len(offsets) - 1, len(self.factors)), NONE)
        for begin in range(0, len(hashes), BLOCK):
            values = self._permuted(hashes[begin : begin + BLOCK])
            stop = begin + values.shape[1]
            text = int(np.searchsorted(offsets, begin, side="right")) - 1
            while text < len(minima) and offsets[text] < stop:
                part = values[:, max(0, offsets[text] - begin) : offsets[text + 1] - begin]
                if part.shape[1]:
                    np.minimum(minima[text], part.min(axis=1), out=minima[text])
                text += 1
        return minima

    def _permuted(self, hashes: np.ndarray) -> np.ndarray:
        """(permutations, shingles): x mod 2^61 − 1 is x mod 2^61 + x div 2^61, less the prime where it is reached."""
        values = np.multiply.outer(self.factors, hashes)
        values += self.summands[:, None]
        high = values >> np.uint64(61)
        values &= PRIME
        values += high
        if values.max() >= PRIME:
            values[values >= PRIME] -= PRIME
        return values
