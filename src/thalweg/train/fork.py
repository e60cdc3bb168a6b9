"""Branches: a run that starts where another one with the same past left off, and equals itself run from scratch.

Two recipes that differ only in steps, schedule or checkpoints and have the same rates in their first k steps give
bit-identical weights after k updates, since the data order is a pure function of (recipe, seed, step). So the second
run may take over the first one's checkpoint and records: this is how a stable phase of WSD is decayed at several
budgets (arXiv 2410.05192).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import InputError
from thalweg.files import sync_folder, write_atomic
from thalweg.runs import Checkpoint, Run
from thalweg.schedules import parse
from thalweg.train.recipe import Recipe

__all__ = ["FREE", "common_steps", "fork", "shared_steps"]

ORIGIN = "origin.json"
FREE = ("steps", "schedule", "checkpoint")


def common_steps(first: Recipe, second: Recipe) -> int:
    """How many updates of the two recipes are the same: 0 if more than ``FREE`` differs, else their equal rates."""
    one, two = first.to_dict(), second.to_dict()
    if any(one[key] != two[key] for key in one if key not in FREE):
        return 0
    shorter = min(first.steps, second.steps)
    a, b = (_group_rates(recipe)[:, :shorter] for recipe in (first, second))
    differ = np.flatnonzero((a != b).any(axis=0))
    return int(differ[0]) if len(differ) else shorter


def _group_rates(recipe: Recipe) -> np.ndarray:
    """Rates as the scheduler computes them, float64 (2, steps): of groups at the base rate, and at that over m (muP).

    Recipes of different peaks may share rates, but divided and multiplied by the peaks these may differ a little.
    """
    peak, m = parse(recipe.schedule).peak, recipe.model.width_ratio
    return np.stack([recipe.rates(), recipe.rates() * (peak / m / peak)])


def fork(source: Run, folder: str | Path, recipe: Recipe) -> Run:
    """Makes the run ``recipe`` in ``folder``, started from the newest checkpoint of ``source`` that both pasts share.

    The records up to that checkpoint are copied; ``train`` continues from there. The run appears whole or not at all.

    Args:
        source: a run that is not being written.
        folder: absent or empty.
        recipe: the new run.

    Raises:
        InputError: the recipes share no past, no checkpoint of it is left, or the folder is not empty.
    """
    folder = Path(folder)
    if source.status == "running":
        raise InputError(f"{source.folder} is being written: wait for it or stop it before branching from it")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: choose another folder for the branch")
    shared = common_steps(Recipe.from_dict(source.recipe), recipe)
    usable = [point for point in source.checkpoints() if point.step <= shared and point.step < recipe.steps]
    if not usable:
        raise InputError(
            f"{source.folder} has no checkpoint within the {shared} updates it shares with the new recipe: "
            f"set checkpoint.at = [{shared}] in its recipe, or train from scratch"
        )
    point = usable[-1]
    point.check()
    hidden = folder.with_name(f".forking-{folder.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    run = Run.create(hidden, recipe.to_dict(), steps=recipe.steps, name=folder.resolve().name)
    write_atomic(hidden / ORIGIN, json.dumps({"source": str(source.folder), "step": point.step}) + "\n")
    with run.attempt(device="copy") as attempt:
        for record in source.records():
            if record["step"] < point.step:
                run.log(record["step"], **_kept(record, recipe))
        _copy(point, run)
        attempt.interrupt()
    os.rename(hidden, folder)
    sync_folder(folder.parent)
    return Run.open(folder)


def _kept(record: dict[str, Any], recipe: Recipe) -> dict[str, float]:
    """The metrics of a record that the new run would have logged too: the source's last evaluation may be extra."""
    every, done = recipe.evaluation.every, record["step"] + 1
    due = every > 0 and done % every == 0
    return {key: value for key, value in record.items() if key != "step" and (due or not key.startswith("val_"))}


def shared_steps(run: Run) -> int:
    """How many of a run's first updates were taken over from another run; 0 for one trained from scratch."""
    origin = run.folder / ORIGIN
    return json.loads(origin.read_text())["step"] if origin.exists() else 0


def _copy(point: Checkpoint, run: Run) -> None:
    with run.checkpoint_folder(point.step) as folder:
        for file in sorted(point.folder.iterdir()):
            if file.suffix in (".safetensors", ".json") and file.name.startswith(("model", "state")):
                shutil.copyfile(file, folder / file.name)
