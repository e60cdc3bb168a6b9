"""The closed form against simulation, and the exponents of the theorem."""

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks import ZipfRegression


def test_the_risk_is_that_of_simulated_sgd():
    problem = ZipfRegression(30, 3.0, 1.0)
    ranks = np.arange(1, 31.0)
    p, norms = ranks**-2.0 / np.sum(ranks**-2.0), 1 / ranks
    rng, risks = np.random.default_rng(0), []
    for _ in range(3000):
        drawn = rng.choice(30, size=50, p=p)
        errors = np.ones(30)
        for feature in np.tile(drawn, 2):  # two epochs; the order does not matter here
            errors[feature] *= 1 - 0.7 * norms[feature]
        risks.append(p * norms @ errors**2 / 2)
    assert abs(problem.risk(2, 50, 0.7) - np.mean(risks)) < 4 * np.std(risks) / np.sqrt(3000)


def test_the_exponents_of_the_theorem():
    problem = ZipfRegression(100_000, 4.5, 1.0)
    few = [problem.risk(1, n, 1.0) for n in (1e5, 1e6)]
    assert np.log10(few[1] / few[0]) == pytest.approx(-3.5 / 4.5, abs=0.03)
    many = [problem.risk(1e6, n, 1.0) for n in (1e5, 1e6)]
    assert np.log10(many[1] / many[0]) == pytest.approx(-1.0, abs=0.03)
    assert problem.exponent == pytest.approx(2 / 7)


def test_reuse_is_one_for_one_epoch_and_at_most_k():
    problem = ZipfRegression(2000, 4.5, 1.0)
    values = [problem.reuse(k, 1e4) for k in (1, 2, 4, 64)]
    assert values[0] == pytest.approx(1, abs=1e-4)
    assert values == sorted(values)
    assert all(value <= k + 1e-3 for value, k in zip(values, (1, 2, 4, 64), strict=True))


def test_bad_input():
    for fields in ({"dim": 0}, {"b": 0.0}, {"a": 1.5}):
        with pytest.raises(InputError, match="give dim"):
            ZipfRegression(**fields)
