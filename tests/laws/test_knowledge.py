"""Thresholds of knowledge: the law, the advice it gives, and the popularity threshold by hand."""

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import ThresholdLaw, compact_gain, matched_share, threshold_popularity

SIZES = np.array([14e6, 70e6, 160e6, 410e6])


def test_a_law_is_recovered_with_its_error():
    law = ThresholdLaw.fit(SIZES, 3.0 * SIZES**-1.152)
    assert (law.scale, law.slope) == pytest.approx((3.0, 1.152))
    assert law.slope_error == pytest.approx(0, abs=1e-9)
    pulls = []
    for seed in range(100):
        noisy = ThresholdLaw.fit(SIZES, SIZES**-1.2 * np.exp(0.1 * np.random.default_rng(seed).normal(size=4)))
        pulls.append((noisy.slope - 1.2) / noisy.slope_error)
    assert np.median(np.abs(pulls)) == pytest.approx(0.82, abs=0.3)  # Student's t with 2 degrees of freedom


def test_one_point_and_the_text_exponent_are_enough():
    law = ThresholdLaw.fit([70e6], [1e-6], exponent=0.283)
    assert law.threshold(140e6) == pytest.approx(1e-6 * 2**-1.283)


def test_advice_lifts_the_facts_over_the_threshold():
    law = ThresholdLaw.fit(SIZES, SIZES**-1.2)
    low = law.advise(70e6, facts=1e8, ratio=0.01)
    assert not low.learned
    assert low.keep * 1e8 * low.threshold == pytest.approx(0.01)
    assert law.advise(70e6, facts=low.keep * 0.999 * 1e8, ratio=0.01).learned
    assert law.advise(70e6, facts=1e8, ratio=low.least_ratio * 1.001).learned
    assert low.frequency * compact_gain(low.compact, 12.0) == pytest.approx(low.threshold)
    assert law.advise(70e6, facts=1e8, ratio=0.9).keep == 1
    assert law.advise(70e6, facts=1e12, ratio=0.5).least_ratio == np.inf
    assert law.advise(70e6, facts=1e12, ratio=0.5).compact == np.inf
    assert law.advise(7e9, facts=1, ratio=0.5).clipped


@pytest.mark.parametrize(("share", "gain"), [(0.1, 2), (0.3, 3.54), (0.6, 5.1)])
def test_compact_tuples(share, gain):
    assert compact_gain(share, 12) == pytest.approx(gain, abs=0.03)


def test_matched_repetition():
    assert matched_share(1e9, 1e10) == 0.1
    with pytest.raises(InputError, match="proxy_tokens"):
        matched_share(2, 1)


def test_popularity_by_hand():
    popularity = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    #          running accuracy: 1 1 1 .75 .8 .67 .57 .5 .44 .4
    correct = [1, 1, 1, 0, 1, 0, 0, 0, 0, 0]
    assert threshold_popularity(popularity, correct, failures=1) == 5
    assert threshold_popularity(popularity, correct, failures=4) == 5
    assert threshold_popularity(popularity, correct) == 1  # four failures: it never comes to the fifth
    assert threshold_popularity(popularity, np.ones(10)) == 1
    assert threshold_popularity(popularity, np.zeros(10)) == np.inf
    # failures are counted, not reset: one at 10, good again at 8, the second at 4
    assert threshold_popularity([10, 9, 8, 7, 6, 5, 4], [0, 1, 1, 1, 0, 0, 0], failures=3, target=0.6) == 5 + 1


def test_ties_are_taken_together():
    assert threshold_popularity([2, 2, 2, 1], [0, 1, 1, 0], target=0.6, failures=1) == 2


def test_round_trip_and_bad_input(tmp_path):
    law = ThresholdLaw.fit(SIZES, SIZES**-1.2)
    law.save(tmp_path / "law.json")
    assert ThresholdLaw.load(tmp_path / "law.json") == law
    (tmp_path / "other.json").write_text("{}")
    for path, word in ((tmp_path / "other.json", "no threshold law"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(InputError, match=word):
            ThresholdLaw.load(path)
    for sizes, thresholds, word in (([1], [1], "determine"), ([1, 2], [1, 2], "rise"), ([1, 2], [1, -1], "finite")):
        with pytest.raises(InputError, match=word):
            ThresholdLaw.fit(sizes, thresholds)
    with pytest.raises(InputError, match="ratio"):
        law.advise(1e6, facts=1, ratio=1.5)
    with pytest.raises(InputError, match="size"):
        law.threshold(0)
    with pytest.raises(InputError, match="correct"):
        threshold_popularity([1, 2], [1, 3])
    with pytest.raises(InputError, match="failures"):
        threshold_popularity([1, 2], [1, 1], failures=0)


def algorithm_1(popularity, correct, target, failures):
    """By its words, popularity after popularity."""
    failed, good = 0, np.inf
    for value in sorted(set(popularity), reverse=True):
        if np.mean([y for x, y in zip(popularity, correct, strict=True) if x >= value]) >= target:
            good = value
        else:
            failed += 1
            if failed == failures:
                return good
    return min(popularity) if np.isfinite(good) else np.inf


@pytest.mark.parametrize("seed", range(50))
def test_popularity_by_definition(seed):
    rng = np.random.default_rng(seed)
    popularity = rng.integers(0, 12, rng.integers(1, 30))
    correct = (rng.random(len(popularity)) < popularity / 12).astype(float)
    target, failures = rng.uniform(0.1, 0.9), int(rng.integers(1, 7))
    found = threshold_popularity(popularity, correct, target=target, failures=failures)
    assert found == algorithm_1(list(popularity), list(correct), target, failures)


def test_the_fit_is_scipys_regression():
    from scipy.stats import linregress

    rng = np.random.default_rng(0)
    thresholds = SIZES**-1.2 * np.exp(0.3 * rng.normal(size=4))
    line, law = linregress(np.log(SIZES), np.log(thresholds)), ThresholdLaw.fit(SIZES, thresholds)
    assert (-law.slope, law.slope_error, np.log(law.scale)) == pytest.approx((line.slope, line.stderr, line.intercept))
