"""Optimizers a recipe can name. ``OPTIMIZERS`` maps the name to a factory whose keyword arguments are the options."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from thalweg.errors import InputError, suggest
from thalweg.optim.adamw import adamw
from thalweg.optim.sgd import sgd

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["OPTIMIZERS", "adamw", "check_options", "defaults", "make", "sgd"]

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": adamw, "sgd": sgd}


def defaults(name: str) -> dict[str, Any]:
    """The options of optimizer ``name`` with their defaults.

    Raises:
        InputError: naming the nearest known optimizer.
    """
    if name not in OPTIMIZERS:
        raise InputError(f"optimizer.name {name!r} is not known: {suggest(name, OPTIMIZERS)}")
    parameters = inspect.signature(OPTIMIZERS[name]).parameters
    return {key: parameter.default for key, parameter in parameters.items() if key not in ("groups", "lr")}


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Checks that optimizer ``name`` exists and takes ``options``, by making it for one number.

    Raises:
        InputError: an unknown name (the nearest is named), a value of the wrong kind or out of range.
    """
    known = defaults(name)
    for option, value in options.items():
        if option not in known:
            raise InputError(f"optimizer {name!r} has no option {option!r}: {suggest(option, known)}")
        if not _of_kind(value, known[option]):
            raise InputError(f"optimizer.{option} = {value!r} must be like its default, {known[option]!r}")
    from torch import zeros

    _made(name, [{"params": [zeros(1, requires_grad=True)]}], 1.0, options)


def make(name: str, groups: list[dict[str, Any]], *, lr: float, options: Mapping[str, Any]) -> Optimizer:
    """Builds optimizer ``name`` over parameter ``groups`` at learning rate ``lr`` (see the factory for ``options``).

    Raises:
        InputError: an unknown name or option, or a value the optimizer refuses.
    """
    check_options(name, options)
    return _made(name, groups, lr, options)


def _made(name: str, groups: list[dict[str, Any]], lr: float, options: Mapping[str, Any]) -> Optimizer:
    try:
        return OPTIMIZERS[name](groups, lr=lr, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer {name!r} refuses its options {dict(options)}: {error}") from None


def _of_kind(value: Any, default: Any) -> bool:
    """Whether a value is of the default's kind: a switch, a finite number, or as many of them."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, tuple):
        fits = isinstance(value, (list, tuple)) and len(value) == len(default)
        return fits and all(_of_kind(item, like) for item, like in zip(value, default, strict=True))
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
