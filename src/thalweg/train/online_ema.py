"""An exponential moving average of the weights, kept while a model trains.

Source: Polyak averaging with a constant factor, as used in arXiv 1806.05594, section 3, and arXiv 2511.18903.
Differs: 1. the first update copies the weights, so that the average never holds the initial ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError

__all__ = ["OnlineEMA"]


class OnlineEMA:
    """An exponential moving average of a model's weights, updated while it trains: A ← d A + (1 - d) θ.

    The first update copies the weights, so the average never holds the initial ones. Parameters and floating-point
    buffers are averaged, in float32 at least; the model itself is touched only inside ``applied``.

    Args:
        model: gives names, shapes and devices.
        decay: d, in [0, 1); 0.999 averages over about the last 1,000 updates.
        start: steps before this one are not averaged (>= 0).
        every: only steps divisible by it are averaged (>= 1).
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.999, start: int = 0, every: int = 1) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"decay={decay!r} must be at least 0 and below 1, such as 0.999")
        if start < 0 or every < 1:
            raise InputError(f"start={start!r} must be at least 0 and every={every!r} at least 1")
        self.decay, self.start, self.every = decay, start, every
        self.updates, self.step = 0, -1
        self.average = {name: _wide(tensor).clone() for name, tensor in _averaged(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Takes in the weights after optimizer step ``step``; steps must increase.

        Raises:
            InputError: a step that was taken in before.
        """
        if step <= self.step:
            raise InputError(f"step={step} is not after step {self.step}, the last one averaged; update once a step")
        if step < self.start or step % self.every:
            return
        share = 1 - self.decay if self.updates else 1.0
        for name, tensor in _averaged(model).items():
            self.average[name].lerp_(_wide(tensor), share)
        self.updates += 1
        self.step = step

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[nn.Module]:
        """Within the block the model has the averaged weights; after it, its own again, bit for bit.

        Before the first update there is no average, and the model keeps its own weights within the block too.
        """
        if not self.updates:
            yield model
            return
        tensors = _averaged(model)
        own = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        try:
            _copy(self.average, tensors)
            yield model
        finally:
            _copy(own, tensors)

    def state_dict(self) -> dict[str, Any]:
        """Counters and copies of the averages: numbers and tensors only."""
        copies = {name: tensor.clone() for name, tensor in self.average.items()}
        return {"updates": self.updates, "step": self.step, "average": copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` gave, exactly.

        Raises:
            InputError: the state is of another model.
        """
        average = state["average"]
        odd = sorted(set(average) ^ set(self.average))
        odd = odd or sorted(name for name in average if average[name].shape != self.average[name].shape)
        if odd:
            raise InputError(f"the state of the average does not fit the model in {odd[0]!r}; use the model it is of")
        _copy(average, self.average)
        self.updates, self.step = state["updates"], state["step"]


def _averaged(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved floating-point buffers by name; a shared tensor once."""
    saved = set(model.state_dict())
    every = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor for name, tensor in every if name in saved and tensor.is_floating_point()}


def _wide(tensor: Tensor) -> Tensor:
    """The tensor in float32 at least."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
