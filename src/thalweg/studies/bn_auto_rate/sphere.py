"""SGD on a quadratic, on the sphere by normalisation or in the plain, with noise that does not vanish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg.dynamics import quadratic, scale_invariant_oracle, sgd
from thalweg.studies.base import Record

if TYPE_CHECKING:
    from thalweg.studies.bn_auto_rate.study import Config

__all__ = ["sphere"]


def sphere(config: Config, lr: float, normalized: bool, seed: int) -> Record:
    """Independent runs from unit vectors on w'Hw / (2 |w|^2), or on w'Hw / 2; noise of second moment 1 on the sphere.

    Args:
        config: ``dim``, ``replicas`` and ``sphere_steps``; H is diagonal with entries evenly from 1 to 2.
        lr: learning rate.
        normalized: whether the objective is divided by |w|^2.
        seed: of starts and noise.

    Returns:
        A record of part "sphere": root mean square over runs of G (of the gradient itself, where not normalised), mean
        effective rate, and S, the mean second moment of the noisy gradient at the end.
    """
    dim = config.dim
    oracle = quadratic(np.linspace(1.0, 2.0, dim), np.full(dim, (dim - 1) ** -0.5))
    if normalized:
        oracle = scale_invariant_oracle(oracle)
    rng = np.random.default_rng([seed, 7])
    start = rng.standard_normal((config.replicas, dim))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    path = sgd(oracle, start, lr=lr, steps=config.sphere_steps, rng=rng, every=config.sphere_steps // 200)
    squares = (path.x**2).sum(-1)
    sizes = np.array([(oracle.gradient(x) ** 2).sum(-1) for x in path.x]) * (squares if normalized else 1.0)
    return {
        "part": "sphere",
        "lr": lr,
        "normalized": normalized,
        "steps": path.times[1:].astype(int).tolist(),
        "gradient": np.sqrt(sizes.mean(1))[1:].tolist(),
        "rate": (lr / squares).mean(1)[1:].tolist() if normalized else [lr] * (len(path.times) - 1),
        "size": 1.0 + float(sizes[-1].mean()),
    }
