"""AdamW with decoupled weight decay, as PyTorch implements it, with the defaults language models use.

m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  w <- w - lr (m_hat / (sqrt(v_hat) + eps) + weight_decay w)

Source: Loshchilov & Hutter, arXiv 1711.05101; torch.optim.AdamW.
Differs: 1. betas (0.9, 0.95) and weight decay 0.1, the usual choice for language models, in place of torch's
(0.9, 0.999) and 0.01.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import AdamW

__all__ = ["adamw"]


def adamw(
    groups: list[dict[str, Any]],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.1,
) -> AdamW:
    """``torch.optim.AdamW`` (fused kernel) over parameter groups.

    Args:
        groups: parameter groups; a group's own ``weight_decay`` wins.
        lr: learning rate of one update, > 0; the scheduler overwrites it.
        betas: decay of the first and second moment, each in [0, 1).
        eps: added to the root of the second moment, >= 0.
        weight_decay: decoupled, per unit of learning rate, >= 0.

    Raises:
        ValueError: a value is out of range (torch's message).
    """
    from torch.optim import AdamW

    return AdamW(groups, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay, fused=True)
