from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.laws.drops import build_table, exact_drops

from .conftest import WARMUP, shape

PARAMS = [(2.0, 0.6, 0.64), (0.01, 1.5, 1.3), (50.0, 0.1, -0.3), (1000.0, 0.05, 0.1), (1e-3, 0.6, 1.5)]
KINDS = ["constant", "cosine", "two-stage", "wsd", "linear-to-0", "cyclic"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [1, WARMUP])
def test_table_equals_the_definition(kind, first):
    rates = shape(kind, 3000)
    table = build_table(rates, first=first)
    at = np.arange(0, 3000, 7)
    for params in PARAMS:
        # B * peak is about 0.15 nats, so 1e-6 of the peak is 1.5e-7 nats: ten times below what is promised
        assert np.abs(table.drops(*params)[at] - exact_drops(rates, params, first=first, at=at)).max() < 1e-6 * 3e-4


def test_asked_steps_equal_all_steps():
    rates = shape("cosine")
    at = np.array([0, 1, WARMUP, 777, 3999])
    few, all_steps = build_table(rates, at=at), build_table(rates)
    np.testing.assert_allclose(few.drops(2.0, 0.6, 0.64), all_steps.drops(2.0, 0.6, 0.64)[at], atol=1e-6 * 3e-4)


@pytest.mark.parametrize("kind", ["cosine", "two-stage"])
def test_slopes_by_finite_differences(kind):
    table = build_table(shape(kind, 1500), at=np.array([300, 800, 1499]))
    c, beta, gamma = 2.0, 0.6, 0.64
    value, slopes = table.drops_and_slopes(c, beta, gamma)
    np.testing.assert_allclose(value, table.drops(c, beta, gamma), rtol=1e-12)
    h = 1e-5
    by_log_c = (table.drops(c * np.exp(h), beta, gamma) - table.drops(c * np.exp(-h), beta, gamma)) / (2 * h)
    by_beta = (table.drops(c, beta + h, gamma) - table.drops(c, beta - h, gamma)) / (2 * h)
    by_gamma = (table.drops(c, beta, gamma + h) - table.drops(c, beta, gamma - h)) / (2 * h)
    # central differences of a float64 sum: 1e-10 truncation, 1e-11 rounding, relative to slopes of the peak's size
    np.testing.assert_allclose(slopes, np.stack([by_log_c, by_beta, by_gamma], axis=1), rtol=1e-6, atol=1e-12)


def test_zero_rates_are_finite():
    rates = np.concatenate([[0.0], np.linspace(0, 1e-3, 50)[1:], np.linspace(1e-3, 0, 100), np.zeros(20)])
    drops = build_table(rates).drops(2.0, 0.6, 0.64)
    np.testing.assert_allclose(drops, exact_drops(rates, (2.0, 0.6, 0.64)), atol=1e-9)


def test_memory_is_near_linear():
    small, large = (len(build_table(shape("cosine", n)).weight) for n in (8000, 64000))
    assert large < 2 * small  # eight times the steps; a (T, T) matrix would grow 64-fold


@settings(max_examples=25, deadline=None)
@given(
    levels=st.lists(st.floats(1e-8, 1.0), min_size=2, max_size=12),
    width=st.integers(1, 90),
    params=st.tuples(st.floats(1e-3, 1e3), st.floats(0.02, 3.0), st.floats(-0.5, 1.5)),
)
def test_any_schedule(levels, width, params):
    """Jumps up and down by any factor, ragged lengths, and a cosine bend between them."""
    wave = 1 + 0.3 * np.sin(np.arange(width) / max(width, 2))
    rates = np.concatenate([level * wave for level in levels])
    error = np.abs(build_table(rates).drops(*params) - exact_drops(rates, params))
    assert error.max() < 1e-6 * rates.max()
