"""The gradient of the largest eigenvalue against finite differences of eigenvalues of dense float64 Hessians."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape.dense import cross_entropy, gap, net
from thalweg.errors import InputError
from thalweg.landscape import Point, curvature_gradient, eigenpairs, eigenvalue_gradient, hessian
from thalweg.landscape.third_order import NearlyDegenerate


def top_at(case, theta):
    moved = case._replace(model=net().model)
    nn.utils.vector_to_parameters(theta, moved.model.parameters())
    return float(torch.linalg.eigvalsh(moved.hessian())[-1])


def differences(case, step=1e-5):
    """Central: error about step^2 = 1e-10 and eps / step = 1e-11."""
    theta = case.theta
    units = step * torch.eye(len(theta), dtype=theta.dtype)
    return torch.tensor([(top_at(case, theta + u) - top_at(case, theta - u)) / (2 * step) for u in units]).double()


def test_it_is_the_slope_of_the_eigenvalue_however_the_data_are_cut():
    case = net()
    slopes = differences(case)
    values = torch.linalg.eigvalsh(case.hessian())
    for cuts in ((), (3, 11)):
        found = eigenvalue_gradient(Point(case.model, cross_entropy, case.batches(cuts)))
        assert gap(found.gradient, slopes) < 1e-7, cuts
        assert found.value == pytest.approx(float(values[-1]), rel=1e-12)
        assert found.gap == pytest.approx(float(values[-1] - values[-2]), rel=1e-9)
        assert found.angle < 1e-6
        assert found.back_end == "rev-rev-rev"


def test_a_known_case():
    """L = (a^3 + b^2) / 6 has the eigenvalues a and 1/3: at a = 2 the gradient is (1, 0)."""

    class Cube(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([2.0, 1.0], dtype=torch.float64))

        def forward(self, x):
            return ((self.w[0] ** 3 + self.w[1] ** 2) / 6 * x).mean()

    found = eigenvalue_gradient(Point(Cube(), lambda m, x: m(x), [torch.ones(3, dtype=torch.float64)]))
    assert (found.value, found.gap) == pytest.approx((2, 5 / 3))
    assert torch.allclose(found.gradient, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-12)


def test_quadratic_and_linear_losses_have_none():
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 1, bias=False).double(), torch.randn(9, 4).double(), torch.randn(9, 1).double()
    found = eigenvalue_gradient(Point(model, lambda m, b: F.mse_loss(m(b[0]), b[1]), [(x, y)]))
    assert float(found.gradient.abs().max()) < 1e-12
    linear = Point(model, lambda m, b: m(b[0]).mean(), [(x, y)])
    assert not curvature_gradient(linear, torch.ones(4))[0].any()


def twins(second: float) -> Point:
    """L = sum over two coordinates of (c_i w_i^2 + w_i^3) / 2 at w = 0: eigenvalues 1 and ``second``."""
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.zero_()
    scale = torch.tensor([1.0, second], dtype=torch.float64)

    def loss(m, x):
        return ((scale * m.weight**2 + m.weight**3) / 2 * x).sum()

    return Point(model, loss, [torch.ones(1, dtype=torch.float64)])


def test_equal_eigenvalues_are_refused_and_near_ones_said():
    with pytest.raises(InputError, match=r"the two largest eigenvalues, 1 and 1, are .* apart"):
        eigenvalue_gradient(twins(1.0))
    with pytest.warns(NearlyDegenerate, match=r"the gap between the two largest eigenvalues, 0\.001"):
        found = eigenvalue_gradient(twins(0.999))
    assert torch.allclose(found.gradient.abs(), torch.tensor([3.0, 0.0], dtype=torch.float64), atol=1e-6)
    point = twins(0.5)
    assert eigenvalue_gradient(point).gap == pytest.approx(0.5)
    with pytest.raises(InputError, match="pairs holds one eigenpair"):
        eigenvalue_gradient(point, eigenpairs(hessian(point.model, point.loss_fn, point.data)))
    with pytest.raises(InputError, match=r"vector has shape \(3,\)"):
        curvature_gradient(point, torch.ones(3))


def test_without_a_third_derivative_differences_of_gradients():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.tanh(x)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, *upstream):
            return upstream[0] * (1 - torch.tanh(ctx.saved_tensors[0]) ** 2)

    class Layer(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    case = net()
    exact = eigenvalue_gradient(Point(case.model, cross_entropy, case.batches()))
    point = Point(nn.Sequential(case.model[0], Layer(), case.model[2]), cross_entropy, case.batches((7,)))
    slope, way = curvature_gradient(point, exact.vector)
    assert way == "finite-difference"
    assert gap(slope, exact.gradient) < 1e-6
