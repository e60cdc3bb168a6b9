"""A preview equals what the law says by its slower ways: curve, band, final losses, trust."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.laws import LAWS, fit
from thalweg.laws.preview import preview

from .conftest import WARMUP, shape, synthetic


@pytest.fixture(scope="module", params=sorted(LAWS))
def law(request, truth):
    return fit(synthetic(truth, ("constant", "cosine", "two-stage"), noise=1e-3), request.param, draws=40)


@pytest.mark.parametrize("kind", ["cosine", "two-stage", "wsd", "cyclic"])
def test_equals_the_slower_ways(law, kind):
    rates = shape(kind)
    seen = preview(law, rates, WARMUP)
    assert (seen.at[0], seen.at[-1]) == (WARMUP, len(rates) - 1)
    np.testing.assert_allclose(seen.losses, law.definition(rates, WARMUP, seen.at), atol=1e-6)
    low, high = law.band(rates, at=seen.at, warmup_steps=WARMUP)
    wide = (high - low).max()
    off = np.abs(np.array(seen.band) - [low, high]) / wide
    assert off.mean() < 0.01  # between the few steps of the draws
    assert off.max() < 0.25  # beside a jump of the rate
    assert (seen.band[0][-1], seen.band[1][-1]) == pytest.approx((low[-1], high[-1]), abs=1e-6)
    last = law.draw_curves(rates, WARMUP, np.array([len(rates) - 1]))[:, 0]
    np.testing.assert_allclose(seen.finals, last, atol=1e-6)
    trust = law.trust(rates, warmup_steps=WARMUP)
    assert (seen.trust.level, seen.trust.reason) == (trust.level, trust.reason)
    assert seen.trust.interval == pytest.approx(trust.interval, abs=1e-6)
    assert seen.final_loss == pytest.approx(law.definition(rates, WARMUP, np.array([len(rates) - 1]))[0], abs=1e-6)


def test_a_law_by_hand_has_a_curve_only(truth):
    seen = preview(truth, shape("wsd"), WARMUP)
    assert seen.band is None
    assert seen.trust is None
    assert len(seen.finals) == 0
    assert seen.final_loss == pytest.approx(truth.final_loss(shape("wsd"), warmup_steps=WARMUP), abs=1e-6)


def test_a_run_of_one_step_after_the_warmup(truth):
    seen = preview(truth, shape("constant", WARMUP + 1), WARMUP)
    assert seen.at.tolist() == [WARMUP]
