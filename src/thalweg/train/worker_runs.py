"""Local updates with a run folder a worker: its rows of each batch, and the newest step that all have saved.

    torchrun --nproc-per-node 2 script.py, each process:
        data = worker_data(prepare(recipe.data, folder), rank, size)      its rows of each batch of ``size`` workers
        run = Run.resume_or_create(folder / f"worker-{rank}", ...)        its own folder
        go_back_together(run)
        train(run, data=data, hooks=[LocalHook(LocalUpdates(period, steps=recipe.steps, mean=WorkerMean()))])

The recipe's batch is one worker's. A run resumes exactly from any step that all workers have saved.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.train.recipe import Recipe
from thalweg.train.setup import Data

__all__ = ["WorkerData", "go_back_together", "worker_data"]


@dataclass(frozen=True, slots=True)
class WorkerData(Data):
    """The rows of one worker of each batch: all workers' batches, joined, are those of one run of the whole batch."""

    rank: int = 0
    size: int = 1

    def batches(self, recipe: Recipe) -> Any:
        """Those of ``size`` times the recipe's batch, of which ``at`` gives this worker's rows."""
        whole = super(WorkerData, self).batches(recipe.replace(batch=recipe.batch * self.size))
        return _Share(whole, self.rank, self.size)


@dataclass(frozen=True, slots=True)
class _Share:
    whole: Any
    rank: int
    size: int

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Any:
        """The rows of one step; this worker is one process."""
        return self.whole.at(step, rank=self.rank, world=self.size)


def worker_data(data: Data, rank: int, size: int) -> WorkerData:
    """The data of worker ``rank`` of ``size``.

    Raises:
        InputError: rank is not below size.
    """
    if not 0 <= rank < size:
        raise InputError(f"rank={rank} must lie in 0 to {size - 1}, size={size}")
    own = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    return WorkerData(**own | {"rank": rank, "size": size})


def go_back_together(run: Run) -> int:
    """Deletes this worker's checkpoints after the newest step that all workers have saved; before ``train``.

    Returns:
        That step; 0 where there is none.
    """
    mine = {found.step: found.folder for found in run.checkpoints()}
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, sorted(mine))
    common = max(set.intersection(*(set(steps) for steps in every)), default=0)
    for step, folder in mine.items():
        if step > common:
            shutil.rmtree(folder)
    return common
