"""Watches scale-invariant weights under plain SGD: norms, effective rates, and the bound they put on the gradient.

    effective rate lr / |w|^2;   error of |w'|^2 = |w|^2 + lr^2 |g|^2, 0 for an invariant weight under plain SGD
    certificate sqrt(sum over steps and groups of (s'^2 - s^2) / (2 lr^2) / T) >= smallest G,  s = |w|^2

Source: arXiv 1812.03981, lemma 2.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thalweg.dynamics.invariance import RateSplit
from thalweg.errors import InputError

__all__ = ["AutoRateMonitor", "AutoRateReport"]


@dataclass(frozen=True, slots=True)
class AutoRateReport:
    """One weight's state.

    Attributes:
        name: of the parameter.
        norm: (smallest, largest) |w| of its groups: rows, or the whole.
        effective_rate: (smallest, largest) lr / |w|^2, at the last rate.
        radial: largest |w . g| / (|w| |g|) seen; far above 1e-3 the weight is not invariant.
        growth_error: largest |s' - s - lr^2 |g|^2| / s' seen; rounding where the identity holds.
        gradient: smallest |w| |g| seen, over its groups together.
        certificate: what the norms alone prove it to be at most; inf before the second call.
    """

    name: str
    norm: tuple[float, float]
    effective_rate: tuple[float, float]
    radial: float
    growth_error: float
    gradient: float
    certificate: float


class _Watched:
    """Running values of one weight, kept where the weight is."""

    def __init__(self, weight: Tensor, group: dict[str, float]) -> None:
        self.weight, self.group = weight, group
        self.last: tuple[Tensor, Tensor, float] | None = None
        zero = torch.zeros((), dtype=torch.float64, device=weight.device)
        self.radial, self.error, self.sum, self.least = zero, zero, zero, zero + math.inf
        self.steps = 0

    def read(self, name: str, split: RateSplit) -> None:
        grad = self.weight.grad
        if grad is None:
            return
        squared, steep = split.squares(name, self.weight), split.squares(name, grad)
        product = self.weight.detach().double() * grad.double()
        along = (product.flatten(1).sum(1) if name in split.rows else product.sum().reshape(1)).abs()
        size = (squared * steep).sqrt()
        self.radial = torch.maximum(self.radial, torch.where(size > 0, along / size, 0.0).max())
        self.least = torch.minimum(self.least, (squared * steep).sum().sqrt())
        rate = float(self.group["lr"])
        if self.last is not None and self.last[2] > 0:
            before, slope, lr = self.last
            missed = (squared - before - lr**2 * slope).abs() / squared
            self.error = torch.maximum(self.error, missed.max())
            self.sum = self.sum + ((squared + before) * (squared - before)).sum() / (2 * lr**2)
            self.steps += 1
        self.last = (squared, steep, rate)


class AutoRateMonitor:
    """Call ``observe`` after each ``backward``, before ``optimizer.step``; it costs four reductions a weight.

    Args:
        model: holds the weights.
        optimizer: SGD without momentum and decay on the weights watched.
        split: from ``split_scale_invariant``; its ``rows`` and ``whole`` are watched.

    Raises:
        InputError: a weight that the optimizer does not have, or whose group has momentum or decay.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, split: RateSplit) -> None:
        known = dict(model.named_parameters())
        owners = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        self.split = split
        self.watched: dict[str, _Watched] = {}
        for name in split.rows + split.whole:
            group = owners.get(id(known.get(name)))
            if group is None:
                raise InputError(f"parameter {name!r} is not in the model and the optimizer: split this model")
            for key in ("momentum", "weight_decay"):
                if group.get(key):
                    raise InputError(f"{key} = {group[key]} of {name!r} must be 0: else the norm does not only grow")
            self.watched[name] = _Watched(known[name], group)

    @torch.no_grad()
    def observe(self) -> None:
        """Reads norms and gradients of this step; weights without a gradient are passed over."""
        for name, watched in self.watched.items():
            watched.read(name, self.split)

    def report(self) -> list[AutoRateReport]:
        """The state of each weight, as it was when last observed.

        Raises:
            InputError: nothing has been observed yet.
        """
        return [self._report(name, watched) for name, watched in self.watched.items()]

    def _report(self, name: str, watched: _Watched) -> AutoRateReport:
        if watched.last is None:
            raise InputError("nothing observed yet: call observe() after backward, before the optimizer's step")
        squared, _, lr = watched.last
        low, high = float(squared.min()), float(squared.max())
        proven = math.sqrt(max(0.0, float(watched.sum)) / watched.steps) if watched.steps else math.inf
        return AutoRateReport(
            name=name,
            norm=(math.sqrt(low), math.sqrt(high)),
            effective_rate=(lr / high, lr / low),
            radial=float(watched.radial),
            growth_error=float(watched.error),
            gradient=float(watched.least),
            certificate=proven,
        )
