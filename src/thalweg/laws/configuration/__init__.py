"""Configuration laws: from a full training configuration to its loss. Names load on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.laws.configuration.baseline import OFFICIAL as OFFICIAL
    from thalweg.laws.configuration.baseline import fit_baseline as fit_baseline
    from thalweg.laws.configuration.law import ConfigurationLaw as ConfigurationLaw
    from thalweg.laws.configuration.law import Prediction as Prediction
    from thalweg.laws.configuration.scores import Scores as Scores
    from thalweg.laws.configuration.scores import leave_largest_out as leave_largest_out
    from thalweg.laws.configuration.scores import score as score
    from thalweg.laws.configuration.sequences import sequence as sequence
    from thalweg.laws.configuration.table import ConfigTable as ConfigTable
    from thalweg.laws.configuration.table import parse_config as parse_config
    from thalweg.laws.configuration.table import read_configurations as read_configurations
    from thalweg.laws.configuration.tuning import Plan as Plan
    from thalweg.laws.configuration.tuning import plan as plan

HOMES = {
    "OFFICIAL": "baseline",
    "ConfigTable": "table",
    "ConfigurationLaw": "law",
    "Plan": "tuning",
    "Prediction": "law",
    "Scores": "scores",
    "fit_baseline": "baseline",
    "leave_largest_out": "scores",
    "parse_config": "table",
    "plan": "tuning",
    "read_configurations": "table",
    "score": "scores",
    "sequence": "sequences",
}

__all__ = sorted(HOMES)  # pyrefly: ignore


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
