"""Norms without decay: closed forms against the recursion, bounds against runs of descent and SGD on the sphere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from thalweg.dynamics import (
    descent_bound,
    forgetting_steps,
    growth_path,
    norm_certificate,
    norm_path,
    quadratic,
    scale_invariant_oracle,
    sgd,
)
from thalweg.errors import InputError

CURVATURES = np.linspace(1.0, 2.0, 6)


def descent(lr: float, steps: int, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Norms and G of every step of gradient descent on w'Hw / (2 |w|^2), written out."""
    w, norms, sizes = start.copy(), [], []
    for _ in range(steps + 1):
        square = w @ w
        g = (CURVATURES * w - (w @ (CURVATURES * w)) / square * w) / square
        norms.append(math.sqrt(square))
        sizes.append(math.sqrt(square * (g @ g)))
        w = w - lr * g
    return np.array(norms), np.array(sizes)


@pytest.mark.parametrize("lr", [1e-2, 0.3, 1.0, 7.0, 1e3])
def test_growth_is_the_recursions_within_its_bound(lr: float):
    size, start, steps = 2.5, 1.3, 3000
    path = norm_path(lr, 0.0, size, start=start, steps=steps)
    times = np.arange(steps + 1)
    found = growth_path(lr, size, start=start, times=times)
    assert found[0] == start
    assert found[1] == pytest.approx(path[1], rel=1e-14)
    short = path[1:] ** 4 - found[1:] ** 4
    assert np.all(short >= -1e-9 * path[1:] ** 4)
    assert np.all(short <= lr**2 * size * (1 + np.log(times[1:])) / 2 * (1 + 1e-9) + 1e-9 * path[1:] ** 4)


def test_any_rate_ends_at_the_same_effective_rate():
    """After many times ``forgetting_steps`` it is 1 / sqrt(2 S T), over four decades of the rate."""
    size, steps = 0.7, 1_000_000
    for lr in (1e-2, 1.0, 1e2):
        assert forgetting_steps(lr, size, start=1.0) < steps / 50
        rate = lr / growth_path(lr, size, start=1.0, times=steps) ** 2
        assert rate == pytest.approx((2 * size * steps) ** -0.5, rel=0.01)


def test_forgetting_is_least_at_the_matched_rate_and_even_around_it():
    size, start = 0.25, 2.0
    best = start**2 / math.sqrt(size)
    assert forgetting_steps(best, size, start=start) == pytest.approx(2.0)
    slow, fast = (forgetting_steps(best * factor, size, start=start) for factor in (1 / 50, 50))
    assert slow == pytest.approx(fast, rel=1e-12)
    assert slow == pytest.approx(50**2 / 2, rel=1e-2)
    first = growth_path(best * 50, size, start=start, times=1) ** 4
    assert growth_path(best * 50, size, start=start, times=1 + fast) ** 4 == pytest.approx(2 * first, rel=1e-12)


@pytest.mark.parametrize("lr", [1e-3, 1e-1, 1.0, 1e1, 1e3, 1e5])
@pytest.mark.parametrize("steps", [1, 30, 1000])
def test_bounds_hold_for_descent_at_any_rate(lr: float, steps: int):
    start = np.random.default_rng(0).standard_normal(6)
    norms, sizes = descent(lr, steps, start)
    np.testing.assert_allclose(norms[1:] ** 2, norms[:-1] ** 2 + lr**2 * (sizes[:-1] / norms[:-1]) ** 2, rtol=1e-12)
    least = sizes[:steps].min()
    proven = norm_certificate(norms[0], norms[-1], lr=lr, steps=steps)
    # gap (2 - 1) / 2; |H - rho| <= 1 and two rank-one terms of |grad| <= 1 / 2 give smoothness <= 2
    before = descent_bound(lr, start=norms[0], smoothness=2.0, gap=0.5, steps=steps)
    assert least <= proven * (1 + 1e-6) + 1e-7  # at lr 1e-3 one step moves the norm by rounding only
    assert proven <= before * (1 + 1e-6) + 1e-7


def test_bound_falls_as_one_over_the_root_of_steps_and_grows_both_ways():
    def bound(lr: float, steps: int = 100) -> float:
        return descent_bound(lr, start=1.0, smoothness=2.0, gap=0.5, steps=steps)

    for lr in (1e-4, 0.3, 1e4):
        assert bound(lr, 900) == pytest.approx(bound(lr, 100) / 3, rel=1e-12)
    assert bound(1e5) / bound(1e4) == pytest.approx(10, rel=0.01)
    assert bound(1e-5) / bound(1e-4) == pytest.approx(10**0.5, rel=0.01)


def test_certificate_sums_over_groups():
    start, end = np.array([1.0, 2.0]), np.array([1.5, 2.5])
    each = [norm_certificate(a, b, lr=0.3, steps=7) for a, b in zip(start, end, strict=True)]
    assert norm_certificate(start, end, lr=0.3, steps=7) == pytest.approx(math.hypot(*each))


def test_sgd_on_the_sphere_grows_as_the_closed_form():
    """Norms of 64 runs, the noise's second moment on the sphere (d - 1) / d plus that of the gradient (small here)."""
    oracle = scale_invariant_oracle(quadratic(0.1 * CURVATURES, np.full(6, 5**-0.5)))
    start = np.random.default_rng(1).standard_normal((64, 6))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    for lr in (0.1, 10.0):
        end = sgd(oracle, start, lr=lr, steps=2000, rng=np.random.default_rng(2)).x[-1]
        found = np.linalg.norm(end, axis=1).mean()
        assert found == pytest.approx(float(growth_path(lr, 1.0, start=1.0, times=2000)), rel=0.02)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="norm fell"):
        norm_certificate(2.0, 1.9, lr=0.1, steps=10)
    with pytest.raises(InputError, match="shape"):
        norm_certificate(np.ones(2), np.ones(3), lr=0.1, steps=10)
    with pytest.raises(InputError, match="times"):
        growth_path(0.1, 1.0, start=1.0, times=-1)
    with pytest.raises(InputError, match="gap"):
        descent_bound(0.1, start=1.0, smoothness=1.0, gap=0.0, steps=10)
    with pytest.raises(InputError, match="lr"):
        forgetting_steps(0.0, 1.0, start=1.0)
