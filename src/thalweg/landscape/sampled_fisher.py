"""The Fisher matrix from labels drawn from the model's own predictions, and how far the draw is from the exact one.

Unbiased: the mean over draws is the exact matrix, which costs the same product here; the draw serves comparisons with
methods that sample (K-FAC, Sophia's Gauss-Newton-Bartlett). The error needs no second draw: p gives the variance of a
form in one label, and labels are independent.

Source: Martens 2014 (arXiv 1412.1193), section 6.
Differs: 1. labels are drawn at each row of outputs and meet its Jacobian alone, so that rows do not mix as they do in
the square of a batch's gradient, and the variance is smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.func import jvp

from thalweg.errors import InputError
from thalweg.landscape.gauss_newton import GGN_BACK_ENDS
from thalweg.landscape.outputs import Split, find_split
from thalweg.landscape.point import Point
from thalweg.landscape.products import Product, Tensors
from thalweg.landscape.softmax import Draws, draw_labels, fisher_weights

if TYPE_CHECKING:
    from thalweg.landscape.operators import CurvatureOp

__all__ = ["Forms", "sampled_forms", "sampled_ways"]


class Forms(NamedTuple):
    """v' F v for vectors v.

    Attributes:
        values: (k,) float64, of the drawn labels.
        errors: (k,) float64, their standard errors: the distance from the exact matrix's forms.
    """

    values: Tensor
    errors: Tensor


def sampled_ways(point: Point, draws: Draws) -> dict[str, Callable[[Any], Product]]:
    """The ways to multiply with the matrix of one draw, in the order in which they are tried."""
    _, first, _ = next(point.batches())
    split = find_split(point.bound, first, point.settings.split)
    return {
        name: lambda batch, make=make: make(split, batch, point.bound.theta, fisher=draws)
        for name, make in GGN_BACK_ENDS.items()
    }


def sampled_forms(op: CurvatureOp, vectors: Tensor) -> Forms:
    """V' F v for vectors (k, n), one a row, and what the draw of labels leaves open; forward mode, one at a time.

    Args:
        op: of ``fisher(..., samples=s)``.
        vectors: v.

    Raises:
        InputError: an operator without a draw, whose forms are exact.
    """
    point, draws = op.point, op.draws
    if draws is None:
        raise InputError("op draws no labels, its forms are exact: make it by fisher(..., samples=1 or more)")
    bound = point.bound
    given = vectors.to(bound.device, bound.dtype)
    sums = torch.zeros(2, len(given), dtype=torch.float64, device=bound.device)
    with bound.quiet():
        split = None
        for _, batch, share in point.batches():
            split = split or find_split(bound, batch, point.settings.split)
            one = _rows(split, batch, draws)
            for j, row in enumerate(given):
                value, variance = one(bound.layout.split(row))
                sums[0, j] += share * value
                sums[1, j] += share**2 * variance
    point.summed(sums)
    return Forms(sums[0], sums[1].sqrt())


def _rows(split: Split, batch: Any, draws: Draws) -> Callable[[Tensors], tuple[float, float]]:
    """From a vector to the batch's form and its variance over draws."""
    theta = split.bound.theta
    with torch.no_grad():
        outputs = split.outputs(theta, batch)
    weights = fisher_weights(split, batch, outputs)
    each = [torch.softmax(z, dim=-1).double() for z in outputs]
    labels = [draw_labels(torch.softmax(z, dim=-1), draws, batch, i) for i, z in enumerate(outputs)]

    def one(vector: Tensors) -> tuple[float, float]:
        value = variance = 0.0
        tangents = jvp(lambda t: split.outputs(t, batch), (theta,), (vector,))[1]
        for p, w, y, u in zip(each, weights, labels, tangents, strict=True):
            squares = (u.double() - (p * u).sum(dim=-1, keepdim=True)).square_()
            value += float((w * squares.gather(-1, y).mean(dim=-1)).sum())
            mean = (p * squares).sum(dim=-1)
            spread = (p * squares.square_()).sum(dim=-1) - mean.square()
            variance += float((w.double().square() * spread.clamp_min(0)).sum()) / draws.samples
        return value, variance

    return one
