"""Local updates in the training loop: each process trains weights of its own, and a hook averages them.

A recipe's table ``[local]`` puts it into a run that all processes share (``World.apart``); with runs of their own
(``worker_runs``) it is given to each. Training losses are the worker's own; validation losses are of the mean of all
workers, also within a round.

Source: arXiv 2310.14423; arXiv 2303.01215.
Differs: 1. evaluation within a round takes the workers' mean for the purpose and gives them their own weights back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch.distributed as dist
from torch import Tensor

from thalweg.errors import InputError
from thalweg.train.hooks import Hook, State
from thalweg.train.local_updates import LocalUpdates
from thalweg.train.workers import averaged, start_alike

__all__ = ["LocalHook"]


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
        if plan.keep == 1 and not state.world.apart:
            raise InputError(
                "checkpoint.keep = 1 may leave workers without a common step: keep 2 or more, or 0 for all"
            )
        steps: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(steps, state.step)
        if len(set(steps)) > 1:
            raise InputError(f"workers are at steps {steps}: call go_back_together(run) before train(run)")
        if state.step == 0:
            start_alike(_weights(state))
        state.world.meeting = not self.updates.left
        state.evaluate = partial(_of_the_mean, state, state.evaluate)

    def after_step(self, state: State, metrics: dict[str, float]) -> None:
        """Ends the round where it is over; waits for the others before a checkpoint."""
        metrics["averaged"] = float(self.updates.after_step(_weights(state), lr=metrics["lr"]))
        state.world.meeting = not self.updates.left
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


def _of_the_mean(state: State, evaluate: Callable[[], float]) -> float:
    """Of whatever weights the workers have, so of their online averages too."""
    with averaged(_weights(state)):
        return evaluate()
