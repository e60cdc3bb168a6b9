"""The closed forms against gradient descent on matrices, sampled noise, and a case by hand."""

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks import ProgressiveLinear


def test_modes_are_gradient_descent_on_both_matrices():
    toy = ProgressiveLinear((2.0, 1.0, 0.5), dim=5, start=1e-2)
    target = np.diag([2.0, 1.0, 0.5, 0.0, 0.0])
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    root = np.diag(np.sqrt([1e-2] * 3 + [0.0] * 2))
    first, second, rate = rotation @ root, root @ rotation.T, 1e-3  # any balanced factorisation
    for step in range(4001):
        if step % 1000 == 0:
            product = np.diag(second @ first)[:3]
            np.testing.assert_allclose(product, toy.modes([step * rate])[0], rtol=0.01)  # Euler's error is O(rate)
            np.testing.assert_allclose((first**2).sum(), product.sum(), rtol=0.01)
        error = second @ first - target
        first, second = first - rate * second.T @ error, second - rate * error @ first.T


def test_loss_under_noise_is_that_of_drawn_noise():
    toy, rng = ProgressiveLinear(), np.random.default_rng(1)
    a = np.zeros(20)
    a[:6] = toy.modes([0.0, 2.0])[1]
    target = np.zeros(20)
    target[:6] = toy.values
    draws = []
    for _ in range(2000):
        first, second = (np.diag(np.sqrt(a)) + 0.1 * rng.standard_normal((20, 20)) for _ in range(2))
        draws.append(0.5 * ((second @ first - np.diag(target)) ** 2).sum())
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - toy.loss([2.0], 0.1)[0]) < 4 * error


def test_inflection_lies_where_the_last_value_that_pays_is_learned():
    """σ = .1, d = 20: values above .4 pay. By hand the loss after them is .105 + .2 · 5.3 + .4 and 1.6 at the end."""
    toy, times = ProgressiveLinear(start=1e-9), np.linspace(0, 400, 40_001)
    assert toy.worth_learning(0.1) == (3.0, 1.5, 0.8)
    loss = toy.loss(times, 0.1)
    assert loss[-1] == pytest.approx(0.2 * 6 + 0.4, abs=1e-6)
    assert loss.min() < 0.105 + 0.2 * 5.3 + 0.4 < loss[-1]
    a = toy.modes([times[loss.argmin()]])[0]
    np.testing.assert_allclose(a[:3], (3.0, 1.5, 0.8 - 0.2), rtol=0.02)  # the last passes s - d sigma^2
    assert np.all(a[3:] < 0.01)
    best = [times[toy.loss(times, noise).argmin()] for noise in (0.05, 0.1, 0.15, 0.2)]
    assert best == sorted(best, reverse=True)
    assert np.all(np.diff(toy.loss(times)) <= 1e-12)  # without noise it only falls


def test_values_of_the_specification():
    times = np.linspace(0, 200, 20_001)
    for noise, least, final in ((0.1, 1.545, 1.6), (0.15, 4.452, 4.725), (0.2, 10.13, 11.2)):
        loss = ProgressiveLinear().loss(times, noise)
        assert loss[-1] == pytest.approx(final, abs=1e-3)
        assert loss.min() == pytest.approx(least, rel=0.025)  # its start and steps are not given


def test_bad_input():
    with pytest.raises(InputError, match="start"):
        ProgressiveLinear(start=0.2)
    with pytest.raises(InputError, match="dim = 3"):
        ProgressiveLinear(dim=3)
