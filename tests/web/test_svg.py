from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.web.svg import Panel, ends, text, tick_labels, ticks


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-6, 1e6), count=st.integers(2, 9))
def test_ticks_are_round_even_inside_and_few(low, span, count):
    high = low + span
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return
    found = ticks(low, high, count)
    assert len(found) <= count / 0.7 + 1 + 1e-6
    slack = 1e-6 * (high - low)
    assert all(low - slack <= value <= high + slack for value in found)
    for before, after in pairwise(found):
        leading = f"{after - before:.0e}"[0]
        assert leading in "125"
    assert len(found) >= count / 1.75 - 1 - 1e-6  # from 0.7 of the wanted step up to the next, at most 2.5 times as far


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 0.5, 1.0], ["0.0", "0.5", "1.0"]),
        ([1000.0, 2000.0], ["1,000", "2,000"]),
        ([-0.02, 0.0], ["\N{MINUS SIGN}0.02", "0.00"]),
    ],
)
def test_tick_labels_have_the_decimals_of_their_step(values, labels):
    assert tick_labels(values) == labels


@given(st.lists(st.floats(-50, 250), min_size=1, max_size=6))
def test_labels_keep_their_distance_and_stay_in_the_frame(wanted):
    placed = ends(wanted, 16, 8, 200)
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    assert all(placed[b] - placed[a] >= 16 - 1e-9 for a, b in pairwise(order))
    assert max(placed) <= 200 + 1e-9
    assert min(placed) >= 8 - 1e-9


def test_labels_with_room_stay_where_they_are_wanted():
    assert ends([150.0, 20.0, 90.0], 16, 8, 200) == [150.0, 20.0, 90.0]


def test_a_panel_maps_its_corners_and_skips_what_is_not_finite():
    axes = Panel(10, 20, 100, 50, (0, 10), (1, 2))
    axes.line([0, float("nan"), 10], [1, 1.5, 2], "k0")
    axes.dots([5], [1.5], "k1")
    axes.band([0, 10], [1, 1], [1.5, 2], "k2")
    drawn = axes.draw()
    assert 'd="M0 50L100 0"' in drawn
    assert 'd="M50 25h0"' in drawn
    assert 'd="M0 50L100 50L100 0L0 25Z"' in drawn
    assert drawn.startswith('<svg x="10" y="20" width="100" height="50">')


def test_text_is_escaped():
    assert text(1, 2, "<b>&", "note") == '<text x="1" y="2" class="note" text-anchor="start">&lt;b&gt;&amp;</text>'
