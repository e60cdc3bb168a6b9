"""Biased recipes: teachers by their moments, training against a loop over single examples, floors in the wide limit."""

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks import BiasedRecipes


def test_teachers_are_orthogonal_and_of_unit_variance():
    problem = BiasedRecipes((0.0,), (0.0,), seed=3)
    x = np.random.default_rng(0).standard_normal((400_000, 16))
    f, h = problem.teacher(x), problem.teacher(x, 1)
    for value, wanted in ((f.mean(), 0), ((f * f).mean(), 1), ((h * h).mean(), 1), ((f * h).mean(), 0)):
        assert abs(value - wanted) < 0.012  # 5 deviations of a mean of 4e5 draws
    assert problem.start() == pytest.approx(1, abs=0.1)


def test_training_is_sgd_on_single_recipes():
    problem = BiasedRecipes((0.2, 0.6), (0.1, 1.5), dim=5, validation=50, seed=4)
    found = problem.train([0.05, 0.4], width=7, steps=60, batch=3, seeds=2, seed=9)
    assert found.shape == (2, 2, 2)
    rng = np.random.default_rng([4, 2, 10])  # the second student
    u = rng.normal(0, np.sqrt(2 / 5), (5, 7))
    a = np.zeros(7)
    for count in (50, 10):
        x, y = problem._examples(rng, count, 3)
        for step in range(count):
            gradient = np.zeros(7)
            for row, label in zip(x[step, 1], y[step, 1], strict=True):
                phi = np.maximum(row @ u, 0) / np.sqrt(7)
                gradient += (a @ phi - label) * phi / 3
            a = a - 0.4 * gradient
    truth = problem.teacher(problem.inputs)
    wanted = np.mean((np.maximum(problem.inputs @ u, 0) @ a / np.sqrt(7) - truth) ** 2)
    assert found[1, 1, 1] == pytest.approx(wanted, rel=1e-12)


def test_labels_hold_bias_and_noise():
    problem = BiasedRecipes((0.5, 0.0), (0.0, 2.0))
    x, y = problem._examples(np.random.default_rng(0), 500, 20)
    np.testing.assert_allclose(y[:, 0], problem.teacher(x[:, 0]) + 0.5 * problem.teacher(x[:, 0], 1))
    assert np.std(y[:, 1] - problem.teacher(x[:, 1])) == pytest.approx(2, rel=0.03)


def test_noise_costs_in_proportion_to_the_rate_and_bias_does_not_go_away():
    problem = BiasedRecipes((0.0, 0.0, 0.6), (0.1, 2.5, 0.1), seed=1)
    losses = problem.train([0.1, 0.8], width=200, steps=2000, seed=5, seeds=4).mean(axis=2)
    gap = losses[1] - losses[0]
    assert gap[1] > 4 * gap[0]
    assert np.all(losses[2] > 0.6**2 * 0.8)


def test_drawn_recipes_have_every_noise_level_alike():
    problem = BiasedRecipes.drawn(16, seed=2)
    assert sorted(set(problem.noise)) == [0.1, 0.7, 1.5, 2.5]
    assert all(problem.noise.count(level) == 4 for level in problem.noise)
    assert all(0 <= u <= 0.7 for u in problem.bias)
    assert problem == BiasedRecipes.drawn(16, seed=2)


def test_a_rate_too_large_diverges_without_a_warning():
    assert not np.all(np.isfinite(BiasedRecipes((0.1,), (0.1,)).train([1e6], width=4, steps=200)))


def test_bad_input():
    with pytest.raises(InputError, match="one of each"):
        BiasedRecipes((0.1, 0.2), (0.1,))
    with pytest.raises(InputError, match="dim = 3"):
        BiasedRecipes((0.1,), (0.1,), dim=3)
