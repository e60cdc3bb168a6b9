"""The one training loop: a batch, a closure, an update, a record; checkpoints that resume bit for bit.

What a method changes enters through the optimizer (it takes a closure), a hook or the data order, never a branch here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from thalweg.errors import InputError
from thalweg.runs import Run, Sink
from thalweg.train.hooks import Hook, State
from thalweg.train.ordered import closure_of
from thalweg.train.recipe import Recipe
from thalweg.train.saving import restore, save
from thalweg.train.setup import Data, build, prepare
from thalweg.train.world import World

__all__ = ["Diverged", "train"]


class Diverged(RuntimeError):
    """The loss is not finite; the run folder holds everything up to that step."""


def train(
    run: Run,
    *,
    data: Data | None = None,
    hooks: Sequence[Hook] = (),
    sinks: Sequence[Sink] = (),
    device: str = "cpu",
    stop: Callable[[], bool] = lambda: False,
    world: World | None = None,
) -> str:
    """Trains the recipe of ``run`` to its end, from its newest checkpoint if there is one.

    Args:
        run: the run folder; its recipe says everything.
        data: the recipe's data if it is loaded already (``prepare``), else it is prepared beside the run.
        hooks: called at fixed points, in this order.
        sinks: outside trackers that receive every record as well.
        device: "cpu", "cuda", "mps" or "auto" (the best there is).
        stop: asked before each update; when true, a checkpoint is written and training ends.
        world: the processes that train together, each with this call and the same files; all but the first have a
            ``Follower`` for the run.

    Returns:
        "done" or "interrupted".

    Raises:
        InputError: the data do not fit the recipe or are not those of the checkpoint, or that is damaged.
        Diverged: the training loss became nan or infinite.
        OSError: the disk refused a checkpoint; earlier ones and the log are intact.
    """
    recipe = Recipe.from_dict(run.recipe)
    data = prepare(recipe.data, run.folder.parent / "data") if data is None else data
    state = build(recipe, data, device=device, hooks=hooks, world=world)
    batches, rates = data.batches(recipe), recipe.rates()
    with run.attempt(device=str(state.device), sinks=sinks) as attempt:
        _restore(run, state)
        for hook in state.hooks:
            hook.on_start(state)
        while state.step < recipe.steps:
            if state.world.any(stop()):
                _save(run, state)
                attempt.interrupt()
                return "interrupted"
            began = time.perf_counter()
            metrics = {"loss": _update(state, batches), "lr": float(rates[state.step])}
            state.step += 1
            state.scheduler.step()
            for hook in state.hooks:
                hook.after_step(state, metrics)
            metrics["seconds"] = time.perf_counter() - began
            _evaluate_when_due(state, metrics)
            run.log(state.step - 1, **metrics)
            if not math.isfinite(metrics["loss"]):
                raise Diverged(
                    f"the training loss is {metrics['loss']} at step {state.step - 1}: lower the schedule's peak, "
                    "lengthen its warmup, or set clip; --debug-numerics names the layer"
                )
            _save_when_due(run, state)
    return "done"


def _update(state: State, batches: Any) -> float:
    """One optimizer update over all micro-batches; returns the mean loss before it, nats per token."""
    return float(state.optimizer.step(closure_of(state, batches)))  # type: ignore[arg-type]  # torch wants a float


def _due(step: int, every: int, last: int) -> bool:
    return step == last or (every > 0 and step % every == 0)


def _evaluate_when_due(state: State, metrics: dict[str, float]) -> None:
    if _due(state.step, state.recipe.evaluation.every, state.recipe.steps):
        metrics["val_loss"] = state.evaluate()
        for hook in state.hooks:
            hook.on_evaluate(state, metrics)


def _save_when_due(run: Run, state: State) -> None:
    plan = state.recipe.checkpoint
    if state.step in plan.at or _due(state.step, plan.every, state.recipe.steps):
        _save(run, state)


def _save(run: Run, state: State) -> None:
    plan = state.recipe.checkpoint
    extra = {
        "step": state.step,
        "scheduler": state.scheduler.state_dict(),
        "hooks": {hook.name: hook.state_dict() for hook in state.hooks if hook.name},
        "data": dict(state.data),
    }
    save(run, state, extra)
    if plan.keep and state.world.leads:
        run.prune_checkpoints(plan.keep, always=plan.at)


def _restore(run: Run, state: State) -> None:
    """Loads the newest checkpoint; hooks get their state back by name."""
    newest = state.world.share(run.latest_checkpoint)
    if newest is None:
        return
    base = state.scheduler.state_dict()["base_lrs"]  # the recipe's: a branch may have another peak than its source
    extra = restore(newest.folder, state)
    for group, rate in zip(state.optimizer.param_groups, base, strict=True):
        group["base_lr"] = rate
    for name, fingerprint in extra.get("data", {}).items():
        if state.data[name] != fingerprint:
            raise InputError(
                f"the {name} is not the one of checkpoint {newest.folder}: restore it, or train in a new folder"
            )
    state.step = extra["step"]
    state.scheduler.load_state_dict(extra["scheduler"] | {"base_lrs": base})
    for hook in state.hooks:
        if hook.name in extra["hooks"]:
            hook.load_state_dict(extra["hooks"][hook.name])
        elif hook.state_dict():
            raise InputError(f"checkpoint {newest.folder} has no state for hook {hook.name!r}: start the run anew")
