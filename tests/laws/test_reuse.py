"""Effective reuse: exact recovery, the definition by hand, and refusals."""

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import ReuseLaw, effective_reuse

SIZES = np.geomspace(10, 1e5, 60)


def one_pass():
    return SIZES, 1.5 + 3 * SIZES**-0.5


def table(law, unique=(100, 300, 1000), epochs=(1, 2, 4, 8, 16)):
    """Runs whose loss is that of one pass over the law's effective examples."""
    runs = [(k, n, 1.5 + 3 * law.effective_tokens(n, k) ** -0.5) for n in unique for k in epochs]
    return effective_reuse(one_pass(), runs)


@pytest.mark.parametrize(
    "law", [ReuseLaw("log", 0.5, 0.8), ReuseLaw("power", 0.4, 0.3), ReuseLaw("muennighoff", 6.0)], ids=lambda x: x.form
)
def test_a_law_is_recovered_through_the_table(law):
    found = table(law)
    exact = [law.reuse(n, k) for k, n in zip(found.epochs, found.unique, strict=True)]
    np.testing.assert_allclose(found.reuse, exact, rtol=2e-3)  # the curve is interpolated between 60 sizes
    fitted = ReuseLaw.fit(found, law.form)
    for n in (100, 1000):
        assert fitted.saturation(n) == pytest.approx(law.saturation(n), rel=2e-2)


def test_muennighoffs_figures():
    law = ReuseLaw()
    assert law.effective_tokens(1e9, 4) == pytest.approx(1e9 * (1 + 15.39 * (1 - np.exp(-3 / 15.39))))
    assert law.reuse(1, 4) / 4 > 0.92  # "up to 4 epochs are as good as fresh data"
    assert law.reuse(1, 1) == 1


def test_epochs_that_pay():
    law = ReuseLaw("log", 0.5, 0.8)
    k = law.best_epochs(1000, marginal=0.5)
    assert law.reuse(1000, k + 1e-5) - law.reuse(1000, k) == pytest.approx(0.5e-5, rel=1e-4)
    k = law.epochs_at(1000, share=0.9)
    assert law.reuse(1000, k) == pytest.approx(0.9 * k)
    assert law.epochs_at(10_000) > law.epochs_at(100)


def test_outside_the_curve_nothing_is_claimed():
    found = effective_reuse(one_pass(), [(4, 50_000, 1.501), (2, 5, 9.0), (2, 100, 1.6)])
    by = {n: (e, b) for n, e, b in zip(found.unique, found.reuse, found.bound, strict=True)}
    assert np.isnan(by[50_000][0])
    assert by[50_000][1] == pytest.approx(2)
    assert np.isnan(by[5]).all()
    assert by[100][0] == pytest.approx(9, rel=2e-3)


def test_the_best_learning_rate_counts_on_both_sides():
    sizes, losses = one_pass()
    worse = (np.r_[sizes, sizes], np.r_[losses + 0.3, losses])
    runs = [(2, 100, 1.7), (2, 100, 1.65), (2, 100, 1.9)]
    assert effective_reuse(worse, runs).reuse == pytest.approx(effective_reuse(one_pass(), [(2, 100, 1.65)]).reuse)


@pytest.mark.parametrize(
    ("curve", "runs", "word"),
    [
        (([10, 20], [2.0, 2.1]), [(2, 10, 2.0)], "does not fall"),
        (([10], [2.0]), [(2, 10, 2.0)], "two or more sizes"),
        (([10, 20], [2.0, np.nan]), [(2, 10, 2.0)], "finite"),
        (([10, 20], [2.0, 1.9]), [], "no runs"),
        (([10, 20], [2.0, 1.9]), [(0.5, 10, 2.0)], "epochs >= 1"),
    ],
)
def test_bad_tables(curve, runs, word):
    with pytest.raises(InputError, match=word):
        effective_reuse(curve, runs)


def test_bad_laws():
    with pytest.raises(InputError, match="form"):
        ReuseLaw.fit(table(ReuseLaw()), "exponential")
    with pytest.raises(InputError, match="do not determine"):
        ReuseLaw.fit(table(ReuseLaw(), unique=(100,)), "log")
    with pytest.raises(InputError, match="marginal"):
        ReuseLaw().best_epochs(10, 1.5)
    with pytest.raises(InputError, match="share"):
        ReuseLaw().epochs_at(10, 1)
    with pytest.raises(InputError, match="unique"):
        ReuseLaw().reuse(0, 1)
