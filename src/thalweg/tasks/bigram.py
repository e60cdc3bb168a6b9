"""A bigram language whose contexts are either certain or uncertain, with exact losses and curvatures.

Context c is followed by token c mod V if it is deterministic, else by that token or the next (mod V), each with
probability 1/2. The model is a table of logits, one row a context; the Hessian of a row's loss is diag(p) - p p^T with
p the model's softmax: near 0 for learnt deterministic contexts (the river: flat, loss about 1 / time), trace near 1/2
for uncertain ones (the hill).

Source: arXiv 2410.05192 (section on the bigram model; sizes are ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thalweg.errors import InputError

__all__ = ["BigramLanguage", "ClassMeans"]


class ClassMeans(NamedTuple):
    """Means of a number per context over the two classes.

    Attributes:
        uncertain: mean over the uncertain contexts.
        deterministic: mean over the deterministic ones.
        both: mean over all.
        uncertain_error: standard error of ``uncertain`` over its contexts.
    """

    uncertain: float
    deterministic: float
    both: float
    uncertain_error: float


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise softmax."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class BigramLanguage:
    """The language and its table model.

    Args:
        contexts: C, number of contexts, equally frequent (>= 2); the first half is deterministic, the rest uncertain.
        vocabulary: V, number of tokens (>= 3).
    """

    contexts: int = 200
    vocabulary: int = 16

    def __post_init__(self) -> None:
        if self.contexts < 2:
            raise InputError(f"contexts={self.contexts!r} must be at least 2, one of each class")
        if self.vocabulary < 3:
            raise InputError(f"vocabulary={self.vocabulary!r} must be at least 3")

    @property
    def uncertain(self) -> np.ndarray:
        """Which contexts are uncertain, bool (C,)."""
        return np.arange(self.contexts) >= self.contexts // 2

    @property
    def law(self) -> np.ndarray:
        """Probability of each next token, (C, V)."""
        rows = np.arange(self.contexts)
        law = np.zeros((self.contexts, self.vocabulary))
        law[rows, rows % self.vocabulary] = np.where(self.uncertain, 0.5, 1.0)
        law[rows, (rows + 1) % self.vocabulary] += np.where(self.uncertain, 0.5, 0.0)
        return law

    def entropy(self) -> np.ndarray:
        """Entropy of the next token, nats, (C,): the loss of a perfect model."""
        return np.where(self.uncertain, np.log(2.0), 0.0)

    def divergence(self, logits: np.ndarray) -> np.ndarray:
        """Exact KL of the law from the model, nats, (C,): cross-entropy minus entropy; logits (C, V)."""
        top = logits.max(axis=1, keepdims=True)
        logs = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        return -(self.law * logs).sum(axis=1) - self.entropy()

    def curvature(self, logits: np.ndarray) -> np.ndarray:
        """Trace of each context's Hessian block, sum_v p (1 - p), (C,); logits (C, V)."""
        shares = softmax(logits)
        return (shares * (1 - shares)).sum(axis=1)

    def means(self, per_context: np.ndarray) -> ClassMeans:
        """Averages a number per context, (C,), over each class."""
        hill, river = per_context[self.uncertain], per_context[~self.uncertain]
        error = float(hill.std() / np.sqrt(len(hill)))
        return ClassMeans(float(hill.mean()), float(river.mean()), float(per_context.mean()), error)

    def train(
        self, rates: np.ndarray, *, batch: int = 100, seed: int = 0, start: np.ndarray | None = None
    ) -> np.ndarray:
        """SGD on sampled pairs (context, token); the gradient of a batch is the sum over its pairs.

        Args:
            rates: learning rate of each step, shape (steps,): logits per pair.
            batch: pairs a step (>= 1).
            seed: of the pairs.
            start: logits to start from, (C, V), not changed; None for zeros.

        Returns:
            The logits after the last step, (C, V).

        Raises:
            InputError: a batch below 1, or logits of another shape.
        """
        if batch < 1:
            raise InputError(f"batch={batch!r} must be at least 1")
        shape = (self.contexts, self.vocabulary)
        if start is not None and np.shape(start) != shape:
            raise InputError(f"start has shape {np.shape(start)}; this language needs {shape}")
        logits = np.zeros(shape) if start is None else np.array(start, dtype=np.float64)
        generator = np.random.default_rng(seed)
        uncertain, pairs = self.uncertain, np.arange(batch)
        for rate in rates:
            rows = generator.integers(0, self.contexts, batch)
            second = uncertain[rows] & (generator.random(batch) < 0.5)
            gradient = softmax(logits[rows])  # (batch, V)
            gradient[pairs, (rows + second) % self.vocabulary] -= 1
            np.add.at(logits, rows, -rate * gradient)
        return logits
