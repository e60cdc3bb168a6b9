from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.plan.draws import document_keys, fractions, key_of, shuffled

KEYS = [12384585775846190318, 10562598759450630297, 4157215850672562598]
ORDER = [1, 4, 2, 10, 6, 9, 3, 0, 5, 7, 11, 8]


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1, max_size=9))
def test_keys_depend_on_the_text_of_the_id_alone(names: list[str]):
    keys = document_keys(np.array(names))
    alone = [document_keys(np.array([name]))[0] for name in names]
    as_bytes = document_keys(np.array([name.encode() for name in names]))
    wider = document_keys(np.array([*names, "x" * 40]))[:-1]
    assert keys.tolist() == alone == as_bytes.tolist() == wider.tolist()
    assert len(set(keys.tolist())) == len(set(names))


def test_numbers_as_ids_give_keys_apart():
    assert len(set(document_keys(np.arange(100_000)).tolist())) == 100_000


def test_fractions_are_uniform_and_unrelated_for_other_words():
    keys = document_keys(np.arange(100_000))
    one, two = fractions(keys, "repeat", 0, 1), fractions(keys, "repeat", 0, 2)
    assert one.min() >= 0
    assert one.max() < 1
    # 100 bins of 1000 expected: chi2 has mean 99 and deviation 14
    counts = np.histogram(one, 100, (0, 1))[0]
    assert abs(((counts - 1000) ** 2 / 1000).sum() - 99) < 5 * 14
    assert abs(np.corrcoef(one, two)[0, 1]) < 5 / np.sqrt(100_000)


@given(n=st.integers(0, 300), key=st.integers(0, 2**64 - 1))
def test_shuffled_is_a_permutation(n: int, key: int):
    assert np.array_equal(np.sort(shuffled(n, key)), np.arange(n))


def test_all_orders_of_three_come_equally_often():
    found = [tuple(shuffled(3, key_of(k)).tolist()) for k in range(6000)]
    counts = np.array([found.count(order) for order in sorted(set(found))])
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(6000 * 5 / 36)


@pytest.mark.parametrize("words", [("a", 1), ("a", 2), ("b", 1)])
def test_keys_of_words_are_pinned_for_all_time(words):
    pinned = {("a", 1): KEYS[0], ("a", 2): KEYS[1], ("b", 1): KEYS[2]}
    assert key_of(*words) == pinned[words]


def test_shuffles_are_pinned_for_all_time():
    assert shuffled(12, 5).tolist() == ORDER
