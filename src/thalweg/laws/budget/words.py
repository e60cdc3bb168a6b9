"""A plan in words and rounded numbers, the same on the command line and on the page.

Source: our own.
"""

from __future__ import annotations

import math

from thalweg.laws.budget.compute import DEVICES, STATE_BYTES
from thalweg.laws.budget.costs import TradeOff, groups
from thalweg.laws.budget.plan import RunPlan
from thalweg.laws.budget.quantities import quantity_text

__all__ = ["change_text", "choice_words", "facts", "range_text"]

MINUS = "\N{MINUS SIGN}"


def change_text(value: float) -> str:
    """A difference of losses with its sign, in four decimals."""
    return f"{value:+.4f}".replace("-", MINUS) if abs(value) >= 5e-5 else "0"


def range_text(row: TradeOff) -> str:
    """The ends of a difference; empty where none is known."""
    if row.chosen or not math.isfinite(row.low):
        return ""
    return f"{change_text(row.low)} to {change_text(row.high)}"


def choice_words(plan: RunPlan) -> dict[str, list[tuple[str, str, str, str, str]]]:
    """The trade-offs by choice: setting, change of loss, its range, FLOPs as a multiple, the law that says so."""
    return {
        choice: [
            (
                f"{row.setting} (plan)" if row.chosen else row.setting,
                change_text(row.loss),
                range_text(row),
                f"{row.flops:.3g}",
                row.basis,
            )
            for row in rows
        ]
        for choice, rows in groups(plan.trade_offs).items()
    }


def facts(plan: RunPlan, *, mfu: float, device: str | None) -> list[tuple[str, str, str]]:
    """What the plan says: name, value, interval or note."""
    loss = (
        f"90 % of runs: {plan.loss.low:.3f} to {plan.loss.high:.3f}"
        if plan.loss.known
        else "no usable interval is known"
    )
    best = quantity_text(plan.best.value)
    within = f", 90 %: {quantity_text(plan.best.low)} to {quantity_text(plan.best.high)}" if plan.best.known else ""
    rows = [
        ("predicted loss", f"{plan.loss.value:.3f} nats/token", loss),
        ("parameters", quantity_text(plan.params), f"best at these FLOPs: {best}{within}"),
        ("tokens", quantity_text(plan.tokens), f"{plan.tokens / plan.params:.3g} a parameter"),
    ]
    if plan.epochs is not None and plan.unique is not None:
        worth = f"of {quantity_text(plan.unique)}; worth {quantity_text(plan.fresh)} fresh tokens"
        if plan.epochs > 1 and plan.fresh == plan.tokens:
            worth = f"of {quantity_text(plan.unique)}; no law of repetition is used"
        rows.append(("epochs", f"{plan.epochs:.3g}", worth))
    if plan.batch is not None and plan.steps is not None:
        size = f"{quantity_text(plan.batch * plan.context)} tokens, {plan.context} a sequence"
        rows += [("batch", f"{plan.batch} sequences", size), ("steps", f"{plan.steps:,}", f"warm-up {plan.warmup:,}")]
    if plan.learning_rate is not None:
        rate = plan.learning_rate
        ends = f"90 %: {rate.low:.3g} to {rate.high:.3g}" if rate.known else "no interval"
        rows.append(("peak learning rate", f"{rate.value:.3g}", ends))
    if plan.schedule is not None:
        spec = plan.schedule if len(plan.schedule) <= 90 else plan.schedule[:87] + "…"
        rows.append(("schedule", spec, ""))
    rows.append(("training", f"{plan.flops:.3g} FLOPs", f"6 N D; a token in use: {2 * plan.params:.3g}, 2 N"))
    if plan.gpu_hours is not None and device is not None:
        cost = "" if plan.cost is None else f", cost {plan.cost:,.2f}"
        said = f"{DEVICES[device].title}, {100 * mfu:g} % of {DEVICES[device].peak / 1e12:g} TFLOP/s{cost}"
        rows.append(("GPU hours", f"{plan.gpu_hours:,.4g}", said))
    held = "" if plan.devices is None else f", at least {plan.devices} device{'s' if plan.devices > 1 else ''}"
    rows.append(("memory", f"{plan.memory / 1e9:.3g} GB", f"{STATE_BYTES} bytes a parameter{held}; activations on top"))
    return rows
