"""Differences paired over seeds, and the rule that turns one into a verdict.

Two arms that share a seed share the data order and the initial weights, so most of the noise between seeds cancels in
their difference: its standard error is that of a one-sample mean over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from thalweg.errors import InputError

__all__ = ["PairedDifference", "decide", "paired_difference"]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A mean difference over paired seeds.

    Attributes:
        effect: mean of (first − second), in the unit of the values.
        error: standard error of that mean, s/√n with s the sample deviation (n − 1); same unit.
        runs: number n of pairs.
    """

    effect: float
    error: float
    runs: int


def paired_difference(
    first: Mapping[int, float] | Sequence[float], second: Mapping[int, float] | Sequence[float]
) -> PairedDifference:
    """Mean and standard error of first − second over paired seeds.

    Args:
        first: final values by seed, or in the same order of seeds as ``second``.
        second: the other arm's values.

    Raises:
        InputError: the arms do not hold the same seeds, there are fewer than two, or a value is not finite.
    """
    if isinstance(first, Mapping) != isinstance(second, Mapping):
        raise InputError("one arm is given by seed and the other in order: give both the same way")
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if alone := sorted(first.keys() ^ second.keys()):
            raise InputError(f"seeds {alone} were run in one arm only: run them in both or leave them out")
        seeds = sorted(first)
        first, second = [first[seed] for seed in seeds], [second[seed] for seed in seeds]
    if len(first) != len(second) or len(first) < 2:
        raise InputError(f"the arms have {len(first)} and {len(second)} values: pairing needs equally many, at least 2")
    gaps = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if not np.isfinite(gaps).all():
        raise InputError(f"pairs {np.flatnonzero(~np.isfinite(gaps)).tolist()} are not finite: a run diverged")
    return PairedDifference(float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps))), len(gaps))


def decide(
    effect: float, error: float, *, threshold: float = 0.0, errors: float = 3.0
) -> Literal["reproduced", "not reproduced", "inconclusive"]:
    """The verdict on "the effect exceeds ``threshold``", by a rule fixed before the runs.

    Reproduced if effect − threshold > errors · error, not reproduced if effect − threshold < −errors · error, else
    inconclusive. With n seeds the chance of a false verdict is that of Student's t beyond ``errors`` at n − 1 degrees
    of freedom: 4.8 % for 3 seeds, 2.0 % for 5, 0.5 % for 15 (errors = 3).

    Args:
        effect: in the unit of the claim, positive in the claim's direction.
        error: its standard error, ≥ 0, same unit.
        threshold: the smallest effect that the claim speaks of, same unit.
        errors: how many standard errors are asked for, > 0.

    Raises:
        InputError: ``error`` is negative, ``errors`` is not positive, or a value is not finite.
    """
    if not np.isfinite([effect, error, threshold, errors]).all() or error < 0 or errors <= 0:
        raise InputError(f"effect {effect}, error {error}, errors {errors}: give finite values, error ≥ 0, errors > 0")
    margin = effect - threshold
    if margin > errors * error:
        return "reproduced"
    return "not reproduced" if margin < -errors * error else "inconclusive"
