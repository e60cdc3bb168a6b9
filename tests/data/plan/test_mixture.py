from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thalweg.data.plan.mixture import STAGE, Mixture, Stage, counts_until, ramp
from thalweg.errors import InputError

weights = st.lists(st.floats(0.001, 1), min_size=1, max_size=12).map(lambda w: [each / sum(w) for each in w])


def mixture(*stages: Stage, block: int = 64, base: list[int] | None = None, key: int = 1) -> Mixture:
    return Mixture(stages, block, np.array(base or [0] * len(stages[0].weights)), key)


@given(weights, st.integers(1, 300), st.integers(1, 700))
def test_counts_stay_within_half_of_the_shares(shares: list[float], blocks: int, block: int):
    counts, exact = counts_until(shares, blocks, block), np.array(shares) * blocks * block
    filler = int(np.argmax(shares))
    others = np.arange(len(shares)) != filler
    assert counts.sum() == blocks * block
    assert (np.abs(counts - exact)[others] <= 0.5 + 1e-6).all()
    assert abs(counts[filler] - exact[filler]) <= 0.5 * others.sum() + 1e-6


@given(weights, st.integers(1, 40))
def test_every_block_has_its_counts_and_positions_run_on(shares: list[float], blocks: int):
    assume(max(shares) * 64 >= len(shares) - 1)
    made = mixture(Stage(tuple(shares), blocks))
    source, position = made.places(np.arange(made.windows))
    for k in range(len(shares)):
        assert position[source == k].tolist() == list(range(int((source == k).sum())))  # its own order is kept
    for b in range(blocks):
        seen = np.bincount(source[64 * b : 64 * (b + 1)], minlength=len(shares))
        assert np.array_equal(seen, counts_until(shares, b + 1, 64) - counts_until(shares, b, 64))


def test_small_weights_are_not_starved():
    """Where w·B is below 1, as in Levanter's defect: 1 window in 5120."""
    made = mixture(Stage((1 - 1 / 5120, 1 / 5120), 20), block=512)
    source, _ = made.places(np.arange(made.windows))
    assert (source == 1).sum() == 2


def test_stages_begin_where_they_should_and_positions_go_on():
    made = mixture(Stage((0.9, 0.1), 8), Stage((0.2, 0.8), 8), base=[5, 7])
    source, position = made.places(np.arange(made.windows))
    assert np.bincount(source[: 8 * 64]).tolist() == [461, 51]
    assert np.bincount(source[8 * 64 :]).tolist() == [102, 410]
    assert position[source == 1].tolist() == list(range(7, 7 + 461))
    assert made.bases[-1].tolist() == [5 + 563, 7 + 461]


def test_random_access_is_the_sequence_in_any_order():
    made, turn = mixture(Stage((0.5, 0.3, 0.2), 30)), np.random.default_rng(0).permutation(30 * 64)
    whole = np.stack(made.places(np.arange(30 * 64)))
    assert np.array_equal(np.stack(mixture(Stage((0.5, 0.3, 0.2), 30)).places(turn)), whole[:, turn])


def test_forty_random_sources_deviate_by_little():
    """The check of the specification: 51 200 windows of 40 sources; it found 3.3, the filler."""
    shares = np.random.default_rng(0).dirichlet(np.ones(40))
    made = mixture(Stage(tuple(shares.tolist()), 100), block=512)
    source, _ = made.places(np.arange(51_200))
    seen = np.cumsum(source[:, None] == np.arange(40), axis=0)[511::512]
    missed = np.abs(seen - shares * np.arange(512, 51_201, 512)[:, None])
    filler = int(np.argmax(shares))
    assert np.delete(missed, filler, axis=1).max() <= 0.5
    assert missed[:, filler].max() <= 0.5 * 39


def test_a_block_in_which_the_filler_runs_short_is_refused_with_the_size_it_needs():
    shares = [1.0 + (k == 0) * 1e-3 for k in range(40)]
    shares = [each / sum(shares) for each in shares]
    counts = np.diff([counts_until(shares, b, 16)[0] for b in range(40)])
    assert counts.min() < 0  # the formula alone would take windows back
    with pytest.raises(InputError, match=r"block = 16 is too small for 40 sources: make it at least 15\d\d"):
        mixture(Stage(tuple(shares), 4), block=16)


def test_ramps_change_in_stages_of_64_blocks_through_the_middle():
    stages = ramp([1.0, 0.0], [0.0, 1.0], 3 * STAGE)
    assert [stage.blocks for stage in stages] == [64, 64, 64]
    assert [stage.weights[1] for stage in stages] == pytest.approx([1 / 6, 0.5, 5 / 6])
    assert ramp([0.5, 0.5], [0.5, 0.5], 7) == [Stage((0.5, 0.5), 7)]
