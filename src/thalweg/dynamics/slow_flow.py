"""The slow motion of SGD, local SGD and preconditioned SGD along a manifold of minimisers.

After the loss has been fitted, gradient noise of covariance Sigma (one worker's) moves the weights z along the manifold
on a scale of 1 / eta^2 steps. With t = steps eta^2, H = nabla^2 L(z), P the projector on the null space of H, K workers
of batch B / K that average every `period` steps, and a fixed positive diagonal S (identity for SGD):

    y = S^(-1/2) z,  H' = S^(1/2) H S^(1/2) = sum l_i v_i v_iT,  Sigma' = S^(1/2) Sigma S^(1/2)
    M = sum over pairs not both null  v_i v_iT Sigma' v_j v_jT / (l_i + l_j) * (1 + (K - 1) psi(eta period (l_i + l_j)))
    dz = S^(1/2) P' ( -1/(2 B) nabla_y <H'(y), M> dt + B^(-1/2) (P' Sigma' P')^(1/2) dW ),  psi(x) = (e^-x - 1 + x) / x

M is held fixed when <H', M> is differentiated (a semi-gradient). Label noise, Sigma = delta^2 H, gives M = delta^2 / 2
on the normal space at K = 1, hence the flow -(delta^2 / 4 B) nabla tr H for SGD; with S = Diag(H)^(-1/2) the flow is
stationary for tr(Diag(H)^(1/2)), which is what Adam's limit looks like. Momentum does not enter.

Source: arXiv 2303.01215, theorem 3.2 (local SGD); arXiv 2511.02773 (preconditioned).
Differs: 1. S is the caller's and fixed in a step; Adam's lag of v behind diag Sigma is left out (v is at its limit).
2. The preconditioned drift is derived here from SGD's in whitened coordinates: a printed form without the division by
l_i + l_j does not reduce to SGD's at S = I.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["adam_preconditioner", "drift_ratio", "local_weight", "slow_path"]

Field = Callable[[Any], Any]


def local_weight(x: Any) -> Any:
    """psi(x) = (e^-x - 1 + x) / x for x >= 0: 0 at 0, x / 2 near it, 1 far away.

    Args:
        x: NumPy array or number; period * lr * (sum of two curvatures).
    """
    x = np.asarray(x, dtype=np.float64)
    safe = np.where(x < 1e-4, 1.0, x)
    return np.where(x < 1e-4, x / 2 - x**2 / 6, (np.expm1(-safe) + safe) / safe)


def drift_ratio(curvature: float, *, workers: int, period: int, lr: float) -> float:
    """How much faster local SGD drifts than SGD of the same total batch, for one normal direction, at finite rate.

    1 + (K - 1) (1 - (1 - q^H) / (H (1 - q))), q = (1 - lr curvature)^2: 1 at H = 1, towards K for large H.

    Args:
        curvature: eigenvalue of the Hessian, > 0.
        workers: K >= 1.
        period: H >= 1 steps between averages.
        lr: learning rate, 0 < lr * curvature < 2.

    Raises:
        InputError: a value out of its range.
    """
    if workers < 1 or period < 1:
        raise InputError(f"workers={workers} and period={period} must be at least 1")
    if not 0 < lr * curvature < 2:
        raise InputError(f"lr * curvature = {lr * curvature:.3g} must be above 0 and below 2; lower lr")
    q = (1 - lr * curvature) ** 2
    return 1 + (workers - 1) * (1 - (1 - q**period) / (period * (1 - q)))


def adam_preconditioner(covariance: Field, *, exponent: float = 0.5, eps: float = 0.0) -> Callable[[Tensor], Tensor]:
    """S(z) = 1 / (diag(Sigma)^exponent + eps), Adam's limit where v has reached diag Sigma; exponent 0 is SGD.

    Args:
        covariance: z (n, d) to Sigma (n, d, d).
        exponent: lambda of AdamE, in [0, 1); 1/2 is Adam.
        eps: added to the denominator.

    Raises:
        InputError: exponent out of range.
    """
    if not 0 <= exponent < 1:
        raise InputError(f"exponent={exponent!r} must be at least 0 and below 1")
    return lambda z: 1 / (covariance(z).diagonal(dim1=-2, dim2=-1) ** exponent + eps)


def slow_path(
    loss: Field,
    start: np.ndarray,
    covariance: Field,
    *,
    time: float,
    steps: int,
    batch: float = 1.0,
    workers: int = 1,
    horizon: float = 0.0,
    preconditioner: Callable[[Tensor], Tensor] | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Integrates the slow equation: Euler-Maruyama (with noise) or Heun (without), each step put back on the manifold.

    Args:
        loss: one point (d,) (torch, float64) to a scalar; 0-curvature directions at its minimisers are the manifold's.
        start: (n, d) trajectories on or near the manifold.
        covariance: points (n, d) to Sigma (n, d, d), of one sample's gradient.
        time: in units of 1 / lr^2 steps.
        steps: of the integrator.
        batch: B, samples averaged in one step by all workers.
        workers: K.
        horizon: lr * period, local steps times the learning rate; 0 is an average after every step.
        preconditioner: points to the diagonal of S, (n, d); None is the identity.
        rng: draws the diffusion along the manifold; None leaves it out (label noise has none).

    Returns:
        (steps + 1, n, d), the projected start first.

    Raises:
        InputError: a shape or number out of range, or (without noise) a step too long for the equation, as where the
            preconditioner grows without bound: Adam's at a coordinate that reaches 0.
    """
    import torch

    if start.ndim != 2 or steps < 1 or not time > 0 or not batch > 0 or workers < 1 or horizon < 0:
        raise InputError(
            f"start of shape {start.shape}, time={time}, steps={steps}, batch={batch}, workers={workers}, "
            f"horizon={horizon}: start must be (n, d), the others positive (horizon may be 0)"
        )

    def scale(z: Tensor) -> Tensor:
        return torch.ones_like(z) if preconditioner is None else preconditioner(z).detach()

    def drift(z: Tensor) -> tuple[Tensor, Tensor]:
        """Drift, and the matrix that turns standard normal numbers into diffusion."""
        root = scale(z).sqrt()
        values, vectors, null = _spectrum(loss, z, root)
        noise = vectors.mT @ (root[:, :, None] * covariance(z) * root[:, None, :]) @ vectors
        pairs = values[:, :, None] + values[:, None, :]
        both = null[:, :, None] & null[:, None, :]
        weight = 1 + (workers - 1) * torch.as_tensor(local_weight((horizon * pairs).clamp(min=0).numpy()))
        inner = torch.where(both, 0.0, noise * weight / torch.where(both, 1.0, pairs))
        middle = root[:, :, None] * (vectors @ inner @ vectors.mT) * root[:, None, :]
        pull = torch.func.vmap(torch.func.grad(lambda p, m: (_hessian(loss)(p) * m).sum()))(z, middle)
        tangent = vectors * null[:, None, :]
        along = root * (tangent @ (tangent.mT @ (root * pull)[:, :, None]))[..., 0]
        if rng is None:
            return -along / (2 * batch), along
        flat, axes = torch.linalg.eigh(torch.where(both, noise, 0.0))
        spread = root[:, :, None] * (tangent @ axes * flat.clamp(min=0).sqrt()[:, None, :])
        return -along / (2 * batch), spread / batch**0.5

    h, z = time / steps, _retract(loss, torch.as_tensor(start, dtype=torch.float64), scale, rounds=12)
    path = [z.numpy()]
    for _ in range(steps):
        move, spread = drift(z)
        if rng is None:
            ahead, _ = drift(_retract(loss, z + h * move, scale, rounds=1))
            _refuse_jump(z, h / 2 * (ahead - move), steps)
            z = _retract(loss, z + h / 2 * (move + ahead), scale)
        else:
            kick = torch.as_tensor(rng.standard_normal(z.shape))[:, :, None]
            z = _retract(loss, z + h * move + h**0.5 * (spread @ kick)[..., 0], scale)
        path.append(z.numpy())
    return np.stack(path)


