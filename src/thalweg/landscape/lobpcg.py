"""The outer eigenpairs with a fixed number of vectors in memory, whatever the steps: LOBPCG.

The Ritz vectors X, the last changes P and the residuals W span the space of each step; eigenpairs of the matrix
projected on it give the next X and P. A column that has converged asks for no further residual, so a step takes a
product for each column that is left.

Source: Knyazev 2001; Hetmaniuk and Lehoucq 2006 (the space is made orthonormal, P by its coefficients).
Differs: 1. no preconditioner: nothing cheap resembles a Hessian near its top. 2. images of X and P are turned with
them; those of the answer are computed anew, so its residuals are of true products.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape.matrix import Symmetric, gaussians

__all__ = ["lobpcg"]


def lobpcg(
    op: Symmetric, k: int, *, top: bool, tolerance: float, products: int, start: Tensor | None, seed: int
) -> tuple[np.ndarray, Tensor, np.ndarray, np.ndarray]:
    """The k largest or smallest eigenpairs.

    Args:
        op: the matrix.
        k: how many; a block of one more in four (at least one more) is iterated.
        top: the largest.
        tolerance: of the residuals over the values.
        products: at most so many, and a step more.
        start: where to begin, (n,) or (n, some).
        seed: of the random start.

    Returns:
        Values (k,), vectors (k, n), one a row, residuals (k,) and all Ritz values of the last space, increasing.

    Raises:
        InputError: products that are not finite.
    """
    block = min(op.n, k + max(1, k // 4))
    x = gaussians(op, block, seed, torch.promote_types(op.dtype, torch.float32))
    if start is not None:
        given = start.reshape(op.n, -1).T[:block].to(x)
        x[: len(given)] = given
    before, sign = op.products, -1.0 if top else 1.0
    basis = _orthonormal(x, x[:0])  # X, then P, then W
    images = _product(op, basis)
    while True:
        small = (basis @ images.T).double().cpu().numpy()
        values, turn = np.linalg.eigh(sign * (small + small.T) / 2)
        values = sign * values
        floor = 10 * torch.finfo(basis.dtype).eps * float(np.abs(values).max())  # rounding leaves no less
        bound = np.maximum(tolerance * abs(values[:block]), floor)
        last = op.products - before + k >= products or len(basis) == op.n
        both = np.concatenate([turn[:, :block], _changes(turn[:, :block], block)], axis=1)
        mix = torch.from_numpy(np.ascontiguousarray(both.T)).to(basis)
        basis, images = mix @ basis, mix @ images
        rest, size = _residuals(basis[:block], images[:block], values[:block])
        if last or (size <= bound)[:k].all():
            images[:k] = _product(op, basis[:k])
            rest, size = _residuals(basis[:block], images[:block], values[:block])
            if last or (size <= bound)[:k].all():
                return values[:k], basis[:k], size[:k], np.sort(values)
        open_ = np.flatnonzero(size > bound / 2)
        fresh = _orthonormal(rest[torch.from_numpy(open_).to(rest.device)], basis)[: op.n - len(basis)]
        del rest
        if not len(fresh):  # the space is whole in itself: another direction, for eigenvalues that occur twice
            fresh = _orthonormal(gaussians(op, 1, seed + 1 + op.products, basis.dtype), basis)
        basis, images = torch.cat([basis, fresh]), torch.cat([images, _product(op, fresh)])


def _product(op: Symmetric, rows: Tensor) -> Tensor:
    image = op.rows(rows)
    if not bool(image.isfinite().all()):
        raise InputError("a product with the matrix is not finite: measure in float64 (dtype) or at another point")
    return image


def _residuals(x: Tensor, images: Tensor, values: np.ndarray) -> tuple[Tensor, np.ndarray]:
    rest = images - torch.from_numpy(values.copy()).to(x)[:, None] * x
    return rest, torch.stack([row.double().norm() for row in rest]).cpu().numpy()


def _changes(first: np.ndarray, block: int) -> np.ndarray:
    """Coefficients of P: what of the new X lies outside of the old, orthonormal and orthogonal to the new X."""
    aside = first.copy()
    aside[:block] = 0
    aside -= first @ (first.T @ aside)
    left, size, _ = np.linalg.svd(aside, full_matrices=False)
    left = left[:, size > 1e-6]
    return left - first @ (first.T @ left)


def _orthonormal(rows: Tensor, known: Tensor) -> Tensor:
    """Rows made orthonormal to ``known`` and each other; those that hold nothing new are left out."""
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    eps = torch.finfo(rows.dtype).eps
    for _ in range(2):
        rows = rows - (rows @ known.T) @ known
        turned, triangle = torch.linalg.qr(rows.T)
        rows = turned.T[triangle.diagonal().abs() > 100 * eps]
    return rows
