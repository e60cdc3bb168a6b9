"""A linear memory that must choose: one matrix of d x d weights, a few dense facts beside many facts of text.

Fact i is a random key x_i in R^d and one of V answers with random values y_v in R^d, all of norm about 1; the memory W
answers softmax(d x_i W Y^T) and is trained on the expected cross-entropy. The K dense facts share the probability r
equally, the N facts of text share 1 - r by Zipf's law, p_n ~ n^-z. Left out, facts of text beyond the m most frequent
cost about m^(1 - z), so the theory of bounded capacity has exponent alpha = z - 1 and the odds r / (1 - r) at the
threshold fall as capacity^-z and grow as K; capacity is d^2 up to a constant.

Source: the small-scale check of arXiv 2505.18091's theory that our specification describes; the theory is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AssociativeMemory"]


@dataclass(frozen=True)
class AssociativeMemory:
    """Keys, values and answers of one seed.

    Args:
        width: d, >= 1.
        dense: K, facts that matter, >= 1.
        text: N, facts of text, >= 1.
        answers: V, >= 2.
        zipf: z > 0, exponent of the facts of text.
        seed: of keys, values and answers, >= 0.
    """

    width: int = 24
    dense: int = 60
    text: int = 2000
    answers: int = 64
    zipf: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.dense, self.text) < 1 or self.answers < 2 or not self.zipf > 0 or self.seed < 0:
            raise InputError(f"{self}: give width, dense, text >= 1, answers >= 2, zipf > 0 and seed >= 0")

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng, d = np.random.default_rng([self.seed, self.width]), self.width
        keys = rng.normal(size=(self.dense + self.text, d)) / np.sqrt(d)
        values = rng.normal(size=(self.answers, d)) / np.sqrt(d)
        return keys, values, rng.integers(0, self.answers, len(keys))

    @property
    def keys(self) -> np.ndarray:
        """x, float64 (K + N, d); the dense facts come first."""
        return self._drawn[0]

    @property
    def values(self) -> np.ndarray:
        """y, float64 (V, d)."""
        return self._drawn[1]

    @property
    def right(self) -> np.ndarray:
        """The answer of each fact, int64 (K + N,)."""
        return self._drawn[2]

    def probabilities(self, ratio: float, *, keep: float = 1.0) -> np.ndarray:
        """How often each fact is met, float64 (K + N,), sums to 1.

        Args:
            ratio: r in (0, 1), of all dense facts together.
            keep: share of the dense facts that is kept, in (0, 1]; the first ones, at the same ratio.
        """
        kept = round(keep * self.dense)
        if not 0 < ratio < 1 or not 1 <= kept <= self.dense:
            raise InputError(f"ratio = {ratio!r}, keep = {keep!r}: give a ratio between 0 and 1 and keep at least one")
        weights = np.arange(1, self.text + 1, dtype=float) ** -self.zipf
        dense = np.where(np.arange(self.dense) < kept, ratio / kept, 0.0)
        return np.concatenate([dense, (1 - ratio) * weights / weights.sum()])

    def loss(self, weights: Tensor, probabilities: Tensor) -> Tensor:
        """Expected cross-entropy, nats, of several memories at once.

        Args:
            weights: W (M, d, d).
            probabilities: (M, K + N).

        Returns:
            (M,).
        """
        import torch

        nll = torch.nn.functional.cross_entropy(
            self._logits(weights).flatten(0, 1),
            torch.from_numpy(self.right).to(weights.device).repeat(len(weights)),
            reduction="none",
        )
        return (nll.view(len(weights), -1) * probabilities).sum(1)

    def gradient(self, weights: Tensor, probabilities: Tensor) -> Tensor:
        """Of ``loss`` in each W: d X^T diag(p) (softmax - one-hot) Y, (M, d, d); arguments as for ``loss``."""
        import torch

        off = self._logits(weights).softmax(-1)
        off[:, torch.arange(len(self.right)), torch.from_numpy(self.right)] -= 1
        keys, values = (torch.from_numpy(a).to(weights) for a in (self.keys, self.values))
        return self.width * (keys.T @ (off * probabilities[..., None] @ values))

    def recalled(self, weights: Tensor) -> np.ndarray:
        """Whether each fact's answer has the largest logit, bool (M, K + N)."""
        return (self._logits(weights).argmax(-1).cpu().numpy() == self.right[None]).astype(bool)

    def _logits(self, weights: Tensor) -> Tensor:
        """Of each answer to each fact, d x W Y^T, (M, K + N, V)."""
        import torch

        keys, values = (torch.from_numpy(a).to(weights) for a in (self.keys, self.values))
        return self.width * (keys @ weights @ values.T)
