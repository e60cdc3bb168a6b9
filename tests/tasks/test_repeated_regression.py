"""The exact one-pass recursion against simulation, and the shape of what many epochs give."""

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks import RepeatedRegression

PROBLEM = RepeatedRegression(np.linspace(0.3, 1.0, 4), noise=0.5)


def test_one_pass_is_exact():
    exact = PROBLEM.one_pass([1, 20, 60], [0.05, 0.2])
    mean, error = PROBLEM.epochs(60, (1,), [0.05, 0.2], replicas=4000, rng=np.random.default_rng(0))
    assert np.all(np.abs(mean[0] - exact[2]) < 4 * error[0])
    short, error = PROBLEM.epochs(20, (1,), [0.05, 0.2], replicas=4000, rng=np.random.default_rng(1))
    assert np.all(np.abs(short[0] - exact[1]) < 4 * error[0])


def test_one_step_by_hand():
    lam, eta = np.linspace(0.3, 1.0, 4), 0.1
    moments = 1 - 2 * eta * lam + eta**2 * (2 * lam**2 + lam * lam.sum() + 0.25 * lam)
    assert PROBLEM.one_pass([1], [eta])[0, 0] == pytest.approx(moments @ lam / 2, rel=1e-12)


def test_many_epochs_reach_least_squares():
    """At a small rate and many epochs the risk is that of least squares on the same kind of sample."""
    mean, error = PROBLEM.epochs(40, (400,), [0.01], replicas=200, rng=np.random.default_rng(2))
    rng, lam = np.random.default_rng(3), np.linspace(0.3, 1.0, 4)
    risks = []
    for _ in range(2000):
        x = rng.normal(size=(40, 4)) * np.sqrt(lam)
        w = np.linalg.lstsq(x, x.sum(1) + 0.5 * rng.normal(size=40), rcond=None)[0]
        risks.append((w - 1) ** 2 @ lam / 2)
    spread = np.hypot(error[0, 0], np.std(risks) / np.sqrt(2000))
    assert abs(mean[0, 0] - np.mean(risks)) < 4 * spread


def test_divergence_is_infinite_and_theory_is_the_formula():
    assert np.isinf(PROBLEM.one_pass([2000], [3.0])[0, 0])
    assert PROBLEM.saturation(np.e) == pytest.approx(2.6 / (4 * 0.3 * 4))


def test_bad_input():
    with pytest.raises(InputError, match="eigenvalues"):
        RepeatedRegression([1.0, 0.0])
    with pytest.raises(InputError, match="noise"):
        RepeatedRegression([1.0], noise=-1)
