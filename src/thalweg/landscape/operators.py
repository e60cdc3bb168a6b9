"""Curvature as an operator: products of a matrix that nobody can store with many vectors at once.

``matmat(V)`` with V (n, k) is all that the measures use. Kinds: the Hessian of the loss; the Gauss-Newton and the
Fisher matrix (``gauss_newton``); the empirical Fisher matrix, mean of g g' over the gradients g of single examples; and
the covariance of these, which is the noise of a gradient from one example.

Source: Pearlmutter 1994 (products); Schraudolph 2002 (Gauss-Newton); Martens 2014 (Fisher matrices).
Differs: 1. means over batches weigh each by its loss terms, and the empirical kinds each example by its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError, suggest
from thalweg.landscape.blame import in_place_error
from thalweg.landscape.bound import LossFn
from thalweg.landscape.point import Point, Settings
from thalweg.landscape.products import Product
from thalweg.landscape.sampled_fisher import sampled_ways
from thalweg.landscape.softmax import Draws
from thalweg.landscape.ways import KINDS, LOOPED

__all__ = ["CurvatureOp", "empirical_fisher", "fisher", "ggn", "hessian", "noise_covariance", "operator"]

_NEXT = (RuntimeError, NotImplementedError, TypeError, ValueError)
"""What a way raises that does not suit the model: missing second derivatives, batching rules, forward modes."""


class CurvatureOp:
    """A symmetric matrix (n, n), given by its products.

    Args:
        point: where.
        kind: one of ``ways.KINDS``.
        draws: for the Fisher matrix, labels drawn from the predictions; None takes it exactly.

    Attributes:
        products: vectors multiplied so far.
        seconds: that took.
        chunk: vectors in one batched product now.

    Raises:
        InputError: an unknown kind or back end, or no back end that works, with the reasons.
    """

    def __init__(self, point: Point, kind: str = "hessian", draws: Draws | None = None) -> None:
        if kind not in KINDS:
            raise InputError(f"kind={kind!r} is not known: {suggest(kind, KINDS)}")
        self.point, self.kind, self.draws = point, kind, draws
        self.products, self.seconds, self.chunk = 0, 0.0, point.settings.chunk
        self._kept: dict[int, Product] = {}
        self._ways = KINDS[kind](point) if draws is None else sampled_ways(point, draws)
        self._way = ""
        wanted = point.settings.back_end
        if wanted != "auto":
            if wanted not in self._ways:
                raise InputError(f"back_end={wanted!r} is not known for {kind}: {suggest(wanted, self._ways)}")
            self._ways = {wanted: self._ways[wanted]}

    @property
    def n(self) -> int:
        """Rows of the matrix."""
        return self.point.size

    @property
    def device(self) -> torch.device:
        """Where products are computed."""
        return self.point.bound.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the computation."""
        return self.point.bound.dtype

    @property
    def back_end(self) -> str:
        """The way products are computed; decided at the first one."""
        return self._way or "not used yet"

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """The product with a vector (n,) or with columns (n, k)."""
        return self.matmat(vectors.unsqueeze(1)).squeeze(1) if vectors.dim() == 1 else self.matmat(vectors)

    def matmat(self, vectors: Tensor) -> Tensor:
        """The product with the columns of ``vectors``, (n, k) -> (n, k), exact over all data, in the same dtype.

        Raises:
            InputError: another number of rows; an operation in place that breaks the second backward pass (named).
        """
        if vectors.dim() != 2 or vectors.shape[0] != self.n:
            raise InputError(f"vectors have shape {tuple(vectors.shape)}: give ({self.n}, k), one vector a column")
        return self.rows(vectors.T).T

    def rows(self, vectors: Tensor) -> Tensor:
        """As ``matmat`` with one vector a row, (k, n) -> (k, n): how Krylov methods keep them."""
        began = time.perf_counter()
        bound = self.point.bound
        given = vectors.to(bound.device, bound.dtype)
        total: Tensor | None = None
        with bound.quiet():
            for i, batch, share in self.point.batches():
                image = self._multiplied(i, batch, given)
                total = image.mul_(share) if total is None else total.add_(image, alpha=share)
        total = torch.zeros_like(given) if total is None else total  # all data are with other processes
        self.point.finite(self.point.summed(total), "a product with the matrix")
        if self.kind == "noise_covariance":
            mean = self._mean_gradient()
            total -= torch.outer(given @ mean, mean)
        self.products += given.shape[0]
        self.seconds += time.perf_counter() - began
        return total.to(vectors.device, vectors.dtype)

    def dense(self) -> Tensor:
        """The matrix itself, (n, n): n products, for small models and tests."""
        eye = torch.eye(self.n, dtype=self.dtype, device=self.point.bound.device)
        square = self.rows(eye)
        return (square + square.T) / 2

    def _mean_gradient(self) -> Tensor:
        if "mean" not in self.__dict__:
            self.__dict__["mean"] = self.point.gradient()
        return self.__dict__["mean"]

    def _multiplied(self, i: int, batch: Any, rows: Tensor) -> Tensor:
        if not self._way:
            product, image = self._decide(batch, rows)
        else:
            product = self._kept[i] if i in self._kept else self._ways[self._way](batch)
            image = self._chunks(product, rows)
        if i < self.point.settings.keep:
            self._kept[i] = product
        return image

    def _decide(self, batch: Any, rows: Tensor) -> tuple[Product, Tensor]:
        """The first way that gives a symmetric matrix, and its product with ``rows``."""
        reasons: list[str] = []
        probe = torch.randn(1, self.n, generator=torch.Generator().manual_seed(0)).to(rows)
        block = rows if len(rows) > 1 else torch.cat([rows, probe])
        for name, prepare in self._ways.items():
            try:
                if name == "finite-difference":
                    self._refuse_in_place(batch, reasons)
                self._way = name
                product = prepare(batch)
                image = self._chunks(product, block)
                if name != "finite-difference":
                    self._refuse_asymmetric(block, image)
            except (InputError, torch.OutOfMemoryError):
                self._way = ""
                raise
            except _NEXT as error:
                self._way = ""
                reasons.append(f"{name}: {str(error).strip().splitlines()[0][:160]}")
                continue
            return product, image[: len(rows)]
        self._refuse_in_place(batch, reasons)
        raise InputError(f"no way to multiply with the {self.kind} of this model works: {'; '.join(reasons)}")

    def _refuse_in_place(self, batch: Any, reasons: list[str]) -> None:
        if any("inplace operation" in reason for reason in reasons):
            raise in_place_error(self.point.bound, batch, "the second")

    def _refuse_asymmetric(self, rows: Tensor, image: Tensor) -> None:
        """A derivative that was lost on the way without an error shows in u . H v differing from v . H u."""
        count = max(2, 2**22 // self.n)
        rows, image = rows[:count].double(), image[:count].double()
        eps = max(torch.finfo(self.dtype).eps, torch.finfo(torch.float32).eps)  # models compute norms in float32
        forms = rows @ image.T
        difference = float((forms - forms.T).abs().max())
        if difference > 100 * eps * float(rows.norm(dim=1).max() * image.norm(dim=1).max()):
            raise RuntimeError(f"its product is not symmetric, by {difference:.3g}")

    def _chunks(self, product: Product, rows: Tensor) -> Tensor:
        """Blocks of at most ``chunk`` vectors; half as many from there on where memory does not suffice."""
        layout = self.point.bound.layout
        image = torch.empty_like(rows, memory_format=torch.contiguous_format)
        start = 0
        while start < len(rows):
            size = 1 if self._way in LOOPED else self.chunk
            block = rows[start : start + size]
            try:
                layout.write(product(layout.split(block)), image[start : start + size])
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_memory(error) or size == 1:
                    raise
                self.chunk = max(1, min(size, len(block)) // 2)
                continue
            start += len(block)
        return image


def _is_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def operator(point: Point, kind: str = "hessian") -> CurvatureOp:
    """The operator of a kind at a point, the same object each time."""
    if kind not in point.cache:
        point.cache[kind] = CurvatureOp(point, kind)
    return point.cache[kind]


def hessian(model: nn.Module, loss_fn: LossFn, data: Iterable[Any], **options: Any) -> CurvatureOp:
    """The second derivative of the mean loss.

    Args:
        model: any module, with its weights where to measure.
        loss_fn: ``loss_fn(model, batch)`` returns the mean loss of the batch, a scalar.
        data: batches, readable more than once.
        options: fields of ``Settings``.

    Raises:
        InputError: see ``Point``.
    """
    return operator(Point(model, loss_fn, data, Settings(**options)))


def ggn(model: nn.Module, loss_fn: LossFn, data: Iterable[Any], **options: Any) -> CurvatureOp:
    """The Gauss-Newton matrix; arguments as of ``hessian``."""
    return operator(Point(model, loss_fn, data, Settings(**options)), "ggn")


def fisher(model: nn.Module, loss_fn: LossFn, data: Iterable[Any], *, samples: int = 0, **options: Any) -> CurvatureOp:
    """The Fisher matrix of a model with categorical outputs; arguments as of ``hessian``.

    With ``samples`` >= 1, unbiased from so many labels drawn for each row of outputs from the prediction itself (option
    ``seed``; how far off: ``sampled_forms``); 0 takes the expectation exactly.
    """
    if samples < 0:
        raise InputError(f"samples={samples} must be at least 1, or 0 for the exact matrix")
    point = Point(model, loss_fn, data, Settings(**options))
    return CurvatureOp(point, "fisher", Draws(samples, point.settings.seed)) if samples else operator(point, "fisher")


def empirical_fisher(model: nn.Module, loss_fn: LossFn, data: Iterable[Any], **options: Any) -> CurvatureOp:
    """The mean of g g' over the gradients g of single examples; arguments as of ``hessian``."""
    return operator(Point(model, loss_fn, data, Settings(**options)), "empirical_fisher")


def noise_covariance(model: nn.Module, loss_fn: LossFn, data: Iterable[Any], **options: Any) -> CurvatureOp:
    """The covariance of the gradients of single examples (divided by their number); arguments as of ``hessian``."""
    return operator(Point(model, loss_fn, data, Settings(**options)), "noise_covariance")
