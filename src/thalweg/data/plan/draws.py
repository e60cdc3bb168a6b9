"""Random decisions that are computed from names: the same on every machine and in every version of numpy.

Everything is the finaliser of splitmix64 (see ``thalweg.data.permutation``) under a key that is BLAKE2b of words. A
document's decisions depend on its id, never on where it lies or what lies beside it.

Source: Steele, Lea and Flood 2014 (splitmix64).
"""

from __future__ import annotations

import hashlib

import numpy as np

from thalweg.data.permutation import hash64

__all__ = ["document_keys", "fractions", "key_of", "shuffled"]

PART = 2**16
"""Items hashed at a time: what fits the cache."""


def key_of(*words: object) -> int:
    """64 bits from words: BLAKE2b of their texts."""
    text = " ".join(map(str, ("thalweg plan", *words)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def document_keys(ids: np.ndarray) -> np.ndarray:
    """64 bits a document, from its id alone.

    Args:
        ids: (n,) integers, bytes or str of fixed width; equal text in any of the last two forms and any width is equal.

    Returns:
        uint64 (n,).
    """
    if ids.dtype.kind in "iu":
        return _hashed(ids.astype(np.uint64), key_of("number"))
    if ids.dtype.kind == "U":
        ids = _utf8(ids)
    width = -(-max(1, ids.dtype.itemsize) // 8)
    words = np.ascontiguousarray(ids.astype(f"S{8 * width}", copy=False)).view("<u8").reshape(len(ids), width)
    keys = np.zeros(len(ids), dtype=np.uint64)
    for first in range(0, len(ids), PART):
        part, some = words[first : first + PART].T, keys[first : first + PART]
        for column in range(width):
            word = np.ascontiguousarray(part[column])
            mixed = hash64(some ^ word, np.uint64(key_of("word", column)))
            np.copyto(some, mixed, where=word != 0)
    return keys


def fractions(keys: np.ndarray, *words: object) -> np.ndarray:
    """A number in [0, 1) for each key, float64, another one for other ``words``."""
    return (_hashed(keys, key_of(*words)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shuffled(n: int, key: int) -> np.ndarray:
    """The numbers 0 … n - 1 in an order drawn by ``key``, int64 (n,).

    Hashes are sorted whose lowest bits are replaced by the number itself, which is faster than an indirect sort.
    """
    bits = np.uint64(max(1, n - 1).bit_length())
    numbers = np.arange(n, dtype=np.uint64)
    hashes = _hashed(numbers, key)
    hashes <<= bits
    hashes |= numbers
    hashes.sort()
    hashes &= (np.uint64(1) << bits) - np.uint64(1)
    return hashes.view(np.int64)


def _hashed(values: np.ndarray, key: int) -> np.ndarray:
    out = np.empty(len(values), dtype=np.uint64)
    for first in range(0, len(values), PART):
        out[first : first + PART] = hash64(values[first : first + PART], np.uint64(key))
    return out


def _utf8(ids: np.ndarray) -> np.ndarray:
    """Fixed-width bytes; plain ASCII without a detour over Python strings."""
    width = ids.dtype.itemsize // 4
    points = np.ascontiguousarray(ids).view(np.uint32).reshape(len(ids), width) if width else np.zeros((len(ids), 1))
    if not points.size or points.max() < 128:
        return np.ascontiguousarray(points.astype(np.uint8)).view(f"S{max(1, width)}").reshape(len(ids))
    return np.char.encode(ids, "utf-8")
