"""What theory says will happen: stochastic equations of optimizers, equilibrium of scale-invariant weights.

``DYNAMICS`` names the parts of this room. Points are float64 numpy arrays;
torch appears only where a flow differentiates a loss.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {
    "AutoRateMonitor": "rate_monitor",
    "DYNAMICS": "registry",
    "Equilibrium": "scale_invariant",
    "EquilibriumMonitor": "monitor",
    "Limit": "limits",
    "NormalizedDescent": "sphere_flow",
    "Oracle": "oracle",
    "Path": "oracle",
    "RateSplit": "invariance",
    "SDE": "sde",
    "adam": "discrete",
    "adam_e": "label_noise",
    "adam_preconditioner": "slow_flow",
    "adam_sde": "adaptive_sde",
    "auto_rate_groups": "rate_groups",
    "batch_sam": "two_layer_sam",
    "descent_bound": "auto_rate",
    "discrete_moments": "moments",
    "drift_ratio": "slow_flow",
    "edge_onset": "sphere_flow",
    "effective_rate_path": "scale_invariant",
    "equilibrium": "scale_invariant",
    "equilibrium_steps": "scale_invariant",
    "equivalent_decay": "scale_invariant",
    "example_sam": "two_layer_sam",
    "forgetting_steps": "auto_rate",
    "growth_path": "auto_rate",
    "intrinsic_gradient": "rate_groups",
    "linear_moments": "moments",
    "local_sgd": "label_noise",
    "local_weight": "slow_flow",
    "norm_certificate": "auto_rate",
    "norm_path": "scale_invariant",
    "normalized_descent": "sphere_flow",
    "quadratic": "oracle",
    "rate_factors": "rate_groups",
    "rmsprop": "discrete",
    "rmsprop_sde": "adaptive_sde",
    "scale_invariant_oracle": "scale_invariant",
    "scale_invariant_parameters": "invariance",
    "sgd": "discrete",
    "sgd_sde": "sde",
    "sharpness_flow": "sphere_flow",
    "simulate": "sde",
    "slow_path": "slow_flow",
    "sparse_regression_gradient": "label_noise",
    "split_scale_invariant": "invariance",
    "stationary_covariance": "moments",
    "svag_hyperparameters": "svag",
    "svag_oracle": "svag",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
