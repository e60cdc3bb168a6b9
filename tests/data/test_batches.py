from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data import Batches, validation_batches
from thalweg.errors import InputError


@pytest.mark.parametrize("world", [2, 3, 6])
def test_rows_of_all_ranks_joined_are_those_of_one(world: int):
    batches = Batches(np.arange(5000), context=16, batch=12, seed=3)
    for step in (0, 25, 26, 1000):
        parts = [batches.at(step, rank=rank, world=world) for rank in range(world)]
        assert np.array_equal(np.concatenate(parts), batches.at(step))


def test_one_epoch_has_every_target_once():
    tokens = np.arange(1001)
    batches = Batches(tokens, context=10, batch=4, seed=1, shift=False)
    assert batches.windows == 100
    rows = np.concatenate([batches.at(step) for step in range(25)])
    assert rows.shape == (100, 11)
    assert np.array_equal(np.sort(rows[:, 1:].reshape(-1)), np.arange(1, 1001))
    assert not np.array_equal(rows[:, 0], np.sort(rows[:, 0]))


@given(length=st.integers(40, 400), context=st.integers(1, 20), batch=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_every_epoch_cuts_the_text_once_wherever_batches_end(length: int, context: int, batch: int, seed: int):
    batches = Batches(np.arange(length), context=context, batch=batch, seed=seed)
    windows = batches.windows
    steps = -(-3 * windows // batch)
    rows = np.concatenate([batches.at(step) for step in range(steps)])[: 3 * windows]
    assert np.array_equal(rows, rows[:, :1] + np.arange(context + 1))  # neighbours, since token i is i
    assert rows.max() < length
    for epoch in range(3):
        starts = np.sort(rows[epoch * windows : (epoch + 1) * windows, 0])
        assert 0 <= starts[0] < context
        assert np.array_equal(starts, starts[0] + context * np.arange(windows))
        assert length - (starts[-1] + context) <= 2 * context  # what sits out


def test_edges_and_order_change_from_epoch_to_epoch_and_with_the_seed():
    batches = Batches(np.arange(5000), context=64, batch=1)
    epochs = [batches.starts(epoch * batches.windows, batches.windows) for epoch in range(8)]
    assert len({int(starts.min()) for starts in epochs}) >= 6  # of 64 offsets
    assert not np.array_equal(epochs[0] // 64, epochs[1] // 64)
    other = Batches(np.arange(5000), context=64, batch=1, seed=1)
    assert not np.array_equal(other.starts(0, 70), batches.starts(0, 70))


def test_first_batch_is_pinned_for_all_time():
    batches = Batches(np.zeros(100_000, dtype=np.uint16), context=128, batch=8, seed=0)
    assert batches.starts(0, 8).tolist() == [25643, 24875, 31915, 52651, 31019, 58667, 51499, 24619]


def test_memory_mapped_tokens_give_the_same_and_int64(tmp_path: Path):
    tokens = np.random.default_rng(0).integers(0, 60_000, 3000).astype("<u2")
    tokens.tofile(tmp_path / "t.bin")
    mapped = np.memmap(tmp_path / "t.bin", dtype="<u2", mode="r")
    there = Batches(mapped, context=32, batch=8).at(5)
    assert there.dtype == np.int64
    assert np.array_equal(there, Batches(tokens, context=32, batch=8).at(5))


def test_epochs_seen():
    batches = Batches(np.arange(1001), context=10, batch=5, shift=False)
    assert [batches.epochs(step) for step in (0, 10, 20, 30)] == [0.0, 0.5, 1.0, 1.5]


def test_more_rows_than_windows_run_over_several_epochs():
    batches = Batches(np.arange(31), context=10, batch=9, shift=False)
    assert sorted(batches.at(0)[:, 0].tolist()) == [0, 0, 0, 10, 10, 10, 20, 20, 20]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokens": np.arange(50)}, "training text has 50 tokens but context 32 needs at least 64"),
        ({"tokens": np.arange(32), "shift": False}, "needs at least 33"),
        ({"context": 0}, "context is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"tokens": np.zeros(100)}, "float64"),
        ({"tokens": np.zeros((10, 10), dtype=int)}, r"\(10, 10\)"),
    ],
)
def test_what_cannot_be_cut_is_refused(change: dict, words: str):
    with pytest.raises(InputError, match=words):
        Batches(**({"tokens": np.arange(1000), "context": 32, "batch": 4} | change))


@pytest.mark.parametrize(
    ("step", "rank", "world", "words"),
    [(-1, 0, 1, "step -1"), (0, 2, 2, "rank 2"), (0, 0, 3, "multiple of 3"), (0, 0, 0, "world 0")],
)
def test_bad_places_are_refused(step: int, rank: int, world: int, words: str):
    with pytest.raises(InputError, match=words):
        Batches(np.arange(1000), context=32, batch=4).at(step, rank=rank, world=world)


def test_all_validation_windows_in_order():
    batches = validation_batches(np.arange(101), context=10, batch=4)
    assert [len(rows) for rows in batches] == [4, 4, 2]
    rows = np.concatenate(batches)
    assert rows.dtype == np.int64
    assert np.array_equal(rows[:, 1:].reshape(-1), np.arange(1, 101))


@given(windows=st.integers(1, 300), count=st.integers(1, 400))
def test_chosen_validation_windows_are_spread_evenly(windows: int, count: int):
    rows = np.concatenate(validation_batches(np.arange(windows * 7 + 1), context=7, batch=16, count=count))
    chosen = rows[:, 0] // 7
    assert len(chosen) == min(windows, count)
    assert (rows[:, 0] % 7 == 0).all()
    gaps = np.diff(np.concatenate([[-1], chosen, [windows]]))
    assert (gaps[1:-1] >= 1).all()
    assert gaps[1:-1].max(initial=1) - gaps[1:-1].min(initial=windows) <= 1
    assert abs((gaps[0] - 1) - (gaps[-1] - 1)) <= 1  # as much is left out before as behind


def test_validation_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match="validation text has 7 tokens but context 7 needs at least 8"):
        validation_batches(np.arange(7), context=7, batch=1)
    with pytest.raises(InputError, match="count is 0"):
        validation_batches(np.arange(100), context=7, batch=1, count=0)
