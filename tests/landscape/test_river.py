"""Hill and river parts, against the toy valley whose parts are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.landscape import averaging_gap, hill_river
from thalweg.schedules import parse
from thalweg.tasks import RiverValley


def test_parts_and_errors_are_their_definitions() -> None:
    generator = np.random.default_rng(0)
    stable = generator.normal(3, 1, (4, 30))
    decayed = stable - generator.normal(0.5, 0.1, (4, 30))
    parts = hill_river([10, 20, 30, 45], stable, decayed)
    np.testing.assert_allclose(parts.hill + parts.river, parts.loss, rtol=1e-13)
    for row in range(4):
        gaps = [float(a - b) for a, b in zip(stable[row], decayed[row], strict=True)]
        mean = sum(gaps) / 30
        spread = sum((gap - mean) ** 2 for gap in gaps) / 29
        assert parts.hill[row] == pytest.approx(mean, rel=1e-12)
        assert parts.hill_error[row] == pytest.approx((spread / 30) ** 0.5, rel=1e-12)
    # pairing takes out the spread between windows, ten times that of the gaps
    assert (parts.hill_error < 0.3 * parts.loss_error).all()
    assert (parts.river_error > 3 * parts.hill_error).all()


def test_slide_is_what_the_stable_loss_hides() -> None:
    rng = np.random.default_rng(1)
    windows = rng.normal(0, 1, 40)
    hills = rng.normal([[0.1], [0.3]], 0.02, (2, 40))
    river = np.stack([windows + 2.0, windows + 1.5])
    slide = hill_river([1, 2], river + hills, river).slide()
    falls = (river[0] - river[1]) - ((river + hills)[0] - (river + hills)[1])
    assert slide.effect == pytest.approx(falls.mean(), rel=1e-10)
    assert slide.error == pytest.approx(falls.std(ddof=1) / np.sqrt(40), rel=1e-10)
    assert slide.runs == 40


def test_decay_probe_recovers_the_exact_parts_of_the_valley() -> None:
    """Each replica is a window: the probe's hill is the exact one but for the river's progress in the decay."""
    valley = RiverValley(bend=0.0)
    steps = [200, 400, 800]
    points = valley.descend(parse("constant:peak=0.1").rates(800), replicas=1500, seed=3, at=steps)
    fall = parse("wsd:peak=0.1,decay=40,shape=inverse,floor=0.01").rates(40)
    after = np.stack([valley.descend(fall, seed=4, start=each)[0] for each in points])
    parts = hill_river(steps, valley.loss(points), valley.loss(after))
    exact = valley.hill(points).mean(axis=1)
    moved = (valley.river(points) - valley.river(after)).mean(axis=1)
    left = valley.hill(after).mean(axis=1)
    np.testing.assert_allclose(parts.hill, exact + moved - left, rtol=1e-10)
    # in the straight valley the hill is stationary, 0.5 eta sigma^2 / (2 - eta k) = 0.45: three standard errors
    assert (abs(exact - 0.45) < 3 * valley.hill(points).std(axis=1) / np.sqrt(1500)).all()
    assert (np.diff(parts.river) < 0).all()
    assert (left < 0.1 * exact).all()


def test_averaging_probe_in_a_quadratic_reaches_the_floor() -> None:
    """The mean of m independent stationary iterates has 1 / m of the hill; the gap to a decay to the floor is that."""
    rng = np.random.default_rng(5)
    iterates = rng.normal(0, 1, (8, 4000))
    averaged, decayed = 0.5 * iterates.mean(axis=0) ** 2, np.zeros(4000)
    gap = averaging_gap(averaged, decayed)
    assert abs(gap.effect - 0.5 / 8) < 4 * gap.error
    assert gap.error == pytest.approx(0.5 / 8 * np.sqrt(2 / 4000), rel=0.1)  # a chi-squared has variance 2


def test_bad_input_is_refused() -> None:
    good = np.ones((2, 5))
    with pytest.raises(InputError, match=r"3 steps, stable losses \(2, 5\)"):
        hill_river([1, 2, 3], good, good)
    with pytest.raises(InputError, match="do not fit"):
        hill_river([1, 2], good, good[:, :4])
    with pytest.raises(InputError, match="at least two windows"):
        hill_river([1, 2], good[:, :1], good[:, :1])
    with pytest.raises(InputError, match="increase"):
        hill_river([2, 2], good, good)
    with pytest.raises(InputError, match="diverged"):
        hill_river([1, 2], good * np.nan, good)
    with pytest.raises(InputError, match="equally many"):
        averaging_gap(np.ones(3), np.ones(4))
