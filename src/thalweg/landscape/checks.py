"""What would make a curvature wrong without an error, found before anything is computed, and named.

A loss that is random, that nothing can be differentiated through or that ignores parameters; which part of the model
is to blame says ``blame``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from thalweg.errors import InputError
from thalweg.landscape.blame import blame_random, in_place_error
from thalweg.landscape.bound import Bound

__all__ = ["Findings", "inspect_loss"]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a first look at the loss found.

    Attributes:
        unused: parameters that the loss of the first batch does not depend on.
        attention: whether fused attention was asked for and the kernel with a second derivative is used instead.
        random: whether the loss is drawn anew at each evaluation.
        gathered: bytes of the weights that each process holds once more, since the model's own lie in shards; else 0.
    """

    unused: tuple[str, ...]
    attention: bool
    random: bool
    gathered: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each thing that a reader of the numbers should know."""
        said = []
        if self.unused:
            more = f" and {len(self.unused) - 3} more" if len(self.unused) > 3 else ""
            said.append(f"the loss does not depend on {', '.join(self.unused[:3])}{more}: their curvature is 0")
        if self.attention:
            said.append("attention runs on the MATH kernel: the fused ones have no second derivative")
        if self.random:
            said.append("the loss is random: all evaluations share one seed")
        if self.gathered:
            size = f"{self.gathered / 2**20:.3g} MiB"
            said.append(f"sharded weights are gathered: each process holds all of them once more, {size}")
        return tuple(said)


class _Watch(TorchFunctionMode):
    """Notes whether fused attention is called."""

    attention = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.attention = True
        if func is F.multi_head_attention_forward and not kwargs.get("need_weights", True):
            self.attention = True
        return func(*args, **kwargs)


def inspect_loss(bound: Bound, batch: Any, *, allow_random: bool = False) -> Findings:
    """Evaluates the loss of one batch twice and its gradient once.

    Args:
        bound: model, closure and weights.
        batch: the first one, already on the device.
        allow_random: take a random loss as it is; give ``bound`` a seed then.

    Raises:
        InputError: the loss is no finite scalar, is random (dropout is named), or cannot be differentiated.
    """
    with bound.quiet():
        leaves = tuple(tensor.clone().requires_grad_() for tensor in bound.theta)
        with _Watch() as watch:
            loss = bound.loss(leaves, batch)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            kind = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
            raise InputError(f"loss_fn returned {kind}: return the mean loss of the batch, one floating-point number")
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InputError(f"the loss of the first batch is {value}: measure where the loss is finite")
        random = _is_random(bound, batch, allow_random)
        if not loss.requires_grad:
            raise InputError(
                "the loss does not depend on the chosen parameters by operations that torch can differentiate: remove "
                "detach, no_grad, argmax and conversions to numbers from loss_fn, or choose other params"
            )
        try:
            slopes = torch.autograd.grad(loss, leaves, allow_unused=True)
        except RuntimeError as error:
            raise in_place_error(bound, batch, "the") if "inplace operation" in str(error) else error from None
    unused = tuple(name for name, slope in zip(bound.layout.names, slopes, strict=True) if slope is None)
    held = sum(t.nbytes for t in [*bound.theta, *(t for _, t in bound.constants())]) if bound.sharded else 0
    return Findings(unused, watch.attention, random, held)


def _is_random(bound: Bound, batch: Any, allowed: bool) -> bool:
    """Whether two evaluations that are not seeded differ."""
    seed, bound.seed = bound.seed, None
    try:
        first, second = _twice(bound, batch)
        if not _differ(bound, first, second):
            return False
        said = f"the loss of one batch was {first:.6g}, then {second:.6g}: it is random"
        if not allowed:
            raise InputError(
                f"{said} ({blame_random(bound, batch)}); switch that off, or give allow_random=True to measure it for "
                "one draw"
            )
    finally:
        bound.seed = seed
    first, second = _twice(bound, batch)
    if _differ(bound, first, second):
        raise InputError(
            f"{said} even with one seed ({blame_random(bound, batch)}): allow_random=True can hold only torch's own "
            "random numbers fixed"
        )
    return True


def _twice(bound: Bound, batch: Any) -> tuple[float, float]:
    with torch.no_grad():
        return float(bound.loss(bound.theta, batch)), float(bound.loss(bound.theta, batch))


def _differ(bound: Bound, first: float, second: float) -> bool:
    rounding = 1e-3 if bound.dtype in (torch.bfloat16, torch.float16) else 1e-5
    return not abs(first - second) <= rounding * max(1e-30, abs(first))
