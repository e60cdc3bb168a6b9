"""What a trained model holds: attention, sinks, outliers, balance. ``MEASURES`` names the measures of this room."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {
    "DyckNet": "dyck_net",
    "MEASURES": "registry",
    "attention_variation": "attention",
    "balance_violation": "balance",
    "bracket_states": "dyck_net",
    "closing_accuracy": "stack",
    "contrastive_balance": "balance",
    "Recall": "recall",
    "Sensitivity": "sensitivity",
    "FineTuned": "finetuning",
    "best_rate": "finetuning",
    "evaluate_recall": "recall",
    "finetune_sensitivity": "finetuning",
    "inflection": "sensitivity",
    "initial_scales": "sensitivity",
    "exact_dyck_net": "dyck_exact",
    "fake_quant": "quantization",
    "first_token_ratio": "sinks",
    "first_token_share": "sinks",
    "gate_use": "sinks",
    "largest_activation": "sinks",
    "mutual_information": "experts",
    "noise_sensitivity": "sensitivity",
    "outlier_figure": "outliers",
    "outlier_report": "outliers",
    "pair_violation": "balance",
    "pairwise_variation": "attention",
    "sink_figure": "sink_reports",
    "sink_report": "sink_reports",
    "specialization_report": "experts",
    "stack_share": "stack",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
