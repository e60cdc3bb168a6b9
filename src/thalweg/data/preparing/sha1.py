"""SHA-1 of many short pieces of one buffer at once: the first eight bytes of each digest as an integer.

Every piece of at most 55 bytes fits one block of SHA-1, so thousands of blocks go through the 80 rounds side by side as
numpy arrays; longer pieces take the standard library, one by one.

Source: FIPS 180-4, sections 4.2.1, 5.1.1 and 6.1.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["sha1_prefix64"]

ONE_BLOCK = 55
"""Bytes of message that fit one block beside the closing bit and the length."""

LANES = 16384
"""Pieces hashed side by side: their 16 words fill a megabyte, which stays in a core's cache."""

START = tuple(np.uint32(word) for word in (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0))
CONSTANTS = tuple(np.uint32(word) for word in (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6))
KEPT = np.array([0, 0, 0xFF000000, 0xFFFF0000, 0xFFFFFF00, 0xFFFFFFFF], dtype=np.uint32)
"""Bits of a word that belong to the message, by one more than its bytes there; index 0: none, nor its closing bit."""
CLOSING = np.array([0, 0x80000000, 0x00800000, 0x00008000, 0x00000080, 0], dtype=np.uint32)
"""The bit after the message, likewise."""


def sha1_prefix64(data: bytes, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """First eight bytes of SHA-1 of ``data[starts[i]:stops[i]]``, read as a little-endian integer.

    Args:
        data: the buffer.
        starts: int64 (n,), first bytes.
        stops: int64 (n,), one after the last; at least ``starts``.

    Returns:
        uint64 (n,).
    """
    hashes = np.empty(len(starts), dtype=np.uint64)
    lengths = stops - starts
    short = np.flatnonzero(lengths <= ONE_BLOCK)
    short = short[np.argsort(lengths[short], kind="stable")]  # side by side, equal lengths need the least masking
    padded = data + bytes(64)
    for begin in range(0, len(short), LANES):
        lanes = short[begin : begin + LANES]
        hashes[lanes] = _one_block(padded, starts[lanes], lengths[lanes])
    for i in np.flatnonzero(lengths > ONE_BLOCK):
        digest = hashlib.sha1(data[starts[i] : stops[i]], usedforsecurity=False).digest()
        hashes[i] = int.from_bytes(digest[:8], "little")
    return hashes


def _one_block(padded: bytes, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The digests' first eight bytes for messages of one block; ``padded`` has 64 bytes behind the last message."""
    words = _message_words(padded, starts, lengths)
    a, b, c, d, e = (np.full(len(starts), word) for word in START)
    spare = np.empty_like(a)
    for step in range(80):
        word = words[step % 16]
        if step >= 16:
            for back in (13, 8, 2):  # words 3, 8 and 14 steps ago, modulo 16; word itself is 16 ago
                word ^= words[(step + back) % 16]
            word = words[step % 16] = _rotated(word, 1, spare)
        mixed = _mix(step // 20, b, c, d)
        mixed += e
        mixed += CONSTANTS[step // 20]
        mixed += word
        mixed += _rotated(a, 5, spare)
        a, b, c, d, e = mixed, a, _rotated(b, 30, spare), c, d
    a += START[0]
    b += START[1]
    return a.byteswap().astype(np.uint64) | (b.byteswap().astype(np.uint64) << np.uint64(32))


def _message_words(padded: bytes, starts: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The 16 words of each block, uint32 (n,): message, closing bit, zeros, length in bits."""
    anywhere = np.ndarray((len(padded) - 3,), dtype=">u4", buffer=padded, strides=(1,))
    words = []
    shortest, longest = int(lengths.min()), int(lengths.max())
    for place in range(0, 56, 4):
        if place > longest:
            words.append(np.zeros(len(starts), dtype=np.uint32))
            continue
        word = anywhere[starts + place].astype(np.uint32)
        if place + 4 > shortest:
            within = np.clip(lengths - place, -1, 4) + 1
            word &= KEPT[within]
            word |= CLOSING[within]
        words.append(word)
    return [*words, np.zeros(len(starts), dtype=np.uint32), (lengths * 8).astype(np.uint32)]


def _mix(quarter: int, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The round function of each quarter: choose, parity, majority, parity; a new array."""
    if quarter == 0:
        mixed = c ^ d
        mixed &= b
        mixed ^= d
    elif quarter == 2:
        mixed = b | c
        mixed &= d
        mixed |= b & c
    else:
        mixed = b ^ c
        mixed ^= d
    return mixed


def _rotated(word: np.ndarray, bits: int, spare: np.ndarray) -> np.ndarray:
    """Turned left, a new array; ``spare`` is overwritten."""
    np.right_shift(word, np.uint32(32 - bits), out=spare)
    turned = word << np.uint32(bits)
    turned |= spare
    return turned
