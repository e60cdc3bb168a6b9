"""The edge of stability: the largest curvature that an optimizer at a rate does not swing away from.

Gradient descent multiplies the coordinate along an eigenvector of eigenvalue L by 1 - lr L: it diverges above 2 / lr.
With momentum m and dampening d (``thalweg.optim.SGD``) the edge is 2 (1 + m) / (lr (1 - d)), in Nesterov's form
2 (1 + m) / (lr (1 + 2 m)). Of the full data's Hessian: noise of batches and decay of the weights are left out.

Source: arXiv 2103.00065 (equations 1 and 2, appendix B).
Differs: 1. dampening, which scales the rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from thalweg.optim import defaults

__all__ = ["Edge", "stability_edge"]


class Edge(NamedTuple):
    """A curve to draw beside the largest eigenvalue.

    Attributes:
        steps: finished updates (n,).
        curvature: the largest stable eigenvalue after the update that ended there, (n,); infinite at rate 0.
        words: its formula.
        own: whether it is the edge of the optimizer that trained; else that of plain gradient descent.
    """

    steps: np.ndarray
    curvature: np.ndarray
    words: str
    own: bool


def stability_edge(rates: np.ndarray, optimizer: Mapping[str, Any]) -> Edge:
    """The edge along a run.

    Args:
        rates: learning rate of each update, (n,).
        optimizer: ``name`` and options as in a recipe; those left out have SGD's defaults. Others than SGD, and SGD
            inside SAM, have an edge of another matrix than the Hessian; for these the curve is that of plain gradient
            descent.
    """
    own = optimizer.get("name") == "sgd" and "sam" not in optimizer
    options = {**defaults("sgd"), **optimizer} if own else {"momentum": 0.0}
    factor, words, momentum = 2.0, "2 / learning rate", float(options["momentum"])
    if momentum:
        factor = 2 * (1 + momentum)
        words = "2 (1 + momentum) / learning rate"
        if options["nesterov"]:
            factor /= 1 + 2 * momentum
            words = "2 (1 + momentum) / ((1 + 2 momentum) learning rate)"
        elif damping := float(options["dampening"]):
            factor /= 1 - damping
            words = "2 (1 + momentum) / ((1 - dampening) learning rate)"
    given = np.asarray(rates, dtype=np.float64)
    curvature = np.divide(factor, given, out=np.full_like(given, np.inf), where=given > 0)
    return Edge(np.arange(1, len(given) + 1), curvature, words, own)
