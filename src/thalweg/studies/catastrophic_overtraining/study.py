"""Does longer pretraining make a model easier to damage?

Paper: Overtrained Language Models Are Harder to Fine-Tune, arXiv 2503.19206.

1. Claims tested: with Δ_λ the rise of the loss under noise of λ times each tensor's initial deviation, along models
   that were each annealed at their own budget, Δ_λ grows with the budget at every λ; at a large λ the loss after noise
   turns up although the loss before it still falls; what fine-tuning at fixed hyperparameters forgets grows with the
   budget.
2. Parts of a seed: byte-level transformers on plays, one a budget, cosine to zero, noise (paired draws) and fine-tuning
   on the King James Bible at several rates; the caveat, one run at a constant rate; the linear theory (exact, no seed).
3. The rule, fixed before the runs that ``expected.json`` reports. Margins of a seed:

   - growth: least of log2(Δ_λ at a budget / Δ_λ at the one before) over all λ and budgets;
   - base: loss before noise at the first budget, less that at the last;
   - upturn: at the largest λ, loss after noise at the last budget, less its least over budgets;
   - mild: at the smallest λ, loss after noise at the first budget, less that at the last;
   - forgetting: least over fine-tuning rates of the slope of the rise of the plays' loss against log2 of the budget.

   Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). Reproduced if all exceed
   0 so, not reproduced if one falls below 0 so, else inconclusive. The effect reported is b, the least over λ of the
   slope of log Δ_λ against log budget. Sizes, rates and λ were set by trials with seed 100. The constant rate and the
   linear theory are shown and have no part in the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thalweg.nn import ModelConfig
from thalweg.studies.base import Record, Verdict, decide, decide_all
from thalweg.tasks import ProgressiveLinear

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ARXIV",
    "CLAIM",
    "GPU",
    "LAPTOP",
    "SLUG",
    "SMOKE",
    "TITLE",
    "UNIT",
    "Config",
    "column",
    "exponent",
    "figure",
    "margins",
    "run",
    "verdict",
]

SLUG = "catastrophic-overtraining"
TITLE = "Longer pretraining makes a model easier to damage"
ARXIV = "2503.19206"
CLAIM = (
    "Loss added by noise or fine-tuning of fixed size grows with the pretraining budget, until more pretraining hurts."
)
UNIT = "power of the budget with which the loss added by noise grows, least over noise levels"


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        model: its context is that of training and validation.
        budgets: steps of the annealed runs, rising.
        rate: their peak rate.
        weight_decay: of AdamW.
        batch: windows a step.
        warmup: steps, at most a quarter of a run.
        lambdas: noise, in initial deviations, rising.
        draws: of noise.
        groups: patterns of parameters that get noise; groups other than "*" get it at the largest λ.
        tuning_rates: of fine-tuning, rising.
        tuning_steps: of fine-tuning.
        checkpoints: steps of the run at a constant rate at which it gets noise.
        constant_rate: of that run.
        validation: windows of each text.
        pretraining: corpus.
        finetuning: corpus.
    """

    model: ModelConfig
    budgets: tuple[int, ...]
    checkpoints: tuple[int, ...]
    rate: float = 4e-3
    weight_decay: float = 0.1
    batch: int = 16
    warmup: int = 20
    lambdas: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    draws: int = 8
    groups: tuple[str, ...] = ("*", "model.embed_tokens*", "lm_head*", "*self_attn*", "*mlp*")
    tuning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2)
    tuning_steps: int = 60
    constant_rate: float = 3e-3
    validation: int = 256
    pretraining: str = "plays"
    finetuning: str = "kjv"


