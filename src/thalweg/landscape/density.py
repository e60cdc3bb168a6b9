"""The spectral density of a symmetric matrix, and traces of its functions, by stochastic Lanczos quadrature.

From each of several random unit vectors a Lanczos recursion of k steps gives nodes theta and weights w (squared first
components of the eigenvectors of its tridiagonal matrix); tr f(A) is n times the mean of sum w f(theta). Recursions run
side by side, so that products come in one batch a step, but for large matrices on a CPU.

Source: Ubaru, Chen and Saad 2017; Ghorbani, Krishnan and Xiao 2019 (arXiv 1901.10159, width of the smoothing).
Differs: 1. each recursion is orthogonalised again where the bases fit into ``basis_bytes``; without, copies of the
outer eigenvalues appear, which leaves the quadrature right (Greenbaum) but not the count of the nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape.matrix import Symmetric, basis_dtype, gaussians
from thalweg.landscape.traces import Estimate

__all__ = ["BASIS_BYTES", "Density", "spectral_density"]

BASIS_BYTES = 2**31

ALONE = 2**17
"""Weights from which on a CPU takes one recursion after the other: batches gain nothing there, bases take memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Density:
    """Nodes and weights of each probe.

    Attributes:
        nodes: (probes, k), near eigenvalues.
        weights: (probes, k), the sum of each row is 1.
        n: size of the matrix.
        products: vectors multiplied.
    """

    nodes: np.ndarray
    weights: np.ndarray
    n: int
    products: int

    def trace(self, function: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> Estimate:
        """The trace of f(A), n sum w f(theta), with its standard error over probes.

        Args:
            function: of arrays, f; the identity gives the trace, ``lambda x: np.maximum(x, 0) ** 0.5`` that of a root.
        """
        samples = self.n * (self.weights * function(self.nodes)).sum(axis=1)
        error = float(samples.std(ddof=1)) / math.sqrt(len(samples)) if len(samples) > 1 else math.nan
        return Estimate(float(samples.mean()), error, self.products)

    def curve(self, points: int = 512, width: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The density smoothed by Gaussians, which integrates to 1.

        Args:
            points: of the grid.
            width: standard deviation of the Gaussians; 0 takes a hundredth of the range.

        Returns:
            The grid (points,), the mean density there and its standard error over probes.
        """
        low, high = float(self.nodes.min()), float(self.nodes.max())
        width = width or max((high - low) / 100, 1e-12 * max(1.0, abs(high)))
        grid = np.linspace(low - 5 * width, high + 5 * width, points)
        bumps = np.exp(-(((grid[:, None, None] - self.nodes) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
        each = (bumps * self.weights).sum(axis=2)  # (points, probes)
        error = each.std(axis=1, ddof=1) / math.sqrt(each.shape[1]) if each.shape[1] > 1 else np.full(points, np.nan)
        return grid, each.mean(axis=1), error

    def quantile(self, share: float) -> float:
        """The node below which this share of the spectrum lies."""
        order = self.nodes.ravel().argsort()
        mass = np.cumsum(self.weights.ravel()[order]) / len(self.nodes)
        return float(self.nodes.ravel()[order][min(np.searchsorted(mass, share), mass.size - 1)])


def spectral_density(
    op: Symmetric, *, probes: int = 4, steps: int = 32, seed: int = 0, basis_bytes: int = BASIS_BYTES
) -> Density:
    """Runs ``probes`` recursions of ``steps`` products each.

    Args:
        op: the matrix.
        probes: random vectors, >= 1; the errors need 2.
        steps: of each recursion, >= 1; at most n are made.
        seed: of the probes.
        basis_bytes: what the bases of the recursions may take.

    Raises:
        InputError: fewer than one probe or step.
    """
    if probes < 1 or steps < 1:
        raise InputError(f"probes={probes} and steps={steps} must be at least 1")
    steps = min(steps, op.n)
    together = 1 if op.device.type == "cpu" and op.n >= ALONE else probes
    dtype = basis_dtype(op, together * steps)
    starts = gaussians(op, probes, seed, dtype)
    keep = together * steps * op.n * torch.finfo(dtype).bits // 8 <= basis_bytes
    found = [_recursions(op, starts[i : i + together], steps, keep) for i in range(0, probes, together)]
    diagonal, beside = (torch.cat(pieces) for pieces in zip(*found, strict=True))
    return _quadrature(diagonal, beside, op.n)


def _recursions(op: Symmetric, current: Tensor, steps: int, keep: bool) -> tuple[Tensor, Tensor]:
    """The diagonals (probes, steps) and what stands beside them (probes, steps - 1), of recursions side by side."""
    dtype, probes = current.dtype, len(current)
    current = current / current.norm(dim=1, keepdim=True, dtype=torch.float64).to(dtype)
    basis = torch.empty(probes, steps if keep else 0, op.n, dtype=dtype, device=op.device)
    previous = torch.zeros_like(current)
    beta = largest = torch.zeros(probes, dtype=torch.float64)
    diagonal, beside = [], []
    for step in range(steps):
        if keep:
            basis[:, step] = current
        image = op.rows(current)
        alpha = torch.stack([_dot(a, b) for a, b in zip(image, current, strict=True)]).cpu()
        diagonal.append(alpha)
        if step == steps - 1:
            break
        image -= alpha.to(image)[:, None] * current + beta.to(image)[:, None] * previous
        for row, known in zip(image, basis[:, : step + 1], strict=True) if keep else ():
            row -= (known @ row) @ known
        beta = image.norm(dim=1, dtype=torch.float64).cpu()
        largest = torch.maximum(largest, torch.maximum(alpha.abs(), beta))
        beta = torch.where(beta > 10 * torch.finfo(dtype).eps * largest, beta, 0.0)
        beside.append(beta)
        image /= beta.to(image).clamp_min(torch.finfo(dtype).tiny)[:, None]
        previous, current = current, torch.where((beta > 0).to(image.device)[:, None], image, 0.0)
    empty = torch.zeros(probes, 0, dtype=torch.float64)
    return torch.stack(diagonal, 1), torch.stack(beside, 1) if beside else empty


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """In pieces whose sums are added in float64, without copies of long vectors."""
    return torch.stack([torch.dot(x, y).double() for x, y in zip(a.split(65_536), b.split(65_536), strict=True)]).sum()


def _quadrature(diagonal: Tensor, beside: Tensor, n: int) -> Density:
    small = torch.diag_embed(diagonal)
    if beside.shape[1]:
        small = small + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    nodes, vectors = np.linalg.eigh(small.numpy())
    return Density(nodes, vectors[:, 0, :] ** 2, n, diagonal.numel())
