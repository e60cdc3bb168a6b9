"""thalweg train: train a recipe, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.train.recipe import Recipe

__all__ = ["train"]


def train(
    recipe: Path,
    /,
    *,
    out: Path | None = None,
    device: str = "auto",
    threads: int = 0,
    seed: int | None = None,
    steps: int | None = None,
    fresh: bool = False,
    changed_plan: bool = False,
    dry_run: bool = False,
    debug_numerics: bool = False,
    json: bool = False,
) -> int:
    """Train a recipe; the same command again resumes, or says that it is done.

    Parameters
    ----------
    recipe
        TOML file; see recipes/.
    out
        Run folder [default: runs/NAME, in $THALWEG_HOME if set].
    device
        auto, cpu, cuda or mps.
    threads
        torch threads; 0 leaves torch's choice.
    seed
        In place of the recipe's seed.
    steps
        In place of the recipe's steps.
    fresh
        Delete an earlier run in the folder and start anew.
    changed_plan
        Go on even though the data plan or its files are not those of the checkpoint.
    dry_run
        Print the estimate of time, memory and disk, and stop.
    debug_numerics
        Look at every number of every layer, slowly, and name the layer where nan or infinity first appears.
    json
        Print one JSON object.
    """
    from dataclasses import replace

    from thalweg.errors import InputError, Interrupted
    from thalweg.runs import Run, run_root
    from thalweg.train.recipe import load_recipe

    if threads < 0:
        raise InputError(f"threads = {threads} must be at least 1, or 0 for torch's choice")
    chosen = load_recipe(recipe)
    changes: dict[str, Any] = {k: v for k, v in {"seed": seed, "steps": steps}.items() if v is not None}
    chosen = chosen.replace(**changes) if changes else chosen
    folder = out or run_root() / recipe.stem
    import torch

    if threads:
        torch.set_num_threads(threads)
    if dry_run:
        return _estimate(chosen, folder, device, json)
    if fresh:
        _clear(folder)
    asked = chosen.to_dict()
    if (folder / "run.json").exists() and (run := Run.resume_or_create(folder, asked)).status == "done":
        return _done(run, json, "already done")
    from thalweg.cli.progress import Bar, flag_on_interrupt
    from thalweg.train.loop import train as run_training
    from thalweg.train.setup import pick_device, prepare

    with flag_on_interrupt() as stop, Bar(str(folder), chosen.steps) as bar:
        where = str(pick_device(device))
        data = prepare(chosen.data, folder.parent / "data")
        data = replace(data, changed_plan=changed_plan)
        data.check(chosen)  # before the folder is made: what does not fit leaves nothing behind
        run = Run.resume_or_create(folder, asked, steps=chosen.steps)
        hooks = [bar.hook()]
        if debug_numerics:
            from thalweg.train.numerics import NumericsHook

            hooks.append(NumericsHook())
        state = run_training(run, data=data, hooks=hooks, device=where, stop=stop)
    if state == "interrupted":
        raise Interrupted(f"{folder} has a checkpoint")
    return _done(run, json, "done")


def _clear(folder: Path) -> None:
    """Deletes a run, and nothing that is not one."""
    import shutil

    from thalweg.errors import InputError
    from thalweg.runs import Run

    if folder.exists():
        if Run.open(folder).status == "running":
            raise InputError(f"{folder} is being written: stop that process before --fresh deletes the run")
        shutil.rmtree(folder)


def _done(run: Any, json: bool, word: str) -> int:
    from thalweg.cli.output import emit

    record = run.records("val_loss")[-1]
    if json:
        emit("train", {"folder": str(run.folder), "status": "done", "final": record})
    else:
        print(f"{word}: {run.folder}, validation loss {record['val_loss']:.4f} nats/token at step {record['step']}")
    return 0


def _estimate(recipe: Recipe, folder: Path, device: str, json: bool) -> int:
    from thalweg.cli.output import emit, table
    from thalweg.train.estimate import estimate

    numbers = estimate(recipe, folder.parent / "data", device=device)
    if json:
        emit("train", {"folder": str(folder), "dry_run": True, "estimate": numbers})
        return 0
    table(
        ("what", "estimate"),
        [
            ("parameters", f"{numbers['parameters']:,}"),
            ("tokens", f"{numbers['tokens']:,} ({numbers['epochs']:.2f} epochs)"),
            ("FLOPs", f"{numbers['flops']:.3g}"),
            ("time", f"{numbers['seconds'] / 60:.1f} min at {numbers['tokens_per_second']:,.0f} tokens/s (measured)"),
            ("memory", f"{numbers['memory_bytes'] / 2**20:,.0f} MiB"),
            ("disk", f"{numbers['disk_bytes'] / 2**20:,.1f} MiB"),
        ],
    )
    return 0
