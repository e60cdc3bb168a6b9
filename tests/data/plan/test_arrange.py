from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.plan import bucket_order, interleaved_order, order_by_quality
from thalweg.errors import InputError

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def domains_of(counts: list[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=50), st.integers(0, 9))
def test_orders_are_permutations_in_the_right_direction(scores: list[int], seed: int):
    values = np.array(scores, dtype=float)
    for mode, sign in [("ascend", 1), ("descend", -1), ("uniform", 0), ("fold:3", 0)]:
        order = order_by_quality(values, mode, seed=seed)
        assert np.array_equal(np.sort(order), np.arange(len(values)))
        assert (sign * np.diff(values[order]) >= 0).all()


def test_folds_sort_inside_equal_parts_of_the_uniform_order():
    values = np.random.default_rng(0).normal(size=300)
    uniform, folded = order_by_quality(values, "uniform", seed=4), order_by_quality(values, "fold:3", seed=4)
    for part in range(3):
        mine = slice(100 * part, 100 * part + 100)
        assert set(folded[mine]) == set(uniform[mine])
        assert (np.diff(values[folded[mine]]) > 0).all()


def test_equal_scores_come_in_random_order():
    order = order_by_quality(np.zeros(1000), "ascend", seed=0)
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 5 / np.sqrt(1000)
    assert not np.array_equal(order, order_by_quality(np.zeros(1000), "ascend", seed=1))


@given(counts=sizes, seed=st.integers(0, 9), up=st.booleans())
def test_interleaving_sorts_every_domain(counts: list[int], seed: int, up: bool):
    domains = domains_of(counts)
    scores = np.random.default_rng(seed).integers(0, 5, len(domains)).astype(float)
    order = interleaved_order(domains, scores, ascending=up, seed=seed)
    assert np.array_equal(np.sort(order), np.arange(len(domains)))
    for domain in range(len(counts)):
        steps = np.diff(scores[order][domains[order] == domain])
        assert ((steps if up else -steps) >= 0).all()


@given(counts=sizes, seed=st.integers(0, 3))
def test_interleaving_keeps_the_shares_in_every_window(counts: list[int], seed: int):
    """The count of a domain of share s among K misses s times the length by at most (1 - s) + s (K - 1).

    A place g holds at most one document a domain, so a prefix that ends at g misses a domain's share by f (1 - s) on
    one side and by the others' s f on the other, each f < 1; a window is the difference of two prefixes. For K = 2 that
    is the specification's 1; for more domains its 1 is exceeded.
    """
    domains = domains_of(counts)
    count = len(domains)
    order = interleaved_order(domains, np.arange(count, dtype=float), seed=seed)
    for domain, size in enumerate(counts):
        share = size / count
        missed = np.concatenate([[0], np.cumsum(domains[order] == domain)]) - share * np.arange(count + 1)
        assert missed.max() - missed.min() <= (1 - share) + share * (len(counts) - 1) + 1e-9


def test_documents_of_equal_place_come_in_random_order():
    first = [int(interleaved_order(np.repeat([0, 1], 50), np.arange(100.0), seed=seed)[0]) for seed in range(1000)]
    assert set(first) == {0, 50}
    assert abs(np.mean(np.array(first) == 0) - 0.5) < 5 * 0.5 / np.sqrt(1000)


def test_a_domain_without_scores_is_spread_evenly_in_random_order():
    domains = np.repeat([0, 1], [300, 100])
    scores = np.where(domains == 0, np.arange(400.0), np.nan)
    order = interleaved_order(domains, scores, seed=0)
    where = np.flatnonzero(domains[order] == 1)
    assert np.abs(where - (4 * np.arange(100) + 3)).max() <= 1
    assert abs(np.corrcoef(order[where], np.arange(100))[0, 1]) < 5 / np.sqrt(100)


def test_a_perturbation_moves_documents_by_that_much():
    scores = np.arange(500.0)
    order = interleaved_order(np.zeros(500), scores, perturb=20.0, seed=0)
    moved = np.abs(order - np.arange(500))
    assert 5 < moved.max() <= 20


@given(counts=sizes, buckets=st.integers(1, 7), seed=st.integers(0, 3))
def test_buckets_hold_the_same_rank_range_of_every_group(counts: list[int], buckets: int, seed: int):
    rng = np.random.default_rng(seed)
    groups, lengths = domains_of(counts), rng.integers(1, 20, sum(counts))
    scores = rng.normal(size=sum(counts))
    order = bucket_order(groups, scores, lengths, buckets=buckets, seed=seed)
    assert np.array_equal(np.sort(order), np.arange(len(groups)))
    position = np.empty(len(order), dtype=int)
    position[order] = np.arange(len(order))
    last = -1
    for bucket in range(buckets):  # the definition, document by document
        mine = []
        for group in range(len(counts)):
            ranked = np.flatnonzero(groups == group)[np.argsort(scores[groups == group])]
            total, before = lengths[ranked].sum(), 0
            for document in ranked:
                middle = (before + lengths[document] / 2) / total
                before += lengths[document]
                if min(int(middle * buckets), buckets - 1) == bucket:
                    mine.append(position[document])
        if mine:
            assert sorted(mine) == list(range(last + 1, last + 1 + len(mine)))
            last = max(mine)


@pytest.mark.parametrize("mode", ["interleave", "bucket:3", "up", "fold:0", "fold"])
def test_modes_that_do_not_fit_are_refused(mode: str):
    with pytest.raises(InputError, match=r"mode|order"):
        order_by_quality(np.zeros(3), mode)
