"""A plan from a fitted configuration law: it chooses size, rate, batch and what else was varied in one search.

Source: arXiv 2602.10300, joint tuning, by `laws.configuration.plan`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.budget import published
from thalweg.laws.budget.compute import Budget, state_memory
from thalweg.laws.budget.costs import TradeOff
from thalweg.laws.budget.curves import SizeCurve
from thalweg.laws.budget.plan import RunPlan
from thalweg.laws.budget.quantities import quantity_text
from thalweg.laws.budget.rates import Estimate
from thalweg.laws.budget.reasons import Origin, ranges
from thalweg.laws.budget.scheduling import choose_schedule
from thalweg.laws.budget.search import Constraints, Data, most_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thalweg.laws.configuration import ConfigurationLaw, Plan
    from thalweg.laws.law import Law

__all__ = ["plan_configured"]

TUNED = ("learning_rate", "batch_size", "weight_decay")
NAMES = {"params": "model size", "learning_rate": "learning rate", "batch_size": "batch"}


def plan_configured(
    law: ConfigurationLaw,
    budget: Budget,
    constraints: Constraints,
    *,
    unique: float | None,
    context: int,
    shape: str,
    curve: Law | None = None,
) -> RunPlan:
    """The plan of least predicted loss of a configuration law; the schedule's shape is a curve law's to choose.

    Raises:
        InputError: constraints that the law cannot follow, or what its search refuses.
    """
    flops = budget.flops
    if flops is None:
        if constraints.params is None or constraints.tokens is None:
            raise InputError("there is no budget: give one in FLOPs or GPU hours, or both parameters and tokens")
        flops = 6 * constraints.params * constraints.tokens
        constraints = replace(constraints, tokens=None)
    elif constraints.params is not None and constraints.tokens is not None:
        raise InputError("budget, params and tokens are all given: the third follows from two, leave one out")
    found, free = _searched(law, flops, constraints, unique)
    best = float(free.config["params"])
    config = found.config
    size, tokens = float(config["params"]), float(config["tokens"])
    own_rate = config.get("learning_rate")
    fallback = published.RATE_LAWS["step-law"]
    rate = fallback.learning_rate.at(size, tokens)
    if own_rate is not None:
        rate = Estimate(float(own_rate), float(own_rate), float(own_rate))
    assert fallback.batch is not None
    batch = round(float(config.get("batch_size") or fallback.batch.at(size, tokens).value / context)) or 1
    steps = max(1, math.floor(tokens / (batch * context) + 1e-9))
    tokens = float(steps * batch * context)
    made = choose_schedule(shape, steps=steps, peak=rate.value, warmup=_warmup(config), floor=1e-5, curve=curve)
    memory, devices = state_memory(size, budget.device)
    epochs = None if unique is None else tokens / unique
    warnings = [*made.notes, *([f"outside the fitted runs: {found.beyond}"] if found.beyond else [])]
    if epochs is not None and epochs > 1:
        warnings.append(f"{epochs:.3g} epochs: the configuration law counts repeated tokens as fresh ones")
    missing = ["intervals of size and rate: the configuration law has them for the loss only"]
    missing += [] if curve is not None else ["what the schedule's shape costs: that needs a fitted curve law"]
    missing += [] if budget.device else ["GPU hours and cost: no device is named"]
    flops = 6 * size * tokens
    return RunPlan(
        params=size,
        tokens=tokens,
        context=context,
        batch=batch,
        steps=steps,
        learning_rate=rate,
        schedule=made.spec,
        warmup=made.warmup,
        unique=unique,
        epochs=epochs,
        fresh=tokens,
        loss=Estimate(found.loss, found.low, found.high),
        best=Estimate(best, best, best),
        flops=flops,
        gpu_hours=budget.hours(flops),
        cost=budget.cost(flops),
        memory=memory,
        devices=devices,
        trade_offs=(*_rows(found, flops, context), *made.rows),
        warnings=tuple(warnings),
        missing=tuple(missing),
        origins=_origins(law, found),
        sizes=_curve(free),
        by_epochs=None,
    )


def _origins(law: ConfigurationLaw, found: Plan) -> tuple[Origin, ...]:
    """The law, and Step Law where it was fitted without rate or batch."""
    words = ", ".join(f"{k}={v if isinstance(v, str) else format(v, '.4g')}" for k, v in found.config.items())
    about = f"Chose {words}. The least of many predictions is optimistic."
    where = f"{len(law.table)} runs, {law.table.flops.min():.3g} to {law.table.flops.max():.3g} FLOPs"
    own = Origin("everything but the schedule's shape", "configuration law", law.backbone, about, where)
    if {"learning_rate", "batch_size"} <= set(found.config):
        return (own,)
    other = published.RATE_LAWS["step-law"]
    return own, Origin("rate or batch", other.name, other.source, other.about, ranges(other.sizes, other.tokens))


def _searched(law: ConfigurationLaw, flops: float, constraints: Constraints, unique: float | None) -> tuple[Plan, Plan]:
    """The plan under the constraints, and without any on the size."""
    from thalweg.laws.configuration import plan

    tune = [name for name in TUNED if name in law.table.numbers]
    tune += [name for name, words in law.table.texts.items() if len({word for word in words if word}) > 1]
    if not tune:
        raise InputError("the configuration law was fitted to sizes and data only: give a chinchilla-size law instead")
    free = plan(law, budget=flops, tune=tune)
    best = float(free.config["params"])
    most = most_tokens(Data(unique), constraints)
    size = constraints.params or (flops / 6 / constraints.tokens if constraints.tokens else None)
    if size is None and constraints.overtrain != 1:
        size = best / math.sqrt(constraints.overtrain)
    if flops / 6 / (size or best) > most:
        size = flops / 6 / most
    return (free if size is None else plan(law, budget=flops, tune=tune, fixed={"params": size})), free


def _curve(free: Plan) -> SizeCurve:
    """Loss over size, all else at the unconstrained plan's."""
    rows = sorted((float(c.value), c.loss, c.low, c.high) for c in free.trade_offs["params"])
    return SizeCurve(*zip(*rows, strict=True))


def _warmup(config: Mapping[str, object]) -> int:
    value = config.get("warmup")
    return int(value) if isinstance(value, float) and np.isfinite(value) else 2000


def _rows(found: Plan, flops: float, context: int) -> tuple[TradeOff, ...]:
    """The search's own trade-offs; a difference has no interval, as the law has none for pairs."""
    rows = []
    for name in sorted(found.trade_offs, key=lambda name: name != "params"):
        choices = found.trade_offs[name]
        if len(choices) < 2:
            continue
        for choice in choices:
            value = choice.value
            if isinstance(value, str):
                words = value
            elif name == "params":
                words = f"{quantity_text(value)} parameters, {quantity_text(flops / 6 / value)} tokens"
            elif name == "batch_size":
                words = f"{value:.4g} sequences, {quantity_text(value * context)} tokens"
            else:
                words = f"{value:.3g}"
            same = value == found.config.get(name)
            rows.append(
                TradeOff(
                    NAMES.get(name, name.replace("_", " ")), words, choice.loss - found.loss, math.nan, math.nan, 1.0,
                    "configuration law", same,
                )
            )  # fmt: skip
    return tuple(rows)
