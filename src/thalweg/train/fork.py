"""Branches: a run that starts where another one with the same past left off, and equals itself run from scratch.

Two recipes that differ only in steps, schedule, evaluation or checkpoints and have the same rates in their first k
steps give bit-identical weights after k updates, since the data order is a pure function of (recipe, seed, step). So
the second run may take over the first one's checkpoint and records: this is how a stable phase of WSD is decayed at
several budgets (arXiv 2410.05192).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from thalweg.errors import InputError
from thalweg.files import write_atomic
from thalweg.runs import Checkpoint, Run
from thalweg.train.recipe import Recipe

__all__ = ["FREE", "common_steps", "fork", "shared_steps"]

ORIGIN = "origin.json"
FREE = ("steps", "schedule", "evaluation", "checkpoint")


def common_steps(first: Recipe, second: Recipe) -> int:
    """How many updates of the two recipes are the same: 0 if more than ``FREE`` differs, else their equal rates."""
    one, two = first.to_dict(), second.to_dict()
    if any(one[key] != two[key] for key in one if key not in FREE):
        return 0
    a, b = first.rates(), second.rates()
    shorter = min(len(a), len(b))
    differ = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(differ[0]) if len(differ) else shorter


def fork(source: Run, folder: str | Path, recipe: Recipe) -> Run:
    """Makes the run ``recipe`` in ``folder``, started from the newest checkpoint of ``source`` that both pasts share.

    The records up to that checkpoint are copied; ``train`` continues from there.

    Args:
        source: a run that is not being written.
        folder: absent or empty.
        recipe: the new run.

    Raises:
        InputError: the recipes share no past, or no checkpoint of it is left.
    """
    shared = common_steps(Recipe.from_dict(source.recipe), recipe)
    usable = [point for point in source.checkpoints() if point.step <= shared]
    if not usable:
        raise InputError(
            f"{source.folder} has no checkpoint within the {shared} updates it shares with the new recipe: "
            f"set checkpoint.at = [{shared}] in its recipe, or train from scratch"
        )
    point = usable[-1]
    run = Run.create(folder, recipe.to_dict(), steps=recipe.steps)
    write_atomic(run.folder / ORIGIN, json.dumps({"source": str(source.folder), "step": point.step}) + "\n")
    with run.attempt(device="copy") as attempt:
        for record in source.records():
            if record["step"] < point.step:
                run.log(record["step"], **{k: v for k, v in record.items() if k != "step" and v is not None})
        _copy(point, run)
        attempt.interrupt()
    return run


def shared_steps(run: Run) -> int:
    """How many of a run's first updates were taken over from another run; 0 for one trained from scratch."""
    origin = run.folder / ORIGIN
    return json.loads(origin.read_text())["step"] if origin.exists() and run.checkpoints() else 0


def _copy(point: Checkpoint, run: Run) -> None:
    with run.checkpoint_folder(point.step) as folder:
        for file in sorted(point.folder.iterdir()):
            if file.suffix in (".safetensors", ".json") and file.name.startswith(("model", "state")):
                shutil.copyfile(file, folder / file.name)
