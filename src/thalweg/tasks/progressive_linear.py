"""A two-layer linear network that learns singular values one after another, and its exact loss under noise.

f = W2 W1, L = ½ |W2 W1 - A|², A = diag(s) (d x d, zeros behind). From a small balanced start both layers stay diagonal
and balanced, and mode i of the product grows alone under gradient flow:

    a_i' = 2 a_i (s_i - a_i),   a_i(t) = s_i / (1 + (s_i / a_0 - 1) e^{-2 s_i t}).

Independent noise of deviation σ on every weight has mean loss, with |W1|² = |W2|² = Σ a_i,

    L_σ = ½ Σ (a_i - s_i)² + σ² d Σ a_i + ½ σ⁴ d³,

so a mode, once learned, has changed it by σ² d s_i - ½ s_i²: for the worse where s_i < 2 d σ². While it grows it helps
until a_i = s_i - d σ² and hurts from there on; the least loss of all lies where the last mode that pays passes that
point. That is the inflection, and larger noise has it earlier.

Source: derived here from the setting of arXiv 2503.19206 (theory section; two-layer linear networks).
Differs: 1. the paper's statement could not be read; fine-tuning stands there, noise here.
2. the specification puts the least loss behind the last mode that pays; it lies within that mode's growth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["ProgressiveLinear"]


@dataclass(frozen=True, slots=True)
class ProgressiveLinear:
    """One target matrix.

    Args:
        values: singular values s, > 0.
        dim: d, at least their number.
        start: a_0, the start of every mode of the product, in (0, least s).
    """

    values: tuple[float, ...] = (3.0, 1.5, 0.8, 0.4, 0.2, 0.1)
    dim: int = 20
    start: float = 1e-4

    def __post_init__(self) -> None:
        if not self.values or not 0 < self.start < min(self.values):
            raise InputError(f"start = {self.start:g}, values = {self.values}: give 0 < start < every value")
        if self.dim < len(self.values):
            raise InputError(f"dim = {self.dim} is below the {len(self.values)} singular values")

    def modes(self, times: Sequence[float] | np.ndarray) -> np.ndarray:
        """a_i(t) at each time, (T, modes)."""
        t = np.asarray(times, dtype=float)[:, None]
        s = np.array(self.values)
        return s / (1 + (s / self.start - 1) * np.exp(-2 * s * t))

    def loss(self, times: Sequence[float] | np.ndarray, noise: float = 0.0) -> np.ndarray:
        """L_σ at each time, (T,), in the mean over noise.

        Args:
            times: of gradient flow at rate 1.
            noise: σ >= 0.
        """
        a = self.modes(times)
        fit = ((a - np.array(self.values)) ** 2).sum(axis=1) / 2
        return fit + noise**2 * self.dim * a.sum(axis=1) + noise**4 * self.dim**3 / 2

    def worth_learning(self, noise: float) -> tuple[float, ...]:
        """The singular values that lower the perturbed loss once learned: s > 2 d σ²."""
        return tuple(s for s in self.values if s > 2 * self.dim * noise**2)
