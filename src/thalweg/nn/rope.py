"""Rotary positions: each pair of a head's coordinates turns by an angle proportional to the position.

Source: arXiv 2104.09864, eq. 34, in Hugging Face's half-split convention: coordinate i pairs with i + D/2.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["RopeTable", "rotate"]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the pairs (x_i, x_{i + D/2}) by the angle whose cosine and sine are given.

    Args:
        x: (B, T, H, D).
        cos: (T, 1, D/2) or (B, T, 1, D/2).
        sin: as ``cos``.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class RopeTable:
    """Cosines and sines of all angles, in float32, made on the device where they are first asked for.

    No parameter and no buffer: nothing to initialise on a meta device, nothing a cast can round.

    Args:
        head_dim: D, even.
        theta: base of the frequencies theta^(-2i/D).
        context: number of positions.
    """

    def __init__(self, head_dim: int, theta: float, context: int) -> None:
        self.head_dim, self.theta, self.context = head_dim, theta, context
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __call__(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine, each (context, 1, D/2)."""
        if device not in self._tables:
            exponent = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device) / self.head_dim
            angle = torch.arange(self.context, dtype=torch.float32, device=device)[:, None] / self.theta**exponent
            self._tables[device] = (angle.cos()[:, None], angle.sin()[:, None])
        return self._tables[device]
