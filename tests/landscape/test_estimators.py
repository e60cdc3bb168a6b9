"""Traces, densities and diagonals against the matrix, and their error bars against what repetitions scatter by."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from landscape.dense import cross_entropy, net
from landscape.test_eigenpairs import matrix
from thalweg.errors import InputError
from thalweg.landscape.density import spectral_density
from thalweg.landscape.diagonals import diagonal, ggn_diagonal, root_trace
from thalweg.landscape.lanczos import eigenpairs
from thalweg.landscape.matrix import Dense
from thalweg.landscape.operators import ggn, hessian
from thalweg.landscape.traces import adaptive, hutch_plus_plus, hutchinson, trace, xtrace

DECAYING = np.array([10 * 0.8**i for i in range(100)] + [-0.05] * 20)


@pytest.fixture(scope="module")
def decaying():
    return Dense(matrix(DECAYING))


@pytest.mark.parametrize("method", [hutchinson, hutch_plus_plus, xtrace, adaptive])
def test_traces_are_unbiased_and_their_errors_honest(decaying, method):
    """Over 200 seeds: the mean within 4 standard errors of the truth; 95 % intervals hold at least 90 % of the time
    (binomial error 1.5 %; normal quantiles on a dozen samples are a little short)."""
    found = [method(decaying, 36, seed=seed) for seed in range(200)]
    values, errors = (np.array([getattr(f, key) for f in found]) for key in ("value", "error"))
    exact = DECAYING.sum()
    assert abs(values.mean() - exact) < 4 * values.std() / math.sqrt(200)
    assert np.mean(abs(values - exact) < 1.96 * errors) > 0.9
    assert found[0].products == 36


def test_the_variance_of_hutchinson_is_the_formula(decaying):
    values = [hutchinson(decaying, 8, seed=seed).value for seed in range(400)]
    square = decaying.matrix.square()
    formula = 2 * float(square.sum() - square.diagonal().sum()) / 8
    assert np.var(values) == pytest.approx(formula, rel=0.35)  # 400 draws: standard error 7 %, tails heavier


def test_sketches_beat_hutchinson_where_the_spectrum_decays(decaying):
    spread = {
        method: np.std([method(decaying, 48, seed=seed).value for seed in range(60)])
        for method in (hutchinson, hutch_plus_plus, xtrace)
    }
    assert spread[xtrace] < spread[hutch_plus_plus] / 2 < spread[hutchinson] / 4


def test_a_sketch_is_taken_only_where_it_pays(decaying):
    flat = Dense(matrix(np.linspace(0.5, 1.5, 300)))
    for op, rival in ((decaying, xtrace), (flat, hutchinson)):
        spread = [np.std([method(op, 48, seed=seed).value for seed in range(60)]) for method in (adaptive, rival)]
        assert spread[0] < 1.4 * spread[1]  # 60 seeds: each spread is known to 9 %
    assert adaptive(flat, 48).products == 48


def test_traces_without_chance():
    low = Dense(matrix([3.0, 2.0, -1.0, *[0.0] * 40]))
    assert xtrace(low, 20) == pytest.approx((4.0, 0.0, 20), abs=1e-9)
    small = Dense(matrix([1.0, 2.0, 3.0]))
    assert trace(small, 3) == pytest.approx((6.0, 0.0, 3))
    assert hutch_plus_plus(small, 12).value == pytest.approx(6.0)
    assert xtrace(small, 12).value == pytest.approx(6.0)
    with pytest.raises(InputError, match="method='hutch' is not known"):
        trace(small, method="hutch")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="products=3 must be at least 4"):
        xtrace(small, 3)


def test_quadrature_is_exact_for_polynomials_in_the_mean(decaying):
    found = spectral_density(decaying, probes=200, steps=6, seed=1)
    longer = spectral_density(decaying, probes=50, steps=60, seed=2)
    for density, function, exact in [
        (found, lambda x: x, DECAYING.sum()),
        (found, lambda x: x**2, (DECAYING**2).sum()),
        (longer, lambda x: np.sqrt(np.maximum(x, 0)), np.sqrt(np.maximum(DECAYING, 0)).sum()),
    ]:
        value, error, _ = density.trace(function)
        assert abs(value - exact) < 4 * error
    assert found.products == 1200
    grid, mean, error = found.curve()
    assert np.trapezoid(mean, grid) == pytest.approx(1, abs=1e-3)
    assert error.shape == grid.shape


def test_nodes_reach_the_ends_of_the_spectrum_with_and_without_bases(decaying):
    for basis_bytes in (2**31, 0):
        found = spectral_density(decaying, probes=2, steps=30, basis_bytes=basis_bytes)
        assert found.nodes.max() == pytest.approx(10, rel=1e-8)
        assert found.weights.sum(axis=1) == pytest.approx([1, 1])
    assert found.quantile(0.5) == pytest.approx(np.median(DECAYING), abs=0.05)


def test_the_density_of_a_matrix_with_few_eigenvalues():
    found = spectral_density(Dense(matrix([2.0] * 30 + [-1.0] * 30)), probes=3, steps=20)
    heavy = found.nodes[found.weights > 1e-9]
    np.testing.assert_allclose(np.minimum(abs(heavy - 2), abs(heavy + 1)), 0, atol=1e-9)


def test_diagonals(decaying):
    exact = decaying.matrix.diagonal()
    mean, error = diagonal(decaying, 64)
    inside = ((mean - exact).abs() < 2 * error).double().mean()
    assert 0.88 < float(inside) < 0.995
    pairs = eigenpairs(decaying, 12, tolerance=1e-6, products=100)
    better, smaller = diagonal(decaying, 64, pairs=pairs)
    assert float(smaller.norm()) < float(error.norm()) / 5
    assert float((better - exact).norm()) < float((mean - exact).norm()) / 5
    full, none = diagonal(decaying, 120)
    torch.testing.assert_close(full, exact)
    assert not none.any()


def test_the_exact_diagonal_of_gauss_newton():
    case = net()
    dense = case.ggn()
    for cuts in ((), (3, 11)):
        point = ggn(case.model, cross_entropy, case.batches(cuts)).point
        torch.testing.assert_close(ggn_diagonal(point), dense.diagonal(), atol=1e-13, rtol=1e-10)


def test_the_trace_of_the_root_of_the_diagonal():
    case = net()
    operator = hessian(case.model, cross_entropy, case.batches())
    exact = float(case.hessian().diagonal().clamp_min(0).sqrt().sum())
    assert root_trace(operator, 43) == pytest.approx((exact, 0.0, 43))
    wide = Dense(matrix(np.geomspace(1, 1e-3, 400)))
    exact = float(wide.matrix.diagonal().sqrt().sum())
    value, error, _ = root_trace(wide, 64)
    assert abs(value - exact) < 3 * error < 0.2 * exact


def test_recursions_alone_and_side_by_side_are_the_same(decaying, monkeypatch):
    together = spectral_density(decaying, probes=3, steps=20, seed=4)
    monkeypatch.setattr("thalweg.landscape.density.ALONE", 1)
    alone = spectral_density(decaying, probes=3, steps=20, seed=4)
    np.testing.assert_allclose(alone.nodes, together.nodes, atol=1e-10)
    np.testing.assert_allclose(alone.weights, together.weights, atol=1e-10)
    assert alone.products == together.products == 60
