"""The rate against the dense spectrum of linear regression, and its edge against gradient descent itself."""

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.landscape import tiny_lr


def regression():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 6, generator=generator, dtype=torch.float64) * torch.linspace(0.2, 3, 6, dtype=torch.float64)
    model = torch.nn.Linear(6, 1, bias=False, dtype=torch.float64)
    return model, x, x @ torch.ones(6, 1, dtype=torch.float64)


def loss_fn(model, batch):
    x, y = batch
    return 0.5 * ((model(x) - y) ** 2).mean()


def test_factor_over_the_largest_eigenvalue():
    model, x, y = regression()
    top = np.linalg.eigvalsh((x.T @ x / len(x)).numpy())[-1]
    assert tiny_lr(model, loss_fn, [(x, y)]) == pytest.approx(0.01 / top, rel=1e-4)
    assert tiny_lr(model, loss_fn, [(x, y)], factor=1.0) == pytest.approx(1 / top, rel=1e-4)


def test_gradient_descent_is_stable_below_the_edge_and_not_above():
    model, x, y = regression()
    for scale, stable in ((1.0, True), (1.1, False)):
        with torch.no_grad():
            model.weight.zero_()
        rate = scale * tiny_lr(model, loss_fn, [(x, y)], factor=1.9)
        first = loss_fn(model, (x, y)).item()
        for _ in range(200):
            (gradient,) = torch.autograd.grad(loss_fn(model, (x, y)), [model.weight])
            with torch.no_grad():
                model.weight -= rate * gradient
        assert (loss_fn(model, (x, y)).item() < first) is stable


def test_bad_input():
    model, x, y = regression()
    with pytest.raises(InputError, match="factor = 2"):
        tiny_lr(model, loss_fn, [(x, y)], factor=2.0)
    with pytest.raises(InputError, match="positive"):
        tiny_lr(model, lambda model, batch: -loss_fn(model, batch), [(x, y)])
