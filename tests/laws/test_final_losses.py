"""Fitted curves of final losses, speed-ups with intervals: exact recovery, scipy's fit, the published table."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.optimize import curve_fit

from thalweg.errors import InputError
from thalweg.laws.final_losses import fit_final_losses
from thalweg.laws.optimizer_benchmark import load_optimizer_benchmark
from thalweg.laws.token_speedup import token_speedups


def test_an_exact_curve_is_recovered():
    budgets = np.array([1.0, 2.0, 4.0, 8.0]) * 1e6
    fit = fit_final_losses(budgets.tolist(), (30 * budgets**-0.3 + 2.5).tolist())
    assert fit.power == pytest.approx(0.3, rel=1e-6)
    assert fit.floor == pytest.approx(2.5, abs=1e-5)
    assert fit.worst < 1e-9
    assert not fit.degenerate
    for budget in (1.5e6, 6e6):
        assert fit.loss(budget) == pytest.approx(30 * budget**-0.3 + 2.5, abs=1e-7)
        assert fit.budget(fit.loss(budget)) == pytest.approx(budget)
    assert fit.speedup(2e6, fit.loss(5e6)) == pytest.approx(2.5, rel=1e-9)
    assert fit.speedup(1e6, fit.floor - 0.1) == 4 * 8  # never reached: four times the largest budget


def test_inside_its_bounds_it_is_scipys_least_squares():
    rng = np.random.default_rng(1)
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    y = 0.45 * x**-0.44 + 3.07 + 2e-3 * rng.standard_normal(5)
    (a, power, floor), _ = curve_fit(lambda c, a, b, f: a * c**-b + f, x, y, p0=(y[0] - y[-1], 0.5, y[-1]))
    fit = fit_final_losses(x.tolist(), y.tolist())
    assert (fit.a, fit.power, fit.floor) == pytest.approx((a, power, floor), rel=1e-4)


def test_a_straight_curve_is_caught():
    fit = fit_final_losses([1, 2, 4, 8], [4.0, 3.7, 3.4, 3.1])  # straight in log D: no floor can be seen
    assert fit.floor == 0.0 or fit.degenerate
    assert fit.speedup(8, 2.5) <= 4


@pytest.mark.parametrize(
    ("budgets", "losses", "word"),
    [
        ([1, 2], [3.0, 2.0], "three budgets"),
        ([1, 2, 4], [2.0, 2.1, 2.2], "do not fall"),
        ([1, 2, 4], [2.0, float("inf"), 1.0], "finite"),
        ([0, 2, 4], [3.0, 2.0, 1.0], "> 0"),
    ],
)
def test_curves_that_cannot_be_fitted(budgets, losses, word):
    with pytest.raises(InputError, match=word):
        fit_final_losses(budgets, losses)


def test_every_published_speedup(shared_data):
    folder = shared_data / "optimizer-benchmark"
    tables = load_optimizer_benchmark(folder)
    with (folder / "speedups.csv").open() as file:
        listed = [row for row in csv.DictReader(file) if row["speedup"]]
    curves = {
        size: fit_final_losses(list(base), list(base.values()))
        for size in ("130m", "300m", "520m", "1.2b")
        for base in [tables.losses("adamw", size)]
    }
    for row in listed:
        key = row["optimizer"], row["model_size"], int(row["chinchilla"])
        found = curves[key[1]].speedup(key[2], tables.best[key].loss)
        assert found == pytest.approx(float(row["speedup"]), abs=1e-4), key  # the table has four digits
    assert len(listed) > 140
    stated = {"130m": (0.4554, 0.4353, 3.0729, 0.0034), "1.2b": (0.2394, 0.4848, 2.6649, 3e-5)}
    for size, numbers in stated.items():
        fit = curves[size]
        assert (fit.a, fit.power, fit.floor) == pytest.approx(numbers[:3], abs=6e-5)
        assert fit.worst == pytest.approx(numbers[3], rel=0.05)


BASE = {c: 0.4 * c**-0.45 + 3.0 for c in (1, 2, 4, 8)}


def test_without_noise_the_interval_is_the_value():
    other = {2: BASE[4], 4: BASE[8]}
    for found in token_speedups(BASE, other, noise=0.0, repeats=3):
        assert found.value == pytest.approx(2)
        assert found.low == pytest.approx(2)
        assert found.high == pytest.approx(2)
        assert found.reached
        assert not found.beyond


def test_the_interval_has_the_width_that_the_error_formula_says():
    """To first order the logarithm of one speed-up has spread noise / |dL/dlog D| from its own loss alone."""
    noise, at = 2e-4, 4
    slope = 0.4 * 0.45 * at**-0.45
    dense = {float(c): 0.4 * c**-0.45 + 3.0 for c in np.geomspace(1, 8, 60)}  # the curve's own error is negligible
    (found,) = token_speedups(dense, {at: BASE[at]}, noise=noise, repeats=300)
    half = 1.645 * noise / slope
    assert np.log(found.high / found.low) / 2 == pytest.approx(half, rel=0.25)  # 300 redraws: 6 %; the curve: 10 %


def test_seeds_are_drawn_together():
    shifts = np.array([-0.1, 0.0, 0.1])  # a seed is good or bad everywhere: the speed-up does not move
    base = {c: (loss + shifts).tolist() for c, loss in BASE.items()}
    (found,) = token_speedups(base, {2: (BASE[4] + shifts).tolist()}, repeats=50)
    assert found.low == pytest.approx(2, rel=1e-6)
    assert found.high == pytest.approx(2, rel=1e-6)


def test_a_loss_that_the_baseline_never_reaches():
    (found,) = token_speedups(BASE, {8: 2.9}, noise=1e-5, repeats=20)
    assert found.value == 4
    assert not found.reached


def test_refusals():
    with pytest.raises(InputError, match="same seeds"):
        token_speedups(BASE, {2: [3.0, 3.1]})
    with pytest.raises(InputError, match="noise"):
        token_speedups(BASE, {2: 3.0}, noise=-1)
    with pytest.raises(InputError, match="falls by less than its noise"):
        token_speedups({1: 3.0, 2: 2.9999, 4: 2.9998}, {2: 2.9}, noise=10.0, repeats=30, seed=4)
