"""Mixed batches: exact shares, every item as often in every place, anew each time, a pure function of (seed, step)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.data import Batches, MixedBatches
from thalweg.errors import InputError

TEXT = np.arange(1000, 9000)


def stored(batch=6, context=10, seed=5):
    return Batches(TEXT, context=context, batch=batch, seed=seed)


def word(item, rng):
    """Item twice, then a random number: three tokens, the last of them fresh."""
    return np.array([item, item, 100 + rng.integers(800)])


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(1, 9), st.integers(0, 3))
def test_the_share_of_tokens_is_exact(ratio, batch, seed):
    mixed = MixedBatches(stored(batch, seed=seed), word, 7, ratio)
    made = np.array([(mixed.at(step) < 1000).all(1).sum() for step in range(12)])
    rows = batch * np.arange(1, 13)
    np.testing.assert_array_equal(made.cumsum(), np.floor(rows * ratio))
    assert made.max() - made.min() <= 1


def test_stored_windows_come_as_without_a_mixture_and_none_is_left_out():
    plain, mixed = stored(batch=1), MixedBatches(stored(), word, 7, 0.3)
    rows = np.concatenate([mixed.at(step) for step in range(20)])
    text = rows[(rows >= 1000).all(1)]
    np.testing.assert_array_equal(text, np.concatenate([plain.at(k) for k in range(len(text))]))
    np.testing.assert_array_equal(MixedBatches(stored(), word, 7, 0.0).at(3), stored().at(3))


def test_every_item_takes_every_place_once_in_a_pass():
    mixed = MixedBatches(stored(batch=7), word, 7, 1.0)
    for turn in range(3):
        rows = mixed.at(turn)  # one pass: as many rows as items
        for place in range(4):  # the fourth is cut after two tokens
            assert sorted(rows[:, 3 * place]) == list(range(7))
            np.testing.assert_array_equal(rows[:, 3 * place], rows[:, 3 * place + 1])
    assert mixed.showings(2) == 2
    orders = {tuple(mixed.at(turn)[:, 3 * place]) for turn in range(3) for place in range(4)}
    assert len(orders) == 12


def test_nothing_is_told_twice_alike():
    mixed = MixedBatches(stored(batch=7), word, 7, 1.0)
    told = np.concatenate([mixed.at(step)[:, [2, 5, 8]].ravel() for step in range(10)])
    assert len(np.unique(told)) > 150  # of 210 draws from 800 numbers, 185 distinct expected


@pytest.mark.parametrize("ratio", [0.0, 0.37, 1.0])
def test_workers_share_a_batch_and_any_step_comes_alone(ratio):
    mixed = MixedBatches(stored(), word, 7, ratio)
    for step in (0, 5, 10**7):
        whole = mixed.at(step)
        assert whole.shape == (6, 11)
        assert whole.dtype == np.int64
        parts = [MixedBatches(stored(), word, 7, ratio).at(step, rank=k, world=3) for k in range(3)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    if ratio:
        assert (mixed.at(0) != MixedBatches(stored(seed=6), word, 7, ratio).at(0)).any()


def test_items_longer_than_a_row_are_cut():
    rows = MixedBatches(stored(), lambda item, rng: np.full(50, item), 3, 1.0).at(0)
    assert (rows == rows[:, :1]).all()


def test_bad_input():
    for items, ratio in ((0, 0.5), (3, 1.1), (3, float("nan"))):
        with pytest.raises(InputError, match="items"):
            MixedBatches(stored(), word, items, ratio)
    mixed = MixedBatches(stored(), word, 3, 0.5)
    for step, rank, world in ((-1, 0, 1), (0, 2, 2), (0, 0, 4)):
        with pytest.raises(InputError, match="world"):
            mixed.at(step, rank=rank, world=world)
    with pytest.raises(InputError, match="no tokens"):
        MixedBatches(stored(), lambda item, rng: np.array([], dtype=int), 3, 1.0).at(0)
