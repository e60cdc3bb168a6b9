"""Which hyperparameters must be tuned again at another size or budget, and which may stay.

Of each regime (size, budget) the configurations within ``tolerance`` of its best loss are near-best. A hyperparameter
is scale-insensitive if one value occurs among the near-best of every regime; of any other the smallest set of values
that meets the near-best of every regime is kept, and only those values are tried elsewhere.

Source: arXiv 2509.02046, phase II (tolerance 6.4e-3 in the paper, 7e-3 in the code); code
experiments/optimizer_sweep of marin-community/marin.
Differs: 1. of several smallest sets the one of least values is taken and the others are named.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.errors import InputError

__all__ = ["TOLERANCE", "Sensitivity", "near_best", "sensitive_hyperparameters"]

TOLERANCE = 6.4e-3
"""Nats per token, the paper's; its code has 7e-3."""

Value = float | int | str | bool | None
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What phase I says of one optimizer.

    Args:
        sensitive: hyperparameter -> the smallest set of values that serves every regime.
        fixed: hyperparameter -> a value that is near-best in every regime, the most frequent of these.
        alternatives: hyperparameter -> other sets as small.
    """

    sensitive: dict[str, tuple[Value, ...]]
    fixed: dict[str, Value]
    alternatives: dict[str, tuple[tuple[Value, ...], ...]]


def near_best(runs: Sequence[tuple[Values, float]], tolerance: float = TOLERANCE) -> list[Values]:
    """The configurations whose loss is within ``tolerance`` of the least one's, best first."""
    ordered = sorted((run for run in runs if run[1] < float("inf")), key=lambda run: run[1])
    return [values for values, loss in ordered if loss <= ordered[0][1] + tolerance]


def sensitive_hyperparameters(near: Mapping[Any, Sequence[Values]]) -> Sensitivity:
    """Applies the rule to the near-best configurations of each regime.

    Args:
        near: regime -> its near-best configurations, all with the same hyperparameters.

    Raises:
        InputError: no regime, one without configurations, or configurations that lack a hyperparameter.
    """
    if not near or not all(near.values()):
        raise InputError("every regime needs at least one near-best configuration: leave regimes without runs out")
    names = list(next(iter(near.values()))[0])
    for regime, kept in near.items():
        for values in kept:
            if values.keys() != set(names):
                odd = sorted(values.keys() ^ set(names))
                raise InputError(f"regime {regime}: configurations differ in {odd}: give each the same hyperparameters")
    sensitive, fixed, others = {}, {}, {}
    for name in names:
        found = [[values[name] for values in kept] for kept in near.values()]
        common = set.intersection(*(set(values) for values in found))
        if common:
            everything = list(itertools.chain.from_iterable(found))
            fixed[name] = max(sorted(common, key=_order), key=everything.count)
            continue
        sets = _smallest([set(values) for values in found])
        sensitive[name] = sets[0]
        if len(sets) > 1:
            others[name] = tuple(sets[1:])
    return Sensitivity(sensitive, fixed, others)


def _smallest(regimes: Sequence[set[Value]]) -> list[tuple[Value, ...]]:
    """All smallest sets of values that meet every regime's, in order."""
    options = sorted(set().union(*regimes), key=_order)
    for count in range(1, len(options) + 1):
        found = [pick for pick in itertools.combinations(options, count) if all(set(pick) & has for has in regimes)]
        if found:
            return found
    return []


def _order(value: Value) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)
