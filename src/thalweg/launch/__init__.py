"""Where many runs go: a local pool of processes, Ray, SLURM, and the pipeline from pilot runs to a proven schedule."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {
    "CoordinateDescent": "descent",
    "Interrupted": "local",
    "Job": "local",
    "LocalPool": "local",
    "Progress": "local",
    "RayPool": "ray_pool",
    "SearchSpace": "descent",
    "Slurm": "slurm",
    "SweepRunner": "sweeping",
    "load_sweep": "sweep",
    "published_space": "search_spaces",
    "slurm_script": "slurm",
    "sweep_report": "sweep_report",
}

__all__ = [
    "CoordinateDescent",
    "Interrupted",
    "Job",
    "LocalPool",
    "Progress",
    "RayPool",
    "SearchSpace",
    "Slurm",
    "SweepRunner",
    "load_sweep",
    "published_space",
    "slurm_script",
    "sweep_report",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
