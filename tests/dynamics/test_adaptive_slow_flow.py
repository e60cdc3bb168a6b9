"""Preconditioned slow flows against the gradient of their own sharpness and against Adam; the discrete algorithms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.dynamics import adam_e, adam_preconditioner, slow_path, sparse_regression_gradient
from thalweg.errors import InputError
from thalweg.tasks import DiagonalNetwork


def interpolating(seed: int) -> tuple[DiagonalNetwork, np.ndarray]:
    rng = np.random.default_rng(seed)
    problem = DiagonalNetwork.draw(dim=4, nonzero=1, samples=2, rng=rng)
    return problem, rng.uniform(0.5, 1.0, size=(1, 8))


def label_covariance(problem: DiagonalNetwork):
    inputs = torch.as_tensor(problem.inputs)

    def covariance(z: torch.Tensor) -> torch.Tensor:
        jac = 2 * torch.cat([inputs, -inputs], 1)[None] * z[:, None, :]  # (n, samples, 2 d)
        return jac.mT @ jac / len(inputs)

    return covariance


@pytest.mark.parametrize("exponent", [0.0, 0.25, 0.5])
def test_each_preconditioned_flow_lowers_its_own_sharpness_to_a_stationary_point(exponent: float) -> None:
    """tr(Diag(H)^(1 - lambda)) falls all along, and at the rate of its own preconditioned gradient."""
    problem, start = interpolating(1)
    covariance = label_covariance(problem)
    path = slow_path(
        problem.loss,
        start,
        covariance,
        time=0.04,
        steps=40,
        preconditioner=adam_preconditioner(covariance, exponent=exponent),
    )
    values = problem.sharpness(path[:, 0], exponent=exponent)
    assert (np.diff(values) < 0).all()
    z, s = path[20, 0], (4 * path[20, 0] ** 2) ** -exponent
    gradient = 2 * (1 - exponent) * (4 * z**2) ** (-exponent) * 4 * z  # of the sharpness
    normal = np.concatenate([problem.inputs, -problem.inputs], 1) * 2 * z
    push = -s * s * 8 * z / 4  # -(1/4) S sum_j S_jj nabla H_jj, before its normal part is taken away
    push -= s * (normal.T @ np.linalg.solve(normal @ (s[:, None] * normal.T), normal @ push))
    rate = (values[21] - values[19]) / (2 * 0.04 / 40)
    assert rate == pytest.approx(gradient @ push, rel=1e-4)  # central difference over two Heun steps


def test_adam_follows_its_slow_flow() -> None:
    """Adam itself at a small rate, with 1 - beta2 between lr^2 and lr: it moves along the manifold as the flow does."""
    problem, start = interpolating(2)
    covariance = label_covariance(problem)
    chosen = adam_preconditioner(covariance)
    origin = slow_path(problem.loss, start, covariance, time=1e-9, steps=1, preconditioner=chosen)[0]
    lr, steps = 2e-3, 20000
    path = slow_path(problem.loss, origin, covariance, time=steps * lr**2, steps=25, preconditioner=chosen)[-1, 0]
    rng = np.random.default_rng(0)
    many = sparse_regression_gradient([problem] * 24, noise=1.0)
    ends = adam_e(many, np.tile(origin, (24, 1)), rates=np.full(steps, lr), rng=rng, betas=(0.9, 0.9997))[-1]
    found = problem.sharpness(ends, exponent=0.5)
    begin = problem.sharpness(origin[0], exponent=0.5)
    fall = begin - problem.sharpness(path, exponent=0.5)
    error = 3 * found.std(ddof=1) / len(found) ** 0.5
    assert begin - found.mean() == pytest.approx(fall, rel=0.1, abs=error)


def test_a_step_too_long_is_refused() -> None:
    """Past the time at which a coordinate reaches 0 Adam's preconditioner has no bound."""
    problem, start = interpolating(2)
    covariance = label_covariance(problem)
    chosen = adam_preconditioner(covariance)
    with pytest.raises(InputError, match="steps=50 is too few"):
        slow_path(problem.loss, start, covariance, time=0.2, steps=50, preconditioner=chosen)


def test_adam_e_is_torchs_adam_and_its_sgd() -> None:
    rng = np.random.default_rng(0)
    grads = rng.standard_normal((6, 2, 3))
    for exponent, make in (
        (0.5, lambda p: torch.optim.Adam([p], lr=0.1)),
        (0.0, lambda p: torch.optim.SGD([p], lr=0.1)),
    ):
        point = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
        optimizer, feed = make(point), iter(grads)
        for g in grads:
            point.grad = torch.as_tensor(g)
            optimizer.step()
        betas = (0.9 if exponent else 0.0, 0.999)
        kept = adam_e(
            lambda x, r, feed=feed: next(feed),
            np.zeros((2, 3)),
            rates=np.full(6, 0.1),
            rng=rng,
            exponent=exponent,
            betas=betas,
            keep=[6],
        )
        np.testing.assert_allclose(kept[-1], point.detach().numpy(), rtol=1e-6)
        assert kept[0].tolist() == kept[1].tolist()


def test_sparse_gradient_is_unbiased_and_its_noise_is_the_hessian() -> None:
    problem, start = interpolating(3)
    covariance = label_covariance(problem)
    origin = slow_path(problem.loss, start, covariance, time=1e-9, steps=1)[0]
    many = sparse_regression_gradient([problem] * 40000, noise=0.5)
    draws = many(np.tile(origin, (40000, 1)), np.random.default_rng(0))
    hessian = torch.autograd.functional.hessian(problem.loss, torch.as_tensor(origin[0])).numpy()
    np.testing.assert_allclose(draws.mean(0), 0, atol=4 * draws.std() / 200)
    np.testing.assert_allclose(draws.T @ draws / 40000, 0.25 * hessian, atol=0.05)
    np.testing.assert_allclose(covariance(torch.as_tensor(origin))[0].numpy(), hessian, atol=1e-10)
