"""Rules for H against the definition, and the volumes that the paper's recipes imply."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import InputError
from thalweg.schedules import parse
from thalweg.train.local_updates import LocalUpdates, constant_period, post_local
from thalweg.train.periods import communication, cubic, inverse, power_period, quadratic

VIT, RESNET = ("cosine:peak=0.008,warmup=10000,floor=1e-6", 93_600), ("cosine:peak=0.8,warmup=1560,floor=1e-6", 62_400)


@pytest.mark.parametrize(
    ("recipe", "alpha", "base", "percent"),
    [
        (VIT, 0.0175, 4, 10.4),
        (VIT, 0.0175, 8, 6.9),
        (RESNET, 0.2, 2, 39.7),
        (RESNET, 0.25, 4, 20.1),
        (RESNET, 0.25, 8, 10.4),
    ],
)
def test_the_volumes_of_the_papers_recipes(recipe, alpha, base, percent):
    """arXiv 2310.14423: 300 and 200 epochs of 312 steps."""
    schedule = parse(recipe[0])
    warmup = schedule.warmup_steps(recipe[1])
    found = communication(quadratic(alpha, base, warmup=warmup), schedule.rates(recipe[1]))
    assert round(100 * found.fraction, 1) == percent
    assert found.periods.sum() == recipe[1]


def official(rates: np.ndarray, alpha: float, base: int, power: int, warmup: int, first: int) -> list[int]:
    """The official loop: a step, a count, an average when the count is full, then H anew from the next step's rate."""
    total, ends, local = len(rates), [], 0

    def adjusted(t: int) -> int:
        if t < warmup or alpha == 0:
            return first
        return max(min(max(int((alpha / float(rates[min(t, total - 1)])) ** power), base), total - t), 1)

    h = adjusted(0)
    for t in range(1, total + 1):
        local += 1
        if local >= h:
            ends.append(t)
            local, h = 0, adjusted(t)
    return ends


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize(("base", "first", "warmup"), [(1, 1, 0), (3, 3, 40), (2, 5, 33)])
def test_rounds_are_the_official_codes(power, base, first, warmup):
    rates = parse("cosine:peak=0.1,warmup=40,floor=1e-4").rates(700)
    rule = power_period(0.2, base, power=power, warmup=warmup, warmup_period=first)
    updates = LocalUpdates(rule, steps=700, mean=lambda tensors: None)
    ends = [t for t, lr in enumerate(rates, 1) if updates.after_step([], lr=float(lr))]
    expected = official(rates, 0.2, base, power, warmup, first)
    assert ends[:-1] == [end for end in expected if end < 700]
    assert ends[-1] == 700
    found = communication(rule, rates)
    assert (found.starts + found.periods).tolist() == ends
    assert found.fraction == len(ends) / 700


@given(
    alpha=st.integers(1, 500),
    lr=st.integers(1, 500),
    base=st.integers(1, 9),
    rule=st.sampled_from([(inverse, 1), (quadratic, 2), (cubic, 3)]),
)
def test_the_rule_is_its_definition(alpha, lr, base, rule):
    """In exact arithmetic, but where the power lies within rounding of a whole number."""
    make, power = rule
    exact = Fraction(alpha, lr) ** power
    found = make(alpha / 64, base)(0, lr / 64)  # both are exact in binary
    if exact.denominator == 1 or abs(exact - round(exact)) > Fraction(1, 10**6):
        assert found == max(base, math.floor(exact))


def test_warm_up_keeps_its_own_period():
    rule = quadratic(0.4, 2, warmup=10, warmup_period=3)
    assert [rule(step, 0.1) for step in (0, 9, 10)] == [3, 3, 16]
    assert quadratic(0.4, 2, warmup=10)(0, 0.1) == 2


def test_vanishing_rates_and_no_alpha():
    assert quadratic(0.0, 5)(3, 0.0) == quadratic(0.0, 5)(3, 1.0) == 5
    assert communication(quadratic(0.1, 1), [0.1, 0.0, 0.0, 0.0]).periods.tolist() == [1, 3]
    assert communication(quadratic(0.1, 1), [1e-300] * 4).periods.tolist() == [4]


def test_constant_and_post_local_volumes():
    assert communication(constant_period(4), [0.1] * 100).fraction == 0.25
    assert communication(post_local(20, 40), [0.1] * 100).fraction == 0.22


def test_bytes_of_a_ring():
    found = communication(constant_period(4), [0.1] * 100)
    assert found.bytes_sent(1000, workers=2) == 25 * 1000 * 4
    assert found.bytes_sent(1000, workers=1) == 0
    assert found.bytes_sent(1000, workers=8, width=2) == pytest.approx(25 * 2 * 7 / 8 * 2000)


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: quadratic(-1, 2), "alpha=-1"),
        (lambda: quadratic(math.nan, 2), "alpha=nan"),
        (lambda: power_period(1, 2, power=0), "power=0"),
        (lambda: cubic(1, 0), "base=0"),
        (lambda: inverse(1, 1, warmup=-1), "warmup=-1"),
        (lambda: quadratic(1, 1, warmup_period=0), "warmup_period=0"),
        (lambda: quadratic(1, 1)(0, -0.1), "lr=-0.1"),
        (lambda: communication(quadratic(1, 1), []), "rates is empty"),
        (lambda: communication(lambda step, lr: 0, [1.0]), "period at step 0"),
    ],
)
def test_bad_input_names_itself(act, match):
    with pytest.raises(InputError, match=match):
        act()
