"""One of two workers under torchrun, one of which dies within a round: ``rounds_worker.py FOLDER``.

The first attempt ends with the death of worker 1. The second goes on from the last round, then repeats everything
without interruption; it does the same in the training loop, where both stop, one before its last checkpoint.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from local_worker import batches, build
from thalweg.runs import Run
from thalweg.train.hooks import Hook, State
from thalweg.train.local_hook import LocalHook
from thalweg.train.local_updates import LocalUpdates, constant_period
from thalweg.train.loop import train
from thalweg.train.recipe import load_recipe
from thalweg.train.setup import prepare
from thalweg.train.worker_runs import go_back_together, worker_data
from thalweg.train.workers import Rounds, WorkerMean, start_alike

STEPS, PERIOD, DEATH = 7, 2, 5
"""Worker 1 dies after its fifth step, one step into the third round."""


def bare(folder: Path, after: Callable[[int], None] = lambda step: None) -> tuple[torch.Tensor, int]:
    """Trains from the newest round in ``folder``; the last weights, and how many steps it took."""
    rank = dist.get_rank()
    model, (x, y) = build(), batches()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    if rank:
        nn.init.zeros_(model[0].weight)  # a start of its own, which must not last
    start_alike([p.data for p in model.parameters()])
    updates = LocalUpdates(constant_period(PERIOD), steps=STEPS, mean=WorkerMean())
    rounds = Rounds(folder)
    rounds.load(updates, model, optimizer)
    first = updates.step
    for step in range(first, STEPS):
        optimizer.zero_grad()
        cross_entropy(model(x[step, rank]), y[step, rank]).backward()
        optimizer.step()
        if updates.after_step([p.data for p in model.parameters()], lr=0.05):
            rounds.save(updates, model, optimizer)
        after(step + 1)
    return nn.utils.parameters_to_vector(model.parameters()).detach(), STEPS - first


def die(step: int) -> None:
    """The death of worker 1."""
    if step == DEATH and dist.get_rank() == 1:
        os._exit(9)


class Stop(Hook):
    """Ends this process's training after a step, as a crash would: nothing is saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, state: State, metrics: dict[str, float]) -> None:
        """Raises at the step."""
        if state.step == self.step:
            raise KeyboardInterrupt


def loop(folder: Path, recipe_path: Path, stop: int = 0) -> Run:
    """The training loop with the hook, in this worker's own folder."""
    rank, recipe = dist.get_rank(), load_recipe(recipe_path)
    data = worker_data(prepare(recipe.data, folder / f"data-{rank}"), rank, 2)
    run = Run.resume_or_create(folder / f"worker-{rank}", recipe.to_dict())
    go_back_together(run)
    hooks = [LocalHook(LocalUpdates(constant_period(4), steps=recipe.steps, mean=WorkerMean()))]
    train(run, data=data, hooks=[*hooks, Stop(stop)] if stop else hooks)
    return run


def loops(folder: Path) -> dict[str, list]:
    """Interrupted within a round, one worker a checkpoint behind, against uninterrupted."""
    rank, recipe = dist.get_rank(), folder / "recipe.toml"
    try:
        loop(folder / "broken", recipe, stop=10 - rank)  # within the third round: worker 1 before it has saved step 9
    except KeyboardInterrupt:
        pass
    kept = [found.step for found in Run.open(folder / "broken" / f"worker-{rank}").checkpoints()]
    runs = loop(folder / "broken", recipe), loop(folder / "whole", recipe)
    every = [[(r["step"], r["loss"], r["averaged"], r.get("val_loss")) for r in run.records("loss")] for run in runs]
    return {"kept": kept, "broken": every[0], "whole": every[1]}


def main(folder: Path) -> None:
    """Both attempts."""
    torch.set_num_threads(1)
    attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], int(os.environ["RANK"])
    meeting = f"file://{folder / f'meeting-{attempt}'}"  # torchrun's own store can hold a dead worker's address
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    second = attempt != "0"
    resumed, steps = bare(folder / "rounds", after=(lambda step: None) if second else die)
    whole, _ = bare(folder / "whole-rounds")
    found = {"resumed": resumed, "steps": steps, "whole": whole, "loops": loops(folder)}
    torch.save(found, folder / f"found{dist.get_rank()}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
