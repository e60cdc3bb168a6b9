"""Local updates: workers take H steps of their own, then continue from the mean of their weights.

What is here counts steps, opens and closes rounds and says when to average; how the mean over workers is taken is a
function of the caller's: ``stacked_mean`` for workers along the first dimension of each tensor in one process, an
all-reduce where each process holds one worker.

    round s starts after t updates with H = period(t, lr), cut to the updates that are left
    every worker takes H steps;  theta_k <- mean over k of theta_k

H = 1 is parallel training. Optimizer states stay with their worker unless the caller hands them over too.

Source: local SGD and post-local SGD, arXiv 2303.01215; rounds that start from the learning rate, arXiv 2310.14423.
Differs: 1. a run always ends in a mean, as in 2310.14423.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from thalweg.errors import InputError

__all__ = ["LocalUpdates", "Mean", "Period", "constant_period", "post_local", "stacked_mean"]

Period = Callable[[int, float], int]
"""Finished updates and the learning rate of the next one, to H, the steps of the round that starts."""
Mean = Callable[[Sequence[Tensor]], None]
"""Replaces each tensor by its mean over workers, in place."""


def constant_period(period: int) -> Period:
    """The same H >= 1 in every round.

    Raises:
        InputError: period below 1.
    """
    if period < 1:
        raise InputError(f"period={period} must be at least 1 step; 1 averages after every step")
    return lambda step, lr: period


def post_local(switch: int, period: int) -> Period:
    """Parallel training for the first ``switch`` updates, then H = ``period``.

    Raises:
        InputError: switch below 0 or period below 1.
    """
    if switch < 0 or period < 1:
        raise InputError(f"switch={switch} must be at least 0 and period={period} at least 1")
    return lambda step, lr: 1 if step < switch else period


@torch.no_grad()
def stacked_mean(tensors: Sequence[Tensor]) -> None:
    """Replaces each tensor (workers, ...) by its mean over the first dimension, in place, in float32 at least."""
    for tensor in tensors:
        wide = torch.promote_types(tensor.dtype, torch.float32)
        tensor.copy_(tensor.mean(0, keepdim=True, dtype=wide).expand_as(tensor))


class LocalUpdates:
    """Closes rounds: call ``after_step`` after every optimizer step of the workers.

    Args:
        period: H of each round.
        steps: updates of the whole run; the last round is cut so that it ends there.
        mean: takes the mean over workers.

    Attributes:
        step: finished updates.
        averages: finished rounds; ``averages / step`` is the communication relative to an average a step.
    """

    def __init__(self, period: Period, *, steps: int, mean: Mean = stacked_mean) -> None:
        if steps < 1:
            raise InputError(f"steps={steps} must be at least 1")
        self.period, self.steps, self.mean = period, steps, mean
        self.step = self.averages = self.left = 0

    def after_step(self, tensors: Sequence[Tensor], *, lr: float) -> bool:
        """Counts a step, and averages if it was the last of its round.

        Args:
            tensors: what is averaged: the weights, and optimizer states if they are to be.
            lr: the learning rate of this step; the first of a round sets H.

        Returns:
            Whether the workers were averaged.

        Raises:
            InputError: a step after the last, or a period below 1.
        """
        if self.step >= self.steps:
            raise InputError(f"step {self.step + 1} is after the last, steps={self.steps}; give the run's full length")
        if not self.left:
            period = self.period(self.step, lr)
            if period < 1:
                raise InputError(f"the period at step {self.step} is {period}; it must be at least 1")
            self.left = min(period, self.steps - self.step)
        self.step += 1
        self.left -= 1
        if self.left:
            return False
        self.mean(tensors)
        self.averages += 1
        return True

    def state_dict(self) -> dict[str, int]:
        """Counters; within a round (``left`` > 0) a checkpoint must hold every worker's weights as well."""
        return {"step": self.step, "averages": self.averages, "left": self.left}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Takes back what ``state_dict`` gave."""
        self.step, self.averages, self.left = (state[name] for name in ("step", "averages", "left"))
