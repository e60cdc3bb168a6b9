"""Another batch size for what is alive: the groups of an optimizer, or a recipe, by the rule of its update.

Adam and its kin follow the square-root rule, SGD the linear one (``thalweg.schedules.scale_hyperparameters``); for
others none is derived, and they are refused unless the rule is named.

Source: arXiv 2205.10287; arXiv 1706.02677 (linear).
Differs: 1. decoupled weight decay scales (an extension); decay that is part of the gradient does not. 2. moments are
kept as they are unless asked: the second one is then kappa times too large for the next 1 / (kappa (1 - beta2)) steps,
which are too small meanwhile, by sqrt(kappa) at most. What the equation keeps is v over the variance of the gradient,
so "continued" divides v and the number of steps by kappa.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from thalweg.errors import InputError
from thalweg.schedules import parse
from thalweg.schedules.batch_scaling import BATCH_RULES, OPTIMIZER_RULES, batch_rule, scale_hyperparameters
from thalweg.schedules.scaled import scale_schedule, scaled_steps
from thalweg.train.recipe import CheckpointRecipe, EvaluationRecipe, Recipe

__all__ = ["scale_optimizer", "scale_recipe"]

TORCH_NAMES = {"alpha": "beta"}
"""What a group calls a hyperparameter, where it is another word."""
SECOND_MOMENTS = {"exp_avg_sq", "max_exp_avg_sq", "square_avg"}


def scale_optimizer(
    optimizer: Optimizer,
    from_batch: float,
    to_batch: float,
    *,
    rule: str = "auto",
    include: Collection[str] | None = None,
    schedulers: Sequence[LRScheduler] = (),
    moments: Literal["kept", "continued"] = "kept",
) -> float:
    """Changes every group of a live optimizer in place for another batch size.

    Args:
        optimizer: one of this library or of torch, or a wrapper that shares its groups (SAM, SVAG).
        from_batch: samples of an update so far.
        to_batch: samples of an update from now on.
        rule: "square-root", "linear" or "auto", by the group's own update rule.
        include: hyperparameters to change; by default all that the rule changes.
        schedulers: of this optimizer: their base rates change alike. They still count the old steps: the rest of the
            run takes from_batch / to_batch as many, so give a schedule that ends sooner (``scale_schedule``).
        moments: "kept" leaves the state bit for bit; "continued" divides second moments and step counts by kappa where
            the square-root rule holds, so that they are those of a run that had this batch from the start.

    Returns:
        kappa = to_batch / from_batch.

    Raises:
        InputError: a batch that is not above 0, an optimizer without a rule, a decay that would fall below 0; nothing
            has changed then.
    """
    if moments not in ("kept", "continued"):
        raise InputError(f"moments={moments!r} must be 'kept' or 'continued'")
    if not (from_batch > 0 and to_batch > 0):
        raise InputError(f"from_batch={from_batch!r} and to_batch={to_batch!r} must be above 0")
    kappa, plans = to_batch / from_batch, []
    kernel = optimizer
    while isinstance(inner := getattr(kernel, "base", None), Optimizer):
        kernel = inner
    for group in kernel.param_groups:
        name = group.get("rule") or type(kernel).__name__.lower()
        chosen = batch_rule(str(name)) if rule == "auto" else rule
        given = _hyperparameters(kernel, group, chosen, include or ())
        new = scale_hyperparameters(given | {"lr": 1.0}, kappa, rule=chosen, include=include)
        plans.append((group, new | {"lr": given.get("lr", group["lr"]) * new["lr"]}, new["lr"]))
    for scheduler in schedulers:
        if scheduler.optimizer not in (optimizer, kernel):
            raise InputError("schedulers holds one of another optimizer: its base rates would not fit")
    for place, (group, new, factor) in enumerate(plans):
        for key in ("initial_lr", "base_lr"):
            if key in group:
                group[key] = group[key] * factor
        for scheduler in schedulers:
            scheduler.base_lrs[place] = scheduler.base_lrs[place] * factor
            scheduler._last_lr[place] = scheduler._last_lr[place] * factor
        for name, key in ((TORCH_NAMES.get(key, key), key) for key in group):
            if name in new and isinstance(group[key], Tensor):
                group[key].fill_(new[name])
            elif name in new:
                group[key] = new[name]
        if moments == "continued" and "eps" in new:
            for p in group["params"]:
                _continue(kernel.state.get(p, {}), kappa)
    return kappa


def _continue(state: dict[str, Any], kappa: float) -> None:
    """A parameter's second moments and its count of steps, as the run of the new batch would have them."""
    for key in SECOND_MOMENTS & state.keys():
        state[key].div_(kappa)
    step = state.get("step")
    if isinstance(step, Tensor):
        step.copy_((step / kappa).round().clamp(min=1))
    elif step is not None:
        state["step"] = max(1, round(step / kappa))


