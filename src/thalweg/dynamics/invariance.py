"""Which weights of a network are scale-invariant, found by rescaling them.

Source: arXiv 1812.03981, definition 2.1.
Differs: 1. invariance is found numerically, not from the architecture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from thalweg.dynamics.limits import check_range
from thalweg.errors import InputError

__all__ = ["RateSplit", "scale_invariant_parameters", "split_scale_invariant"]


class RateSplit(NamedTuple):
    """Names of a model's parameters by how they may be rescaled.

    Attributes:
        rows: each row (first index) by itself, as before batch norm.
        whole: only as a whole, as before layer norm.
        variant: not at all: gains, biases after a norm, the last layer.
    """

    rows: tuple[str, ...]
    whole: tuple[str, ...]
    variant: tuple[str, ...]

    def squares(self, name: str, tensor: Tensor) -> Tensor:
        """Sums of squares in float64: one a row, (rows,), of a parameter in ``rows``, else one in all, (1,)."""
        flat = tensor.detach().double()
        return flat.flatten(1).square().sum(1) if name in self.rows else flat.square().sum().reshape(1)


class _Rescaled:
    """A model called with some of its parameters replaced; its buffers stay as they are."""

    def __init__(self, model: nn.Module, inputs: tuple[Any, ...], tolerance: float) -> None:
        self.model, self.inputs = model, inputs
        self.state = {name: value.detach() for name, value in model.named_parameters()}
        self.base = self.outputs({})
        self.room = tolerance * float(self.base.abs().max())
        if not self.keeps({}):
            raise InputError("model gives another output at each call: turn dropout off")

    def outputs(self, changed: dict[str, Tensor]) -> Tensor:
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        out = functional_call(self.model, {**self.state, **buffers, **changed}, self.inputs)
        if not isinstance(out, Tensor):
            raise InputError(f"model returns {type(out).__name__}: wrap it so that it returns a tensor")
        return out

    def keeps(self, changed: dict[str, Tensor]) -> bool:
        return float((self.outputs(changed) - self.base).abs().max()) <= self.room


@torch.no_grad()
def scale_invariant_parameters(
    model: nn.Module, *inputs: Any, factor: float = 1.5, tolerance: float = 1e-3
) -> list[str]:
    """Names of the parameters that can be multiplied by ``factor`` and leave the output as it is.

    The model is asked in the mode it is in, with its buffers put back: batch norm must be in training mode, where it
    normalises. A model with dropout on changes anyhow and is refused.

    Args:
        model: returns a tensor.
        inputs: what it is called with.
        factor: > 0, other than 1.
        tolerance: largest change of the output over its largest entry; leaves room for the norm's eps.

    Raises:
        InputError: the output is no tensor, or changes without any change of the weights.
    """
    check_range("factor", factor, above=True)
    asked = _Rescaled(model, inputs, tolerance)
    return [name for name, value in asked.state.items() if bool(value.any()) and asked.keeps({name: factor * value})]


@torch.no_grad()
def split_scale_invariant(model: nn.Module, *inputs: Any, factor: float = 1.5, tolerance: float = 1e-3) -> RateSplit:
    """Sorts the trainable parameters by their invariance.

    Rows are tried with factors that differ from row to row, between ``factor`` and its inverse. A bias before batch
    norm has no influence, and counts as invariant as a whole.

    Args:
        model: see ``scale_invariant_parameters``.
        inputs: what it is called with.
        factor: > 0, other than 1.
        tolerance: see ``scale_invariant_parameters``.

    Raises:
        InputError: see ``scale_invariant_parameters``.
    """
    found = set(scale_invariant_parameters(model, *inputs, factor=factor, tolerance=tolerance))
    asked = _Rescaled(model, inputs, tolerance)

    def by_row(value: Tensor) -> Tensor:
        factors = torch.linspace(factor, 1 / factor, len(value), dtype=value.dtype, device=value.device)
        return value * factors.reshape(-1, *[1] * (value.ndim - 1))

    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    rows = [n for n in trained if n in found and asked.state[n].ndim > 1 and asked.keeps({n: by_row(asked.state[n])})]
    whole = [name for name in trained if name in found and name not in rows]
    return RateSplit(tuple(rows), tuple(whole), tuple(name for name in trained if name not in found))
