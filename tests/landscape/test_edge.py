"""The edge of stability against runs of the optimizer on a quadratic, just below it and just above."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.landscape import stability_edge
from thalweg.optim import SGD


def largest(curvature, lr, **options):
    """Size of the weight at the end of 1000 steps on curvature w^2 / 2 from 1."""
    weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = SGD([weight], lr=lr, **options)
    for _ in range(1000):
        weight.grad = curvature * weight.detach()
        optimizer.step()
    return abs(weight.item())


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.0},
        {},
        {"momentum": 0.5},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.9},
    ],
    ids=str,
)
def test_a_run_falls_below_and_grows_above(options):
    edge = stability_edge(np.array([0.1]), {"name": "sgd", **options})
    assert edge.own
    assert largest(0.98 * edge.curvature[0], 0.1, **options) < 1e-3
    assert largest(1.02 * edge.curvature[0], 0.1, **options) > 1e3


def test_steps_rates_of_zero_and_words():
    edge = stability_edge(np.array([0.5, 0.25, 0.0]), {"name": "sgd", "momentum": 0.0})
    assert edge.steps.tolist() == [1, 2, 3]
    assert edge.curvature.tolist() == [4.0, 8.0, np.inf]
    assert edge.words == "2 / learning rate"
    assert stability_edge(np.array([0.5]), {"name": "sgd"}).words == "2 (1 + momentum) / learning rate"


@pytest.mark.parametrize("optimizer", [{"name": "adamw"}, {"name": "sgd", "sam": {"rho": 0.05}}])
def test_others_have_the_curve_of_gradient_descent_and_say_so(optimizer):
    edge = stability_edge(np.array([0.5]), optimizer)
    assert (edge.curvature[0], edge.own, edge.words) == (4.0, False, "2 / learning rate")
