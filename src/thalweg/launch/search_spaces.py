"""The benchmark's search spaces, in the words of our optimizers.

Source: arXiv 2509.02046, sweep of the 130M model at 1x (grids and starting points of its appendix; WhenWen/marin,
experiments/optimizer_sweep/sweep_grids and baseline_config).
Differs: 1. warmup is in updates of that sweep, of 5,120 in all at batch 128; 2. ``decay_fraction`` is the part of
the updates over which the rate falls; 3. what our optimizers fix is left out: Nesterov of AdamW, block
partition of SOAP and Kron.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from thalweg.errors import InputError, suggest
from thalweg.launch.descent import SearchSpace

__all__ = ["PUBLISHED", "SHAPES", "published_space"]

BATCH = (128, 256, 512, 1024)
WARMUP = (500, 1000, 2000, 4000)
CLIP = (0.0, 1.0, 2.0)
DECAY = (0.0, 0.1, 0.2)
EPS = (1e-25, 1e-20, 1e-15, 1e-10)
BETA1 = (0.8, 0.9, 0.95, 0.98)
BETA2 = (0.9, 0.95, 0.98)

Grid = tuple[Any, tuple[Any, ...]]
"""Start and values."""

COMMON: dict[str, Grid] = {"batch": (128, BATCH), "clip": (1.0, CLIP), "weight_decay": (0.1, DECAY)}
ADAM: dict[str, Grid] = {**COMMON, "warmup": (2000, WARMUP)}

PUBLISHED: MappingProxyType[str, dict[str, Grid]] = MappingProxyType(
    {
        "adamw": {
            **ADAM,
            "lr": (0.016, (0.004, 0.008, 0.016, 0.032)),
            "beta1": (0.9, BETA1[1:]),
            "beta2": (0.95, BETA2),
            "eps": (1e-20, EPS),
        },
        "nadamw": {
            **ADAM,
            "lr": (0.016, (0.008, 0.016, 0.032)),
            "beta1": (0.95, BETA1),
            "beta2": (0.95, BETA2),
            "eps": (1e-25, EPS),
        },
        "cautious_adamw": {
            **ADAM,
            "lr": (0.016, (0.008, 0.016, 0.032)),
            "beta1": (0.95, BETA1),
            "beta2": (0.98, BETA2),
            "eps": (1e-20, EPS),
        },
        "adam_mini": {
            **ADAM,
            "lr": (0.008, (0.004, 0.008, 0.016, 0.032)),
            "beta1": (0.9, BETA1[1:]),
            "beta2": (0.98, BETA2),
            "eps": (1e-20, EPS),
        },
        "lion": {
            **ADAM,
            "lr": (0.002, (0.0005, 0.001, 0.002, 0.004, 0.008)),
            "weight_decay": (0.7, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
            "beta1": (0.95, BETA1),
            "beta2": (0.95, BETA2),
        },
        "mars": {
            **ADAM,
            "lr": (0.016, (0.008, 0.016, 0.032)),
            "clip": (1.0, ()),
            "beta1": (0.95, BETA1),
            "beta2": (0.95, (*BETA2, 0.99)),
            "eps": (1e-25, (1e-30, *EPS)),
            "gamma": (0.025, (0.0125, 0.025, 0.05, 0.1)),
        },
        "sophia": {
            **ADAM,
            "lr": (0.004, (0.002, 0.004, 0.008, 0.016, 0.032)),
            "weight_decay": (0.1, (0.0, 0.1, 0.2, 0.3)),
            "clip": (1.0, ()),
            "warmup": (4000, WARMUP),
            "beta1": (0.95, BETA1),
            "beta2": (0.99, (0.9, 0.95, 0.98, 0.99, 0.995)),
            "eps": (1e-12, (1e-17, 1e-12, 1e-7)),
            "gamma": (0.0125, (0.00625, 0.0125, 0.025, 0.05)),
        },
        "muon": {
            **COMMON,
            "warmup": (0, ()),
            "lr": (0.016, (0.008, 0.016, 0.032, 0.064, 0.128)),
            "decay_fraction": (0.6, (0.2, 0.4, 0.6, 0.8, 1.0)),
            "momentum": (0.98, BETA1),
            "eps": (1e-15, (*EPS, 1e-5)),
            "adam_lr_ratio": (0.2, (0.1, 0.2, 0.3)),
            "adam_beta1": (0.95, BETA1),
            "adam_beta2": (0.95, BETA2),
            "adam_eps": (1e-15, EPS),
        },
        "scion": {
            **COMMON,
            "warmup": (0, ()),
            "lr": (0.016, (0.008, 0.016, 0.032, 0.064, 0.128)),
            "weight_decay": (0.0, DECAY),
            "decay_fraction": (0.4, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
            "momentum": (0.98, BETA1),
            "eps": (1e-15, (1e-20, 1e-15, 1e-10, 1e-5)),
            "signum_lr_ratio": (0.2, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
            "signum_beta": (0.95, BETA1),
        },
        "soap": {
            **COMMON,
            "batch": (128, BATCH[:3]),
            "clip": (1.0, ()),
            "warmup": (2000, WARMUP[:3]),
            "lr": (0.008, (0.004, 0.008, 0.016)),
            "beta1": (0.95, BETA1[:3]),
            "beta2": (0.95, (*BETA2, 0.99)),
            "shampoo_beta": (0.95, (0.9, 0.95, 0.98, 0.99)),
            "eps": (1e-15, EPS[1:]),
            "block_size": (256, (128, 256, 512)),
            "precondition_frequency": (10, (1, 5)),
        },
        "kron": {
            **COMMON,
            "warmup": (2000, WARMUP[1:]),
            "lr": (0.002, (0.0005, 0.001, 0.002, 0.004, 0.008)),
            "weight_decay": (0.9, (0.0, 0.5, 0.7, 0.9)),
            "momentum": (0.98, BETA1[1:]),
            "block_size": (256, (128, 256, 512)),
            "normalize_grads": (True, (False, True)),
            "precond_lr": (0.1, (0.1, 0.2)),
            "update_probability": (0.05, (0.05, 0.1)),
            "flat_steps": (500, (500, 1000, 2000)),
        },
    }
)
SHAPES = MappingProxyType({"muon": "wsd", "scion": "wsd"})
"""Schedules other than cosine: flat, then straight to 0."""


def published_space(optimizer: str) -> SearchSpace:
    """The benchmark's starting point and grids for one of its eleven optimizers.

    Raises:
        InputError: naming the nearest of the eleven.
    """
    if optimizer not in PUBLISHED:
        raise InputError(f"optimizer {optimizer!r} has no published space: {suggest(optimizer, PUBLISHED)}")
    listed = PUBLISHED[optimizer]
    return SearchSpace(
        {name: start for name, (start, _) in listed.items()}, {name: grid for name, (_, grid) in listed.items() if grid}
    )
