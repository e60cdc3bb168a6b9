"""SAM by closed forms on two-layer networks, many at once: an ascent for each example, or one for all of them.

    1-SAM        theta <- theta - lr grad l_i(theta + rho grad l_i / |grad l_i|),      i uniform, l_i = (f(x_i) - y_i)^2
    full batch   theta <- theta - lr (grad L(theta + rho grad L / |grad L|) + weight_decay theta)

The first layer's gradient at one example is g x'T, so that neither the ascent nor its gradient needs more than the
activations: W1 is read once and changed by one outer product a step.

Source: arXiv 2307.11007, Table 2 and its 1-SAM; ``thalweg.optim.SAM`` is the same for any network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from thalweg.dynamics.limits import check_range
from thalweg.errors import InputError
from thalweg.tasks.two_layer import TwoLayer, head, with_one

__all__ = ["batch_sam", "example_sam"]

Watch = Callable[[int, TwoLayer], None]
DRAWN = 1024
"""Steps whose examples are drawn at a time."""


def example_sam(
    net: TwoLayer,
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    phases: Sequence[tuple[float, float, int]],
    rng: np.random.Generator,
    norm: float | None = None,
    every: int = 0,
    watch: Watch | None = None,
) -> TwoLayer:
    """1-SAM on S networks, each with its own training set; rho = 0 is SGD of batch size 1.

    Args:
        net: S networks, of any kind but "batchnorm", whose examples are not independent; not changed.
        inputs: (S, n, d).
        targets: (S, n).
        phases: (lr, rho, steps), one after the other.
        rng: of the order of examples.
        norm: length that the first layer is put back to after each step, for "layernorm"; None leaves it.
        every: steps between calls of ``watch``, 0 for none.
        watch: receives the number of steps and the networks.

    Returns:
        The networks after the last step.

    Raises:
        InputError: a kind, shape or number out of range.
    """
    copies, n = _checked(net, inputs, targets, phases)
    if norm is not None and (net.kind != "layernorm" or not norm > 0):
        raise InputError(f"norm={norm!r} with kind {net.kind!r}: give a norm above 0 to 'layernorm' and None to others")
    inner, every = with_one(inputs, net.kind), every or sum(steps for _, _, steps in phases) + 1
    size = (inner**2).sum(-1)
    first, last = (net.scaled(norm) if norm else net).hidden.copy(), net.output.copy()
    rows, done, order = np.arange(copies), 0, np.empty((0, copies), dtype=np.int64)
    for lr, rho, steps in phases:
        for step in range(steps):
            if step % DRAWN == 0:
                order = rng.integers(n, size=(DRAWN, copies))
            pick = order[step % DRAWN]
            x, y, length = inner[rows, pick], targets[rows, pick], size[rows, pick]
            a = np.matmul(first, x[:, :, None])[:, :, 0]
            g, k, slope = _ascended(a, last, y, length, rho, net.kind)
            if norm:
                # W and W - s g xT differ in length by what a = W x tells
                square = norm**2 - 2 * lr * slope * _dot(g, a) + (lr * slope) ** 2 * _dot(g, g) * length
                first *= (norm / np.sqrt(square))[:, None, None]
                g *= (norm / np.sqrt(square))[:, None]
            first -= ((lr * slope)[:, None] * g)[:, :, None] * x[:, None, :]
            last -= (lr * slope)[:, None] * k
            done += 1
            if watch is not None and done % every == 0:
                watch(done, replace(net, hidden=first.copy(), output=last.copy()))
    return replace(net, hidden=first, output=last)


def _ascended(
    a: np.ndarray, last: np.ndarray, y: np.ndarray, length: np.ndarray, rho: float, kind: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of f to a and to w2 up the gradient, and 2 (f - y) there."""
    f, g, k = head(a, last, kind)
    if rho:
        way = np.sqrt(_dot(g, g) * length + _dot(k, k))
        reach = rho * np.sign(f - y) / np.where(way > 0, way, np.inf)
        f, g, k = head(a + (reach * length)[:, None] * g, last + reach[:, None] * k, kind)
    return g, k, 2 * (f - y)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.einsum("sm,sm->s", one, other)


def batch_sam(
    net: TwoLayer,
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    phases: Sequence[tuple[float, float, int]],
    weight_decay: float = 0.0,
    every: int = 0,
    watch: Watch | None = None,
) -> TwoLayer:
    """Full-batch SAM on S networks, each with its own training set; rho = 0 is gradient descent.

    Args:
        net: S networks, "plain" or "bias"; not changed.
        inputs: (S, n, d).
        targets: (S, n).
        phases: (lr, rho, steps), one after the other.
        weight_decay: added to the gradient as weight_decay theta, biases included, >= 0.
        every: steps between calls of ``watch``, 0 for none.
        watch: receives the number of steps and the networks.

    Returns:
        The networks after the last step.

    Raises:
        InputError: a kind, shape or number out of range.
    """
    _checked(net, inputs, targets, phases)
    check_range("weight_decay", weight_decay)
    if net.kind == "layernorm":
        raise InputError("kind 'layernorm' is not written out for a full batch: 'plain' and 'bias' are")
    inner, every = with_one(inputs, net.kind), every or sum(steps for _, _, steps in phases) + 1
    first, last, done = net.hidden.copy(), net.output.copy(), 0
    for lr, rho, steps in phases:
        for _ in range(steps):
            slope1, slope2 = _gradient(first, last, inner, targets)
            if rho:
                way = np.sqrt((slope1**2).sum((1, 2)) + (slope2**2).sum(1))
                reach = rho / np.where(way > 0, way, np.inf)
                moved = first + reach[:, None, None] * slope1, last + reach[:, None] * slope2
                slope1, slope2 = _gradient(*moved, inner, targets)
            first = (1 - lr * weight_decay) * first - lr * slope1
            last = (1 - lr * weight_decay) * last - lr * slope2
            done += 1
            if watch is not None and done % every == 0:
                watch(done, replace(net, hidden=first.copy(), output=last.copy()))
    return replace(net, hidden=first, output=last)


def _gradient(
    first: np.ndarray, last: np.ndarray, inner: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the mean of (f - y)^2 to W1 (S, m, d') and w2 (S, m)."""
    h = np.maximum(np.matmul(first, inner.swapaxes(1, 2)), 0)  # (S, m, n)
    error = np.matmul(last[:, None, :], h)[:, 0] - targets
    error *= 2 / targets.shape[1]
    to_last = np.matmul(h, error[:, :, None])[:, :, 0]
    back = (h > 0) * error[:, None, :]
    return last[:, :, None] * np.matmul(back, inner), to_last


def _checked(
    net: TwoLayer, inputs: np.ndarray, targets: np.ndarray, phases: Sequence[tuple[float, float, int]]
) -> tuple[int, int]:
    """S and n."""
    if net.kind == "batchnorm":
        raise InputError(
            "kind 'batchnorm' couples the examples through its statistics; train it with thalweg.optim.SAM"
        )
    if inputs.ndim != 3 or targets.shape != inputs.shape[:2] or net.hidden.ndim != 3 or len(net.hidden) != len(inputs):
        raise InputError(
            f"inputs {inputs.shape}, targets {targets.shape} and hidden {net.hidden.shape} must be (S, n, d), (S, n) "
            "and (S, m, ...): give single networks an axis with [None]"
        )
    for lr, rho, steps in phases:
        check_range("lr", lr, above=True)
        check_range("rho", rho)
        if steps < 0:
            raise InputError(f"steps={steps} of a phase must be at least 0")
    return len(inputs), inputs.shape[1]
