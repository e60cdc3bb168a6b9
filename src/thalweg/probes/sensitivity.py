"""How fragile trained weights are: the loss after noise as large as the initial weights, and where that turns up.

Δ_λ = mean over draws of L(θ + λ s ⊙ ε) - L(θ), ε standard normal and s the standard deviation of each tensor *at
initialisation*: the same absolute noise for every checkpoint. Along checkpoints that were each annealed at their own
budget Δ_λ grows, and the perturbed loss itself turns up at the inflection budget.

Source: Springer et al., "Overtrained Language Models Are Harder to Fine-Tune", arXiv 2503.19206 (section 3: progressive
sensitivity; inflection).
Differs: 1. the inflection is the vertex of a parabola through the three points around the least loss, in log budget.
2. noise by group of parameters is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Sensitivity", "inflection", "initial_scales", "noise_sensitivity"]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """At one checkpoint and noise.

    Attributes:
        scale: λ, in units of the initial standard deviations.
        base: L(θ).
        rise: Δ_λ, mean over draws.
        error: standard error over draws; NaN with one.
    """

    scale: float
    base: float
    rise: float
    error: float

    @property
    def perturbed(self) -> float:
        """The loss after noise."""
        return self.base + self.rise


def initial_scales(fresh: nn.Module) -> dict[str, float]:
    """The standard deviation of each parameter of a freshly initialised model of the same configuration.

    Tensors that start constant (norm gains, biases) have 0 and get no noise.

    Args:
        fresh: e.g. ``LanguageModel(config)`` or ``AutoModelForCausalLM.from_config(config)``; not the trained model.
    """
    return {name: float(p.detach().double().std(correction=0)) for name, p in fresh.named_parameters()}


def noise_sensitivity(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    scales: Mapping[str, float],
    lambdas: Sequence[float],
    *,
    draws: int = 4,
    seed: int = 0,
    params: str = "*",
) -> list[Sensitivity]:
    """Δ_λ for every λ; the weights are restored bit for bit.

    Args:
        model: trained; put it in eval mode yourself.
        evaluate: the loss on fixed data, without gradients.
        scales: of each parameter, from ``initial_scales``.
        lambdas: noise levels > 0.
        draws: of noise, the same for every λ and for every checkpoint with this ``seed``.
        seed: of the noise.
        params: pattern of the parameters that get noise, such as "model.embed_tokens*".

    Raises:
        InputError: a parameter has no scale, the pattern matches none that gets noise, or a λ is not > 0.
    """
    import torch

    chosen = [(name, p) for name, p in model.named_parameters() if fnmatchcase(name, params)]
    missing = [name for name, _ in chosen if name not in scales]
    if missing:
        raise InputError(f"parameter {missing[0]!r} has no initial scale: give those of a fresh model of this kind")
    if not any(scales[name] > 0 for name, _ in chosen):
        raise InputError(f"params = {params!r} matches no parameter with random initial values")
    if draws < 1 or not lambdas or not all(np.isfinite(each) and each > 0 for each in lambdas):
        raise InputError(f"lambdas = {list(lambdas)!r}, draws = {draws}: give noise levels > 0 and at least one draw")
    kept = {name: p.detach().clone() for name, p in chosen}
    base = float(evaluate(model))
    found = []
    try:
        for scale in lambdas:
            rises = []
            for draw in range(draws):
                generator = torch.Generator().manual_seed(seed * 1_000_003 + draw)
                with torch.no_grad():
                    for name, p in chosen:
                        noise = torch.randn(p.shape, generator=generator, dtype=torch.float32)
                        p.copy_(kept[name] + scale * scales[name] * noise.to(p.device))  # added in fp32 at least
                rises.append(float(evaluate(model)) - base)
            error = float(np.std(rises, ddof=1) / np.sqrt(draws)) if draws > 1 else float("nan")
            found.append(Sensitivity(scale, base, float(np.mean(rises)), error))
    finally:
        with torch.no_grad():
            for name, p in chosen:
                p.copy_(kept[name])
    return found


def inflection(budgets: Sequence[float], losses: Sequence[float]) -> float | None:
    """The budget of least loss: vertex of the parabola in log budget through the least point and its neighbours.

    Args:
        budgets: tokens or steps, > 0, rising.
        losses: after noise or fine-tuning.

    Returns:
        None where the least loss is that of the last checkpoint (no inflection seen); the first budget where it is that
        of the first (it lies at or before it).

    Raises:
        InputError: fewer than three checkpoints, budgets that do not rise, or a loss that is not finite.
    """
    x, y = np.asarray(budgets, dtype=float), np.asarray(losses, dtype=float)
    if x.ndim != 1 or len(x) < 3 or x.shape != y.shape or np.any(x <= 0) or np.any(np.diff(x) <= 0):
        raise InputError("give three or more rising budgets > 0 and one loss each")
    if not np.isfinite(y).all():
        raise InputError("a loss is not finite: leave that checkpoint out")
    best = int(np.argmin(y))
    if best == len(x) - 1:
        return None
    if best == 0:
        return float(x[0])
    around = slice(best - 1, best + 2)
    centre = np.log(x[best])
    curve = np.polyfit(np.log(x[around]) - centre, y[around], 2)
    return float(np.exp(centre - curve[1] / (2 * curve[0])))
