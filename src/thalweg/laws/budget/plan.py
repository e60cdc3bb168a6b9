"""A plan for one training run: size, data, batch, rate, schedule and epochs for a budget, with what each choice costs.

Size and data come from a law L(N, D) (own or published), rate and batch from power laws of N and D, epochs from a law
of repetition, the shape of the schedule from a fitted curve law where there is one. Each names its source; what no law
says is listed as missing.

Source: the laws' own (`published`); the plan is our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.budget import published
from thalweg.laws.budget.compute import Budget, state_memory
from thalweg.laws.budget.costs import TradeOff, choice_rows, straying_rows
from thalweg.laws.budget.curves import EpochCurves, SizeCurve, epoch_curves, size_curve
from thalweg.laws.budget.own import OwnLaws
from thalweg.laws.budget.rates import Estimate, RateLaw
from thalweg.laws.budget.reasons import Origin, beyond, missing, origins, repetition, unspent
from thalweg.laws.budget.scheduling import choose_schedule
from thalweg.laws.budget.search import Constraints, Data, Split, most_tokens, split
from thalweg.laws.budget.sizes import LEVELS, SizeLaw, loss_at

__all__ = ["RunPlan", "plan_run", "round_batch"]

CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A plan.

    Attributes:
        params: N.
        tokens: D read in training, repetitions counted.
        context: tokens a sequence.
        batch: sequences a step.
        steps: optimizer steps.
        learning_rate: peak, with its interval where known; None where no law says it.
        schedule: spec for `schedules.parse`, or None without a rate.
        warmup: steps.
        unique: unique tokens at hand, or None.
        epochs: D over the unique tokens; None where they are not known.
        fresh: fresh tokens that D is worth.
        loss: predicted, nats per token, with the 90 % interval of a run.
        best: size of least loss at this budget without constraints, with its interval.
        flops: 6 N D.
        gpu_hours: on the named device, or None.
        cost: of them, or None.
        memory: bytes of weights, gradients and optimizer state.
        devices: how many of the named device hold that, or None.
        trade_offs: neighbours of the plan.
        warnings: what lies outside the laws' ranges.
        missing: what no law said.
        origins: laws used.
        sizes: loss over model size at the plan's FLOPs.
        by_epochs: loss against epochs, or None.
    """

    params: float
    tokens: float
    context: int
    batch: int | None
    steps: int | None
    learning_rate: Estimate | None
    schedule: str | None
    warmup: int
    unique: float | None
    epochs: float | None
    fresh: float
    loss: Estimate
    best: Estimate
    flops: float
    gpu_hours: float | None
    cost: float | None
    memory: float
    devices: int | None
    trade_offs: tuple[TradeOff, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]
    origins: tuple[Origin, ...]
    sizes: SizeCurve
    by_epochs: EpochCurves | None


