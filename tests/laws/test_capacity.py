"""Optimal allocation of capacity against brute force, and the critical ratio against the allocation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.errors import InputError
from thalweg.laws import FactLoss, TextLoss, allocate_capacity, critical_ratios


def total(sources, bits):
    return sum(weight * loss.loss(m) for (weight, loss), m in zip(sources, bits, strict=True))


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_against_brute_force(seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3))
    sources = [
        (weights[0], TextLoss(rng.uniform(1, 5), rng.uniform(0.2, 1))),
        (weights[1], FactLoss(rng.uniform(0.01, 1), rng.uniform(1, 5))),
        (weights[2], TextLoss(rng.uniform(1, 5), rng.uniform(0.2, 1))),
    ]
    best = allocate_capacity(sources, 10.0)
    assert best.sum() == pytest.approx(10)
    assert best.min() >= 0
    grid = np.linspace(0.1, 9.9, 25)
    others = [(a, b, 10 - a - b) for a in grid for b in [*grid, 0.0] if a + b < 10]
    assert total(sources, best) <= min(total(sources, m) for m in others) + 1e-9


def test_text_is_shared_by_marginal_value():
    sources = [(0.3, TextLoss(2, 0.3)), (0.7, TextLoss(1, 0.6))]
    m = allocate_capacity(sources, 100.0)
    marginal = [w * s.scale * s.exponent * b ** -(s.exponent + 1) for (w, s), b in zip(sources, m, strict=True)]
    assert marginal[0] == pytest.approx(marginal[1], rel=1e-9)


def test_equal_facts_share_and_facts_alone_leave_a_rest():
    twice = [(0.5, FactLoss(0.1, 4.0)), (0.5, FactLoss(0.1, 8.0))]
    np.testing.assert_allclose(allocate_capacity(twice, 6.0), [2, 4])
    np.testing.assert_allclose(allocate_capacity(twice, 60.0), [4, 8])


def test_the_critical_ratios_are_where_the_allocation_changes():
    facts, text, capacity = FactLoss(1e-3, 400.0), TextLoss(5.0, 0.28), 2000.0
    lower, upper = critical_ratios(facts, text, capacity)

    def learned(r):
        return allocate_capacity([(r, facts), (1 - r, text)], capacity)[0]

    assert learned(lower * (1 - 1e-6)) == 0
    assert learned(lower * (1 + 1e-6)) > 0
    assert learned(upper * (1 - 1e-6)) < 400
    assert learned(upper * (1 + 1e-6)) == pytest.approx(400)
    assert critical_ratios(FactLoss(1e-3, 4000.0), text, capacity)[1] == 1.0


def test_the_threshold_falls_with_size_as_the_paper_says():
    facts, text = FactLoss(1e-3, 1e-6), TextLoss(4.952, 0.283)
    r = np.array([critical_ratios(facts, text, m)[0] for m in (1e6, 1e8)])
    odds = r / (1 - r)
    assert np.log(odds[1] / odds[0]) / np.log(100) == pytest.approx(-1.283)


def test_bad_input():
    with pytest.raises(InputError, match="no source"):
        allocate_capacity([], 1.0)
    with pytest.raises(InputError, match="capacity"):
        allocate_capacity([(1.0, TextLoss(1, 1))], 0)
    with pytest.raises(InputError, match="exponent"):
        TextLoss(1, 0)
    with pytest.raises(InputError, match="weight_0"):
        allocate_capacity([(0.0, TextLoss(1, 1))], 1)


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_nothing_is_gained_by_moving_bits(seed):
    """The optimum of a convex problem: no source gains more by a bit than another loses, over twelve decades."""
    rng = np.random.default_rng(seed)
    sources = []
    for _ in range(rng.integers(1, 5)):
        facts = FactLoss(10 ** rng.uniform(-8, 0), 10 ** rng.uniform(-2, 9))
        text = TextLoss(10 ** rng.uniform(-2, 3), rng.uniform(0.05, 2))
        sources.append((10 ** rng.uniform(-4, 0), facts if rng.random() < 0.5 else text))
    capacity = 10 ** rng.uniform(-2, 10)
    bits = allocate_capacity(sources, capacity)
    only_facts = all(isinstance(loss, FactLoss) for _, loss in sources)
    most = sum(loss.bits for _, loss in sources if isinstance(loss, FactLoss)) if only_facts else np.inf
    assert bits.sum() == pytest.approx(min(capacity, most), rel=1e-6)
    gains, losses = [], []
    for (weight, loss), m in zip(sources, bits, strict=True):
        if isinstance(loss, FactLoss):
            gains.append(0.0 if m >= loss.bits * (1 - 1e-9) else weight * loss.frequency)
            losses.append(np.inf if m <= loss.bits * 1e-9 else weight * loss.frequency)
        else:
            gains.append(weight * loss.scale * loss.exponent * m ** -(loss.exponent + 1))
            losses.append(gains[-1])
    if bits.sum() > capacity * (1 - 1e-9):
        assert max(gains) <= min(losses) * (1 + 1e-6)


def test_a_law_in_nats_and_parameters():
    """A model of N parameters and c bits each: its loss in nats is E + B N^-α."""
    b, alpha, c, n = 4.952, 0.283, 2.0, 70e6
    text = TextLoss(b * c**alpha / np.log(2), alpha)
    assert text.loss(c * n) * np.log(2) == pytest.approx(b * n**-alpha)
