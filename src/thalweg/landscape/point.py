"""A point of the landscape: model, loss closure and data, checked, with the exact mean over all batches.

The mean weighs each batch by its number of loss terms, so that it does not depend on how the data are cut into batches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.landscape.batches import check_data, count_terms, tensors_of
from thalweg.landscape.bound import Bound, LossFn
from thalweg.landscape.checks import Findings, inspect_loss
from thalweg.landscape.products import gradient

__all__ = ["Point", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a point is measured.

    Args:
        params: patterns of the parameters that vary, as in file names; all others are constants.
        terms: counts the loss terms that the mean over a batch has (``count_terms`` guesses them from the targets).
        dtype: of the computation; None takes the model's, torch.float64 is exact to many digits and slower.
        chunk: vectors in one batched product, >= 1; halved when memory runs out.
        back_end: name of the way products are computed; "auto" takes the first that works.
        keep: batches whose graphs stay in memory between products, >= 0.
        split: for gauss-newton and fisher, the module whose outputs the loss is cut at; None looks for it.
        training: leave the modules in their mode (batch statistics, dropout) instead of evaluation.
        allow_random: take a loss that is random, with one seed for all evaluations.
        seed: that seed, and that of labels drawn for a Fisher matrix.
        shards: the data are this process's share; sums run over all processes of torch.distributed.
    """

    params: str | Sequence[str] = "*"
    terms: Callable[[Any], float] = count_terms
    dtype: torch.dtype | None = None
    chunk: int = 8
    back_end: str = "auto"
    keep: int = 1
    split: str | None = None
    training: bool = False
    allow_random: bool = False
    seed: int = 0
    shards: bool = False

    def __post_init__(self) -> None:
        if self.chunk < 1 or self.keep < 0:
            raise InputError(f"chunk={self.chunk} must be at least 1 and keep={self.keep} at least 0")
        if self.dtype is not None and not self.dtype.is_floating_point:
            raise InputError(f"dtype={self.dtype} is no floating-point type: give torch.float32 or torch.float64")
        if self.shards and not (dist.is_available() and dist.is_initialized()):
            raise InputError("shards=True needs torch.distributed: call init_process_group first")


@dataclass(eq=False)
class Point:
    """Model, loss and data at the model's present weights, of which a copy is kept.

    Args:
        model: any module; it is not changed.
        loss_fn: ``loss_fn(model, batch)`` returns the mean loss of the batch, a scalar.
        data: batches, readable more than once and the same each time.
        settings: how to measure.
        cache: what measures share: operators, eigenpairs.

    Attributes:
        bound: the loss as a function of the weights.
        findings: what the first look at the loss found.

    Raises:
        InputError: data that change between readings or end after one, weights that are nan, a loss that is random, not
            finite or not differentiable, patterns without a parameter.
    """

    model: nn.Module
    loss_fn: LossFn
    data: Iterable[Any]
    settings: Settings = field(default_factory=Settings)
    cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        given = self.settings
        check_data(self.data)
        self.bound = Bound(
            self.model,
            self.loss_fn,
            params=given.params,
            dtype=given.dtype,
            training=given.training,
            seed=given.seed if given.allow_random else None,
        )
        first = self.bound.batch(next(iter(self.data)))
        self.findings: Findings = inspect_loss(self.bound, first, allow_random=given.allow_random)

    @property
    def size(self) -> int:
        """n, the weights that vary."""
        return self.bound.layout.size

    @property
    def theta(self) -> Tensor:
        """The weights as a vector (n,)."""
        return self.bound.layout.flat(self.bound.theta)

    @cached_property
    def terms(self) -> tuple[float, ...]:
        """Loss terms of each batch of this process."""
        counts = tuple(float(self.settings.terms(batch)) for batch in self.data)
        if not sum(counts):
            raise InputError("the batches hold no loss term: all targets are ignored")
        return counts

    @cached_property
    def total(self) -> float:
        """Loss terms of all batches of all processes."""
        return float(self.summed(torch.tensor(sum(self.terms), dtype=torch.float64, device=self.bound.device)))

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over processes, in place; the tensor itself where there is one process."""
        if self.settings.shards:
            dist.all_reduce(tensor)
        return tensor

    def batches(self) -> Iterator[tuple[int, Any, float]]:
        """Number, batch on the device and its share of the mean, for each batch that has loss terms."""
        for i, (batch, terms) in enumerate(zip(self.data, self.terms, strict=True)):
            if terms:
                yield i, self.bound.batch(batch), terms / self.total

    def loss(self, shift: Tensor | None = None) -> float:
        """The mean loss over all data at theta + ``shift`` (n,)."""
        theta = self.bound.theta
        if shift is not None:
            steps = self.bound.layout.split(shift.to(self.bound.device, torch.float64))
            theta = tuple((t.double() + s).to(t.dtype) for t, s in zip(theta, steps, strict=True))
        total = torch.zeros((), dtype=torch.float64, device=self.bound.device)
        with self.bound.quiet(), torch.no_grad():
            for _, batch, share in self.batches():
                total += share * self.bound.loss(theta, batch).double()
        if shift is None:
            self.finite(self.summed(total), "the loss")
            return float(total)
        return float(self.summed(total))

    def gradient(self, shift: Tensor | None = None) -> Tensor:
        """The gradient of the mean loss at theta + ``shift``, (n,)."""
        theta = self.bound.theta
        if shift is not None:
            theta = tuple(t + s.to(t) for t, s in zip(theta, self.bound.layout.split(shift), strict=True))
        total = torch.zeros(self.size, dtype=self.bound.dtype, device=self.bound.device)
        with self.bound.quiet():
            for _, batch, share in self.batches():
                slopes = gradient(lambda t, batch=batch: self.bound.loss(t, batch), theta)
                total += share * self.bound.layout.flat(slopes)
        self.summed(total)
        return self.finite(total, "the gradient") if shift is None else total

    def finite(self, found: Tensor, what: str) -> Tensor:
        """Refuses results that are nan or infinite at the point itself.

        Raises:
            InputError: with the first batch of this process whose loss is not finite, if there is one.
        """
        if math.isfinite(float(found.sum())) or bool(found.isfinite().all()):
            return found
        with self.bound.quiet(), torch.no_grad():
            for i, batch, _ in self.batches():
                value = float(self.bound.loss(self.bound.theta, batch))
                if not math.isfinite(value):
                    raise InputError(f"the loss of batch {i + 1} is {value}: leave it out, or measure elsewhere")
        raise InputError(f"{what} is not finite: measure in float64 (dtype) or at another point")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all batches, the first 16 digits."""
        digest = hashlib.sha256()
        for batch in self.data:
            for tensor in tensors_of(batch):
                digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]
