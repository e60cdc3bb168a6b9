"""The trace of a symmetric matrix from products, with a standard error.

Hutchinson: the mean of z.Az over random signs z; variance 2(|A|_F^2 - sum A_ii^2) a probe. Hutch++: the part of A in
the span Q of a sketch exactly, the rest by Hutchinson. XTrace: each test vector is in turn left out of the sketch and
used for the rest, so that all products serve both.

Source: Hutchinson 1990; Hutch++ arXiv 2010.09649; XTrace arXiv 2301.07825, algorithm 2.1 with its normalised vectors.
Differs: 1. the error of XTrace is the jackknife's, at no further product: the paper's takes the samples as independent,
which they are not, and its intervals held the truth too seldom in the trials of the test. 2. where the sketch holds the
whole range of A the answer is exact and says so.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeGuard

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape.differences import share_outside, two_levels
from thalweg.landscape.matrix import Symmetric, basis_dtype, gaussians, signs
from thalweg.landscape.operators import CurvatureOp

__all__ = ["Estimate", "adaptive", "differences", "hutch_plus_plus", "hutchinson", "trace", "xtrace"]

LARGE = 2**17
"""Weights from which on a gradient takes less time than a product with a graph that is kept, by measurement on CPU."""


class Estimate(NamedTuple):
    """A mean and its standard error, which is 0 where nothing was left to chance and nan where one probe was all."""

    value: float
    error: float
    products: int


def _mean(samples: Tensor, offset: float, products: int) -> Estimate:
    samples = samples.double()
    error = float(samples.std(unbiased=True)) / math.sqrt(len(samples)) if len(samples) > 1 else math.nan
    return Estimate(offset + float(samples.mean()), error, products)


def _forms(rows: Tensor, images: Tensor) -> Tensor:
    return (rows.double() * images.double()).sum(dim=1)


def hutchinson(op: Symmetric, products: int, *, seed: int = 0) -> Estimate:
    """The mean of z.Az over ``products`` vectors of random signs.

    Raises:
        InputError: fewer than one product.
    """
    _at_least(products, 1)
    probes = signs(op, products, seed)
    return _mean(_forms(probes, op.rows(probes)), 0.0, products)


def hutch_plus_plus(op: Symmetric, products: int, *, seed: int = 0) -> Estimate:
    """A third of the products for a sketch, a third for the trace within it, a third for probes of the rest.

    Raises:
        InputError: fewer than three products.
    """
    _at_least(products, 3)
    count = products // 3
    dtype = basis_dtype(op, 2 * count)
    basis = torch.linalg.qr(op.rows(signs(op, min(count, op.n), seed, dtype)).T)[0].T
    inside = float(_forms(basis, op.rows(basis)).sum())
    if len(basis) == op.n:
        return Estimate(inside, 0.0, 2 * op.n)
    probes = signs(op, products - 2 * count, seed + 1, dtype)
    probes = probes - (probes @ basis.T) @ basis
    return _mean(_forms(probes, op.rows(probes)), inside, products)


def xtrace(op: Symmetric, products: int, *, seed: int = 0) -> Estimate:
    """Half of the products for a sketch of which each vector is left out once, half for the trace within it.

    Raises:
        InputError: fewer than four products.
    """
    _at_least(products, 4)
    count = min(products // 2, op.n)
    tests = _sphere(op, count, seed)
    return _xtrace(op, tests, op.rows(tests))


def adaptive(op: Symmetric, products: int, *, seed: int = 0) -> Estimate:
    """XTrace where a sketch pays, Hutchinson where the spectrum is too flat, decided after half of the products.

    With images y_i of the test vectors, the share of |y_i|^2 outside the span of the other images, on average, is what
    a sketch would leave of the variance; as it halves the number of samples, it pays where that share is below a half.
    Of a large Hessian the probes are taken by differences of gradients (``two_levels``).

    Raises:
        InputError: fewer than four products.
    """
    _at_least(products, 4)
    if _differs(op) and op.n >= LARGE and products >= 8:
        found = two_levels(op, products, seed=seed, sketch=True)
        return xtrace(op, products, seed=seed) if found is None else Estimate(*found)
    count = min(products // 2, op.n)
    tests = _sphere(op, count, seed)
    images = op.rows(tests)
    if count == op.n or share_outside(images) < 0.5:
        return _xtrace(op, tests, images)
    more = _sphere(op, products - count, seed + 1)
    return _mean(torch.cat([_forms(tests, images), _forms(more, op.rows(more))]), 0.0, products)


def differences(op: Symmetric, products: int, *, seed: int = 0) -> Estimate:
    """Hutchinson's mean with a gradient for each probe, and four exact products that take the bias off.

    Raises:
        InputError: fewer than eight products, or another matrix than a Hessian in float32 or float64.
    """
    _at_least(products, 8)
    if not _differs(op):
        raise InputError("method='differences' takes gradients of a loss: give a hessian(...) in float32 or float64")
    found = two_levels(op, products, seed=seed)
    assert found is not None
    return Estimate(*found)


def _differs(op: Symmetric) -> TypeGuard[CurvatureOp]:
    return isinstance(op, CurvatureOp) and op.kind == "hessian" and op.dtype in (torch.float32, torch.float64)


def _sphere(op: Symmetric, count: int, seed: int) -> Tensor:
    """Directions drawn uniformly, of length n^(1/2)."""
    tests = gaussians(op, count, seed, basis_dtype(op, 2 * count))
    return tests * (math.sqrt(op.n) / tests.norm(dim=1, keepdim=True))


def _xtrace(op: Symmetric, tests: Tensor, images: Tensor) -> Estimate:
    count = len(tests)
    basis, triangle = torch.linalg.qr(images.T)  # (n, m), (m, m)
    triangle = triangle.double()
    inner = (basis.T @ op.rows(basis.T.contiguous()).T).double()
    whole = float(inner.trace())
    size = triangle.diagonal().abs()
    if count == op.n or float(size.min()) <= 1e-10 * float(size.max()):
        return Estimate(whole, 0.0, 2 * count)
    along = (basis.T @ tests.T).double()
    value = float(_left_out(inner, along, triangle, op.n))
    fewer = torch.stack([torch.cat([torch.arange(i), torch.arange(i + 1, count)]) for i in range(count)]).to(op.device)
    turn, small = torch.linalg.qr(
        triangle[:, fewer].movedim(1, 0)
    )  # without vector i: (m, m, m - 1), (m, m - 1, m - 1)
    deleted = _left_out(turn.mT @ inner @ turn, turn.mT @ along[:, fewer].movedim(1, 0), small, op.n)
    spread = deleted - deleted.mean()
    return Estimate(value, math.sqrt((count - 1) / count * float(spread.square().sum())), 2 * count)


def _left_out(inner: Tensor, along: Tensor, triangle: Tensor, n: int) -> Tensor:
    """The mean over i of the trace inside the sketch without vector i, plus the form of vector i outside it.

    Args:
        inner: Q'AQ, (..., m, m).
        along: Q' omega, (..., m, m), column i of test vector i.
        triangle: R of A omega = QR, (..., m, m).
        n: size of A; the test vectors have length n^(1/2).
    """
    away = torch.linalg.inv(triangle).mT
    away = away / away.norm(dim=-2, keepdim=True)  # column i: in the span, orthogonal to the sketch without vector i
    alpha = (away * along).sum(dim=-2, keepdim=True)
    change = alpha * away - along  # the test vector less its projection is omega_i + Q change_i
    outside = ((along + 2 * change) * triangle + change * (inner @ change)).sum(dim=-2)
    left = n - along.square().sum(dim=-2) + alpha.squeeze(-2).square()
    inside = inner.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) - (away * (inner @ away)).sum(dim=-2)
    return (inside + outside * (n - inner.shape[-1] + 1) / left).mean(dim=-1)


def trace(
    op: Symmetric,
    products: int = 64,
    *,
    method: Literal["auto", "adaptive", "hutchinson", "hutch++", "xtrace", "differences", "exact"] = "auto",
    seed: int = 0,
) -> Estimate:
    """The sum of the eigenvalues.

    Args:
        op: the matrix.
        products: to spend, >= 1; the method "exact" takes n.
        method: "auto" is exact where the products suffice, Hutchinson below 20 products, "adaptive" from there on.
        seed: of the probes.

    Raises:
        InputError: an unknown method or too few products for it.
    """
    if method == "auto":
        method = "exact" if products >= op.n else "hutchinson" if products < 20 else "adaptive"
    if method == "exact":
        eye = torch.eye(op.n, dtype=op.dtype, device=op.device)
        return Estimate(float(_forms(eye, op.rows(eye)).sum()), 0.0, op.n)
    ways = {
        "adaptive": adaptive,
        "differences": differences,
        "hutchinson": hutchinson,
        "hutch++": hutch_plus_plus,
        "xtrace": xtrace,
    }
    if method not in ways:
        raise InputError(f"method={method!r} is not known: known: auto, exact, {', '.join(sorted(ways))}")
    return ways[method](op, products, seed=seed)


def _at_least(products: int, low: int) -> None:
    if products < low:
        raise InputError(f"products={products} must be at least {low} for this method")
