"""Rank agreement against scipy and by hand."""

import numpy as np
import pytest
import scipy.stats

from thalweg.errors import InputError
from thalweg.stats import agreement, regret, spearman


def test_spearman_is_scipys_with_ties():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a, b = rng.integers(0, 6, 15), rng.integers(0, 6, 15)
        assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_regret_by_hand():
    proxy, target = [3, 1, 2, 4], [1.0, 1.5, 1.2, 0.9]
    assert regret(proxy, target) == pytest.approx(0.6)
    assert regret(proxy, target, 2) == pytest.approx(0.3)
    assert regret(proxy, target, 4) == 0


def test_pairs_by_hand():
    found = agreement([1, 2, 3, 3], [1, 3, 2, 2])
    # pairs with different targets: 01 yes, 02 yes, 03 yes, 12 no, 13 no; 23 has equal targets
    assert found.pairs == pytest.approx(3 / 5)
    assert agreement([1, 1, 2], [1, 2, 3]).pairs == pytest.approx(2.5 / 3)
    assert agreement([1, 2, 3], [1, 2, 3]).spearman == 1


def test_a_constant_proxy_decides_nothing():
    found = agreement([1, 1, 1, 1], [1, 2, 3, 4])
    assert np.isnan(found.spearman)
    assert np.isnan(found.low)
    assert found.pairs == 0.5


def test_against_loops_over_pairs_and_subsets():
    rng = np.random.default_rng(5)
    for _ in range(30):
        x, y = rng.integers(0, 5, 7).astype(float), rng.integers(0, 5, 7).astype(float)
        score, count = 0.0, 0
        for i in range(7):
            for j in range(i):
                if y[i] != y[j]:
                    count += 1
                    score += 0.5 if x[i] == x[j] else float((x[i] < x[j]) == (y[i] < y[j]))
        if count and len(set(x)) > 1:
            assert agreement(x, y, draws=10).pairs == pytest.approx(score / count)
        for k in range(1, 8):
            chosen = sorted(range(7), key=lambda i: (x[i], i))[:k]
            assert regret(x, y, k) == min(y[i] for i in chosen) - min(y)


def test_the_interval_covers():
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=60)
        y = 0.8 * x + 0.6 * rng.normal(size=60)
        found = agreement(x, y, draws=300)
        inside += found.low <= 6 / np.pi * np.arcsin(0.8 / 2) <= found.high
    assert inside >= 50


def test_bad_input():
    with pytest.raises(InputError, match="at least 3"):
        agreement([1, 2], [1, 2])
    with pytest.raises(InputError, match="finite"):
        agreement([1, 2, np.nan], [1, 2, 3])
    with pytest.raises(InputError, match="k = 4"):
        regret([1, 2, 3], [1, 2, 3], 4)
