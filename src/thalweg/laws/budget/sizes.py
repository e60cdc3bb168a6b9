"""A law of size and data with what is known of its uncertainty and of the runs it was fitted to.

    L(N, D) = E + A N^-alpha + B D^-beta

Parameters are drawn as (ln A, ln B, ln E, alpha, beta) from a normal distribution around the fit; a run scatters
around the law by a share of its loss.

Source: Hoffmann et al., arXiv 2203.15556 (the form); the draws are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.laws.budget.quantities import quantity_text
from thalweg.laws.chinchilla_size import ChinchillaSize

__all__ = ["LEVELS", "SizeLaw", "loss_at", "outside"]

DRAWS = 400
LEVELS = (0.05, 0.95)
"""Quantiles at the ends of an interval: 90 % lies between."""


def loss_at(parameters: np.ndarray, sizes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Losses of drawn laws.

    Args:
        parameters: (draws, 5) as in `SizeLaw.draws`.
        sizes: N, broadcast against (draws, 1).
        tokens: D, the same.

    Returns:
        Nats per token, (draws, points).
    """
    a, b, e, alpha, beta = (column[:, None] for column in parameters.T)
    return np.exp(e) + np.exp(a - alpha * np.log(sizes)) + np.exp(b - beta * np.log(tokens))


@dataclass(frozen=True, eq=False, slots=True)
class SizeLaw:
    """A law and its origin.

    Attributes:
        name: short name.
        law: the fitted form; N as ``counts`` says, D in tokens, loss in nats per token.
        source: paper or file.
        about: what a reader must know of it, in a sentence or two.
        counts: which parameters N counts.
        sizes: least and largest fitted N; None: not known.
        tokens: least and largest fitted D; None: not known.
        covariance: of (ln A, ln B, ln E, alpha, beta), (5, 5); None: no interval.
        spread: standard deviation of a run's log loss around the law; 0 where unknown.
    """

    name: str
    law: ChinchillaSize
    source: str
    about: str = ""
    counts: str = "what the fitted runs counted"
    sizes: tuple[float, float] | None = None
    tokens: tuple[float, float] | None = None
    covariance: np.ndarray | None = None
    spread: float = 0.0

    def draws(self) -> np.ndarray:
        """Parameters (draws, 5), the fit itself first; the same at every call. Without a covariance the fit alone."""
        law = self.law
        logs = [np.log(max(value, 1e-300)) for value in (law.A, law.B, law.E)]
        centre = np.array([*logs, law.alpha, law.beta])
        if self.covariance is None:
            return centre[None, :]
        values, vectors = np.linalg.eigh(self.covariance)
        noise = np.random.default_rng(0).standard_normal((DRAWS, 5))
        around = centre + noise * np.sqrt(np.maximum(values, 0)) @ vectors.T
        kept = around[(around[:, 3] > 0) & (around[:, 4] > 0)]
        return np.concatenate([centre[None, :], kept])


def outside(name: str, seen: Sequence[tuple[str, float, tuple[float, float] | None]]) -> list[str]:
    """What lies outside a law's fitted runs, in words.

    Args:
        name: of the law.
        seen: what is counted, the value asked for, and the least and largest fitted one (None: not known).
    """
    return [
        f"{quantity_text(value)} {word} lie outside the runs that {name} was fitted to, "
        f"{quantity_text(ends[0])} to {quantity_text(ends[1])}"
        for word, value, ends in seen
        if ends is not None and not ends[0] * 0.99 <= value <= ends[1] * 1.01
    ]
