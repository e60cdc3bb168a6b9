"""Down-sampling is exact: of every column of pixels first, lowest, highest and last survive."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from thalweg.web.site.runs.axes import Axis, axis_of
from thalweg.web.site.runs.chart import Line, line_path
from thalweg.web.site.runs.thinning import thin

VALUES = st.one_of(st.floats(width=32), st.floats(-5, 5), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]))


@st.composite
def curves(draw):
    gaps = draw(st.lists(st.integers(0, 5), min_size=1, max_size=300))
    at = np.cumsum(np.asarray(gaps, np.float64))
    values = draw(arrays.arrays(np.float64, len(at), elements=VALUES))
    low = draw(st.floats(0, at[-1]))
    return at, values, low, low + draw(st.floats(0.5, at[-1] + 1))


def column_of(at: np.ndarray, low: float, high: float, columns: int) -> np.ndarray:
    """The column of each point by the definition; -1 outside."""
    edges = np.linspace(low, high, columns + 1)
    found = np.full(len(at), -1)
    for k in range(columns):
        inside = (at >= edges[k]) & (at <= edges[k + 1] if k == columns - 1 else at < edges[k + 1])
        found[inside] = k
    return found


@settings(max_examples=300, deadline=None)
@given(curve=curves(), columns=st.integers(1, 12))
@example(curve=(np.arange(100.0), np.r_[np.zeros(50), 9.0, np.zeros(49)], 0.0, 99.0), columns=3)
@example(curve=(np.arange(30.0), np.full(30, np.nan), 0.0, 29.0), columns=2)
def test_of_every_column_first_lowest_highest_and_last_are_kept(curve, columns):
    at, values, low, high = curve
    kept = thin(at, values, low, high, columns)
    assert (np.diff(kept.index) > 0).all()
    assert np.isfinite(values[kept.index]).all()
    where = column_of(at, low, high, columns)
    for k in range(columns):
        inside = values[(where == k) & np.isfinite(values)]
        drawn = values[[i for i in kept.index if where[i] == k]]
        if len(inside):
            assert (drawn[0], drawn.min(), drawn.max(), drawn[-1]) == (
                inside[0], inside.min(), inside.max(), inside[-1],
            )  # fmt: skip
        else:
            assert not len(drawn)
        kinds = {"nan" if v != v else "inf" if v > 0 else "-inf" for v in values[where == k] if not math.isfinite(v)}
        assert {kind for column, kind in kept.marks if column == k} == kinds
    assert len(kept.index) <= 4 * columns + 2


@settings(max_examples=200, deadline=None)
@given(curve=curves(), columns=st.integers(1, 6))
def test_the_line_breaks_exactly_where_a_value_between_is_not_finite(curve, columns):
    at, values, low, high = curve
    kept = thin(at, values, low, high, columns)
    for left, right, broken in zip(kept.index[:-1], kept.index[1:], kept.breaks[1:], strict=True):
        assert broken == (not np.isfinite(values[left : right + 1]).all())


@settings(max_examples=150, deadline=None)
@given(curve=curves(), log=st.booleans())
def test_what_is_drawn_spans_what_the_data_span_in_every_column_of_pixels(curve, log):
    at, values, low, high = curve
    width, height = 40.0, 100.0
    x, y = Axis(low, high), axis_of([values], log=log, pad=0.05)
    path, _ = line_path(Line("", "", at, values), values, x, y, width, height)
    assert "nan" not in path
    points = np.array([[float(a), float(b)] for a, b in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]).reshape(-1, 2)
    shares = np.clip((1 - y.share(values)) * height, -4000, 4000 + height)
    where = column_of(at, low, high, int(width))
    shown = np.isfinite(values) & (values > 0 if log else True)
    for k in set(where[shown & (where >= 0)].tolist()):
        wanted = shares[(where == k) & shown]
        near = points[(points[:, 0] >= k - 0.06) & (points[:, 0] <= k + 1.06), 1]
        assert np.abs(near - wanted.min()).min() <= 0.051
        assert np.abs(near - wanted.max()).min() <= 0.051


def test_a_single_spike_in_a_million_points_is_drawn():
    values = np.random.default_rng(0).standard_normal(10**6)
    values[123_456] = 1e6
    values[654_321] = np.nan
    at = np.arange(10.0**6)
    kept = thin(at, values, 0.0, at[-1], 760)
    assert 123_456 in kept.index
    assert kept.marks == ((int(654_321 / at[-1] * 760), "nan"),)
    assert len(kept.index) <= 4 * 760


@pytest.mark.parametrize("log", [False, True])
@settings(max_examples=150, deadline=None)
@given(values=arrays.arrays(np.float64, st.integers(0, 20), elements=st.floats()))
def test_every_axis_is_a_range_that_holds_its_values(log, values):
    axis = axis_of([values], log=log, pad=0.05)
    shown = values[np.isfinite(values) & (np.abs(values) <= 1e300) & (values >= (1e-300 if log else -math.inf))]
    assert axis.low < axis.high
    assert math.isfinite(axis.high - axis.low)
    assert ((shown >= axis.low) & (shown <= axis.high)).all()
    labels = axis.numbers(6)
    assert all(axis.low - 1e-9 * abs(axis.low) <= value <= axis.high + 1e-9 * abs(axis.high) for value, _ in labels)
    assert len({label for _, label in labels}) == len(labels) <= 40


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (Axis(0, 1500), ["0", "500", "1,000", "1,500"]),
        (Axis(0, 4e9), ["0B", "1B", "2B", "3B", "4B"]),
        (Axis(-1, 1), ["\N{MINUS SIGN}1.0", "\N{MINUS SIGN}0.5", "0.0", "0.5", "1.0"]),
        (Axis(1e-6, 1e-2, log=True), ["10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001", "0.01"]),
        (Axis(0.9, 60, log=True), ["1", "2", "5", "10", "20", "50"]),
        (Axis(1e-5, 3e-5), ["10⁻⁵", "1.5·10⁻⁵", "2·10⁻⁵", "2.5·10⁻⁵", "3·10⁻⁵"]),
    ],
)
def test_numbers_are_round_and_short(axis, labels):
    found = [label for _, label in axis.numbers(4)]
    assert found == [label if label != "0B" else "0" for label in labels]
