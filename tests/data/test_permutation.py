from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.permutation import permute

MASK = 2**64 - 1


def twin(index: int, n: int, seed: int, epoch: int) -> int:
    """The definition in plain integers, one index at a time."""
    a = next(a for a in range(1, n + 1) if a * a >= n)
    b = (n + a - 1) // a
    digest = hashlib.blake2b(f"thalweg epoch {seed} {epoch}".encode(), digest_size=64).digest()
    keys = [int.from_bytes(digest[8 * i : 8 * i + 8], "little") for i in range(6)]

    def mixed(value: int, key: int) -> int:
        z = (value + key) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    while True:
        x, y = divmod(index, b)
        for number, key in enumerate(keys):
            if number % 2:
                y = (y + mixed(x, key)) % b
            else:
                x = (x + mixed(y, key)) % a
        index = x * b + y
        if index < n:
            return index


@given(n=st.integers(1, 3000), seed=st.integers(-5, 2**40), epoch=st.integers(0, 9))
def test_every_value_comes_once(n: int, seed: int, epoch: int):
    assert np.array_equal(np.sort(permute(np.arange(n), n, seed=seed, epoch=epoch)), np.arange(n))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 97, 1000])
def test_equals_the_definition_in_plain_integers(n: int):
    expected = [twin(i, n, 3, 4) for i in range(n)]
    assert permute(np.arange(n), n, seed=3, epoch=4).tolist() == expected


def test_any_part_equals_that_part_of_the_whole():
    whole = permute(np.arange(1000), 1000, seed=1)
    assert np.array_equal(permute(np.array([999, 0, 500]), 1000, seed=1), whole[[999, 0, 500]])


def test_order_is_pinned_for_all_time():
    # Runs that were interrupted under an older version must go on in the same order.
    assert permute(np.arange(12), 61_934, seed=0).tolist() == [
        57893, 29508, 47936, 41307, 47266, 34516, 47255, 46605, 28120, 8197, 49766, 37027,
    ]  # fmt: skip


def test_each_place_gets_each_value_equally_often():
    stats = pytest.importorskip("scipy.stats")
    n, shuffles = 10, 4000
    counts = np.zeros((n, n))
    for seed in range(shuffles):
        counts[np.arange(n), permute(np.arange(n), n, seed=seed)] += 1
    chi2 = ((counts - shuffles / n) ** 2 / (shuffles / n)).sum()
    assert 0.001 < stats.chi2.sf(chi2, (n - 1) ** 2) < 0.999  # fixed seeds: a defect, not chance, would move this


def test_epochs_and_neighbours_are_unrelated():
    n = 100_003
    first, second = (permute(np.arange(n), n, seed=0, epoch=epoch) for epoch in (0, 1))
    bound = 4 / np.sqrt(n)  # four standard errors of a correlation that is zero
    for other in (second, np.roll(first, 1), np.arange(n)):
        assert abs(np.corrcoef(first, other)[0, 1]) < bound


def test_needs_no_memory_for_many_items():
    n = 2**50 + 7
    places = permute(np.arange(10_000), n, seed=0)
    assert len(np.unique(places)) == 10_000
    assert 0 <= places.min() < 0.01 * n
    assert 0.99 * n < places.max() < n
