"""Two-layer ReLU networks with one output, and the trace of their Hessian from gradients alone.

With a = W1 x' (x' = (x, 1) where there are biases, else x) and h = relu(a):

    plain      f = w2 . h                                   no biases
    bias       f = w2 . h
    layernorm  f = w2 . h / max(|h|, eps)                   no mean is taken off, nothing is learnt
    batchnorm  f = w2 . (gain h / s), s_j^2 = mean of h_j^2 over the training set

At interpolation Tr of the Hessian of the mean of (f - y)^2 is (2 / n) sum |grad f(x_i)|^2. For "plain" and "bias" that
holds at every point without kinks, because f is linear in each layer.

Source: arXiv 2307.11007, section 2 and lemma 4.1.
Differs: 1. weights and biases start uniform within 1 / sqrt(fan in), as torch has it; the paper does not say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from thalweg.errors import InputError, suggest

__all__ = ["EPS", "Kind", "TwoLayer", "head", "with_one"]

Kind = Literal["plain", "bias", "layernorm", "batchnorm"]
EPS = 1e-12
"""Least length of h in layernorm, far below every length that is not 0."""


def with_one(inputs: np.ndarray, kind: str) -> np.ndarray:
    """x', with a last coordinate 1 that carries the bias: (..., d) -> (..., d + 1); x itself for "plain"."""
    if kind == "plain":
        return inputs
    return np.concatenate([inputs, np.ones((*inputs.shape[:-1], 1))], axis=-1)


