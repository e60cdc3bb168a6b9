from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.plan import Take
from thalweg.data.plan.draws import document_keys
from thalweg.data.plan.select import copies, laid_out, rank_order, thinned
from thalweg.errors import InputError

KEYS = document_keys(np.arange(100_000))


def taken(take: Take, count: int = 100_000, *, seed=0, phase=0, ranked=None, duplicates=None) -> np.ndarray:
    return copies(take, KEYS[:count], seed=seed, phase=phase, ranked=ranked, duplicates=duplicates)


@given(
    scores=st.lists(st.sampled_from([0.0, 1.0, 2.0, float("nan")]), min_size=1, max_size=60),
    share=st.floats(0.01, 1),
)
def test_keep_top_keeps_the_share_by_rank_even_with_ties(scores: list[float], share: float):
    values = np.array(scores)
    ranked = rank_order(values, KEYS[: len(values)])
    kept = taken(Take(keep_top=share), len(values), ranked=ranked) > 0
    assert kept.sum() == int(np.floor(share * len(values) + 1e-9))
    filled = np.where(np.isnan(values), -1, values)
    if kept.any() and not kept.all():
        assert filled[kept].min() >= filled[~kept].max()  # what is left out is nowhere better


def test_ties_are_broken_by_the_id_wherever_the_document_lies():
    scores, turn = np.repeat([1.0, 0.0, 1.0], 50), np.random.default_rng(0).permutation(150)
    straight = rank_order(scores, KEYS[:150])
    moved = rank_order(scores[turn], KEYS[:150][turn])
    assert np.array_equal(turn[moved], straight)


@pytest.mark.parametrize(("low", "high", "count"), [(0.15, 0.17, 2), (0.29, 1.0, 71), (0.0, 0.57, 57)])
def test_quantiles_cut_ranks_from_the_best(low: float, high: float, count: int):
    scores = np.arange(100.0)
    kept = taken(Take(quantile=(low, high)), 100, ranked=rank_order(scores, KEYS[:100])) > 0
    best_first = np.flatnonzero(kept[::-1])
    assert best_first.tolist() == list(range(round(100 * low), round(100 * low) + count))


def test_slices_that_meet_share_no_document_and_miss_none():
    ranked = rank_order(np.repeat([0.0, 1.0], 51), KEYS[:102])
    edges = [0.0, 0.1, 0.33, 0.7, 1.0]
    slices = [taken(Take(quantile=edge), 102, ranked=ranked) for edge in pairwise(edges)]
    assert np.array_equal(sum(slices), np.ones(102))


def test_whole_repetitions_are_exact():
    assert (taken(Take(repeat=3)) == 3).all()
    assert not taken(Take(repeat=0)).any()


@pytest.mark.parametrize("repeat", [0.25, 1.5, 2.9])
def test_fractions_are_rounded_by_chance_with_the_right_mean(repeat: float):
    counts = taken(Take(repeat=repeat))
    assert set(counts.tolist()) == {int(repeat), int(repeat) + 1}
    share = repeat % 1
    assert abs(counts.mean() - repeat) < 5 * np.sqrt(share * (1 - share) / len(counts))


def test_rounding_is_drawn_for_seed_document_and_phase():
    take = Take(repeat=0.5)
    first = taken(take)
    assert np.array_equal(first, taken(take))
    assert np.array_equal(first[:500], taken(take, 500))  # others beside it change nothing
    for other in (taken(take, phase=1), taken(take, seed=1)):
        assert abs(np.mean(first == other) - 0.5) < 5 * 0.5 / np.sqrt(len(first))


def test_copies_by_duplicate_count_follow_the_formula():
    duplicates = np.tile([10, 25, 1000, 1], 25_000)
    counts = taken(Take(repeat="duplicates"), duplicates=duplicates)
    means = counts.reshape(-1, 4).mean(axis=0)
    assert (means[0], means[2]) == (1.0, 20.0)
    assert means[1] == pytest.approx(2.5, abs=5 * 0.5 / np.sqrt(25_000))
    assert means[3] == pytest.approx(0.1, abs=5 * 0.3 / np.sqrt(25_000))


def test_sample_keeps_its_share_and_is_independent_of_repetition():
    counts = taken(Take(sample=0.3, repeat=1.5))
    assert np.mean(counts > 0) == pytest.approx(0.3, abs=5 * 0.46 / np.sqrt(100_000))
    assert counts[counts > 0].mean() == pytest.approx(1.5, abs=0.02)


def test_copies_are_laid_out_in_rounds():
    assert laid_out(np.array([2, 0, 1, 3])).tolist() == [0, 2, 3, 0, 3, 3]
    assert laid_out(np.zeros(3, dtype=np.int64)).tolist() == []


def test_thinning_reaches_the_tokens_and_no_document_more():
    lengths = np.random.default_rng(1).integers(1, 50, 200)
    order = np.random.default_rng(2).permutation(200)
    kept = thinned(np.arange(200), lengths, order, 1000)
    assert np.array_equal(kept, np.sort(kept))
    assert 1000 <= lengths[kept].sum() < 1000 + 50
    assert len(thinned(np.arange(200), lengths, order, int(lengths.sum()))) == 200


@pytest.mark.parametrize(
    ("take", "message"),
    [(Take(keep_top=0.5), "need a score"), (Take(repeat="duplicates"), "needs a column duplicates")],
)
def test_what_is_missing_is_named(take: Take, message: str):
    with pytest.raises(InputError, match=message):
        taken(take)
