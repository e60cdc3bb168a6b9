"""The curvature of a categorical prediction in its logits, exact or from labels drawn from the prediction itself.

With p = softmax(z): E_y (e_y - p)(e_y - p)' = diag(p) - p p'. The mean over labels drawn from p is unbiased for it, and
the variance of a form u' . u in one label is that of (u_y - p.u)^2, which p gives exactly.

Source: Martens 2014 (arXiv 1412.1193), sections 5 and 6.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad

from thalweg.errors import InputError
from thalweg.landscape.batches import tensors_of
from thalweg.landscape.products import Tensors

if TYPE_CHECKING:
    from thalweg.landscape.outputs import Split

__all__ = ["Draws", "draw_labels", "exact_form", "fisher_map", "fisher_weights", "sampled_form"]

BLOCK = 2**22
"""Numbers in a block of rows of logits."""


class Draws(NamedTuple):
    """How labels are drawn.

    Attributes:
        samples: labels for each row of outputs, >= 1.
        seed: of the draw; each batch adds its content, so that batches and processes draw on their own.
    """

    samples: int
    seed: int


def exact_form(p: Tensor, weight: Tensor, u: Tensor) -> Tensor:
    """W (p u - p (p . u)) for rows of predictions (..., V), weights (...) and vectors ``u``, (k, ..., V) or as p."""
    return weight.unsqueeze(-1) * p * (u - (p * u).sum(dim=-1, keepdim=True))


def sampled_form(p: Tensor, weight: Tensor, labels: Tensor, u: Tensor) -> Tensor:
    """W mean over s of (e_y - p)(u_y - p . u) for labels y (..., s); the rest as ``exact_form``."""
    along = u.gather(-1, labels.expand(*u.shape[:-1], -1)) - (p * u).sum(dim=-1, keepdim=True)
    spread = torch.zeros_like(u).scatter_add(-1, labels.expand(*u.shape[:-1], -1), along)
    return (weight / labels.shape[-1]).unsqueeze(-1) * (spread - p * along.sum(dim=-1, keepdim=True))


def draw_labels(p: Tensor, draws: Draws, batch: Any, number: int = 0) -> Tensor:
    """Labels from predictions (..., V), (..., s): the same for the same seed and batch on any device.

    Args:
        p: predictions.
        draws: how many, and the seed.
        batch: its content goes into the seed.
        number: of the output among several.
    """
    rows = p.reshape(-1, p.shape[-1])
    content = zlib.crc32(f"{draws.seed} {number}".encode())
    for tensor in tensors_of(batch):
        content = zlib.crc32(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes(), content)
    source = torch.Generator().manual_seed(content)
    uniform = torch.rand(len(rows), draws.samples, generator=source, dtype=torch.float64).to(p.device)
    found = []
    for part, level in zip(*(t.split(max(1, BLOCK // p.shape[-1])) for t in (rows, uniform)), strict=True):
        heights = part.double().cumsum(dim=-1)
        found.append(torch.searchsorted(heights, level * heights[:, -1:], right=True).clamp_max(p.shape[-1] - 1))
    return torch.cat(found).reshape(*p.shape[:-1], draws.samples)


def fisher_weights(split: Split, batch: Any, outputs: Tensors) -> Tensors:
    """1 / terms for the rows of the outputs that the loss looks at, 0 for the others.

    Raises:
        InputError: the loss looks at none.
    """
    slopes = grad(lambda z: split.loss(z, batch))(outputs)
    used = [(slope != 0).any(dim=-1) for slope in slopes]
    terms = sum(int(u.sum()) for u in used)
    if not terms:
        raise InputError("fisher: the loss of a batch has no gradient in its outputs; leave this batch out")
    return tuple(u.to(z.dtype) / terms for u, z in zip(used, outputs, strict=True))


def fisher_map(split: Split, batch: Any, outputs: Tensors, kind: bool | Draws) -> Callable[[Tensors], Tensors]:
    """The map u -> (diag(p) - p p') u / terms over the rows that the loss looks at, or its estimate from draws."""
    weights = fisher_weights(split, batch, outputs)
    each = [torch.softmax(z, dim=-1) for z in outputs]
    if not isinstance(kind, Draws):
        return lambda u: tuple(exact_form(*row) for row in zip(each, weights, u, strict=True))
    labels = [draw_labels(p, kind, batch, i) for i, p in enumerate(each)]
    return lambda u: tuple(sampled_form(*row) for row in zip(each, weights, labels, u, strict=True))
