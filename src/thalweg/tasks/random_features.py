"""Data recipes for random-feature regression: what is wrong with the labels matters, their noise only disturbs.

Recipe i gives labels y = f(x) + u_i h(x) + τ_i ε on its own x ~ N(0, I_d); f and h are teachers of unit variance, each
a linear function plus a tanh, in four orthogonal directions, so that E f h = 0. The student is a · relu(U x) / √m with
U ~ N(0, 2 / d) fixed and a trained from 0 by SGD on fresh batches; its value is the mean of (student - f)² on held-out
x. Wrong labels (u) cost any student; noise (τ) costs one in proportion to its rate, so rates rank recipes differently.
At first order in the rate neither shows, because h is orthogonal to f: too little training ranks by chance.

Source: arXiv 2512.24503 (random-feature theorem: small rates and enough width keep the infinite-width order).
Differs: 1. the paper's construction of recipes could not be read; this one is the specification's, h ours. 2. the
features' scale (He) is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg.errors import InputError

__all__ = ["BiasedRecipes"]

CHUNK = 50
"""Steps whose examples are drawn at once."""
TANH_DEVIATION = 0.7970302
"""√E tanh(2 g)² of a standard normal g, by quadrature."""


@dataclass(frozen=True, slots=True)
class BiasedRecipes:
    """A set of recipes and their held-out examples.

    Args:
        bias: u, one a recipe, >= 0.
        noise: τ, one a recipe, >= 0.
        dim: d.
        validation: held-out examples.
        seed: of teachers and held-out examples.
    """

    bias: tuple[float, ...]
    noise: tuple[float, ...]
    dim: int = 16
    validation: int = 2000
    seed: int = 0
    inputs: np.ndarray = field(init=False, repr=False, compare=False)
    _teachers: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.bias) != len(self.noise) or not self.bias:
            raise InputError(f"{len(self.bias)} biases and {len(self.noise)} noises: give one of each a recipe")
        if min(self.bias) < 0 or min(self.noise) < 0 or self.dim < 4 or self.validation < 1:
            raise InputError(
                f"dim = {self.dim}, validation = {self.validation}: at least 4 and 1; biases and noises >= 0"
            )
        rng = np.random.default_rng([self.seed, 0])
        directions = np.linalg.qr(rng.standard_normal((self.dim, 4)))[0].T
        object.__setattr__(self, "_teachers", directions.reshape(2, 2, self.dim))
        object.__setattr__(self, "inputs", rng.standard_normal((self.validation, self.dim)))

    @classmethod
    def drawn(cls, recipes: int, *, seed: int, most: float = 0.7, **sizes: int) -> BiasedRecipes:
        """Biases uniform in 0 … ``most`` and noises from .1, .7, 1.5, 2.5, as the specification has them.

        Args:
            recipes: how many.
            seed: of all.
            most: largest bias.
            **sizes: ``dim`` and ``validation``.
        """
        rng = np.random.default_rng([seed, 1])
        bias = rng.uniform(0, most, recipes)
        noise = rng.permutation(np.resize([0.1, 0.7, 1.5, 2.5], recipes))
        return cls(tuple(bias.tolist()), tuple(noise.tolist()), seed=seed, **sizes)

    def teacher(self, x: np.ndarray, which: int = 0) -> np.ndarray:
        """(w · x + tanh(2 v · x) / s) / √2 with unit w, v and s the tanh's deviation: (..., d) -> (...).

        Args:
            x: inputs.
            which: 0 for f, 1 for h.
        """
        w, v = self._teachers[which]
        return (x @ w + np.tanh(2 * (x @ v)) / TANH_DEVIATION) / np.sqrt(2)

    def start(self) -> float:
        """Loss of the student before training."""
        return float(np.mean(self.teacher(self.inputs) ** 2))

    def train(
        self, rates: Sequence[float], *, width: int, steps: int, batch: int = 8, seeds: int = 1, seed: int = 0
    ) -> np.ndarray:
        """Held-out loss of every recipe at every rate after one pass of SGD, (recipes, rates, seeds).

        All rates of one recipe and seed see the same examples; all recipes of one seed share the features U.

        Args:
            rates: learning rates, (L,).
            width: m.
            steps: updates.
            batch: examples in each.
            seeds: students a recipe, each with features and examples of its own.
            seed: the first.
        """
        eta = np.asarray(rates, dtype=float)[None, None, :, None]
        rngs = [np.random.default_rng([self.seed, 2, seed + each]) for each in range(seeds)]
        features = np.stack([rng.normal(0, np.sqrt(2 / self.dim), (self.dim, width)) for rng in rngs])
        weights = np.zeros((seeds, len(self.bias), len(rates), width))
        for first in range(0, steps, CHUNK):
            count = min(CHUNK, steps - first)
            drawn = [self._examples(rng, count, batch) for rng in rngs]
            x, y = (np.stack(each) for each in zip(*drawn, strict=True))  # (S, T, R, B, d), (S, T, R, B)
            for step in range(count):
                phi = np.maximum(x[:, step] @ features[:, None], 0) / np.sqrt(width)  # (S, R, B, m)
                with np.errstate(over="ignore", invalid="ignore"):
                    errors = weights @ phi.transpose(0, 1, 3, 2) - y[:, step, :, None]  # (S, R, L, B)
                    weights -= eta / batch * (errors @ phi)
        return self._losses(weights, features)

    def _examples(self, rng: np.random.Generator, steps: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
        shape = (steps, len(self.bias), batch)
        x = rng.standard_normal((*shape, self.dim))
        bias, noise = (np.array(each)[:, None] for each in (self.bias, self.noise))
        return x, self.teacher(x) + bias * self.teacher(x, 1) + noise * rng.standard_normal(shape)

    def _losses(self, weights: np.ndarray, features: np.ndarray) -> np.ndarray:
        truth = self.teacher(self.inputs)
        found = []
        for own, u in zip(weights, features, strict=True):
            phi = np.maximum(self.inputs @ u, 0) / np.sqrt(u.shape[1])
            with np.errstate(over="ignore", invalid="ignore"):
                found.append(((own @ phi.T - truth) ** 2).mean(axis=-1))
        return np.stack(found, axis=-1)
