"""Rounds begin and end where the rule says; the mean over workers is the caller's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thalweg.errors import InputError
from thalweg.train.local_updates import LocalUpdates, constant_period, post_local, stacked_mean


def ends(updates: LocalUpdates, rates: Sequence[float]) -> list[int]:
    """The steps after which workers were averaged."""
    return [step for step, lr in enumerate(rates, 1) if updates.after_step([], lr=lr)]


@given(period=st.integers(1, 20), steps=st.integers(1, 60))
def test_a_run_ends_in_a_mean(period: int, steps: int) -> None:
    updates = LocalUpdates(constant_period(period), steps=steps)
    expected = sorted({*range(period, steps + 1, period), steps})
    assert ends(updates, [0.1] * steps) == expected
    assert (updates.step, updates.averages) == (steps, len(expected))


def test_post_local_averages_every_step_until_the_switch() -> None:
    assert ends(LocalUpdates(post_local(3, 4), steps=13), [0.1] * 13) == [1, 2, 3, 7, 11, 13]


def test_the_rate_of_a_rounds_first_step_sets_its_length() -> None:
    """H = (alpha / lr)^2 (arXiv 2310.14423) while the rate falls: later rates of a round have no say."""
    asked = []

    def quadratic(step: int, lr: float) -> int:
        asked.append((step, lr))
        return max(2, int((0.4 / lr) ** 2))

    rates = [0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.01, *[0.001] * 13, 1e-9]
    assert ends(LocalUpdates(quadratic, steps=len(rates)), rates) == [4, 21]
    assert asked == [(0, 0.2), (4, 0.05)]


@pytest.mark.parametrize("cut", [1, 4, 5, 9])
def test_counters_resume_within_a_round_too(cut: int) -> None:
    whole = ends(LocalUpdates(post_local(2, 4), steps=12), [0.1] * 12)
    first, second = (LocalUpdates(post_local(2, 4), steps=12) for _ in range(2))
    begun = ends(first, [0.1] * cut)
    second.load_state_dict(first.state_dict())
    assert begun + [cut + end for end in ends(second, [0.1] * (12 - cut))] == whole
    assert second.averages == len(whole)


def test_the_mean_is_the_callers() -> None:
    """One worker a process would put an all-reduce here; only what is handed over is averaged."""
    seen: list[Sequence[Tensor]] = []
    updates = LocalUpdates(constant_period(2), steps=4, mean=seen.append)
    weights = [torch.ones(3)]
    assert [updates.after_step(weights, lr=0.1) for _ in range(4)] == [False, True, False, True]
    assert [found is weights for found in seen] == [True, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_stacked_mean(dtype: torch.dtype) -> None:
    tensor = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = tensor.double().mean(0)
    view = tensor[:]
    stacked_mean([view])
    assert all(torch.equal(row, tensor[0]) for row in tensor)
    torch.testing.assert_close(tensor[0].double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: constant_period(0), "period=0"),
        (lambda: post_local(-1, 4), "switch=-1"),
        (lambda: LocalUpdates(constant_period(1), steps=0), "steps=0"),
        (lambda: LocalUpdates(lambda step, lr: 0, steps=2).after_step([], lr=0.1), "period at step 0 is 0"),
        (lambda: ends(LocalUpdates(constant_period(1), steps=2), [0.1] * 3), "step 3 is after the last"),
    ],
)
def test_bad_input_names_itself(act, match: str) -> None:
    with pytest.raises(InputError, match=match):
        act()
