"""What WSD costs with several budgets."""

from __future__ import annotations

import pytest

from thalweg.errors import InputError
from thalweg.schedules import wsd_branches


def test_compute_is_the_main_run_and_all_decays() -> None:
    plan = wsd_branches([500, 1000, 2000], decay=0.1)
    assert plan.starts == (450, 900, 1800)
    assert plan.decays == (50, 100, 200)
    assert plan.total == plan.starts[-1] + sum(plan.decays) == 2150
    assert plan.spent == (500, 1050, 2150)


def test_at_equal_compute_the_branches_end_earlier() -> None:
    plan = wsd_branches([500, 1000, 2000], decay=0.1, counted="compute")
    assert plan.spent == (500, 1000, 2000)
    assert plan.ends == (500, 950, 1855)
    assert plan.total == plan.starts[-1] + sum(plan.decays) == 2000


def test_whole_steps() -> None:
    assert wsd_branches([10, 20], decay=4).starts == (6, 16)
    assert wsd_branches([10, 11], decay=5).starts == (5, 6)  # decays may overlap: they are separate branches


@pytest.mark.parametrize(
    ("budgets", "decay", "sentence"),
    [
        ([], 0.1, "empty"),
        ([10, 5], 2, "branch at step 3"),
        ([10], 11, "branch at step -1"),
        ([0], 0.1, "at least 1"),
        ([2.5], 0.1, "whole number"),
        ([10], 0, "above 0"),
        ([10], 1.5, "whole steps"),
    ],
)
def test_bad_budgets_are_refused(budgets: list, decay: float, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        wsd_branches(budgets, decay=decay)


def test_bad_counting_is_refused() -> None:
    with pytest.raises(InputError, match="counted"):
        wsd_branches([10], counted="flops")  # type: ignore[arg-type]
