"""A two-layer toy network as a torch module, for ``thalweg.landscape`` and ``thalweg.optim``.

Source: arXiv 2307.11007, section 2; the formulas stand in ``thalweg.tasks.two_layer``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.tasks.two_layer import EPS, TwoLayer

__all__ = ["TwoLayerModule"]


class TwoLayerModule(nn.Module):
    """The same function of (n, d) inputs, (n,) outputs, in float64.

    Args:
        net: one network, without leading axes.
        reference: training inputs (n, d), whose statistics "batchnorm" takes, gradients included; None elsewhere.

    Raises:
        InputError: several networks, or a batchnorm without a reference.
    """

    def __init__(self, net: TwoLayer, reference: np.ndarray | None = None) -> None:
        super().__init__()
        if net.output.ndim != 1:
            raise InputError(f"net holds networks of shape {net.output.shape[:-1]}: take one of them")
        if net.gain is not None and reference is None:
            raise InputError("kind 'batchnorm' needs reference, the training inputs")
        split = net.hidden.shape[-1] - (net.kind != "plain")
        self.kind = net.kind
        self.weight = nn.Parameter(torch.tensor(net.hidden[:, :split]))
        self.bias = nn.Parameter(torch.tensor(net.hidden[:, split])) if net.kind != "plain" else None
        self.output = nn.Parameter(torch.tensor(net.output))
        self.gain = nn.Parameter(torch.tensor(net.gain)) if net.gain is not None else None
        self.reference: Tensor | None
        self.register_buffer("reference", None if reference is None else torch.tensor(reference))

    def activations(self, x: Tensor) -> Tensor:
        """Relu(W1 x + b1), (n, d) -> (n, m)."""
        return torch.relu(nn.functional.linear(x, self.weight, self.bias))

    def forward(self, x: Tensor) -> Tensor:
        """F, (n, d) -> (n,)."""
        h = self.activations(x)
        if self.kind == "layernorm":
            h = h / h.norm(dim=-1, keepdim=True).clamp_min(EPS)
        if self.gain is not None and self.reference is not None:
            square = self.activations(self.reference).square().mean(0)
            h = self.gain * h / torch.where(square > 0, square, torch.ones_like(square)).sqrt()
        return h @ self.output

    def net(self) -> TwoLayer:
        """The weights as arrays, copied."""
        hidden = self.weight if self.bias is None else torch.cat([self.weight, self.bias[:, None]], dim=1)
        gain = None if self.gain is None else self.gain.detach().numpy().copy()
        return TwoLayer(self.kind, hidden.detach().numpy().copy(), self.output.detach().numpy().copy(), gain)
