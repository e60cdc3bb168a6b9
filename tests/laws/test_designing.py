from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import LAWS, MultiPower, design

from .conftest import TRUTH, WARMUP, shape

# parameters listed in the official repository's config.py, and the final loss its optimiser reaches in 10,000 steps;
# its objective leaves the warmup's terms out, which is the paper's form
OFFICIAL = {
    "25M": ((3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257), 3.14968, 3.2072),
    "100M": ((2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644), 2.79414, 2.8598),
}


@pytest.mark.parametrize("size", OFFICIAL)
def test_reaches_the_official_optimum(size):
    values, optimum, cosine = OFFICIAL[size]
    law = MultiPower(params=dict(zip(MultiPower.names[:7], values, strict=True)))
    found = design(law, steps=24000, peak=3e-4, warmup=2160)
    assert found.final_loss < optimum + 1e-4
    assert found.final_loss < cosine - 0.05
    rates = found.rates[2160:]
    assert np.all(np.diff(rates) <= 0)
    assert rates[0] == pytest.approx(3e-4, rel=0.02)
    assert np.mean(rates > 0.9 * 3e-4) > 0.5  # the peak for most of the run: WSD-like


@pytest.mark.parametrize(
    ("name", "form"), [("multi-power", "paper"), ("multi-power", "code"), ("momentum", "paper"), ("one-power", "paper")]
)
def test_gradient_by_finite_differences(name, form, truth):
    momentum = {"L0": 2.5, "A": 0.6, "alpha": 0.45, "C": 0.8, "lambda": 0.99, "warmup_share": 0.8, "rate_power": 0.7}
    one = {"L0": 2.5, "A": 0.6, "alpha": 0.45, "B": 400.0, "warmup_share": 0.8}
    params = {
        "multi-power": dict(truth.params) | {"warmup_share": 0.8, "rate_power": 0.7},
        "momentum": momentum,
        "one-power": one,
    }[name]
    law = LAWS[name](params=params, warmup=form)
    rates = shape("linear-to-0", 600)
    loss, slope = law.final_slope(rates, WARMUP)
    last = np.array([599])
    assert loss == pytest.approx(law.definition(rates, WARMUP, last)[0], abs=1e-9)
    for j in (10, WARMUP - 1, WARMUP, 400, 598, 599):
        step = 1e-4 * rates[j] * np.eye(600)[j]
        ends = [law.definition(rates + sign * step, WARMUP, last)[0] for sign in (1, -1)]
        if name == "one-power" and j in (WARMUP - 1, WARMUP):
            continue  # two steps share the peak: its maximum has no two-sided derivative
        assert slope[j] == pytest.approx((ends[0] - ends[1]) / (2 * step[j]), rel=1e-4, abs=1e-5)


def test_floor_peak_and_freedom(truth):
    held = design(truth, steps=2000, peak=3e-4, warmup=WARMUP, floor=3e-5)
    free = design(truth, steps=2000, peak=3e-4, warmup=WARMUP)
    rising = design(truth, steps=2000, peak=3e-4, warmup=WARMUP, monotone=False)
    assert 3e-5 <= held.rates[WARMUP:].min() < 4e-5
    assert free.final_loss < held.final_loss
    assert rising.final_loss < free.final_loss + 1e-5  # a larger set of schedules
    assert rising.rates.max() <= 3e-4 * (1 + 1e-12)
    for found in (held, free, rising):
        assert len(found.rates) == 2000
        assert found.final_loss == pytest.approx(truth.final_loss(found.rates, warmup_steps=WARMUP), abs=1e-12)
        np.testing.assert_array_equal(found.schedule.rates(2000), found.rates)
        assert truth.final_loss(found.schedule, 2000) == pytest.approx(found.final_loss, abs=1e-12)


def test_better_than_any_power_decay(truth):
    best = design(truth, steps=2000, peak=3e-4, warmup=WARMUP).final_loss
    for start in (0.5, 0.7, 0.8, 0.9):
        for power in (1.0, 1.3, 2.0):
            x = np.clip((np.arange(2000) / 2000 - start) / (1 - start), 0, 1)
            rates = np.where(np.arange(2000) < WARMUP, shape("constant", 2000), 3e-4 * (1 - x) ** power)
            assert best < truth.final_loss(rates, warmup_steps=WARMUP)


def test_bad_requests(truth):
    for change, says in (
        ({"peak": 0.0}, "peak is 0.0"),
        ({"floor": 1.0}, "floor is 1.0"),
        ({"floor": -1.0}, "floor is -1.0"),
        ({"warmup": 1999}, "warmup is 1999 of 2000"),
    ):
        with pytest.raises(InputError, match=says):
            design(truth, **({"steps": 2000, "peak": 3e-4, "warmup": 10} | change))
    blind = LAWS["chinchilla-steps"](params={"L0": 2.0, "A": 1.0, "alpha": 0.5})
    with pytest.raises(InputError, match="degenerate"):
        design(blind, steps=2000, peak=3e-4)


def test_freedom_to_rise_never_costs():
    law = MultiPower(params=TRUTH | {"gamma": 0.2}, warmup="code")
    falling = design(law, steps=300, peak=3e-4, warmup=20, floor=3e-5)
    free = design(law, steps=300, peak=3e-4, warmup=20, floor=3e-5, monotone=False)
    assert free.final_loss <= falling.final_loss + 1e-9
