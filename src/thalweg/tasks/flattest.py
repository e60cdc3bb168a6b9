"""The flattest interpolating two-layer networks in closed form: one remembers the training set, one knows the rule.

Least trace of the Hessian of the mean of (f - y)^2 over interpolating networks, y = +-1 on the hypercube:

    bias       4 sqrt(d + 1)      attained iff w2 = h / |x'| on the active neurons of every training point
    layernorm  2                  attained iff w2 = f u on them, u = h / |h|, whatever the length of the first layer
    batchnorm  2 (|w2|^2 + |gain|^2) >= 4 sum |gain w2| bounds it; the first layer adds less the longer it is

A neuron for each training point, active there alone, attains the first two: training points of the hypercube are
corners, which a plane cuts off. So do the four neurons +-x[0] +-x[1] - 1. Under batchnorm the former have
sum |gain w2| = sqrt(n), the latter the sum of the roots of the four quarters' shares, at most 2.

Source: arXiv 2307.11007, theorem 4.1, equation 5, proposition 4.2, theorem 5.1.
Differs: 1. the scale of the four neurons is (d + 1)^(1/4), not (d^2 + 1)^(1/4) as printed, whose trace is not the least
(tests/tasks/test_two_layer.py). 2. the bound of batchnorm is for the mean of
(f - y)^2; for half that loss it is half, 4 in place of 8.
"""

from __future__ import annotations

import numpy as np

from thalweg.errors import InputError
from thalweg.tasks.two_layer import Kind, TwoLayer

__all__ = ["generalizing", "least_trace", "memorizing"]


def least_trace(kind: Kind, dim: int) -> float:
    """The least trace of an interpolating network of targets +-1 on the hypercube of ``dim`` dimensions.

    Raises:
        InputError: a kind other than "bias" and "layernorm".
    """
    if kind not in ("bias", "layernorm"):
        raise InputError(f"kind={kind!r} has no closed form here: 'bias' and 'layernorm' do")
    return 4 * (dim + 1) ** 0.5 if kind == "bias" else 2.0


def memorizing(kind: Kind, inputs: np.ndarray, targets: np.ndarray, *, eps: float = 0.1) -> TwoLayer:
    """A neuron for each training point that is active there alone: f = y on them, 0 on every other corner.

    Args:
        kind: of the network, not "plain".
        inputs: distinct corners of the hypercube, (n, d).
        targets: +-1, (n,).
        eps: height of a corner over its plane, in (0, 2 / sqrt(d)), the distance to which its neighbours reach.

    Raises:
        InputError: another kind, or eps out of range.
    """
    n, dim = inputs.shape
    if kind == "plain":
        raise InputError("kind='plain' has no biases to cut corners off with: 'bias', 'layernorm' or 'batchnorm'")
    if not 0 < eps < 2 / dim**0.5:
        raise InputError(f"eps={eps!r} must be above 0 and below 2 / sqrt(d) = {2 / dim**0.5:.3g}")
    normals = inputs / dim**0.5
    rows = np.concatenate([normals, np.full((n, 1), eps - dim**0.5)], axis=1) / eps
    return _placed(kind, rows, targets, np.full(n, 1 / n))


def generalizing(kind: Kind, inputs: np.ndarray) -> TwoLayer:
    """Four neurons r (+-x[0] +-x[1] - 1), each active on one quarter of the hypercube: f = x[0] x[1] everywhere.

    Args:
        kind: of the network, not "plain".
        inputs: the training set, (n, d >= 2), of which only "batchnorm" takes more than d.

    Raises:
        InputError: another kind, or under "batchnorm" a training set without a point in one of the quarters.
    """
    if kind == "plain":
        raise InputError("kind='plain' has no biases to split four quarters with: 'bias', 'layernorm' or 'batchnorm'")
    quarters = np.array([(1.0, 1), (-1, -1), (1, -1), (-1, 1)])
    share = (inputs[:, None, :2] == quarters).all(-1).mean(0)
    if kind == "batchnorm" and not share.all():
        raise InputError(f"inputs of {len(inputs)} rows leave a quarter of (x[0], x[1]) empty; draw more")
    rows = np.zeros((4, inputs.shape[1] + 1))
    rows[:, :2] = quarters
    rows[:, -1] = -1
    return _placed(kind, rows, np.array([1.0, 1, -1, -1]), share)


def _placed(kind: Kind, rows: np.ndarray, signs: np.ndarray, share: np.ndarray) -> TwoLayer:
    """Neurons of height 1 where they are active, each on its share of the data, scaled to the least trace."""
    if kind == "bias":
        r = rows.shape[1] ** 0.25  # |x'| = sqrt(d + 1) = r^2
        return TwoLayer(kind, r * rows, signs / r)
    if kind == "layernorm":
        return TwoLayer(kind, rows, signs)
    return TwoLayer(kind, rows, signs * share**0.25, share**0.25)
