from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from thalweg.nn import ModelConfig
from thalweg.nn.model import LanguageModel


@pytest.fixture
def build() -> Callable[..., LanguageModel]:
    """A small model whose every parameter, gains too, is away from its initial value; float64 unless told."""

    def make(dtype: torch.dtype = torch.float64, **changes: object) -> LanguageModel:
        shape = {"vocab_size": 37, "dim": 24, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 32, "context": 32}
        model = LanguageModel(ModelConfig(**{**shape, **changes})).to(dtype)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(1 + 0.3 * noise if parameter.dim() == 1 else 0.3 * noise)
        return model.eval()

    return make


def tokens(rows: int, count: int, *, vocabulary: int = 37, seed: int = 0) -> torch.Tensor:
    return torch.randint(vocabulary, (rows, count), generator=torch.Generator().manual_seed(seed))
