"""What theory says will happen: stochastic equations of optimizers, equilibrium of scale-invariant weights.

``DYNAMICS`` names the parts of this room. Points are float64 numpy arrays;
torch appears only where a flow differentiates a loss.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {
    "DYNAMICS": "registry",
    "Equilibrium": "scale_invariant",
    "EquilibriumMonitor": "monitor",
    "Limit": "limits",
    "NormalizedDescent": "sphere_flow",
    "Oracle": "oracle",
    "Path": "oracle",
    "SDE": "sde",
    "adam": "discrete",
    "adam_e": "label_noise",
    "adam_preconditioner": "slow_flow",
    "adam_sde": "adaptive_sde",
    "batch_sam": "two_layer_sam",
    "discrete_moments": "moments",
    "drift_ratio": "slow_flow",
    "edge_onset": "sphere_flow",
    "effective_rate_path": "scale_invariant",
    "equilibrium": "scale_invariant",
    "equilibrium_steps": "scale_invariant",
    "equivalent_decay": "scale_invariant",
    "example_sam": "two_layer_sam",
    "linear_moments": "moments",
    "local_sgd": "label_noise",
    "local_weight": "slow_flow",
    "norm_path": "scale_invariant",
    "normalized_descent": "sphere_flow",
    "quadratic": "oracle",
    "rmsprop": "discrete",
    "rmsprop_sde": "adaptive_sde",
    "scale_invariant_oracle": "scale_invariant",
    "scale_invariant_parameters": "monitor",
    "sgd": "discrete",
    "sgd_sde": "sde",
    "sharpness_flow": "sphere_flow",
    "simulate": "sde",
    "slow_path": "slow_flow",
    "sparse_regression_gradient": "label_noise",
    "stationary_covariance": "moments",
    "svag_hyperparameters": "svag",
    "svag_oracle": "svag",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
