"""A plan as plain data and as the part of a recipe that it decides.

Source: our own; the shape of the model is a usual one (depth about width / 100), chosen by no law.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from thalweg.laws.budget.plan import RunPlan
from thalweg.laws.budget.quantities import quantity_text

__all__ = ["model_shape", "plan_dict", "recipe_toml"]

WIDTH_PER_LAYER = 100
STEP = 64  # width of a head; twice that from 16 of them on


def plan_dict(plan: RunPlan) -> dict[str, Any]:
    """The plan as nested dicts, lists and numbers, ready for JSON; what is unknown or infinite is None."""
    return {name: _plain(value) for name, value in asdict(plan).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def model_shape(params: float) -> tuple[int, int, int]:
    """Width, layers and heads of a dense Transformer of about ``params`` parameters without embeddings, 12 L d^2."""
    wanted = (params * WIDTH_PER_LAYER / 12) ** (1 / 3)
    head = 128 if wanted >= 16 * STEP else STEP
    width = max(head, head * round(wanted / head))
    return width, max(1, round(params / (12 * width**2))), width // head


def recipe_toml(plan: RunPlan) -> str:
    """The lines of a recipe that the plan decides: steps, schedule, batch, context and a shape of that size."""
    width, layers, heads = model_shape(plan.params)
    low, high = plan.loss.low, plan.loss.high
    within = f", 90 % of runs within {low:.3f} to {high:.3f}" if plan.loss.known else ", interval unknown"
    lines = [
        f"# thalweg plan: {quantity_text(plan.params)} parameters, {quantity_text(plan.tokens)} tokens, "
        f"{plan.flops:.3g} FLOPs",
        f"# predicted loss {plan.loss.value:.3f} nats/token{within}",
        *(f"# {origin.role}: {origin.name} ({origin.source})" for origin in plan.origins),
        *(f"# outside: {said}" for said in plan.warnings),
    ]
    lines += [f"steps = {plan.steps}"] if plan.steps is not None else []
    lines += [f'schedule = "{plan.schedule}"'] if plan.schedule is not None else []
    lines += [f"batch = {plan.batch}"] if plan.batch is not None else []
    lines += [
        'precision = "bf16"',
        "",
        f"[model]  # {quantity_text(12 * layers * width**2)} parameters without embeddings; no law chose this shape",
        f"dim = {width}",
        f"layers = {layers}",
        f"heads = {heads}",
        f"context = {plan.context}",
        "",
        "[data]",
        f"context = {plan.context}",
        "",
        "[optimizer]",
        'name = "adamw"',
    ]
    return "\n".join(line.replace("\n", " ") for line in lines) + "\n"
