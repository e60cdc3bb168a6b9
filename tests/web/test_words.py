from __future__ import annotations

import math

import pytest

from thalweg.web.words import compared, duration, fixed, give_or_take, headline, joined, moment, percent, significant

NONE = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (fixed(-1.23456), "\N{MINUS SIGN}1.2346"),
        (fixed(None), NONE),
        (fixed(math.inf), NONE),
        (percent(0.00123), "+0.12\N{NO-BREAK SPACE}%"),
        (percent(math.nan), NONE),
        (give_or_take(1.0, None), "1.0000"),
        (significant(0.0032), "0.0032"),
        (significant(123456.7), "123,457"),
        (significant(12), "12"),
        (significant("5.1 x"), "5.1 x"),
        (significant(None), NONE),
        (significant(True), "True"),
        (duration(99.94), "99.9 s"),
        (duration(119.6), "2 min 00 s"),
        (duration(3725), "1 h 02 min"),
        (duration(None), NONE),
        (moment("2026-11-22T07:54:10-0330"), "22 November 2026, 07:54:10 UTC-03:30"),
        (moment("yesterday"), "yesterday"),
        (joined(["a"]), "a"),
        (joined(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_how_things_are_said(said, expected):
    assert said == expected


def test_a_forecast_without_measurement_says_so():
    assert headline({"wsd": {"error": math.nan}}) == "One training run predicted but not measured before it started"
    assert compared({"wsd": {"error": 0.1}}) == ""
