"""An update that is bit for bit the same in any number of processes: the recipe's ``micro_batches``.

The batch is cut into so many equal parts, each of which one process computes alone, and all that is summed over parts
is summed as ``thalweg.train.tree`` says. The norm for clipping is taken of whole gradients, gathered where they are
split. So arithmetic is a function of the recipe; large sums and matrix products depend on the number of threads too,
which a checkpoint keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.optim.sharding import full, is_sharded, local
from thalweg.train.closure import BatchClosure
from thalweg.train.hooks import State
from thalweg.train.micro import micro_batches
from thalweg.train.tree import TreeSum, meet, tree_sum

__all__ = ["OrderedClosure", "clip_whole", "closure_of"]


def closure_of(state: State, batches: Any) -> BatchClosure:
    """The closure of the update that comes next.

    Args:
        state: the running training.
        batches: see ``Data.batches``.
    """
    if state.recipe.micro_batches:
        return OrderedClosure(state, batches.at(state.step))
    return BatchClosure(state, batches.at(state.step, rank=state.world.rank, world=state.world.size))


class OrderedClosure(BatchClosure):
    """The batch of one update, cut and summed as ``micro_batches`` says.

    Args:
        state: the running training.
        rows: of the whole update, in every process.
    """

    def __init__(self, state: State, rows: Any) -> None:
        count, world = state.recipe.micro_batches, state.world
        every = micro_batches(rows, state.recipe.batch // count, state.device)
        scored = [part.scored for part in every]
        counted = [each / sum(scored) for each in scored] if any(scored) else [1 / count] * count
        self._state = state
        self._micro = every[world.rank :: world.size]
        self._shares = counted[world.rank :: world.size]
        self._generator = None

    @property
    def parts(self) -> Sequence[Callable[[], Tensor]]:
        """Refused: a part of one process is not a part of two."""
        raise InputError("micro_batches gives no parts, which this optimizer asks for: set accumulate in its place")

    def __call__(self) -> Tensor:
        """Replaces the gradients by those of the mean loss, clipped as the recipe says; returns the loss."""
        state, world = self._state, self._state.world
        params = [p for p in state.model.parameters() if p.requires_grad]
        gradients, losses = TreeSum(), []
        for part in range(len(self._micro)):
            state.optimizer.zero_grad(set_to_none=True)
            with world.reducing(state.model, True):
                scaled = self._scaled(part)
                scaled.backward()
            losses.append(scaled.detach())
            whole = [p.grad for p in params if p.grad is not None and not is_sharded(p)]
            meet(whole, world.rank, world.size)
            gradients.add([p.grad for p in params])
        for p, grad in zip(params, gradients.total, strict=True):
            p.grad = grad
        if state.recipe.clip:
            clip_whole(params, state.recipe.clip)
        return tree_sum(world.rows(torch.stack(losses)).T.reshape(-1))


@torch.no_grad()
def clip_whole(params: Sequence[Tensor], limit: float) -> Tensor:
    """Scales gradients so that their joint norm is at most ``limit``, with the bits of whole ones where they are split.

    Args:
        params: whole, or split alike in all processes, which then gather one gradient after the other.
        limit: above 0.

    Returns:
        The norm before, sqrt(sum of squares).
    """
    held = [(p, p.grad) for p in params if p.grad is not None]
    norms = [torch.linalg.vector_norm(full(local(grad), p).contiguous()) for p, grad in held]  # strides set an order
    if not norms:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack(norms))
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
    for _, grad in held:
        local(grad).mul_(factor)
    return norm
