"""thalweg launch: several recipes at once, on this machine, on Ray, or as a script for SLURM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["launch"]


def launch(
    *recipes: Path,
    out: Path | None = None,
    workers: int = 2,
    threads: int = 1,
    device: str = "cpu",
    ray: str = "",
    slurm: Path | None = None,
    time: str = "4:00:00",
    processes: int = 1,
    gpus: int = 0,
    partition: str = "",
    json: bool = False,
) -> None:
    """Train recipes side by side; the same command again resumes those that are not done.

    Parameters
    ----------
    recipes
        TOML files; each trains in a folder named after it.
    out
        Where run folders go [default: runs, or $THALWEG_HOME].
    workers
        Runs at once on this machine.
    threads
        torch threads of each.
    device
        cpu, cuda or mps, for every run.
    ray
        Train on Ray: local, auto or the host:port of a cluster.
    slurm
        Train nothing; write this script for sbatch, a job array of one task a recipe.
    time
        SLURM: limit of a task; it requeues itself and resumes.
    processes
        SLURM: processes of each run (torchrun).
    gpus
        SLURM: GPUs of each run.
    partition
        SLURM: where the tasks run.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit, table
    from thalweg.errors import InputError
    from thalweg.runs import Run, run_root
    from thalweg.train.recipe import load_recipe

    names = [path.stem for path in recipes]
    if not names or len(set(names)) < len(names):
        raise InputError(f"recipes are named {names}: give at least one, and no two of one name")
    loaded = [load_recipe(path) for path in recipes]
    root = out or run_root()
    if slurm is not None:
        _write(slurm, recipes, root, threads=threads, time=time, processes=processes, gpus=gpus, partition=partition)
        emit("launch", {"script": str(slurm)}) if json else print(f"mkdir -p {root.resolve()} && sbatch {slurm}")
        return
    from thalweg.launch.local import Job
    from thalweg.launch.ray_pool import pool_at

    folders = [root / name for name in names]
    root.mkdir(parents=True, exist_ok=True)
    with pool_at(ray, workers=workers, threads=threads, device=device) as pool:
        pool.run([Job(folder, recipe) for folder, recipe in zip(folders, loaded, strict=True)])
    finals = [Run.open(folder).records("val_loss")[-1] for folder in folders]
    if json:
        emit("launch", {"runs": [{"folder": str(f), **last} for f, last in zip(folders, finals, strict=True)]})
        return
    rows = [(str(f), last["step"] + 1, f"{last['val_loss']:.4f}") for f, last in zip(folders, finals, strict=True)]
    table(("run", "updates", "validation loss, nats/token"), rows)


def _write(path: Path, recipes: tuple[Path, ...], root: Path, **asked: Any) -> None:
    from thalweg.files import write_atomic
    from thalweg.launch.slurm import Slurm, slurm_script

    text = slurm_script([each.resolve() for each in recipes], root.resolve(), Slurm(**asked))
    write_atomic(path, text)