SMOKE = Config(
    ModelConfig(dim=16, layers=1, heads=1, context=16),
    budgets=(8, 16, 32),
    checkpoints=(8, 16),
    warmup=4,
    lambdas=(1.0, 8.0),
    draws=2,
    groups=("*", "lm_head*"),
    tuning_rates=(1e-3, 1e-2),
    tuning_steps=4,
    validation=32,
)
LAPTOP = Config(
    ModelConfig(dim=32, layers=2, heads=2, context=32),
    budgets=(150, 300, 600, 1200, 2400),
    checkpoints=(100, 200, 400, 800),
)
GPU = Config(
    ModelConfig(dim=320, layers=8, heads=5, context=256),
    budgets=(500, 1000, 2000, 4000, 8000),
    checkpoints=(500, 1000, 2000, 4000, 8000),
    rate=1e-3,
    batch=64,
    warmup=200,
    tuning_rates=(3e-5, 1e-4, 3e-4, 1e-3),
    tuning_steps=300,
    constant_rate=1e-3,
    validation=1024,
)
THEORY_NOISE = (0.05, 0.1, 0.15, 0.2)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Yields losses before and after noise (parts annealed, constant, linear) and fine-tuning (part finetuning).

    Args:
        config: sizes.
        seed: of initial weights, orders and noise.
        device: of the transformers.
        folder: not used.
    """
    from thalweg.studies.catastrophic_overtraining.lab import Lab

    lab = Lab(config, seed, device)
    yield from lab.annealed()
    yield from lab.constant()
    toy, times = ProgressiveLinear(), np.geomspace(0.5, 200, 120)
    for noise in (0.0, *THEORY_NOISE):
        losses = toy.loss(times, noise) - 0.5 * noise**4 * toy.dim**3
        yield {"part": "linear", "noise": noise, "times": times.tolist(), "losses": losses.tolist()}


def column(records: Sequence[Record], part: str, scale: float, group: str = "*") -> tuple[np.ndarray, ...]:
    """Budgets, losses before noise and rises at one λ, of one seed."""
    rows = [r for r in records if r["part"] == part and r["scale"] == scale and r["group"] == group]
    rows.sort(key=lambda r: r["budget"])
    return tuple(np.array([row[key] for row in rows], dtype=float) for key in ("budget", "base", "rise"))


def _levels(records: Sequence[Record]) -> list[float]:
    return sorted({r["scale"] for r in records if r["part"] == "annealed"})


def margins(records: Sequence[Record]) -> dict[str, float]:
    """The margins of the rule for one seed's records."""
    levels = _levels(records)
    growth = []
    for scale in levels:
        _, _, rise = column(records, "annealed", scale)
        growth.append(np.diff(_log2(rise)).min())
    _, base, rise = column(records, "annealed", levels[-1])
    _, calm, mild = column(records, "annealed", levels[0])
    return {
        "growth": float(min(growth)),
        "base": float(base[0] - base[-1]),
        "upturn": float((base + rise)[-1] - (base + rise).min()),
        "mild": float((calm + mild)[0] - (calm + mild)[-1]),
        "forgetting": min(_forgetting(records).values()),
    }


def _log2(rises: np.ndarray) -> np.ndarray:
    """With a floor: at a noise too small for the draws the mean rise can be negative."""
    return np.log2(np.maximum(rises, 1e-6))


def _forgetting(records: Sequence[Record]) -> dict[float, float]:
    """Slope of the rise against log2 of the budget, nats a doubling, by rate."""
    rows = sorted((r for r in records if r["part"] == "finetuning"), key=lambda r: r["budget"])
    found = {}
    for rate in sorted({r["rate"] for r in rows}):
        own = [r for r in rows if r["rate"] == rate]
        rises = [r["after"] - r["base"] for r in own]
        found[rate] = float(np.polyfit(np.log2([r["budget"] for r in own]), rises, 1)[0])
    return found


def exponent(records: Sequence[Record], scale: float) -> float:
    """Power b in Δ_λ ~ budget^b, least squares in logarithms, of one seed."""
    budget, _, rise = column(records, "annealed", scale)
    return float(np.polyfit(np.log2(budget), _log2(rise), 1)[0])


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    seeds = sorted({record["seed"] for record in records})
    by_seed = [[record for record in records if record["seed"] == seed] for seed in seeds]
    found = [margins(own) for own in by_seed]
    tests = [decide([each[name] for each in found], threshold=0.0) for name in found[0]]
    slopes = [min(exponent(own, scale) for scale in _levels(own)) for own in by_seed]
    return decide_all(tests, effect=replace(decide(slopes, threshold=0.0), threshold=None))


def figure(records: Sequence[Record]) -> Figure:
    """Six panels: rise, loss after noise, forgetting, loss after fine-tuning, the constant rate, the linear theory."""
    from thalweg.studies.catastrophic_overtraining.picture import draw

    return draw(records)
