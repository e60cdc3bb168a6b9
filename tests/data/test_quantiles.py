"""Slices by rank, of equal tokens; the table of reference runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planned_data import in_memory
from thalweg.data import quantile_benchmark, quantile_slices
from thalweg.data.quantiles import documents
from thalweg.errors import InputError


def test_slices_are_ranks_from_the_best():
    scores = np.random.default_rng(0).permutation(1000).astype(float)
    slices = quantile_slices(scores, np.ones(1000), starts=(0, 0.15, 0.75))
    assert [sorted(scores[rows])[::-1] for rows in slices] == [
        list(range(999, 979, -1)),
        list(range(849, 829, -1)),
        list(range(249, 229, -1)),
    ]


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_ties_do_not_change_the_size_and_tokens_are_equal_to_a_document(seed, levels):
    rng = np.random.default_rng(seed)
    scores, tokens = rng.integers(0, levels, 500).astype(float), rng.integers(1, 50, 500)
    slices = quantile_slices(scores, tokens, starts=(0, 0.4, 0.8), width=0.1)
    sums = [int(tokens[rows].sum()) for rows in slices]
    assert max(sums) - min(sums) < 50
    assert len(np.unique(np.concatenate(slices))) == sum(map(len, slices))
    least = [scores[rows].min() for rows in slices]
    assert all(scores[b].max() <= low for low, b in zip(least, slices[1:], strict=False))


def test_the_benchmark_reads_off_which_corpus_is_good_for_what():
    rng = np.random.default_rng(1)
    n = 400
    quality = {name: rng.uniform(size=n) for name in ("good", "flat")}
    corpora = {name: (quality[name], rng.integers(5, 15, n)) for name in quality}
    calls = []

    def train(name, rows, seed):
        calls.append((name, tuple(rows), seed))
        return name, float(quality[name][rows].mean()), seed

    def evaluate(learner):
        name, mean, seed = learner
        return {"a": mean if name == "good" else 0.5 + 0.01 * seed, "b": 1.0}

    table = quantile_benchmark(corpora, train, evaluate, starts=(0, 0.3, 0.6), width=0.1, seeds=(0, 1))
    assert table.scores.shape == (2, 3, 2, 2)
    assert len(calls) == len(set(calls)) == 12
    assert [row[0] for row in table.best(lower=False)] == ["good", "good", "flat"]
    assert table.trend()[0, 0] == pytest.approx(-1, abs=0.1)
    assert table.trend()[1, 0] == 0
    assert table.errors[1, 0, 0] == pytest.approx(0.005)
    sizes = [corpora[name][1][list(rows)].sum() for name, rows, _ in calls]
    assert max(sizes) <= table.tokens
    assert min(sizes) > table.tokens - 15


def test_bad_input():
    with pytest.raises(InputError, match="document 1 has no finite score"):
        quantile_slices(np.array([1, np.nan]), np.ones(2))
    with pytest.raises(InputError, match="empty"):
        quantile_slices(np.ones(10), np.ones(10))
    with pytest.raises(InputError, match="leaves"):
        quantile_slices(np.ones(10), np.ones(10), starts=(0.95,), width=0.1)
    with pytest.raises(InputError, match="one number a document"):
        quantile_slices(np.ones(10), np.ones(9))
    with pytest.raises(InputError, match="no corpus"):
        quantile_benchmark({}, lambda *_: None, lambda _: {})


def test_documents_of_a_slice_are_a_source_of_their_own():
    source = in_memory([3, 5, 2, 4], quality=[0.1, 0.4, 0.2, 0.3])
    part = documents(source, np.array([3, 1]))
    assert [part.tokens(k).tolist() for k in range(2)] == [source.tokens(3).tolist(), source.tokens(1).tolist()]
    assert part.columns["quality"].tolist() == [0.3, 0.4]
    assert part.ids.tolist() == ["mem-3", "mem-1"]
    assert part.fingerprint != documents(source, np.array([1, 3])).fingerprint != source.fingerprint
    with pytest.raises(InputError, match="no document"):
        documents(source, np.array([], dtype=int))
