"""The closure of one update: gradients of the whole batch, of its parts, and losses that differentiate twice.

An optimizer that needs one gradient calls it; SAM asks for ``parts``, Sophia for ``loss`` or ``sampled_loss``; see
``thalweg.optim.closure``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg.data.plan import Rows
from thalweg.nn.loss import IGNORE
from thalweg.train.hooks import State
from thalweg.train.micro import MicroBatch, micro_batches
from thalweg.train.setup import precision

__all__ = ["BatchClosure"]


class BatchClosure:
    """The batch of one update as a function of the model's weights; satisfies ``thalweg.optim.closure.Closure``.

    Args:
        state: the running training.
        rows: (batch, context + 1) token ids of this update, or the windows of a data plan; with several processes
            the share of this one. Gradients and losses are means over all of them.
    """

    def __init__(self, state: State, rows: np.ndarray | Rows) -> None:
        self._state = state
        size = state.recipe.batch // state.recipe.accumulate // state.world.size
        self._micro = micro_batches(rows, size, state.device)
        self._shares = self._scored_shares(rows)
        self._generator: torch.Generator | None = None

    @property
    def parts(self) -> Sequence[Callable[[], Tensor]]:
        """One call per micro-batch: replaces the gradients by those of its mean loss, unclipped, and returns it."""
        return [partial(self._part, part) for part in range(len(self._micro))]

    def __call__(self) -> Tensor:
        """Replaces the gradients by those of the mean loss, clipped as the recipe says; returns the loss."""
        self._state.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._state.device, dtype=torch.float32)
        world, model = self._state.world, self._state.model
        for part in range(len(self._micro)):
            with world.reducing(model, part == len(self._micro) - 1):
                scaled = self._scaled(part)
                scaled.backward()
            total += scaled.detach()
        if self._state.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self._state.model.parameters(), self._state.recipe.clip, foreach=True)
        return world.mean(total)

    def loss(self) -> Tensor:
        """The mean loss with its graph, differentiable twice; gradients stay as they are."""
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            return self._joined([self._mean(part) for part in range(len(self._micro))])

    def sampled_loss(self) -> Tensor:
        """The mean cross-entropy on labels drawn from the model's predictions, differentiable twice.

        The draws depend on the recipe's seed, the step and how many were made in it, so a resumed run repeats them.
        """
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            return self._joined([self._sampled(part) for part in range(len(self._micro))])

    def _scored_shares(self, rows: np.ndarray | Rows) -> list[float] | None:
        """Each part's share of the scored tokens of all processes, times their number; None where all count."""
        world = self._state.world
        if isinstance(rows, np.ndarray):
            return None
        if world.alone:
            scored = [part.scored for part in self._micro]
            return [count / max(1, sum(scored)) for count in scored] if any(scored) else None
        mine = [int((part.targets != IGNORE).sum()) for part in self._micro]
        all_of_them = sum(sum(counts) for counts in world.gather(mine))
        return [world.size * count / max(1, all_of_them) for count in mine]

    def _rows(self, part: int) -> MicroBatch:
        for hook in self._state.hooks:
            hook.before_part(self._state, part)
        return self._micro[part]

    def _mean(self, part: int) -> Tensor:
        rows = self._rows(part)
        with precision(self._state.recipe.precision, self._state.device):
            model = self._state.world.called(self._state.model) if torch.is_grad_enabled() else self._state.model
            return model(rows.ids, targets=rows.targets, cu_seqlens=rows.cu_seqlens).loss

    def _joined(self, parts: list[Tensor]) -> Tensor:
        """The mean loss of the batch from the mean losses of its parts."""
        losses = torch.stack(parts)
        return losses.mean() if self._shares is None else (losses * losses.new_tensor(self._shares)).sum()

    def _scaled(self, part: int) -> Tensor:
        """A part's share of the mean loss: equal parts, or by scored tokens where some are not scored."""
        return self._mean(part) / len(self._micro) if self._shares is None else self._mean(part) * self._shares[part]

    def _part(self, part: int) -> Tensor:
        self._state.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            with self._state.world.reducing(self._state.model, True):
                loss = self._mean(part)
                loss.backward()
        return self._state.world.mean(loss.detach())

    def _sampled(self, part: int) -> Tensor:
        rows = self._rows(part)
        with precision(self._state.recipe.precision, self._state.device):
            logits = self._state.model(rows.ids, cu_seqlens=rows.cu_seqlens).logits.flatten(0, 1)
        if self._generator is None:
            seed = (self._state.recipe.seed * 1_000_003 + self._state.step) % 2**63
            self._generator = torch.Generator(self._state.device).manual_seed(seed)
        labels = torch.multinomial(logits.detach().softmax(-1), 1, generator=self._generator).squeeze(1)
        return F.cross_entropy(logits, labels.where(rows.targets.flatten() != IGNORE, IGNORE))
