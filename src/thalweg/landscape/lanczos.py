"""The largest or smallest eigenpairs of a symmetric matrix, from products only, each with its residual.

Block Lanczos: the Krylov space of a block of vectors, an orthonormal basis Q of it (each new block is made orthogonal
to all others, twice), and the eigenpairs of Q'AQ. |A v - value v| of each pair follows from the last block; an
eigenvalue of A lies within that distance.

Source: Lanczos 1950; Paige 1972 (why to orthogonalise again); Golub and Underwood 1977 (blocks).
Differs: 1. the search goes on where the Krylov space is exhausted, so that eigenvalues that occur twice are found. 2.
no restarts: the basis is kept whole.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape.lobpcg import lobpcg
from thalweg.landscape.matrix import Symmetric, basis_dtype, gaussians

__all__ = ["Eigenpairs", "NotConverged", "eigenpairs"]


PIECE = 16
"""Vectors of the basis that are allocated at a time."""


class NotConverged(RuntimeWarning):
    """An eigenvalue whose residual is above the tolerance."""


@dataclass(frozen=True, slots=True, eq=False)
class Eigenpairs:
    """What was found, the wanted end first.

    Attributes:
        values: (k,) float64.
        vectors: (n, k), of length 1, orthogonal.
        residuals: |A v - value v|, (k,) float64.
        tolerance: relative, that was asked for.
        products: vectors multiplied.
        ritz: all eigenvalues of the projected matrix, increasing; the outer ones are near eigenvalues.
        floor: residual that rounding of the products leaves.
    """

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    tolerance: float
    products: int
    ritz: np.ndarray
    floor: float

    @property
    def converged(self) -> bool:
        """Whether all residuals are within the tolerance, or rounding leaves no less."""
        return bool(_within(self.values, self.residuals, self.tolerance, self.floor).all())


def eigenpairs(
    op: Symmetric,
    k: int = 1,
    *,
    which: Literal["top", "bottom"] = "top",
    tolerance: float = 1e-3,
    products: int = 0,
    block: int = 1,
    start: Tensor | None = None,
    seed: int = 0,
    method: Literal["lanczos", "lobpcg"] = "lanczos",
) -> Eigenpairs:
    """The k algebraically largest or smallest eigenvalues with their vectors.

    Args:
        op: the matrix.
        k: how many, 1 to n.
        which: "top" or "bottom".
        tolerance: largest residual over |value|; the error of a value goes with its square.
        products: at most so many, 0 for max(80, 20 k).
        block: vectors at a time; more than 1 finds clusters sooner and batches the products, but takes more of them.
        start: where to begin, (n,) or (n, block): eigenvectors of a point near by save most products.
        seed: of the random start.
        method: "lanczos" takes the fewest products and keeps a vector for each; "lobpcg" keeps 6 (k + k/4 + 1) vectors
            however many products it takes, and its own block.

    Warns:
        NotConverged: with the residuals, where the tolerance was not reached.

    Raises:
        InputError: k or block out of range, an unknown method, products that are not finite.
    """
    if method not in ("lanczos", "lobpcg"):
        raise InputError(f"method={method!r} is not known: give lanczos or lobpcg")
    if not 1 <= k <= op.n or not 1 <= block <= op.n:
        raise InputError(f"k={k} and block={block} must lie between 1 and the size of the matrix, {op.n}")
    allowed = max(products or max(80, 20 * k), k)
    before = op.products
    if method == "lobpcg":
        values, rows, residuals, ritz = lobpcg(
            op, k, top=which == "top", tolerance=tolerance, products=allowed, start=start, seed=seed
        )
        floor = 10 * torch.finfo(rows.dtype).eps * float(np.abs(ritz).max())
        return _told(Eigenpairs(values, rows.T, residuals, tolerance, op.products - before, ritz, floor))
    limit = min(op.n, allowed)
    space = _Space(op, limit + block, seed)
    space.extend(_first(op, block, start, seed))
    seen: np.ndarray | None = None
    due = k
    while True:
        exhausted = space.multiply()
        if space.size < min(due, limit) and not exhausted:
            space.extend(space.next_block(limit - space.size))
            continue
        due = space.size + 1 + space.size // 20  # the small problem grows with the cube of its size
        values, vectors = np.linalg.eigh(space.small[: space.size, : space.size], UPLO="U")
        order = np.arange(len(values))[::-1] if which == "top" else np.arange(len(values))
        best = order[:k]
        residuals = np.linalg.norm(space.last @ vectors[-space.last.shape[1] :, best], axis=0)
        enough = len(best) == k and _within(values[best], residuals, tolerance, space.floor).all()
        if space.size >= limit or (enough and seen is None and not exhausted):
            break
        if exhausted and len(best) == k:  # whole in itself: a second look only for eigenvalues that occur twice
            if seen is not None and np.allclose(seen, values[best], rtol=1e-6, atol=1e-12 * abs(values).max()):
                break
            seen = values[best]
        space.extend(space.next_block(limit - space.size))
    found = space.combined(vectors[:, best])
    for row in found:
        row /= row.norm(dtype=torch.float64)  # in float32 the norm of a long vector is off by 1e-4
    return _told(Eigenpairs(values[best], found.T, residuals, tolerance, op.products - before, values, space.floor))


def _told(pairs: Eigenpairs) -> Eigenpairs:
    """The pairs, with a warning where one has not converged."""
    if not pairs.converged:
        worst = int(np.argmax(pairs.residuals - pairs.tolerance * abs(pairs.values)))
        warnings.warn(
            f"eigenvalue {worst + 1} of {len(pairs.values)}, {pairs.values[worst]:.4g}, has residual "
            f"{pairs.residuals[worst]:.2g} after {pairs.products} products (asked for "
            f"{pairs.tolerance * abs(pairs.values[worst]):.2g}): allow more products or a larger tolerance",
            NotConverged,
            stacklevel=3,
        )
    return pairs


def _within(values: np.ndarray, residuals: np.ndarray, tolerance: float, floor: float) -> np.ndarray:
    return residuals <= np.maximum(tolerance * abs(values), floor)


def _first(op: Symmetric, block: int, start: Tensor | None, seed: int) -> Tensor:
    rows = gaussians(op, block, seed, torch.float64)
    if start is not None:
        given = start.reshape(op.n, -1).T[:block].to(rows)
        rows[: len(given)] = given
    return rows


class _Space:
    """The basis, one vector a row in pieces of ``PIECE`` rows (growing copies none), and the matrix projected on it."""

    def __init__(self, op: Symmetric, capacity: int, seed: int) -> None:
        self.op, self.seed, self.size = op, seed, 0
        self.dtype, self.pieces = basis_dtype(op, capacity), list[Tensor]()
        self.small = np.zeros((capacity, capacity))
        self.last = np.zeros((0, 0))
        self.pending = 0
        self._fresh = self._rest = torch.empty(0, op.n, dtype=self.dtype, device=op.device)
        self._alive = np.zeros(1, dtype=bool)

    def extend(self, rows: Tensor) -> None:
        """Takes new rows in, made orthonormal to all others."""
        rows = rows.to(self._fresh)
        again = 1 if len(rows) == 1 and self._alive.all() else 2  # what is left of a product was cleared once before
        rows = self._cleared(rows / rows.norm(dim=1, keepdim=True), again)
        rows = torch.linalg.qr(rows.T)[0].T if len(rows) > 1 else rows / rows.norm()
        for row in rows:
            if self.size % PIECE == 0:
                self.pieces.append(torch.empty(PIECE, self.op.n, dtype=self.dtype, device=self.op.device))
            self.pieces[-1][self.size % PIECE] = row
            self.size += 1
        self._fresh, self.pending = rows, len(rows)

    def _known(self) -> list[Tensor]:
        return [piece[: self.size - i * PIECE] for i, piece in enumerate(self.pieces)]

    def combined(self, small: np.ndarray) -> Tensor:
        """Combinations of the basis, (size, k) -> (k, n)."""
        weights = torch.from_numpy(np.ascontiguousarray(small)).to(self._fresh).split(PIECE)
        found = torch.zeros(small.shape[1], self.op.n, dtype=self.dtype, device=self.op.device)
        for piece, weight in zip(self._known(), weights, strict=True):
            found.addmm_(weight.T, piece)
        return found

    def _cleared(self, rows: Tensor, times: int, gather: np.ndarray | None = None) -> Tensor:
        known = self._known()
        for _ in range(times):  # twice in all is enough (Parlett, after Kahan)
            along = [rows @ piece.T for piece in known]
            for part, piece in zip(along, known, strict=True):
                rows = rows - part @ piece
            if gather is not None:
                gather += torch.cat(along, dim=1).T.double().cpu().numpy()
        return rows

    def multiply(self) -> bool:
        """Multiplies the newest block; whether nothing new is left in the Krylov space."""
        image = self.op.rows(self._fresh)
        if not bool(image.isfinite().all()):
            raise InputError("a product with the matrix is not finite: measure in float64 (dtype) or at another point")
        along = np.zeros((self.size, self.pending))
        rest = self._cleared(image, 1, along)
        self.small[: self.size, self.size - self.pending : self.size] = along
        many = len(rest) > 1
        triangle = torch.linalg.qr(rest.double().T)[1] if many else rest.norm(dtype=torch.float64)[None, None]
        self.last = triangle.cpu().numpy()
        self._rest = rest
        self._alive = np.abs(np.diag(self.last)) > 100 * self.floor
        return not self._alive.any()

    @property
    def floor(self) -> float:
        """The residual that rounding of the products leaves."""
        eps = torch.finfo(torch.promote_types(self.op.dtype, torch.float32)).eps
        return 10 * eps * float(np.abs(self.small[: self.size, : self.size]).max())

    def next_block(self, room: int) -> Tensor:
        """The rest of the last products; random vectors where that is nothing but rounding."""
        rows = self._rest
        if not self._alive.all():
            rows = rows.clone()
            self.seed += 1
            spare = gaussians(self.op, len(rows), 7919 + self.seed, self.dtype)
            dead = torch.from_numpy(~self._alive).to(rows.device)
            rows[dead] = spare[dead]
        return rows[: max(1, room)]
