"""What WSD costs when checkpoints are wanted at several budgets: the main branch and the decays that are thrown away.

WSD branches from the main (constant) run d_i steps before each budget B_i, decays to B_i, and goes on from the main
run, which never uses decayed weights. Its compute is that of the main run and of all decays; WSD-S has one run only.

Source: arXiv 2410.05192 (Method, Schedules; comparison at equal compute).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from thalweg.errors import InputError
from thalweg.schedules.base import turn

__all__ = ["Branches", "wsd_branches"]


class Branches(NamedTuple):
    """A main run and its decays; one entry a budget, in steps.

    Attributes:
        ends: steps behind each decayed checkpoint (branch point + decay).
        starts: the step of the main run from which each decay branches.
        decays: lengths of the decays.
        spent: steps computed, on all branches, when each checkpoint is ready.
        total: steps computed in all: main run and decays.
    """

    ends: tuple[int, ...]
    starts: tuple[int, ...]
    decays: tuple[int, ...]
    spent: tuple[int, ...]
    total: int


def wsd_branches(
    budgets: Sequence[int], *, decay: float = 0.1, counted: Literal["steps", "compute"] = "steps"
) -> Branches:
    """Where WSD branches for each budget, and what main run and decays cost together.

    Args:
        budgets: increasing whole numbers of steps (>= 1).
        decay: length of each decay: fraction of its budget (up to 1), or whole steps.
        counted: ``steps`` where a budget is the steps behind its checkpoint, ``compute`` where it is all that was
            computed until then, so that earlier decays shorten the later branches (the comparison with WSD-S, whose
            budgets are both, at equal compute).

    Raises:
        InputError: budgets that do not increase, or a decay that does not leave the main run moving forward.
    """
    if counted not in ("steps", "compute"):
        raise InputError(f"counted={counted!r} is not known; give 'steps' or 'compute'")
    if not decay > 0 or (decay > 1 and decay != int(decay)):
        raise InputError(f"decay={decay!r} must be a fraction above 0 up to 1, or whole steps")
    ends, starts, decays, spent = [], [], [], []
    wasted = 0
    for budget in budgets:
        if isinstance(budget, bool) or budget != int(budget) or budget < 1:
            raise InputError(f"budget {budget!r} must be a whole number of steps of at least 1")
        end = int(budget) - (wasted if counted == "compute" else 0)
        count = end - turn(decay, end, end)
        if end - count < (starts[-1] if starts else 0):
            raise InputError(
                f"the decay of {count} steps for budget {budget} would branch at step {end - count}, before that of "
                "the budget before it; let budgets increase by more, or shorten decay"
            )
        ends.append(end)
        starts.append(end - count)
        decays.append(count)
        spent.append(end + wasted)
        wasted += count
    if not ends:
        raise InputError("budgets is empty; give at least one")
    return Branches(tuple(ends), tuple(starts), tuple(decays), tuple(spent), spent[-1])
