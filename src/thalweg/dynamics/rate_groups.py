"""Learning rates by group, from the invariance of the weights, and the gradient that does not depend on their norms.

Scale-invariant weights take any constant rate; the others, which nothing protects, take a tuned one, constant under
full-batch descent and falling as (t + 1)^(-1/2) under SGD. Both without decay or momentum.

    G^2 = sum_i |w_i|^2 |g_i|^2 + |g_other|^2,  i over invariant groups: the gradient at unit norms

Source: arXiv 1812.03981, theorems on gradient descent and on SGD.
Differs: 1. the paper's bound on the rate of the other weights, one over their smoothness, is not estimated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from thalweg.dynamics.invariance import RateSplit
from thalweg.dynamics.limits import check_range
from thalweg.errors import InputError

__all__ = ["IntrinsicGradient", "PowerFactor", "auto_rate_groups", "intrinsic_gradient", "rate_factors"]


class IntrinsicGradient(NamedTuple):
    """Norms of the gradient at unit norms.

    Attributes:
        total: G.
        invariant: its part of scale-invariant weights.
        variant: its part of the others.
    """

    total: float
    invariant: float
    variant: float


@dataclass(frozen=True, slots=True)
class PowerFactor:
    """(step + 1)^power, a factor that ``torch.optim.lr_scheduler.LambdaLR`` can save.

    Args:
        power: 0 for a constant rate.
    """

    power: float

    def __call__(self, step: int) -> float:
        """The factor of a step, counted from 0."""
        return (step + 1) ** self.power


def auto_rate_groups(
    model: nn.Module, split: RateSplit, *, lr_invariant: float = 0.3, lr: float = 0.1
) -> list[dict[str, Any]]:
    """Parameter groups for ``torch.optim.SGD`` and others.

    Args:
        model: holds the parameters.
        split: from ``split_scale_invariant``.
        lr_invariant: rate of scale-invariant weights, > 0; any, 0.3 in the paper.
        lr: rate of the others, > 0; this one needs tuning.

    Returns:
        Up to two groups, those without parameters left out, with ``scale_invariant`` True or False and no decay.

    Raises:
        InputError: a rate out of range, or a split of another model.
    """
    check_range("lr_invariant", lr_invariant, above=True)
    check_range("lr", lr, above=True)
    known = dict(model.named_parameters())
    for name in (*split.rows, *split.whole, *split.variant):
        if name not in known:
            raise InputError(f"split has parameter {name!r}, which the model has not: split this model")
    groups = (
        {"params": [known[name] for name in names], "lr": rate, "weight_decay": 0.0, "scale_invariant": invariant}
        for names, rate, invariant in ((split.rows + split.whole, lr_invariant, True), (split.variant, lr, False))
    )
    return [group for group in groups if group["params"]]


def rate_factors(groups: Sequence[dict[str, Any]], *, power: float = -0.5) -> list[PowerFactor]:
    """Factors for ``LambdaLR``, one a group: 1 for scale-invariant weights, (step + 1)^power for the others.

    Args:
        groups: from ``auto_rate_groups``, or an optimizer's ``param_groups`` made of them.
        power: of the other weights; -0.5 for SGD, 0 for full-batch descent.

    Raises:
        InputError: a group that does not say whether it is scale-invariant.
    """
    if any("scale_invariant" not in group for group in groups):
        raise InputError("groups must have 'scale_invariant': make them with auto_rate_groups")
    return [PowerFactor(0.0 if group["scale_invariant"] else power) for group in groups]


def intrinsic_gradient(model: nn.Module, split: RateSplit) -> IntrinsicGradient:
    """G from the gradients that lie on the parameters, after ``backward``; one transfer to the host.

    Parameters without a gradient count as 0. Compare runs at different rates by G: the raw gradient falls as the norm
    grows, and says nothing of the loss.

    Args:
        model: after ``backward``.
        split: of its parameters.
    """
    known = dict(model.named_parameters())
    device = next(iter(known.values())).device if known else None
    parts = torch.zeros(2, dtype=torch.float64, device=device)
    for names, column in ((split.rows + split.whole, 0), (split.variant, 1)):
        for name in names:
            grad = known[name].grad
            if grad is not None:
                norms = 1.0 if column else split.squares(name, known[name])
                parts[column] += (split.squares(name, grad) * norms).sum()
    invariant, variant = parts.tolist()
    return IntrinsicGradient(math.sqrt(invariant + variant), math.sqrt(invariant), math.sqrt(variant))
