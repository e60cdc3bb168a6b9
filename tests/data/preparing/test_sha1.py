from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.preparing.sha1 import sha1_prefix64


def reference(piece: bytes) -> int:
    return int.from_bytes(hashlib.sha1(piece).digest()[:8], "little")


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), min_size=2, max_size=12))
def test_pieces_hash_as_hashlib_hashes_them(data: bytes, cuts: list[int]):
    places = np.minimum(np.sort(cuts), len(data))
    starts, stops = places[:-1], places[1:]
    wanted = [reference(data[a:b]) for a, b in zip(starts, stops, strict=True)]
    assert sha1_prefix64(data, starts, stops).tolist() == wanted


def test_every_length_about_one_block_and_more_lanes_than_one_round_takes():
    data = np.random.default_rng(100).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    starts = np.arange(18000) % 4800
    stops = starts + np.arange(18000) % 70
    found = sha1_prefix64(data, starts, stops)
    for i in (*range(140), 16383, 16384, 17999):
        assert found[i] == reference(data[starts[i] : stops[i]])


def test_published_digest_of_abc():
    """FIPS 180-4 example: A9993E36 4706816A BA3E2571 7850C26C 9CD0D89D."""
    found = sha1_prefix64(b"abc", np.array([0]), np.array([3]))
    assert found[0].tobytes().hex() == "a9993e364706816a"
