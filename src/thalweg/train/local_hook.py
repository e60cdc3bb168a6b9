"""Local updates in the training loop: every process trains its own run, and a hook averages them.

    torchrun --nproc-per-node 2 script.py, each process:
        data = worker_data(prepare(recipe.data, folder), rank, size)      its rows of each batch of ``size`` workers
        run = Run.resume_or_create(folder / f"worker-{rank}", ...)        its own folder
        go_back_together(run)
        train(run, data=data, hooks=[LocalHook(LocalUpdates(period, steps=recipe.steps, mean=WorkerMean()))])

The recipe's batch is one worker's. Losses are the worker's own; validation losses are of the mean of all workers, also
within a round. A run resumes exactly from any step that all workers have saved.

Source: arXiv 2310.14423; arXiv 2303.01215.
Differs: 1. evaluation within a round takes the workers' mean for the purpose and gives them their own weights back.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import Tensor

from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.train.hooks import Hook, State
from thalweg.train.local_updates import LocalUpdates
from thalweg.train.recipe import Recipe
from thalweg.train.setup import Data
from thalweg.train.workers import WorkerMean, start_alike

__all__ = ["LocalHook", "WorkerData", "go_back_together", "worker_data"]


class LocalHook(Hook):
    """Averages the weights of all processes at the ends of rounds; ``averaged`` in the log says when.

    Args:
        updates: with ``WorkerMean`` and the recipe's steps.
    """

    name = "local"

    def __init__(self, updates: LocalUpdates) -> None:
        self.updates = updates

    def on_start(self, state: State) -> None:
        """Checks that all workers are at one step, gives them one start, and lets evaluations take the mean.

        Raises:
            InputError: the workers were restored from different steps, another length, or checkpoints that do not do.
        """
        plan = state.recipe.checkpoint
        if self.updates.steps != state.recipe.steps:
            raise InputError(
                f"updates has steps={self.updates.steps}, the recipe {state.recipe.steps}: give the recipe's"
            )
        if plan.keep == 1:
            raise InputError(
                "checkpoint.keep = 1 may leave workers without a common step: keep 2 or more, or 0 for all"
            )
        steps: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(steps, state.step)
        if len(set(steps)) > 1:
            raise InputError(f"workers are at steps {steps}: call go_back_together(run) before train(run)")
        if state.step == 0:
            start_alike(_weights(state))
        alone = state.evaluate
        state.evaluate = lambda: self._of_the_mean(state, alone)

    def _of_the_mean(self, state: State, alone: Any) -> float:
        if not self.updates.left:
            return alone()
        own = [weight.clone() for weight in _weights(state)]
        WorkerMean()(_weights(state))
        found = alone()
        for weight, kept in zip(_weights(state), own, strict=True):
            weight.copy_(kept)
        return found

    def after_step(self, state: State, metrics: dict[str, float]) -> None:
        """Ends the round where it is over; waits for the others before a checkpoint."""
        metrics["averaged"] = float(self.updates.after_step(_weights(state), lr=metrics["lr"]))
        plan = state.recipe.checkpoint
        if state.step in plan.at or (plan.every and state.step % plan.every == 0):
            dist.barrier()

    def state_dict(self) -> dict[str, Any]:
        """The counters of the rounds."""
        return dict(self.updates.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on within the round."""
        self.updates.load_state_dict(state)


def _weights(state: State) -> list[Tensor]:
    return [p.data for p in state.model.parameters() if p.requires_grad]


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
