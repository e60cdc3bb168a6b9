"""Stochastic gradient descent with (Nesterov) momentum, as PyTorch implements it.

Source: torch.optim.SGD; Sutskever et al. 2013.
Differs: 1. weight decay is coupled (added to the gradient), as in torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import SGD

__all__ = ["sgd"]


def sgd(
    groups: list[dict[str, Any]],
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> SGD:
    """``torch.optim.SGD`` over parameter groups.

    Args:
        groups: parameter groups; a group's own ``weight_decay`` wins.
        lr: learning rate of one update, > 0; the scheduler overwrites it.
        momentum: decay of the velocity, in [0, 1).
        nesterov: look ahead by one velocity step; needs momentum > 0.
        weight_decay: added to the gradient as weight_decay * w, >= 0.

    Raises:
        ValueError: a value is out of range (torch's message).
    """
    from torch.optim import SGD

    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