def _hyperparameters(
    optimizer: Optimizer, group: dict[str, Any], rule: str, include: Collection[str]
) -> dict[str, Any]:
    """What a rule changes in a group, as numbers; a decay that is part of the gradient stays under the square root."""
    names = {TORCH_NAMES.get(key, key): value for key, value in group.items()}
    found = {
        name: float(names[name]) if isinstance(names[name], Tensor) else names[name]
        for name in {*BATCH_RULES.get(rule, ()), *include}
        if name in names
    }
    outside = type(optimizer).__module__.startswith("torch.optim") and type(optimizer).__name__ != "AdamW"
    if rule == "square-root" and outside and not group.get("decoupled_weight_decay", False):
        found.pop("weight_decay", None)
    return found


def scale_recipe(recipe: Recipe, to_batch: int, *, rule: str = "auto") -> tuple[Recipe, tuple[str, ...]]:
    """The recipe at another batch size: as many samples, evaluations and checkpoints at the same samples.

    Micro-batches stay as large as they were or become a little smaller, so memory does not grow.

    Args:
        recipe: of the run at its batch.
        to_batch: sequences of an update, >= 1.
        rule: "square-root", "linear" or "auto"; of an optimizer that has none, a named one changes rate and decay only.

    Returns:
        The new recipe, and what it leaves as it was though it may matter, a sentence each.

    Raises:
        InputError: see ``scale_optimizer`` and ``scale_schedule``.
    """
    if to_batch < 1:
        raise InputError(f"to_batch={to_batch} must be at least 1")
    from thalweg.optim import defaults

    options, kappa = dict(recipe.optimizer), to_batch / recipe.batch
    chosen = batch_rule(options["name"]) if rule == "auto" else rule
    filled = defaults(options["name"]) | options
    known = ("betas", "beta", "eps", "weight_decay") if options["name"] in OPTIMIZER_RULES else ("weight_decay",)
    old = {name: filled[name] for name in known if name in filled}
    old = {name: value for name, value in old.items() if name in BATCH_RULES.get(chosen, ())}
    new = scale_hyperparameters(old | {"lr": 1.0, "ema": recipe.ema}, kappa, rule=chosen)
    factor, ema = new.pop("lr"), new.pop("ema")
    schedule = scale_schedule(parse(recipe.schedule), kappa, factor=factor, steps=recipe.steps)
    steps = scaled_steps(recipe.steps, kappa)
    every = {
        part: scaled_steps(plan.every, kappa) if plan.every else 0
        for part, plan in (("evaluation", recipe.evaluation), ("checkpoint", recipe.checkpoint))
    }
    made = recipe.replace(
        batch=to_batch,
        steps=steps,
        schedule=str(schedule),
        **_parts(recipe, to_batch),
        ema=ema,
        optimizer=options | new,
        evaluation=EvaluationRecipe(every["evaluation"], recipe.evaluation.windows, recipe.evaluation.batch),
        checkpoint=CheckpointRecipe(
            every["checkpoint"],
            recipe.checkpoint.keep,
            tuple(sorted({min(steps, scaled_steps(at, kappa)) for at in recipe.checkpoint.at})),
        ),
    )
    return made, _left(recipe, kappa, steps)


def _parts(recipe: Recipe, to_batch: int) -> dict[str, int]:
    micro = recipe.batch // recipe.parts
    counts = [n for n in range(1, to_batch + 1) if to_batch % n == 0]
    if recipe.micro_batches:
        powers = [n for n in counts if not n & (n - 1)]
        return {"micro_batches": next((n for n in powers if to_batch // n <= micro), powers[-1])}
    return {"accumulate": next(n for n in counts if to_batch // n <= micro)}


def _left(recipe: Recipe, kappa: float, steps: int) -> tuple[str, ...]:
    notes = []
    if recipe.clip:
        notes.append(
            f"clip = {recipe.clip:g} is left; {recipe.clip * kappa**-0.5:.4g} clips as often where noise dominates"
        )
    if "sam" in recipe.optimizer:
        notes.append("optimizer.sam is left: no rule is known for its radius")
    if recipe.depth:
        notes.append("depth is left: durations in steps there still count the old steps")
    if steps * kappa != recipe.steps:
        notes.append(f"steps = {steps} read {steps * kappa / recipe.steps:.6g} times the samples of before")
    return tuple(notes)