def head(a: np.ndarray, output: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What follows the first layer, and its gradients, one example a row; not for "batchnorm".

    Args:
        a: W1 x', (..., m).
        output: w2, (..., m).
        kind: of the network.

    Returns:
        f (...), df / da (..., m) and df / dw2 (..., m).
    """
    active = a > 0
    h = a * active
    if kind != "layernorm":
        return np.einsum("...m,...m->...", output, h), output * active, h
    length = np.sqrt(np.einsum("...m,...m->...", h, h))[..., None]
    inverse = 1 / np.maximum(length, EPS)
    unit = h * inverse
    f = np.einsum("...m,...m->...", output, unit)
    return f, (output - f[..., None] * unit * (length > EPS)) * active * inverse, unit


@dataclass(frozen=True, slots=True, eq=False)
class TwoLayer:
    """One network, or several of one shape along leading axes (...).

    Args:
        kind: "plain", "bias", "layernorm" or "batchnorm".
        hidden: W1, (..., m, d), for all but "plain" with the biases as last column, (..., m, d + 1).
        output: w2, (..., m).
        gain: of "batchnorm", (..., m); None elsewhere.
    """

    kind: Kind
    hidden: np.ndarray
    output: np.ndarray
    gain: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"kind {self.kind!r} is not known: {suggest(self.kind, get_args(Kind))}")
        if self.hidden.shape[:-1] != self.output.shape:
            raise InputError(f"hidden of shape {self.hidden.shape} needs output {self.hidden.shape[:-1]}")
        if (self.gain is not None) != (self.kind == "batchnorm"):
            raise InputError(f"kind {self.kind!r}: a gain belongs to 'batchnorm', and only to it")

    @classmethod
    def draw(
        cls, kind: Kind, *, dim: int, width: int, rng: np.random.Generator, copies: tuple[int, ...] = ()
    ) -> TwoLayer:
        """Uniform within 1 / sqrt(fan in), biases too; gains are 1.

        Args:
            kind: of the network.
            dim: d.
            width: m.
            rng: all randomness.
            copies: leading axes.
        """
        columns = dim + (kind != "plain")
        hidden = rng.uniform(-1, 1, (*copies, width, columns)) / dim**0.5
        output = rng.uniform(-1, 1, (*copies, width)) / width**0.5
        return cls(kind, hidden, output, np.ones_like(output) if kind == "batchnorm" else None)

    @property
    def norm(self) -> np.ndarray:
        """Length of the first layer with its biases, (...)."""
        return np.sqrt((self.hidden**2).sum((-2, -1)))

    def scaled(self, norm: float) -> TwoLayer:
        """The network with a first layer of that length; the same function with a norm behind it."""
        return replace(self, hidden=self.hidden * (norm / self.norm)[..., None, None])

    def activations(self, inputs: np.ndarray) -> np.ndarray:
        """Relu(W1 x'), (..., n, d) -> (..., n, m)."""
        return np.maximum(with_one(inputs, self.kind) @ self.hidden.swapaxes(-1, -2), 0)

    def outputs(self, inputs: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
        """F at every input, (..., n, d) -> (..., n).

        Args:
            inputs: of +-1 or any others.
            reference: the training inputs, whose statistics "batchnorm" takes; by default ``inputs``.
        """
        h = self.activations(inputs)
        if self.gain is None:
            return head(h, self.output[..., None, :], self.kind)[0]
        spread = self.spread(inputs if reference is None else reference)
        return ((h / spread[..., None, :]) @ (self.gain * self.output)[..., None])[..., 0]

    def spread(self, reference: np.ndarray) -> np.ndarray:
        """The scale s of "batchnorm", (..., m); 1 for a neuron that is silent on the whole training set."""
        spread = np.sqrt((self.activations(reference) ** 2).mean(-2))
        return np.where(spread > 0, spread, 1.0)

    def trace_parts(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(2 / n) sum |grad f|^2 split by parameter: "hidden" (biases with it), "output" and, for batchnorm, "gain".

        Args:
            inputs: the training set, (..., n, d).
        """
        inner = with_one(inputs, self.kind)
        size = (inner**2).sum(-1)
        if self.gain is None:
            _, g, k = head(inner @ self.hidden.swapaxes(-1, -2), self.output[..., None, :], self.kind)
            return {
                "hidden": 2 * ((g**2).sum(-1) * size).mean(-1),
                "output": 2 * (k**2).sum(-1).mean(-1),
            }
        h, n = self.activations(inputs), inputs.shape[-2]
        s = self.spread(inputs)[..., None, :]
        pull = h.swapaxes(-1, -2) @ inner  # q = sum of h x' over the training set, (..., m, d')
        cross = inner @ pull.swapaxes(-1, -2)  # (..., n, m)
        along = (pull**2).sum(-1)[..., None, :]
        rows = size[..., None] * (h > 0) / s**2 - 2 * h * cross / (n * s**4) + h**2 * along / (n**2 * s**6)
        square = (h / s) ** 2
        v2 = ((self.gain * self.output) ** 2)[..., None, :]
        return {
            "hidden": 2 * (v2 * rows).sum(-1).mean(-1),
            "output": 2 * (self.gain[..., None, :] ** 2 * square).sum(-1).mean(-1),
            "gain": 2 * (self.output[..., None, :] ** 2 * square).sum(-1).mean(-1),
        }

    def trace(self, inputs: np.ndarray) -> np.ndarray:
        """(2 / n) sum |grad f(x_i)|^2, the sum of ``trace_parts``, (...)."""
        return np.sum(list(self.trace_parts(inputs).values()), axis=0)

    def hessian_trace(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Tr of the Hessian of the mean of (f - y)^2 where the network is, interpolating or not, (...).

        Under layernorm f is linear in the direction of the p active neurons' h, so that its Laplacian in h is
        -(p - 1) f / |h|^2, in W1 |x'|^2 times that.

        Args:
            inputs: the training set, (..., n, d).
            targets: y, (..., n).

        Raises:
            InputError: of "batchnorm", whose second derivatives are not written out.
        """
        if self.kind == "batchnorm":
            raise InputError("kind 'batchnorm': take thalweg.landscape on a TwoLayerModule")
        if self.kind != "layernorm":
            return self.trace(inputs)
        f, h = self.outputs(inputs), self.activations(inputs)
        length = np.maximum((h**2).sum(-1), EPS**2)
        bend = -((h > 0).sum(-1) - 1) * f / length * (with_one(inputs, self.kind) ** 2).sum(-1)
        return self.trace(inputs) + 2 * ((f - targets) * bend).mean(-1)
