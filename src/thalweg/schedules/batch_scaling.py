"""Batch size B -> kappa B at an equal number of samples: which hyperparameters keep the same training.

    square-root (Adam, RMSprop)   lr sqrt(kappa),  1 - beta times kappa,  eps / sqrt(kappa),  weight decay sqrt(kappa)
    linear (SGD)                  lr kappa,  weight decay as it is

They keep the stochastic differential equation of the optimizer, so they hold while noise dominates the gradient, at
both batch sizes: as long as kappa B lies well below the gradient noise scale.

Source: arXiv 2205.10287 (square-root rule); arXiv 1706.02677 and 2102.12470 (linear); arXiv 2307.13813 (decay of an
average of weights, rho^kappa).
Differs: 1. decoupled weight decay is an extension: lr * weight_decay is the shrinkage of a step and scales by kappa.
2. momentum of SGD stays as it is unless it is asked for; then 1 - mu scales by kappa and lr by kappa^2, which keeps
lr / (1 - mu) linear.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from thalweg.errors import InputError, suggest

__all__ = ["BATCH_RULES", "OPTIMIZER_RULES", "batch_rule", "largest_factor", "resample", "scale_hyperparameters"]

BATCH_RULES: dict[str, tuple[str, ...]] = {
    "square-root": ("lr", "betas", "beta", "eps", "weight_decay", "ema"),
    "linear": ("lr", "weight_decay", "ema"),
}
"""Rules and the hyperparameters that each changes."""
OPTIMIZER_RULES = dict.fromkeys(("adam", "adamw", "nadam", "nadamw", "adam_mini", "rmsprop"), "square-root") | {
    "sgd": "linear"
}
"""Optimizers whose rule follows from their equation."""
KNOWN = ("lr", "betas", "beta", "momentum", "eps", "weight_decay", "ema")
FASTER_DECAYS = ("betas", "beta", "momentum")


def batch_rule(optimizer: str) -> str:
    """The rule of an optimizer by its name.

    Raises:
        InputError: none is derived for it.
    """
    if optimizer not in OPTIMIZER_RULES:
        raise InputError(
            f"no batch rule is derived for optimizer {optimizer!r}, only for {', '.join(sorted(OPTIMIZER_RULES))}: "
            f"name one to try it, {' or '.join(BATCH_RULES)}"
        )
    return OPTIMIZER_RULES[optimizer]


def scale_hyperparameters(
    given: Mapping[str, Any], kappa: float, *, rule: str = "square-root", include: Collection[str] | None = None
) -> dict[str, Any]:
    """The hyperparameters of batch kappa B, from those of batch B; run 1 / kappa of the steps.

    Args:
        given: any of ``lr``, ``betas`` (two decays), ``beta`` (RMSprop's), ``momentum``, ``eps``, ``weight_decay``
            (decoupled), ``ema`` (decay of an average of weights a step).
        kappa: new batch over old, > 0; may be below 1.
        rule: a name of ``BATCH_RULES``.
        include: which to change; by default all that the rule changes. Fewer make a partial rule, which keeps less.

    Returns:
        All of ``given``, what the rule includes changed.

    Raises:
        InputError: kappa not positive, an unknown rule or name, a value out of range, or kappa so large that a decay
            would fall below 0.
    """
    _check_factor(kappa)
    if rule not in BATCH_RULES:
        raise InputError(f"rule = {rule!r} is not known: {suggest(rule, BATCH_RULES)}")
    for name in (*given, *(include or ())):
        if name not in KNOWN:
            raise InputError(f"hyperparameter {name!r} is not known: {suggest(name, KNOWN)}")
        if name in given:
            _check_value(name, given[name])
    chosen = set(BATCH_RULES[rule] if include is None else include)
    power = 0.5 if rule == "square-root" else 1.0
    if "momentum" in chosen and "momentum" in given:
        power = 2.0 if rule == "linear" else power
    factors = {"lr": kappa**power, "eps": kappa**-0.5, "weight_decay": kappa ** (0.5 if rule == "square-root" else 0.0)}
    scaled = dict(given)
    for name in chosen & set(given):
        value = given[name]
        if name == "betas":
            scaled[name] = tuple(_decay(f"betas[{place}]", beta, kappa) for place, beta in enumerate(value))
        elif name in FASTER_DECAYS:
            scaled[name] = _decay(name, value, kappa)
        else:
            scaled[name] = value**kappa if name == "ema" else value * factors[name]
    return scaled


def _check_factor(kappa: float) -> None:
    if not (isinstance(kappa, (int, float)) and math.isfinite(kappa) and kappa > 0):
        raise InputError(f"kappa = {kappa!r} must be a finite number above 0: the new batch size over the old")


def _check_value(name: str, value: Any) -> None:
    if name in ("lr", "eps", "weight_decay") and not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} = {value!r} must be a finite number of at least 0")
    if name == "ema" and not 0 <= value < 1:
        raise InputError(f"ema = {value!r} must lie in [0, 1)")


def _decay(name: str, beta: float, kappa: float) -> float:
    """1 - kappa (1 - beta)."""
    if not 0 <= beta < 1:
        raise InputError(f"{name} = {beta!r} must lie in [0, 1)")
    if kappa * (1 - beta) > 1:
        raise InputError(
            f"kappa = {kappa:g} takes {name} = {beta:g} below 0: take kappa <= {1 / (1 - beta):.4g}, "
            "or begin with a decay nearer to 1"
        )
    return 1 - kappa * (1 - beta)


def largest_factor(given: Mapping[str, Any], *, batch: float | None = None, noise_scale: float | None = None) -> float:
    """The largest kappa that the square-root rule allows.

    Args:
        given: as for ``scale_hyperparameters``; its betas end the range at 1 / (1 - beta).
        batch: B, and with it
        noise_scale: gradient noise scale B tr Sigma / |grad f|^2 in samples, measured at B: beyond kappa B equal to it
            noise no longer dominates.

    Returns:
        The smaller of both limits; infinity where neither is given.
    """
    decays = [*given.get("betas", ()), *([given["beta"]] if "beta" in given else [])]
    limits = [1 / (1 - beta) for beta in decays]
    if (batch is None) != (noise_scale is None):
        raise InputError("give batch and noise_scale together, or neither")
    if batch is not None and noise_scale is not None:
        limits.append(noise_scale / batch)
    return min(limits, default=math.inf)


def resample(rates: np.ndarray, kappa: float) -> np.ndarray:
    """The rates of a schedule over 1 / kappa of its steps, the same function of samples seen; heights stay.

    New step j covers old steps [j kappa, (j + 1) kappa): it takes the rate, interpolated, in the middle of that range.

    Args:
        rates: (steps,), one a step, as ``schedule.rates(steps)`` gives them.
        kappa: new batch over old, > 0.

    Returns:
        (round(steps / kappa),), at least one; multiply by ``scale_hyperparameters``'s factor on lr.
    """
    _check_factor(kappa)
    old = np.asarray(rates, dtype=np.float64)
    if old.ndim != 1 or not len(old):
        raise InputError(f"rates has shape {old.shape}: give one rate a step")
    count = max(1, round(len(old) / kappa))
    middle = (np.arange(count) + 0.5) * (len(old) / count) - 0.5
    return np.interp(middle, np.arange(len(old)), old)
