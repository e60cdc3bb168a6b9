"""The average against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.web.site.runs.smoothing import smoothed


def defined(steps: np.ndarray, values: np.ndarray, span: float) -> np.ndarray:
    found = []
    for k in range(len(steps)):
        past = np.flatnonzero(np.isfinite(values[: k + 1]))
        weights = np.exp((steps[past] - steps[k]) / span)
        shown = weights.sum() > 0
        found.append((weights * values[past]).sum() / weights.sum() if shown else np.nan)
    return np.array(found)


@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    values=st.lists(st.one_of(st.floats(-10, 10), st.just(np.nan), st.just(np.inf)), min_size=60, max_size=60),
    span=st.floats(0.3, 500),
)
def test_is_the_weighted_mean_of_its_definition(gaps, values, span):
    steps = np.cumsum(np.array(gaps, float))
    y = np.array(values[: len(steps)])
    wanted = defined(steps, y, span)
    found = smoothed(steps, y, span)
    shown = np.isfinite(wanted)
    # sums of up to 60 numbers of size <= 10 in another order
    np.testing.assert_allclose(found[shown], wanted[shown], rtol=1e-10, atol=1e-11)


def test_long_curves_go_on_over_blocks():
    steps = np.arange(20_000.0)
    values = np.sin(steps / 500) + 3
    found = smoothed(steps, values, 10.0)
    state = weight = 0.0
    decay = np.exp(-0.1)
    for k in range(len(steps)):  # the recursion
        state, weight = decay * state + values[k], decay * weight + 1
        if k % 997 == 0 or k > 19_990:
            assert found[k] == pytest.approx(state / weight, rel=1e-12)


def test_constants_stay_and_the_largest_floats_do_not_overflow():
    steps = np.arange(5.0)
    np.testing.assert_allclose(smoothed(steps, np.full(5, 7.5), 3.0), 7.5, rtol=1e-14)
    assert np.isfinite(smoothed(steps, np.full(5, 1.7e308), 1e9)).all()
    assert len(smoothed(np.empty(0), np.empty(0), 3.0)) == 0
    assert np.isnan(smoothed(steps, np.full(5, np.nan), 3.0)).all()
    far = smoothed(np.array([0.0, 1e9]), np.array([5.0, np.nan]), 1.0)
    assert far[0] == 5.0
