from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import InputError
from thalweg.stats import block_indices, bootstrap, iid_indices, percentile_interval


def ar1(n: int, rho: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    series = np.empty(n)
    series[0] = noise[0] / np.sqrt(1 - rho**2)
    for i in range(1, n):
        series[i] = rho * series[i - 1] + noise[i]
    return series


@given(n=st.integers(1, 60), block=st.integers(1, 60), seed=st.integers(0, 2**31))
def test_blocks_are_runs_of_neighbours(n: int, block: int, seed: int):
    block = min(block, n)
    (index,) = block_indices(n, block=block, repeats=1, seed=seed)
    assert index.shape == (n,)
    assert index.min() >= 0
    assert index.max() < n
    starts = index[::block]
    assert (starts <= n - block).all()
    assert (index == np.repeat(starts, block)[:n] + np.arange(n) % block).all()


def test_same_seed_same_draws_and_block_one_is_iid():
    first = list(iid_indices(50, repeats=3, seed=5))
    again = list(block_indices(50, block=1, repeats=3, seed=5))
    other = list(iid_indices(50, repeats=3, seed=6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_deviation_of_the_mean_equals_its_closed_form():
    # Given the sample, Var*(mean) = var(block means) / blocks, with population variance over all starts.
    series, block, repeats = ar1(240, 0.7, 1), 12, 20_000
    means = np.lib.stride_tricks.sliding_window_view(series, block).mean(axis=1)
    exact = np.sqrt(means.var() / (240 // block))
    drawn = bootstrap(np.mean, series, block=block, repeats=repeats, seed=2)
    # The deviation of 20,000 near-normal values has relative error 1/sqrt(2 * 20,000) = 0.5 %; four of these.
    assert drawn.std() == pytest.approx(exact, rel=0.02)
    assert drawn.mean() == pytest.approx(means.mean(), abs=4 * exact / np.sqrt(repeats))


def test_blocks_see_dependence_that_single_draws_miss():
    rho, n = 0.8, 20_000
    truth = 1 / (1 - rho) / np.sqrt(n)  # long-run deviation of an AR(1) mean with unit noise
    series = ar1(n, rho, 3)
    blocks = bootstrap(np.mean, series, block=200, repeats=800, seed=4).std()
    single = bootstrap(np.mean, series, block=1, repeats=800, seed=4).std()
    # 100 blocks know a deviation to 1/sqrt(200) = 7 %, the draws to 2.5 %; single draws are off by the factor 3.
    assert blocks == pytest.approx(truth, rel=0.25)
    assert single == pytest.approx(truth / 3, rel=0.1)


def test_interval_equals_scipy_on_the_same_draws():
    stats = pytest.importorskip("scipy.stats")
    sample = np.random.default_rng(7).lognormal(size=80)
    theirs = stats.bootstrap((sample,), np.mean, method="percentile", n_resamples=4000, rng=8, confidence_level=0.9)
    lower, upper = percentile_interval(theirs.bootstrap_distribution, level=0.9)
    assert (float(lower), float(upper)) == pytest.approx(tuple(theirs.confidence_interval), rel=1e-12)
    ours = percentile_interval(bootstrap(np.mean, sample, repeats=4000, seed=9), level=0.9)
    # Both ends carry Monte Carlo noise of about sqrt(.05 * .95 / 4000) / density = 0.03 deviations of the mean.
    assert np.abs(np.subtract(ours, theirs.confidence_interval)).max() < 0.15 * theirs.standard_error


def test_rows_are_drawn_whole_and_shapes_kept():
    sample = np.stack([np.arange(30.0), 2 * np.arange(30.0)], axis=1)
    drawn = bootstrap(lambda rows: rows.mean(axis=0), sample, repeats=50)
    assert drawn.shape == (50, 2)
    assert np.allclose(drawn[:, 1], 2 * drawn[:, 0])
    lower, upper = percentile_interval(drawn)
    assert lower.shape == upper.shape == (2,)
    assert (lower < upper).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 0, "block": 1, "repeats": 1}, "n is 0"),
        ({"n": 3, "block": 4, "repeats": 1}, "block is 4 but the sample has 3"),
        ({"n": 3, "block": 1, "repeats": 0}, "repeats is 0"),
    ],
)
def test_bad_counts_are_refused_before_the_first_draw(arguments: dict, words: str):
    with pytest.raises(InputError, match=words):
        block_indices(**arguments)


def test_bad_values_are_refused():
    with pytest.raises(InputError, match="level is 95"):
        percentile_interval(np.ones(3), level=95)
    with pytest.raises(InputError, match="not all finite"):
        percentile_interval(np.array([1.0, np.nan]))
