"""A shuffled order that is computed, not stored: position k of epoch e without a list of n numbers.

A Feistel network on pairs: index i = x·b + y with x in Z_a and y in Z_b, a·b the least such product ≥ n with
a = ⌈√n⌉. Each round adds to one half a hash of the other, modulo its size; that can be undone, so the whole is a
bijection of 0 … ab − 1. The few results ≥ n (less than one in √n) are sent through again until they are below n (cycle
walking), which leaves a bijection of 0 … n − 1.

Source: Luby and Rackoff 1988 (Feistel networks); Black and Rogaway 2002, "Ciphers with arbitrary finite domains" (cycle
walking, generalised Feistel); the hash is splitmix64's finaliser (Steele, Lea and Flood 2014).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from math import isqrt

import numpy as np

__all__ = ["hash64", "permute", "random_words"]

ROUNDS = 6
"""Four are enough for large n (Luby and Rackoff); six also mix the halves of a handful of items."""


def permute(index: np.ndarray, n: int, *, seed: int, epoch: int = 0) -> np.ndarray:
    """Where a shuffle keyed by (seed, epoch) puts each index.

    Args:
        index: int64 (m,), values in 0 … n − 1.
        n: number of items, ≥ 1, below 2^62.
        seed: any integer.
        epoch: any integer; another epoch is another, unrelated shuffle.

    Returns:
        int64 (m,); over all indices each value of 0 … n − 1 comes exactly once.
    """
    a = isqrt(n - 1) + 1
    b = -(-n // a)
    keys = random_words(seed, epoch)[:ROUNDS]
    result = _rounds(index.astype(np.uint64), np.uint64(a), np.uint64(b), keys)
    while (outside := result >= n).any():
        result[outside] = _rounds(result[outside], np.uint64(a), np.uint64(b), keys)
    return result.astype(np.int64)


@lru_cache(maxsize=64)
def random_words(seed: int, epoch: int) -> tuple[np.uint64, ...]:
    """Eight 64-bit words from (seed, epoch) by BLAKE2b: the round keys, and two more for the caller."""
    digest = hashlib.blake2b(f"thalweg epoch {seed} {epoch}".encode(), digest_size=64).digest()
    return tuple(np.frombuffer(digest, dtype="<u8").astype(np.uint64))


def _rounds(index: np.ndarray, a: np.uint64, b: np.uint64, keys: tuple[np.uint64, ...]) -> np.ndarray:
    x, y = index // b, index % b
    for number, key in enumerate(keys):
        if number % 2:
            y = (y + hash64(x, key) % b) % b
        else:
            x = (x + hash64(y, key) % a) % a
    return x * b + y


def hash64(value: np.ndarray, key: np.uint64) -> np.ndarray:
    """splitmix64's finaliser of value + key, modulo 2^64 (arrays wrap silently).

    Args:
        value: uint64, any shape.
        key: added first.

    Returns:
        uint64 of the same shape; for one key a bijection of the 64-bit numbers.
    """
    z = value + key
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z
