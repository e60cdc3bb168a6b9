"""A decay of bounded length: against every simpler schedule, and against bumps of every place of its rates."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import design

from .conftest import WARMUP

STEPS, PEAK, FLOOR = 2000, 3e-4, 3e-5


def bounded(law, decay: float, **other):
    return design(law, steps=STEPS, peak=PEAK, warmup=WARMUP, floor=FLOOR, decay=decay, **other)


@pytest.mark.parametrize(("decay", "start"), [(0.2, 1600), (300, 1700), (0.05, 1900), (2, 1998)])
@pytest.mark.parametrize("monotone", [True, False])
def test_the_rate_holds_until_the_decay(truth, decay, start, monotone):
    rates = bounded(truth, decay, monotone=monotone).rates
    assert np.all(rates[WARMUP : start + 1] == rates[WARMUP])
    assert rates[WARMUP] <= PEAK * (1 + 1e-12)
    assert rates[WARMUP:].min() >= FLOOR
    assert np.all(np.diff(rates[WARMUP:]) <= 0) or not monotone
    assert rates[-1] < rates[WARMUP]


def test_a_decay_as_long_as_the_run_binds_nothing(truth):
    free = design(truth, steps=STEPS, peak=PEAK, warmup=WARMUP, floor=FLOOR)
    for decay in (1.0, 0.9, 1800):
        assert bounded(truth, decay).final_loss == pytest.approx(free.final_loss, abs=1e-9)


def test_a_shorter_decay_never_gains(truth):
    losses = [bounded(truth, decay).final_loss for decay in (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)]
    assert np.all(np.diff(losses) < 2e-5)  # a shorter decay has its knots closer together


@pytest.mark.parametrize("decay", [0.1, 0.3])
def test_none_of_a_grid_of_levels_and_decays_is_better(truth, decay):
    best = bounded(truth, decay).final_loss
    step = np.arange(STEPS)
    found = []
    for level, share, power in product((0.7, 0.85, 0.95, 1.0), (0.3, 0.7, 1.0), (0.7, 1.0, 1.4, 2.0, 3.0)):
        x = np.clip((step - STEPS * (1 - decay * share)) / (STEPS * decay * share), 0, 1)
        body = FLOOR + (level * PEAK - FLOOR) * (1 - x) ** power
        rates = np.where(step < WARMUP, body[WARMUP] * (step + 1) / WARMUP, body)
        found.append(truth.final_loss(rates, warmup_steps=WARMUP))
    assert best < min(found)
    assert best > min(found) - 2e-3  # the grid comes near: the bound is not left


@pytest.mark.parametrize("monotone", [True, False])
def test_no_bump_of_the_rates_gains(truth, monotone):
    """Hats of three widths at twenty places of the decay, up and down, and another level, within the constraints."""
    best = bounded(truth, 0.2, monotone=monotone)
    start, step = 1600, np.arange(STEPS)
    for place, width, size in product(np.linspace(start, STEPS - 1, 20), (10, 40, 160), (-0.05, -0.01, 0.01, 0.05)):
        hat = np.maximum(0.0, 1 - np.abs(step - place) / width) * (step > start)
        body = np.where(step > start, np.clip(best.rates * (1 + size * hat), FLOOR, PEAK), best.rates)
        body[WARMUP : start + 1] = best.rates[WARMUP]
        if monotone:
            body[WARMUP:] = np.minimum.accumulate(body[WARMUP:])
        assert truth.final_loss(body, warmup_steps=WARMUP) > best.final_loss - 2e-5
    for level in (0.9, 0.98):
        body = np.minimum(best.rates, level * best.rates[WARMUP])
        body[:WARMUP] *= level
        assert truth.final_loss(body, warmup_steps=WARMUP) > best.final_loss


def test_a_level_below_the_peak_is_found():
    """Where high rates only cost (a law of large B and slow progress), the stable level itself comes down."""
    from thalweg.laws import MomentumLaw

    params = {"L0": 2.5, "A": 0.02, "alpha": 0.1, "C": 40.0, "lambda": 0.9, "warmup_share": 1.0, "rate_power": 1.0}
    law = MomentumLaw(params=params)
    found = bounded(law, 0.1)
    levels = np.linspace(0.3, 1, 71)
    rates = [np.concatenate([found.rates[:WARMUP] * 0 + 1e-4, found.rates[WARMUP:] * level]) for level in levels]
    assert found.final_loss <= min(law.final_loss(np.maximum(r, FLOOR), warmup_steps=WARMUP) for r in rates) + 2e-5


@pytest.mark.parametrize("decay", [0.0, -0.1, 1.5, float("nan"), 1e-4])
def test_bad_lengths(truth, decay):
    with pytest.raises(InputError, match="decay is"):
        bounded(truth, decay)
