"""Optimizers a recipe can name. ``OPTIMIZERS`` maps the name to a factory whose keyword arguments are the options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from thalweg.errors import InputError, suggest
from thalweg.optim.adamw import adamw
from thalweg.optim.sgd import sgd

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["OPTIMIZERS", "adamw", "check_options", "make", "sgd"]

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": adamw, "sgd": sgd}


def check_options(name: str, options: Iterable[str]) -> None:
    """Checks that optimizer ``name`` exists and takes every keyword in ``options``.

    Raises:
        InputError: naming the nearest known word.
    """
    if name not in OPTIMIZERS:
        raise InputError(f"optimizer.name {name!r} is not known: {suggest(name, OPTIMIZERS)}")
    known = set(inspect.signature(OPTIMIZERS[name]).parameters) - {"groups", "lr"}
    for option in options:
        if option not in known:
            raise InputError(f"optimizer {name!r} has no option {option!r}: {suggest(option, known)}")


def make(name: str, groups: list[dict[str, Any]], *, lr: float, options: Mapping[str, Any]) -> Optimizer:
    """Builds optimizer ``name`` over parameter ``groups`` at learning rate ``lr`` (see the factory for ``options``).

    Raises:
        InputError: an unknown name or option, or a value the optimizer refuses.
    """
    check_options(name, options)
    try:
        return OPTIMIZERS[name](groups, lr=lr, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer {name!r} refuses its options {dict(options)}: {error}") from None
