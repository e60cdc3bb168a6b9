"""Products of the Gauss-Newton matrix and of the Fisher matrix of one batch with many vectors at once.

With outputs z = f(theta) and loss L(z): G V = J' (L''(z) (J V)), J = dz/dtheta. The Fisher matrix of a categorical
model takes diag(p) - p p', p = softmax(z), as L'' (``softmax``); for the cross-entropy the two are equal. Where a
vocabulary is large, ``token_blocks`` takes the outputs in blocks of tokens.

Source: Schraudolph 2002; Martens 2014 (arXiv 1412.1193).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

from thalweg.landscape.outputs import Split, find_split
from thalweg.landscape.products import Product, Tensors
from thalweg.landscape.softmax import Draws, fisher_map
from thalweg.landscape.token_blocks import in_blocks, in_blocks_reverse

__all__ = ["GGN_BACK_ENDS", "Split", "find_split"]


def _curvature_of_loss(split: Split, batch: Any, outputs: Tensors) -> Callable[[Tensors], Tensors]:
    """The map u -> L''(z) u."""
    pull = vjp(grad(lambda z: split.loss(z, batch)), outputs)[1]
    return lambda u: pull(u)[0]


def _middle(split: Split, batch: Any, outputs: Tensors, fisher: bool | Draws) -> Callable[[Tensors], Tensors]:
    return fisher_map(split, batch, outputs, fisher) if fisher else _curvature_of_loss(split, batch, outputs)


def forward(split: Split, batch: Any, theta: Tensors, *, fisher: bool | Draws) -> Product:
    """J V by tangents, J' by one batched reverse pass over a kept graph."""

    def run(t: Tensors) -> Tensors:
        return split.outputs(t, batch)

    outputs, pull = vjp(run, theta)[:2]
    middle = _middle(split, batch, outputs, fisher)
    return lambda rows: vmap(lambda row: pull(middle(jvp(run, (theta,), (row,))[1]))[0], randomness="same")(rows)


def reverse(split: Split, batch: Any, theta: Tensors, *, fisher: bool | Draws) -> Product:
    """J V as the derivative of u -> J' u, which is linear: reverse passes only."""
    outputs, pull = vjp(lambda t: split.outputs(t, batch), theta)[:2]
    middle = _middle(split, batch, outputs, fisher)
    push = vjp(lambda u: pull(u)[0], tuple(torch.zeros_like(z) for z in outputs))[1]
    return lambda rows: vmap(lambda row: pull(middle(push(row)[0]))[0], randomness="same")(rows)


def one_by_one(split: Split, batch: Any, theta: Tensors, *, fisher: bool | Draws) -> Product:
    """Torch's own graph, one vector at a time."""
    leaves = tuple(t.detach().requires_grad_() for t in theta)
    outputs = split.outputs(leaves, batch)
    middle = _looped(split, batch, outputs, fisher)
    probes = tuple(torch.zeros_like(z, requires_grad=True) for z in outputs)
    pulled = _grad(outputs, leaves, probes, create_graph=True)

    def single(row: Tensors) -> Tensors:
        return _grad(outputs, leaves, middle(_grad(pulled, probes, row)))

    def product(rows: Tensors) -> Tensors:
        singles = [single(tuple(row[j] for row in rows)) for j in range(rows[0].shape[0])]
        return tuple(torch.stack(pieces) for pieces in zip(*singles, strict=True))

    return product


def _looped(split: Split, batch: Any, outputs: Tensors, fisher: bool | Draws) -> Callable[[Tensors], Tensors]:
    fixed = tuple(z.detach() for z in outputs)
    if fisher:
        return fisher_map(split, batch, fixed, fisher)
    leaves = tuple(z.requires_grad_() for z in fixed)
    slopes = torch.autograd.grad(split.loss(leaves, batch), leaves, create_graph=True, materialize_grads=True)
    return lambda u: _grad(slopes, leaves, u)


def _grad(outputs: Sequence[Tensor], inputs: Tensors, weights: Tensors, *, create_graph: bool = False) -> Tensors:
    live = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    return torch.autograd.grad(
        [o for o, _ in live],
        inputs,
        [w for _, w in live],
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=True,
    )


GGN_BACK_ENDS: dict[str, Callable[..., Product]] = {
    "token blocks": in_blocks,
    "token blocks, rev": in_blocks_reverse,
    "fwd": forward,
    "rev": reverse,
    "rev-rev": one_by_one,
}
"""The ways by name, in the order in which they are tried; blocks of tokens only where the vocabulary is large."""
