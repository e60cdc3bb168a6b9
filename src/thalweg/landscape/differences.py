"""The trace of a Hessian from one gradient a probe, made right on average by a few exact products.

A gradient costs about a third of a product with the Hessian. The form v.(g(theta + h v) - g(theta)) / h is off by
h/2 of the third derivative, and by rounding over h; along random signs both are far below the spread between probes.
What is left is measured: some probes take the exact form too, and the mean of exact less rough is added, with its own
variance. So the estimate has no bias, whatever h, and its error counts both. No vector is kept.

Source: Hutchinson 1990 (the probes); Giles 2008 (two levels, multilevel Monte Carlo).
Differs: 1. whether a sketch would pay is seen on the images folded to 1024 entries with random signs. 2. where the
rough forms are no stand-in for the exact ones, all probes are taken exactly.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from thalweg.landscape.operators import CurvatureOp
from thalweg.landscape.point import Point
from thalweg.landscape.products import gradient

__all__ = ["EXACT", "Differences", "share_outside", "two_levels"]

EXACT = 4
"""Probes that take an exact product as well."""

FOLDED = 1024
"""Entries of a folded image."""


class Differences:
    """Products of the Hessian at a point with random signs, about, by differences of gradients.

    Args:
        point: where.
        seed: of the probes.

    Attributes:
        shift: length of the step along a probe, eps^(1/2) (1 + |theta|).
        base: the gradient at the point, (n,).
    """

    def __init__(self, point: Point, seed: int = 0) -> None:
        self.point, self.seed, self.base = point, seed, point.gradient()
        size = math.sqrt(sum(float(t.detach().double().square().sum()) for t in point.bound.theta))
        self.shift = math.sqrt(torch.finfo(point.bound.dtype).eps) * (1 + size)
        self._fold = self._signs(1 << 40)
        self._theta, self._near, self._image = point.theta, point.theta, torch.empty_like(self.base)

    def _signs(self, number: int) -> Tensor:
        size = self.point.size
        source = torch.Generator().manual_seed((self.seed * 0x9E3779B97F4A7C15 + number) % 2**63)
        octets = torch.randint(0, 256, (-(-size // 8), 1), generator=source, dtype=torch.uint8)
        bits = (octets >> torch.arange(8, dtype=torch.uint8)).bitwise_and_(1).view(-1)[:size]
        return bits.to(self.point.bound.device, self.point.bound.dtype).mul_(2).sub_(1)

    def probe(self, i: int) -> Tensor:
        """Random signs number i, (n,)."""
        return self._signs(i)

    def image(self, probe: Tensor) -> Tensor:
        """The product with a probe, about, (n,); the next call writes over it."""
        point, layout = self.point, self.point.bound.layout
        step = self.shift / math.sqrt(point.size)
        torch.add(self._theta, probe, alpha=step, out=self._near)
        theta, rooms = layout.split(self._near), self._image.zero_().split(list(layout.counts))
        with point.bound.quiet():
            for _, batch, share in point.batches():
                slopes = gradient(lambda t, batch=batch: point.bound.loss(t, batch), theta)
                for room, slope in zip(rooms, slopes, strict=True):
                    room.add_(slope.reshape(-1), alpha=share)
        return point.summed(self._image).sub_(self.base).div_(step)

    def folded(self, image: Tensor) -> Tensor:
        """Sums of every 1024th entry times fixed random signs: keeps inner products to about 3 %, (1024,) float64."""
        signed, whole = image * self._fold, len(image) // FOLDED * FOLDED
        sums = signed[:whole].view(-1, FOLDED).sum(dim=0, dtype=torch.float64)
        sums[: len(image) - whole] += signed[whole:]
        return sums


def share_outside(images: Tensor) -> float:
    """The share of |y_i|^2 outside the span of the other images, on average: what a sketch leaves of the variance.

    Args:
        images: y_i, (count, n) float64; 0.0 where one lies in the span of the others.
    """
    triangle = torch.linalg.qr(images.T, mode="r")[1].double()
    size = triangle.diagonal().abs()
    if len(images) > images.shape[1] or float(size.min()) <= 1e-10 * float(size.max()):
        return 0.0
    outside = 1 / torch.linalg.inv(triangle).square().sum(dim=1)  # squared distance to the span of the others
    return float((outside / triangle.square().sum(dim=0)).mean())


def two_levels(
    op: CurvatureOp, products: int, *, seed: int = 0, sketch: bool = False
) -> tuple[float, float, int] | None:
    """The trace from ``products`` less 4 probes by differences and 4 exact products.

    Args:
        op: a Hessian.
        products: of both kinds, at least 8; each kind counts as one in ``op.products``.
        seed: of the probes.
        sketch: give up after half of them where a sketch would leave less than half of the variance.

    Returns:
        Value, standard error and products; None where a sketch pays.
    """
    began, spent = time.perf_counter(), op.seconds
    rough, count, half = Differences(op.point, seed), products - EXACT, products // 2
    forms, images = torch.zeros(count, dtype=torch.float64), []
    for i in range(count):
        probe = rough.probe(i)
        image = rough.image(probe)
        forms[i] = torch.dot(probe, image)
        if sketch and i < half:
            images.append(rough.folded(image))
        if len(images) == half and share_outside(torch.stack(images)) < 0.5:
            return None
        images = images if i + 1 < half else []
    op.products += count
    op.seconds = spent + time.perf_counter() - began

    def exact(i: int) -> float:
        probe = rough.probe(i)
        return float(torch.dot(op.rows(probe[None])[0], probe))

    gaps = torch.tensor([exact(i) for i in range(EXACT)], dtype=torch.float64) - forms[:EXACT]
    noise = float(gaps.var()) / EXACT
    if noise > float(forms.var()) / count:  # the loss bends too much along probes
        forms[:EXACT] += gaps
        forms[EXACT:] = torch.tensor([exact(i) for i in range(EXACT, count)], dtype=torch.float64)
        return float(forms.mean()), math.sqrt(float(forms.var()) / count), products
    shared = float(((forms[:EXACT] - forms[:EXACT].mean()) * gaps).sum()) / (EXACT - 1)
    variance = float(forms.var()) / count + noise + 2 * max(0.0, shared) / count
    return float(forms.mean() + gaps.mean()), math.sqrt(variance), products
