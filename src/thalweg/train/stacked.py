"""Many workers of one model in one process, their weights stacked along a first dimension.

Each step takes one batch a worker and one gradient a worker in one batched computation; the optimizer sees the stacked
weights. A rule that works element by element (SGD, momentum, AdamW) then does for each worker what it does alone.

Source: the simulated workers of arXiv 2303.01215's experiments.
Differs: 1. there each device trains its workers in turn. 2. rules that couple the elements of a matrix (Muon, SOAP,
clipping by the norm) would couple the workers, and do not fit here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from thalweg.errors import InputError

__all__ = ["StackedWorkers"]

LossFn = Callable[[nn.Module, Any], Tensor]


class _Loss(nn.Module):
    def __init__(self, model: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: Any) -> Tensor:
        return self.loss_fn(self.model, batch)


class StackedWorkers:
    """Copies of a model that train on batches of their own.

    Buffers are shared and must not change in training; dropout is drawn for each worker.

    Args:
        model: where every worker starts; it is not changed but by ``place``.
        loss_fn: ``loss_fn(model, batch)`` returns the mean loss of one worker's batch.
        optimizer: makes the optimizer of the stacked weights, a rule that works element by element.
        workers: how many, >= 1.

    Attributes:
        weights: name to (workers, *shape).
        optimizer: of them.

    Raises:
        InputError: workers below 1, or a model with batch statistics.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        optimizer: Callable[[list[nn.Parameter]], Optimizer],
        *,
        workers: int,
    ) -> None:
        if workers < 1:
            raise InputError(f"workers={workers} must be at least 1")
        for name, module in model.named_modules():
            if getattr(module, "track_running_stats", False):
                raise InputError(f"{name!r} keeps batch statistics, which no worker may change; use group norm")
        self.model, self.workers, self.loss = model, workers, _Loss(model, loss_fn)
        self.weights = {
            name: nn.Parameter(p.detach().expand(workers, *p.shape).clone())
            for name, p in model.named_parameters()
            if p.requires_grad
        }
        self.optimizer = optimizer(list(self.weights.values()))
        single = grad_and_value(lambda weights, batch: functional_call(self.loss, weights, (batch,)))
        self._gradients = vmap(single, randomness="different")

    def step(self, batch: Any) -> Tensor:
        """One optimizer step of every worker.

        Args:
            batch: tensors, or a structure of them, with the workers along the first dimension.

        Returns:
            (workers,) losses before the step.

        Raises:
            InputError: a tensor with another first dimension.
        """
        for tensor in tree_leaves(batch):
            if tensor.shape[:1] != (self.workers,):
                raise InputError(f"a tensor of shape {tuple(tensor.shape)} must have {self.workers} workers first")
        named = {f"model.{name}": p.detach() for name, p in self.weights.items()}
        gradients, losses = self._gradients(named, batch)
        for p, gradient in zip(self.weights.values(), gradients.values(), strict=True):
            p.grad = gradient
        self.optimizer.step()
        return losses

    def rows(self, workers: slice) -> list[Tensor]:
        """The weights of some workers, as views that share memory: what ``LocalUpdates`` averages."""
        return [p.detach()[workers] for p in self.weights.values()]

    @torch.no_grad()
    def place(self, workers: slice = slice(None), model: nn.Module | None = None) -> nn.Module:
        """Puts the mean weights of some workers into a model (default: the one they started from) and returns it."""
        target = self.model if model is None else model
        own = dict(target.named_parameters())
        for name, p in self.weights.items():
            own[name].copy_(p[workers].mean(0))
        return target
