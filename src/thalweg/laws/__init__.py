"""Laws: loss curves in, fitted laws out, which predict schedules never run and design the best one.

`LAWS` holds every law over schedules by name. Names load on first use, so importing this room costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.laws.capacity import FactLoss as FactLoss
    from thalweg.laws.capacity import TextLoss as TextLoss
    from thalweg.laws.capacity import allocate_capacity as allocate_capacity
    from thalweg.laws.capacity import critical_ratios as critical_ratios
    from thalweg.laws.chinchilla_size import ChinchillaSize as ChinchillaSize
    from thalweg.laws.chinchilla_size import SizeTable as SizeTable
    from thalweg.laws.chinchilla_steps import ChinchillaSteps as ChinchillaSteps
    from thalweg.laws.comparing import compare as compare
    from thalweg.laws.curve import LossCurve as LossCurve
    from thalweg.laws.curve import Metrics as Metrics
    from thalweg.laws.designing import Design as Design
    from thalweg.laws.designing import design as design
    from thalweg.laws.final_losses import FinalLossCurve as FinalLossCurve
    from thalweg.laws.final_losses import fit_final_losses as fit_final_losses
    from thalweg.laws.fitting import fit as fit
    from thalweg.laws.hyper_scaling import fit_hyper_scaling as fit_hyper_scaling
    from thalweg.laws.knowledge import KnowledgeAdvice as KnowledgeAdvice
    from thalweg.laws.knowledge import ThresholdLaw as ThresholdLaw
    from thalweg.laws.knowledge import compact_gain as compact_gain
    from thalweg.laws.knowledge import matched_share as matched_share
    from thalweg.laws.knowledge import threshold_popularity as threshold_popularity
    from thalweg.laws.law import Law as Law
    from thalweg.laws.learning_curves import LearningCurve as LearningCurve
    from thalweg.laws.learning_curves import fit_learning_curve as fit_learning_curve
    from thalweg.laws.mixtures import ExponentialMixing as ExponentialMixing
    from thalweg.laws.mixtures import Memorization as Memorization
    from thalweg.laws.mixtures import MixtureAdvice as MixtureAdvice
    from thalweg.laws.mixtures import PowerCurves as PowerCurves
    from thalweg.laws.mixtures import optimal_mixture as optimal_mixture
    from thalweg.laws.momentum import MomentumLaw as MomentumLaw
    from thalweg.laws.multi_power import MultiPower as MultiPower
    from thalweg.laws.one_power import OnePower as OnePower
    from thalweg.laws.optimizer_benchmark import load_optimizer_benchmark as load_optimizer_benchmark
    from thalweg.laws.proxies import RankTable as RankTable
    from thalweg.laws.proxies import rank_recipes as rank_recipes
    from thalweg.laws.readers import read_curves as read_curves
    from thalweg.laws.reuse import ReuseLaw as ReuseLaw
    from thalweg.laws.reuse import effective_reuse as effective_reuse
    from thalweg.laws.sensitivity import sensitive_hyperparameters as sensitive_hyperparameters
    from thalweg.laws.store import load_law as load_law
    from thalweg.laws.token_speedup import token_speedups as token_speedups
    from thalweg.laws.trust import Trust as Trust

    LAWS: dict[str, type[Law]]

HOMES = {
    "LAWS": "registry",
    "ChinchillaSize": "chinchilla_size",
    "ChinchillaSteps": "chinchilla_steps",
    "ExponentialMixing": "mixtures",
    "Law": "law",
    "LearningCurve": "learning_curves",
    "Memorization": "mixtures",
    "MixtureAdvice": "mixtures",
    "PowerCurves": "mixtures",
    "fit_learning_curve": "learning_curves",
    "optimal_mixture": "mixtures",
    "LossCurve": "curve",
    "Metrics": "curve",
    "MomentumLaw": "momentum",
    "MultiPower": "multi_power",
    "OnePower": "one_power",
    "SizeTable": "chinchilla_size",
    "Trust": "trust",
    "FactLoss": "capacity",
    "KnowledgeAdvice": "knowledge",
    "RankTable": "proxies",
    "ReuseLaw": "reuse",
    "TextLoss": "capacity",
    "ThresholdLaw": "knowledge",
    "allocate_capacity": "capacity",
    "compact_gain": "knowledge",
    "critical_ratios": "capacity",
    "matched_share": "knowledge",
    "rank_recipes": "proxies",
    "threshold_popularity": "knowledge",
    "compare": "comparing",
    "effective_reuse": "reuse",
    "Design": "designing",
    "design": "designing",
    "FinalLossCurve": "final_losses",
    "fit": "fitting",
    "fit_final_losses": "final_losses",
    "fit_hyper_scaling": "hyper_scaling",
    "load_optimizer_benchmark": "optimizer_benchmark",
    "sensitive_hyperparameters": "sensitivity",
    "token_speedups": "token_speedup",
    "load_law": "store",
    "read_curves": "readers",
}

__all__ = sorted(HOMES)  # pyrefly: ignore


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
