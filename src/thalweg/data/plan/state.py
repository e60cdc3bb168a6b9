"""Where a reader of a plan stands: one number, and what it needs to be sure that it is still the same plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from thalweg.data.plan.order import Order
from thalweg.errors import InputError

__all__ = ["read_state", "share", "state_of"]


def state_of(order: Order, sample: int) -> dict[str, Any]:
    """The state after ``sample`` windows were consumed by all ranks together.

    Returns:
        ``sample``, ``fingerprint``, ``plan`` (as ``Plan.to_dict``) and ``skipped``, the windows left out so far.
    """
    return {
        "sample": int(sample),
        "fingerprint": order.fingerprint,
        "plan": order.plan.to_dict(),
        "skipped": _skipped(order, sample),
    }


def read_state(order: Order, state: Mapping[str, Any], *, override: bool = False) -> int:
    """How many windows were consumed when ``state`` was made.

    Args:
        order: what is to be read on.
        state: result of ``state_of``.
        override: go on even though plan or files are others.

    Raises:
        InputError: the plan or a file is another one (it is said which), or windows already read are now skipped.
    """
    try:
        sample, fingerprint = int(state["sample"]), state["fingerprint"]
    except (KeyError, TypeError, ValueError):
        raise InputError("the state of the data has no sample and fingerprint: it was not made by a plan") from None
    if override:
        return sample
    if fingerprint != order.fingerprint:
        raise InputError(
            f"the data plan is not the one of the checkpoint ({_difference(order, state)}): restore it, "
            "or override to go on in another order"
        )
    if list(state.get("skipped", [])) != _skipped(order, sample):
        raise InputError(f"skip names windows that were read before window {sample}: skip only what lies ahead")
    return sample


def share(step: int, *, batch: int, rank: int, world: int, start: int = 0) -> np.ndarray:
    """The places that a rank reads at a step: its part of the global batch [start + step·batch, … + batch).

    The parts of ranks 0 … world - 1, one after another, are the batch of one rank.

    Raises:
        InputError: ``world`` does not divide ``batch``, or numbers out of range.
    """
    if step < 0 or start < 0 or world < 1 or not 0 <= rank < world:
        raise InputError(f"step {step}, start {start}, rank {rank}, world {world}: 0 <= rank < world is needed")
    if batch < 1 or batch % world:
        raise InputError(f"batch {batch} cannot be shared by {world} workers: choose a multiple of {world}")
    rows = batch // world
    return start + step * batch + rank * rows + np.arange(rows, dtype=np.int64)


def _skipped(order: Order, sample: int) -> list[int]:
    """Windows left out before the last one that was consumed."""
    reached = int(order.numbers(np.array([sample - 1]))[0]) if sample else 0
    return [number for number in order.plan.skip if number < reached]


def _difference(order: Order, state: Mapping[str, Any]) -> str:
    """The first thing in which two plans differ, in words."""
    then, now = state.get("plan", {}), order.plan.to_dict()
    for key in now:
        if key != "skip" and (path := _first(then.get(key), now[key], key)):
            return path
    return "a file of its sources has changed"


def _first(then: Any, now: Any, where: str) -> str:
    if then == now or where.endswith(".path"):
        return ""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            if path := _first(then.get(key), now.get(key), f"{where}.{key}"):
                return path
        return ""
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            if path := _first(one, other, f"{where}[{number}]"):
                return path
    return f"{where} was {then!r} and is {now!r}"
