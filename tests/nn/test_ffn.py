from __future__ import annotations

import torch

from thalweg.nn import ModelConfig
from thalweg.nn.ffn import FFNS


def test_swiglu_is_its_formula() -> None:
    ffn = FFNS["swiglu"](ModelConfig(dim=8, heads=2, hidden=12), 0).double()
    x = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gate, up = x @ ffn.gate_proj.weight.T, x @ ffn.up_proj.weight.T
    expected = (gate / (1 + torch.exp(-gate)) * up) @ ffn.down_proj.weight.T
    torch.testing.assert_close(ffn(x), expected, rtol=1e-12, atol=1e-12)
    assert [tuple(p.shape) for p in ffn.parameters()] == [(12, 8), (12, 8), (8, 12)]
