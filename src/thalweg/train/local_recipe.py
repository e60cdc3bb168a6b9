"""A recipe's table ``[local]``: how many workers, and by which rule they average.

    [local]
    name = "quadratic"      # constant, post_local, quadratic (QSR), inverse, cubic, power
    workers = 2
    alpha = 0.0175
    base = 4

Source: local SGD and its rules, arXiv 2303.01215 and arXiv 2310.14423; see ``local_updates`` and ``periods``.
Differs: 1. ``warmup`` of a rule that reads the learning rate is the schedule's, where the table names none: a rate that
starts near 0 would ask for one endless round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from thalweg.errors import InputError, suggest
from thalweg.train.local_updates import Period, constant_period, post_local
from thalweg.train.periods import cubic, inverse, power_period, quadratic

__all__ = ["PERIODS", "Local", "make_local"]

PERIODS: dict[str, Callable[..., Period]] = {
    "constant": constant_period,
    "post_local": post_local,
    "quadratic": quadratic,
    "inverse": inverse,
    "cubic": cubic,
    "power": power_period,
}
FRACTIONS = ("alpha", "power")


@dataclass(frozen=True, slots=True)
class Local:
    """Local updates as a recipe asks for them.

    Attributes:
        workers: processes, each with weights of its own; they share the recipe's batch.
        period: H of a round.
    """

    workers: int
    period: Period


def make_local(options: Mapping[str, Any], *, warmup: int) -> Local:
    """What a recipe's table ``[local]`` says.

    Args:
        options: ``workers``, ``name`` in ``PERIODS``, and the arguments of that rule.
        warmup: updates in which the schedule warms up.

    Raises:
        InputError: an unknown name or option, one that is missing, or a value that does not fit.
    """
    given = dict(options)
    name, workers = given.pop("name", None), given.pop("workers", None)
    if name not in PERIODS:
        raise InputError(f"local.name = {name!r} is unknown: {suggest(str(name), PERIODS)}")
    if type(workers) is not int or workers < 2:
        raise InputError(f"local.workers = {workers!r} must be a whole number of at least 2, as many as processes")
    known = signature(PERIODS[name]).parameters
    for key, value in given.items():
        if key not in known:
            raise InputError(f"local has no option {key!r} for {name!r}: {suggest(key, known)}")
        if type(value) is not int and not (key in FRACTIONS and type(value) is float):
            kind = "number" if key in FRACTIONS else "whole number"
            raise InputError(f"local.{key} = {value!r} must be a {kind}")
    missing = [key for key, each in known.items() if each.default is Parameter.empty and key not in given]
    if missing:
        raise InputError(f"local.{missing[0]} is missing, which {name!r} needs: add it")
    if "warmup" in known:
        given.setdefault("warmup", warmup)
    try:
        return Local(workers, PERIODS[name](**given))
    except InputError as error:
        raise InputError(f"local: {error}") from None
