"""The learner's error against the exact Bayes risk, its law at many examples, and the mixture's sum."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks import RegressionMixture


def test_without_examples_the_error_is_the_priors():
    errors = RegressionMixture([1.0], dim=4).errors(0, np.zeros(20_000, int), np.random.default_rng(0))
    assert errors.mean() == pytest.approx(1, abs=4 * np.sqrt(0.5 / 20_000))  # |w|² has mean 1, variance 2 / d


@pytest.mark.parametrize(("n", "sigma"), [(3, 0.5), (12, 0.5), (12, 2.0)])
def test_error_is_the_posterior_variance(n, sigma):
    """For the posterior mean E|ŵ - w|² = σ² E tr (XᵀX + d σ² I)^-1, over inputs drawn apart."""
    d, rng = 4, np.random.default_rng(1)
    errors = RegressionMixture([9.0, sigma], dim=d).errors(1, np.full(20_000, n), rng)
    x = np.random.default_rng(2).normal(size=(20_000, n, d))
    exact = sigma**2 * np.trace(np.linalg.inv(x.swapaxes(1, 2) @ x + d * sigma**2 * np.eye(d)), axis1=1, axis2=2)
    error = np.hypot(errors.std(), exact.std()) / np.sqrt(20_000)
    assert errors.mean() == pytest.approx(exact.mean(), abs=4 * error)


def test_error_of_many_examples():
    errors = RegressionMixture([0.5], dim=3).errors(0, np.full(4000, 400), np.random.default_rng(0))
    assert errors.mean() * 400 / (0.25 * 3) == pytest.approx(1, abs=0.06)


def test_a_mixture_weighs_its_components():
    problem, rng = RegressionMixture([0.3, 1.0], dim=3), np.random.default_rng(0)
    whole = problem.mixture_errors([0.2, 0.8], [0.0, 1.0], 200, replicas=4000, rng=rng)
    apart = [problem.errors(k, np.full(4000, n), rng).mean() for k, n in ((0, 0), (1, 200))]
    assert whole.mean() == pytest.approx(np.dot([0.2, 0.8], apart), rel=0.05)


def test_bad_input():
    for noise, dim in (([], 3), ([0.0], 3), ([1.0], 0), ([np.nan], 2)):
        with pytest.raises(InputError, match="noise"):
            RegressionMixture(noise, dim)
