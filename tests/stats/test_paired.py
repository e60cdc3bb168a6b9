from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.stats import PairedDifference, decide, paired_difference


def test_effect_over_error_is_the_paired_t_statistic():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    shared = rng.normal(size=12)
    first, second = shared + 0.1 * rng.normal(size=12) + 0.2, shared + 0.1 * rng.normal(size=12)
    ours = paired_difference(list(first), list(second))
    theirs = stats.ttest_rel(first, second)
    assert ours.effect / ours.error == pytest.approx(theirs.statistic, rel=1e-12)
    assert ours.runs == theirs.df + 1 == 12
    assert ours.error < np.sqrt(first.var(ddof=1) / 12 + second.var(ddof=1) / 12) / 3  # pairing removed shared noise


def test_by_hand_and_by_seed_in_any_order():
    assert paired_difference([3.0, 5.0], [1.0, 1.0]) == PairedDifference(effect=3.0, error=1.0, runs=2)
    assert paired_difference({7: 5.0, 1: 3.0}, {1: 1.0, 7: 1.0}) == PairedDifference(effect=3.0, error=1.0, runs=2)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({1: 0.0, 2: 0.0}, {1: 0.0, 3: 0.0}, r"seeds \[2, 3\]"),
        ([1.0], [1.0], "at least 2"),
        ([1.0, 2.0], [1.0], "equally many"),
        ([1.0, float("nan")], [1.0, 1.0], r"pairs \[1\] are not finite"),
        ({1: 0.0, 2: 0.0}, [0.0, 0.0], "the same way"),
    ],
)
def test_arms_that_do_not_pair_are_refused(first: object, second: object, words: str):
    with pytest.raises(InputError, match=words):
        paired_difference(first, second)


@pytest.mark.parametrize(
    ("effect", "error", "options", "state"),
    [
        (3.1, 1.0, {}, "reproduced"),
        (3.0, 1.0, {}, "inconclusive"),
        (-3.1, 1.0, {}, "not reproduced"),
        (3.1, 1.0, {"threshold": 0.5}, "inconclusive"),
        (2.1, 1.0, {"errors": 2.0}, "reproduced"),
        (0.0, 0.0, {}, "inconclusive"),
        (0.1, 0.0, {}, "reproduced"),
        (0.1, 0.0, {"threshold": 0.2}, "not reproduced"),
    ],
)
def test_rule(effect: float, error: float, options: dict, state: str):
    assert decide(effect, error, **options) == state


def test_false_verdicts_are_as_rare_as_the_docstring_says():
    stats = pytest.importorskip("scipy.stats")
    for seeds, percent in ((3, 4.8), (5, 2.0), (15, 0.5)):
        assert round(100 * stats.t.sf(3, seeds - 1), 1) == percent


def test_rule_refuses_nonsense():
    with pytest.raises(InputError, match="error -1"):
        decide(1.0, -1.0)
    with pytest.raises(InputError, match="effect nan"):
        decide(float("nan"), 1.0)
