"""Chinchilla in steps: a floor and a power of the number of optimizer steps, blind to the learning rate.

    L(t) = L0 + A t^-alpha,  t = step + 1

Source: Hoffmann et al., arXiv 2203.15556, section 3.3, with steps for tokens; baseline of arXiv 2503.12811.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from thalweg.laws.law import Form, Law, Scale

__all__ = ["ChinchillaSteps"]


class ChinchillaSteps(Law):
    """L0 + A t^-alpha; parameters L0, A, alpha; internal (L0, log A, log alpha)."""

    name = "chinchilla-steps"
    names = ("L0", "A", "alpha")

    @classmethod
    def features(
        cls, rates: np.ndarray, warmup_steps: int, *, at: np.ndarray | None, form: Form, order: int
    ) -> np.ndarray:
        """The asked steps, counted from 1."""
        return 1.0 + (np.arange(len(rates)) if at is None else np.asarray(at))

    @classmethod
    def evaluate(
        cls, u: np.ndarray, features: np.ndarray, scale: Scale, slopes: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Prediction and, if asked, its Jacobian by the internal parameters."""
        alpha, log_t = np.exp(u[2]), np.log(features / scale.steps)
        power = np.exp(u[1] - alpha * log_t)
        jacobian = np.stack([np.ones_like(power), power, -alpha * log_t * power], axis=1) if slopes else None
        return u[0] + power, jacobian

    @classmethod
    def natural(cls, u: np.ndarray, scale: Scale) -> dict[str, float]:
        """Internal parameters to the paper's."""
        alpha = float(np.exp(u[2]))
        return {"L0": float(u[0]), "A": float(np.exp(u[1] + alpha * np.log(scale.steps))), "alpha": alpha}

    @classmethod
    def internal(cls, params: Mapping[str, float], scale: Scale) -> np.ndarray:
        """The paper's parameters to internal ones."""
        log_a = np.log(params["A"]) - params["alpha"] * np.log(scale.steps)
        return np.array([params["L0"], log_a, np.log(params["alpha"])])

    @classmethod
    def bounds(cls) -> tuple[np.ndarray, np.ndarray]:
        """Limits of the internal parameters: L0 0 to 20, alpha 0.02 to 3."""
        return np.array([0.0, -14, np.log(0.02)]), np.array([20.0, 5, np.log(3.0)])

    @classmethod
    def shapes(cls, scale: Scale) -> list[np.ndarray]:
        """There is no drop to start."""
        return [np.zeros(0)]

    @classmethod
    def prior(cls, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
        """No prior."""
        return np.zeros(3), np.full(3, np.inf)

    def definition(self, rates: np.ndarray, warmup_steps: int, at: np.ndarray) -> np.ndarray:
        """The formula as written, one step after the other."""
        p = self.params
        return np.array([p["L0"] + p["A"] * (t + 1.0) ** -p["alpha"] for t in at])
