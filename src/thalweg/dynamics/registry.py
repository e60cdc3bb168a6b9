"""The parts of this room by name: each has a section in docs/cards/dynamics.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thalweg.dynamics.adaptive_sde import adam_sde, rmsprop_sde
from thalweg.dynamics.auto_rate import descent_bound, growth_path
from thalweg.dynamics.label_noise import adam_e, local_sgd
from thalweg.dynamics.scale_invariant import equilibrium
from thalweg.dynamics.sde import sgd_sde
from thalweg.dynamics.slow_flow import slow_path
from thalweg.dynamics.sphere_flow import normalized_descent, sharpness_flow
from thalweg.dynamics.svag import svag_oracle
from thalweg.dynamics.two_layer_sam import batch_sam, example_sam

__all__ = ["DYNAMICS"]

DYNAMICS: dict[str, Callable[..., Any]] = {
    "sgd_sde": sgd_sde,
    "rmsprop_sde": rmsprop_sde,
    "adam_sde": adam_sde,
    "svag_oracle": svag_oracle,
    "equilibrium": equilibrium,
    "growth_path": growth_path,
    "descent_bound": descent_bound,
    "slow_path": slow_path,
    "local_sgd": local_sgd,
    "adam_e": adam_e,
    "example_sam": example_sam,
    "batch_sam": batch_sam,
    "sharpness_flow": sharpness_flow,
    "normalized_descent": normalized_descent,
}
