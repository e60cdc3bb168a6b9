"""Gauss-Newton and Fisher products where the vocabulary is large: the logits' tangents in blocks of tokens.

The last linear map z = h W' + b is taken out of J: the rest gives h (tokens, d), W (V, d) and b with their tangents,
which are small, and for one block of tokens after the other z' = h' W' + h W'' + b' goes through the curvature of the
loss and back. No tensor (vectors, tokens, V) is ever held whole. The loss may be any whose curvature in the logits is
w (diag(p) - p p') token by token, as of cross-entropies with masks, weights and smoothed labels: the first look at a
batch finds w from one product and refuses another loss.

Source: Schraudolph 2002, the order of summation apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import jvp, vjp, vmap
from torch.overrides import TorchFunctionMode

from thalweg.landscape import softmax
from thalweg.landscape.outputs import Split
from thalweg.landscape.products import Product, Tensors
from thalweg.landscape.softmax import Draws

__all__ = ["SMALLEST_VOCABULARY", "in_blocks", "in_blocks_reverse"]

SMALLEST_VOCABULARY = 1024
"""Logits of a token from which on blocks are taken."""


class _Reached(Exception):
    """Ends a forward pass at the last linear map; nothing after it is computed."""


class _Linears(TorchFunctionMode):
    """Notes the outputs of linear maps, or stops before one of them and keeps what it was given."""

    def __init__(self, stop: int = -1) -> None:
        super().__init__()
        self.stop, self.count = stop, 0
        self.outputs: list[Tensor] = []
        self.given: Tensors = ()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.linear:
            return func(*args, **kwargs)
        if self.count == self.stop:
            self.given = _given(*args, **kwargs)
            raise _Reached
        self.count += 1
        out = func(*args, **kwargs)
        if self.stop < 0:
            self.outputs.append(out)
        return out


def _given(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensors:
    return (input, weight) if bias is None else (input, weight, bias)


class _Head(NamedTuple):
    """The last linear map of a batch, flat over tokens, and the curvature of the loss behind it.

    Attributes:
        parts: h (N, d), W (V, d) and, if it has one, b (V,).
        weights: w of each token (N,).
        labels: drawn ones (N, s), or None.
    """

    parts: Tensors
    weights: Tensor
    labels: Tensor | None

    def blocks(self, vectors: int) -> Iterator[slice]:
        """Tokens whose logits' tangents of so many vectors are held at a time."""
        count, size = len(self.parts[0]), max(1, softmax.BLOCK // (vectors * len(self.parts[1])))
        return (slice(i, min(i + size, count)) for i in range(0, count, size))

    def inner(self, rows: slice, tangents: Tensor) -> Tensor:
        """The curvature of the loss times tangents of logits (k, r, V)."""
        p = torch.softmax(_logits(self.parts, rows), dim=-1)
        if self.labels is None:
            return softmax.exact_form(p, self.weights[rows], tangents)
        return softmax.sampled_form(p, self.weights[rows], self.labels[rows], tangents)

    def multiply(self, tangents: Tensors) -> Tensors:
        """From tangents (k, ...) of the parts to cotangents of the parts."""
        h, weight = self.parts[:2]
        to_h, to_weight = torch.empty_like(tangents[0]), torch.zeros_like(tangents[1])
        to_bias = [torch.zeros_like(t) for t in tangents[2:]]
        for rows in self.blocks(len(to_h)):
            z = tangents[0][:, rows] @ weight.T + h[rows] @ tangents[1].mT
            for extra in tangents[2:]:
                z += extra.unsqueeze(1)
            back = self.inner(rows, z)
            to_h[:, rows] = back @ weight
            to_weight += back.mT @ h[rows]
            for bias in to_bias:
                bias += back.sum(dim=1)
        return (to_h, to_weight, *to_bias)


def _logits(parts: Tensors, rows: slice) -> Tensor:
    return F.linear(parts[0][rows], *parts[1:])


def in_blocks(split: Split, batch: Any, theta: Tensors, *, fisher: bool | Draws) -> Product:
    """Tangents of h, W and b by forward mode."""
    run, head = _prepare(split, batch, theta, fisher)
    pull = vjp(run, theta)[1]
    return _product(head, lambda row: jvp(run, (theta,), (row,))[1], lambda back: pull(back)[0])


def in_blocks_reverse(split: Split, batch: Any, theta: Tensors, *, fisher: bool | Draws) -> Product:
    """Tangents as the derivative of u -> J' u, which is linear: reverse passes only."""
    run, head = _prepare(split, batch, theta, fisher)
    pull = vjp(run, theta)[1]
    push = vjp(lambda u: pull(u)[0], tuple(torch.zeros_like(t) for t in head.parts))[1]
    return _product(head, lambda row: push(row)[0], lambda back: pull(back)[0])


def _product(head: _Head, push: Callable[[Tensors], Tensors], pull: Callable[[Tensors], Tensors]) -> Product:
    def product(rows: Tensors) -> Tensors:
        return vmap(pull, randomness="same")(head.multiply(vmap(push, randomness="same")(rows)))

    return product


def _prepare(split: Split, batch: Any, theta: Tensors, fisher: bool | Draws) -> tuple[Callable[..., Tensors], _Head]:
    number, logits = _last(split, batch, theta)

    def run(t: Tensors) -> Tensors:
        with _Linears(number) as mode, suppress(_Reached):
            split.bound.loss(t, batch)
        h, *rest = mode.given
        return (h.reshape(-1, h.shape[-1]), *rest)

    weights = softmax.fisher_weights(split, batch, (logits,))[0] if fisher else _row_weights(split, batch, logits)
    labels = None
    if isinstance(fisher, Draws):
        labels = softmax.draw_labels(torch.softmax(logits, dim=-1), fisher, batch).flatten(0, -2)
    with torch.no_grad():
        parts = tuple(t.detach() for t in run(theta))
    return run, _Head(parts, weights.reshape(-1), labels)


def _last(split: Split, batch: Any, theta: Tensors) -> tuple[int, Tensor]:
    """Which of the linear maps gives the logits, and these.

    Raises:
        RuntimeError: none does, or blocks would gain nothing.
    """
    with torch.no_grad(), _Linears() as mode:
        found = split.outputs(theta, batch)
    if len(found) != 1 or found[0].dim() < 2:
        raise RuntimeError("the outputs are not those of one pass over tokens")
    (logits,) = found
    if logits.shape[-1] < SMALLEST_VOCABULARY:
        raise RuntimeError(f"a token has {logits.shape[-1]} logits, fewer than {SMALLEST_VOCABULARY}")
    for number, out in enumerate(mode.outputs):
        if out is logits:
            return number, logits
    raise RuntimeError("the logits do not come straight from a linear map")


def _row_weights(split: Split, batch: Any, logits: Tensor) -> Tensor:
    """W of each token from one product with the curvature of the loss.

    Raises:
        RuntimeError: that is not w (diag(p) - p p') token by token.
    """
    leaf = logits.detach().requires_grad_()
    probe = torch.randn(logits.shape[-1], generator=torch.Generator().manual_seed(0)).to(logits)
    (slope,) = torch.autograd.grad(split.loss((leaf,), batch), leaf, create_graph=True)
    if not slope.requires_grad:
        raise RuntimeError("the loss is linear in the logits")
    (image,) = torch.autograd.grad((slope * probe).sum(), leaf)
    del slope
    p = torch.softmax(logits, dim=-1)
    unit = softmax.exact_form(p, p.new_ones(p.shape[:-1]), probe)
    weights = (image * unit).sum(dim=-1) / unit.square().sum(dim=-1).clamp_min(torch.finfo(p.dtype).tiny)
    single = torch.equal(image, image.float().to(image))  # transformers computes losses in float32 whatever the logits
    eps = torch.finfo(torch.float32 if single else p.dtype).eps
    if float((image - weights.unsqueeze(-1) * unit).norm()) > 30 * eps * float(image.norm()):
        raise RuntimeError("the loss is no cross-entropy of the logits token by token")
    return weights
