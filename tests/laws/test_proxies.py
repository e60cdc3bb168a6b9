"""Ranking by proxies: what agrees, what flips, and the rate to take."""

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import RankTable, rank_recipes
from thalweg.stats import spearman

VALUE = np.linspace(1.0, 2.0, 8)
NAMES = tuple("abcdefgh")


def table(seeds=3):
    """Small rates rank noise, middle ones the value, large ones the recipe's own noise level."""
    rng = np.random.default_rng(0)
    rates = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    clean = np.stack([np.full(8, 4.0), 3 + 0.5 * VALUE, 2 + VALUE, 2 + VALUE, 2 + VALUE[::-1]], axis=1)
    return RankTable(NAMES, rates, clean[:, :, None] + 0.003 * rng.normal(size=(8, 5, seeds)), start=4.05)


def test_the_plateau_is_found_and_the_target_agrees_there():
    ranks = table()
    assert ranks.plateau() == 1e-1
    found = ranks.against(VALUE)
    assert found[3].spearman > 0.95
    assert found[4].spearman < -0.9
    assert found[3].regret == 0
    assert ranks.order(1e-1)[0] == "a"


def test_too_small_a_rate_does_not_count():
    ranks = table()
    assert ranks.drop()[0] < 0.2
    assert abs(ranks.neighbours()[0]) < 0.95
    flat = RankTable(NAMES, (1e-4, 1e-3), np.stack([4 - 1e-6 * VALUE[::-1], 4 - 1e-6 * VALUE[::-1]], 1), start=5.0)
    assert flat.plateau() == 1e-3


def test_the_plateau_does_not_creep_into_the_noise():
    """Ranking turns from value to noise in small steps: every neighbour agrees, the ends do not."""
    turn = np.linspace(0, 1, 12)
    shuffled = np.array([4, 7, 1, 6, 0, 3, 5, 2])
    losses = 2 + (1 - turn) * VALUE[:, None] + turn * VALUE[shuffled][:, None] + turn**2
    ranks = RankTable(NAMES, tuple(np.geomspace(0.01, 1, 12)), losses, start=5.0)
    assert spearman(ranks.means[:, -1], VALUE) < 0.3
    assert spearman(ranks.means[:, ranks.rates.index(ranks.plateau(agree=0.9))], VALUE) > 0.9


def test_rates_above_the_least_loss_sit_out():
    """Three rates agree on noise above the best one, two on the value up to it."""
    columns = [1.4 + 0.1 * VALUE, 1.2 + 0.1 * VALUE, *(each + 0.1 * VALUE[::-1] for each in (2, 2.2, 2.5))]
    for start in (None, 4.0):
        assert RankTable(NAMES, (1.0, 2.0, 3.0, 4.0, 5.0), np.stack(columns, 1), start).plateau() == 2.0


def test_the_plateau_against_its_definition():
    """All runs of rates by brute force, over random tables."""
    from itertools import combinations

    from scipy.stats import spearmanr

    for seed in range(40):
        rng = np.random.default_rng(seed)
        losses = 3 + VALUE[:, None] + rng.normal(size=(8, 6)) * np.array([3, 0.1, 0.1, 0.1, 0.3, 2])
        rates = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
        edge = int(losses.mean(axis=0).argmin())
        good = []
        for a, b in combinations(range(edge + 1), 2):
            pairs = combinations(range(a, b + 1), 2)
            if all(spearmanr(losses[:, i], losses[:, j]).statistic >= 0.9 for i, j in pairs):
                good.append((b - a, b))
        table = RankTable(NAMES, rates, losses)
        if good:
            assert table.plateau(agree=0.9) == rates[max(good)[1]]
        else:
            with pytest.raises(InputError, match="no two"):
                table.plateau(agree=0.9)


def test_flips_are_pairs_beyond_the_noise_of_seeds():
    flips = table().flips(1e-1, 1.0)
    assert ("a", "h") in flips
    assert ("h", "a") not in flips
    assert table().flips(1e-2, 1e-1) == []


def test_a_diverged_run_ranks_last():
    losses = np.stack([VALUE, VALUE], 1)
    losses[0, 1] = np.nan
    assert RankTable(NAMES, (0.1, 0.2), losses).order(0.2)[-1] == "a"


def test_the_protocol_runs_each_cell_once():
    calls = []

    def train(recipe, rate, seed):
        calls.append((recipe, rate, seed))
        return NAMES.index(recipe) + rate + 0.1 * seed

    ranks = rank_recipes(NAMES[:3], train, rates=[0.1, 0.01], seeds=(0, 1))
    assert len(calls) == len(set(calls)) == 12
    assert ranks.rates == (0.01, 0.1)
    np.testing.assert_allclose(ranks.losses[2, 1], [2.1, 2.2])


def test_bad_tables():
    with pytest.raises(InputError, match="three or more"):
        RankTable(("a", "a", "b"), (0.1,), np.ones((3, 1)))
    with pytest.raises(InputError, match="rise"):
        RankTable(("a", "b", "c"), (0.2, 0.1), np.ones((3, 2)))
    with pytest.raises(InputError, match="rise"):
        RankTable(("a", "b", "c"), (), np.ones((3, 0, 1)))
    with pytest.raises(InputError, match="shape"):
        RankTable(("a", "b", "c"), (0.1,), np.ones((3, 2)))
    with pytest.raises(InputError, match="not in the table"):
        table().order(0.5)
    noise = np.random.default_rng(1).normal(size=(8, 3))
    with pytest.raises(InputError, match="no two"):
        RankTable(NAMES, (0.1, 0.2, 0.3), noise + 5).plateau()
