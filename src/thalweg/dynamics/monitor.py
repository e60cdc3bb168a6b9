"""How far scale-invariant weights of a network are from their equilibrium under SGD with weight decay.

    effective rate eta / |w|^2, predicted sqrt(eta lambda (2 - eta lambda) / G),  G = running mean of |g|^2 |w|^2
    clock = sum over steps of 2 eta lambda: about 3 when the norm has forgotten its start

Source: arXiv 2010.02916, sections 3 and 4.
Differs: 1. a tensor all of whose rows are invariant by themselves (a layer before batch norm) is taken as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thalweg.dynamics.limits import check_range
from thalweg.dynamics.scale_invariant import equilibrium
from thalweg.errors import InputError, suggest

__all__ = ["EquilibriumMonitor", "EquilibriumReport"]


@dataclass(frozen=True, slots=True)
class EquilibriumReport:
    """One weight's state.

    Attributes:
        name: of the parameter.
        norm: |w|.
        effective_rate: eta / |w|^2 now.
        predicted: the effective rate at rest, for the learning rate, decay and gradients of now; 0 without decay.
        ratio: effective_rate / predicted; infinite without decay.
        clock: sum of 2 eta lambda over the steps seen.
        settled: the ratio is within 5 % of 1 and the clock at least 3.
        radial: largest |w . g| / (|w| |g|) seen; far above 1e-3 the weight is not scale-invariant.
    """

    name: str
    norm: float
    effective_rate: float
    predicted: float
    ratio: float
    clock: float
    settled: bool
    radial: float


class EquilibriumMonitor:
    """Watches scale-invariant weights under SGD with weight decay.

    Call ``observe`` after ``backward`` and before ``optimizer.step``. Reading costs two reductions a weight and one
    transfer to the host; with ``every`` it is done less often, and the clock still counts all calls.

    Args:
        model: holds the weights.
        optimizer: its groups have ``lr``, ``weight_decay`` and maybe ``momentum``, which counts as lr / (1 - momentum).
        names: parameters to watch, for instance ``scale_invariant_parameters``.
        decay: of the running mean of |g|^2 |w|^2 a reading, in [0, 1).
        every: calls between readings, >= 1.

    Raises:
        InputError: a name that the model or the optimizer does not have, or a number out of range.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, names: Iterable[str], *, decay: float = 0.99, every: int = 1
    ) -> None:
        check_range("decay", decay, below=1.0)
        check_range("every", every, low=1)
        known = dict(model.named_parameters())
        owners = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        self.weights: dict[str, Tensor] = {}
        for name in names:
            if name not in known:
                raise InputError(f"parameter {name!r} is not known: {suggest(name, known)}")
            if id(known[name]) not in owners:
                raise InputError(f"parameter {name!r} is not in the optimizer: leave it out of names")
            self.weights[name] = known[name]
        self.groups = {name: owners[id(p)] for name, p in self.weights.items()}
        self.decay, self.every, self.calls, self.readings = decay, every, 0, 0
        self.sizes = dict.fromkeys(self.weights, 0.0)
        self.radials = dict.fromkeys(self.weights, 0.0)
        self.clocks = dict.fromkeys(self.weights, 0.0)

    @staticmethod
    def _setting(group: dict[str, Any]) -> tuple[float, float]:
        """Learning rate and decay of SGD without momentum that shrink and move the weights as much.

        Momentum lengthens the gradient's part, and with it the decay where that is added to the gradient, as in torch.
        """
        longer = (1 - group.get("dampening", 0.0)) / (1 - group.get("momentum", 0.0))
        coupled = group.get("coupled", "decay" not in group)
        return float(group["lr"]) * longer, float(group.get("weight_decay", 0.0)) / (1.0 if coupled else longer)

    @torch.no_grad()
    def observe(self) -> None:
        """Reads the gradients and norms of this step; weights without a gradient are passed over."""
        for name, group in self.groups.items():
            lr, weight_decay = self._setting(group)
            self.clocks[name] += 2 * lr * weight_decay
        self.calls += 1
        if (self.calls - 1) % self.every:
            return
        self.readings += 1
        for name, p in self.weights.items():
            if p.grad is None:
                continue
            w, g = p.detach().double().flatten(), p.grad.double().flatten()
            ww, gg, wg = torch.stack([w @ w, g @ g, w @ g]).tolist()
            self.sizes[name] = self.decay * self.sizes[name] + (1 - self.decay) * ww * gg
            if ww * gg > 0:
                self.radials[name] = max(self.radials[name], abs(wg) / (ww * gg) ** 0.5)

    def report(self) -> list[EquilibriumReport]:
        """The state of each weight.

        Raises:
            InputError: nothing has been observed yet.
        """
        if not self.readings:
            raise InputError("nothing observed yet: call observe() after backward, before the optimizer's step")
        return [self._report(name) for name in self.weights]

    def _report(self, name: str) -> EquilibriumReport:
        lr, weight_decay = self._setting(self.groups[name])
        norm = float(self.weights[name].detach().double().norm())
        size = self.sizes[name] / (1 - self.decay**self.readings)
        rate = lr / norm**2
        resting = lr > 0 and weight_decay > 0 and size > 0
        predicted = equilibrium(lr, weight_decay, size).effective_rate if resting else 0.0
        ratio = rate / predicted if resting else float("inf")
        clock = self.clocks[name]
        settled = abs(ratio - 1) <= 0.05 and clock >= 3
        return EquilibriumReport(name, norm, rate, predicted, ratio, clock, settled, self.radials[name])
