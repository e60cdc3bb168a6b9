"""SAM as a recipe has it, with the recipe's clipping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from thalweg.optim.sam import SAM, around

__all__ = ["with_sam"]


def with_sam(base: Optimizer, options: Mapping[str, Any], clip: float) -> SAM:
    """SAM around ``base``; a closure's parts are not clipped, so the mean of their gradients is, before its update."""
    optimizer = around(base, options)
    params = [p for group in base.param_groups for p in group["params"]]

    def limit(*_: Any) -> None:
        torch.nn.utils.clip_grad_norm_(params, clip, foreach=True)

    if clip and optimizer.param_groups[0]["sam_per_part"]:
        base.register_step_pre_hook(limit)
    return optimizer
