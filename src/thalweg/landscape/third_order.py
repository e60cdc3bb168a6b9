"""The gradient of the largest eigenvalue of the Hessian: where in weight space sharpness rises fastest.

For a simple eigenvalue lambda_1 with unit eigenvector v, grad lambda_1 = grad (v' H(theta) v) with v held fixed: the
eigenvector's own change does not count at first order. Three reverse passes over torch's graph give it exactly; where
an operation has no third derivative, it is the second difference of the gradient along v, which is the same vector.

Source: Hellmann 1937, Feynman 1939; as the drift of SAM arXiv 2211.05729, of normalised networks arXiv 2206.07085.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape.lanczos import Eigenpairs, eigenpairs
from thalweg.landscape.operators import operator
from thalweg.landscape.point import Point
from thalweg.landscape.products import Tensors, gradient

__all__ = ["EigenvalueGradient", "NearlyDegenerate", "curvature_gradient", "eigenvalue_gradient"]

NEAR = 0.01
"""Relative gap below which the gradient is said to hold only near the point."""


class NearlyDegenerate(RuntimeWarning):
    """The two largest eigenvalues are so close that they change places within a short distance."""


class EigenvalueGradient(NamedTuple):
    """How the largest eigenvalue changes with the weights.

    Attributes:
        value: lambda_1.
        gradient: (n,), d lambda_1 / d theta.
        vector: v (n,), of length 1.
        gap: lambda_1 - lambda_2; infinite for a single weight.
        angle: bound on the sine of the angle between v and the true eigenvector; the gradient's relative error is of
            this order.
        back_end: "rev-rev-rev" or "finite-difference".
    """

    value: float
    gradient: Tensor
    vector: Tensor
    gap: float
    angle: float
    back_end: str


def eigenvalue_gradient(
    point: Point, pairs: Eigenpairs | None = None, *, tolerance: float | None = None, products: int = 0, seed: int = 0
) -> EigenvalueGradient:
    """The gradient of lambda_1 of the Hessian of the mean loss, exact over all data.

    Args:
        point: where; float64 for more than some three digits.
        pairs: at least two top eigenpairs of the Hessian there, if they are known.
        tolerance: of the eigenpairs where they are not; None is 1e-8 in float64, 1e-4 else.
        products: for them, 0 for their default.
        seed: of their start.

    Warns:
        NearlyDegenerate: with the gap, where it is below a hundredth of lambda_1.
        NotConverged: as ``eigenpairs``.

    Raises:
        InputError: one pair only, or a gap that the residuals do not resolve: lambda_1 then has no gradient, or its
            eigenvector is not known.
    """
    count = min(2, point.size)
    if pairs is None:
        fine = tolerance or (1e-8 if point.bound.dtype == torch.float64 else 1e-4)
        pairs = eigenpairs(operator(point), count, tolerance=fine, products=products, seed=seed)
    if len(pairs.values) < count:
        raise InputError("pairs holds one eigenpair: give two, since the gap says whether a gradient exists")
    value, residual = float(pairs.values[0]), float(pairs.residuals[0])
    gap = value - float(pairs.values[1]) if count == 2 else float("inf")
    blur = float(pairs.residuals[:count].sum()) + pairs.floor
    if gap <= blur:
        raise InputError(
            f"the two largest eigenvalues, {value:.6g} and {float(pairs.values[1]):.6g}, are {gap:.2g} apart, not more "
            f"than their residuals and rounding ({blur:.2g}): a multiple eigenvalue has no gradient; measure at "
            "another point, or with a smaller tolerance in float64"
        )
    if gap < NEAR * abs(value):
        warnings.warn(
            f"the gap between the two largest eigenvalues, {gap:.3g}, is {gap / abs(value):.2g} of {value:.4g}: the "
            "gradient of the first holds only until they meet",
            NearlyDegenerate,
            stacklevel=2,
        )
    vector = pairs.vectors[:, 0].to(point.bound.device, point.bound.dtype)
    vector = vector / vector.norm()
    slope, way = curvature_gradient(point, vector)
    return EigenvalueGradient(value, slope, vector, gap, min(1.0, max(residual, pairs.floor) / gap), way)


def curvature_gradient(point: Point, vector: Tensor) -> tuple[Tensor, str]:
    """The gradient of v' H(theta) v with v fixed, (n,), and the way it was computed.

    Args:
        point: where.
        vector: v (n,), any length.

    Raises:
        InputError: a vector of another length.
    """
    if vector.shape != (point.size,):
        raise InputError(f"vector has shape {tuple(vector.shape)}: give ({point.size},)")
    bound = point.bound
    pieces = bound.layout.split(vector.to(bound.device, bound.dtype))
    way = ""
    total = torch.zeros(point.size, dtype=bound.dtype, device=bound.device)
    with bound.quiet():
        for _, batch, share in point.batches():
            way = way or ("rev-rev-rev" if _differentiable(point, batch, pieces) else "finite-difference")
            compute = _third if way == "rev-rev-rev" else _difference
            total += share * bound.layout.flat(compute(point, batch, pieces, pieces))
    return point.summed(total), way or "no data here"


def _differentiable(point: Point, batch: Any, pieces: Tensors) -> bool:
    """Whether the third derivative exists and is symmetric: one lost on the way without an error is not."""
    layout = point.bound.layout
    probe = torch.randn(point.size, generator=torch.Generator().manual_seed(0)).to(pieces[0])
    other = layout.split(probe * (layout.flat(pieces).norm() / probe.norm()))
    try:
        straight, crossed = _third(point, batch, pieces, pieces), _third(point, batch, other, pieces)
    except (RuntimeError, NotImplementedError):
        return False
    once, twice = _dot(straight, other), _dot(crossed, pieces)
    size = max(float(layout.flat(t).double().norm()) for t in (straight, crossed)) * float(layout.flat(pieces).norm())
    eps = max(torch.finfo(point.bound.dtype).eps, torch.finfo(torch.float32).eps)  # models compute norms in float32
    return abs(once - twice) <= 100 * eps * size


def _dot(first: Tensors, second: Tensors) -> float:
    return float(torch.stack([(a.double() * b.double()).sum() for a, b in zip(first, second, strict=True)]).sum())


def _third(point: Point, batch: Any, first: Tensors, second: Tensors) -> Tensors:
    """The gradient of second' H first, both fixed."""
    leaves = tuple(t.detach().requires_grad_() for t in point.bound.theta)
    form = point.bound.loss(leaves, batch)
    for pieces in (first, second):
        slopes = torch.autograd.grad(form, leaves, create_graph=True, materialize_grads=True)
        form = torch.stack([(slope * piece).sum() for slope, piece in zip(slopes, pieces, strict=True)]).sum()
        if not form.requires_grad:  # linear or quadratic: no curvature that could change
            return tuple(torch.zeros_like(t) for t in leaves)
    return torch.autograd.grad(form, leaves, materialize_grads=True)


def _difference(point: Point, batch: Any, pieces: Tensors, _: Tensors) -> Tensors:
    """(g(theta + h v) - 2 g(theta) + g(theta - h v)) / h^2, with an error of the order eps^(1/2)."""
    theta = point.bound.theta
    unit = float(torch.stack([p.double().square().sum() for p in pieces]).sum().sqrt())
    if not unit:
        return tuple(torch.zeros_like(t) for t in theta)
    size = float(torch.stack([t.double().square().sum() for t in theta]).sum().sqrt())
    step = torch.finfo(point.bound.dtype).eps ** (1 / 4) * (1 + size) / unit

    def slope(scale: float) -> Tensors:
        moved = tuple(t + scale * step * p for t, p in zip(theta, pieces, strict=True))
        return gradient(lambda t: point.bound.loss(t, batch), moved)

    sides = zip(slope(1.0), slope(0.0), slope(-1.0), strict=True)
    return tuple((above - 2 * here + below) / step**2 for above, here, below in sides)
