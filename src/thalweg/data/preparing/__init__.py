"""Preparation of training data: one list of steps; this process, a pool or Ray Data; equal output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.data.preparing.classifier import TextClassifier, train_classifier
    from thalweg.data.preparing.config import Preparation, load_preparation
    from thalweg.data.preparing.duplicates import jaccard
    from thalweg.data.preparing.minhash import MinHasher, bands_and_rows, collision_probability
    from thalweg.data.preparing.run import Outcome, prepare
    from thalweg.data.preparing.statistics import PRESETS, STATISTICS

_LAZY = {
    "TextClassifier": "classifier",
    "train_classifier": "classifier",
    "Preparation": "config",
    "load_preparation": "config",
    "jaccard": "duplicates",
    "MinHasher": "minhash",
    "bands_and_rows": "minhash",
    "collision_probability": "minhash",
    "Outcome": "run",
    "prepare": "run",
    "PRESETS": "statistics",
    "STATISTICS": "statistics",
}

__all__ = [
    "PRESETS",
    "STATISTICS",
    "MinHasher",
    "Outcome",
    "Preparation",
    "TextClassifier",
    "bands_and_rows",
    "collision_probability",
    "jaccard",
    "load_preparation",
    "prepare",
    "train_classifier",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
