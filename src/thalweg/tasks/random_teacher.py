"""A stream of classified points: a random network's largest output on inputs whose spectrum falls as a power.

    x_k = k^-decay z_k, z ~ N(0, 1);   y = argmax of W2 tanh(scale W1 x'),   x' = x / its root mean square length

Batch t is a pure function of the seed and t and is never seen again, so the loss at the end of a run is that of fresh
data. No label is wrong: the least loss is 0.

Source: arXiv 2509.02046, the miniature of its protocol in our specification (inputs with a power law, 16 classes).
Differs: 1. the width of the teacher (64), its gain and the decay of the spectrum are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from thalweg.errors import InputError

__all__ = ["RandomTeacher"]


@dataclass(frozen=True, slots=True)
class RandomTeacher:
    """One stream.

    Args:
        dim: inputs, >= 1.
        classes: labels, >= 2.
        hidden: the teacher's width, >= 1.
        decay: of the inputs' standard deviations, >= 0.
        scale: gain of the teacher's first layer, > 0.
        seed: of teacher and data.

    Raises:
        InputError: a value out of range.
    """

    dim: int = 32
    classes: int = 16
    hidden: int = 64
    decay: float = 0.5
    scale: float = 2.0
    seed: int = 0
    _deviations: np.ndarray = field(init=False, repr=False, compare=False)
    _first: np.ndarray = field(init=False, repr=False, compare=False)
    _second: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.dim < 1 or self.hidden < 1 or self.classes < 2 or not self.decay >= 0 or not self.scale > 0:
            raise InputError(
                f"dim = {self.dim}, hidden = {self.hidden}, classes = {self.classes}, decay = {self.decay}, "
                f"scale = {self.scale}: dim and hidden must be >= 1, classes >= 2, decay >= 0, scale > 0"
            )
        rng = np.random.default_rng([self.seed, 0])
        deviations = np.arange(1, self.dim + 1) ** -self.decay
        first = rng.standard_normal((self.hidden, self.dim)) * self.scale / np.sqrt((deviations**2).sum())
        second = rng.standard_normal((self.classes, self.hidden))
        object.__setattr__(self, "_deviations", deviations)
        object.__setattr__(self, "_first", first)
        object.__setattr__(self, "_second", second - second.mean(0))

    def labels(self, inputs: np.ndarray) -> np.ndarray:
        """The right class of each input (..., dim), int64 (...)."""
        return (np.tanh(inputs @ self._first.T) @ self._second.T).argmax(-1)

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs, float32 (size, dim), and labels, int64 (size,), of batch ``step`` >= 0."""
        return self._draw(np.random.default_rng([self.seed, 1, step]), size)

    def held_out(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels that no batch holds, always the same."""
        return self._draw(np.random.default_rng([self.seed, 2]), size)

    def _draw(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        inputs = (rng.standard_normal((size, self.dim)) * self._deviations).astype(np.float32)
        return inputs, self.labels(inputs)
