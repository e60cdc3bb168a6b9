"""A learning rate far below the curvature's scale, for proxy runs that should feel the gradient alone.

One step of gradient descent changes the validation loss by -η g·d + η² d·H d / 2: with η well below 1 / λ_max(H) the
second term, which holds the noise of the batches, stays small against the first.

Source: arXiv 2512.24503 (η well below 1 / λ_max of the validation Hessian; 10 to 100 times below the usual rate).
Differs: 1. the factor is a choice; see ``thalweg.laws.RankTable.plateau`` for the rate found by trial.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import nn

from thalweg.errors import InputError
from thalweg.landscape.lanczos import eigenpairs
from thalweg.landscape.operators import LossFn, hessian

__all__ = ["tiny_lr"]


def tiny_lr(
    model: nn.Module, loss_fn: LossFn, data: Iterable[Any], *, factor: float = 0.01, products: int = 0, seed: int = 0
) -> float:
    """``factor`` / λ_max of the Hessian, a rate for plain gradient descent; Adam's steps have another scale.

    Args:
        model: at the point where the proxy starts, or a little trained.
        loss_fn: ``loss_fn(model, batch)`` returns the mean loss of a batch.
        data: validation batches.
        factor: in (0, 2); 2 is the edge of stability.
        products: Hessian products at most, 0 for the default of ``eigenpairs``.
        seed: of its start.

    Raises:
        InputError: the factor is out of range, or no curvature is positive there.
    """
    if not 0 < factor < 2:
        raise InputError(f"factor = {factor:g} must lie between 0 and 2, where gradient descent becomes unstable")
    top = float(eigenpairs(hessian(model, loss_fn, data), products=products, seed=seed).values[0])
    if not (np.isfinite(top) and top > 0):
        raise InputError(f"the largest eigenvalue is {top:g}: train a little first, no curvature is positive here")
    return factor / top