def _refuse_jump(z: Tensor, error: Tensor, steps: int) -> None:
    """The two slopes of a step of Heun must not differ by a twentieth of the point."""
    share = float((error.norm(dim=1) / z.norm(dim=1)).max())
    if not share < 0.05:
        raise InputError(
            f"steps={steps} is too few: two slopes of one step differ by {share:.2g} of the point; "
            "give more steps, a shorter time or, with adam_preconditioner, a larger eps"
        )


def _hessian(loss: Field) -> Field:
    """Reverse over reverse: forward mode compiles scripts that this torch calls deprecated."""
    import torch

    return torch.func.jacrev(torch.func.grad(loss))


def _spectrum(loss: Field, z: Tensor, root: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues and vectors of S^(1/2) H S^(1/2), and which of them are null (below 1e-6 of the largest)."""
    import torch

    hessian = torch.func.vmap(_hessian(loss))(z).detach()
    values, vectors = torch.linalg.eigh(root[:, :, None] * hessian * root[:, None, :])
    return values, vectors, values.abs() <= 1e-6 * values[:, -1:]


def _retract(loss: Field, z: Tensor, scale: Callable[[Tensor], Tensor], rounds: int = 2) -> Tensor:
    """Newton steps across the manifold, z - S^(1/2) H'^+ S^(1/2) grad L, with directions below 1e-3 of the top kept."""
    import torch

    for _ in range(rounds):
        root = scale(z).sqrt()
        values, vectors, _ = _spectrum(loss, z, root)
        gradient = root * torch.func.vmap(torch.func.grad(loss))(z)
        inverse = torch.where(values > 1e-3 * values[:, -1:], 1 / values, torch.zeros_like(values))
        z = (z - root * (vectors @ (inverse[:, :, None] * (vectors.mT @ gradient[:, :, None])))[..., 0]).detach()
    return z