def plan_run(
    budget: Budget,
    constraints: Constraints | None = None,
    *,
    unique: float | None = None,
    own: OwnLaws | None = None,
    sizes: str = "besiroglu",
    context: int = CONTEXT,
    shape: str = "cosine",
) -> RunPlan:
    """Plans a run.

    Args:
        budget: what may be spent.
        constraints: what stands already.
        unique: unique tokens at hand; None: always enough.
        own: laws used instead of the published ones.
        sizes: the published law of size and data, where there is no own one.
        context: tokens a sequence, >= 1.
        shape: of the schedule: cosine, wsd or designed (which needs a curve law).

    Raises:
        InputError: constraints that exclude each other, or a value out of range.
    """
    constraints, own = constraints or Constraints(), own or OwnLaws()
    if context < 1:
        raise InputError(f"context is {context}: give the tokens of a sequence, at least 1")
    if sizes not in published.SIZE_LAWS:
        raise InputError(f"law {sizes[:40]!r} is unknown: give one of {', '.join(published.SIZE_LAWS)}")
    if own.configuration is not None:
        from thalweg.laws.budget.configured import plan_configured

        if spare := [name for name in ("sizes", "rates", "reuse") if getattr(own, name) is not None]:
            raise InputError(f"a configuration law decides what own laws of {', '.join(spare)} would: remove either")
        return plan_configured(
            own.configuration, budget, constraints, unique=unique, context=context, shape=shape, curve=own.curve
        )
    law = own.sizes or published.SIZE_LAWS[sizes]
    rates = own.rates or published.RATE_LAWS["step-law"]
    data = Data(unique, own.reuse) if own.reuse is not None else Data(unique)
    chosen = split(law, budget.flops, data, constraints)
    batch, steps, tokens = _steps(rates, chosen, context)
    rate = rates.learning_rate.at(chosen.params, chosen.tokens)
    rows = choice_rows(law, chosen.params, tokens, data, most_tokens(data, constraints))
    rows += straying_rows(rate.value, batch, context)
    warnings = beyond(law, rates, chosen.params, tokens)
    made = None
    if steps is not None:
        made = choose_schedule(
            shape, steps=steps, peak=rate.value, warmup=rates.warmup or 2000, floor=rates.floor or 0.0, curve=own.curve
        )
        rows, warnings = [*rows, *made.rows], [*warnings, *made.notes]
    flops = 6 * chosen.params * tokens
    epochs = None if unique is None else tokens / unique
    warnings += [*repetition(data, epochs), *unspent(budget, flops)]
    memory, devices = state_memory(chosen.params, budget.device)
    fresh = float(data.fresh(np.array(tokens)))
    return RunPlan(
        params=chosen.params,
        tokens=tokens,
        context=context,
        batch=batch,
        steps=steps,
        learning_rate=rate,
        schedule=None if made is None else made.spec,
        warmup=0 if made is None else made.warmup,
        unique=unique,
        epochs=epochs,
        fresh=fresh,
        loss=_loss(law, chosen.params, fresh),
        best=Estimate(chosen.best, chosen.low, chosen.high),
        flops=flops,
        gpu_hours=budget.hours(flops),
        cost=budget.cost(flops),
        memory=memory,
        devices=devices,
        trade_offs=tuple(rows),
        warnings=tuple(warnings),
        missing=missing(law, own, unique, budget, steps),
        origins=origins(law, rates, data, own),
        sizes=size_curve(law, flops, chosen.params, chosen.best, data),
        by_epochs=epoch_curves(law, chosen.params, tokens, data),
    )


def _steps(rates: RateLaw, chosen: Split, context: int) -> tuple[int | None, int | None, float]:
    """Batch in sequences, steps and the tokens that they read; None, None and D where no law says the batch."""
    if rates.batch is None:
        return None, None, chosen.tokens
    batch = round_batch(rates.batch.at(chosen.params, chosen.tokens).value / context)
    steps = max(1, math.floor(chosen.tokens / (batch * context) + 1e-9))
    if steps == 1:
        batch = max(1, math.floor(chosen.tokens / context))
    return batch, steps, float(steps * batch * context)


def round_batch(sequences: float) -> int:
    """The nearest 2^k or 3 · 2^k, by ratio, at least 1."""
    options = [whole for k in range(1, 40) for whole in (2**k, 3 * 2 ** (k - 1))]
    return min([1, *options], key=lambda whole: abs(math.log(whole / max(sequences, 1e-9))))


def _loss(law: SizeLaw, size: float, fresh: float) -> Estimate:
    """Predicted loss; the interval is that of a run: uncertainty of the law and scatter of runs."""
    drawn = law.draws()
    losses = loss_at(drawn, np.array([size]), np.array([fresh]))[:, 0]
    middle = float(losses[0])
    if len(losses) == 1:
        return Estimate(middle, middle, middle)
    runs = losses * np.exp(law.spread * np.random.default_rng(1).standard_normal(len(losses)))
    low, high = np.quantile(runs, LEVELS)
    return Estimate(middle, float(low), float(high))
