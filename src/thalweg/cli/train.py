"""thalweg train: train a recipe, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.train.recipe import Recipe
    from thalweg.train.setup import Data
    from thalweg.train.world import World

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
    shard: bool = False,
    track: str = "",
    dry_run: bool = False,
    debug_numerics: bool = False,
    json: bool = False,
) -> int:
    """Train a recipe; the same command again resumes, or says that it is done.

    Under torchrun its processes share each batch: torchrun --nproc-per-node 2 -m thalweg train RECIPE. Any number of
    them resumes a run.

    Parameters
    ----------
    recipe
        TOML file; see recipes/.
    out
        Run folder [default: runs/NAME, in $THALWEG_HOME if set].
    device
        auto, cpu, cuda or mps.
    threads
        torch threads; 0 leaves torch's choice, or takes 1 where the recipe's micro_batches promises equal bits.
    seed
        In place of the recipe's seed.
    steps
        In place of the recipe's steps.
    fresh
        Delete an earlier run in the folder and start anew.
    changed_plan
        Go on even though the data plan or its files are not those of the checkpoint.
    shard
        Under torchrun: split weights and optimizer states among the processes (FSDP2), not a copy in each.
    track
        Send records to trackers too: jsonl, tensorboard, wandb (offline), trackio; wandb:PROJECT; several with commas.
    dry_run
        Print the estimate of time, memory and disk, and stop.
    debug_numerics
        Look at every number of every layer, slowly, and name the layer where nan or infinity first appears.
    json
        Print one JSON object.
    """
    from thalweg.errors import InputError
    from thalweg.runs import run_root
    from thalweg.runs.trackers import named
    from thalweg.train.recipe import load_recipe

    named(track)
    if threads < 0:
        raise InputError(f"threads = {threads} must be at least 1, or 0 for torch's choice")

    def chosen() -> Recipe:
        changes: dict[str, Any] = {k: v for k, v in {"seed": seed, "steps": steps}.items() if v is not None}
        return load_recipe(recipe).replace(**changes) if changes else load_recipe(recipe)

    folder = out or run_root() / recipe.stem
    import torch

    if threads:
        torch.set_num_threads(threads)
    if dry_run:
        return _estimate(chosen(), folder, device, json)
    from thalweg.train.setup import pick_device
    from thalweg.train.world import world_of

    kind = str(pick_device(device))
    with world_of(kind, shard=shard) as (world, where):
        asked = world.share(chosen)
        if asked.micro_batches and not threads:
            torch.set_num_threads(1)  # what one process computes with two rounds otherwise than two with one each
        word = world.share(lambda: _begun(asked, folder, fresh))
        if word != "already done":
            _train(asked, folder, world, where, changed_plan, debug_numerics, track)
            word = "done"
        return _done(folder, json, word) if world.leads else 0


def _begun(recipe: Recipe, folder: Path, fresh: bool) -> str:
    """Looks at what is in the folder, and deletes it where a fresh start is asked for."""
    from thalweg.runs import Run

    if fresh:
        _clear(folder)
    if (folder / "run.json").exists() and Run.resume_or_create(folder, recipe.to_dict()).status == "done":
        return "already done"
    return "to do"


def _train(
    recipe: Recipe, folder: Path, world: World, where: str, changed_plan: bool, debug_numerics: bool, track: str
) -> None:
    """Trains to the end; the first process prepares data and folder for all.

    Raises:
        Interrupted: Ctrl-C came.
    """
    from contextlib import nullcontext
    from dataclasses import replace

    from thalweg.cli.progress import Bar, flag_on_interrupt
    from thalweg.errors import Interrupted
    from thalweg.runs import Run
    from thalweg.runs.trackers import open_sinks
    from thalweg.train.follower import Follower
    from thalweg.train.loop import train as run_training
    from thalweg.train.setup import prepare

    def data() -> Data:
        return replace(prepare(recipe.data, folder.parent / "data"), changed_plan=changed_plan)

    def begin() -> None:
        made.append(data())
        made[0].check(recipe)  # before the folder is made: what does not fit leaves nothing behind
        world.check(recipe)
        Run.resume_or_create(folder, recipe.to_dict(), steps=recipe.steps)

    made: list[Data] = []
    bar = Bar(str(folder), recipe.steps)
    with flag_on_interrupt() as stop, bar if world.leads else nullcontext():
        world.share(begin)
        hooks = [bar.hook()] if world.leads else []
        if debug_numerics:
            from thalweg.train.numerics import NumericsHook

            hooks.append(NumericsHook())
        run = (Run if world.leads else Follower).open(folder)
        sinks = open_sinks(track, folder, name=run.name, config=run.recipe) if world.leads else []
        state = run_training(
            run, data=made[0] if made else data(), hooks=hooks, sinks=sinks, device=where, stop=stop, world=world
        )
    if state == "interrupted":
        if not world.leads:
            raise SystemExit(130)
        raise Interrupted(f"{folder} has a checkpoint")


def _clear(folder: Path) -> None:
    """Deletes a run, and nothing that is not one."""
    import shutil

    from thalweg.errors import InputError
    from thalweg.runs import Run

    if folder.exists():
        if Run.open(folder).status == "running":
            raise InputError(f"{folder} is being written: stop that process before --fresh deletes the run")
        shutil.rmtree(folder)


def _done(folder: Path, json: bool, word: str) -> int:
    from thalweg.cli.output import emit
    from thalweg.runs import Run

    run = Run.open(folder)
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
            *_communication(numbers),
        ],
    )
    return 0


def _communication(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """What local updates send, where the recipe has them."""
    if "communication" not in numbers:
        return []
    share, rounds = f"{numbers['communication']:.1%} of an all-reduce a step", f"{numbers['averages']:,} averages"
    sent = f"{numbers['bytes_sent'] / 2**20:,.1f} MiB a worker"
    return [("communication", f"{share}: {rounds}, the longest round {numbers['longest_round']:,} steps, {sent}")]
