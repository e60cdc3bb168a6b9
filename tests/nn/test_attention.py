from __future__ import annotations

import pytest
import torch

from thalweg.nn.attention import attend, attention_probabilities, attention_reference


def _inputs(rows: int, new: int, seen: int, heads: int, kv_heads: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(new * 100 + seen)
    shapes = [(rows, heads, new, 6), (rows, kv_heads, seen, 6), (rows, kv_heads, seen, 6)]
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes)


def _same(fast: torch.Tensor, slow: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> None:
    """Float64 throughout: the two differ by rounding only."""
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    upstream = torch.randn(slow.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    got, expected = (torch.autograd.grad(y, inputs, upstream) for y in (fast, slow))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 4), (4, 2), (3, 1)])
@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_causal_attention_equals_the_definition(count: int, heads: int, kv_heads: int) -> None:
    q, k, v = inputs = _inputs(2, count, count, heads, kv_heads)
    mask = torch.ones(count, count, dtype=torch.bool).tril()
    _same(attend(q, k, v, scale=0.3, mask=None), attention_reference(q, k, v, scale=0.3, mask=mask), inputs)


@pytest.mark.parametrize(("new", "seen"), [(1, 5), (3, 7), (7, 7)])
def test_masked_attention_equals_the_definition(new: int, seen: int) -> None:
    q, k, v = inputs = _inputs(2, new, seen, 4, 2)
    mask = torch.rand(2, new, seen, generator=torch.Generator().manual_seed(0)) < 0.5
    mask[..., -1] = True
    _same(attend(q, k, v, scale=0.3, mask=mask[:, None]), attention_reference(q, k, v, scale=0.3, mask=mask), inputs)


def test_probabilities_times_values_are_the_output() -> None:
    q, k, v = _inputs(2, 9, 9, 4, 2)
    mask = torch.ones(9, 9, dtype=torch.bool).tril()
    probability = attention_probabilities(q, k, scale=0.3, mask=mask)
    torch.testing.assert_close(probability.sum(-1), torch.ones(2, 4, 9, dtype=torch.float64))
    y = probability @ v.repeat_interleave(2, dim=1)
    torch.testing.assert_close(y, attention_reference(q, k, v, scale=0.3, mask=mask), rtol=1e-10, atol=1e-10)
