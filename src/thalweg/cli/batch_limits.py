"""How far a rule for another batch size may be trusted: decays, the noise scale, and what is no more than a trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.train.recipe import Recipe

__all__ = ["limit_of", "measured", "option_defaults", "trial", "validity"]


def limit_of(source: Recipe | None, name: str, rule: str, given: dict[str, Any]) -> float:
    """The largest kappa that the decays allow; infinity under the linear rule."""
    from thalweg.schedules.batch_scaling import batch_rule, largest_factor

    name = name if source is None else source.optimizer["name"]
    if (batch_rule(name) if rule == "auto" else rule) == "linear":
        return float("inf")
    options = option_defaults(name) | (given if source is None else source.optimizer)
    return largest_factor({key: options[key] for key in ("betas", "beta") if key in options})


def validity(old: int, new: int, noise: float | None, limit: float) -> tuple[str, ...]:
    """Sentences on how far the rule holds."""
    notes = [f"the decays allow a batch up to {limit * old:,.0f}"] if limit < float("inf") else []
    if noise is None:
        return (*notes, "the rule holds while the batch is well below the noise scale: give --noise-scale or --run")
    if noise == float("inf"):
        return (*notes, "no gradient could be told from its noise: the rule holds, but measure on more --windows")
    worst = max(old, new) / noise
    said = f"the larger batch is {worst:.3g} of the noise scale {noise:.4g}"
    if worst >= 1:
        return (*notes, f"warning: {said}: noise no longer dominates there and the rule does not hold, stay well below")
    return (*notes, f"warning: {said}, not well below it: try it first" if worst > 0.1 else f"{said}: the rule holds")


def trial(source: Recipe | None, name: str) -> tuple[str, ...]:
    """A sentence where the rule was asked for and is derived for other optimizers."""
    from thalweg.schedules.batch_scaling import OPTIMIZER_RULES

    name = name if source is None else source.optimizer["name"]
    if name in OPTIMIZER_RULES:
        return ()
    return (f"warning: no rule is derived for {name}: this is a trial, and hyperparameters not shown stay",)


def measured(run: Path, recipe: Path | None, windows: int) -> float:
    """The noise scale at the newest checkpoint, in sequences."""
    from thalweg.cli.measure import find, measure_one

    _, where, shards, chosen = find(run, recipe)
    options = {"device": "cpu", "windows": windows, "batch": 8, "products": 0, "params": "*", "dtype": None}
    return float(measure_one(where, shards, chosen, ["noise"], **options)["noise"].extra["noise_scale"])


def option_defaults(name: str) -> dict[str, Any]:
    """What an optimizer has for what the rules change; of one without a rule only what is safe to change."""
    from thalweg.optim import OPTIMIZERS, defaults
    from thalweg.schedules.batch_scaling import OPTIMIZER_RULES

    if name in OPTIMIZERS:
        known = ("betas", "beta", "eps", "weight_decay") if name in OPTIMIZER_RULES else ("weight_decay",)
        return {key: value for key, value in defaults(name).items() if key in known}
    return {"adam": {"betas": (0.9, 0.999), "eps": 1e-8}, "rmsprop": {"beta": 0.99, "eps": 1e-8}}.get(name, {})
