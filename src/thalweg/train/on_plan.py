"""Trains a small language model on the windows of a data plan, in memory, with branches: what studies compare.

A trunk at a constant rate can be copied and gone on with under several decays, which is exact (weights and optimizer
state are copied, and the batch is a pure function of (plan, step)). For run folders, hooks and resume see
``thalweg.train.loop``.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.data.plan import Order
from thalweg.data.plan.rows import IGNORE
from thalweg.errors import InputError
from thalweg.nn import LanguageModel, ModelConfig
from thalweg.optim import for_model
from thalweg.train.planned import PlanBatches
from thalweg.train.setup import pick_device, window_losses

__all__ = ["PlanTrainer"]


class PlanTrainer:
    """A model and its optimizer on their way through a plan.

    Args:
        config: of the model.
        order: the plan made concrete.
        batch: windows a step.
        seed: of the initial weights.
        device: where it trains.
        optimizer: ``name`` and options; None is AdamW with betas (0.9, 0.95) and weight decay 0.1.
        clip: largest gradient norm; 0 does not clip.

    Attributes:
        model: the weights as they stand.
        step: finished updates.
    """

    def __init__(
        self,
        config: ModelConfig,
        order: Order,
        *,
        batch: int,
        seed: int,
        device: str = "cpu",
        optimizer: Mapping[str, Any] | None = None,
        clip: float = 1.0,
    ) -> None:
        where = pick_device(device)
        self.batches, self.step, self.clip = PlanBatches(order, batch), 0, clip
        self.model = LanguageModel(config, generator=torch.Generator().manual_seed(seed)).to(where)
        options = dict(optimizer or {"name": "adamw", "betas": (0.9, 0.95), "weight_decay": 0.1})
        self.optimizer = for_model(self.model, lr=1.0, width_ratio=config.width_ratio, **options)
        self._scales = [group["lr"] for group in self.optimizer.param_groups]

    def fork(self) -> PlanTrainer:
        """A copy that goes its own way from here; the plan is shared."""
        batches, self.batches = self.batches, None  # type: ignore[assignment]  # plans may be large
        other = copy.deepcopy(self)
        self.batches = other.batches = batches
        return other

    def advance(self, rates: np.ndarray, upto: int, *, keep: Collection[int] = ()) -> dict[int, dict[str, Tensor]]:
        """Trains until ``upto`` updates are finished.

        Args:
            rates: learning rate of each update of the whole run, shape (steps,).
            upto: at most len(rates).
            keep: finished steps at which weights are kept.

        Returns:
            Step -> copies of the weights.

        Raises:
            InputError: ``upto`` lies beyond the rates or behind where the run stands.
        """
        if not self.step <= upto <= len(rates):
            raise InputError(f"upto={upto} must lie between step {self.step} and the {len(rates)} rates")
        device, kept = self.model.head.device, {}
        self.model.train()
        while self.step < upto:
            for group, scale in zip(self.optimizer.param_groups, self._scales, strict=True):
                group["lr"] = scale * float(rates[self.step])
            rows = self.batches.at(self.step)
            ids, targets = torch.from_numpy(rows.ids).to(device), torch.from_numpy(rows.targets).to(device)
            logits = self.model(ids).logits.flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if self.clip:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip, foreach=True)
            self.optimizer.step()
            self.step += 1
            if self.step in keep:
                kept[self.step] = {name: p.detach().clone() for name, p in self.model.state_dict().items()}
        return kept

    def losses(self, windows: Sequence[Tensor], state: Mapping[str, Tensor] | None = None) -> np.ndarray:
        """The loss of each held-out window, nats per token, of the weights as they stand or of ``state``.

        Args:
            windows: batches of token ids (rows, context + 1).
            state: e.g. averaged weights; training goes on from the raw ones.
        """
        if state is None:
            return window_losses(self.model, windows)
        own = {name: p.detach().clone() for name, p in self.model.state_dict().items()}
        self.model.load_state_dict(state)
        found = window_losses(self.model, windows)
        self.model.load_state_dict(own)
        return found
