"""The best training mixture against closed forms, SLSQP and the paper's numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from thalweg.errors import InputError
from thalweg.laws import ExponentialMixing, Memorization, PowerCurves, fit_learning_curve, optimal_mixture


def by_slsqp(loss, p, caps=None):
    """The same optimum from a general solver, in shares of softmax-free form."""
    bounds = [(1e-9, 1.0 if caps is None else caps[k]) for k in range(len(p))]
    start = np.full(len(p), 1 / len(p)) if caps is None else np.asarray(caps) / np.sum(caps)
    total = {"type": "eq", "fun": lambda q: q.sum() - 1}
    return minimize(loss, start, bounds=bounds, constraints=[total], options={"ftol": 1e-15, "maxiter": 2000}).x


@pytest.mark.parametrize(("alpha", "share", "ratio"), [(1.0, 0.75, 0.8), (0.5, 0.8123, 0.9446)])
def test_two_components_as_in_the_paper(alpha, share, ratio):
    advice = optimal_mixture([0.9, 0.1], PowerCurves(exponent=alpha), 1000)
    assert advice.shares[0] == pytest.approx(share, abs=1e-4)
    assert advice.sample_ratio == pytest.approx(ratio, abs=1e-4)
    assert advice.sample_ratio == pytest.approx(advice.loss_ratio ** (1 / alpha), rel=1e-9)


def test_a_hundred_components():
    p = np.r_[0.7, np.full(99, 0.3 / 99)]
    advice = optimal_mixture(p, PowerCurves(exponent=0.28), 1e6)
    assert (advice.loss_ratio, advice.sample_ratio) == pytest.approx((0.940, 0.802), abs=5e-4)


@given(st.integers(0, 10**6))
def test_one_exponent_has_the_closed_form(seed):
    rng = np.random.default_rng(seed)
    p, scale, alpha = rng.dirichlet(np.ones(6)), rng.uniform(0.1, 5, 6), rng.uniform(0.05, 1.5)
    power = (p * scale) ** (1 / (alpha + 1))
    advice = optimal_mixture(p, PowerCurves(scale, alpha), 1e5)
    np.testing.assert_allclose(advice.shares, power / power.sum(), rtol=1e-8)
    assert advice.loss == pytest.approx(1e5**-alpha * power.sum() ** (alpha + 1), rel=1e-9)
    assert advice.loss_ratio <= 1 + 1e-12


def test_different_exponents_and_offsets_against_slsqp():
    p, law = np.array([0.5, 0.3, 0.2]), PowerCurves([1, 2, 0.5], [0.3, 0.5, 0.9], [1.0, 0.0, 3.0], floor=0.1)
    advice = optimal_mixture(p, law, 1e4)
    general = by_slsqp(lambda q: 1e2 * (p @ law.errors(q, 1e4)), p)
    np.testing.assert_allclose(advice.shares, general, atol=2e-6)
    assert advice.loss <= p @ law.errors(general, 1e4) + 1e-12


def test_shares_of_fast_curves_shrink_with_the_budget():
    law = PowerCurves(exponent=[0.3, 0.9])
    shares = [optimal_mixture([0.5, 0.5], law, n).shares[1] for n in (1e3, 1e5, 1e7)]
    slope = np.diff(np.log(shares)) / np.log(100)
    np.testing.assert_allclose(slope, -(0.9 - 0.3) / 1.9, atol=0.05)  # leading order in N


@pytest.mark.parametrize("samples", [20, 500])
def test_memorization_has_the_closed_form(samples):
    p = np.arange(1, 301) ** -1.5
    p /= p.sum()
    n = samples - 1
    inside = [s for s in range(1, 301) if np.sum(1 - (p[s - 1] / p[: s - 1]) ** (1 / n)) < 1]
    top = max(inside)
    level = ((top - 1) / np.sum(p[:top] ** (-1 / n))) ** n
    shares = np.where(np.arange(300) < top, 1 - (level / p) ** (1 / n), 0)
    advice = optimal_mixture(p, Memorization(), samples)
    np.testing.assert_allclose(advice.shares, shares, atol=1e-12)
    assert advice.loss == pytest.approx((top - 1) * level + p[top:].sum(), rel=1e-10)


def test_memorization_has_another_rate():
    same, best = [], []
    for n in (2**10, 2**14):
        p = np.arange(1, 20 * n + 1) ** -2.0
        advice = optimal_mixture(p / p.sum(), Memorization(), n)
        same.append(advice.loss_same)
        best.append(advice.loss)
    slopes = np.log([same[1] / same[0], best[1] / best[0]]) / np.log(16)
    np.testing.assert_allclose(slopes, [-0.5, -1.0], atol=0.05)


def test_memorization_of_few_components_by_many_examples():
    """Marginal values fall below the smallest float: (1 - q)^N with N far above K."""
    p = np.array([0.9, 0.1])
    for n in (10**4, 10**6):
        rare = optimal_mixture(p, Memorization(), n).shares[1]
        # p_k (1 - q_k)^(N-1) is equal for both
        assert np.log(rare / (1 - rare)) == pytest.approx(np.log(1 / 9) / (n - 1), rel=1e-3)
    assert optimal_mixture(p, Memorization(), 10**4).loss_ratio == 1  # both losses are 0 as floats


@pytest.mark.parametrize("seed", range(12))
def test_random_problems_with_caps_against_slsqp(seed):
    rng = np.random.default_rng(seed)
    count, samples = int(rng.integers(2, 7)), 10 ** rng.uniform(1, 7)
    p, caps = rng.dirichlet(np.ones(count)), np.minimum(1, 3 * rng.dirichlet(np.full(count, 3.0)))
    caps = caps if caps.sum() > 1.05 else np.ones(count)
    offset = rng.uniform(0, 20, count) * (rng.random(count) < 0.5)
    law = PowerCurves(rng.uniform(0.1, 5, count), rng.uniform(0.05, 1, count), offset, shared=rng.random(count))
    advice = optimal_mixture(p, law, samples, caps=caps)
    same = p @ law.errors(p, samples)
    general = by_slsqp(lambda q: p @ law.errors(q, samples) / same, p, caps)
    assert advice.loss <= p @ law.errors(general, samples) * (1 + 1e-9)
    assert np.all(advice.shares <= caps + 1e-9)
    if advice.sample_ratio is not None and advice.sample_ratio * samples > 2:
        less = optimal_mixture(p, law, advice.sample_ratio * samples, caps=caps)
        assert less.loss == pytest.approx(same, rel=1e-8)


def test_exponential_law_closed_form_and_fallback():
    p = np.array([0.5, 0.3, 0.2])
    law = ExponentialMixing(np.array([[3, 0.5, 0.2], [0.4, 2.5, 0.3], [0.1, 0.6, 4]]), [1, 2, 1.5], 0.3)
    closed = law.stationary(p)
    np.testing.assert_allclose(optimal_mixture(p, law, 1e4).shares, closed)
    np.testing.assert_allclose(closed, by_slsqp(lambda q: p @ law.errors(q), p), atol=1e-6)
    skewed = np.array([0.98, 0.01, 0.01])
    assert law.stationary(skewed) is None
    advice = optimal_mixture(skewed, law, 1e4)
    assert advice.loss <= skewed @ law.errors(by_slsqp(lambda q: skewed @ law.errors(q), skewed)) + 1e-9
    assert advice.shares.min() >= 0
    assert advice.shares.sum() == pytest.approx(1)


def test_caps_are_kept_and_the_rest_is_solved_again():
    p, law = np.array([0.5, 0.3, 0.2]), PowerCurves(exponent=0.5)
    advice = optimal_mixture(p, law, 1e4, caps=[0.3, 1, 1])
    rest = (p[1:]) ** (1 / 1.5)
    np.testing.assert_allclose(advice.shares, np.r_[0.3, 0.7 * rest / rest.sum()], rtol=1e-9)


@pytest.mark.parametrize(
    ("target", "law", "samples", "caps", "word"),
    [
        ([0.5, 0.6], PowerCurves(), 10, None, "sum to 1.1"),
        ([1.2, -0.2], PowerCurves(), 10, None, ">= 0"),
        ([0.5, 0.5], PowerCurves([1, 2, 3]), 10, None, "scale has 3"),
        ([0.5, 0.5], PowerCurves(), 1, None, "samples"),
        ([0.5, 0.5], PowerCurves(), 10, [0.4, 0.4], "caps"),
        ([0.5, 0.5, 0.0], PowerCurves(), 10, [0.4, 0.4, 1.0], "caps"),
    ],
)
def test_bad_input(target, law, samples, caps, word):
    with pytest.raises(InputError, match=word):
        optimal_mixture(target, law, samples, caps=caps)


def test_bad_laws():
    with pytest.raises(InputError, match="exponent"):
        PowerCurves(exponent=0)
    with pytest.raises(InputError, match="convex"):
        PowerCurves(exponent=1.5, offset=1)
    with pytest.raises(InputError, match="square"):
        ExponentialMixing(np.ones((2, 3)), [1, 1])


def test_a_learning_curve_is_recovered():
    n = np.geomspace(100, 1e6, 9)
    exact = fit_learning_curve(n, 0.2 + 3 * n**-0.4)
    assert (exact.scale, exact.exponent, exact.floor) == pytest.approx((3, 0.4, 0.2), rel=1e-5)
    noisy = [
        fit_learning_curve(n, (0.2 + 3 * n**-0.4) * np.exp(0.01 * np.random.default_rng(seed).normal(size=9)))
        for seed in range(40)
    ]
    pulls = np.array([(fit.exponent - 0.4) / fit.exponent_error for fit in noisy])
    assert abs(pulls.mean()) < 4 * 1.3 / np.sqrt(40)
    assert 0.6 < pulls.std() < 1.8
    for unit in (1e-9, 1e9):
        errors = unit * (0.2 + 3 * n**-0.4) * np.exp(0.01 * np.random.default_rng(0).normal(size=9))
        scaled = fit_learning_curve(n, errors)
        assert scaled.exponent == pytest.approx(noisy[0].exponent, rel=1e-6)
        assert scaled.exponent_error == pytest.approx(noisy[0].exponent_error, rel=1e-5)
        assert scaled.floor == pytest.approx(unit * noisy[0].floor, rel=1e-5)
    plain = fit_learning_curve(n[:2], 3 * n[:2] ** -0.4, floor=False)
    assert plain.exponent == pytest.approx(0.4)
    with pytest.raises(InputError, match="2 sizes"):
        fit_learning_curve([1, 2], [1, 2])
    with pytest.raises(InputError, match="finite"):
        fit_learning_curve([1, 2, 3], [1, 2, np.nan])
