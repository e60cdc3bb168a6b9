from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import LossCurve, fit

from .conftest import WARMUP, shape, synthetic


@pytest.fixture(scope="module")
def law(truth):
    return fit(synthetic(truth, ("constant", "cosine", "two-stage"), noise=5e-4), draws=40)


def test_within_what_was_seen(law):
    report = law.trust(shape("cosine"), warmup_steps=WARMUP)
    assert report.level == "high"
    assert report.interval[0] < report.final_loss < report.interval[1]
    assert set(report.finals) == {"multi-power", "momentum", "one-power"}


@pytest.mark.parametrize(
    ("rates", "level", "says"),
    [
        (shape("constant", 9000), "medium", "rate sum is 2."),
        (shape("constant", 40000), "low", "rate sum is 10."),
        (shape("linear-to-0"), "low", "below the least fitted one"),
        (shape("constant", peak=6e-4), "low", "peak differs"),
        (shape("cyclic"), "low", "falls 2.7 times as far"),
    ],
)
def test_beyond_it(law, rates, level, says):
    report = law.trust(rates, warmup_steps=WARMUP)
    assert report.level == level
    assert says in report.reason


def test_longer_is_never_more_certain(law):
    widths = []
    for steps in (4000, 12000, 40000):
        low, high = law.trust(shape("constant", steps)).interval
        widths.append(high - low)
    assert widths[0] < widths[1] < widths[2]


def test_a_law_without_record_says_so(truth):
    with pytest.raises(InputError, match="no record of a fit"):
        truth.trust(shape("cosine"))
    with pytest.raises(InputError, match="no bootstrap draws"):
        truth.band(shape("cosine"))


def test_the_backtest_is_small_on_exact_data_and_says_so_where_the_law_does_not_hold(truth):
    exact = fit(synthetic(truth, ("constant", "cosine", "two-stage")), draws=0)
    assert exact.record.backtest < 5e-3
    rates = shape("constant")
    steps = np.arange(WARMUP, len(rates), 20)
    knee = 2.5 + 0.6 * np.exp(-np.maximum(steps - 2600, 0) / 400)  # nothing happens, then the loss falls off a cliff
    odd = fit([LossCurve("odd", rates, steps, knee, WARMUP)], draws=0)
    assert odd.record.backtest > 0.05
    trust = odd.trust(rates)
    assert trust.level == "low"
    assert "first 60 %" in trust.reason
    assert fit([LossCurve("odd", rates, steps, knee, WARMUP)], draws=0, rivals=False).record.backtest is None


def test_a_loss_that_still_falls_fast_is_not_trusted(truth):
    rates = shape("constant", 1200)
    steps = np.arange(WARMUP, 1200, 10)
    young = LossCurve("young", rates, steps, 1.0 + 400.0 / (steps + 50.0), WARMUP)
    law = fit([young], draws=0)
    middle = np.mean(young.losses[(steps >= 0.45 * 1190) & (steps <= 0.55 * 1190)])
    end = np.mean(young.losses[steps >= 0.9 * 1190])
    assert law.record.seen.falling == pytest.approx(middle / end - 1, rel=1e-12)
    assert "still falls" not in law.trust(rates).reason
    longer = law.trust(shape("constant", 6000))
    assert longer.level == "low"
    assert "still falls" in longer.reason
