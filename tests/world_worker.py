"""One of two processes, or FOLDER/size, that train recipes together: ``python world_worker.py RANK FOLDER``.

FOLDER/recipes.json names what to train: run folder, recipe, how many processes, whether weights are split, and the
step at which it is stopped, or crashes. FOLDER/saidRANK.json says how each ended; results lie in the run folders.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.train.follower import Follower
from thalweg.train.hooks import Hook
from thalweg.train.loop import train
from thalweg.train.recipe import Recipe
from thalweg.train.setup import prepare
from thalweg.train.world import World


class Count(Hook):
    """Asks for a stop after so many updates of the whole run, in the last process; crashes after ``crash``."""

    step = 0

    def __init__(self, crash: int) -> None:
        self.crash = crash

    def after_step(self, state, metrics) -> None:
        self.step = state.step
        if self.step == self.crash:
            raise KeyboardInterrupt


def one(folder: Path, job: dict, world: World) -> str:
    recipe, count = Recipe.from_dict(job["recipe"]), Count(job.get("crash", 0))
    if world.leads:
        Run.resume_or_create(folder / job["folder"], job["recipe"], steps=recipe.steps)
    if world.size > 1:
        dist.barrier()
    run = (Run if world.leads else Follower).open(folder / job["folder"])
    return train(
        run,
        data=prepare(recipe.data, folder / "data"),
        hooks=(count,),
        stop=lambda: world.rank == world.size - 1 and 0 < job["stop"] <= count.step,
        world=world,
    )


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    rendezvous = f"file://{folder / 'rendezvous'}"
    size = int((folder / "size").read_text()) if (folder / "size").exists() else 2
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    said = []
    for job in json.loads((folder / "recipes.json").read_text()):
        dist.barrier()
        together = job["processes"] > 1
        world = World(rank, size, shard=job.get("shard", False)) if together else World()
        if rank == 0 or together:
            try:
                said.append(one(folder, job, world))
            except InputError as error:
                said.append(str(error))
            except KeyboardInterrupt:
                said.append("crashed")
    dist.barrier()
    dist.destroy_process_group()
    (folder / f"said{rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
