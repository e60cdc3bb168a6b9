"""What a forecast came to: its curves, and the content of ``result.json`` once every run is trained.

Source: our own.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from thalweg.errors import InputError
from thalweg.launch.plan import LONG, PILOTS, Plan
from thalweg.laws import Law, LossCurve, load_law
from thalweg.runs import Run
from thalweg.schedules import parse
from thalweg.train.checkpoint import load_model
from thalweg.train.fork import shared_steps
from thalweg.train.recipe import Recipe
from thalweg.train.setup import Data, build, prepare, window_losses

__all__ = ["curve_of", "outcome", "plan_dict"]


def curve_of(run: Run, name: str, metric: str = "val_loss") -> LossCurve:
    """The loss curve of a run as the laws take it: its rates, and ``metric`` where it was measured."""
    recipe = Recipe.from_dict(run.recipe)
    steps, losses = run.curve(metric)
    return LossCurve(name, recipe.rates(), steps, losses, parse(recipe.schedule).warmup_steps(recipe.steps))


def plan_dict(plan: Plan) -> dict[str, Any]:
    """A plan as plain JSON."""
    return json.loads(msgspec.json.encode(plan))


def outcome(plan: Plan, folder: Path, seconds: dict[str, float]) -> dict[str, Any]:
    """Measures what was foretold: the content of ``result.json``.

    Args:
        plan: what was trained.
        folder: holds its runs, ``law.json`` and ``forecast.json``.
        seconds: wall time of each stage.

    Raises:
        InputError: a run lacks the checkpoint of its end.
    """
    forecast = json.loads((folder / "forecast.json").read_text())
    data = prepare(plan.recipe.data, folder / "runs" / "data")
    names = [f"pilot-{name}" for name in PILOTS] + [f"long-{name}" for name in LONG]
    runs = {name: Run.open(folder / "runs" / name) for name in names}
    finals = {name: _final_windows(runs[f"long-{name}"], data) for name in LONG}
    law = load_law(folder / "law.json")
    return {
        "plan": plan_dict(plan),
        "data": data.about,
        "made": forecast["made"],
        "law": {"params": dict(law.params), "intervals": {k: list(v) for k, v in law.intervals.items()}},
        "table": {name: _row(forecast["schedules"][name], finals[name], finals["designed"]) for name in LONG},
        "schedules": forecast["schedules"],
        "runs": {name: _account(run, law) for name, run in runs.items()},
        "seconds": seconds,
    }


def _row(forecast: dict[str, Any], losses: np.ndarray, designed: np.ndarray) -> dict[str, Any]:
    """Foretold and measured final loss of one long run; errors are standard errors over validation windows."""
    count = len(losses)
    gap = losses - designed
    measured = float(losses.mean())
    return {
        **{key: forecast[key] for key in ("final_loss", "interval", "trust", "reason", "spec")},
        "measured": measured,
        "measured_error": float(losses.std(ddof=1) / np.sqrt(count)),
        "error": forecast["final_loss"] / measured - 1,
        "above_designed": float(gap.mean()),
        "above_designed_error": float(gap.std(ddof=1) / np.sqrt(count)),
    }


def _account(run: Run, law: Law) -> dict[str, Any]:
    """A run's curve, its rates, the law's fit to it, and what it cost beyond the past it shares with another."""
    curve = curve_of(run, run.name)
    shared = shared_steps(run)
    records = run.records("seconds")
    own = [record["seconds"] for record in records if record["step"] >= shared]
    recipe = Recipe.from_dict(run.recipe)
    at = np.unique(np.linspace(0, recipe.steps - 1, 400).astype(np.int64))
    return {
        "spec": recipe.schedule,
        "steps": curve.steps.tolist(),
        "losses": curve.losses.tolist(),
        "fitted": law.predict(curve.rates, at=curve.steps, warmup_steps=curve.warmup).tolist(),
        "rate_steps": at.tolist(),
        "rates": curve.rates[at].tolist(),
        "metrics": asdict(law.metrics(curve)),
        "updates": recipe.steps - shared,
        "shared": shared,
        "seconds": float(sum(own)),
        "tokens_per_second": len(own) * recipe.tokens_per_step / sum(own) if own else 0.0,
    }


def _final_windows(run: Run, data: Data) -> np.ndarray:
    """The loss of each validation window at the end of a run, float64 (windows,)."""
    recipe = Recipe.from_dict(run.recipe)
    state = build(recipe, data)
    point = run.latest_checkpoint()
    if point is None or point.step != recipe.steps:
        raise InputError(f"{run.folder} has no checkpoint of its end: remove the folder and run again")
    load_model(point.folder, state.model)
    return window_losses(state.model, [torch.from_numpy(rows) for rows in data.windows(recipe)], recipe.precision)
