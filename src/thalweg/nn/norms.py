"""Norms of the residual stream and of heads.

Source: RMSNorm, arXiv 1910.07467, eq. 4; computed in float32 below that precision, as Hugging Face's Llama does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["NORMS", "RMSNorm", "rms_norm"]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normed x: x / sqrt(mean(x²) + eps) · weight over the last axis; the mean in at least float32.

    Args:
        x: (..., D).
        weight: (D,), the gain.
        eps: added to the mean square.
    """
    if x.dtype in (torch.float32, torch.float64):
        return F.rms_norm(x, x.shape[-1:], weight, eps)
    return weight * F.rms_norm(x.float(), x.shape[-1:], None, eps).to(x.dtype)


class RMSNorm(nn.Module):
    """RMSNorm with a gain and no bias.

    Args:
        dim: size of the last axis.
        eps: added to the mean square.
    """

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return rms_norm(x, self.weight, self.eps)


NORMS: dict[str, type[nn.Module]] = {"rmsnorm": RMSNorm}
